"""What the functions should return, computed by neither backend.

Two instruments, checked against each other in `test_truth.py`:

* **mpmath** at 400 digits, for small arrays. The formulas are the textbook ones: with so many
  digits nothing cancels, so no cleverness is needed that could share a mistake with the library.
  Arrays are object arrays of `mpf`.
* **double-double** arithmetic on float64 arrays, for large ones: about 70 correct bits of `exp`,
  `softmax`, `log_softmax` and `logsumexp`, on any machine (no reliance on a wide `long double`).

Both yield `Exact`, an unevaluated ``(hi + lo) * 2**exp``, which `ulps` compares with a result, in
units in the last place.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, wraps
from typing import Any, TypeVar

import mpmath
import numpy as np

mpmath.mp.dps = 400  # 1 - s is as small as 1e-308; its digits begin there

Array = np.ndarray[Any, np.dtype[Any]]
Function = TypeVar("Function", bound=Callable[..., Any])

LARGE = 2**16  # numbers: what is made of so many is not kept


def known(function: Function) -> Function:
    """A function of arrays that remembers its results, to as many digits.

    A test draws the same operands for every implementation: their truth is computed once.
    """
    found: dict[Any, Any] = {}

    @wraps(function)
    def look_up(*arguments: Any, **keywords: Any) -> Any:
        given = (*arguments, *keywords.items())
        if any(np.size(a) > LARGE for a in given if isinstance(a, np.ndarray)):
            return function(*arguments, **keywords)
        key = (mpmath.mp.prec, *map(_identity, given))
        if key not in found:
            found[key] = function(*arguments, **keywords)
            _freeze(found[key])
        return found[key]

    return look_up  # type: ignore[return-value]


def _identity(value: Any) -> Any:
    """Equal for equal numbers of one shape and dtype, and for nothing else."""
    if isinstance(value, tuple):
        return tuple(map(_identity, value))
    if not isinstance(value, np.ndarray):
        return type(value), value
    numbers = tuple(value.flat) if value.dtype == object else value.tobytes()
    return value.shape, value.dtype, numbers


def _freeze(value: Any) -> None:
    """No test may change what the next one is given."""
    if isinstance(value, np.ndarray):
        value.flags.writeable = False
    elif isinstance(value, tuple):
        for member in value:
            _freeze(member)
    elif hasattr(value, "__dataclass_fields__"):
        _freeze(tuple(vars(value).values()))


# ---- A number wider than any result --------------------------------------------------------------


@dataclass(frozen=True)
class Exact:
    """``(hi + lo) * 2**exp``, elementwise: 106 bits and an exponent that cannot underflow."""

    hi: Array
    lo: Array
    exp: Array

    def __getitem__(self, index: Any) -> Exact:
        return Exact(self.hi[index], self.lo[index], self.exp[index])


@dataclass(frozen=True)
class Format:
    """A binary floating-point format: values are multiples of 2**lowest, below 2**highest."""

    bits: int
    lowest: int
    highest: int


def format_of(dtype: Any) -> Format:
    """The format of that dtype."""
    if np.dtype(dtype).name == "bfloat16":
        return Format(8, -133, 128)
    info = np.finfo(dtype)
    return Format(info.nmant + 1, int(info.minexp) - info.nmant, int(info.maxexp))


def eps(dtype: Any) -> float:
    """The spacing at one."""
    return float(2.0 ** (1 - format_of(dtype).bits))


def wide(a: Any) -> Array:
    """The same values where a truth can be subtracted: float64, or longdouble as it is."""
    a = np.asarray(a)
    return a if a.dtype == np.longdouble else a.astype(np.float64)


def ulps(got: Any, truth: Exact | Array) -> Array:
    """Error of ``got`` in units in the last place of ``truth``, subnormals included.

    Infinity is right where the truth is infinite, or rounds to it.
    """
    got = np.asarray(got)
    form = format_of(got.dtype)
    t = truth if isinstance(truth, Exact) else from_mpf(truth)
    assert got.shape == t.hi.shape, f"shape {got.shape}, expected {t.hi.shape}"
    with np.errstate(all="ignore"):
        fraction, exponent = np.frexp(t.hi)
        exponent = exponent + t.exp
        beyond = (exponent > form.highest) | (
            (exponent == form.highest) & (np.abs(fraction) >= 1 - 2.0 ** -(form.bits + 1))
        )
        rightly_infinite = (beyond | np.isinf(t.hi)) & (wide(got) == np.copysign(np.inf, t.hi))
        error = np.abs((np.ldexp(wide(got), -t.exp) - t.hi) - t.lo)
        unit = np.where(t.hi == 0, form.lowest, np.maximum(exponent - form.bits, form.lowest))
        in_units = np.ldexp(error, t.exp - unit)
    return np.where(rightly_infinite, 0.0, in_units).astype(np.float64)


def assert_ulps(got: Any, truth: Exact | Array, limit: float, what: str = "") -> None:
    """Every element of ``got`` is within ``limit`` ulp of the truth."""
    error = ulps(got, truth)
    good = error <= limit  # False for NaN
    if not good.all():
        at = np.unravel_index(np.argmax(np.where(np.isnan(error), np.inf, error)), error.shape)
        raise AssertionError(
            f"{what}: {error[at]:.3g} ulp > {limit} at {tuple(map(int, at))} "
            f"(got {np.asarray(got)[at]!r}; {np.count_nonzero(~good)} of {error.size} are off)"
        )


def assert_within(got: Any, truth: Array, bound: Any, what: str = "") -> None:
    """``|got - truth| <= bound``, elementwise and exactly; half a subnormal is always free."""
    got, truth = np.asarray(got), np.asarray(truth, object)
    assert got.shape == truth.shape, f"{what}: shape {got.shape}, expected {truth.shape}"
    with np.errstate(invalid="ignore"):  # NumPy 1.26 warns of a NaN that it converts
        error = np.asarray(abs(mpf(got) - truth), np.float64)
    bound = np.asarray(bound, np.float64) + 2.0 ** max(format_of(got.dtype).lowest - 1, -1074)
    bound = np.broadcast_to(bound, error.shape)
    assert (error <= bound).all(), f"{what}: error {np.max(error - bound):.3g} above its bound"


# ---- mpmath on object arrays ---------------------------------------------------------------------


def _to_mpf(value: np.longdouble) -> mpmath.mpf:
    hi = float(value)
    rest = float(value - type(value)(hi)) if np.isfinite(hi) else 0.0
    return mpmath.mpf(hi) + mpmath.mpf(rest)


def _elementwise(function: Any) -> Any:
    ufunc = np.frompyfunc(function, 1, 1)

    def apply(a: Any) -> Array:
        return np.asarray(ufunc(a), dtype=object)

    return apply


exp = _elementwise(mpmath.exp)
log = _elementwise(mpmath.log)
log1p = _elementwise(mpmath.log1p)


def mpf(a: Any) -> Array:
    """An object array of the very values of ``a``."""
    a = np.asarray(a)
    result = np.empty(a.shape, object)
    if a.dtype == np.longdouble:
        result.flat = [_to_mpf(value) for value in a.flat]
    else:
        result.flat = [mpmath.mpf(value) for value in a.astype(float).ravel().tolist()]
    return result


def from_mpf(values: Array) -> Exact:
    """The 106 leading bits of each value, and its exponent."""
    values = np.asarray(values, dtype=object)
    numbers = (v if isinstance(v, mpmath.mpf) else _to_mpf(np.longdouble(v)) for v in values.flat)
    parts = np.array([_leading(number) for number in numbers]).reshape(-1, 3).T
    hi, lo, exponent = (part.reshape(values.shape) for part in parts)
    return Exact(np.ldexp(hi, -KEPT), np.ldexp(lo, -KEPT), exponent.astype(np.int64))


KEPT = 200  # bits of a number, more than two doubles hold


def _leading(value: mpmath.mpf) -> tuple[float, float, int]:
    """``(hi + lo) * 2**(exponent - KEPT)``, with hi of KEPT bits, or 0."""
    sign, mantissa, exponent, length = value._mpf_
    if not mantissa:
        if value != 0:
            raise ValueError(f"{value} has no bits")
        return 0.0, 0.0, 0
    surplus = length - KEPT
    mantissa = mantissa >> surplus if surplus > 0 else mantissa << -surplus
    mantissa = int(-mantissa if sign else mantissa)
    hi = float(mantissa)
    return hi, float(mantissa - int(hi)), exponent + length


@known
def mp_logsumexp(x: Any) -> Array:
    """log Σ exp(x) over the last axis."""
    return log(exp(mpf(x)).sum(-1))


@known
def mp_log_softmax(x: Any) -> Array:
    """x - logsumexp(x) over the last axis."""
    return np.asarray(mpf(x) - mp_logsumexp(x)[..., None])


@known
def mp_softmax(x: Any) -> Array:
    """exp(x) / Σ exp(x) over the last axis."""
    e = exp(mpf(x))
    return np.asarray(e / e.sum(-1, keepdims=True))


@known
def mp_forward(x: Array) -> tuple[Exact, Exact]:
    """Softmax and log_softmax of an object array, whose numbers may be of any size.

    Nothing cancels, so a few digits are enough.  Exponentials of far less than any dtype holds are
    zero.
    """
    with mpmath.workdps(60):
        peak = np.argmax(x, axis=-1)[..., None]
        d = x - np.take_along_axis(x, peak, -1)
        nothing = np.asarray(d < -100_000, bool)
        e = exp(np.where(nothing, mpmath.mpf(0), d))
        e[nothing] = mpmath.mpf(0)
        others = e.copy()
        np.put_along_axis(others, peak, mpmath.mpf(0), -1)
        tail = others.sum(-1, keepdims=True)
        return from_mpf(e / (1 + tail)), from_mpf(d - log1p(tail))


def mp_eye(k: int) -> Array:
    """The identity matrix."""
    return mpf(np.eye(k))


def mp_softmax_jacobian(s: Array) -> Array:
    """diag(s) - s sᵀ, for an object array ``s`` whose rows sum to one up to rounding.

    On the diagonal 1 - s is the sum of the others wherever s is above a half.
    """
    others = s @ (1 - mp_eye(s.shape[-1]))
    diagonal = s * np.where(s > 0.5, others, 1 - s)
    unit = mp_eye(s.shape[-1])
    return np.asarray(unit * diagonal[..., None] - (1 - unit) * s[..., :, None] * s[..., None, :])


# ---- Products with Jacobians, from the logits ----------------------------------------------------


def rounded(values: Array, dtype: Any) -> Array:
    """The numbers of ``dtype`` nearest to the values; 0 for what is less than their last digit."""
    least = mpmath.mpf(10) ** (10 - mpmath.mp.dps)
    exact = from_mpf(np.where(abs(values) < least, 0 * values, values))
    if np.dtype(dtype) == np.longdouble:
        hi, lo = exact.hi.astype(np.longdouble), exact.lo.astype(np.longdouble)
        return np.ldexp(hi + lo, exact.exp)
    return np.ldexp(exact.hi + exact.lo, exact.exp).astype(dtype)


@dataclass(frozen=True)
class Product:
    """A product's exact value, and what 4 ε of is promised as its largest error."""

    value: Array
    size: Array
    subnormal: Array
    """What an error of one in each probability, or logarithm of one, would come to."""

    def bound(self, dtype: Any) -> Array:
        """The largest error allowed."""
        smallest = mpmath.ldexp(1, format_of(dtype).lowest)
        return np.asarray(4 * eps(dtype) * self.size + smallest * self.subnormal)

    def within(self, dtype: Any) -> Within:
        """What judges results of that dtype."""
        return Within(from_mpf(self.value), from_mpf(self.bound(dtype)))


@dataclass(frozen=True)
class Within:
    """The truth and the largest error allowed, in a form that judges at the speed of NumPy."""

    truth: Exact
    bound: Exact

    def check(self, got: Any, what: str = "") -> None:
        """Every element of ``got`` is as near to the truth as allowed."""
        t = self.truth
        scale = np.where(t.hi == 0, self.bound.exp, np.maximum(t.exp, self.bound.exp))
        hi, lo = np.ldexp(t.hi, t.exp - scale), np.ldexp(t.lo, t.exp - scale)
        with np.errstate(over="ignore"):
            error = np.abs((np.ldexp(wide(got), -scale) - hi) - lo)
        allowed = np.ldexp(self.bound.hi, self.bound.exp - scale)
        assert np.shape(got) == error.shape, f"{what}: shape {np.shape(got)}"
        good = error <= allowed * (1 + 2.0**-40)
        if not good.all():
            at = np.unravel_index(np.argmax(error / np.maximum(allowed, 1e-300)), error.shape)
            raise AssertionError(
                f"{what}: {4 * error[at] / allowed[at]:.3g} times ε and the terms at "
                f"{tuple(map(int, at))}, not 4 (got {np.asarray(got)[at]!r})"
            )

    def __getitem__(self, index: Any) -> Within:
        return Within(self.truth[index], self.bound[index])


def _about_peak(z: Array, g: Array) -> tuple[Array, Array]:
    """Where the first largest logit of each row is; and g less what it is there."""
    peak = np.zeros(z.shape, bool)
    np.put_along_axis(peak, np.argmax(wide(z), axis=-1)[..., None], True, -1)
    exact = mpf(g)
    return peak, np.asarray(exact - (exact * peak).sum(-1, keepdims=True))


def softmax_product(z: Array, g: Array) -> Product:
    """(diag(s) - s sᵀ) g; s is rounded before it is multiplied."""
    s, (_, h) = mp_softmax(z), _about_peak(z, g)
    mean, spread = (s * h).sum(-1, keepdims=True), (s * abs(h)).sum(-1, keepdims=True)
    total = abs(h).sum(-1, keepdims=True)
    return Product(s * (h - mean), s * (abs(h) + spread), 1 + abs(h) + spread + s * total)


def log_softmax_jvp(z: Array, v: Array) -> Product:
    """(I - 1 sᵀ) v; log s is rounded before, to a relative error of |log s| ε/2 in s."""
    log_s, (_, h) = mp_log_softmax(z), _about_peak(z, v)
    s = exp(log_s)
    spread = (s * (1 + abs(log_s)) * abs(h)).sum(-1, keepdims=True)
    total = abs(h).sum(-1, keepdims=True)
    return Product(h - (s * h).sum(-1, keepdims=True), abs(h) + spread, 1 + total)


def log_softmax_vjp(z: Array, g: Array) -> Product:
    """g (I - 1 sᵀ); at the peak (1 - s) g - s Σ other g, which is as exact as its terms."""
    log_s, (peak, _), exact = mp_log_softmax(z), _about_peak(z, g), mpf(g)
    s = exp(log_s)
    others, missing = (np.asarray((a * ~peak).sum(-1, keepdims=True)) for a in (abs(exact), s))
    weights = s * (1 + abs(log_s))
    total, size = exact.sum(-1, keepdims=True), abs(exact).sum(-1, keepdims=True)
    rest = (exact * ~peak).sum(-1, keepdims=True)
    return Product(
        np.where(peak, exact * missing - s * rest, exact - s * total),
        np.where(peak, abs(exact) * missing + weights * others, abs(exact) + weights * size),
        1 + size,
    )


# ---- Double-double on float64 arrays -------------------------------------------------------------


def two_sum(a: Array, b: Array) -> tuple[Array, Array]:
    """a + b and what its rounding lost."""
    s = a + b
    t = s - a
    return s, (a - (s - t)) + (b - t)


def two_product(a: Array, b: Array) -> tuple[Array, Array]:
    """a * b and what its rounding lost (by Veltkamp's splitting)."""

    def split(v: Array) -> tuple[Array, Array]:
        c = 134217729.0 * v
        high = c - (c - v)
        return high, v - high

    p = a * b
    (a1, a2), (b1, b2) = split(a), split(b)
    return p, ((a1 * b1 - p) + a1 * b2 + a2 * b1) + a2 * b2


def _pieces(value: mpmath.mpf, bits: tuple[int, ...]) -> list[float]:
    """``value`` as a sum of doubles; each but the last holds only that many bits."""
    pieces = []
    for count in bits:
        with mpmath.workprec(count):
            piece = +value
        pieces.append(float(piece))
        value = value - piece
    return pieces


@cache
def _exp_constants() -> tuple[list[float], Array, Array]:
    """ln 2 / 256 in three parts (multiples of the first two are exact), and 2^(j/256) in two."""
    step = _pieces(mpmath.log(2) / 256, (29, 29, 53))
    table = [_pieces(mpmath.mpf(2) ** (mpmath.mpf(j) / 256), (53, 53)) for j in range(256)]
    high, low = np.array(table).T
    return step, high, low


def split(x: Any) -> tuple[Array, Array]:
    """x as an unevaluated sum of two float64 arrays."""
    hi = np.asarray(x).astype(np.float64)
    if x.dtype != np.longdouble:
        return hi, np.zeros_like(hi)
    with np.errstate(invalid="ignore"):
        return hi, np.where(np.isfinite(hi), x - hi, 0).astype(np.float64)


def dd_exp(hi: Array, lo: Array) -> Exact:
    """exp(hi + lo), relative error below 1e-21; zero for -inf."""
    step, table_high, table_low = _exp_constants()
    nothing = np.isneginf(hi)
    hi = np.where(nothing, 0.0, hi)
    n = np.rint(hi * (1 / step[0]))
    a, b = two_sum(hi - n * step[0], -n * step[1])
    r, r_low = two_sum(a, b + (lo - n * step[2]))
    j = n.astype(np.int64)
    t, t_low = table_high[j & 255], table_low[j & 255]
    # |r| < 0.0014: the square and all beyond it need no second word
    rest = r_low + r * r * (1 / 2 + r * (1 / 6 + r * (1 / 24 + r * (1 / 120 + r / 720))))
    p, p_low = two_product(t, r)
    s, s_low = two_sum(t, p)
    high, low = two_sum(s, (s_low + p_low) + t * rest + t_low * (1 + r))
    zero = np.where(nothing, 0.0, 1.0)
    return Exact(high * zero, low * zero, np.where(nothing, -(2**20), j >> 8))


def dd_total(e: Exact) -> Exact:
    """The sum over the last axis, by a tree; the exponent is the largest term's."""
    top = np.max(e.exp, axis=-1, keepdims=True, initial=-(2**20))
    shift = np.maximum(e.exp - top, -2000)
    hi, lo = np.ldexp(e.hi, shift), np.ldexp(e.lo, shift)
    while hi.shape[-1] > 1:
        if hi.shape[-1] % 2:
            hi, lo = (np.concatenate([v, np.zeros_like(v[..., :1])], -1) for v in (hi, lo))
        s, t = two_sum(hi[..., ::2], hi[..., 1::2])
        hi, lo = two_sum(s, t + (lo[..., ::2] + lo[..., 1::2]))
    return Exact(hi[..., 0], lo[..., 0], top[..., 0])


def dd_divide(a: Exact, b: Exact) -> Exact:
    """a / b: the quotient, and its remainder over b."""
    q = a.hi / b.hi
    p, p_low = two_product(q, b.hi)
    hi, lo = two_sum(q, (((a.hi - p) - p_low) + a.lo - q * b.lo) / b.hi)
    return Exact(hi, lo, a.exp - b.exp)


@dataclass(frozen=True)
class Forward:
    """The three forward functions of rows, and logsumexp's larger term, ``max(|m|, lse - m)``."""

    softmax: Exact
    log_softmax: Exact
    logsumexp: Exact
    logsumexp_term: Array


@known
def forward(x: Array) -> Forward:
    """The truth for finite rows (-inf entries allowed) of any length, in double-double."""
    peak = np.argmax(x, axis=-1)[..., None]
    m = np.take_along_axis(x, peak, -1)
    (x_hi, x_lo), (m_hi, m_lo) = split(x), split(m)
    with np.errstate(invalid="ignore", over="ignore"):
        d, d_low = two_sum(x_hi, -m_hi)
    d_low = np.where(np.isfinite(d), d_low + (x_lo - m_lo), 0.0)
    d, d_low = two_sum(d, d_low) if np.isfinite(d).all() else (d, d_low)
    reach = np.maximum(d, -30000.0)  # far below the smallest number of any dtype, -inf apart
    e = dd_exp(np.where(np.isneginf(d), d, reach), np.where(reach == d, d_low, 0.0))
    others = np.ones(x.shape, bool)
    np.put_along_axis(others, peak, False, -1)
    tail = dd_total(Exact(e.hi * others, e.lo * others, np.where(others, e.exp, -(2**20))))
    # the tail decides the logarithm: one mpmath call a row, on 106 bits
    excess = from_mpf(np.frompyfunc(_log1p, 3, 1)(tail.hi, tail.lo, tail.exp))
    total = dd_total(e)
    ratio = dd_divide(e, Exact(total.hi[..., None], total.lo[..., None], total.exp[..., None]))
    l_hi, l_lo = np.ldexp(excess.hi, excess.exp), np.ldexp(excess.lo, excess.exp)
    at_peak = (d == 0) & (d_low == 0)
    log_s = _plain(d, d_low, -l_hi[..., None], -l_lo[..., None])
    lse = _plain(m_hi[..., 0], m_lo[..., 0], l_hi, l_lo)
    return Forward(
        softmax=ratio,
        log_softmax=Exact(
            np.where(at_peak, -excess.hi[..., None], log_s[0]),
            np.where(at_peak, -excess.lo[..., None], log_s[1]),
            np.where(at_peak, excess.exp[..., None], 0),
        ),
        logsumexp=Exact(*lse, np.zeros(l_hi.shape, np.int64)),
        logsumexp_term=np.maximum(np.abs(m_hi[..., 0]), l_hi),
    )


def _log1p(hi: float, lo: float, exponent: int) -> mpmath.mpf:
    with mpmath.workdps(40):
        return mpmath.log1p(mpmath.ldexp(mpmath.mpf(hi) + mpmath.mpf(lo), int(exponent)))


def _plain(a: Array, a_low: Array, b: Array, b_low: Array) -> tuple[Array, Array]:
    """(a + a_low) + (b + b_low); an infinite a stays as it is."""
    with np.errstate(invalid="ignore"):
        s, t = two_sum(a, b)
        hi, lo = two_sum(s, t + (a_low + b_low))
    return np.where(np.isinf(a), a, hi), np.where(np.isinf(a), 0.0, lo)
