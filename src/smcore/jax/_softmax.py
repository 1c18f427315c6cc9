"""Softmax and its logarithm, and their products with vectors."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.interpreters import ad

import smcore

from .._arrays import Axis
from .._rows import Rows
from ._kernels import as_inexact, bind, call_native, computed_in, define, static

__all__ = ["as_rows", "as_where", "log_softmax", "product", "softmax", "sum_of_products"]


def softmax(x: Any, axis: Axis = -1, *, where: Any = None, scale: Any = 1.0) -> jax.Array:
    """Compute the softmax of each row, as `smcore.softmax` does.

    Parameters
    ----------
    x : array_like
        float16, bfloat16, float32 or float64, of any shape; or integers or booleans, which become
        JAX's default float.
    axis : int, tuple of ints or None, default -1
        The axis along which a row lies. Several axes make one row together; None takes all.
    where : array_like of bool, optional
        Which entries take part, broadcastable to `x`. The others get 0, and have no derivative.
    scale : float or array_like, default 1.0
        Compute ``softmax(scale * x)``: one number, or one for each row. Has a derivative, too.

    Returns
    -------
    jax.Array
        Numbers in [0, 1] that sum to one over each row, in the shape and dtype of `x`.

    Raises
    ------
    TypeError
        If `x` or `scale` is not real, or `where` not boolean.
    ValueError
        If `where` or `scale` has the wrong shape.
    numpy.exceptions.AxisError
        If `x` has no such axis.
    NotImplementedError
        If it is compiled for another platform than the CPU.

    Examples
    --------
    >>> import jax
    >>> import jax.numpy as jnp
    >>> import numpy as np
    >>> from smcore.jax import softmax
    >>> np.asarray(softmax(jnp.array([1.0, 2.0, 3.0]))).round(4)
    array([0.09  , 0.2447, 0.6652], dtype=float32)
    >>> np.asarray(jax.jacobian(softmax)(jnp.array([1.0, 2.0]))).round(4)
    array([[ 0.1966, -0.1966],
           [-0.1966,  0.1966]], dtype=float32)
    """
    return _normalized(x, where, _unless_one(scale), axis=static(axis), log=False)


def log_softmax(x: Any, axis: Axis = -1, *, where: Any = None, scale: Any = 1.0) -> jax.Array:
    """Compute the logarithm of the softmax of each row, as `smcore.log_softmax` does.

    Parameters
    ----------
    x : array_like
        float16, bfloat16, float32 or float64, of any shape; or integers or booleans, which become
        JAX's default float.
    axis : int, tuple of ints or None, default -1
        The axis along which a row lies. Several axes make one row together; None takes all.
    where : array_like of bool, optional
        Which entries take part, broadcastable to `x`. The others get -inf, and have no derivative.
    scale : float or array_like, default 1.0
        Compute ``log_softmax(scale * x)``: one number, or one for each row. Has a derivative, too.

    Returns
    -------
    jax.Array
        Numbers not above 0, in the shape and dtype of `x`.

    Raises
    ------
    TypeError
        If `x` or `scale` is not real, or `where` not boolean.
    ValueError
        If `where` or `scale` has the wrong shape.
    numpy.exceptions.AxisError
        If `x` has no such axis.
    NotImplementedError
        If it is compiled for another platform than the CPU.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> import numpy as np
    >>> from smcore.jax import log_softmax
    >>> np.asarray(log_softmax(jnp.array([1.0, 2.0, 3.0]))).round(4)
    array([-2.4076, -1.4076, -0.4076], dtype=float32)
    """
    return _normalized(x, where, _unless_one(scale), axis=static(axis), log=True)


def _unless_one(scale: Any) -> Any:
    """Return None for the default, which needs no multiplication."""
    return None if type(scale) in (int, float) and scale == 1 else scale


@functools.partial(jax.jit, static_argnames=("axis", "log"))
def _normalized(x: Any, where: Any, scale: Any, *, axis: Axis, log: bool) -> jax.Array:
    x = as_inexact(x, "x")
    rows = Rows(x.shape, axis)
    mask = as_where(where, rows, x.shape)
    if x.size == 0:
        return x
    operands = {"x": as_rows(rows, x)}
    if scale is not None:
        operands["scale"] = _scale_of_rows(scale, rows, computed_in(x.dtype))
    if mask is not None:
        operands["where"] = mask
    primitive = _log_softmax if log else _softmax
    return rows.restore(bind(primitive, *operands.values(), names=tuple(operands)))


def as_rows(rows: Rows, array: Any) -> Any:
    """Return ``(*lead, length)``."""
    return rows.view(array)


def as_where(where: Any, rows: Rows, shape: tuple[int, ...]) -> Any:
    """Return the argument `where` as rows, or None."""
    if where is None:
        return None
    where = jnp.asarray(where)
    if where.dtype != bool:
        raise TypeError(f"where must be boolean; found dtype {where.dtype}")
    try:
        return as_rows(rows, jnp.broadcast_to(where, shape))
    except ValueError:
        raise ValueError(
            f"where must have shape {shape} or broadcast to it; found {where.shape}"
        ) from None


def _scale_of_rows(scale: Any, rows: Rows, dtype: Any) -> Any:
    scale = as_inexact(scale, "scale").astype(dtype)
    lead = rows.lead if scale.ndim <= len(rows.lead) else rows.kept
    try:
        return jnp.broadcast_to(scale, lead).reshape(rows.lead)
    except ValueError:
        raise ValueError(
            f"scale must be one number, or one for each row: of shape {rows.lead} "
            f"(or {rows.kept}), or broadcast to it; found {scale.shape}"
        ) from None


# ---- the forward functions -----------------------------------------------------------------------


def _like_the_first(x: Any, *others: Any, **options: Any) -> list[tuple[Any, Any]]:
    return [(x.shape, x.dtype)]


def _on_host(function: Callable[..., Any]) -> Callable[..., Any]:
    def run(*arrays: Any, names: tuple[str, ...]) -> tuple[Any]:
        return (function(**dict(zip(names, arrays, strict=True))),)

    return run


def _native(name: str, masked: float) -> Callable[..., Any]:
    """Return how to call a handler; `masked` is the result where nothing takes part."""

    def run(expected: Any, *arrays: Any, names: tuple[str, ...]) -> Any:
        operands = dict(zip(names, arrays, strict=True))
        x, scale, where = operands["x"], operands.get("scale"), operands.get("where")
        if where is not None and scale is not None:  # -inf must meet a scale above 0
            x = x * jnp.sign(scale)[..., np.newaxis].astype(x.dtype)
            scale = jnp.where(scale == 0, 1, jnp.abs(scale))
        if where is not None:
            x = jnp.where(where, x, -jnp.inf)
        (found,) = call_native(name, expected, x, *([] if scale is None else [scale]))
        return [found if where is None else jnp.where(where, found, masked)]

    return run


def _moved_logits(names: tuple[str, ...], primals: Any, tangents: Any) -> Any:
    """Return the tangent of ``scale * x``, of which one moves at least; 0 where none takes part."""
    operands = dict(zip(names, primals, strict=True))
    moves = dict(zip(names, tangents, strict=True))
    x, scale, where = operands["x"], operands.get("scale"), operands.get("where")
    v, u = moves["x"], moves.get("scale")
    if type(v) is ad.Zero:
        v = None
    elif scale is not None:
        v = v * scale[..., np.newaxis].astype(x.dtype)
    if u is not None and type(u) is not ad.Zero:
        by_scale = jnp.where(jnp.isfinite(x), x, 0) * u[..., np.newaxis].astype(x.dtype)
        v = by_scale if v is None else v + by_scale
    return v if where is None else jnp.where(where, v, 0)


def _softmax_jvp(primals: Any, tangents: Any, *, names: tuple[str, ...]) -> Any:
    s = bind(_softmax, *primals, names=names)
    return [s], [product(s, _moved_logits(names, primals, tangents))]


def _log_softmax_jvp(primals: Any, tangents: Any, *, names: tuple[str, ...]) -> Any:
    log_s = bind(_log_softmax, *primals, names=names)
    moved = bind(_log_jvp, log_s, _moved_logits(names, primals, tangents))
    if "where" in names:
        moved = jnp.where(primals[names.index("where")], moved, 0)
    return [log_s], [moved]


_softmax = define("softmax", _like_the_first, _on_host(smcore.softmax), _native("softmax", 0))
_log_softmax = define(
    "log_softmax",
    _like_the_first,
    _on_host(smcore.log_softmax),
    _native("log_softmax", -np.inf),
)
ad.primitive_jvps[_softmax] = _softmax_jvp
ad.primitive_jvps[_log_softmax] = _log_softmax_jvp


# ---- products: linear in the vector --------------------------------------------------------------
#
# How they move with the forward result counts where that moves as a softmax does: its tangents sum
# to 0, so the vector may be taken relative to any number.


def product(s: Any, v: Any) -> Any:
    """Multiply vectors by the Jacobian matrices of softmax, which are symmetric."""
    return bind(_product, s, v)


def sum_of_products(a: Any, b: Any) -> Any:
    """Return the sum of each row of ``a * b``, as a row of length 1, in the dtype to compute in."""
    dtype = computed_in(a.dtype)
    return jnp.sum(a.astype(dtype) * b.astype(dtype), axis=-1, keepdims=True)


def _relative(s: Any, v: Any) -> Any:
    """Return `v` less its element at the largest `s`, in the dtype to compute in."""
    peak = jnp.argmax(s, axis=-1, keepdims=True)
    v = v.astype(computed_in(s.dtype))
    return v - jnp.take_along_axis(v, peak, axis=-1)


def _product_by_s(s: Any, v: Any, t: Any) -> Any:
    h = _relative(s, v)
    return (t * (h - sum_of_products(s, h)) - s * sum_of_products(t, h)).astype(s.dtype)


def _log_vjp_by_log_s(log_s: Any, g: Any, t: Any) -> Any:
    s = jnp.exp(log_s.astype(computed_in(log_s.dtype)))
    return (-s * jnp.where(s > 0, t, 0) * sum_of_products(g, jnp.ones_like(g))).astype(g.dtype)


def _log_jvp_by_log_s(log_s: Any, v: Any, t: Any) -> Any:
    s = jnp.exp(log_s.astype(computed_in(log_s.dtype)))
    moved = -sum_of_products(s * jnp.where(s > 0, t, 0), _relative(s, v))
    return jnp.broadcast_to(moved, v.shape).astype(v.dtype)


def _linear(name: str, host: Callable[..., Any], by_forward: Callable[..., Any]) -> Any:
    """Make a primitive of a forward result and a vector; how the former moves it, `by_forward`."""
    native = functools.partial(call_native, name)
    primitive = define(name, _like_the_first, lambda forward, v: (host(forward, v),), native)

    def jvp(primals: Any, tangents: Any) -> Any:
        by_s, by_v = tangents
        moved = []
        if type(by_v) is not ad.Zero:
            moved.append(bind(primitive, primals[0], by_v))
        if type(by_s) is not ad.Zero:
            moved.append(by_forward(*primals, by_s))
        return [bind(primitive, *primals)], [sum(moved[1:], moved[0])]

    ad.primitive_jvps[primitive] = jvp
    return primitive


def _transposes(primitive: Any, transposed: Any) -> None:
    """Say by which primitive a cotangent is multiplied."""

    def transpose(cotangents: Any, forward: Any, v: Any) -> list[Any]:
        return [None, bind(transposed, forward, *cotangents)]

    ad.primitive_transposes[primitive] = transpose


_product = _linear("softmax_vjp", smcore.softmax_vjp, _product_by_s)
_log_vjp = _linear("log_softmax_vjp", smcore.log_softmax_vjp, _log_vjp_by_log_s)
_log_jvp = _linear("log_softmax_jvp", smcore.log_softmax_jvp, _log_jvp_by_log_s)
_transposes(_product, _product)
_transposes(_log_jvp, _log_vjp)
_transposes(_log_vjp, _log_jvp)
