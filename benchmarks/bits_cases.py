"""The cases of bits.py: operations, how their arguments vary, and arrays that reach every path.

The sizes follow the plans in csrc/kernels: plan.h, tuning.h, vjp/ and jacobian/ say what is chosen
by length, stride and size.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import cases
import numpy as np
from bits_operands import (
    DRAWN,
    LAYOUTS,
    Array,
    Draw,
    Stream,
    mask,
    per_class,
    probabilities,
    scales,
    some_ignored,
)

import smcore

DTYPES = ("float32", "float64", "float16", "bfloat16")
WIDE = DTYPES[:2]
MIB = 1 << 20

# NumPy's BLAS, or its own sums and exponentials, decide the last bits of these.
LEFT_OUT = {
    "softmax_layer",
    "softmax_layer_vjp",
    "softmax_layer_jvp",
    "linear_weight_jacobian",  # copies alone
    "linear_cross_entropy",
    "linear_cross_entropy_with_grad",
    "linear_cross_entropy_hvp",
}
OPERATIONS = {name: op for name, op in cases.OPERATIONS.items() if name not in LEFT_OUT}
OF_PAIRS = ("logsumexp_merge", "logsumexp_finalize")  # one value a row, whatever its length
# Whose kernels others have: these are run on fewer cases.
COMPOSED = ("softmax_jvp", "cross_entropy_hvp", "softmax_from_lse", *OF_PAIRS)
MATRICES = ("softmax_jacobian", "log_softmax_jacobian", "softmax_layer_jacobian")
FORWARD = ("softmax", "log_softmax", "logsumexp", "cross_entropy", "cross_entropy_with_grad")
PRODUCTS = ("softmax_vjp", "log_softmax_vjp", "log_softmax_jvp", "logsumexp_vjp")
MOST_OF_QUICK = 1 << 17
MOST_OF_MATRICES = 1 << 18  # elements, where a case does not ask for more


@functools.cache
def parameters(name: str) -> frozenset[str]:
    """The names of a function's parameters."""
    return frozenset(inspect.signature(getattr(smcore, name)).parameters)


@dataclass(frozen=True)
class Variation:
    """Further arguments of an operation; of what is drawn, the draw."""

    name: str
    keywords: Mapping[str, Any]
    target: Callable[[Draw], Array] | None = None  # in place of labels

    def fits(self, operation: cases.Operation) -> bool:
        """Whether the operation takes them, and still decides its bits."""
        takes = parameters(operation.name)
        if operation.name == "cross_entropy_hvp" and self.name in SUMMED:
            return False
        return self.keywords.keys() <= takes and (not self.target or "target" in takes)


SUMMED = ("soft", "weighted soft", "weight smoothing")  # a Hessian's factors, by NumPy
ALONE = Variation("", {})
VARIATIONS = (
    Variation("scale 0.7", {"scale": 0.7}),
    Variation("scale 1e-30", {"scale": 1e-30}),
    Variation("scale 1e300", {"scale": 1e300}),
    Variation("scale -3", {"scale": -3.0}),
    Variation("scale 0", {"scale": 0.0}),
    Variation("scale by row", {"scale": scales}),
    Variation("where", {"where": mask}),
    Variation("smoothing", {"label_smoothing": 0.125}),
    Variation("weight", {"weight": per_class}, some_ignored),
    Variation("weight smoothing", {"weight": per_class, "label_smoothing": 0.1}, some_ignored),
    Variation("z_loss", {"z_loss": 0.01}, some_ignored),
    Variation("tiny z_loss", {"z_loss": 1e-30, "label_smoothing": 0.5}),
    Variation("lse", {"return_lse": True}, some_ignored),
    Variation("soft", {"label_smoothing": 0.0}, probabilities),
    Variation("weighted soft", {"weight": per_class, "label_smoothing": 0.25}, probabilities),
    Variation("mean", {"reduction": "mean"}),
    Variation("tiny weight", {"weight": lambda d: per_class(d) * 2.0 ** (d.stream.smallest + 4)}),
)
FEW = tuple(v for v in VARIATIONS if v.name in ("scale 0.7", "weight smoothing", "soft"))


@dataclass(frozen=True)
class Case:
    """Arrays (n, k) in a layout; n is a number of rows, or bytes of which they are the rows."""

    layout: str
    k: int
    n: int
    special: bool = False
    variations: tuple[Variation, ...] = ()
    operations: tuple[str, ...] = tuple(OPERATIONS)
    dtypes: tuple[str, ...] = DTYPES
    inputs: int = cases.INPUTS
    large: bool = field(default=False, kw_only=True)

    @property
    def name(self) -> str:
        """As the stored file has it."""
        count = f"{self.n / MIB:.3g}MiB" if self.n >= MIB else f"{self.n}"
        inputs = f"x{self.inputs}" if self.inputs != cases.INPUTS else ""
        return f"{count}x{self.k}{inputs} {self.layout}" + " special" * self.special

    @property
    def quick(self) -> bool:
        """Whether it is one of those that `--quick` leaves."""
        return not self.large and self.n * self.k <= MOST_OF_QUICK

    def rows(self, dtype: Any) -> int:
        """The rows of an array of that dtype."""
        return self.n // (self.k * dtype.itemsize) + 5 if self.n >= MIB else self.n

    def has(self, operation: cases.Operation) -> bool:
        """Whether the operation can be, and is worth being, run on it."""
        layout = LAYOUTS[self.layout]
        if operation.name not in self.operations:
            return False
        if operation.name in COMPOSED and not (self.variations or self.special or self.n == 1):
            return False
        if layout.over is not None:
            return layout.over < len(operation.like)
        if operation.name in OF_PAIRS:
            return self.layout == "rows"
        if operation.name in MATRICES and self.n * self.k**2 > MOST_OF_MATRICES:
            return self.large
        return operation.rowwise or layout.axis == -1


def _cases() -> Iterator[Case]:
    lengths = (1, 2, 3, 4, 5, 7, 8, 9, 12, 16, 17, 24, 31, 33, 47, 49, 64, 100, 127, 128, 129)
    for k in (*lengths, 200, 256, 257, 513, 1000, 1281, 4100, 20000):
        varied = {5: VARIATIONS, 100: FEW, 200: VARIATIONS, 1000: FEW, 20000: FEW}
        yield Case("rows", k, 5 + 2000 // k, variations=varied.get(k, ()))
    for k in (2, 5, 31, 100, 127, 128, 300, 1000):
        yield Case("rows", k, 1)
    for k in (300, 1500):
        yield Case("rows", k, 3)
    for k, n in ((3, 300), (5, 300), (20, 90), (100, 40), (200, 40), (1000, 30), (5000, 20)):
        yield Case("rows", k, n, True, VARIATIONS if k == 20 else ())
    for k, n in ((3, 200), (6, 150), (20, 60), (100, 40), (200, 37), (1000, 9), (5000, 3)):
        yield Case("offset", k, n)
        yield Case("strided", k, n, variations=FEW if k in (20, 5000) else ())
    for k, n in ((3, 200), (6, 150), (20, 60), (60, 50), (200, 37), (1000, 9)):
        yield Case("gaps", k, n)
        yield Case("reversed", k, n)
    for layout in ("backwards", "in place", "over g"):
        for k, n in ((5, 150), (20, 60), (200, 37), (1000, 9)):
            yield Case(layout, k, n)
    for layout in ("one row", "one class", "unaligned"):
        for k, n in ((6, 50), (200, 20)):
            yield Case(layout, k, n)
    yield from _columns()
    yield from _long_rows()
    yield from _large()


def _columns() -> Iterator[Case]:
    for k, n in ((2, 100), (5, 300), (20, 90), (32, 70), (33, 70), (100, 130), (1000, 75)):
        varied = {5: FEW, 100: VARIATIONS, 1000: FEW}.get(k, ())
        yield Case("columns", k, n, variations=varied)
    yield Case("columns", 40, 3)
    yield Case("columns", 300, 1)
    for k, n in ((5, 200), (40, 90), (600, 40)):
        yield Case("columns", k, n, special=True)
    for layout in ("columns offset", "columns gaps", "columns reversed", "columns in place"):
        for k, n in ((6, 200), (100, 131)):
            yield Case(layout, k, n)
    yield Case("columns over g", 40, 130)
    for k, n in ((4, 150), (5, 150), (20, 300), (40, 200), (100, 300), (1000, 40)):
        yield Case("columns pages", k, n)
    yield Case("planes", 7, 99)
    yield Case("planes", 150, 201)
    yield Case("columns far", 2000, 300, variations=FEW, dtypes=WIDE)
    yield Case("columns far", 2000, 70, special=True, dtypes=WIDE)
    yield Case("columns far pages", 2100, 150, operations=FORWARD + PRODUCTS, dtypes=WIDE)


def _long_rows() -> Iterator[Case]:
    """Online; in parts."""
    yield Case("rows", 70001, 2, dtypes=("float64",))
    yield Case("rows", 140001, 3, variations=FEW)
    yield Case("rows", 140001, 5, special=True, operations=FORWARD + PRODUCTS, variations=FEW)
    yield Case("strided", 140001, 2, operations=FORWARD + PRODUCTS)


def _large() -> Iterator[Case]:
    """From memory; stored past the caches; in more parts than a row is cut into."""
    large = functools.partial(Case, dtypes=WIDE, large=True)
    for k in (5, 20, 200, 1000, 20000):
        yield large("rows", k, 9 * MIB // 2, operations=FORWARD + PRODUCTS)
    yield large("rows", 100, 9 * MIB // 2, operations=("logsumexp_vjp",))
    yield large("rows", 150, 9 * MIB // 2, operations=("softmax",))
    yield large("gaps", 20, 9 * MIB // 2, operations=FORWARD + PRODUCTS)
    yield large("columns", 40, 9 * MIB // 2, operations=FORWARD + PRODUCTS)
    yield large("columns", 1500, 9 * MIB, operations=("softmax", *PRODUCTS))
    yield large("columns pages", 20, 17 * MIB, operations=("softmax", "log_softmax"))
    for k in (12, 20, 100):
        yield large("rows", k, 33 * MIB, operations=("softmax_vjp",))
    of_130 = ("softmax", "cross_entropy_with_grad", "softmax_vjp")
    yield large("offset", 130, 33 * MIB, operations=of_130)
    yield large("offset", 601, 33 * MIB, operations=("log_softmax", "softmax_vjp"))
    yield large("columns lines", 64, 33 * MIB, operations=("log_softmax", "softmax_vjp"))
    yield large("rows", 4264311, 1, operations=FORWARD[:3] + FORWARD[4:] + PRODUCTS)
    yield large("rows", 601, 24, operations=MATRICES[:2])
    yield large("rows", 6, 420, operations=MATRICES[2:], inputs=601)


CASES = tuple(_cases())


# ---- a call --------------------------------------------------------------------------------------


def dtype_named(name: str) -> np.dtype[Any]:
    """The dtype of that name, if it can be had."""
    if name == "bfloat16":
        import ml_dtypes  # where there is no such package, bits.py leaves it out

        return np.dtype(ml_dtypes.bfloat16)
    return np.dtype(name)


class Call:
    """One operation on one case, to be computed by each target in turn."""

    def __init__(
        self, operation: cases.Operation, case: Case, variation: Variation, dtype: str
    ) -> None:
        self.operation, self.case, self.variation = operation, case, variation
        self.layout, self.dtype = LAYOUTS[case.layout], dtype_named(dtype)
        lead = self.layout.lead(case.rows(self.dtype))
        seed = f"{operation.name} {case.name} {variation.name}"
        draw = Draw(Stream(seed, dtype), lead, case.k, case.special, case.inputs)
        draws = {name: DRAWN[by] for name, by in operation.operands.items()}
        if variation.target:
            draws["target"] = variation.target
        self.operands = {name: self._typed(by(draw)) for name, by in draws.items()}
        self.keywords = {
            name: self._keyword(name, by(draw)) if callable(by) else by
            for name, by in variation.keywords.items()
        }

    def _typed(self, a: Array) -> Array:
        with np.errstate(all="ignore"):
            return a.astype(self.dtype) if a.dtype.kind == "f" else a

    def _keyword(self, name: str, a: Array) -> Array:
        if name == "where":
            return self.layout.place(a)
        return a if name == "scale" else self._typed(a)

    def __call__(self) -> Any:
        """Compute it with the target in use, from operands of its own."""
        operation, layout = self.operation, self.layout
        placed = dict(self.operands)
        whole = () if operation.name in OF_PAIRS else operation.full(placed)
        for name in whole:
            placed[name] = layout.place(placed[name])
        keywords = dict(self.keywords)
        if operation.rowwise:
            keywords["axis"] = layout.axis
        if operation.like:
            keywords["out"] = self._out(placed)
        return operation(smcore, placed, **keywords)

    def _out(self, placed: Mapping[str, Array]) -> Array:
        if self.layout.over is not None:
            return placed[self.operation.like[self.layout.over]]
        return self.layout.result(self.operands[self.operation.like[0]].shape, self.dtype)


def calls(case: Case, dtype: str) -> Iterator[tuple[str, Call]]:
    """Every call of a case, and its name, which an operation has but once."""
    for operation in OPERATIONS.values():
        if dtype not in case.dtypes or not case.has(operation):
            continue
        for variation in (ALONE, *case.variations):
            if variation.fits(operation):
                name = f"{case.name} {variation.name}".rstrip()
                yield name, Call(operation, case, variation, dtype)
