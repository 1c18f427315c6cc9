"""Softmax and its logarithm."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypedDict, Unpack, overload

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from ._arrays import Array, Axis, F, as_array, as_dtype, as_float
from ._backend import Kernels, kernels
from ._calls import public
from ._outputs import as_output, deliver
from ._rows import Rows
from ._where import Selection

__all__ = ["log_softmax", "softmax"]

_Kernel = Callable[[Array, Array, float | Array], None]  # logits, result and scale


class _Options(TypedDict, total=False):
    """What both functions of all entries take besides."""

    where: ArrayLike | None
    scale: ArrayLike


@overload
def softmax(
    x: NDArray[F],
    axis: Axis = -1,
    *,
    dtype: None = None,
    out: NDArray[F] | None = None,
    **options: Unpack[_Options],
) -> NDArray[F]: ...
@overload
def softmax(
    x: ArrayLike,
    axis: Axis = -1,
    *,
    dtype: DTypeLike | None = None,
    out: Array | None = None,
    **options: Unpack[_Options],
) -> Array: ...
@public
def softmax(
    x: ArrayLike,
    axis: Axis = -1,
    *,
    where: ArrayLike | None = None,
    scale: ArrayLike = 1.0,
    dtype: DTypeLike | None = None,
    out: Array | None = None,
) -> Array:
    r"""Compute the softmax of each row: its exponentials, divided by their sum.

    Rows lie along the last axis (``axis=-1``) unless told otherwise; the default of
    ``scipy.special.softmax`` is None, all axes at once.

    Parameters
    ----------
    x : array_like
        Real numbers, of any shape.
    axis : int, tuple of ints or None, default -1
        The axis along which a row lies. Several axes make one row together; None takes all.
    where : array_like of bool, optional
        Which entries take part, broadcastable to `x`. The others are never looked at, and get 0.
    scale : float or array_like, default 1.0
        Compute ``softmax(scale * x)``: the inverse of a temperature. It is applied after the shift
        by the row's maximum, so it cannot overflow. May be zero or negative. An array has one
        number for each row: it is broadcast to the shape of `x` without `axis`, or, if it has as
        many axes as `x`, to that with `axis` kept at length 1.
    dtype : dtype, optional
        The floating-point dtype to compute in and return. The default is that of `x`, or float64
        where `x` holds integers or booleans.
    out : ndarray, optional
        Where to write the result, of its shape and dtype. May be `x` itself, or overlap it.

    Returns
    -------
    ndarray
        Numbers in [0, 1] that sum to one over each row, in the shape of `x`: `out` if given, a
        NumPy scalar if `x` is 0-d. float16 and bfloat16 are computed in float32.

    Raises
    ------
    TypeError
        If `x` or `scale` is not real, `where` not boolean, or `out` of another dtype.
    ValueError
        If `where`, `out` or `scale` has the wrong shape, `out` cannot be written, or `scale` is not
        finite.
    numpy.exceptions.AxisError
        If `x` has no such axis.

    See Also
    --------
    log_softmax : The logarithm, without underflow.
    softmax_vjp : Backward pass.
    cross_entropy_with_grad : Softmax and loss fused, from the logits.

    Notes
    -----
    .. math:: s_i = \frac{e^{x_i - m}}{\sum_j e^{x_j - m}}, \qquad m = \max_j x_j.

    The result does not depend on the shift :math:`m`, which keeps the exponentials in range
    (Blanchard, Higham and Higham [1]_). The rounding of :math:`x_i - m` is the main error of the
    usual implementation; here it is avoided, and every entry is right to 3 units in its last place.

    A row that holds NaN or +inf, or only -inf, gives NaN. No floating-point warning is raised.

    References
    ----------
    .. [1] P. Blanchard, D. J. Higham, N. J. Higham, "Accurately computing the log-sum-exp and
       softmax functions", IMA Journal of Numerical Analysis 41 (2021).

    Examples
    --------
    >>> import numpy as np
    >>> from smcore import softmax
    >>> softmax([1.0, 2.0, 3.0]).round(4)
    array([0.09  , 0.2447, 0.6652])

    Each column as a row, then two entries of three:

    >>> softmax([[0.0, 1.0], [0.0, 1.0]], axis=0)
    array([[0.5, 0.5],
           [0.5, 0.5]])
    >>> softmax([5.0, 5.0, np.nan], where=[True, True, False])
    array([0.5, 0.5, 0. ])

    A temperature for each row:

    >>> softmax([[0.0, 1.0], [0.0, 1.0]], scale=[1.0, 0.0]).round(4)
    array([[0.2689, 0.7311],
           [0.5   , 0.5   ]])
    """
    return _normalized(
        lambda backend: backend.softmax, x, axis, where, scale, dtype, out, masked=0.0
    )


@overload
def log_softmax(
    x: NDArray[F],
    axis: Axis = -1,
    *,
    dtype: None = None,
    out: NDArray[F] | None = None,
    **options: Unpack[_Options],
) -> NDArray[F]: ...
@overload
def log_softmax(
    x: ArrayLike,
    axis: Axis = -1,
    *,
    dtype: DTypeLike | None = None,
    out: Array | None = None,
    **options: Unpack[_Options],
) -> Array: ...
@public
def log_softmax(
    x: ArrayLike,
    axis: Axis = -1,
    *,
    where: ArrayLike | None = None,
    scale: ArrayLike = 1.0,
    dtype: DTypeLike | None = None,
    out: Array | None = None,
) -> Array:
    r"""Compute the logarithm of the softmax of each row.

    Rows lie along the last axis (``axis=-1``) unless told otherwise; the default of
    ``scipy.special.log_softmax`` is None, all axes at once.

    Parameters
    ----------
    x : array_like
        Real numbers, of any shape.
    axis : int, tuple of ints or None, default -1
        The axis along which a row lies. Several axes make one row together; None takes all.
    where : array_like of bool, optional
        Which entries take part, broadcastable to `x`. The others are never looked at, and get -inf.
    scale : float or array_like, default 1.0
        Compute ``log_softmax(scale * x)``: the inverse of a temperature. It is applied after the
        shift by the row's maximum, so it cannot overflow. May be zero or negative. An array has one
        number for each row: it is broadcast to the shape of `x` without `axis`, or, if it has as
        many axes as `x`, to that with `axis` kept at length 1.
    dtype : dtype, optional
        The floating-point dtype to compute in and return. The default is that of `x`, or float64
        where `x` holds integers or booleans.
    out : ndarray, optional
        Where to write the result, of its shape and dtype. May be `x` itself, or overlap it.

    Returns
    -------
    ndarray
        Numbers not above 0, in the shape of `x`: `out` if given, a NumPy scalar if `x` is 0-d.
        float16 and bfloat16 are computed in float32.

    Raises
    ------
    TypeError
        If `x` or `scale` is not real, `where` not boolean, or `out` of another dtype.
    ValueError
        If `where`, `out` or `scale` has the wrong shape, `out` cannot be written, or `scale` is not
        finite.
    numpy.exceptions.AxisError
        If `x` has no such axis.

    See Also
    --------
    softmax : Its exponential.
    logsumexp : What is subtracted.
    log_softmax_vjp : Backward pass.

    Notes
    -----
    With :math:`k` a position of the maximum,

    .. math:: \log s_i = (x_i - x_k) - \log\Bigl(1 + \sum_{j \ne k} e^{x_j - x_k}\Bigr).

    Both terms have one sign, so nothing cancels; the sum leaves the maximum out, so the entry at
    the maximum keeps all its digits even where the softmax rounds to 1.

    A row that holds NaN or +inf, or only -inf, gives NaN. No floating-point warning is raised.

    Examples
    --------
    >>> import numpy as np
    >>> from smcore import log_softmax
    >>> log_softmax([1.0, 2.0, 3.0]).round(4)
    array([-2.4076, -1.4076, -0.4076])

    A sure prediction keeps its small loss, where ``log(softmax(x))`` is 0:

    >>> print(f"{log_softmax([0.0, 50.0])[1]:.3g}")
    -1.93e-22
    """
    return _normalized(
        lambda backend: backend.log_softmax, x, axis, where, scale, dtype, out, masked=-np.inf
    )


def _normalized(
    kernel_of: Callable[[Kernels], _Kernel],
    x: ArrayLike,
    axis: Axis,
    where: ArrayLike | None,
    scale: ArrayLike,
    dtype: DTypeLike | None,
    out: Array | None,
    masked: float,
) -> Array:
    """Run a backend's kernel; `masked` is the result where `where` is False."""
    given = as_array(x, "x")
    x = as_float(given, "x", as_dtype(dtype))
    rows = Rows(x.shape, axis)
    kernel = kernel_of(kernels(x.dtype))
    factor = rows.numbers(scale, "scale")
    selection = Selection.of(where, x.shape, x.dtype)
    # what had to be converted is ours
    result = x if out is None and x is not given else as_output(out, x, x.shape)
    if selection is None:
        _fill_scaled(kernel, rows, x, factor, result)
        return deliver(result, out)
    if not np.may_share_memory(rows.view(result), result):
        result = rows.empty(x.dtype)  # rows of several axes, which make one in a copy alone
    # The scale's sign (-1, 0 or 1) goes into x, which is exact; -inf must meet a scale above 0.
    sign, size = np.sign(factor).astype(x.dtype), np.abs(factor)
    size = np.where(size == 0, 1.0, size)
    with np.errstate(all="ignore"):
        np.multiply(x, sign if sign.ndim == 0 else sign.reshape(rows.kept), out=result)
    selection.fill(result, -np.inf)
    _fill_scaled(kernel, rows, result, size, result)
    selection.fill(result, masked)  # other rows have made NaN of -inf
    return deliver(result, out)


def _fill_scaled(kernel: _Kernel, rows: Rows, x: Array, scale: Array, result: Array) -> None:
    """Run the kernel with one scale, or one for each row."""
    if scale.ndim == 0:
        factor = float(scale)
        rows.map(lambda x, out: kernel(x, out, factor), (rows.view(x),), result)
    else:
        rows.map(
            lambda x, scale, out: kernel(x, out, scale),
            (rows.view(x), scale.reshape(rows.lead)),
            result,
        )
