"""Logsumexp, the logarithm of the denominator of softmax, and its backward pass."""

from __future__ import annotations

from typing import Any, Literal, TypedDict, Unpack, overload

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from ._arrays import Array, Axis, F, as_dtype, as_floats
from ._backend import kernels
from ._calls import public
from ._outputs import as_output, deliver
from ._rows import Rows
from ._weighted import weighted_logsumexp
from ._where import Selection

__all__ = ["logsumexp", "logsumexp_vjp"]


class _SumOptions(TypedDict, total=False):
    """What logsumexp takes besides."""

    b: ArrayLike | None
    where: ArrayLike | None
    keepdims: bool
    dtype: DTypeLike | None
    out: Array | None


class _GradientOptions(TypedDict, total=False):
    """What its backward pass takes besides."""

    where: ArrayLike | None
    out: Array | None


@overload
def logsumexp(
    x: ArrayLike,
    axis: Axis = -1,
    *,
    return_sign: Literal[False] = False,
    **options: Unpack[_SumOptions],
) -> Any: ...
@overload
def logsumexp(
    x: ArrayLike, axis: Axis = -1, *, return_sign: Literal[True], **options: Unpack[_SumOptions]
) -> tuple[Any, Any]: ...
@overload
def logsumexp(
    x: ArrayLike, axis: Axis = -1, *, return_sign: bool, **options: Unpack[_SumOptions]
) -> Any: ...
@public
def logsumexp(
    x: ArrayLike,
    axis: Axis = -1,
    *,
    b: ArrayLike | None = None,
    where: ArrayLike | None = None,
    keepdims: bool = False,
    return_sign: bool = False,
    dtype: DTypeLike | None = None,
    out: Array | None = None,
) -> Any:
    r"""Compute the logarithm of the sum of the exponentials of each row.

    Rows lie along the last axis (``axis=-1``) unless told otherwise; the default of
    ``scipy.special.logsumexp`` is None, all axes at once.

    Parameters
    ----------
    x : array_like
        Real numbers, of any shape.
    axis : int, tuple of ints or None, default -1
        The axis along which a row lies. Several axes make one row together; None takes all.
    b : array_like, optional
        Factors of the exponentials: ``log(sum(b * exp(x)))``. `b` and `x` are broadcast against
        each other. An entry whose factor is 0 takes no part, even if it is inf or NaN.
    where : array_like of bool, optional
        Which entries take part, broadcastable to `x`. The others are never looked at.
    keepdims : bool, default False
        Keep the axes summed over, at length 1.
    return_sign : bool, default False
        Return ``(log(abs(sum)), sign(sum))``. Without it, a negative sum gives NaN.
    dtype : dtype, optional
        The floating-point dtype to compute in and return. The default is that of `x` (and `b`), or
        float64 where they hold integers or booleans.
    out : ndarray, optional
        Where to write the result (the logarithm, if the sign is returned too), of its shape and
        dtype. May overlap `x`.

    Returns
    -------
    ndarray or scalar
        The shape of `x` without `axis`: `out` if given, a NumPy scalar if it is 0-d. float16 and
        bfloat16 are computed in float32 or better.
    sign : ndarray or scalar
        Only if `return_sign`: 1, 0, -1 or NaN, in the same shape and dtype.

    Raises
    ------
    TypeError
        If `x` or `b` is not real, `where` not boolean, or `out` of another dtype.
    ValueError
        If `b`, `where` or `out` has the wrong shape, or `out` cannot be written.
    numpy.exceptions.AxisError
        If `x` has no such axis.

    See Also
    --------
    logsumexp_vjp : Backward pass.
    log_softmax : ``x - logsumexp(x, keepdims=True)``, but without cancellation.

    Notes
    -----
    With :math:`k` a position of the maximum,

    .. math:: \log \sum_i e^{x_i} = x_k + \log\Bigl(1 + \sum_{i \ne k} e^{x_i - x_k}\Bigr).

    The sum leaves the maximum out, so that nothing is lost when it is small (Blanchard, Higham and
    Higham, "Accurately computing the log-sum-exp and softmax functions", 2021).

    A row without entries, or with -inf alone, gives -inf; a row that holds +inf gives +inf, and one
    that holds NaN gives NaN. No floating-point warning is raised.

    Examples
    --------
    >>> import numpy as np
    >>> from smcore import logsumexp
    >>> logsumexp([1000.0, 1000.0]).round(4)
    np.float64(1000.6931)
    >>> logsumexp([[1.0, 2.0], [3.0, 4.0]], axis=0).round(4)
    array([3.1269, 4.1269])

    A difference of exponentials, ``exp(1) - exp(2)``:

    >>> log, sign = logsumexp([1.0, 2.0], b=[1, -1], return_sign=True)
    >>> log.round(4), sign
    (np.float64(1.5413), np.float64(-1.0))
    """
    terms = as_floats(("b",), as_dtype(dtype), x=x, b=b)
    x, b = terms if b is None else _broadcast(*terms)
    rows = Rows(x.shape, axis)
    selection = Selection.of(where, x.shape, x.dtype)
    result = as_output(out, x, rows.kept if keepdims else rows.lead)
    if b is not None or return_sign:
        result = np.empty_like(result)  # there is more to do before `out` may be written
    totals = result.reshape(rows.lead)

    if selection is not None:
        x = selection.copy(x, -np.inf)
    if b is None:
        _fill_logsumexp(rows, x, totals)
    else:
        signs = _fill_weighted(rows, x, b, totals, negative=return_sign)
    if not return_sign:
        return deliver(result, out)
    if b is None:
        signs = np.where(np.isnan(totals), totals, totals > -np.inf)
    signs = signs.reshape(result.shape)
    return deliver(result, out), deliver(signs, None)


@overload
def logsumexp_vjp(
    x: NDArray[F],
    lse: NDArray[F] | F,
    g: NDArray[F] | F | float,
    axis: Axis = -1,
    **options: Unpack[_GradientOptions],
) -> NDArray[F]: ...
@overload
def logsumexp_vjp(
    x: ArrayLike, lse: ArrayLike, g: ArrayLike, axis: Axis = -1, **options: Unpack[_GradientOptions]
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
    rows.map(kernels(x.dtype).logsumexp_vjp, (rows.view(x), lse, g), result)
    if selection is not None:
        selection.fill(result, 0.0)
    return deliver(result, out)


def _broadcast(x: Array, b: Array) -> tuple[Array, Array]:
    try:
        shape = np.broadcast_shapes(x.shape, b.shape)
    except ValueError:
        raise ValueError(f"b must broadcast against x; found {b.shape} and {x.shape}") from None
    return np.broadcast_to(x, shape), np.broadcast_to(b, shape)


def _fill_logsumexp(rows: Rows, x: Array, totals: Array) -> None:
    """Write the sums' logarithms into `totals`."""
    if rows.length == 0:
        totals.fill(-np.inf)
    rows.sweep(kernels(x.dtype).logsumexp, (rows.view(x),), totals)


def _fill_weighted(rows: Rows, x: Array, b: Array, totals: Array, *, negative: bool) -> Array:
    """Write the logarithms of the sums of ``b * exp(x)``, NaN below 0 unless `negative`.

    Return the sums' signs.
    """
    totals.fill(-np.inf)
    signs = np.zeros_like(totals)
    for block in rows.blocks(rows.view(x), rows.view(b), totals, signs):
        weighted_logsumexp(*block)
    if not negative:
        totals[signs < 0] = np.nan
    return signs
