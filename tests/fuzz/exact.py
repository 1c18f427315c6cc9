"""What kernels should return, in pairs of extended precision: as `tests/truth.py`, but quick.

`np.longdouble` must have 64 bits or more, eleven beyond float64. Arguments of exponentials are
pairs, so that these bits are right. `tests/test_fuzz.py` compares all this with `tests/truth.py`.

A `Judged` is the exact result, the largest error that is promised, and where there is a promise.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import truth

Array = np.ndarray[Any, np.dtype[Any]]
L = np.longdouble
format_of, eps = cache(truth.format_of), cache(truth.eps)
INF = L(np.inf)


def has_digits() -> bool:
    """Whether this machine can judge float64."""
    return np.finfo(L).nmant >= 63


def wide(a: Array) -> Array:
    """The same values."""
    return a.astype(np.float64).astype(L)


def two_sum(a: Array, b: Array) -> tuple[Array, Array]:
    """a + b and what its rounding lost."""
    s = a + b
    t = s - a
    return s, (a - (s - t)) + (b - t)


_SPLITTER = L(2.0 ** ((np.finfo(L).nmant + 2) // 2) + 1)


def _halves(a: Array) -> tuple[Array, Array]:
    c = _SPLITTER * a
    high = c - (c - a)
    return high, a - high


def times(hi: Array, lo: Array, factor: Any) -> tuple[Array, Array]:
    """(hi + lo) times one number, as a pair (by Veltkamp's splitting)."""
    p = hi * factor
    (a, b), (c, d) = _halves(hi), _halves(factor)
    return p, ((a * c - p) + a * d + b * c) + b * d + lo * factor


@dataclass(frozen=True)
class Judged:
    """What a result should be, the error allowed, and for which elements this holds."""

    value: Array
    bound: Array
    holds: Array

    def wrong(self, got: Array) -> Array:
        """Where the result is not as near as promised."""
        with np.errstate(all="ignore"):
            error = np.abs(wide(got) - self.value)
            form = format_of(got.dtype)
            largest = L(2.0) ** form.highest * (1 - L(2.0) ** -(form.bits + 1))
            beyond = (np.abs(self.value) + self.bound >= largest) & (
                wide(got) == np.copysign(INF, self.value)
            )
            same = (wide(got) == self.value) | (np.isnan(self.value) & np.isnan(wide(got)))
            half = np.ldexp(L(1), form.lowest - 1)
            return self.holds & ~((error <= self.bound + half) | beyond | same)


def in_ulps(value: Array, dtype: Any, ulps: float) -> Array:
    """So many units in the last place of each value."""
    form = format_of(dtype)
    exponent = np.frexp(np.where(np.isfinite(value), value, 0))[1]
    lowest = np.where(value == 0, form.lowest, exponent - form.bits)
    return ulps * np.ldexp(L(1), np.maximum(lowest, form.lowest))


def computed(dtype: Any) -> np.dtype[Any]:
    """The type that a dtype is computed in."""
    return np.dtype(np.float64 if np.dtype(dtype) == np.float64 else np.float32)


def limit(dtype: Any, ulps: float) -> float:
    """Units allowed: as stated, or one rounding of a float32 result."""
    return 0.51 if np.dtype(dtype).itemsize == 2 else ulps


@dataclass(frozen=True)
class Rows:
    """The logits of rows times a scale, about their peaks."""

    d: Array  # less the peak's, 0 at the peak, and what that lacks
    d_low: Array
    e: Array
    tail: Array
    """Of all but one peak."""
    peak: Array
    m: Array
    kind: Array
    """For each row its logsumexp if that is no number: NaN, inf, -inf; else 0."""

    @classmethod
    def of(cls, x: Array, scale: float = 1.0) -> Rows:
        """From values of any dtype."""
        with np.errstate(all="ignore"):
            plain = x.astype(np.float64)
            sign = plain * (0.0 if scale == 0 else np.copysign(1.0, scale))
            kind = np.zeros((len(x), 1), L)
            kind[(sign == -np.inf).all(-1)] = -INF
            kind[(sign == np.inf).any(-1)] = INF
            kind[np.isnan(sign).any(-1)] = np.nan
            ordinary = np.where(np.isfinite(kind), sign, 0.0)
            k = np.argmax(ordinary, axis=-1)[:, np.newaxis]
            m = np.take_along_axis(np.where(np.isfinite(kind), plain, 0.0), k, -1).astype(L)
            none = ordinary == -np.inf
            near = np.where(none | ~np.isfinite(kind), m, wide(x))
            d, low = two_sum(near, -m)
            if scale != 1:
                d, low = times(d, low, L(scale))
            e = np.where(none, 0, np.exp(d) * (1 + low))
            peak = np.zeros(x.shape, bool)
            np.put_along_axis(peak, k, True, -1)
            tail = np.where(peak, 0, e).sum(-1, keepdims=True)
            return cls(np.where(none, -INF, d), np.where(none, 0, low), e, tail, peak, m, kind)

    def softmax(self) -> Array:
        """e / S."""
        return self.e / (1 + self.tail)

    def log_softmax(self) -> Array:
        """The larger difference first."""
        log = np.log1p(self.tail)
        return np.where(self.peak, -log, self.d - log + self.d_low)

    def logsumexp(self) -> tuple[Array, Array]:
        """A value for each row, and the largest of it and its terms."""
        log = np.log1p(self.tail)
        value = self.m + log
        return value[:, 0], np.maximum(np.maximum(np.abs(self.m), log), np.abs(value))[:, 0]

    @property
    def finite(self) -> Array:
        """Rows whose logsumexp is a number."""
        return self.kind == 0


def _rowwise(rows: Rows, value: Array, dtype: Any) -> Judged:
    bound = in_ulps(value, dtype, limit(dtype, 3))
    ones = np.ones(value.shape, bool)
    return Judged(np.where(rows.finite, value, np.nan), bound, ones)


def softmax(x: Array, scale: float) -> Judged:
    """Within 3 ulp; NaN where a row has no largest number."""
    rows = Rows.of(x, scale)
    return _rowwise(rows, rows.softmax(), x.dtype)


def log_softmax(x: Array, scale: float) -> Judged:
    """Within 3 ulp; NaN where a row has no largest number."""
    rows = Rows.of(x, scale)
    return _rowwise(rows, rows.log_softmax(), x.dtype)


def logsumexp(x: Array, ties: int = 1) -> Judged:
    """Within 3 ulp of the larger term; of rows that hold each number so often."""
    rows = Rows.of(x)
    value, term = rows.logsumexp()
    more = np.log(L(ties))
    value, term = value + more, np.maximum(term, more)
    value = np.where(rows.finite[:, 0], value, rows.kind[:, 0])
    return Judged(value, in_ulps(term, x.dtype, limit(x.dtype, 3)), np.ones(value.shape, bool))


def logsumexp_pair(x: Array, m: Array, s: Array) -> Array:
    """Where the pair m + s is farther off than some epsilon, or s is more than a unit of m."""
    rows = Rows.of(x)
    log = np.log1p(rows.tail)[:, 0]
    term = np.maximum(np.abs(rows.m[:, 0]), log)
    with np.errstate(all="ignore"):
        error = np.abs(((wide(m) - rows.m[:, 0]) + wide(s)) - log)
        bound = 2.5 * eps(m.dtype) * np.minimum(1, 2 * term) + np.ldexp(
            L(1), format_of(m.dtype).lowest
        )
        known = np.abs(rows.m[:, 0]) * np.finfo(L).eps  # the digits of the truth itself
        good = (error <= bound + known) & (np.abs(wide(s)) <= in_ulps(wide(m), m.dtype, 1))
        kind = rows.kind[:, 0]
        special = (wide(m) == kind) | (np.isnan(kind) & np.isnan(m))
    return ~np.where(rows.finite[:, 0], good, special)


# ---- Products, from the logits -------------------------------------------------------------------


def about_peak(s: Array, g: Array) -> Array:
    """G less what it is at the first of the largest s."""
    at = np.argmax(s.astype(np.float64), axis=-1)[:, np.newaxis]
    return wide(g) - np.take_along_axis(wide(g), at, -1)


def _product(value: Array, size: Array, subnormal: Array, rows: Rows, g: Array) -> Judged:
    smallest = np.ldexp(L(1), format_of(g.dtype).lowest)
    holds = rows.finite & np.isfinite(g.astype(np.float64)).all(-1, keepdims=True)
    bound = 4 * eps(g.dtype) * size + smallest * subnormal
    # As products of two that are small are: one for each class.
    bound = bound + np.ldexp(L(g.shape[1]), format_of(computed(g.dtype)).lowest)
    # Beyond a part of the range, sums and differences of g may overflow.
    holds = holds & (
        abs(wide(g)).sum(-1, keepdims=True) < L(2.0) ** (format_of(g.dtype).highest - 2)
    )
    has_nan = np.isnan(g.astype(np.float64)).any(-1, keepdims=True)
    value = np.where(has_nan, np.nan, value)
    return Judged(value, bound, np.broadcast_to(holds | (rows.finite & has_nan), value.shape))


def softmax_vjp(rows: Rows, s: Array, g: Array) -> Judged:
    """(diag(s) - s sᵀ) g."""
    p, h = rows.softmax(), about_peak(s, g)
    mean, spread = (p * h).sum(-1, keepdims=True), (p * abs(h)).sum(-1, keepdims=True)
    total = abs(h).sum(-1, keepdims=True)
    bound = 1 + abs(h) + spread + p * total
    return _product(p * (h - mean), p * (abs(h) + spread), bound, rows, g)


def _by_logarithm(rows: Rows) -> tuple[Array, Array]:
    """Probabilities, and what a rounded logarithm makes of them."""
    p, log = rows.softmax(), rows.log_softmax()
    return p, p * (1 + abs(np.where(p == 0, 0, log)))


def log_softmax_jvp(rows: Rows, log_s: Array, v: Array) -> Judged:
    """(I - 1 sᵀ) v."""
    (p, weights), h = _by_logarithm(rows), about_peak(log_s, v)
    spread, total = ((a * abs(h)).sum(-1, keepdims=True) for a in (weights, L(1)))
    return _product(h - (p * h).sum(-1, keepdims=True), abs(h) + spread, 1 + total, rows, v)


def log_softmax_vjp(rows: Rows, log_s: Array, g: Array) -> Judged:
    """g (I - 1 sᵀ)."""
    (p, weights), g_ = _by_logarithm(rows), wide(g)
    total, size = g_.sum(-1, keepdims=True), abs(g_).sum(-1, keepdims=True)
    beside = np.where(rows.peak, 0, g_)
    rest, others = beside.sum(-1, keepdims=True), abs(beside).sum(-1, keepdims=True)
    missing = rows.tail / (1 + rows.tail)
    value = np.where(rows.peak, g_ * missing - p * rest, g_ - p * total)
    at_peak, elsewhere = abs(g_) * missing + weights * others, abs(g_) + weights * size
    return _product(value, np.where(rows.peak, at_peak, elsewhere), 1 + size, rows, g)


def logsumexp_vjp(x: Array, lse: Array, g: Array) -> Judged:
    """exp(x - lse) g for the lse given."""
    with np.errstate(all="ignore"):
        d, low = two_sum(wide(x), -wide(lse)[:, np.newaxis])
        numbers = np.isfinite(lse.astype(np.float64)) & np.isfinite(g.astype(np.float64))
        numbers = numbers[:, np.newaxis] & (wide(x) < INF)
        e = np.exp(d) * (1 + np.where(np.isfinite(low), low, 0))
        value = e * wide(g)[:, np.newaxis]
        form = format_of(computed(x.dtype))
        bound = in_ulps(value, x.dtype, 0.51) if x.dtype.itemsize == 2 else L(0)
        bound = bound + 4 * L(2.0) ** (1 - form.bits) * abs(value)
        bound = bound + np.ldexp(abs(wide(g)), form.lowest)[:, np.newaxis]
        bound = bound + np.ldexp(L(1), format_of(x.dtype).lowest)
        is_in_range = e < L(2.0) ** (form.highest - 1)  # exp alone, before it is multiplied
    return Judged(value, bound, numbers & is_in_range & (abs(d) < 10_000))


# ---- Matrices, of operands as given --------------------------------------------------------------


def _complement(s: Array) -> Array:
    """1 - s where that keeps digits, else the sum of the others."""
    others = s.sum(-1, keepdims=True) - s
    for i, row in enumerate(s):
        if (row > 0.5).any():
            k = int(np.argmax(row))
            others[i, k] = np.delete(row, k).sum()
    return np.where(s > 0.5, others, 1 - s)


def softmax_jacobian(s: Array) -> Judged:
    """diag(s) - s sᵀ: within 1 ulp, 3 on the diagonal."""
    a, unit = wide(s), np.eye(s.shape[1], dtype=bool)
    value = -a[:, :, np.newaxis] * a[:, np.newaxis, :]
    value = np.where(unit, (a * _complement(a))[:, :, np.newaxis], value)
    bound = in_ulps(value, s.dtype, 1) * np.where(unit, limit(s.dtype, 3), limit(s.dtype, 1))
    return Judged(value, bound, np.ones(value.shape, bool))


def log_softmax_jacobian(log_s: Array) -> Judged:
    """I - 1 sᵀ: within 3 ulp."""
    a, unit = wide(log_s)[:, np.newaxis, :], np.eye(log_s.shape[1], dtype=bool)
    value = np.where(unit, -np.expm1(a), -np.exp(a))
    return Judged(
        value, in_ulps(value, log_s.dtype, limit(log_s.dtype, 3)), np.ones(value.shape, bool)
    )


def softmax_layer_jacobian(s: Array, x: Array) -> Judged:
    """s[t] (δ[t, i] - s[i]) x[j], in column i·J + j: within 4 ulp."""
    whole = softmax_jacobian(s)
    by = wide(x)[:, np.newaxis, np.newaxis, :]
    value = whole.value[..., np.newaxis] * by
    smallest = np.ldexp(L(1), format_of(computed(s.dtype)).lowest)
    bound = in_ulps(value, s.dtype, limit(s.dtype, 4)) + smallest * (1 + abs(by))
    shape = (*s.shape, -1)
    return Judged(
        value.reshape(shape), bound.reshape(shape), np.ones(value.shape, bool).reshape(shape)
    )


# ---- Cross-entropy -------------------------------------------------------------------------------


@dataclass(frozen=True)
class Loss:
    """What the losses of rows, their gradients and logarithms should be."""

    loss: Judged
    gradient: Judged
    lse: Judged


def cross_entropy(
    x: Array,
    a: Array,
    counted: Array,
    known: Array,
    sample: Array,
    z_loss: float,
    factor: float,
) -> Loss:
    """Of weights `a`, none negative, on the classes, and of the rows that count, if that is known.

    Sums have the errors of their terms, 6 epsilon; a gradient at the peak those of the two parts
    that it is made of there.
    """
    rows = Rows.of(x)
    stored, dtype = x.dtype, computed(x.dtype)
    lse, term = (value[:, np.newaxis] for value in rows.logsumexp())
    p, missing = rows.softmax(), rows.tail / (1 + rows.tail)
    some = rows.finite & counted
    z, six = L(z_loss), 6 * L(eps(dtype))
    with np.errstate(all="ignore"):
        distance = np.where(a == 0, 0, a * -rows.log_softmax()).sum(-1, keepdims=True)
        loss = np.where(some, sample * (distance + z * lse * lse), 0)
        loss_bound = six * (distance + z * (lse * lse + abs(lse) * term))
        smallest = np.ldexp(L(1), format_of(dtype).lowest)
        far = np.where(a == 0, 0, 1 - rows.log_softmax()).sum(-1, keepdims=True)
        loss_bound = sample * (loss_bound + smallest * (1 + far))  # as weights may be subnormal
        loss_bound = loss_bound + smallest
        mass, others = a.sum(-1, keepdims=True), np.where(rows.peak, 0, a).sum(-1, keepdims=True)
        extra, extra_size = 2 * z * lse, 2 * z * np.maximum(abs(lse), term)
        value = np.where(rows.peak, (others + extra) * p - a * missing, (mass + extra) * p - a)
        size = np.where(
            rows.peak, (others + extra_size) * p + a * missing, (mass + extra_size) * p + a
        )
        scale = L(factor) * sample
        value, size = np.where(some, scale * value, 0), abs(scale) * size
        # what an error of the smallest number in each probability, or in each weight, comes to
        bound = six * size + smallest * abs(scale) * (mass + extra_size + a.shape[1])
        bound = bound + np.ldexp(L(1), format_of(stored).lowest)
        if stored.itemsize == 2:
            bound = bound + in_ulps(value, stored, 0.51)
        # Logits may be farther apart than the largest number.
        apart = np.where(a == 0, 0, -rows.d).max(-1, keepdims=True)
    is_near = apart < L(2.0) ** format_of(dtype).highest
    is_near &= 2 * z * term < L(2.0) ** (format_of(dtype).highest - 3)
    known_loss = known & ((rows.finite & is_near) | ~counted)
    lse_value = np.where(rows.finite, lse, rows.kind)
    return Loss(
        Judged(loss, loss_bound, known_loss),
        Judged(value, bound, np.broadcast_to(known_loss, value.shape)),
        Judged(lse_value, in_ulps(term, dtype, 3), np.ones(lse.shape, bool)),
    )


def merged(pairs: list[Array]) -> Array:
    """Where the third pair is not the logarithm of the first two's sum."""
    p_m, p_s, q_m, q_s, m, s = map(wide, pairs)
    with np.errstate(all="ignore"):
        first = (p_m > q_m) | ((p_m == q_m) & (p_s >= q_s))
        (a, b), (c, d) = (
            (np.where(first, u, v), np.where(first, v, u)) for u, v in ((p_m, q_m), (p_s, q_s))
        )
        gap = (a - b) + (c - d)
        log = np.log1p(np.exp(-abs(gap)))
        error = abs(((m - a) + (s - c)) - log)
        dtype = pairs[4].dtype
        known = abs(m) * np.finfo(L).eps * 4
        size = np.maximum(log, np.maximum(in_ulps(m, dtype, 1), known))
        bound = in_ulps(size, dtype, 3) + known + np.ldexp(L(1), format_of(dtype).lowest)
        for pair in ((p_m, p_s), (q_m, q_s)):
            error = np.where(abs(pair[1]) > in_ulps(pair[0], dtype, 1), 0, error)
        numbers = np.isfinite(p_m) & np.isfinite(q_m) & np.isfinite(p_s + q_s) & np.isfinite(log)
        return numbers & ~(error <= bound) & ~np.isinf(m)
