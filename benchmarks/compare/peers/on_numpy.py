"""NumPy: the formulas as they are commonly written, without needless temporaries.

Half precision is computed in float32: NumPy's own float16 arithmetic is slower, and less accurate.
"""

from __future__ import annotations

from functools import partial
from typing import Any, TypeAlias

import numpy as np

from ..card import Cell
from ..measure import Call
from ..operands import Array, Operands, arrays_of
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


def log_softmax_vjp(log_s: Array, g: Array, axis: Axis, out: Array | None = None) -> Array:
    """Compute the gradient from that of the output."""
    dx: Array = np.exp(log_s, out=out)
    dx *= g.sum(axis, keepdims=True)
    np.subtract(g, dx, out=dx)
    return dx


def log_softmax_jvp(log_s: Array, v: Array, axis: Axis, out: Array | None = None) -> Array:
    """Compute how the output moves."""
    terms: Array = np.exp(log_s, out=out)
    terms *= v
    np.subtract(v, terms.sum(axis, keepdims=True), out=terms)
    return terms


def softmax_from_lse(x: Array, lse: Array, axis: Axis, out: Array | None = None) -> Array:
    """Compute the softmax from the logsumexp."""
    s: Array = np.subtract(x, np.expand_dims(lse, axis), out=out)
    np.exp(s, out=s)
    return s


def logsumexp_vjp(x: Array, lse: Array, g: Array, axis: Axis, out: Array | None = None) -> Array:
    """Compute the gradient from that of the logsumexp."""
    dx = softmax_from_lse(x, lse, axis, out)
    dx *= np.expand_dims(g, axis)
    return dx


def logsumexp_merge(m: Array, rest: Array, m2: Array, rest2: Array) -> Array:
    """Compute the logsumexp of two parts from theirs; what rounding took is not kept."""
    total: Array = np.logaddexp(m, m2)
    return total


def softmax_jacobian(s: Array) -> Array:
    """Compute diag(s) - s s^T."""
    J = s[..., :, None] * -s[..., None, :]
    diagonal = np.einsum("...ii->...i", J)
    diagonal += s
    return J


def log_softmax_jacobian(log_s: Array) -> Array:
    """Compute I - 1 s^T."""
    J = np.empty((*log_s.shape, log_s.shape[-1]), log_s.dtype)
    J[...] = -np.exp(log_s)[..., None, :]
    diagonal = np.einsum("...ii->...i", J)
    diagonal += 1
    return J


def product(s: Array, v: Array) -> Array:
    """Multiply by the Jacobian matrix of softmax."""
    return softmax_vjp(s, v, -1)


def softmax_layer(X: Array, W: Array, b: Array) -> Array:
    """Compute the softmax of the layer."""
    z = X @ W
    z += b
    return softmax(z, -1, z)


def softmax_layer_vjp(s: Array, X: Array, W: Array, g: Array) -> tuple[Array, Array, Array]:
    """Compute the gradients from that of the output."""
    dZ = product(s, g)
    return X.T @ dZ, dZ.sum(0), dZ @ W.T


def softmax_layer_jvp(s: Array, X: Array, W: Array, dW: Array, db: Array, dX: Array) -> Array:
    """Compute how the output moves."""
    dZ = X @ dW
    dZ += dX @ W
    dZ += db
    return product(s, dZ)


def softmax_layer_jacobian(s: Array, X: Array) -> Array:
    """Compute dS/dW by the shortcut."""
    return (softmax_jacobian(s)[..., None] * X).reshape(len(s), -1)


def cross_entropy(x: Array, y: Array) -> Any:
    """Compute the mean loss of the rows."""
    return (logsumexp(x, -1) - x[np.arange(len(x)), y]).mean()


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


def cross_entropy_hvp(s: Array, v: Array) -> Array:
    """Multiply by the Hessian matrix of the mean loss."""
    Hv = product(s, v)
    Hv /= len(s)
    return Hv


def linear_cross_entropy(X: Array, W: Array, y: Array, b: Array) -> Any:
    """Compute the mean loss of the layer."""
    z = X @ W
    z += b
    return cross_entropy(z, y)


def linear_cross_entropy_with_grad(
    X: Array, W: Array, y: Array, b: Array
) -> tuple[Any, tuple[Array, Array, Array]]:
    """Compute the mean loss of the layer and the gradients."""
    loss, dZ = cross_entropy_with_grad(X @ W + b, y)
    return loss, (dZ @ W.T, X.T @ dZ, dZ.sum(0))


def linear_cross_entropy_hvp(
    X: Array, W: Array, dW: Array, b: Array, db: Array
) -> tuple[Array, Array]:
    """Multiply by the Hessian matrix of the layer's mean loss."""
    v = X @ dW
    v += db
    dZ = cross_entropy_hvp(softmax_layer(X, W, b), v)
    return X.T @ dZ, dZ.sum(0)


def _rowwise(function: Any) -> Prepare:
    """Prepare a function that takes `axis` and `out`; half precision by way of float32."""

    def through_float32(*arrays: Array, axis: Axis, out: Array | None = None) -> Any:
        result = function(*(array.astype(np.float32) for array in arrays), axis)
        if out is None:
            return result.astype(arrays[0].dtype)
        out[...] = result
        return out

    def prepare(cell: Cell, operands: Operands) -> Call:
        half = cell.dtype in ("float16", "bfloat16")
        arrays = arrays_of(cell, operands)
        out = operands.get("out")
        return partial(through_float32 if half else function, *arrays, axis=cell.axis, out=out)

    return prepare


def _plain(function: Any) -> Prepare:
    """Prepare a function of the operands alone."""

    def prepare(cell: Cell, operands: Operands) -> Call:
        if cell.axis != -1:
            raise UnsupportedError("is written for the last axis")
        options = {"out": operands["out"]} if "out" in operands else {}
        return partial(function, *arrays_of(cell, operands), **options)

    return prepare


TABLE: dict[str, Prepare] = {
    "softmax": _rowwise(softmax),
    "log_softmax": _rowwise(log_softmax),
    "logsumexp": _rowwise(logsumexp),
    "softmax_vjp": _rowwise(softmax_vjp),
    "log_softmax_vjp": _rowwise(log_softmax_vjp),
    "log_softmax_jvp": _rowwise(log_softmax_jvp),
    "logsumexp_vjp": _rowwise(logsumexp_vjp),
    "softmax_from_lse": _rowwise(softmax_from_lse),
    "logsumexp_partial": _rowwise(logsumexp),
    "logsumexp_merge": _plain(logsumexp_merge),
    "softmax_jacobian": _plain(softmax_jacobian),
    "log_softmax_jacobian": _plain(log_softmax_jacobian),
    "SoftmaxJacobian.matvec": _plain(product),
    "softmax_layer": _plain(softmax_layer),
    "softmax_layer_jacobian": _plain(softmax_layer_jacobian),
    "softmax_layer_vjp": _plain(softmax_layer_vjp),
    "softmax_layer_jvp": _plain(softmax_layer_jvp),
    "cross_entropy": _plain(cross_entropy),
    "cross_entropy_with_grad": _plain(cross_entropy_with_grad),
    "cross_entropy_hvp": _plain(cross_entropy_hvp),
    "linear_cross_entropy": _plain(linear_cross_entropy),
    "linear_cross_entropy_with_grad": _plain(linear_cross_entropy_with_grad),
    "linear_cross_entropy_hvp": _plain(linear_cross_entropy_hvp),
}
