"""smcore for Dask: rows of arrays larger than memory, or spread over a cluster.

Functions with the names and arguments of those of `smcore`, for `dask.array`. They are lazy, take
any chunks, those of a row included, and are as accurate as in memory. Where rows lie in one chunk
each, a chunk is given to the function of `smcore`. Where they do not, each chunk becomes a record
of its part of each row (`smcore._parts`), and a tree of tasks joins the records.

A softmax of rows in several chunks reads each chunk twice, or all of them would have to be held:
once for the logsumexp of its row, and again when that is known.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, SupportsIndex

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

from .. import _logsumexp, _softmax
from .._arrays import Axis, Real, as_array, as_real
from .._criterion import Reduction, criterion_of
from .._rows import Rows
from .._target import as_labels, as_sample_weights
from . import _losses as losses
from . import _parts as parts
from ._grid import Grid, Operands, are_known, convert, da, is_like, sample_of, tree

__all__ = ["cross_entropy", "log_softmax", "logsumexp", "softmax"]


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


def cross_entropy(
    x: da.Array,
    target: ArrayLike | da.Array,
    *,
    axis: Axis = -1,
    where: ArrayLike | da.Array | None = None,
    weight: ArrayLike | None = None,
    sample_weight: ArrayLike | da.Array | None = None,
    ignore_index: SupportsIndex = -100,
    reduction: Reduction = "mean",
    label_smoothing: Real = 0.0,
    z_loss: Real = 0.0,
    return_lse: bool = False,
) -> Any:
    """Compute the cross-entropy of logits and a target: `smcore.cross_entropy` for Dask arrays.

    Parameters
    ----------
    x : dask.array.Array
        The logits, K classes along `axis`, in any chunks.
    target : array_like or dask.array.Array
        Either labels 0 to K-1, integers of any width, in the shape of `x` without `axis`; or
        probabilities, floats in the shape of `x`.
    axis : int, tuple of ints or None, default -1
        The axis of the classes. Several axes make one row together; None takes all.
    where : array_like or dask.array.Array of bool, optional
        Which classes take part in each row, broadcastable to `x`.
    weight : array_like, shape (K,), optional
        A factor for each class. The mean divides by the summed weights of the labels counted.
    sample_weight : array_like or dask.array.Array, optional
        A factor for each row's loss, finite and at least 0: in the shape of `x` without `axis`, or
        broadcastable to it. A row of weight 0 does not count, as one that is ignored. The mean
        divides by the summed weights of the rows counted, each times that of its label, if any.
    ignore_index : int, default -100
        Rows with this label do not count: their loss is 0.
    reduction : {"mean", "sum", "none"}, default "mean"
        What becomes of the rows' losses.
    label_smoothing : float, default 0.0
        The share, in [0, 1], of the target that is spread evenly over the classes.
    z_loss : float, default 0.0
        A factor, at least 0: each row that counts has ``z_loss * lse**2`` added to its loss.
    return_lse : bool, default False
        Whether to return the logsumexp of each row, too.

    Returns
    -------
    loss : dask.array.Array
        In the dtype of `x`: one number, or with ``reduction="none"`` one for each row. Nothing has
        been computed.
    lse : dask.array.Array
        The logsumexp of each row's logits. Only with ``return_lse=True``.

    Raises
    ------
    TypeError
        If `x` is no Dask array of NumPy arrays, or an argument has elements of the wrong kind.
    ValueError
        If an argument has the wrong shape or value. What a Dask array holds, such as a wrong
        label, is seen when it is computed; the position is then that in its chunk.
    numpy.exceptions.AxisError
        If `x` has no such axis.

    Notes
    -----
    Each chunk of `x` is read once. The loss of a sure prediction keeps its digits in whatever
    chunks the classes lie.

    Examples
    --------
    >>> import dask.array as da
    >>> from smcore.dask import cross_entropy
    >>> x = da.from_array([[1.0, 2.0, 3.0], [0.0, 0.0, 0.0]], chunks=(1, 2))
    >>> cross_entropy(x, [2, 0]).compute().round(4)
    np.float64(0.7531)
    """
    grid = Grid(x, axis, None)
    smoothing, z = as_real(label_smoothing, "label_smoothing"), as_real(z_loss, "z_loss")
    how = {"ignore_index": ignore_index, "label_smoothing": smoothing, "z_loss": z}
    operands: Operands = {"target": _target(grid, target, weight, reduction, how)}
    operands |= grid.where(where)
    if weight is not None:
        weights = np.reshape(weight, [grid.x.shape[i] for i in grid.axes])
        operands["weight"] = grid.beside(weights, "weight", grid.axes)
    samples: Operands = {}
    if sample_weight is not None:
        samples = grid.per_row(sample_weight, "sample_weight")
        if not isinstance(sample_weight, da.Array):
            alone = Rows(np.shape(sample_weight), ())
            as_sample_weights(sample_weight, alone, np.dtype(float), False)
    rows = (_losses_of_rows if grid.whole else _losses_of_parts)(grid, operands, samples, how)
    if reduction == "none":
        loss = convert(grid.by_row(rows), parts.member, grid.dtype, name="loss")
    else:
        sums = tree(rows, parts.total, grid.all).squeeze()
        if reduction == "mean":
            loss = convert(sums, parts.mean, grid.dtype)
        else:
            loss = convert(sums, parts.member, grid.dtype, name="loss")
    if not return_lse:
        return loss
    return loss, convert(grid.by_row(rows), parts.member, grid.dtype, name="lse")


# ---- rows, whole or in parts ---------------------------------------------------------------------


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


# ---- losses --------------------------------------------------------------------------------------


def _target(
    grid: Grid, target: Any, weight: Any, reduction: Reduction, how: dict[str, Any]
) -> tuple[Any, tuple[int, ...]]:
    """Judge the arguments of a loss, and return the target in the chunks of `x`.

    Of what a Dask array holds nothing is known yet: labels of 0 stand for those to come, and one
    row for all where there are as many as there must be.
    """
    if not are_known(tuple(grid.x.shape[i] for i in grid.axes)):
        raise ValueError(
            f"x must have classes of known number; found shape {grid.x.shape}; "
            "x.compute_chunk_sizes() finds the lengths of chunks"
        )
    if not isinstance(target, da.Array):
        target = as_array(target, "target", "target.filled(ignore_index), or target.data")
    sample = sample_of(target, "target")
    has_labels = sample.dtype.kind in "iu"
    axes = grid.lead if has_labels else grid.all
    found, shape = target.shape, grid.x.shape
    if is_like(found, tuple(shape[i] for i in axes)):
        shape = tuple(n if i in grid.axes else 1 for i, n in enumerate(shape))
        found = tuple(shape[i] for i in axes)
    if isinstance(weight, da.Array):
        raise TypeError("weight must be an array of NumPy; pass weight.compute()")
    values = np.broadcast_to(np.zeros((), sample.dtype), found)
    criterion_of(
        shape,
        grid.dtype,
        values,
        grid.axes,
        where=None,
        weight=weight,
        sample_weight=None,
        reduction=reduction,
        **how,
    )
    if has_labels and not isinstance(target, da.Array):
        count = math.prod(grid.x.shape[i] for i in grid.axes)
        as_labels(target, Rows((*target.shape, count), -1), how["ignore_index"])
    return grid.beside(target, "target", axes)


def _losses_of_rows(grid: Grid, operands: Operands, samples: Operands, how: dict[str, Any]) -> Any:
    """Return records of the losses of rows that lie in one chunk each."""
    return grid.map(
        losses.loss_of_rows,
        operands | samples,
        {"dtype": grid.dtype, **how},
        parts.record(parts.ROW, grid.dtype),
        kept=True,
    )


def _losses_of_parts(grid: Grid, operands: Operands, samples: Operands, how: dict[str, Any]) -> Any:
    """Return records of the losses of rows in several chunks."""
    smoothed = how["label_smoothing"] > 0
    options = {
        "dtype": grid.dtype,
        "classes": tuple(grid.x.shape[i] for i in grid.axes),
        "ignore_index": how["ignore_index"],
        "smoothed": smoothed,
    }
    of_parts = parts.record(parts.SMOOTHED if smoothed else parts.LOSS, grid.dtype)
    own = grid.map(losses.loss_part, operands | grid.starts(), options, of_parts, kept=True)
    whole = grid.join(own, parts.merge)
    target, axes = operands["target"]
    if axes == grid.lead and target.dtype.kind in "iu":
        samples = samples | {"labels": (target, axes)}
    return grid.map(
        losses.loss_of_parts, samples, how, parts.record(parts.ROW, grid.dtype), x=whole
    )
