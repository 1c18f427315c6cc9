"""Numba: plain loops over the rows, compiled; sums may be reordered, NaN and inf are kept."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

import numba
import numpy as np

from ..card import Cell
from ..measure import Call
from ..operands import Array, Operands
from . import Prepare, UnsupportedError

Function = TypeVar("Function", bound=Callable[..., Any])

VERSION = numba.__version__
to_numpy = np.asarray

jit: Callable[[Function], Function] = numba.njit(
    fastmath={"reassoc", "nsz", "contract"}, error_model="numpy"
)


@jit
def _peak(row: Array) -> Any:
    peak = row[0]
    for value in row:
        peak = max(peak, value)
    return peak


@jit
def _softmax(x: Array, out: Array) -> Array:
    for i in range(len(x)):
        peak, total = _peak(x[i]), x.dtype.type(0)
        for k in range(x.shape[1]):
            out[i, k] = np.exp(x[i, k] - peak)
            total += out[i, k]
        factor = 1 / total
        for k in range(x.shape[1]):
            out[i, k] *= factor
    return out


@jit
def _log_softmax(x: Array, out: Array) -> Array:
    for i in range(len(x)):
        peak, total = _peak(x[i]), x.dtype.type(0)
        for k in range(x.shape[1]):
            total += np.exp(x[i, k] - peak)
        shift = peak + np.log(total)
        for k in range(x.shape[1]):
            out[i, k] = x[i, k] - shift
    return out


@jit
def _logsumexp(x: Array, out: Array) -> Array:
    for i in range(len(x)):
        peak, total = _peak(x[i]), x.dtype.type(0)
        for k in range(x.shape[1]):
            total += np.exp(x[i, k] - peak)
        out[i] = peak + np.log(total)
    return out


@jit
def _softmax_vjp(s: Array, g: Array, out: Array) -> Array:
    for i in range(len(s)):
        total = s.dtype.type(0)
        for k in range(s.shape[1]):
            total += s[i, k] * g[i, k]
        for k in range(s.shape[1]):
            out[i, k] = s[i, k] * (g[i, k] - total)
    return out


@jit
def _softmax_jacobian(s: Array, out: Array) -> Array:
    for i in range(len(s)):
        for t in range(s.shape[1]):
            for k in range(s.shape[1]):
                out[i, t, k] = -s[i, t] * s[i, k]
            out[i, t, t] += s[i, t]
    return out


@jit
def _cross_entropy_with_grad(x: Array, y: Array, grad: Array) -> tuple[Any, Array]:
    N = len(x)
    loss = 0.0
    _softmax(x, grad)
    for i in range(N):
        loss -= np.log(grad[i, y[i]])
        for k in range(x.shape[1]):
            grad[i, k] /= N
        grad[i, y[i]] -= x.dtype.type(1 / N)
    return loss / N, grad


def _allocating(kernel: Any, kind: str) -> Any:
    """Compile a twin of `kernel` that allocates its result."""
    if kind == "like":
        return jit(lambda x: kernel(x, np.empty(x.shape, x.dtype)))
    if kind == "like, two":
        return jit(lambda x, y: kernel(x, y, np.empty(x.shape, x.dtype)))
    if kind == "reduced":
        return jit(lambda x: kernel(x, np.empty(x.shape[0], x.dtype)))
    return jit(lambda s: kernel(s, np.empty((s.shape[0], s.shape[1], s.shape[1]), s.dtype)))


def _rows(kernel: Any, kind: str, *names: str) -> Prepare:
    allocating = _allocating(kernel, kind)

    def prepare(cell: Cell, operands: Operands) -> Call:
        if len(cell.shape) != 2 or cell.axis not in (-1, 1):
            raise UnsupportedError("is written for matrices, along the last axis")
        if cell.dtype not in ("float32", "float64"):
            raise UnsupportedError(f"has no {cell.dtype}")
        arrays = [operands[name] for name in names]
        if "out" in operands:
            return partial(kernel, *arrays, operands["out"])
        return partial(allocating, *arrays)

    return prepare


TABLE: dict[str, Prepare] = {
    "softmax": _rows(_softmax, "like", "x"),
    "log_softmax": _rows(_log_softmax, "like", "x"),
    "logsumexp": _rows(_logsumexp, "reduced", "x"),
    "softmax_vjp": _rows(_softmax_vjp, "like, two", "s", "g"),
    "softmax_jacobian": _rows(_softmax_jacobian, "jacobian", "s"),
    "cross_entropy_with_grad": _rows(_cross_entropy_with_grad, "like, two", "x", "y"),
}
