"""Logsumexp."""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp
from jax.interpreters import ad

import smcore

from .._arrays import Axis
from .._rows import Rows
from ._kernels import as_inexact, bind, call_native, define, static
from ._softmax import as_where, product, sum_of_products

__all__ = ["logsumexp"]


def logsumexp(x: Any, axis: Axis = -1, *, where: Any = None, keepdims: bool = False) -> jax.Array:
    """Compute the logarithm of the sum of the exponentials of each row, as `smcore.logsumexp` does.

    Parameters
    ----------
    x : array_like
        float16, bfloat16, float32 or float64, of any shape; or integers or booleans, which become
        JAX's default float.
    axis : int, tuple of ints or None, default -1
        The axis along which a row lies. Several axes make one row together; None takes all.
    where : array_like of bool, optional
        Which entries take part, broadcastable to `x`. The others have no derivative.
    keepdims : bool, default False
        Keep the axes summed over, at length 1.

    Returns
    -------
    jax.Array
        The shape of `x` without `axis`, in its dtype.

    Raises
    ------
    TypeError
        If `x` is not real, or `where` not boolean.
    ValueError
        If `where` has the wrong shape.
    numpy.exceptions.AxisError
        If `x` has no such axis.
    NotImplementedError
        If it is compiled for another platform than the CPU.

    Examples
    --------
    >>> import jax
    >>> import jax.numpy as jnp
    >>> import numpy as np
    >>> from smcore.jax import logsumexp
    >>> np.asarray(logsumexp(jnp.array([[1000.0, 1000.5], [1.0, 2.0]]))).round(4)
    array([1000.9741,    2.3133], dtype=float32)
    >>> np.asarray(jax.grad(logsumexp)(jnp.array([1.0, 2.0]))).round(4)
    array([0.2689, 0.7311], dtype=float32)
    """
    return _logsumexp_of(x, where, axis=static(axis), keepdims=bool(keepdims))


@functools.partial(jax.jit, static_argnames=("axis", "keepdims"))
def _logsumexp_of(x: Any, where: Any, *, axis: Axis, keepdims: bool) -> jax.Array:
    x = as_inexact(x, "x")
    rows = Rows(x.shape, axis)
    mask = as_where(where, rows, x.shape)
    shape = rows.kept if keepdims else rows.lead
    if x.size == 0:
        return jnp.full(shape, -jnp.inf, x.dtype)
    return bind(_logsumexp, rows.view(x), *([] if mask is None else [mask])).reshape(shape)


def _one_value_a_row(x: Any, *others: Any) -> list[tuple[Any, Any]]:
    return [(x.shape[:-1], x.dtype)]


def _on_host(x: Any, where: Any = None) -> tuple[Any]:
    return (smcore.logsumexp(x, where=where),)


def _softmax_on_host(x: Any, lse: Any, where: Any = None) -> tuple[Any]:
    return (smcore.softmax_from_lse(x, lse, where=where),)


def _native(expected: Any, x: Any, *where: Any) -> Any:
    return call_native("logsumexp", expected, jnp.where(where[0], x, -jnp.inf) if where else x)


def _softmax_native(expected: Any, x: Any, lse: Any, *where: Any) -> Any:
    (s,) = call_native("softmax_of_lse", expected, x, lse)
    return [jnp.where(where[0], s, 0) if where else s]


_logsumexp = define("logsumexp", _one_value_a_row, _on_host, _native)
# exp(x - lse): the lse is that of x, and moves with it.
_softmax_of_lse = define(
    "softmax_of_lse", lambda x, *_: [(x.shape, x.dtype)], _softmax_on_host, _softmax_native
)


def _logsumexp_jvp(primals: Any, tangents: Any) -> Any:
    lse = bind(_logsumexp, *primals)
    x, *where = primals
    v = tangents[0]
    s = bind(_softmax_of_lse, x, lse, *where)
    v = jnp.where(where[0], v, 0) if where else v
    return [lse], [sum_of_products(s, v)[..., 0].astype(lse.dtype)]


def _softmax_of_lse_jvp(primals: Any, tangents: Any) -> Any:
    s = bind(_softmax_of_lse, *primals)
    _, _, *where = primals
    v = tangents[0]
    return [s], [product(s, jnp.where(where[0], v, 0) if where else v)]


ad.primitive_jvps[_logsumexp] = _logsumexp_jvp
ad.primitive_jvps[_softmax_of_lse] = _softmax_of_lse_jvp
