"""JAX: each operation compiled by ``jit`` as a whole, and waited for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jax import numpy as jnp

from ..card import Cell
from ..measure import Call
from ..operands import Operands
from . import Prepare, UnsupportedError

VERSION = jax.__version__
to_numpy = np.asarray

jax.config.update("jax_platforms", "cpu")
jax.config.update("jax_enable_x64", True)  # else float64 would silently be float32
jax.config.update("jax_cpu_enable_async_dispatch", False)  # handing over to a thread takes longer


def _compiled(
    function: Callable[..., Any], *names: str, axis: bool = False, several: bool = False
) -> Prepare:
    """Prepare a function of the operands of these names; `several` arrays may result."""

    def prepare(cell: Cell, operands: Operands) -> Call:
        if cell.out or cell.strided:
            raise UnsupportedError("has neither out nor strides")
        arrays = [jnp.asarray(operands[name]) for name in names]
        options = {"axis": cell.axis} if axis else {}
        compiled = jax.jit(lambda *arrays: function(*arrays, **options))
        if several:
            return lambda: jax.block_until_ready(compiled(*arrays))
        return lambda: compiled(*arrays).block_until_ready()

    return prepare


def _softmax_vjp(s: Any, g: Any, axis: int | tuple[int, ...]) -> Any:
    return s * (g - (s * g).sum(axis, keepdims=True))


def _softmax_jacobian(s: Any) -> Any:
    return s[..., :, None] * (jnp.eye(s.shape[-1], dtype=s.dtype) - s[..., None, :])


def _softmax_layer_jacobian(s: Any, x: Any) -> Any:
    return (_softmax_jacobian(s)[..., None] * x).reshape(len(s), -1)


def _cross_entropy(x: Any, y: Any) -> Any:
    picked = jnp.take_along_axis(x, y[:, None], axis=-1)[:, 0]
    return (jax.nn.logsumexp(x, axis=-1) - picked).mean()


def _linear_cross_entropy(parameters: Any, y: Any) -> Any:
    X, W, b = parameters
    return _cross_entropy(X @ W + b, y)


def _linear_cross_entropy_with_grad(X: Any, W: Any, y: Any, b: Any) -> Any:
    return jax.value_and_grad(_linear_cross_entropy)((X, W, b), y)


TABLE: dict[str, Prepare] = {
    "softmax": _compiled(jax.nn.softmax, "x", axis=True),
    "log_softmax": _compiled(jax.nn.log_softmax, "x", axis=True),
    "logsumexp": _compiled(jax.nn.logsumexp, "x", axis=True),
    "softmax_vjp": _compiled(_softmax_vjp, "s", "g", axis=True),
    "softmax_jacobian": _compiled(_softmax_jacobian, "s"),
    "softmax_layer_jacobian": _compiled(_softmax_layer_jacobian, "s", "x"),
    "cross_entropy_with_grad": _compiled(
        jax.value_and_grad(_cross_entropy), "x", "y", several=True
    ),
    "linear_cross_entropy_with_grad": _compiled(
        _linear_cross_entropy_with_grad, "X", "W", "y", "b", several=True
    ),
}
