"""softmax, log_softmax and logsumexp, of rows whole or in parts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

from .. import _logsumexp, _softmax
from .._arrays import Axis
from . import _parts as parts
from ._grid import Grid, Operands, convert, da

__all__ = ["log_softmax", "logsumexp", "softmax"]


def softmax(
    x: da.Array,
    axis: Axis = -1,
    *,
    where: ArrayLike | da.Array | None = None,
    scale: ArrayLike | da.Array = 1.0,
    dtype: DTypeLike | None = None,
) -> da.Array:
    """Compute the softmax of each row: `smcore.softmax` for Dask arrays.

    Parameters
    ----------
    x : dask.array.Array
        Real numbers, of any shape and chunks.
    axis : int, tuple of ints or None, default -1
        The axis along which a row lies. Several axes make one row together; None takes all.
    where : array_like or dask.array.Array of bool, optional
        Which entries take part, broadcastable to `x`. The others are never looked at, and get 0.
    scale : float, array_like or dask.array.Array, default 1.0
        Compute ``softmax(scale * x)``: one number, or one for each row.
    dtype : dtype, optional
        The floating-point dtype to compute in and return. The default is that of `x`, or float64
        where `x` holds integers or booleans.

    Returns
    -------
    dask.array.Array
        Of the shape and chunks of `x`. Nothing has been computed.

    Raises
    ------
    TypeError
        If `x` is no Dask array of NumPy arrays, or not real, or `where` not boolean.
    ValueError
        If `where` or `scale` has the wrong shape, or `scale` is not finite: when that is computed
        if it is a Dask array.
    numpy.exceptions.AxisError
        If `x` has no such axis.

    Notes
    -----
    Rows in several chunks make it compute `x` twice, the second time when the logsumexps of all
    rows are known, so that no more of `x` is held at once than the scheduler has workers for: `x`
    must be the same both times. Where it fits into memory, ``x.persist()`` spares the second time.

    Examples
    --------
    >>> import dask.array as da
    >>> from smcore.dask import softmax
    >>> x = da.from_array([[1.0, 2.0, 3.0], [0.0, 0.0, 0.0]], chunks=(1, 2))
    >>> softmax(x).compute().round(4)
    array([[0.09  , 0.2447, 0.6652],
           [0.3333, 0.3333, 0.3333]])
    """
    return _normalized(_softmax.softmax, x, axis, where, scale, dtype)


def log_softmax(
    x: da.Array,
    axis: Axis = -1,
    *,
    where: ArrayLike | da.Array | None = None,
    scale: ArrayLike | da.Array = 1.0,
    dtype: DTypeLike | None = None,
) -> da.Array:
    """Compute the logarithm of the softmax of each row: `smcore.log_softmax` for Dask arrays.

    Parameters
    ----------
    x : dask.array.Array
        Real numbers, of any shape and chunks.
    axis : int, tuple of ints or None, default -1
        The axis along which a row lies. Several axes make one row together; None takes all.
    where : array_like or dask.array.Array of bool, optional
        Which entries take part, broadcastable to `x`. The others are never looked at, and get -inf.
    scale : float, array_like or dask.array.Array, default 1.0
        Compute ``log_softmax(scale * x)``: one number, or one for each row.
    dtype : dtype, optional
        The floating-point dtype to compute in and return. The default is that of `x`, or float64
        where `x` holds integers or booleans.

    Returns
    -------
    dask.array.Array
        Of the shape and chunks of `x`. Nothing has been computed.

    Raises
    ------
    TypeError
        If `x` is no Dask array of NumPy arrays, or not real, or `where` not boolean.
    ValueError
        If `where` or `scale` has the wrong shape, or `scale` is not finite: when that is computed
        if it is a Dask array.
    numpy.exceptions.AxisError
        If `x` has no such axis.

    See Also
    --------
    softmax : Of which the notes hold here, too.

    Examples
    --------
    A sure prediction keeps its small loss, in whatever chunks:

    >>> import dask.array as da
    >>> from smcore.dask import log_softmax
    >>> x = da.from_array([0.0, 50.0], chunks=1)
    >>> print(f"{log_softmax(x)[1].compute():.3g}")
    -1.93e-22
    """
    return _normalized(_softmax.log_softmax, x, axis, where, scale, dtype)


def logsumexp(
    x: da.Array,
    axis: Axis = -1,
    *,
    b: ArrayLike | da.Array | None = None,
    where: ArrayLike | da.Array | None = None,
    keepdims: bool = False,
    return_sign: bool = False,
    dtype: DTypeLike | None = None,
) -> Any:
    """Compute the logarithm of summed exponentials: `smcore.logsumexp` for Dask arrays.

    Parameters
    ----------
    x : dask.array.Array
        Real numbers, of any shape and chunks.
    axis : int, tuple of ints or None, default -1
        The axis along which a row lies. Several axes make one row together; None takes all.
    b : array_like or dask.array.Array, optional
        Factors of the exponentials: ``log(sum(b * exp(x)))``. `b` and `x` are broadcast against
        each other. An entry whose factor is 0 takes no part.
    where : array_like or dask.array.Array of bool, optional
        Which entries take part, broadcastable to `x`. The others are never looked at.
    keepdims : bool, default False
        Keep the axes summed over, at length 1.
    return_sign : bool, default False
        Return ``(log(abs(sum)), sign(sum))``. Without it, a negative sum gives NaN.
    dtype : dtype, optional
        The floating-point dtype to compute in and return. The default is that of `x` (and `b`), or
        float64 where they hold integers or booleans.

    Returns
    -------
    dask.array.Array
        The shape and chunks of `x` without `axis`. Nothing has been computed.
    sign : dask.array.Array
        Only if `return_sign`: 1, 0, -1 or NaN, in the same shape and dtype.

    Raises
    ------
    TypeError
        If `x` is no Dask array of NumPy arrays, `x` or `b` not real, or `where` not boolean.
    ValueError
        If `b` or `where` has the wrong shape.
    numpy.exceptions.AxisError
        If `x` has no such axis.

    Notes
    -----
    Each chunk is read once. The tree in which the parts of a row are joined has Dask's
    ``split_every`` (of its configuration) branches. With factors `b` of both signs, parts that
    cancel leave of float64 what their logarithms, rounded, have left.

    Examples
    --------
    >>> import dask.array as da
    >>> from smcore.dask import logsumexp
    >>> x = da.from_array([1000.0, 1000.0, 0.0], chunks=1)
    >>> logsumexp(x).compute().round(4)
    np.float64(1000.6931)
    """
    grid = Grid(x, axis, dtype, b)
    operands = grid.where(where)
    if b is None and not return_sign:
        result = _logarithm(grid, operands)
        return result if keepdims else grid.by_row(result)
    operands["b"] = grid.trailing(1.0 if b is None else b, "b")
    options = {"dtype": grid.dtype}
    dtype_of_records = parts.record(parts.SIGNED, grid.dtype)
    records = grid.map(parts.signed_part, operands, options, dtype_of_records, kept=True)
    records = grid.join(records, parts.merge_signed)
    records = records if keepdims else grid.by_row(records)
    log, sign = (
        convert(records, parts.signed_logarithm, grid.dtype, name=name, with_sign=return_sign)
        for name in parts.SIGNED
    )
    return (log, sign) if return_sign else log


def _pairs(grid: Grid, operands: Operands, is_scaled: bool = False) -> tuple[Any, Any]:
    """Return records of the logsumexp of the parts of rows, and of rows."""
    function = parts.scaled_part if is_scaled else parts.part
    of_parts = parts.record(parts.SCALED if is_scaled else parts.PAIR, grid.dtype)
    own = grid.map(function, operands, {"dtype": grid.dtype}, of_parts, kept=True)
    return own, grid.join(own, parts.merge)


def _logarithm(grid: Grid, operands: Operands) -> Any:
    """Return the logsumexp of rows, which keeps their axes."""
    if grid.whole:
        options = {"keepdims": True, "dtype": grid.dtype}
        return grid.map(_logsumexp.logsumexp, operands, options, grid.dtype, kept=True)
    return convert(_pairs(grid, operands)[1], parts.logarithm, grid.dtype)


def _normalized(
    function: Callable[..., Any],
    x: Any,
    axis: Axis,
    where: Any,
    scale: Any,
    dtype: DTypeLike | None,
) -> Any:
    """Return the softmax of rows, or its logarithm."""
    grid = Grid(x, axis, dtype)
    operands = grid.where(where)
    is_plain = not isinstance(scale, da.Array) and np.ndim(scale) == 0 and scale == 1
    if not is_plain:
        operands |= grid.per_row(scale, "scale")
    options: dict[str, Any] = {"dtype": grid.dtype}
    if grid.whole:
        return grid.map(function, operands, options, grid.dtype)
    own, whole = _pairs(grid, operands, not is_plain)
    x, operands = grid.again(operands, whole)
    operands["whole"] = whole, grid.all
    options["log"] = function is _softmax.log_softmax
    if options["log"] or not is_plain:
        operands["own"] = own, grid.all
    return grid.map(parts.normalized, operands, options, grid.dtype, x=x)
