"""Logsumexp, with factors and a sign."""

from __future__ import annotations

from typing import Any

import autograd.numpy as anp
import numpy as np
from autograd.extend import defjvp, defvjp, notrace_primitive, primitive

import smcore

from .._arrays import Axis
from ._shared import kept, kept_sum, only, value
from ._softmax import product

__all__ = ["logsumexp"]


def logsumexp(
    x: Any,
    axis: Axis = -1,
    *,
    b: Any = None,
    where: Any = None,
    keepdims: bool = False,
    return_sign: bool = False,
) -> Any:
    """Compute the logarithm of the sum of the exponentials of each row, as `smcore.logsumexp` does.

    Parameters
    ----------
    x : array_like
        Real numbers, of any shape.
    axis : int, tuple of ints or None, default -1
        The axis along which a row lies. Several axes make one row together; None takes all.
    b : array_like, optional
        Factors of the exponentials: ``log(sum(b * exp(x)))``. `b` and `x` are broadcast against
        each other. Has a derivative, too.
    where : array_like of bool, optional
        Which entries take part, broadcastable to `x`. The others have no derivative.
    keepdims : bool, default False
        Keep the axes summed over, at length 1.
    return_sign : bool, default False
        Return ``(log(abs(sum)), sign(sum))``. Without it, a negative sum gives NaN. The sign has no
        derivative.

    Returns
    -------
    ndarray or scalar
        The shape of `x` without `axis`.
    sign : ndarray or scalar
        Only if `return_sign`: 1, 0, -1 or NaN, in the same shape and dtype.

    Raises
    ------
    TypeError, ValueError, numpy.exceptions.AxisError
        As `smcore.logsumexp` says.

    Examples
    --------
    >>> import autograd.numpy as np
    >>> from autograd import grad
    >>> from smcore.autograd import logsumexp
    >>> x, b = np.array([1.0, 2.0]), np.array([1.0, -1.0])
    >>> grad(lambda x: logsumexp(x, b=b, return_sign=True)[0])(x).round(4)
    array([-0.582,  1.582])
    """
    if b is None and not return_sign:
        return _logsumexp(x, axis, where, keepdims)
    b = anp.ones_like(value(x)) if b is None else b
    shape = np.broadcast_shapes(anp.shape(x), anp.shape(b))
    x, b = (a if anp.shape(a) == shape else anp.broadcast_to(a, shape) for a in (x, b))
    how = axis, where, keepdims
    log = _log_sum(x, b, return_sign, *how)
    return (log, _sign_of_sum(x, b, *how)) if return_sign else log


def _raw_logsumexp(x: Any, axis: Axis, where: Any, keepdims: bool) -> Any:
    return smcore.logsumexp(x, axis, where=where, keepdims=keepdims)


def _raw_softmax_of_lse(x: Any, lse: Any, axis: Axis, where: Any) -> Any:
    return smcore.softmax_from_lse(x, lse, axis, where=where)


def _raw_log_sum(x: Any, b: Any, signed: bool, axis: Axis, where: Any, keepdims: bool) -> Any:
    found = smcore.logsumexp(x, axis, b=b, where=where, keepdims=keepdims, return_sign=signed)
    return found[0] if signed else found


def _raw_sign_of_sum(x: Any, b: Any, axis: Axis, where: Any, keepdims: bool) -> Any:
    return smcore.logsumexp(x, axis, b=b, where=where, keepdims=keepdims, return_sign=True)[1]


_logsumexp = primitive(_raw_logsumexp)
_softmax_of_lse = primitive(_raw_softmax_of_lse)  # `lse` is that of x: it moves with it
_exp_minus = primitive(_raw_softmax_of_lse)  # the same, of any numbers
_log_sum = primitive(_raw_log_sum)
_sign_of_sum = notrace_primitive(_raw_sign_of_sum)


def _logsumexp_jvp(v: Any, y: Any, x: Any, axis: Axis, where: Any, keepdims: bool) -> Any:
    moved = _softmax_of_lse(x, y, axis, where) * only(v, where)
    return anp.sum(moved, axis=axis, keepdims=keepdims)


defvjp(
    _logsumexp,
    lambda y, x, axis, where, keepdims: (
        lambda g: kept(g, x, axis) * _softmax_of_lse(x, y, axis, where)
    ),
)
defjvp(_logsumexp, _logsumexp_jvp)
defvjp(
    _softmax_of_lse,
    lambda y, x, lse, axis, where: lambda g: product(y, g, axis, where),
    None,
)
defjvp(_softmax_of_lse, lambda v, y, x, lse, axis, where: product(y, v, axis, where), None)
defvjp(
    _exp_minus,
    lambda y, x, lse, axis, where: lambda g: y * g,
    lambda y, x, lse, axis, where: lambda g: -anp.reshape(kept_sum(y * g, axis), anp.shape(lse)),
)
defjvp(
    _exp_minus,
    lambda v, y, x, lse, axis, where: y * v,
    lambda v, y, x, lse, axis, where: -y * kept(v, x, axis),
)


def _share(y: Any, x: Any, b: Any, axis: Axis, where: Any, by_b: bool) -> Any:
    """Return the derivative of the logarithm of each row's sum by its elements of x, or of b.

    That by x does not look at x where b is 0, which takes no part.
    """
    counted = np.not_equal(value(b), 0)
    counted = counted if where is None else counted & where
    sign = np.sign(
        kept_sum(value(b) * smcore.softmax_from_lse(value(x), value(y), axis, where=counted), axis)
    )
    if by_b:
        return sign * _exp_minus(x, y, axis, where)
    return sign * only(b, counted) * _exp_minus(x, y, axis, counted)


def _log_sum_vjp(by_b: bool) -> Any:
    def maker(y: Any, x: Any, b: Any, signed: bool, axis: Axis, where: Any, keepdims: bool) -> Any:
        return lambda g: kept(g, x, axis) * _share(y, x, b, axis, where, by_b)

    return maker


def _log_sum_jvp(by_b: bool) -> Any:
    def jvp(
        v: Any, y: Any, x: Any, b: Any, signed: bool, axis: Axis, where: Any, keepdims: bool
    ) -> Any:
        moved = _share(y, x, b, axis, where, by_b) * only(v, where)
        return anp.sum(moved, axis=axis, keepdims=keepdims)

    return jvp


defvjp(_log_sum, _log_sum_vjp(by_b=False), _log_sum_vjp(by_b=True))
defjvp(_log_sum, _log_sum_jvp(by_b=False), _log_sum_jvp(by_b=True))
