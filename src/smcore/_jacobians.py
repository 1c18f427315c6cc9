"""The Jacobian matrix of each row, from what the forward pass returned.

``J[i, k]`` is the derivative of output i by input k.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypedDict, Unpack, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ._arrays import Array, Axis, F, as_float
from ._backend import Kernels, kernels
from ._calls import public
from ._outputs import as_matrices, deliver
from ._rows import Rows
from ._where import NOTHING, Selection

__all__ = ["log_softmax_jacobian", "softmax_jacobian"]

_Kernel = Callable[[Array, Array], None]  # forward result and matrices


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
    return _jacobian(lambda backend: backend.softmax_jacobian, s, "s", axis, where, out, instead)


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
    return _jacobian(
        lambda backend: backend.log_softmax_jacobian, log_s, "log_s", axis, where, out, instead
    )


def _jacobian(
    kernel_of: Callable[[Kernels], _Kernel],
    s: ArrayLike,
    name: str,
    axis: Axis,
    where: ArrayLike | None,
    out: Array | None,
    instead: str,
) -> Array:
    """Run a backend's Jacobian kernel on `s`, the argument `name`."""
    s = as_float(s, name)
    rows = Rows(s.shape, axis)
    selection = Selection.of(where, s.shape, s.dtype)
    result = as_matrices(out, s, (*rows.lead, rows.length, rows.length), instead)
    if selection is not None:
        selection, s = selection.by_row(rows, s.shape), selection.copy(s, NOTHING[name])
    s = np.ascontiguousarray(rows.view(s))  # K numbers, read K times
    rows.sweep(kernel_of(kernels(s.dtype)), (s,), result)
    if selection is not None:
        selection.fill_matrices(result, 0.0)
    return deliver(result, out)
