"""What is measured: a card is a tuple of cells, a cell one call on arrays of one kind."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import product
from typing import TypeAlias

from .ops import OPS

Shapes: TypeAlias = tuple[tuple[int, ...], ...]

ITEMSIZE = {"float32": 4, "float64": 8, "float16": 2, "bfloat16": 2}

# Bytes of x at each level of the memory: x and the result fit into the cache of that name on
# common server cores, and the last level's does not hold them beyond. "call" is a single row.
SIZES = {"L1": 12 * 2**10, "L2": 256 * 2**10, "LLC": 4 * 2**20, "beyond": 64 * 2**20}
SIZE_NAMES = ("call", *SIZES)

# Beside the functions that the shapes of the cards are about: by rows, losses, layers
OTHER_ROWWISE = (
    "log_softmax_vjp",
    "log_softmax_jvp",
    "logsumexp_vjp",
    "softmax_from_lse",
    "logsumexp_partial",
    "SoftmaxJacobian.matvec",
)
OTHER_LOSSES = ("cross_entropy", "cross_entropy_hvp")
LAYERS = (
    "softmax_layer",
    "softmax_layer_vjp",
    "softmax_layer_jvp",
    "linear_cross_entropy",
    "linear_cross_entropy_hvp",
)
MATRICES: Shapes = ((64, 10), (4096, 10), (128, 1000), (512, 32000))
SMALL_TO_LARGE: Shapes = ((64, 64, 10), (256, 784, 10), (512, 768, 32000))
CLASSES = (2, 3, 5, 8, 10, 16, 17, 31, 33, 64, 100, 127, 1000, 1023, 4097, 50257, 128256)


@dataclass(frozen=True)
class Cell:
    """One call to be measured.

    Attributes
    ----------
    op : str
        One of `OPS`.
    shape : tuple of int
        That of the logits (of `s`, for the derivatives). ``(J, K)`` or ``(N, J, K)`` for a layer.
    dtype : str
        One of `ITEMSIZE`.
    axis : int or tuple of int
        The class axis.
    strided : bool
        Whether the rows lie apart: each is the first half of a row of memory.
    out : bool
        Whether the result goes to an array given, rather than to one that the call allocates.
    """

    op: str
    shape: tuple[int, ...]
    dtype: str = "float32"
    axis: int | tuple[int, ...] = -1
    strided: bool = False
    out: bool = False

    @property
    def logits_shape(self) -> tuple[int, ...]:
        """The shape of the softmax that the work is about."""
        if OPS[self.op].layer:
            return (*self.shape[:-2], self.shape[-1])
        return self.shape

    @property
    def classes(self) -> int:
        """K, the length of the class axis."""
        axes = (self.axis,) if isinstance(self.axis, int) else self.axis
        return math.prod(self.logits_shape[axis] for axis in axes)

    @property
    def elements(self) -> int:
        """What a time per element is divided by: entries of a Jacobian, else of the logits."""
        entries = math.prod(self.logits_shape)
        if OPS[self.op].jacobian:
            entries *= self.classes * (self.shape[-2] if OPS[self.op].layer else 1)
        return entries

    @property
    def size(self) -> str:
        """The name of the memory level, one of `SIZE_NAMES`."""
        entries = math.prod(self.logits_shape)
        if entries == self.classes:
            return "call"
        n_bytes = entries * ITEMSIZE[self.dtype]
        return next((name for name, most in SIZES.items() if n_bytes <= most), "beyond")

    @property
    def variant(self) -> str:
        """How the cell departs from a contiguous input, its last axis and a fresh result."""
        parts = [
            f"axis {self.axis}" if self.axis != -1 else "",
            "strided rows" if self.strided else "",
            "out" if self.out else "",
        ]
        return ", ".join(filter(None, parts))

    def __str__(self) -> str:
        """Name the cell, in full."""
        shape = "(" + ", ".join(map(str, self.shape)) + ("," if len(self.shape) == 1 else "") + ")"
        return " ".join(filter(None, (self.op, self.dtype, shape, self.variant)))


def _quick() -> Iterator[Cell]:
    """Every operation and every kind of cell once or twice, all of them small."""
    for shape in ((10,), (64, 10), (1024, 10), (128, 1000)):
        yield Cell("softmax", shape)
    yield Cell("softmax", (128, 1000), "float64")
    yield Cell("softmax", (128, 1000), "float16")
    yield Cell("softmax", (128, 1000), "bfloat16")
    yield Cell("softmax", (128, 1000), strided=True)
    yield Cell("softmax", (128, 1000), out=True)
    yield Cell("softmax", (1000, 128), axis=0)
    yield Cell("softmax", (4, 81, 512), axis=1)
    yield Cell("softmax", (64, 32, 32), axis=(1, 2))
    for op in ("log_softmax", "logsumexp", "softmax_vjp", "cross_entropy_with_grad"):
        yield Cell(op, (64, 10))
        yield Cell(op, (128, 1000))
    yield Cell("softmax_jacobian", (256, 10))
    yield Cell("softmax_jacobian", (1000,))
    yield Cell("log_softmax_jacobian", (256, 10))
    yield Cell("softmax_layer_jacobian", (784, 10))
    for op in (*OTHER_ROWWISE, *OTHER_LOSSES):
        yield Cell(op, (128, 100))
    yield Cell("logsumexp_merge", (4096, 2))
    for op in LAYERS:
        yield Cell(op, (64, 64, 10))
    yield Cell("linear_cross_entropy_with_grad", (64, 784, 10))


def _perf() -> Iterator[Cell]:
    """List the shapes for which the project has set itself goals."""
    softmax: Shapes = (
        (10,),
        (64, 10),
        (4096, 10),
        (4096, 16),
        (128, 1000),
        (32, 32000),
        (12288, 128),
        (1, 2**24),
        (2**20, 16),
    )
    middle: Shapes = ((1, 3072, 1024), (8, 81, 8732))
    for dtype in ("float32", "float64"):
        for shape in softmax:
            yield Cell("softmax", shape, dtype)
        for shape in middle:
            yield Cell("softmax", shape, dtype, axis=1)
        for op in ("log_softmax", "logsumexp", "softmax_vjp"):
            for shape in ((10,), (4096, 10), (128, 1000)):
                yield Cell(op, shape, dtype)
        for op in ("softmax_jacobian", "log_softmax_jacobian"):
            for shape in ((5,), (10,), (256, 10), (1000,), (64, 1000)):
                yield Cell(op, shape, dtype)
        for shape in ((3, 5), (784, 10), (256, 100)):
            yield Cell("softmax_layer_jacobian", shape, dtype)
        for op in ("softmax_layer_vjp", "softmax_layer_jvp"):
            for shape in SMALL_TO_LARGE:
                yield Cell(op, shape, dtype)
        for shape in MATRICES:
            yield Cell("cross_entropy_with_grad", shape, dtype)
        layers: Shapes = ((64, 64, 10), (64, 784, 10), (256, 784, 10), (512, 256, 1000))
        large: Shapes = ((512, 256, 8000), (512, 768, 32000), (1024, 512, 32000))
        for layer in (*layers, *large):
            yield Cell("linear_cross_entropy_with_grad", layer, dtype)


def _full() -> Iterator[Cell]:
    """All of `_perf`; every function; every row length at every level; every layout and dtype."""
    yield from _perf()
    for dtype in ("float32", "float64"):
        yield from (Cell(op, (10,), dtype) for op in OTHER_ROWWISE)
        for op, shape in product((*OTHER_ROWWISE, *OTHER_LOSSES), MATRICES):
            yield Cell(op, shape, dtype)
        yield from (Cell("logsumexp_merge", (rows, 2), dtype) for rows in (1, 64, 4096, 2**20))
        for op, layer in product(LAYERS, SMALL_TO_LARGE):
            yield Cell(op, layer, dtype)
    by_rows = ("softmax", "log_softmax", "logsumexp", "softmax_vjp", "cross_entropy_with_grad")
    yield from _grid(by_rows, ("float32", "float64"), CLASSES, SIZE_NAMES)
    yield from _grid(by_rows[:4], ("float16", "bfloat16"), (10, 100, 1000, 50257), ("L2", "LLC"))
    yield from _grid(("softmax_jacobian",), ("float32", "float64"), CLASSES[:14], ("call", "L1"))
    for op, dtype in product(by_rows[:4], ("float32", "float64")):
        yield from _layouts(op, dtype)


def _grid(
    ops: Iterable[str], dtypes: Iterable[str], classes: Iterable[int], sizes: Iterable[str]
) -> Iterator[Cell]:
    for op, dtype, K, size in product(ops, dtypes, classes, sizes):
        rows = SIZES[size] // (K * ITEMSIZE[dtype]) if size in SIZES else 1
        # A loss comes in batches, so a single call of it has a batch of one.
        single = size == "call" and op != "cross_entropy_with_grad"
        if rows > 1 or size == "call":
            yield Cell(op, (K,) if single else (rows, K), dtype)


def _layouts(op: str, dtype: str) -> Iterator[Cell]:
    """First, middle and last axis, several at once, rows that lie apart, a result given."""
    boxes: Shapes = ((10, 10, 10), (64, 48, 100), (100, 256, 1000))
    matrices: Shapes = ((64, 10), (4096, 10), (128, 1000), (2048, 4097))
    axes: tuple[int | tuple[int, ...], ...] = (0, 1, 2, (0, 1), (1, 2))
    for axis, shape in product(axes, boxes):
        yield Cell(op, shape, dtype, axis=axis)
    for shape in matrices:
        yield Cell(op, shape, dtype, strided=True)
        yield Cell(op, shape, dtype, out=True)


def _distinct(cells: Iterable[Cell]) -> tuple[Cell, ...]:
    return tuple(dict.fromkeys(cells))


CARDS = {"quick": _distinct(_quick()), "perf": _distinct(_perf()), "full": _distinct(_full())}


def select(card: str, ops: Iterable[str], dtypes: Iterable[str]) -> tuple[Cell, ...]:
    """Return the cells of `card` that are about one of `ops` in one of `dtypes`."""
    ops, dtypes = set(ops), set(dtypes)
    return tuple(cell for cell in CARDS[card] if cell.op in ops and cell.dtype in dtypes)
