"""What a part of each row adds to it, as records that merge: for rows spread over chunks.

A record holds the logsumexp of its part as the pair ``(m, s)`` of `_streaming`, in float64 or more;
that of a loss also what `_losses` says of it.

All arrays keep the axes of a row, at length 1, but labels and what else is one number for each row.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .._arrays import Array, Axis, DType, Mask, as_float, cast, compute_dtype, sum_dtype
from .._exact import finite, rest_of, two_diff, two_product, two_sum
from .._logsumexp import logsumexp
from .._rows import Rows
from .._softmax import log_softmax, softmax
from .._streaming import logsumexp_merge, logsumexp_partial, softmax_from_lse

__all__ = [
    "LOSS",
    "PAIR",
    "ROW",
    "SCALED",
    "SIGNED",
    "SMOOTHED",
    "logarithm",
    "mean",
    "member",
    "merge",
    "merge_signed",
    "normalized",
    "part",
    "record",
    "records_of",
    "scaled_part",
    "signed_logarithm",
    "signed_part",
    "total",
]

# The members of records: of logsumexp, of scaled rows, with factors; of a loss, of one with
# smoothing, of a row.
PAIR = ("m", "s")
SCALED = (*PAIR, "peak", "scale")
SIGNED = ("log", "sign")
LOSS = (*PAIR, "loss", "share")
SMOOTHED = (*LOSS, "spread", "spread_share", "classes")
ROW = ("loss", "lse", "weight")


def record(names: tuple[str, ...], dtype: DType) -> DType:
    """Return the dtype of records with these members, for logits of `dtype`."""
    return np.dtype([(name, sum_dtype(dtype)) for name in names])


def records_of(shape: tuple[int, ...], dtype: DType, **members: Any) -> Array:
    """Return records of these members, each of that shape or one number."""
    found = np.empty(shape, record(tuple(members), dtype))
    for name, values in members.items():
        found[name] = values if np.ndim(values) == 0 else np.reshape(values, shape)
    return found


# ---- a part --------------------------------------------------------------------------------------


def part(x: Array, where: Mask | None = None, *, axis: Axis, dtype: DType) -> Array:
    """Return the logsumexp of a part of each row."""
    x = as_float(x, "x", dtype)
    m, s = logsumexp_partial(x, axis, where=where)
    return records_of(Rows(x.shape, axis).kept, dtype, m=m, s=s)


def scaled_part(
    x: Array, where: Mask | None = None, scale: Array | float = 1.0, *, axis: Axis, dtype: DType
) -> Array:
    """Return the logsumexp of a part of each row of ``scale * (x - peak)``, and the peak.

    It is minus the log_softmax at the peak, the entry of which that is the largest. So what a sure
    row has besides keeps its digits, and nothing overflows.
    """
    x = as_float(x, "x", compute_dtype(dtype))
    rows = Rows(x.shape, axis)
    factor = np.broadcast_to(rows.numbers(scale, "scale"), rows.kept)
    lowest = np.where(factor < 0, np.inf, -np.inf)
    dead = (x == lowest) & (factor != 0)
    if dead.any():  # as classes that take no part: rows that have no others would be NaN
        where = ~dead if where is None else where & ~dead
    logs = rows.view(np.asarray(log_softmax(x, axis, where=where, scale=scale)))
    if logs.size == 0:
        return records_of(rows.kept, dtype, m=-np.inf, s=0.0, peak=lowest, scale=factor)
    best = logs.argmax(axis=-1)[..., np.newaxis]
    log, peak = (np.take_along_axis(a, best, -1).reshape(rows.kept) for a in (logs, rows.view(x)))
    empty = np.isneginf(log)
    m, peak = np.where(empty, -np.inf, -log), np.where(empty, lowest, peak)
    return records_of(rows.kept, dtype, m=m, s=0.0, peak=peak, scale=factor)


def signed_part(
    x: Array, b: Array, where: Mask | None = None, *, axis: Axis, dtype: DType
) -> Array:
    """Return logarithm and sign of a part of each row of ``b * exp(x)``."""
    wide = sum_dtype(dtype)
    x, b = as_float(x, "x", dtype), as_float(b, "b", dtype)
    log, sign = logsumexp(x, axis, b=b, where=where, return_sign=True, dtype=wide)
    return records_of(Rows(x.shape, axis).kept, dtype, log=log, sign=sign)


# ---- parts together ------------------------------------------------------------------------------

# `keepdims` is how Dask calls them, and always True.


def merge(records: Array, axis: Axis, keepdims: bool) -> Array:
    """Join the parts of each row that lie along `axis`."""
    rows = Rows(records.shape, axis)
    each: Any = rows.view(records)
    names = each.dtype.names
    members: dict[str, Any] = {}
    ms, ss = each["m"], each["s"]
    if "peak" in names:
        members["scale"] = each["scale"][..., 0]
        members["peak"] = _peak(each)
        ms, ss = _about(each, members["peak"][..., np.newaxis])
    m, s = ms[..., 0], ss[..., 0]
    for i in range(1, rows.length):
        m, s = logsumexp_merge((m, s), (ms[..., i], ss[..., i]))
    members |= {"m": m, "s": s}
    for loss, share in (("loss", "share"), ("spread", "spread_share")):
        if loss in names:
            members[loss] = _merged_loss(each, np.asarray(m), np.asarray(s), loss, share)
            members[share] = each[share].sum(axis=-1)
    if "classes" in names:
        members["classes"] = each["classes"].sum(axis=-1)
    members = {name: members[name] for name in names}
    return records_of(rows.kept, each.dtype[0], **members)


def _peak(each: Any) -> Array:
    """Return the peak of rows, of those of their parts."""
    sign = np.where(each["scale"] < 0, -1, 1)
    peak: Array = (sign * each["peak"]).max(axis=-1) * sign[..., 0]
    return peak


def _about(each: Any, peak: Array) -> tuple[Array, Array]:
    """Return the pairs of parts, of which each has a peak of its own, about a common one."""
    with np.errstate(all="ignore"):
        step, lost = two_diff(each["peak"], peak)
        hi, lo = two_product(each["scale"], np.where(each["peak"] == peak, 0, step))
        hi = np.where(np.isneginf(each["m"]), 0, hi)
        m, rest = two_sum(each["m"], hi)
        s = each["s"] + finite(rest) + finite(lo) + finite(each["scale"] * finite(lost))
        return m, np.where(np.isfinite(m), s, rest_of(m))


def _merged_loss(each: Any, m: Array, s: Array, loss: str, share: str) -> Array:
    """Return the losses of parts, added up as those of parts of one row."""
    m, s = m[..., np.newaxis], s[..., np.newaxis]
    with np.errstate(all="ignore"):
        gap = (m - each["m"]) + (s - each["s"])
        gap[np.isinf(m) & (each["m"] == m)] = 0
        own = np.where(np.isneginf(each["m"]) & ~np.isneginf(m), 0, each[loss])
        sums: Array = (own + np.where(each[share] != 0, each[share] * gap, 0)).sum(axis=-1)
    return sums


def merge_signed(records: Array, axis: Axis, keepdims: bool) -> Array:
    """Join the parts of each row of ``b * exp(x)`` that lie along `axis`."""
    log, sign = logsumexp(records["log"], axis, b=records["sign"], keepdims=True, return_sign=True)
    return records_of(np.shape(log), records.dtype[0], log=log, sign=sign)


def total(records: Array, axis: Axis, keepdims: bool) -> Array:
    """Add up what rows hold."""
    with np.errstate(all="ignore"):
        sums = {
            name: np.sum(records[name], axis=axis, keepdims=True)
            for name in records.dtype.names or ()
        }
    return records_of(np.shape(sums["loss"]), records.dtype[0], **sums)


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
        m, s = (
            _about(own, whole["peak"])
            if "peak" in (own.dtype.names or ())
            else (own["m"], own["s"])
        )
        step, lost = two_diff(m, whole["m"])
        lost = finite(lost) + (s - whole["s"])
        step = np.where(np.isfinite(whole["m"]), step, np.nan)
        if log:
            y += step + lost
        else:
            y *= np.exp(step) * (1 + lost)
    if where is not None:
        y[~np.broadcast_to(where, y.shape)] = -np.inf if log else 0
    return cast(y, dtype)
