"""The linear map before a softmax: shapes, logits, and what their gradient means to it.

All rows at once, or a few at a time.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ._arrays import Array, DType, cast, check_shape, compute_dtype, sum_dtype

__all__ = [
    "LayerBlocks",
    "LayerGradients",
    "check_batch",
    "check_layer",
    "check_layer_rows",
    "linear",
    "linear_vjp",
]

_GRANTED = 1 << 26  # bytes of scratch at any size: 64 MiB
_SHARE = 20  # and more where it is less than this part of the logits
_CHUNK = 1 << 20  # bytes of a matrix that is still in the cache when it is added to another
_TERMS = 32  # added in the dtype computed in before a sum goes on in a wider one


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
    """Raise unless `array` is one row or a batch of rows."""
    if array.ndim not in (1, 2):
        raise ValueError(f"{name} must be 1-D, or 2-D for a batch; found shape {array.shape}")


def linear(x: Array, W: Array, b: Array | None = None, out: Array | None = None) -> Array:
    """Return ``x @ W + b``."""
    with np.errstate(all="ignore"):
        z: Array = np.matmul(x, W, out=out)
        return z if b is None else np.add(z, b, out=z)


def linear_vjp(x: Array, W: Array, dz: Array, dtype: DType) -> tuple[Array, Array, Array]:
    """Return the gradients by `W`, `b` and `x` in `dtype`, from the one by the logits."""
    with np.errstate(all="ignore"):
        batch, dz_batch = np.atleast_2d(x), np.atleast_2d(dz)
        dW = batch.T @ dz_batch
        db = dz_batch.sum(axis=0, dtype=sum_dtype(dz.dtype))
        dx = dz @ W.T
    return cast(dW, dtype), cast(db, dtype), cast(dx, dtype)


class LayerBlocks:
    """The logits ``X @ W + b`` of a checked layer, in blocks of whole rows.

    Iterating yields the rows of each block and their logits, which may be written over: the next
    block's take their place.

    Parameters
    ----------
    X : ndarray, (D,) or (N, D)
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
    """

    def __init__(
        self, X: Array, W: Array, b: Array | None, block_bytes: int | None, scratch: int = 0
    ) -> None:
        self.X, self.W, self.b = np.atleast_2d(X), W, b
        self.dtype = compute_dtype(X.dtype)
        (count, inputs), classes = self.X.shape, W.shape[1]
        size = self.dtype.itemsize
        self.is_plain = W.dtype == self.dtype and _is_dense(W)
        width = max(1, min(classes, _CHUNK // (size * max(inputs, 1))))
        self.chunks = [slice(i, min(i + width, classes)) for i in range(0, classes, width)]

        if block_bytes is None:
            block_bytes = max(_GRANTED, size * count * classes // _SHARE)
        row = size * (classes * (1 + scratch) + (0 if self.is_plain else 3 * inputs))
        room = block_bytes - 4 * size * classes  # for the sums of the gradient by b
        chunk = size * inputs * width
        if not self.is_plain:
            room -= 2 * chunk  # of W, and of its gradient
        elif count * row > room:
            room -= chunk
        number = -(-count // max(1, room // row))
        self.height = -(-count // max(1, number))

    def __iter__(self) -> Iterator[tuple[slice, Array]]:
        count = len(self.X)
        logits = np.empty((self.height, self.W.shape[1]), self.dtype)
        for start in range(0, count, max(1, self.height)):
            rows = slice(start, min(start + self.height, count))
            z, x = logits[: rows.stop - start], self.inputs(rows)
            for classes, weights in self.weights():
                np.matmul(x, weights, out=z[:, classes])
            yield rows, z if self.b is None else np.add(z, self.b, out=z)

    def inputs(self, rows: slice) -> Array:
        """Return some rows of the inputs, in the dtype to compute in."""
        return np.ascontiguousarray(self.X[rows], self.dtype)

    def weights(self) -> Iterator[tuple[slice, Array]]:
        """Yield the weights as BLAS takes them: whole where it can, else in chunks of classes."""
        if self.is_plain:
            yield slice(None), self.W
            return
        for classes in self.chunks:
            yield classes, np.ascontiguousarray(self.W[:, classes], self.dtype)


class LayerGradients:
    """The gradients of a layer by its input, weights and bias, from those by its logits.

    The one by the weights is a sum over the blocks, to which each adds a product, chunk by chunk.
    Blocks of classes would need no sum, but a fourth product over all the logits, to make them
    again. With 64 rows in a block, the sums and the smaller products cost about as much as that one
    (measured with 512 and 1024 inputs and 32000 classes), and less with more rows. 64 MiB hold 64
    rows of 260,000 classes in float32. Sums over several blocks of 16-bit floats are held in
    float32.
    """

    def __init__(self, layer: LayerBlocks) -> None:
        self._layer = layer
        dtype = layer.X.dtype
        sums = dtype if layer.height == len(layer.X) else layer.dtype
        self.dX = np.empty(layer.X.shape, dtype)
        self.dW = (np.empty_like if len(layer.X) else np.zeros_like)(layer.W, dtype=sums)
        self.db = np.zeros(layer.W.shape[1], sum_dtype(dtype))
        self._product = np.empty(0, layer.dtype)  # of one chunk, made when it is needed

    def add(self, rows: slice, dz: Array) -> None:
        """Take a block's gradient by its logits into account."""
        x = self._layer.inputs(rows)
        self._set_inputs(rows, dz)
        if rows.start == 0 and self.dW.dtype == dz.dtype:
            np.matmul(x.T, dz, out=self.dW)
        else:
            self._add_weights(x, dz, first=rows.start == 0)
        if self._layer.b is not None:
            for start in range(0, len(dz), _TERMS):
                self.db += dz[start : start + _TERMS].sum(axis=0)

    def _add_weights(self, x: Array, dz: Array, *, first: bool) -> None:
        chunks = self._layer.chunks
        if not self._product.size:
            self._product = np.empty_like(self.dW[:, chunks[0]], dtype=dz.dtype)  # as W lies
        for classes in chunks:
            dW = self.dW[:, classes]
            product = np.matmul(x.T, dz[:, classes], out=self._product[:, : dW.shape[1]])
            if first:
                dW[...] = product
            else:
                np.add(dW, product, out=dW)

    def _set_inputs(self, rows: slice, dz: Array) -> None:
        dX = self.dX[rows]
        if self._layer.is_plain:
            np.matmul(dz, self._layer.W.T, out=dX)
            return
        total = np.zeros(dX.shape, dz.dtype)
        for classes, weights in self._layer.weights():
            total += dz[:, classes] @ weights.T
        dX[...] = total

    def results(self) -> tuple[Array, Array, Array | None]:
        """Return ``(dX, dW, db)`` in the dtype of the layer; `db` is None where it has no bias."""
        dtype = self.dX.dtype
        db = None if self._layer.b is None else cast(self.db, dtype)
        return self.dX, cast(self.dW, dtype), db


def _is_dense(W: Array) -> bool:
    """Return whether BLAS can read the matrix, or its transpose, where it lies."""
    size = W.itemsize
    return any(a.strides[1] == size and a.strides[0] >= size * a.shape[1] for a in (W, W.T))
