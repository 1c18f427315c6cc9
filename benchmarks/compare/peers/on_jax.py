"""JAX: each operation compiled by ``jit`` as a whole, and waited for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jax import numpy as jnp

from ..card import Cell
from ..measure import Call
from ..operands import Operands, arrays_of
from ..settings import XLA_LIMITS, target
from . import Prepare, UnsupportedError

VERSION = f"{jax.__version__} ({XLA_LIMITS.get(target() or '', 'best instructions')})"
to_numpy = np.asarray

jax.config.update("jax_platforms", "cpu")
jax.config.update("jax_enable_x64", True)  # else float64 would silently be float32
jax.config.update("jax_cpu_enable_async_dispatch", False)  # handing over to a thread takes longer


def _compiled(
    function: Callable[..., Any], *, axis: bool = False, several: bool = False
) -> Prepare:
    """Prepare a function of the operands; `several` arrays may result."""

    def prepare(cell: Cell, operands: Operands) -> Call:
        if cell.out or cell.strided:
            raise UnsupportedError("has neither out nor strides")
        arrays = [jnp.asarray(array) for array in arrays_of(cell, operands)]
        options = {"axis": cell.axis} if axis else {}
        compiled = jax.jit(lambda *arrays: function(*arrays, **options))
        if several:
            return lambda: jax.block_until_ready(compiled(*arrays))
        return lambda: compiled(*arrays).block_until_ready()

    return prepare


def _softmax_vjp(s: Any, g: Any, axis: int | tuple[int, ...]) -> Any:
    return s * (g - (s * g).sum(axis, keepdims=True))


def _log_softmax_vjp(log_s: Any, g: Any, axis: int | tuple[int, ...]) -> Any:
    return g - jnp.exp(log_s) * g.sum(axis, keepdims=True)


def _log_softmax_jvp(log_s: Any, v: Any, axis: int | tuple[int, ...]) -> Any:
    return v - (jnp.exp(log_s) * v).sum(axis, keepdims=True)


def _softmax_from_lse(x: Any, lse: Any, axis: int | tuple[int, ...]) -> Any:
    return jnp.exp(x - jnp.expand_dims(lse, axis))


def _logsumexp_vjp(x: Any, lse: Any, g: Any, axis: int | tuple[int, ...]) -> Any:
    return _softmax_from_lse(x, lse, axis) * jnp.expand_dims(g, axis)


def _logsumexp_merge(m: Any, rest: Any, m2: Any, rest2: Any) -> Any:
    return jnp.logaddexp(m, m2)


def _softmax_jacobian(s: Any) -> Any:
    return s[..., :, None] * (jnp.eye(s.shape[-1], dtype=s.dtype) - s[..., None, :])


def _log_softmax_jacobian(log_s: Any) -> Any:
    return jnp.eye(log_s.shape[-1], dtype=log_s.dtype) - jnp.exp(log_s)[..., None, :]


def _product(s: Any, v: Any) -> Any:
    return _softmax_vjp(s, v, -1)


def _softmax_layer(X: Any, W: Any, b: Any) -> Any:
    return jax.nn.softmax(X @ W + b)


def _softmax_layer_jacobian(s: Any, X: Any) -> Any:
    return (_softmax_jacobian(s)[..., None] * X).reshape(len(s), -1)


def _softmax_layer_vjp(s: Any, X: Any, W: Any, g: Any) -> Any:
    dZ = _product(s, g)
    return X.T @ dZ, dZ.sum(0), dZ @ W.T


def _softmax_layer_jvp(s: Any, X: Any, W: Any, dW: Any, db: Any, dX: Any) -> Any:
    return _product(s, X @ dW + dX @ W + db)


def _cross_entropy(x: Any, y: Any) -> Any:
    picked = jnp.take_along_axis(x, y[:, None], axis=-1)[:, 0]
    return (jax.nn.logsumexp(x, axis=-1) - picked).mean()


def _cross_entropy_hvp(s: Any, v: Any) -> Any:
    return _product(s, v) / len(s)


def _linear_cross_entropy(parameters: Any, y: Any) -> Any:
    X, W, b = parameters
    return _cross_entropy(X @ W + b, y)


def _linear_cross_entropy_with_grad(X: Any, W: Any, y: Any, b: Any) -> Any:
    return jax.value_and_grad(_linear_cross_entropy)((X, W, b), y)


def _linear_cross_entropy_hvp(X: Any, W: Any, dW: Any, b: Any, db: Any) -> Any:
    """Move the gradient forward, as JAX's documentation advises."""
    y = jnp.zeros(len(X), int)  # the Hessian is the same for all labels
    grad = jax.grad(lambda W, b: _linear_cross_entropy((X, W, b), y), (0, 1))
    return jax.jvp(grad, (W, b), (dW, db))[1]


TABLE: dict[str, Prepare] = {
    "softmax": _compiled(jax.nn.softmax, axis=True),
    "log_softmax": _compiled(jax.nn.log_softmax, axis=True),
    "logsumexp": _compiled(jax.nn.logsumexp, axis=True),
    "softmax_vjp": _compiled(_softmax_vjp, axis=True),
    "log_softmax_vjp": _compiled(_log_softmax_vjp, axis=True),
    "log_softmax_jvp": _compiled(_log_softmax_jvp, axis=True),
    "logsumexp_vjp": _compiled(_logsumexp_vjp, axis=True),
    "softmax_from_lse": _compiled(_softmax_from_lse, axis=True),
    "logsumexp_partial": _compiled(jax.nn.logsumexp, axis=True),
    "logsumexp_merge": _compiled(_logsumexp_merge),
    "softmax_jacobian": _compiled(_softmax_jacobian),
    "log_softmax_jacobian": _compiled(_log_softmax_jacobian),
    "SoftmaxJacobian.matvec": _compiled(_product),
    "softmax_layer": _compiled(_softmax_layer),
    "softmax_layer_jacobian": _compiled(_softmax_layer_jacobian),
    "softmax_layer_vjp": _compiled(_softmax_layer_vjp, several=True),
    "softmax_layer_jvp": _compiled(_softmax_layer_jvp),
    "cross_entropy": _compiled(_cross_entropy),
    "cross_entropy_with_grad": _compiled(jax.value_and_grad(_cross_entropy), several=True),
    "cross_entropy_hvp": _compiled(_cross_entropy_hvp),
    "linear_cross_entropy": _compiled(lambda X, W, y, b: _linear_cross_entropy((X, W, b), y)),
    "linear_cross_entropy_with_grad": _compiled(_linear_cross_entropy_with_grad, several=True),
    "linear_cross_entropy_hvp": _compiled(_linear_cross_entropy_hvp, several=True),
}
