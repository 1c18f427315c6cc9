"""Softmax and its logarithm, and their products with vectors."""

from __future__ import annotations

from typing import Any

import autograd.numpy as anp
import numpy as np
from autograd.extend import defjvp, defvjp, primitive
from autograd.tracer import isbox

import smcore

from .._arrays import Axis
from .._rows import Rows
from ._shared import kept_sum, only, value

__all__ = ["log_softmax", "product", "softmax"]


def softmax(x: Any, axis: Axis = -1, *, where: Any = None, scale: Any = 1.0) -> Any:
    """Compute the softmax of each row, as `smcore.softmax` does.

    Parameters
    ----------
    x : array_like
        Real numbers, of any shape and any dtype that `smcore.softmax` takes.
    axis : int, tuple of ints or None, default -1
        The axis along which a row lies. Several axes make one row together; None takes all.
    where : array_like of bool, optional
        Which entries take part, broadcastable to `x`. The others get 0, and have no derivative.
    scale : float or array_like, default 1.0
        Compute ``softmax(scale * x)``: one number, or one for each row. Has a derivative, too.

    Returns
    -------
    ndarray
        Numbers in [0, 1] that sum to one over each row, in the shape and dtype of `x`.

    Raises
    ------
    TypeError, ValueError, numpy.exceptions.AxisError
        As `smcore.softmax` says.

    Examples
    --------
    >>> import autograd.numpy as np
    >>> from autograd import grad
    >>> from smcore.autograd import softmax
    >>> grad(lambda scale: softmax(np.array([0.0, 1.0]), scale=scale)[1])(1.0).round(4)
    np.float64(0.1966)
    """
    return _softmax(x, _row_scale(scale, x, axis), axis, where)


def log_softmax(x: Any, axis: Axis = -1, *, where: Any = None, scale: Any = 1.0) -> Any:
    """Compute the logarithm of the softmax of each row, as `smcore.log_softmax` does.

    Parameters
    ----------
    x : array_like
        Real numbers, of any shape and any dtype that `smcore.log_softmax` takes.
    axis : int, tuple of ints or None, default -1
        The axis along which a row lies. Several axes make one row together; None takes all.
    where : array_like of bool, optional
        Which entries take part, broadcastable to `x`. The others get -inf, and have no derivative.
    scale : float or array_like, default 1.0
        Compute ``log_softmax(scale * x)``: one number, or one for each row. Has a derivative, too.

    Returns
    -------
    ndarray
        Numbers not above 0, in the shape and dtype of `x`.

    Raises
    ------
    TypeError, ValueError, numpy.exceptions.AxisError
        As `smcore.log_softmax` says.

    Examples
    --------
    >>> import autograd.numpy as np
    >>> from autograd import grad
    >>> from smcore.autograd import log_softmax
    >>> grad(lambda x: log_softmax(x)[0])(np.array([1.0, 2.0, 3.0])).round(4)
    array([ 0.91  , -0.2447, -0.6652])
    """
    return _log_softmax(x, _row_scale(scale, x, axis), axis, where)


def _row_scale(scale: Any, x: Any, axis: Axis) -> Any:
    """Return a plain number as it is, else one number for each row: `x` with `axis` at length 1."""
    if anp.ndim(scale) == 0 and not isbox(scale):
        return scale
    rows = Rows(anp.shape(x), axis)
    rows.numbers(value(scale), "scale")  # judged
    lead = anp.ndim(scale) <= len(rows.lead)
    return anp.reshape(anp.broadcast_to(scale, rows.lead if lead else rows.kept), rows.kept)


def _finite(x: Any) -> Any:
    """Return `x`, with 0 for what no finite change of a scale can move."""
    return anp.where(np.isfinite(value(x)), x, 0)


def _relative(s: Any, v: Any, axis: Axis) -> Any:
    """Return `v` less its element at the largest `s`, as `smcore.softmax_vjp` takes it."""
    values = value(s)
    peaks = values == np.max(values, axis=axis, keepdims=True, initial=0)
    shares = peaks / np.maximum(peaks.sum(axis=axis, keepdims=True), 1, dtype=values.dtype)
    return v - kept_sum(shares * v, axis)


def _raw_softmax(x: Any, scale: Any, axis: Axis, where: Any) -> Any:
    return smcore.softmax(x, axis, where=where, scale=scale)


def _raw_log_softmax(x: Any, scale: Any, axis: Axis, where: Any) -> Any:
    return smcore.log_softmax(x, axis, where=where, scale=scale)


def _raw_product(s: Any, v: Any, axis: Axis, where: Any) -> Any:
    return smcore.softmax_vjp(s, v, axis, where=where)


def _raw_log_vjp(log_s: Any, g: Any, axis: Axis, where: Any) -> Any:
    return smcore.log_softmax_vjp(log_s, g, axis, where=where)


def _raw_log_jvp(log_s: Any, v: Any, axis: Axis, where: Any) -> Any:
    return smcore.log_softmax_jvp(log_s, v, axis, where=where)


_softmax = primitive(_raw_softmax)
_log_softmax = primitive(_raw_log_softmax)
product = primitive(_raw_product)
_log_vjp = primitive(_raw_log_vjp)
_log_jvp = primitive(_raw_log_jvp)

defvjp(
    _softmax,
    lambda y, x, scale, axis, where: lambda g: scale * product(y, g, axis, where),
    lambda y, x, scale, axis, where: (
        lambda g: kept_sum(_finite(x) * product(y, g, axis, where), axis)
    ),
)
defjvp(
    _softmax,
    lambda v, y, x, scale, axis, where: product(y, scale * v, axis, where),
    lambda v, y, x, scale, axis, where: product(y, _finite(x) * v, axis, where),
)
defvjp(
    _log_softmax,
    lambda y, x, scale, axis, where: lambda g: scale * _log_vjp(y, g, axis, where),
    lambda y, x, scale, axis, where: (
        lambda g: kept_sum(_finite(x) * _log_vjp(y, g, axis, where), axis)
    ),
)
defjvp(
    _log_softmax,
    lambda v, y, x, scale, axis, where: _log_jvp(y, scale * v, axis, where),
    lambda v, y, x, scale, axis, where: _log_jvp(y, _finite(x) * v, axis, where),
)


# The products are linear in the vector.  How they move with the forward result counts where that
# moves as a softmax does: its tangents sum to 0, so the vector may be taken relative to any number.


def _product_by_s_vjp(y: Any, s: Any, v: Any, axis: Axis, where: Any) -> Any:
    h = _relative(s, only(v, where), axis)
    return lambda g: (
        only(g, where) * (h - kept_sum(s * h, axis)) - h * kept_sum(s * only(g, where), axis)
    )


def _product_by_s_jvp(t: Any, y: Any, s: Any, v: Any, axis: Axis, where: Any) -> Any:
    h = _relative(s, only(v, where), axis)
    return t * (h - kept_sum(s * h, axis)) - s * kept_sum(t * h, axis)


def _log_vjp_by_log_s(u: Any, log_s: Any, g: Any, axis: Axis, where: Any) -> Any:
    """Multiply by what is diagonal, and so its own transpose."""
    return -anp.exp(log_s) * only(u, where) * kept_sum(only(g, where), axis)


def _log_jvp_by_log_s_vjp(y: Any, log_s: Any, v: Any, axis: Axis, where: Any) -> Any:
    s = anp.exp(log_s)
    h = _relative(s, only(v, where), axis)
    return lambda g: -s * h * kept_sum(only(g, where), axis)


def _log_jvp_by_log_s_jvp(t: Any, y: Any, log_s: Any, v: Any, axis: Axis, where: Any) -> Any:
    s = anp.exp(log_s)
    h = _relative(s, only(v, where), axis)
    return only(anp.zeros_like(value(s)) - kept_sum(s * only(t, where) * h, axis), where)


defvjp(
    product,
    _product_by_s_vjp,
    lambda y, s, v, axis, where: lambda g: product(s, g, axis, where),
)
defjvp(product, _product_by_s_jvp, "same")
defvjp(
    _log_vjp,
    lambda y, log_s, g, axis, where: lambda u: _log_vjp_by_log_s(u, log_s, g, axis, where),
    lambda y, log_s, g, axis, where: lambda u: _log_jvp(log_s, u, axis, where),
)
defjvp(
    _log_vjp,
    lambda t, y, log_s, g, axis, where: _log_vjp_by_log_s(t, log_s, g, axis, where),
    "same",
)
defvjp(
    _log_jvp,
    _log_jvp_by_log_s_vjp,
    lambda y, log_s, v, axis, where: lambda g: _log_vjp(log_s, g, axis, where),
)
defjvp(_log_jvp, _log_jvp_by_log_s_jvp, "same")
