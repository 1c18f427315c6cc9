"""NumPy: the formulas as they are commonly written, without needless temporaries.

Half precision is computed in float32: NumPy's own float16 arithmetic is slower, and less accurate.
"""

from __future__ import annotations

from functools import partial
from typing import Any, TypeAlias

import numpy as np

from ..card import Cell
from ..measure import Call
from ..operands import Array, Operands
from . import Prepare, UnsupportedError

VERSION = np.__version__
to_numpy = np.asarray

Axis: TypeAlias = int | tuple[int, ...]
Loss: TypeAlias = tuple[Any, Array]


def softmax(x: Array, axis: Axis, out: Array | None = None) -> Array:
    """Compute the softmax."""
    e: Array = np.subtract(x, x.max(axis, keepdims=True), out=out)
    np.exp(e, out=e)
    e /= e.sum(axis, keepdims=True)
    return e


def log_softmax(x: Array, axis: Axis, out: Array | None = None) -> Array:
    """Compute its logarithm."""
    z: Array = np.subtract(x, x.max(axis, keepdims=True), out=out)
    z -= np.log(np.exp(z).sum(axis, keepdims=True))
    return z


def logsumexp(x: Array, axis: Axis, out: Array | None = None) -> Any:
    """Compute log(sum(exp(x)))."""
    peak = x.max(axis, keepdims=True)
    return np.add(np.log(np.exp(x - peak).sum(axis)), peak.squeeze(axis), out=out)


def softmax_vjp(s: Array, g: Array, axis: Axis, out: Array | None = None) -> Array:
    """Compute the gradient from that of the output."""
    dx = np.multiply(s, g, out=out)
    np.multiply(s, g - dx.sum(axis, keepdims=True), out=dx)
    return dx


def softmax_jacobian(s: Array) -> Array:
    """Compute diag(s) - s s^T."""
    J = s[..., :, None] * -s[..., None, :]
    diagonal = np.einsum("...ii->...i", J)
    diagonal += s
    return J


def softmax_layer_jacobian(s: Array, x: Array) -> Array:
    """Compute dS/dW by the shortcut."""
    return (softmax_jacobian(s)[..., None] * x).reshape(len(s), -1)


def cross_entropy_with_grad(x: Array, y: Array, out: Array | None = None) -> Loss:
    """Compute the mean loss of the rows and its gradient."""
    N = len(x)
    rows = np.arange(N)
    z = x - x.max(-1, keepdims=True)
    picked = z[rows, y]
    grad = np.exp(z, out=z if out is None else out)
    total = grad.sum(-1, keepdims=True)
    loss = (np.log(total[:, 0]) - picked).mean()
    grad /= N * total
    grad[rows, y] -= 1 / N
    return loss, grad


def linear_cross_entropy_with_grad(
    X: Array, W: Array, y: Array, b: Array
) -> tuple[Any, tuple[Array, Array, Array]]:
    """Compute the mean loss of the layer and the gradients."""
    loss, dZ = cross_entropy_with_grad(X @ W + b, y)
    return loss, (dZ @ W.T, X.T @ dZ, dZ.sum(0))


def _rowwise(function: Any, *names: str) -> Prepare:
    """Prepare a function that takes `axis` and `out`; half precision by way of float32."""

    def through_float32(*arrays: Array, axis: Axis, out: Array | None = None) -> Any:
        result = function(*(array.astype(np.float32) for array in arrays), axis)
        if out is None:
            return result.astype(arrays[0].dtype)
        out[...] = result
        return out

    def prepare(cell: Cell, operands: Operands) -> Call:
        half = cell.dtype in ("float16", "bfloat16")
        arrays = [operands[name] for name in names]
        out = operands.get("out")
        return partial(through_float32 if half else function, *arrays, axis=cell.axis, out=out)

    return prepare


def _plain(function: Any, *names: str) -> Prepare:
    """Prepare a function of the operands alone."""

    def prepare(cell: Cell, operands: Operands) -> Call:
        if cell.axis != -1:
            raise UnsupportedError("is written for the last axis")
        options = {"out": operands["out"]} if "out" in operands else {}
        return partial(function, *(operands[name] for name in names), **options)

    return prepare


TABLE: dict[str, Prepare] = {
    "softmax": _rowwise(softmax, "x"),
    "log_softmax": _rowwise(log_softmax, "x"),
    "logsumexp": _rowwise(logsumexp, "x"),
    "softmax_vjp": _rowwise(softmax_vjp, "s", "g"),
    "softmax_jacobian": _plain(softmax_jacobian, "s"),
    "softmax_layer_jacobian": _plain(softmax_layer_jacobian, "s", "x"),
    "cross_entropy_with_grad": _plain(cross_entropy_with_grad, "x", "y"),
    "linear_cross_entropy_with_grad": _plain(linear_cross_entropy_with_grad, "X", "W", "y", "b"),
}
