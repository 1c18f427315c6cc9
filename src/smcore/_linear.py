"""The linear map before a softmax: shapes, logits, and what their gradient means to it.

All rows at once, or a few at a time.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator

import numpy as np

from ._arrays import Array, DType, Mask, cast, check_shape, compute_dtype, sum_dtype
from ._quiet import quiet

__all__ = [
    "LayerBlocks",
    "LayerGradients",
    "as_gradients",
    "as_rows",
    "check_batch",
    "check_layer",
    "check_layer_rows",
    "linear",
    "linear_jvp",
    "linear_vjp",
    "row_blocks",
    "rows_at_once",
]

_GRANTED = 1 << 26  # bytes of scratch at any size: 64 MiB
_SHARE = 20  # and more where it is less than this part of the logits
_CHUNK = 1 << 20  # bytes of a matrix that is still in the cache when it is added to another
_TERMS = 32  # added in the dtype computed in before a sum goes on in a wider one
_UNPACKED = 1_000_000  # multiplications up to which OpenBLAS does not copy its factors first
_NEAR = 1 << 20  # bytes of inputs and logits that are still near when they are read again
_LEAST_ROWS = 32  # of a block: below that, calls cost more than they save


def check_layer(
    x: Array, W: Array, b: Array | None = None, *, x_name: str = "x", b_name: str = "b"
) -> None:
    """Raise unless input, weights and bias (or their tangents) have the shapes of a layer."""
    check_batch(x, x_name)
    if W.ndim != 2 or W.shape[0] != x.shape[-1]:
        raise ValueError(
            f"W must have shape (J, K), with J = {x.shape[-1]} as {x_name} has; found {W.shape}"
        )
    if b is not None:
        check_shape(b, W.shape[1:], b_name)


def check_layer_rows(s: Array, x: Array) -> None:
    """Raise unless a layer's output and input have as many rows."""
    check_batch(s, "s")
    expected = (*s.shape[:-1], x.shape[-1] if x.ndim else 1)
    if x.shape != expected:
        raise ValueError(f"x must have shape {expected}, as s has {s.shape}; found {x.shape}")


def check_batch(array: Array, name: str) -> None:
    """Raise unless `array` is one row, or has rows along its leading axes."""
    if array.ndim == 0:
        raise ValueError(f"{name} must have at least one axis, its last that of a row; found ()")


def as_rows(array: Array) -> Array:
    """Return ``(N, D)`` from ``(..., D)``: a view where strides allow."""
    return array.reshape(math.prod(array.shape[:-1]), array.shape[-1])


def as_gradients(wrt: Iterable[str], names: str) -> frozenset[str]:
    """Return the argument `wrt`: which of the gradients, of one letter each, are wanted."""
    known = ", ".join(map(repr, names))
    try:
        wanted = frozenset(wrt)
    except TypeError:
        raise TypeError(f"wrt must hold names among {known}; found {wrt!r}") from None
    if not wanted <= set(names):
        raise ValueError(f"wrt must hold names among {known}; found {wrt!r}")
    return wanted


def rows_at_once(W: Array, most: int) -> int:
    """Return in how many rows at a time a thin layer is gone through fastest; `most` for others.

    Both products with them, of 200 inputs and 20 classes, then take half of the time.
    """
    inputs, classes = W.shape[-2:]
    rows = _UNPACKED // max(1, inputs * classes)
    rows = min(rows, _NEAR // (W.itemsize * max(1, inputs + classes)))
    return min(rows, most) if rows >= _LEAST_ROWS else most


@quiet
def linear(x: Array, W: Array, b: Array | None = None, out: Array | None = None) -> Array:
    """Return ``x @ W + b``."""
    step = rows_at_once(W, len(x)) if x.ndim == W.ndim == 2 else 0
    # A block's result may not be where others' operands are: np.matmul sees to its own alone.
    is_apart = out is None or not (np.may_share_memory(x, out) or np.may_share_memory(W, out))
    if 0 < step < len(x) and is_apart:
        z = np.empty((len(x), W.shape[1]), x.dtype) if out is None else out
        for rows in row_blocks(len(x), step, None):
            np.matmul(x[rows], W, out=z[rows])
    else:
        z = np.matmul(x, W, out=out)
    return z if b is None else np.add(z, b, out=z)


@quiet
def linear_jvp(x: Array, W: Array, dW: Array | None, db: Array | None, dx: Array | None) -> Array:
    """Return how ``x @ W + b`` moves along directions of weights, bias and input."""
    dz = np.zeros((*x.shape[:-1], W.shape[1]), x.dtype)
    if dW is not None:
        dz += linear(x, dW)
    if db is not None:
        dz += db
    if dx is not None:
        dz += linear(dx, W)
    return dz


@quiet
def linear_vjp(
    x: Array, W: Array, dz: Array, dtype: DType, wrt: frozenset[str]
) -> tuple[Array | None, Array | None, Array | None]:
    """Return the gradients by `W`, `b` and `x` in `dtype`, from the one by the logits."""
    dW = db = dx = None
    if "W" in wrt:
        dW = cast(np.matmul(as_rows(x).T, as_rows(dz), out=np.empty_like(W)), dtype)
    if "b" in wrt:
        db = cast(as_rows(dz).sum(axis=0, dtype=sum_dtype(dz.dtype)), dtype)
    if "x" in wrt:
        dx = cast(dz @ W.T, dtype)
    return dW, db, dx


def row_blocks(count: int, height: int, index: Array | None) -> Iterator[slice | Array]:
    """Yield where a block of rows is, one after the other; `index`: where each row is."""
    for start in range(0, count, max(1, height)):
        rows = slice(start, min(start + height, count))
        yield rows if index is None else index[rows]


class LayerBlocks:
    """The logits ``X @ W + b`` of a checked layer, in blocks of whole rows.

    Parameters
    ----------
    X : ndarray, (N, D)
        Inputs.
    W : ndarray, (D, K)
        Weights. Only those of 16 bits, or with strides that BLAS does not know, are copied, a chunk
        of classes at a time.
    b : ndarray, (K,), or None
        Bias.
    block_bytes : int or None
        What a block may take, scratch included; one row, if it is less than that. None: 64 MiB, or
        5% of the logits where that is more.
    scratch : int
        How many arrays as large as a block's logits are made beside them.
    counted : ndarray of bool, (N,), or None
        The rows that take part, of which inputs are copied together; None: all.
    """

    def __init__(
        self,
        X: Array,
        W: Array,
        b: Array | None,
        block_bytes: int | None,
        scratch: int = 0,
        counted: Mask | None = None,
    ) -> None:
        self.X, self.W, self.b = X, W, b
        self.dtype = compute_dtype(X.dtype)
        self.counted = counted
        self.count = len(X) if counted is None else int(np.count_nonzero(counted))
        inputs, classes = W.shape
        size = self.dtype.itemsize
        self.is_plain = W.dtype == self.dtype and _is_dense(W)
        width = max(1, min(classes, _CHUNK // (size * max(inputs, 1))))
        self.chunks = [slice(i, min(i + width, classes)) for i in range(0, classes, width)]

        if block_bytes is None:
            block_bytes = max(_GRANTED, size * self.count * classes // _SHARE)
        copied = not self.is_plain or self.counted is not None
        row = size * (classes * (1 + scratch) + (3 * inputs if copied else 0))
        room = block_bytes - 4 * size * classes  # for the sums of the gradient by b
        chunk = size * inputs * width
        if not self.is_plain:
            room -= 2 * chunk  # of W, and of its gradient
        elif self.count * row > room:
            room -= chunk
        self._most = max(1, int(room // row))
        if self.is_plain:
            self._most = rows_at_once(W, self._most)

    def height(self, count: int) -> int:
        """Return how many rows there are in each of the blocks that so many are taken in."""
        return -(-count // max(1, -(-count // self._most)))

    def blocks(self, left_out: bool = False) -> Iterator[tuple[slice | Array, Array, Array]]:
        """Yield which rows each block has, their inputs, and their logits.

        The rows are those that take part, or those left out. The logits may be written over: those
        of the next block take their place.
        """
        count, index = self.count, None
        if self.counted is not None:
            index = np.flatnonzero(~self.counted if left_out else self.counted)
            count = len(index)
        height = self.height(count)
        logits = np.empty((height, self.W.shape[1]), self.dtype)
        for rows in row_blocks(count, height, index):
            x = np.ascontiguousarray(self.X[rows], self.dtype)
            z = logits[: len(x)]
            for classes, weights in self.weights():
                np.matmul(x, weights, out=z[:, classes])
            yield rows, x, z if self.b is None else np.add(z, self.b, out=z)

    def weights(self) -> Iterator[tuple[slice, Array]]:
        """Yield the weights as BLAS takes them: whole where it can, else in chunks of classes."""
        if self.is_plain:
            yield slice(None), self.W
            return
        for classes in self.chunks:
            yield classes, np.ascontiguousarray(self.W[:, classes], self.dtype)


class LayerGradients:
    """The gradients of a layer by its input, weights and bias, from those by its logits.

    Those that are wanted: `wrt` names them. Rows that take no part have inputs of gradient 0.

    The one by the weights is a sum over the blocks, to which each adds a product, chunk by chunk.
    Blocks of classes would need no sum, but a fourth product over all the logits, to make them
    again. With 64 rows in a block, the sums and the smaller products cost about as much as that one
    (measured with 512 and 1024 inputs and 32000 classes), and less with more rows. 64 MiB hold 64
    rows of 260,000 classes in float32. Sums over several blocks of 16-bit floats are held in
    float32.
    """

    def __init__(self, layer: LayerBlocks, wrt: frozenset[str]) -> None:
        self._layer = layer
        dtype = layer.X.dtype
        is_single = layer.height(layer.count) == layer.count
        sums = dtype if is_single else layer.dtype
        self.dX = self.dW = self.db = None
        if "X" in wrt:
            self.dX = (np.empty if layer.counted is None else np.zeros)(layer.X.shape, dtype)
        if "W" in wrt:
            self.dW = (np.empty_like if layer.count else np.zeros_like)(layer.W, dtype=sums)
        if "b" in wrt and layer.b is not None:
            self.db = np.zeros(layer.W.shape[1], sum_dtype(dtype))
        self._product = np.empty(0, layer.dtype)  # of one chunk, made when it is needed
        self._is_first = True

    def add(self, rows: slice | Array, x: Array, dz: Array) -> None:
        """Take a block's gradient by its logits into account."""
        if self.dX is not None:
            self._set_inputs(self.dX, rows, dz)
        if self.dW is not None:
            if self._is_first and self.dW.dtype == dz.dtype:
                np.matmul(x.T, dz, out=self.dW)
            else:
                self._add_weights(self.dW, x, dz)
        if self.db is not None:
            self._add_bias(self.db, dz)
        self._is_first = False

    def _add_weights(self, dW: Array, x: Array, dz: Array) -> None:
        chunks = self._layer.chunks
        if not self._product.size:
            self._product = np.empty_like(dW[:, chunks[0]], dtype=dz.dtype)  # as W lies
        for classes in chunks:
            part = dW[:, classes]
            product = np.matmul(x.T, dz[:, classes], out=self._product[:, : part.shape[1]])
            if self._is_first:
                part[...] = product
            else:
                np.add(part, product, out=part)

    def _add_bias(self, db: Array, dz: Array) -> None:
        whole = len(dz) // _TERMS * _TERMS
        if whole:
            by_term = dz[:whole].reshape(-1, _TERMS, dz.shape[1])
            db += by_term.sum(axis=1).sum(axis=0, dtype=db.dtype)
        if whole < len(dz):
            db += dz[whole:].sum(axis=0)

    def _set_inputs(self, dX: Array, rows: slice | Array, dz: Array) -> None:
        if self._layer.is_plain and isinstance(rows, slice):
            np.matmul(dz, self._layer.W.T, out=dX[rows])
            return
        if self._layer.is_plain:
            dX[rows] = dz @ self._layer.W.T
            return
        total = np.zeros((len(dz), dX.shape[1]), dz.dtype)
        for classes, weights in self._layer.weights():
            total += dz[:, classes] @ weights.T
        dX[rows] = total

    def results(self, shape: tuple[int, ...]) -> tuple[Array | None, Array | None, Array | None]:
        """Return ``(dX, dW, db)`` in the dtype of the layer, `dX` in a shape, or None for each."""
        dX = None if self.dX is None else self.dX.reshape(shape)
        dtype = self._layer.X.dtype
        dW, db = (None if a is None else cast(a, dtype) for a in (self.dW, self.db))
        return dX, dW, db


def _is_dense(W: Array) -> bool:
    """Return whether BLAS can read the matrix, or its transpose, where it lies."""
    size = W.itemsize
    return any(a.strides[1] == size and a.strides[0] >= size * a.shape[1] for a in (W, W.T))
