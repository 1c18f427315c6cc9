"""Derivatives of softmax, log_softmax and logsumexp, from what the forward pass returned.

For one row these are a Jacobian matrix ``J[i, k]``, the derivative of output i by input k, and its
products with a vector: ``g @ J`` (vjp, the backward pass) and ``J @ v`` (jvp). The products cost no
more than the forward pass.
"""

from __future__ import annotations

from typing import TypedDict, Unpack, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ._arrays import (
    Array,
    Axis,
    F,
    Rows,
    Selection,
    as_float,
    as_floats,
    as_like,
    as_matrices,
    as_output,
    deliver,
)
from ._backend import kernels
from ._calls import public

__all__ = [
    "log_softmax_jacobian",
    "log_softmax_jvp",
    "log_softmax_vjp",
    "logsumexp_vjp",
    "softmax_jacobian",
    "softmax_jvp",
    "softmax_vjp",
]


class _Options(TypedDict, total=False):
    """What all functions here take besides."""

    where: ArrayLike | None
    out: Array | None


@overload
def softmax_jacobian(s: NDArray[F], axis: Axis = -1, **options: Unpack[_Options]) -> NDArray[F]: ...
@overload
def softmax_jacobian(s: ArrayLike, axis: Axis = -1, **options: Unpack[_Options]) -> Array: ...
@public
def softmax_jacobian(
    s: ArrayLike, axis: Axis = -1, *, where: ArrayLike | None = None, out: Array | None = None
) -> Array:
    r"""Compute the Jacobian matrix of softmax for each row.

    Parameters
    ----------
    s : array_like
        What `softmax` returned.
    axis : int, tuple of ints or None, default -1
        The axis along which a row lies. Several axes make one row together; None takes all.
    where : array_like of bool, optional
        Which entries take part, as `softmax` was told, broadcastable to `s`. The others are
        never looked at, and their rows and columns get 0.
    out : ndarray, optional
        Where to write the result, of its shape and dtype.

    Returns
    -------
    ndarray
        ``(..., K, K)`` for rows of length K: the axes that are not in `axis`, in their order, then
        the output's index and the input's. `out` if given.

    Raises
    ------
    TypeError
        If an argument is not real, `where` not boolean, or `out` of another dtype.
    ValueError
        If `where` or `out` has the wrong shape, or `out` cannot be written.
    MemoryError
        If the matrices cannot be held. Nothing is written then.
    numpy.exceptions.AxisError
        If `s` has no such axis.

    See Also
    --------
    SoftmaxJacobian : The same as a linear operator, without the matrix.
    softmax_vjp : Its product with a vector, without the matrix.
    softmax_layer_jacobian : The derivative by the weights of a layer.

    Notes
    -----
    .. math:: \frac{\partial s_i}{\partial x_k} = s_i (\delta_{ik} - s_k), \qquad
              J = \operatorname{diag}(s) - s s^T,

    by the quotient rule (E. Bendersky, "The Softmax function and its derivative", 2016). J is
    symmetric; its rows and columns sum to zero. On the diagonal, an :math:`s_i` above one half is
    multiplied by the sum of the others rather than by :math:`1 - s_i`, which would cancel.

    Examples
    --------
    >>> from smcore import softmax, softmax_jacobian
    >>> softmax_jacobian(softmax([1.0, 2.0, 3.0])).round(4)
    array([[ 0.0819, -0.022 , -0.0599],
           [-0.022 ,  0.1848, -0.1628],
           [-0.0599, -0.1628,  0.2227]])
    """
    instead = "SoftmaxJacobian(s), or the products softmax_vjp and softmax_jvp"
    return _jacobian("softmax_jacobian", s, "s", axis, where, out, instead)


@overload
def softmax_vjp(
    s: NDArray[F], g: NDArray[F] | float, axis: Axis = -1, **options: Unpack[_Options]
) -> NDArray[F]: ...
@overload
def softmax_vjp(
    s: ArrayLike, g: ArrayLike, axis: Axis = -1, **options: Unpack[_Options]
) -> Array: ...
@public
def softmax_vjp(
    s: ArrayLike,
    g: ArrayLike,
    axis: Axis = -1,
    *,
    where: ArrayLike | None = None,
    out: Array | None = None,
) -> Array:
    r"""Multiply an upstream gradient by the Jacobian matrix of softmax: its backward pass.

    Parameters
    ----------
    s : array_like
        What `softmax` returned.
    g : array_like
        The gradient of a scalar by `s`, of the shape of `s` or broadcastable to it.
    axis : int, tuple of ints or None, default -1
        The axis along which a row lies. Several axes make one row together; None takes all.
    where : array_like of bool, optional
        Which entries take part, as `softmax` was told, broadcastable to `s`. The others are
        never looked at, in `g` neither, and get 0.
    out : ndarray, optional
        Where to write the result, of its shape and dtype. May be `s` or `g` itself, or overlap
        them.

    Returns
    -------
    ndarray
        The shape of `s`, in the dtype that `s` and `g` promote to: `out` if given, a NumPy
        scalar if it is 0-d.

    Raises
    ------
    TypeError
        If an argument is not real, `where` not boolean, or `out` of another dtype.
    ValueError
        If `g`, `where` or `out` has the wrong shape, or `out` cannot be written.
    numpy.exceptions.AxisError
        If `s` has no such axis.

    See Also
    --------
    softmax_jvp : The same product, as the forward derivative.
    log_softmax_vjp : The same for the logarithm.

    Notes
    -----
    .. math:: \frac{\partial L}{\partial x_i} = s_i \Bigl(g_i - \sum_k g_k s_k\Bigr),

    which is :math:`J^T g` for the matrix of `softmax_jacobian`, multiplied out. A constant `g`
    gives zero: the softmax sums to one whatever `x` is. So `g` is taken relative to its element
    :math:`g_p` at the largest :math:`s_p`, which may have been rounded to 1: with
    :math:`h_i = g_i - g_p` the error is at most
    :math:`4 \epsilon s_i (|h_i| + \sum_k s_k |h_k|)`, from the logits on, and what is left of a
    sure prediction is kept.

    Examples
    --------
    >>> from smcore import softmax, softmax_vjp
    >>> s = softmax([1.0, 2.0, 3.0])
    >>> softmax_vjp(s, [1.0, 0.0, 0.0]).round(4)
    array([ 0.0819, -0.022 , -0.0599])
    """
    return _product("softmax_vjp", axis, where, out, s=s, g=g)


@overload
def softmax_jvp(
    s: NDArray[F], v: NDArray[F] | float, axis: Axis = -1, **options: Unpack[_Options]
) -> NDArray[F]: ...
@overload
def softmax_jvp(
    s: ArrayLike, v: ArrayLike, axis: Axis = -1, **options: Unpack[_Options]
) -> Array: ...
@public
def softmax_jvp(
    s: ArrayLike,
    v: ArrayLike,
    axis: Axis = -1,
    *,
    where: ArrayLike | None = None,
    out: Array | None = None,
) -> Array:
    r"""Multiply the Jacobian matrix of softmax by a tangent: its forward derivative.

    Parameters
    ----------
    s : array_like
        What `softmax` returned.
    v : array_like
        A direction in which the input moves, of the shape of `s` or broadcastable to it.
    axis : int, tuple of ints or None, default -1
        The axis along which a row lies. Several axes make one row together; None takes all.
    where : array_like of bool, optional
        Which entries take part, as `softmax` was told, broadcastable to `s`. The others are
        never looked at, in `v` neither, and get 0.
    out : ndarray, optional
        Where to write the result, of its shape and dtype. May be `s` or `v` itself, or overlap
        them.

    Returns
    -------
    ndarray
        The shape of `s`, in the dtype that `s` and `v` promote to: `out` if given, a NumPy
        scalar if it is 0-d.

    Raises
    ------
    TypeError
        If an argument is not real, `where` not boolean, or `out` of another dtype.
    ValueError
        If `v`, `where` or `out` has the wrong shape, or `out` cannot be written.
    numpy.exceptions.AxisError
        If `s` has no such axis.

    See Also
    --------
    softmax_vjp : The backward pass.
    softmax_jacobian : The matrix itself.

    Notes
    -----
    .. math:: \dot s_i = s_i \Bigl(v_i - \sum_k s_k v_k\Bigr).

    The Jacobian matrix is symmetric, so this is the product that `softmax_vjp` computes, with the
    error that is given there.

    Examples
    --------
    >>> from smcore import softmax, softmax_jvp
    >>> s = softmax([1.0, 2.0, 3.0])
    >>> softmax_jvp(s, [0.0, 0.0, 1.0]).round(4)
    array([-0.0599, -0.1628,  0.2227])
    """
    return _product("softmax_vjp", axis, where, out, s=s, v=v)


@overload
def log_softmax_jacobian(
    log_s: NDArray[F], axis: Axis = -1, **options: Unpack[_Options]
) -> NDArray[F]: ...
@overload
def log_softmax_jacobian(
    log_s: ArrayLike, axis: Axis = -1, **options: Unpack[_Options]
) -> Array: ...
@public
def log_softmax_jacobian(
    log_s: ArrayLike, axis: Axis = -1, *, where: ArrayLike | None = None, out: Array | None = None
) -> Array:
    r"""Compute the Jacobian matrix of log_softmax for each row.

    Parameters
    ----------
    log_s : array_like
        What `log_softmax` returned.
    axis : int, tuple of ints or None, default -1
        The axis along which a row lies. Several axes make one row together; None takes all.
    where : array_like of bool, optional
        Which entries take part, as `log_softmax` was told, broadcastable to `log_s`. The others are
        never looked at, and their rows and columns get 0.
    out : ndarray, optional
        Where to write the result, of its shape and dtype.

    Returns
    -------
    ndarray
        ``(..., K, K)`` for rows of length K: the axes that are not in `axis`, in their order, then
        the output's index and the input's. `out` if given.

    Raises
    ------
    TypeError
        If an argument is not real, `where` not boolean, or `out` of another dtype.
    ValueError
        If `where` or `out` has the wrong shape, or `out` cannot be written.
    MemoryError
        If the matrices cannot be held. Nothing is written then.
    numpy.exceptions.AxisError
        If `log_s` has no such axis.

    See Also
    --------
    log_softmax_vjp : Its product with a gradient, without the matrix.
    log_softmax_jvp : Its product with a tangent, without the matrix.

    Notes
    -----
    .. math:: \frac{\partial \log s_i}{\partial x_k} = \delta_{ik} - s_k, \qquad J = I - 1 s^T.

    The diagonal is computed as ``-expm1(log_s)``, which keeps its digits where `s` rounds to 1.

    Examples
    --------
    >>> from smcore import log_softmax, log_softmax_jacobian
    >>> log_softmax_jacobian(log_softmax([1.0, 2.0, 3.0])).round(4)
    array([[ 0.91  , -0.2447, -0.6652],
           [-0.09  ,  0.7553, -0.6652],
           [-0.09  , -0.2447,  0.3348]])
    """
    instead = "the products log_softmax_vjp and log_softmax_jvp"
    return _jacobian("log_softmax_jacobian", log_s, "log_s", axis, where, out, instead)


@overload
def log_softmax_vjp(
    log_s: NDArray[F], g: NDArray[F] | float, axis: Axis = -1, **options: Unpack[_Options]
) -> NDArray[F]: ...
@overload
def log_softmax_vjp(
    log_s: ArrayLike, g: ArrayLike, axis: Axis = -1, **options: Unpack[_Options]
) -> Array: ...
@public
def log_softmax_vjp(
    log_s: ArrayLike,
    g: ArrayLike,
    axis: Axis = -1,
    *,
    where: ArrayLike | None = None,
    out: Array | None = None,
) -> Array:
    r"""Multiply an upstream gradient by the Jacobian matrix of log_softmax: its backward pass.

    Parameters
    ----------
    log_s : array_like
        What `log_softmax` returned.
    g : array_like
        The gradient of a scalar by `log_s`, of the shape of `log_s` or broadcastable to it.
    axis : int, tuple of ints or None, default -1
        The axis along which a row lies. Several axes make one row together; None takes all.
    where : array_like of bool, optional
        Which entries take part, as `log_softmax` was told, broadcastable to `log_s`. The others are
        never looked at, in `g` neither, and get 0.
    out : ndarray, optional
        Where to write the result, of its shape and dtype. May be `log_s` or `g` itself, or
        overlap them.

    Returns
    -------
    ndarray
        The shape of `log_s`, in the dtype that `log_s` and `g` promote to: `out` if given, a NumPy
        scalar if it is 0-d.

    Raises
    ------
    TypeError
        If an argument is not real, `where` not boolean, or `out` of another dtype.
    ValueError
        If `g`, `where` or `out` has the wrong shape, or `out` cannot be written.
    numpy.exceptions.AxisError
        If `log_s` has no such axis.

    See Also
    --------
    log_softmax_jvp : The forward derivative.
    cross_entropy_with_grad : Loss and gradient from the logits, in one pass.

    Notes
    -----
    .. math:: \frac{\partial L}{\partial x_i} = g_i - s_i \sum_k g_k.

    At a class that has nearly all it is computed as
    :math:`(1 - s_i) g_i - s_i \sum_{k \ne i} g_k`, where nothing cancels. With
    :math:`s'_i = s_i (1 + |\log s_i|)` the error is at most
    :math:`4 \epsilon (|g_i| + s'_i \sum_k |g_k|)`, and at such a class
    :math:`4 \epsilon ((1 - s_i) |g_i| + s'_i \sum_{k \ne i} |g_k|)`, from the logits on.

    After `log_softmax` with `where`, give it here, too: `log_s` is -inf there, as it is for a logit
    of -inf, which does take part, whose gradient `g` counts in the sum.

    Examples
    --------
    The gradient of the negative log-likelihood of class 0:

    >>> from smcore import log_softmax, log_softmax_vjp
    >>> log_s = log_softmax([1.0, 2.0, 3.0])
    >>> log_softmax_vjp(log_s, [-1.0, 0.0, 0.0]).round(4)
    array([-0.91  ,  0.2447,  0.6652])
    """
    return _product("log_softmax_vjp", axis, where, out, log_s=log_s, g=g)


@overload
def log_softmax_jvp(
    log_s: NDArray[F], v: NDArray[F] | float, axis: Axis = -1, **options: Unpack[_Options]
) -> NDArray[F]: ...
@overload
def log_softmax_jvp(
    log_s: ArrayLike, v: ArrayLike, axis: Axis = -1, **options: Unpack[_Options]
) -> Array: ...
@public
def log_softmax_jvp(
    log_s: ArrayLike,
    v: ArrayLike,
    axis: Axis = -1,
    *,
    where: ArrayLike | None = None,
    out: Array | None = None,
) -> Array:
    r"""Multiply the Jacobian matrix of log_softmax by a tangent: its forward derivative.

    Parameters
    ----------
    log_s : array_like
        What `log_softmax` returned.
    v : array_like
        A direction in which the input moves, of the shape of `log_s` or broadcastable to it.
    axis : int, tuple of ints or None, default -1
        The axis along which a row lies. Several axes make one row together; None takes all.
    where : array_like of bool, optional
        Which entries take part, as `log_softmax` was told, broadcastable to `log_s`. The others are
        never looked at, in `v` neither, and get 0.
    out : ndarray, optional
        Where to write the result, of its shape and dtype. May be `log_s` or `v` itself, or
        overlap them.

    Returns
    -------
    ndarray
        The shape of `log_s`, in the dtype that `log_s` and `v` promote to: `out` if given, a NumPy
        scalar if it is 0-d.

    Raises
    ------
    TypeError
        If an argument is not real, `where` not boolean, or `out` of another dtype.
    ValueError
        If `v`, `where` or `out` has the wrong shape, or `out` cannot be written.
    numpy.exceptions.AxisError
        If `log_s` has no such axis.

    See Also
    --------
    log_softmax_vjp : The backward pass.
    log_softmax_jacobian : The matrix itself.

    Notes
    -----
    .. math:: \frac{d \log s_i}{dt} = v_i - \sum_k s_k v_k.

    As in `softmax_vjp`, `v` is taken relative to its element at the largest :math:`s_p`: with
    :math:`h_i = v_i - v_p` the error is at most
    :math:`4 \epsilon (|h_i| + \sum_k s_k (1 + |\log s_k|) |h_k|)`, from the logits on.

    Examples
    --------
    >>> from smcore import log_softmax, log_softmax_jvp
    >>> log_s = log_softmax([1.0, 2.0, 3.0])
    >>> log_softmax_jvp(log_s, [0.0, 0.0, 1.0]).round(4)
    array([-0.6652, -0.6652,  0.3348])
    """
    return _product("log_softmax_jvp", axis, where, out, log_s=log_s, v=v)


@overload
def logsumexp_vjp(
    x: NDArray[F],
    lse: NDArray[F] | F,
    g: NDArray[F] | F | float,
    axis: Axis = -1,
    **options: Unpack[_Options],
) -> NDArray[F]: ...
@overload
def logsumexp_vjp(
    x: ArrayLike, lse: ArrayLike, g: ArrayLike, axis: Axis = -1, **options: Unpack[_Options]
) -> Array: ...
@public
def logsumexp_vjp(
    x: ArrayLike,
    lse: ArrayLike,
    g: ArrayLike,
    axis: Axis = -1,
    *,
    where: ArrayLike | None = None,
    out: Array | None = None,
) -> Array:
    r"""Multiply an upstream gradient by the derivative of logsumexp: its backward pass.

    Parameters
    ----------
    x : array_like
        What `logsumexp` was given.
    lse : array_like
        What it returned, with or without ``keepdims``.
    g : array_like
        The gradient of a scalar by `lse`: of its shape, or one number for all.
    axis : int, tuple of ints or None, default -1
        The axis along which a row lies. Several axes make one row together; None takes all.
    where : array_like of bool, optional
        Which entries take part, as `logsumexp` was told, broadcastable to `x`. The others are
        never looked at, and get 0.
    out : ndarray, optional
        Where to write the result, of its shape and dtype. May be `x` itself, or overlap the others.

    Returns
    -------
    ndarray
        The shape of `x`, in the dtype that the three promote to: `out` if given, a NumPy scalar
        if it is 0-d.

    Raises
    ------
    TypeError
        If an argument is not real, `where` not boolean, or `out` of another dtype.
    ValueError
        If `lse`, `g`, `where` or `out` has the wrong shape, or `out` cannot be written.
    numpy.exceptions.AxisError
        If `x` has no such axis.

    See Also
    --------
    logsumexp : The forward pass.

    Notes
    -----
    .. math:: \frac{\partial L}{\partial x_i} = e^{x_i - \mathrm{lse}}\, g
              = \operatorname{softmax}(x)_i\, g.

    A row whose `lse` is -inf gives 0: its sum has no terms, or -inf alone.

    Examples
    --------
    >>> from smcore import logsumexp, logsumexp_vjp
    >>> x = [[1.0, 2.0, 3.0], [0.0, 0.0, 0.0]]
    >>> logsumexp_vjp(x, logsumexp(x), [1.0, 3.0]).round(4)
    array([[0.09  , 0.2447, 0.6652],
           [1.    , 1.    , 1.    ]])
    """
    x, lse, g = as_floats(x=x, lse=lse, g=g)
    rows = Rows(x.shape, axis)
    lse = rows.reduced(lse, "lse")
    g = np.broadcast_to(g, rows.lead) if g.ndim == 0 else rows.reduced(g, "g")
    selection = Selection.of(where, x.shape, x.dtype)
    result = as_output(out, x, x.shape)
    if selection is not None:
        x = selection.copy(x, -np.inf)
    empty = np.isneginf(lse)
    if empty.any():  # exp(x - inf) is 0
        lse, g = np.where(empty, -lse, lse), np.where(empty, x.dtype.type(0), g)
    rows.map(kernels(x.dtype).logsumexp_vjp, [rows.view(x), lse, g], result)
    if selection is not None:
        selection.fill(result, 0.0)
    return deliver(result, out)


# What the forward functions return for an entry that takes no part, by what that is called here.
_NOTHING = {"s": 0.0, "log_s": -np.inf}


def _jacobian(
    kernel: str,
    s: ArrayLike,
    name: str,
    axis: Axis,
    where: ArrayLike | None,
    out: Array | None,
    instead: str,
) -> Array:
    """Run a Jacobian kernel on `s`, the argument `name`."""
    s = as_float(s, name)
    rows = Rows(s.shape, axis)
    selection = Selection.of(where, s.shape, s.dtype)
    result = as_matrices(out, s, (*rows.lead, rows.length, rows.length), instead)
    if selection is not None:
        selection, s = selection.by_row(rows, s.shape), selection.copy(s, _NOTHING[name])
    s = np.ascontiguousarray(rows.view(s))  # K numbers, read K times
    rows.sweep(getattr(kernels(s.dtype), kernel), [s], result)
    if selection is not None:
        selection.fill_matrices(result, 0.0)
    return deliver(result, out)


def _product(
    kernel: str, axis: Axis, where: ArrayLike | None, out: Array | None, **operands: ArrayLike
) -> Array:
    """Run a kernel of two operands: the forward result, and a vector broadcast to its shape."""
    (forward, name) = operands
    s, vector = as_floats(**operands)
    rows = Rows(s.shape, axis)
    vector = as_like(vector, s.shape, name)
    selection = Selection.of(where, s.shape, s.dtype)
    result = as_output(out, s, s.shape)
    if selection is not None:
        s, vector = selection.copy(s, _NOTHING[forward]), selection.copy(vector, 0.0)
    rows.map(getattr(kernels(s.dtype), kernel), [rows.view(s), rows.view(vector)], result)
    if selection is not None:
        selection.fill(result, 0.0)
    return deliver(result, out)
