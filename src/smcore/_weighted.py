"""Logsumexp with factors, a block of rows, or a part of a long row, at a time.

With ``k`` a position of about the largest term and ``t = b * exp(x - x[k])``, the sum is
``t[k] + rest``, where the rest is summed without ``t[k]``: where their total is near one, its
logarithm keeps the digits of the rest. Numbers of up to 32 bits are computed in float64, whose
spare digits absorb every rounding; the others keep the error of the difference in the exponent.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

from ._arrays import Array, DType, cast, compute_dtype, sum_dtype
from ._blocks import blocks
from ._exact import two_diff, two_sum

__all__ = ["weighted_logsumexp"]

_BLOCK = 1 << 14  # elements computed together: some temporaries of this size fit the cache
_LENGTH = 1 << 12  # of a row, of those; it decides in which order a row is summed
_SHORT = 16  # classes of rows that are taken class after class

_Part = tuple[int, Array, Array]  # where it begins in its row, exponents and factors


def weighted_logsumexp(x: Array, b: Array, log: Array, sign: Array) -> None:
    """Write the logarithm of ``abs(sum(b * exp(x)))`` and the sum's sign.

    Parameters
    ----------
    x, b : ndarray, (A, B, K)
        Exponents and factors, of one dtype. An entry whose factor is 0 takes no part.
    log, sign : ndarray, (A, B)
        Results, in any dtype.
    """
    length = min(x.shape[2], _LENGTH)
    with np.errstate(all="ignore"):
        for rows in blocks(x.shape[:2], length, _BLOCK):
            found_log, found_sign = _log_of_block(x[rows], b[rows])
            shape = log[rows].shape
            log[rows], sign[rows] = found_log.reshape(shape), found_sign.reshape(shape)


def _log_of_block(x: Array, b: Array) -> tuple[Array, Array]:
    """Return the logarithms and the signs of some rows, ``(A, B, K)``, side by side."""
    parts = list(_parts(x, b)) if x.shape[2] <= _LENGTH else None
    position, x_peak, b_peak = _peaks(parts or _parts(x, b))
    shift = np.where(np.isfinite(x_peak), x_peak, 0)
    rest, error = np.zeros_like(shift), np.zeros_like(shift)
    for start, x_part, b_part in parts or _parts(x, b):
        terms = _terms(x_part, b_part, shift[:, np.newaxis])
        inside = np.flatnonzero((position >= start) & (position < start + terms.shape[1]))
        terms[inside, position[inside] - start] = 0
        rest, lost = two_sum(rest, _sums(terms))
        error += lost
    top = _terms(x_peak, b_peak, shift)
    rest = (rest + np.where(np.isfinite(error), error, 0)) * np.sign(top)
    total = np.abs(top) + rest
    beyond = (np.abs(top) - 1) + rest  # total - 1, but without the rounding of the total
    log = np.where(np.abs(beyond) < 0.5, np.log1p(beyond), np.log(np.abs(total))) + shift
    sign = np.sign(top) * np.sign(total)
    if not np.isfinite(total).all():
        special, total = _special_sums(parts or _parts(x, b), len(total))
        log = np.where(special, np.log(np.abs(total)), log)
        sign = np.where(special, np.sign(total), sign)
    return log, sign


def _parts(x: Array, b: Array) -> Iterator[_Part]:
    """Yield parts of rows: where they begin, and copies as they are computed with.

    Of short rows the classes lie side by side, so that no loop is as short as they are.
    """
    count, length = x.shape[0] * x.shape[1], x.shape[2]
    for start in range(0, length, _LENGTH):
        part = slice(start, min(start + _LENGTH, length))
        size = part.stop - start
        x_part, b_part = (_new(count, size, compute_dtype(x.dtype)) for _ in range(2))
        x_part.reshape(*x.shape[:2], size)[...] = x[:, :, part]
        b_part.reshape(*x.shape[:2], size)[...] = b[:, :, part]
        unused = b_part == 0
        if unused.any():
            np.copyto(x_part, -np.inf, where=unused)
        yield start, x_part, b_part


def _new(count: int, length: int, dtype: DType) -> Array:
    return (
        np.empty((length, count), dtype).T if length <= _SHORT else np.empty((count, length), dtype)
    )


def _sums(terms: Array) -> Array:
    """Return the sums of rows, in an order that depends on their length alone."""
    if terms.shape[1] > _SHORT:
        sums: Array = terms.sum(axis=-1)
        return sums
    total: Array = terms[:, 0].copy()
    for i in range(1, terms.shape[1]):
        total += terms[:, i]
    return total


def _argmax(logs: Array) -> Array:
    """Return the first position of each row's maximum; any, if that is NaN."""
    if logs.shape[1] <= _SHORT:  # as only contiguous rows are searched fast
        logs = np.ascontiguousarray(logs == logs.max(axis=-1, keepdims=True))
    places: Array = logs.argmax(axis=-1)
    return places


def _peaks(parts: Iterable[_Part]) -> tuple[Array, Array, Array]:
    """Return where in each row the largest term is, rounded, and its exponent and factor."""
    found: list[Array] = []
    for start, x_part, b_part in parts:
        logs = np.abs(b_part)
        np.log(logs, out=logs)
        logs += x_part
        rows, place = np.arange(len(logs)), _argmax(logs)
        new = [logs[rows, place], place + start, x_part[rows, place], b_part[rows, place]]
        if not found:
            found = new
            continue
        higher = new[0] > found[0]
        for kept, other in zip(found, new, strict=True):
            np.copyto(kept, other, where=higher)
    _, position, x_peak, b_peak = found
    wide = sum_dtype(x_peak.dtype)
    return position, cast(x_peak, wide), cast(b_peak, wide)


def _terms(x: Array, b: Array, shift: Array) -> Array:
    """Return ``b * exp(x - shift)`` in the dtype of `shift`."""
    if x.dtype != shift.dtype:
        difference = np.subtract(x, shift)
        np.exp(difference, out=difference)
        difference *= b
        return difference
    difference, error = two_diff(x, shift)
    difference *= 0.5
    value = np.exp(difference, out=difference)  # its square may overflow, where a tiny b helps
    value *= value * b
    value += value * np.where(np.isfinite(error), error, 0)
    return value


def _special_sums(parts: Iterable[_Part], count: int) -> tuple[Array, Array]:
    """Return which rows hold NaN or an infinity, and their sums; -inf in x is a term of 0."""
    special, total = np.zeros(count, bool), np.zeros(count)
    for _, x, b in parts:
        special |= ~np.all(np.isfinite(b) & (x < np.inf), axis=-1)
        total += np.sum(b * np.where(np.isfinite(x), 1, np.exp(x)), axis=-1)
    return special, total
