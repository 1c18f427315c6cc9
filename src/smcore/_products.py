"""The Jacobian matrices' products with a vector, from what the forward pass returned.

For one row these are ``g @ J`` (vjp, the backward pass) and ``J @ v`` (jvp). They cost no more than
the forward pass.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypedDict, Unpack, overload

from numpy.typing import ArrayLike, NDArray

from ._arrays import Array, Axis, F, as_floats, as_like
from ._backend import Kernels, kernels
from ._calls import public
from ._outputs import as_output, deliver
from ._rows import Rows
from ._where import NOTHING, Selection

__all__ = ["log_softmax_jvp", "log_softmax_vjp", "softmax_jvp", "softmax_vjp"]

_Kernel = Callable[[Array, Array, Array], None]  # forward result, vector and product


class _Options(TypedDict, total=False):
    """What all functions here take besides."""

    where: ArrayLike | None
    out: Array | None


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
    return _product(lambda backend: backend.softmax_vjp, axis, where, out, s=s, g=g)


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
    return _product(lambda backend: backend.softmax_vjp, axis, where, out, s=s, v=v)


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
    return _product(lambda backend: backend.log_softmax_vjp, axis, where, out, log_s=log_s, g=g)


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
    return _product(lambda backend: backend.log_softmax_jvp, axis, where, out, log_s=log_s, v=v)


def _product(
    kernel_of: Callable[[Kernels], _Kernel],
    axis: Axis,
    where: ArrayLike | None,
    out: Array | None,
    **operands: ArrayLike,
) -> Array:
    """Run a backend's kernel of a forward result and a vector, which is broadcast to its shape."""
    (forward, name) = operands
    s, vector = as_floats(**operands)
    rows = Rows(s.shape, axis)
    vector = as_like(vector, s.shape, name)
    selection = Selection.of(where, s.shape, s.dtype)
    result = as_output(out, s, s.shape)
    if selection is not None:
        s, vector = selection.copy(s, NOTHING[forward]), selection.copy(vector, 0.0)
    rows.map(kernel_of(kernels(s.dtype)), (rows.view(s), rows.view(vector)), result)
    if selection is not None:
        selection.fill(result, 0.0)
    return deliver(result, out)
