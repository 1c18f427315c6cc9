"""Logsumexp and softmax of rows in parts: out of core, or spread over machines.

The logarithm of a part is held as a pair ``(m, s)``, whose sum it is: `m` is its value, rounded,
and `s` what rounding took from it. So merging adds logarithms to twice their digits. What it
computes anew each time, ``log(1 + exp(b - a))`` for a >= b, is wrong by an ulp or two of itself,
but these increments add up to no more than the logarithm of the number of parts, however many
merges there are. A running sum of exponentials would be rounded as a whole in each of them.

The pair is at no place scaled by its size: 1e-22 beside a peak of 0 keeps its digits.
"""

from __future__ import annotations

from typing import Any, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ._arrays import (
    Array,
    Axis,
    F,
    as_float,
    as_floats,
    as_like,
    cast,
    compute_dtype,
    sum_dtype,
)
from ._backend import kernels, reference
from ._calls import public
from ._exact import as_pair
from ._outputs import as_output, deliver
from ._rows import Rows
from ._where import Selection

__all__ = ["logsumexp_finalize", "logsumexp_merge", "logsumexp_partial", "softmax_from_lse"]


@public
def logsumexp_partial(
    x: ArrayLike, axis: Axis = -1, *, where: ArrayLike | None = None
) -> tuple[Any, Any]:
    r"""Compute the logsumexp of a part of each row, to be merged with that of other parts.

    Parameters
    ----------
    x : array_like
        Real numbers, of any shape: the part at hand.
    axis : int, tuple of ints or None, default -1
        The axis along which a row lies. Several axes make one row together; None takes all.
    where : array_like of bool, optional
        Which entries take part, broadcastable to `x`. The others are never looked at.

    Returns
    -------
    m : ndarray or scalar
        The logsumexp, rounded, in the shape of `x` without `axis`. In the dtype of `x`; float32 for
        float16 and bfloat16, float64 for integers and booleans.
    s : ndarray or scalar
        What rounding took from it, in the same shape and dtype: the logsumexp is ``m + s``.

    Raises
    ------
    TypeError
        If `x` is not real, or `where` not boolean.
    ValueError
        If `where` has the wrong shape, or `axis` names an axis twice.
    numpy.exceptions.AxisError
        If `x` has no such axis.

    See Also
    --------
    logsumexp_merge : Join two parts.
    logsumexp_finalize : The result.
    softmax_from_lse : The softmax of each part, once the whole logsumexp is known.
    logsumexp : The same for whole rows.

    Notes
    -----
    It is computed as `logsumexp` is, but the rounding errors of its last additions are kept: the
    error left is about :math:`\epsilon` in absolute terms, or :math:`2\epsilon` of a logarithm that
    is smaller than one, however long the row.

    A part without entries, or with -inf alone, gives the identity of `logsumexp_merge`,
    ``(-inf, 0)``. One that holds +inf gives ``(inf, 0)``, one that holds NaN gives NaN twice. No
    floating-point warning is raised.

    Examples
    --------
    >>> from smcore import logsumexp_finalize, logsumexp_merge, logsumexp_partial
    >>> left, right = logsumexp_partial([1.0, 2.0]), logsumexp_partial([3.0])
    >>> logsumexp_finalize(*logsumexp_merge(left, right)).round(4)
    np.float64(3.4076)
    """
    x = as_float(x, "x")
    rows = Rows(x.shape, axis)
    selection = Selection.of(where, x.shape, x.dtype)
    if selection is not None:
        x = selection.copy(x, -np.inf)
    m = np.full(rows.lead, -np.inf, compute_dtype(x.dtype))
    s = np.zeros_like(m)
    rows.sweep(kernels(x.dtype).logsumexp_partial, (rows.view(x), m), s)
    return deliver(m, None), deliver(s, None)


@public
def logsumexp_merge(
    p: tuple[ArrayLike, ArrayLike], q: tuple[ArrayLike, ArrayLike]
) -> tuple[Any, Any]:
    r"""Join the logsumexps of two parts of each row.

    Parameters
    ----------
    p, q : tuple
        Pairs ``(m, s)`` as `logsumexp_partial` and this function return them; arrays that broadcast
        against each other.

    Returns
    -------
    m, s : ndarray or scalar
        The pair of both parts together, in the dtype that the arguments promote to.

    Raises
    ------
    TypeError
        If `p` or `q` is no pair, or its members are not real.
    ValueError
        If they do not broadcast.

    See Also
    --------
    logsumexp_partial : Where the pairs come from.
    logsumexp_finalize : The result.

    Notes
    -----
    With :math:`a \ge b` the two logarithms,

    .. math:: \log(e^a + e^b) = a + \log(1 + e^{b - a}),

    where :math:`b - a` and the sum are carried to twice the digits of the dtype, and the logarithm
    on the right is right to two ulp of itself.

    The operation is commutative to the bit, and associative but for the last one or two of a
    result: thousands of parts, in any order and grouping, give what `logsumexp` of the whole row
    would. The identity is ``(-inf, 0)``; merging it in changes nothing, to the bit. +inf and NaN
    are kept as `logsumexp` keeps them. No floating-point warning is raised.

    Examples
    --------
    >>> import functools
    >>> import numpy as np
    >>> from smcore import logsumexp, logsumexp_finalize, logsumexp_merge, logsumexp_partial
    >>> x = np.arange(12.0).reshape(2, 6)
    >>> parts = [logsumexp_partial(part) for part in np.split(x, 3, axis=1)]
    >>> m, s = functools.reduce(logsumexp_merge, parts, (-np.inf, 0.0))
    >>> logsumexp_finalize(m, s).round(4), logsumexp(x).round(4)
    (array([ 5.4562, 11.4562]), array([ 5.4562, 11.4562]))
    """
    members = as_floats(**_members(p, "p"), **_members(q, "q"))
    dtype = members[0].dtype
    try:
        members = list(np.broadcast_arrays(*members))
    except ValueError:
        found = ", ".join(str(member.shape) for member in members)
        raise ValueError(f"p and q must broadcast against each other; found {found}") from None
    m, s = (np.empty(members[0].shape, dtype) for _ in range(2))
    # what is stored in 16 bits has no kernel: logsumexp_partial returns none
    backend = reference if dtype.itemsize == 2 else kernels(dtype)
    p_m, p_s, q_m, q_s = map(np.ascontiguousarray, members)
    backend.logsumexp_merge(p_m, p_s, q_m, q_s, m, s)
    return deliver(m, None), deliver(s, None)


@public
def logsumexp_finalize(m: ArrayLike, s: ArrayLike) -> Any:
    r"""Return the logsumexp of rows whose parts have been merged.

    Parameters
    ----------
    m, s : array_like
        The pair that `logsumexp_merge` or `logsumexp_partial` returned.

    Returns
    -------
    ndarray or scalar
        The logsumexp, ``m + s``, in the dtype that the arguments promote to.

    Raises
    ------
    TypeError
        If an argument is not real.
    ValueError
        If `s` does not have the shape of `m`, nor broadcasts to it.

    See Also
    --------
    softmax_from_lse : Takes the pair itself, which has more digits.

    Examples
    --------
    >>> from smcore import logsumexp_finalize, logsumexp_partial
    >>> m, s = logsumexp_partial([1000.0, 1000.0])
    >>> logsumexp_finalize(m, s).round(4)
    np.float64(1000.6931)
    """
    m, s = as_floats(m=m, s=s)
    s = as_like(s, m.shape, "s")
    with np.errstate(all="ignore"):
        return deliver(np.asarray(m + s), None)


@overload
def softmax_from_lse(
    x: NDArray[F],
    lse: ArrayLike,
    axis: Axis = -1,
    *,
    where: ArrayLike | None = None,
    rest: ArrayLike | None = None,
    out: NDArray[F] | None = None,
) -> NDArray[F]: ...
@overload
def softmax_from_lse(
    x: ArrayLike,
    lse: ArrayLike,
    axis: Axis = -1,
    *,
    where: ArrayLike | None = None,
    rest: ArrayLike | None = None,
    out: Array | None = None,
) -> Array: ...
@public
def softmax_from_lse(
    x: ArrayLike,
    lse: ArrayLike,
    axis: Axis = -1,
    *,
    where: ArrayLike | None = None,
    rest: ArrayLike | None = None,
    out: Array | None = None,
) -> Array:
    r"""Compute the softmax of a part of each row, given the logsumexp of the whole row.

    Parameters
    ----------
    x : array_like
        Real numbers, of any shape: the part at hand.
    lse : array_like
        The logsumexp of the whole row, in the shape of `x` without `axis`, or with `axis` kept at
        length 1. It may have more digits than `x`, which are used.
    axis : int, tuple of ints or None, default -1
        The axis along which a row lies. Several axes make one row together; None takes all.
    where : array_like of bool, optional
        Which entries take part, broadcastable to `x`. The others are never looked at, and get 0.
    rest : array_like, optional
        What rounding took from `lse`, in the same shape: the second of the pair of which `lse` is
        the first.
    out : ndarray, optional
        Where to write the result, of its shape and dtype. May be `x` itself, or overlap it.

    Returns
    -------
    ndarray
        ``exp(x - lse)``, in the shape and dtype of `x`: `out` if given, a NumPy scalar if it is
        0-d. float16 and bfloat16 are computed in float32.

    Raises
    ------
    TypeError
        If an argument is not real, `where` not boolean, or `out` of another dtype.
    ValueError
        If `lse`, `where`, `rest` or `out` has the wrong shape, or `out` cannot be written.
    numpy.exceptions.AxisError
        If `x` has no such axis.

    See Also
    --------
    logsumexp_merge : Where `lse` and `rest` come from.
    softmax : The same for whole rows.
    logsumexp_vjp : The same, times a gradient.

    Notes
    -----
    An error of `lse` goes straight into the exponent: rounded to the dtype of `x` it costs up to
    ``abs(lse) / 2`` ulp of the result. With `rest` it costs nothing, and the result is as right as
    that of `softmax`.

    Where `lse` is infinite or NaN, so is NaN in the whole row, as in `softmax`, but not at
    entries that `where` leaves out.

    Examples
    --------
    >>> import numpy as np
    >>> from smcore import logsumexp_merge, logsumexp_partial, softmax, softmax_from_lse
    >>> left, right = np.array([1.0, 2.0]), np.array([3.0])
    >>> m, s = logsumexp_merge(logsumexp_partial(left), logsumexp_partial(right))
    >>> softmax_from_lse(left, m, rest=s).round(4), softmax_from_lse(right, m, rest=s).round(4)
    (array([0.09  , 0.2447]), array([0.6652]))
    """
    x, lse = as_float(x, "x"), as_float(lse, "lse")
    rows = Rows(x.shape, axis)
    m = rows.reduced(lse, "lse")
    s = np.zeros_like(m) if rest is None else rows.reduced(as_float(rest, "rest"), "rest")
    dtype = compute_dtype(x.dtype)
    wide = np.promote_types(sum_dtype(x.dtype), sum_dtype(m.dtype))
    with np.errstate(all="ignore"):
        m, s = as_pair(cast(m, wide), cast(s, wide), dtype)
        factor = np.where(np.isfinite(m), np.exp(-s), np.nan)
    selection = Selection.of(where, x.shape, x.dtype)
    result = as_output(out, x, x.shape)
    if selection is not None:
        x = selection.copy(x, -np.inf)
    product = result if dtype == x.dtype else np.empty(x.shape, dtype)
    operands = (rows.view(cast(x, dtype)), m, cast(factor, dtype))
    rows.map(kernels(dtype).logsumexp_vjp, operands, product)
    if product is not result:
        result[...] = cast(product, x.dtype)
    if selection is not None:
        selection.fill(result, 0.0)
    return deliver(result, out)


# ---- one part ------------------------------------------------------------------------------------


# ---- pairs ---------------------------------------------------------------------------------------


def _members(pair: Any, name: str) -> dict[str, ArrayLike]:
    """Return the two members of the argument `name`, by what they are called in it."""
    try:
        members = tuple(pair)
    except TypeError:
        raise TypeError(
            f"{name} must be a pair (m, s), as logsumexp_partial returns; "
            f"found {type(pair).__name__}"
        ) from None
    if len(members) != 2:
        raise ValueError(f"{name} must be a pair (m, s); found {len(members)} members")
    return {f"{name}[{i}]": member for i, member in enumerate(members)}
