"""cross_entropy, of rows whole or in parts."""

from __future__ import annotations

import math
from typing import Any, SupportsIndex

import numpy as np
from numpy.typing import ArrayLike

from .._arrays import Axis, Real, as_array, as_real
from .._criterion import Reduction, criterion_of
from .._rows import Rows
from .._target import as_labels, as_sample_weights
from . import _losses as losses
from . import _parts as parts
from ._grid import Grid, Operands, are_known, convert, da, is_like, sample_of, tree

__all__ = ["cross_entropy"]


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
