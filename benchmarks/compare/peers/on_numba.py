"""Numba: plain loops over the rows, compiled; sums may be reordered, NaN and inf are kept.

The rows are shared out where several threads are allowed.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

import numba
import numpy as np
from numba import prange
from numba.core.codegen import ll

from ..card import Cell
from ..measure import Call
from ..operands import Array, Operands
from ..settings import threads
from . import Prepare, UnsupportedError

Function = TypeVar("Function", bound=Callable[..., Any])

VERSION = f"{numba.__version__} ({numba.config.CPU_NAME or ll.get_host_cpu_name()})"
to_numpy = np.asarray

OPTIONS: dict[str, Any] = {"fastmath": {"reassoc", "nsz", "contract"}, "error_model": "numpy"}
jit: Callable[[Function], Function] = numba.njit(**OPTIONS)
jit_rows: Callable[[Function], Function] = numba.njit(**OPTIONS, parallel=threads() > 1)


@jit
def _peak(row: Array) -> Any:
    peak = row[0]
    for value in row:
        peak = max(peak, value)
    return peak


@jit_rows
def _softmax(x: Array, out: Array) -> Array:
    for i in prange(len(x)):
        peak, total = _peak(x[i]), x.dtype.type(0)
        for k in range(x.shape[1]):
            out[i, k] = np.exp(x[i, k] - peak)
            total += out[i, k]
        factor = 1 / total
        for k in range(x.shape[1]):
            out[i, k] *= factor
    return out


@jit_rows
def _log_softmax(x: Array, out: Array) -> Array:
    for i in prange(len(x)):
        peak, total = _peak(x[i]), x.dtype.type(0)
        for k in range(x.shape[1]):
            total += np.exp(x[i, k] - peak)
        shift = peak + np.log(total)
        for k in range(x.shape[1]):
            out[i, k] = x[i, k] - shift
    return out


@jit_rows
def _logsumexp(x: Array, out: Array) -> Array:
    for i in prange(len(x)):
        peak, total = _peak(x[i]), x.dtype.type(0)
        for k in range(x.shape[1]):
            total += np.exp(x[i, k] - peak)
        out[i] = peak + np.log(total)
    return out


@jit_rows
def _softmax_vjp(s: Array, g: Array, out: Array) -> Array:
    for i in prange(len(s)):
        total = s.dtype.type(0)
        for k in range(s.shape[1]):
            total += s[i, k] * g[i, k]
        for k in range(s.shape[1]):
            out[i, k] = s[i, k] * (g[i, k] - total)
    return out


@jit_rows
def _log_softmax_vjp(log_s: Array, g: Array, out: Array) -> Array:
    for i in prange(len(log_s)):
        total = log_s.dtype.type(0)
        for k in range(log_s.shape[1]):
            total += g[i, k]
        for k in range(log_s.shape[1]):
            out[i, k] = g[i, k] - np.exp(log_s[i, k]) * total
    return out


@jit_rows
def _log_softmax_jvp(log_s: Array, v: Array, out: Array) -> Array:
    for i in prange(len(log_s)):
        total = log_s.dtype.type(0)
        for k in range(log_s.shape[1]):
            total += np.exp(log_s[i, k]) * v[i, k]
        for k in range(log_s.shape[1]):
            out[i, k] = v[i, k] - total
    return out


@jit_rows
def _softmax_from_lse(x: Array, lse: Array, out: Array) -> Array:
    for i in prange(len(x)):
        for k in range(x.shape[1]):
            out[i, k] = np.exp(x[i, k] - lse[i])
    return out


@jit_rows
def _logsumexp_vjp(x: Array, lse: Array, g: Array, out: Array) -> Array:
    for i in prange(len(x)):
        for k in range(x.shape[1]):
            out[i, k] = np.exp(x[i, k] - lse[i]) * g[i]
    return out


@jit_rows
def _softmax_jacobian(s: Array, out: Array) -> Array:
    for i in prange(len(s)):
        for t in range(s.shape[1]):
            for k in range(s.shape[1]):
                out[i, t, k] = -s[i, t] * s[i, k]
            out[i, t, t] += s[i, t]
    return out


@jit_rows
def _log_softmax_jacobian(log_s: Array, out: Array) -> Array:
    for i in prange(len(log_s)):
        for k in range(log_s.shape[1]):
            out[i, 0, k] = -np.exp(log_s[i, k])
        for t in range(1, log_s.shape[1]):
            for k in range(log_s.shape[1]):
                out[i, t, k] = out[i, 0, k]
        for t in range(log_s.shape[1]):
            out[i, t, t] += log_s.dtype.type(1)
    return out


@jit_rows
def _softmax_layer_jacobian(s: Array, X: Array, out: Array) -> Array:
    for n in prange(len(s)):
        for t in range(s.shape[1]):
            for i in range(s.shape[1]):
                factor = -s[n, t] * s[n, i]
                if i == t:
                    factor += s[n, t]
                for j in range(X.shape[1]):
                    out[n, t, i, j] = factor * X[n, j]
    return out


@jit_rows
def _cross_entropy(x: Array, y: Array) -> Any:
    loss = 0.0
    for i in prange(len(x)):
        peak, total = _peak(x[i]), x.dtype.type(0)
        for k in range(x.shape[1]):
            total += np.exp(x[i, k] - peak)
        loss += peak + np.log(total) - x[i, y[i]]
    return loss / len(x)


@jit_rows
def _cross_entropy_hvp(s: Array, v: Array, out: Array) -> Array:
    factor = s.dtype.type(1 / len(s))
    for i in prange(len(s)):
        total = s.dtype.type(0)
        for k in range(s.shape[1]):
            total += s[i, k] * v[i, k]
        for k in range(s.shape[1]):
            out[i, k] = s[i, k] * (v[i, k] - total) * factor
    return out


@jit_rows
def _cross_entropy_with_grad(x: Array, y: Array, grad: Array) -> tuple[Any, Array]:
    loss, share = 0.0, x.dtype.type(1 / len(x))
    for i in prange(len(x)):
        peak, total = _peak(x[i]), x.dtype.type(0)
        for k in range(x.shape[1]):
            grad[i, k] = np.exp(x[i, k] - peak)
            total += grad[i, k]
        loss += peak + np.log(total) - x[i, y[i]]
        factor = share / total
        for k in range(x.shape[1]):
            grad[i, k] *= factor
        grad[i, y[i]] -= share
    return loss / len(x), grad


@jit
def _like(x: Array, *_: Array) -> Array:
    return np.empty(x.shape, x.dtype)


@jit
def _reduced(x: Array) -> Array:
    return np.empty(x.shape[0], x.dtype)


@jit
def _square(s: Array) -> Array:
    return np.empty((s.shape[0], s.shape[1], s.shape[1]), s.dtype)


@jit
def _cube(s: Array, X: Array) -> Array:
    return np.empty((s.shape[0], s.shape[1], s.shape[1], X.shape[1]), s.dtype)


def _allocating(kernel: Any, empty: Any) -> Any:
    """Compile a twin of `kernel` that makes its result, the last argument, by `empty`."""
    count = kernel.py_func.__code__.co_argcount - 1
    if count == 1:
        return jit(lambda x: kernel(x, empty(x)))
    if count == 2:
        return jit(lambda x, y: kernel(x, y, empty(x, y)))
    return jit(lambda x, y, z: kernel(x, y, z, empty(x, y, z)))  # *args would be slower


def _rows(kernel: Any, empty: Any = None) -> Prepare:
    """Prepare a kernel that takes rows: arrays of two axes, and of one if they have no classes."""
    allocating = kernel if empty is None else _allocating(kernel, empty)

    def prepare(cell: Cell, operands: Operands) -> Call:
        if cell.axis not in (-1, len(cell.shape) - 1):
            raise UnsupportedError("is written for the last axis")
        if cell.dtype not in ("float32", "float64"):
            raise UnsupportedError(f"has no {cell.dtype}")
        rows = len(cell.logits_shape) - 1
        arrays = {
            name: array.reshape(-1) if array.ndim == rows else array.reshape(-1, array.shape[-1])
            for name, array in operands.items()
        }
        if "out" in operands:
            return partial(kernel, *arrays.values())
        return partial(allocating, *arrays.values())

    return prepare


TABLE: dict[str, Prepare] = {
    "softmax": _rows(_softmax, _like),
    "log_softmax": _rows(_log_softmax, _like),
    "logsumexp": _rows(_logsumexp, _reduced),
    "softmax_vjp": _rows(_softmax_vjp, _like),
    "log_softmax_vjp": _rows(_log_softmax_vjp, _like),
    "log_softmax_jvp": _rows(_log_softmax_jvp, _like),
    "logsumexp_vjp": _rows(_logsumexp_vjp, _like),
    "softmax_from_lse": _rows(_softmax_from_lse, _like),
    "logsumexp_partial": _rows(_logsumexp, _reduced),
    "softmax_jacobian": _rows(_softmax_jacobian, _square),
    "log_softmax_jacobian": _rows(_log_softmax_jacobian, _square),
    "SoftmaxJacobian.matvec": _rows(_softmax_vjp, _like),
    "softmax_layer_jacobian": _rows(_softmax_layer_jacobian, _cube),
    "cross_entropy": _rows(_cross_entropy),
    "cross_entropy_with_grad": _rows(_cross_entropy_with_grad, _like),
    "cross_entropy_hvp": _rows(_cross_entropy_hvp, _like),
}
