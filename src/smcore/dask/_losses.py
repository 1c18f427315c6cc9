"""What a part of each row adds to its loss, and the loss of rows.

Of a part there are two sums over its classes c,

    loss = sum of a_c (lse of the part - x_c)    and    share = sum of a_c,

for the target, and once more for smoothing, where all a_c are class weights. Both terms of

    loss + share (lse of the row - lse of the part)

are at least 0 where no weight is negative, so that merging cancels nothing: a sure prediction keeps
its small loss, however many parts there are.
"""

from __future__ import annotations

import math
from typing import Any, SupportsIndex

import numpy as np

from .._arrays import Array, Axis, DType, Mask, as_float, compute_dtype, sum_dtype
from .._cross_entropy import cross_entropy
from .._rows import Rows
from .._target import as_labels, as_sample_weights
from ._parts import LOSS, PAIR, SMOOTHED, part, records_of

__all__ = ["loss_of_parts", "loss_of_rows", "loss_part"]

_NONE = -100  # the label of a row that has none here


# ---- a part --------------------------------------------------------------------------------------


def loss_part(
    x: Array,
    target: Array,
    where: Mask | None = None,
    weight: Array | None = None,
    *,
    axis: Axis,
    dtype: DType,
    classes: tuple[int, ...],
    ignore_index: SupportsIndex,
    smoothed: bool,
    **starts: Array,
) -> Array:
    """Return what a part of each row adds to its loss.

    `weight` holds those of the classes of the part, which is where the indices `starts` begin, one
    for each axis, in the whole of lengths `classes`.
    """
    x = as_float(x, "x", compute_dtype(dtype))
    rows = Rows(x.shape, axis)
    members: dict[str, Any] = dict.fromkeys(SMOOTHED if smoothed else LOSS, 0.0)
    pair = part(x, where, axis=axis, dtype=x.dtype)
    members |= {name: pair[name] for name in PAIR}
    if rows.length:
        if target.dtype.kind in "iu":
            lengths = tuple(x.shape[i] for i in rows.axes)
            target = _within(
                target, classes, ignore_index, [int(i[0]) for i in starts.values()], lengths
            )
        how: Any = (axis, where, None if weight is None else weight.reshape(-1).astype(x.dtype))
        members["loss"], members["share"] = _term(x, target, *how)
        if smoothed:
            ones = np.broadcast_to(x.dtype.type(1), x.shape)
            members["spread"], members["spread_share"] = _term(x, ones, *how)
            members["classes"] = _sums(ones, rows, where)
    return records_of(rows.kept, dtype, **members)


def _within(
    target: Array,
    classes: tuple[int, ...],
    ignore_index: SupportsIndex,
    starts: list[int],
    lengths: tuple[int, ...],
) -> Array:
    """Return labels as those of a part, `_NONE` where they belong to others."""
    labels = as_labels(target, Rows((*target.shape, math.prod(classes)), -1), ignore_index)
    inside = labels >= 0
    places = np.unravel_index(np.where(inside, labels, 0), classes)
    local = np.zeros_like(labels)
    for place, start, length in zip(places, starts, lengths, strict=True):
        inside &= (place >= start) & (place < start + length)
        local = local * length + (place - start)
    return np.where(inside, local, _NONE)


def _term(
    x: Array, target: Array, axis: Axis, where: Mask | None, weight: Array | None
) -> tuple[Array, Array]:
    """Return the sums that make the loss of a part, for labels or probabilities."""
    loss = cross_entropy(
        x, target, axis=axis, where=where, weight=weight, reduction="none", ignore_index=_NONE
    )
    rows = Rows(x.shape, axis)
    if target.dtype.kind in "iu":
        own = 1.0 if weight is None else weight[np.maximum(target, 0)]
        return loss, np.where(target == _NONE, 0.0, own)
    factors = np.ones(1, x.dtype) if weight is None else weight
    return loss, _sums(target, rows, where, factors)


def _sums(
    values: Array, rows: Rows, where: Mask | None = None, factors: Array | float = 1.0
) -> Array:
    """Return the sums of rows of ``factors * values``, where they take part."""
    seen = True if where is None else rows.view(np.broadcast_to(where, values.shape))
    with np.errstate(all="ignore"):
        terms = rows.view(values) * factors
        sums: Array = terms.sum(axis=-1, dtype=sum_dtype(terms.dtype), where=seen)
    return sums


# ---- from the whole ------------------------------------------------------------------------------


def loss_of_parts(
    whole: Array,
    labels: Array | None = None,
    sample_weight: Array | None = None,
    *,
    axis: Axis,
    ignore_index: SupportsIndex,
    label_smoothing: float,
    z_loss: float,
) -> Array:
    """Return loss, logsumexp and weight of each row, from the record of the whole row."""
    m, lse = whole["m"], whole["m"] + whole["s"]
    loss = np.zeros_like(m)
    with np.errstate(all="ignore"):
        if label_smoothing < 1:
            loss += (1 - label_smoothing) * whole["loss"]
        if label_smoothing > 0:
            loss += label_smoothing * whole["spread"] / np.maximum(whole["classes"], 1)
        loss[np.isnan(m) | np.isposinf(m)] = np.nan
        if z_loss:
            loss += z_loss * lse * lse
    rows = Rows(whole.shape, axis)
    counted: Any = True
    if labels is not None:
        counted = (labels != ignore_index).reshape(rows.kept)
    weight = np.ones_like(m) if labels is None else whole["share"]
    return _rows(rows, loss, lse, weight, counted, sample_weight)


def loss_of_rows(
    x: Array,
    target: Array,
    where: Mask | None = None,
    weight: Array | None = None,
    sample_weight: Array | None = None,
    *,
    axis: Axis,
    dtype: DType,
    ignore_index: SupportsIndex,
    label_smoothing: float,
    z_loss: float,
) -> Array:
    """Return loss, logsumexp and weight of whole rows."""
    x = as_float(x, "x", compute_dtype(dtype))
    weight = None if weight is None else weight.reshape(-1)
    loss, lse = cross_entropy(
        x,
        target,
        axis=axis,
        where=where,
        weight=weight,
        ignore_index=ignore_index,
        reduction="none",
        label_smoothing=label_smoothing,
        z_loss=z_loss,
        return_lse=True,
    )
    rows = Rows(x.shape, axis)
    counted: Any = True
    own: Any = np.ones(rows.lead)
    if target.dtype.kind in "iu":
        counted = (target != ignore_index).reshape(rows.kept)
        if weight is not None:
            own = weight.astype(x.dtype)[np.where(target == ignore_index, 0, target)]
    loss, lse, own = (np.reshape(a, rows.kept) for a in (loss, lse, own))
    return _rows(rows, loss, lse, own, counted, sample_weight)


def _rows(
    rows: Rows, loss: Array, lse: Array, weight: Array, counted: Any, sample_weight: Array | None
) -> Array:
    """Return the records of rows; those that do not count have a loss and a weight of 0."""
    if sample_weight is not None:
        factor = as_sample_weights(sample_weight, rows, np.dtype(float), False).reshape(rows.kept)
        with np.errstate(all="ignore"):
            loss, weight = loss * factor, weight * factor
        counted = counted & (factor > 0)
    loss, weight = np.where(counted, loss, 0), np.where(counted, weight, 0)
    return records_of(rows.kept, loss.dtype, loss=loss, lse=lse, weight=weight)
