"""What a part of each row adds to it, as records that merge: for rows spread over chunks.

A record holds the logsumexp of its part as the pair ``(m, s)`` of `_streaming`, in float64 or more.
Of a loss it also holds two sums over the classes c of the part,

    loss = sum of a_c (lse of the part - x_c)    and    share = sum of a_c,

for the target, and once more for smoothing, where all a_c are class weights. Both terms of

    loss + share (lse of the row - lse of the part)

are at least 0 where no weight is negative, so that merging cancels nothing: a sure prediction keeps
its small loss, however many parts there are.

All arrays keep the axes of a row, at length 1, but labels and what else is one number for each row.
"""

from __future__ import annotations

import math
from typing import Any, SupportsIndex

import numpy as np

from .._arrays import Array, Axis, DType, Mask, as_float, cast, compute_dtype, sum_dtype
from .._criterion import as_labels
from .._cross_entropy import cross_entropy
from .._exact import finite, two_diff, two_product, two_sum
from .._logsumexp import logsumexp
from .._rows import Rows
from .._softmax import log_softmax, softmax
from .._streaming import logsumexp_merge, logsumexp_partial, softmax_from_lse

__all__ = [
    "LOSS",
    "PAIR",
    "ROW",
    "SIGNED",
    "SMOOTHED",
    "logarithm",
    "loss_of_parts",
    "loss_of_rows",
    "loss_part",
    "mean",
    "member",
    "merge",
    "merge_signed",
    "normalized",
    "part",
    "record",
    "scaled_part",
    "signed_logarithm",
    "signed_part",
    "total",
]

# The members of records: of logsumexp, with factors, of a loss, of one with smoothing; of a row.
PAIR = ("m", "s")
SIGNED = ("log", "sign")
LOSS = (*PAIR, "loss", "share")
SMOOTHED = (*LOSS, "spread", "spread_share", "classes")
ROW = ("loss", "lse", "weight")

_NONE = -100  # the label of a row that has none here


def record(names: tuple[str, ...], dtype: DType) -> DType:
    """Return the dtype of records with these members, for logits of `dtype`."""
    return np.dtype([(name, sum_dtype(dtype)) for name in names])


def _records(shape: tuple[int, ...], dtype: DType, **members: Any) -> Array:
    found = np.empty(shape, record(tuple(members), dtype))
    for name, values in members.items():
        found[name] = values if np.ndim(values) == 0 else np.reshape(values, shape)
    return found


# ---- a part --------------------------------------------------------------------------------------


def part(x: Array, where: Mask | None = None, *, axis: Axis, dtype: DType) -> Array:
    """Return the logsumexp of a part of each row."""
    x = as_float(x, "x", dtype)
    m, s = logsumexp_partial(x, axis, where=where)
    return _records(Rows(x.shape, axis).kept, dtype, m=m, s=s)


def scaled_part(
    x: Array, where: Mask | None = None, scale: Array | float = 1.0, *, axis: Axis, dtype: DType
) -> Array:
    """Return the logsumexp of a part of each row of ``scale * x``.

    It is ``scale * peak``, of which no digit is lost, minus the log_softmax of the peak.
    """
    x = as_float(x, "x", compute_dtype(dtype))
    rows = Rows(x.shape, axis)
    factor = np.broadcast_to(rows.numbers(scale, "scale"), rows.kept)
    dead = x == np.where(factor < 0, np.inf, -np.inf)
    if dead.any():  # as classes that take no part: rows that have no others would be NaN
        where = ~dead if where is None else where & ~dead
    logs = rows.view(np.asarray(log_softmax(x, axis, where=where, scale=scale)))
    if logs.size == 0:
        return _records(rows.kept, dtype, m=-np.inf, s=0.0)
    best = logs.argmax(axis=-1)[..., np.newaxis]
    wide = sum_dtype(x.dtype)
    peak, log = (np.take_along_axis(a, best, -1).astype(wide) for a in (rows.view(x), logs))
    with np.errstate(all="ignore"):
        factor = factor.reshape(peak.shape).astype(wide)
        product, lost = two_product(factor, np.where(np.isneginf(log), 0, peak))
        m, rest = two_sum(product, -log)
        m = np.where(np.isneginf(log), -np.inf, m)
        return _records(rows.kept, dtype, m=m, s=finite(rest) + finite(lost))


def signed_part(
    x: Array, b: Array, where: Mask | None = None, *, axis: Axis, dtype: DType
) -> Array:
    """Return logarithm and sign of a part of each row of ``b * exp(x)``."""
    wide = sum_dtype(dtype)
    x, b = as_float(x, "x", dtype), as_float(b, "b", dtype)
    log, sign = logsumexp(x, axis, b=b, where=where, return_sign=True, dtype=wide)
    return _records(Rows(x.shape, axis).kept, dtype, log=log, sign=sign)


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
    return _records(rows.kept, dtype, **members)


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


# ---- parts together ------------------------------------------------------------------------------


def merge(records: Array, axis: Axis, keepdims: bool = True) -> Array:
    """Join the parts of each row that lie along `axis`."""
    rows = Rows(records.shape, axis)
    each: Any = rows.view(records)
    m, s = (each[name][..., 0] for name in PAIR)
    for i in range(1, rows.length):
        m, s = logsumexp_merge((m, s), (each["m"][..., i], each["s"][..., i]))
    members: dict[str, Any] = {"m": m, "s": s}
    if "loss" in each.dtype.names:
        terms = [("loss", "share"), ("spread", "spread_share")]
        for loss, share in terms if "spread" in each.dtype.names else terms[:1]:
            members[loss] = _merged_loss(each, np.asarray(m), np.asarray(s), loss, share)
            members[share] = each[share].sum(axis=-1)
        if "classes" in each.dtype.names:
            members["classes"] = each["classes"].sum(axis=-1)
    return _records(rows.kept if keepdims else rows.lead, each.dtype[0], **members)


def _merged_loss(each: Any, m: Array, s: Array, loss: str, share: str) -> Array:
    """Return the losses of parts, added up as those of parts of one row."""
    m, s = m[..., np.newaxis], s[..., np.newaxis]
    with np.errstate(all="ignore"):
        gap = (m - each["m"]) + (s - each["s"])
        gap[np.isinf(m) & (each["m"] == m)] = 0
        own = np.where(np.isneginf(each["m"]) & ~np.isneginf(m), 0, each[loss])
        sums: Array = (own + np.where(each[share] != 0, each[share] * gap, 0)).sum(axis=-1)
    return sums


def merge_signed(records: Array, axis: Axis, keepdims: bool = True) -> Array:
    """Join the parts of each row of ``b * exp(x)`` that lie along `axis`."""
    log, sign = logsumexp(
        records["log"], axis, b=records["sign"], keepdims=keepdims, return_sign=True
    )
    return _records(np.shape(log), records.dtype[0], log=log, sign=sign)


def total(records: Array, axis: Axis, keepdims: bool = True) -> Array:
    """Add up what rows hold."""
    with np.errstate(all="ignore"):
        sums = {
            name: np.sum(records[name], axis=axis, keepdims=keepdims)
            for name in records.dtype.names or ()
        }
    return _records(np.shape(sums["loss"]), records.dtype[0], **sums)


# ---- from the whole ------------------------------------------------------------------------------


def member(records: Array, *, name: str, dtype: DType) -> Array:
    """Return one of the members of records."""
    return cast(records[name], dtype)


def logarithm(records: Array, *, dtype: DType) -> Array:
    """Return the logsumexp that records hold."""
    with np.errstate(all="ignore"):
        return cast(records["m"] + records["s"], dtype)


def mean(records: Array, *, dtype: DType) -> Array:
    """Return the mean loss, from sums over rows."""
    with np.errstate(all="ignore"):
        return cast(records["loss"] / records["weight"], dtype)


def signed_logarithm(records: Array, *, name: str, with_sign: bool, dtype: DType) -> Array:
    """Return the logarithm or the sign that records hold: NaN below 0 unless `with_sign`."""
    values = records[name]
    return cast(values if with_sign else np.where(records["sign"] < 0, np.nan, values), dtype)


def normalized(
    x: Array,
    whole: Array,
    where: Mask | None = None,
    scale: Array | float = 1.0,
    own: Array | None = None,
    *,
    axis: Axis,
    dtype: DType,
    log: bool,
) -> Array:
    """Return (the logarithm of) the softmax of a part, given the record of the whole row.

    With the part's `own` record it is that of the part alone, which the kernels compute, and the
    step from there to the whole. Both logarithms have one sign: nothing cancels.
    """
    if own is None:
        x = as_float(x, "x", dtype)
        return np.asarray(softmax_from_lse(x, whole["m"], axis, rest=whole["s"], where=where))
    x = as_float(x, "x", compute_dtype(dtype))
    dead = np.isneginf(own["m"])
    seen = where
    if dead.any():
        seen = np.broadcast_to(~dead, x.shape) if where is None else where & ~dead
    function = log_softmax if log else softmax
    y = np.asarray(function(x, axis, where=seen, scale=scale))
    with np.errstate(all="ignore"):
        step, lost = two_diff(own["m"], whole["m"])
        lost = finite(lost) + (own["s"] - whole["s"])
        step = np.where(np.isfinite(whole["m"]), step, np.nan)
        if log:
            y += step + lost
        else:
            y *= np.exp(step) * (1 + lost)
    if where is not None:
        y[~np.broadcast_to(where, y.shape)] = -np.inf if log else 0
    return cast(y, dtype)


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
        factor = rows.numbers(sample_weight, "sample_weight")
        if (factor < 0).any():
            raise ValueError(f"sample_weight must be at least 0; found {factor.min()} among them")
        with np.errstate(all="ignore"):
            loss, weight = loss * factor, weight * factor
        counted = counted & (factor > 0)
    loss, weight = np.where(counted, loss, 0), np.where(counted, weight, 0)
    return _records(rows.kept, loss.dtype, loss=loss, lse=lse, weight=weight)
