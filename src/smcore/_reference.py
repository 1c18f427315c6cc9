"""The backend in pure NumPy: the names and signatures of ``_core``, for places without a compiler.

It keeps the same promises of accuracy as the kernels in C and is one of the oracles they are
tested against; speed comes second.  Every algorithm is written once, for numbers of the class
`Extended`, which carry more digits than the dtype of the result:

* float16, bfloat16 and float32 are computed in float64, whose 29 spare bits absorb every rounding;
* float64 and longdouble are computed as pairs ``hi + lo``, where ``lo`` collects the rounding
  errors of ``hi``.  What remains is the error of NumPy's ``exp`` or ``log1p`` and one rounding,
  some 2 ulp in all.  (Double-double longdouble, on some PowerPC systems, has no such promise.)

With ``k`` one position of the row's maximum and ``e = exp(scale * (x - x[k]))``, everything is
built from ``e``, ``e[k] = 1`` and the *tail*, the sum of the others, which is summed without the
peak: ``tail / (1 + tail)`` keeps its digits where ``1 - s[k]`` has none left.

All functions take checked arrays: one dtype, rows along the last axis, outputs preallocated.  An
output may be the very memory of an input, for each block of rows is read before it is written.

References
----------
.. [1] T. J. Dekker, "A floating-point technique for extending the available precision",
   Numer. Math. 18 (1971).
.. [2] D. E. Knuth, "The Art of Computer Programming", vol. 2, section 4.2.2.
.. [3] T. Ogita, S. M. Rump, S. Oishi, "Accurate sum and dot product", SIAM J. Sci. Comput. 26
   (2005).
.. [4] S. M. Rump, T. Ogita, S. Oishi, "Accurate floating-point summation, part I", SIAM J. Sci.
   Comput. 31 (2008).
.. [5] M. Lange, S. M. Rump, "Faithfully rounded floating-point computations", ACM Trans. Math.
   Softw. 46 (2020).
.. [6] P. Blanchard, D. J. Higham, N. J. Higham, "Accurately computing the log-sum-exp and softmax
   functions", IMA J. Numer. Anal. 41 (2021).
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, NoReturn, ParamSpec, TypeAlias, TypeVar

import numpy as np
import numpy.typing as npt

__all__ = [
    "NAME",
    "active_target",
    "compiler",
    "cross_entropy",
    "fast_path",
    "get_num_threads",
    "log_softmax",
    "log_softmax_jacobian",
    "log_softmax_jvp",
    "log_softmax_vjp",
    "logsumexp",
    "logsumexp_merge",
    "logsumexp_partial",
    "logsumexp_vjp",
    "set_num_threads",
    "set_target",
    "softmax",
    "softmax_jacobian",
    "softmax_layer_jacobian",
    "softmax_vjp",
    "targets",
]

NAME = "numpy"

Array: TypeAlias = npt.NDArray[Any]
_Function = TypeVar("_Function", bound=Callable[..., Any])
_Parameters = ParamSpec("_Parameters")

_BLOCK = 1 << 14
"""Elements of the rows computed together: some ten temporaries of this size fit the cache."""


# --- What a backend tells of itself ---------------------------------------------------------


def targets() -> tuple[str, ...]:
    """Return the instruction-set targets to choose from: none."""
    return ()


def active_target() -> str:
    """Return the name of the target in use, always ``"numpy"``."""
    return NAME


def set_target(name: str) -> NoReturn:
    """Refuse any target.

    Parameters
    ----------
    name : str
        The target asked for.

    Raises
    ------
    ValueError
        Always.
    """
    raise ValueError(
        f"target {name!r} cannot be used: the NumPy backend has no instruction-set targets"
    )


def compiler() -> str:
    """Return what compiled this backend: ``"none"``."""
    return "none"


_num_threads = 1


def set_num_threads(count: int) -> None:
    """Keep the number of threads asked for: what computes here is one.

    Parameters
    ----------
    count : int
        The number, positive.
    """
    global _num_threads
    _num_threads = count


def get_num_threads() -> int:
    """Return the number of threads asked for."""
    return _num_threads


def fast_path(function: _Function) -> _Function:
    """Return `function` itself: the NumPy backend has no shortcut for small calls."""
    return function


# --- Error-free transformations -------------------------------------------------------------


def two_sum(a: Array, b: Array) -> tuple[Array, Array]:
    """Return ``fl(a + b)`` and its exact rounding error (Knuth [2]_)."""
    total = a + b
    b_used = total - a
    return total, (a - (total - b_used)) + (b - b_used)


def two_diff(a: Array, b: Array) -> tuple[Array, Array]:
    """Return ``fl(a - b)`` and its exact rounding error (Knuth [2]_)."""
    difference = a - b
    b_used = a - difference
    return difference, (a - (difference + b_used)) + (b_used - b)


def two_product(a: Array, b: Array) -> tuple[Array, Array]:
    """Return ``fl(a * b)`` and its exact rounding error (Dekker [1]_)."""
    product = a * b
    a_hi, a_lo = split(a)
    b_hi, b_lo = split(b)
    return product, ((a_hi * b_hi - product) + a_hi * b_lo + a_lo * b_hi) + a_lo * b_lo


def split(a: Array) -> tuple[Array, Array]:
    """Return `a` as the sum of two numbers of half the digits (Veltkamp, in Dekker [1]_)."""
    t = a * splitter(a.dtype)
    hi = t - (t - a)
    return hi, a - hi


@functools.cache
def splitter(dtype: np.dtype[Any]) -> np.floating[Any]:
    """Return Veltkamp's constant ``2**ceil(p / 2) + 1`` for a `dtype` of `p` binary digits."""
    digits = int(np.finfo(dtype).nmant) + 1
    constant: np.floating[Any] = dtype.type(2) ** ((digits + 1) // 2) + dtype.type(1)
    return constant


# --- Numbers with spare digits --------------------------------------------------------------


class Extended:
    """Real numbers known to more digits than the result will have.

    Either `hi` alone, where the arithmetic is wide enough as it is, or the unevaluated sum of `hi`
    and `lo`.  Pairs follow the pair arithmetic of Lange and Rump [5]_: `hi` is what plain
    arithmetic gives, infinities and NaN included, and `lo` adds up the rounding errors to first
    order.  Where an intermediate result overflows, `lo` becomes infinite or NaN; it is dropped
    when the pair is rounded, so there the result is as good as plain arithmetic's.

    Parameters
    ----------
    hi : ndarray
        The numbers, rounded.
    lo : ndarray, optional
        What rounding took from them; None if nothing is kept.
    """

    __slots__ = ("hi", "lo")

    def __init__(self, hi: Array, lo: Array | None = None) -> None:
        self.hi = hi
        self.lo = lo

    @classmethod
    def of(cls, x: Array) -> Extended:
        """Return the elements of `x`, C-contiguous so that each row is summed alike."""
        if x.dtype.char not in "dg":
            return cls(np.ascontiguousarray(x, dtype=np.float64))
        hi = np.ascontiguousarray(x)
        return cls(hi, np.broadcast_to(hi.dtype.type(0), hi.shape))

    def number(self, value: float | Array) -> Extended:
        """Return one number of this kind, or an array of them."""
        constant = np.asarray(value, dtype=self.hi.dtype)
        return Extended(constant, None if self.lo is None else np.zeros_like(constant))

    def __add__(self, other: Extended) -> Extended:
        if self.lo is None or other.lo is None:
            return Extended(self.hi + other.hi)
        hi, error = two_sum(self.hi, other.hi)
        return Extended(hi, error + (self.lo + other.lo))

    def __sub__(self, other: Extended) -> Extended:
        if self.lo is None or other.lo is None:
            return Extended(self.hi - other.hi)
        hi, error = two_diff(self.hi, other.hi)
        return Extended(hi, error + (self.lo - other.lo))

    def __mul__(self, other: Extended) -> Extended:
        if self.lo is None or other.lo is None:
            return Extended(self.hi * other.hi)
        hi, error = two_product(self.hi, other.hi)
        return Extended(hi, error + (self.hi * other.lo + self.lo * other.hi))

    def __truediv__(self, other: Extended) -> Extended:
        if self.lo is None or other.lo is None:
            return Extended(self.hi / other.hi)
        hi = self.hi / other.hi
        product, error = two_product(hi, other.hi)
        rest = ((self.hi - product) - error) + (self.lo - hi * other.lo)
        return Extended(hi, rest / other.hi)

    def share_of(self, total: Extended) -> Extended:
        """Return ``self / total`` where no number exceeds one.

        The numbers are lifted by a power of two meanwhile: the terms that correct a subnormal
        quotient would underflow themselves.
        """
        if self.lo is None:
            return self / total
        unit = np.finfo(self.hi.dtype).eps ** 2
        return (self._each(lambda part: part / unit) / total)._each(lambda part: part * unit)

    def __neg__(self) -> Extended:
        return Extended(-self.hi, None if self.lo is None else -self.lo)

    def exp(self) -> Extended:
        """Return the exponentials: ``exp(hi + lo) = exp(hi) * (1 + lo)``."""
        hi = np.exp(self.hi)
        return Extended(hi, None if self.lo is None else finite(hi * self.lo))

    def lifted_exp(self) -> Extended:
        """Return the exponentials of numbers not above 0, times a power of two in pairs.

        It is so large that no exponential is subnormal that counts in a sum with one of 0: they
        would have too few digits.  Of small ones it is taken before, as a logarithm.
        """
        if self.lo is None:
            return self.exp()
        power, logarithm = lift_of(self.hi.dtype)
        lifted = self.exp()._each(lambda part: part * power)
        small = (self.hi < -logarithm.hi) & np.isfinite(self.hi)
        if small.any():
            raised = (self._each(lambda part: part[small]) + logarithm).exp()
            lifted.hi[small] = raised.hi
            if lifted.lo is not None:
                lifted.lo[small] = raised.lo
        return lifted

    def log1p(self) -> Extended:
        """Return ``log(1 + self)``; one above log(2) with the rounding error, by a Newton step."""
        hi = np.log1p(self.hi)
        if self.lo is None:
            return Extended(hi)
        lacking = np.where(self.hi > 1, self.hi - np.expm1(hi), 0)
        return Extended(hi, (lacking + self.lo) / (1 + self.hi))

    def one_minus_exp(self) -> Extended:
        """Return ``1 - exp(self)`` of numbers that are not above zero."""
        hi = -np.expm1(self.hi)
        return Extended(hi, None if self.lo is None else finite(self.lo * (hi - 1)))

    def sum(self) -> Extended:
        """Return the sums over the last axis, which is kept with length one.

        A power of two, larger than the sum can become, extracts leading parts that add up without
        any rounding error (Rump, Ogita and Oishi [4]_); the rest is smaller by a factor of K*eps
        and is summed as it is.
        """
        if self.lo is None:
            return Extended(self.hi.sum(axis=-1, keepdims=True))
        largest = np.abs(self.hi).max(axis=-1, keepdims=True)
        bits = (self.hi.shape[-1] + 2).bit_length()
        sigma = np.ldexp(np.ones_like(largest), np.frexp(largest)[1] + bits)
        leading = (self.hi + sigma) - sigma
        rest = (self.hi - leading) + finite(self.lo)
        hi, lo = two_sum(leading.sum(axis=-1, keepdims=True), rest.sum(axis=-1, keepdims=True))
        if not np.isfinite(hi).all():  # sigma overflowed, or the row is not finite
            hi = np.where(np.isfinite(hi), hi, self.hi.sum(axis=-1, keepdims=True))
        return Extended(hi, finite(lo))

    def at(self, index: Array) -> Extended:
        """Return the element of each row that `index` names, as rows of length one."""
        return self._each(lambda part: np.take_along_axis(part, index, axis=-1))

    def put(self, index: Array, value: Extended) -> Extended:
        """Return a copy with the element of each row that `index` names replaced."""
        hi = self.hi.copy()
        np.put_along_axis(hi, index, value.hi, axis=-1)
        if self.lo is None or value.lo is None:
            return Extended(hi)
        lo = self.lo.copy()
        np.put_along_axis(lo, index, value.lo, axis=-1)
        return Extended(hi, lo)

    def without(self, index: Array) -> Extended:
        """Return a copy with the element of each row that `index` names set to zero."""
        return self.put(index, self.number(0.0))

    def where(self, condition: Array) -> Extended:
        """Return the numbers where `condition` holds, else zero."""
        return self._each(lambda part: np.where(condition, part, 0))

    def or_where(self, condition: Array, other: Extended) -> Extended:
        """Return the numbers of `other` where `condition` holds, else these."""
        hi = np.where(condition, other.hi, self.hi)
        if self.lo is None or other.lo is None:
            return Extended(hi)
        return Extended(hi, np.where(condition, other.lo, self.lo))

    def _each(self, function: Callable[[Array], Array]) -> Extended:
        return Extended(function(self.hi), None if self.lo is None else function(self.lo))

    def rounded(self) -> Array:
        """Return the numbers rounded to the dtype they are computed in."""
        return self.hi if self.lo is None else self.hi + finite(self.lo)


@functools.cache
def lift_of(dtype: np.dtype[Any]) -> tuple[np.floating[Any], Extended]:
    """Return the power of two that is half of the exponents of a `dtype`, and its logarithm."""
    bits = -int(np.finfo(dtype).minexp) // 2
    digits, parts = bits * _LN2, []
    for place in (96, 48, 0):  # of so few digits that they are exact
        part, digits = digits >> place, digits % (1 << place)
        parts.append(np.ldexp(np.asarray(float(part), dtype), place - _LN2_PLACES))
    hi, lo = two_sum(parts[0], parts[1])
    return np.ldexp(dtype.type(1), bits), Extended(hi, lo + parts[2])


_LN2, _LN2_PLACES = 0xB17217F7D1CF79ABC9E3B39803F2F6AF, 128
"""The logarithm of two in binary, and how many places it has."""


def finite(correction: Array) -> Array:
    """Return `correction` with zero in place of infinities and NaN."""
    return np.where(np.isfinite(correction), correction, 0)


# --- Rows -----------------------------------------------------------------------------------


def quiet(function: Callable[_Parameters, None]) -> Callable[_Parameters, None]:
    """Run `function` without floating-point warnings; each call has a context of its own.

    NumPy clears the processor's flags before an addition, so that none is left behind, either.
    """

    @functools.wraps(function)
    def wrapper(*args: _Parameters.args, **kwargs: _Parameters.kwargs) -> None:
        with np.errstate(all="ignore"):
            function(*args, **kwargs)
        np.add(0.0, 0.0)

    return wrapper


def blocks(rows: tuple[int, ...], size: int, most: int = _BLOCK) -> Iterator[tuple[slice, slice]]:
    """Yield the indices of blocks of rows of some `most` elements, at least one row each.

    Parameters
    ----------
    rows : tuple of int
        The two numbers of rows, ``(A, B)``.
    size : int
        The number of elements that one row needs.
    most : int
        The number of elements in a block.
    """
    outer, inner = rows
    count = max(1, most // max(1, size))
    inner_step = max(1, min(inner, count))
    outer_step = max(1, count // inner_step)
    for a in range(0, outer, outer_step):
        for b in range(0, inner, inner_step):
            yield slice(a, a + outer_step), slice(b, b + inner_step)


class Exponentials(NamedTuple):
    """The common beginning of the forward functions, for a block of rows.

    Attributes
    ----------
    k : ndarray of int
        One position of the largest logit, ``(..., 1)``.
    d : Extended
        The shifted logits ``scale * (x - x[k])``, none above zero.
    e : Extended
        Their exponentials, times a power of two.
    top : Extended
        ``e[k]``: that power, or NaN if the row holds NaN or +inf or nothing but -inf.
    tail : Extended
        The sum of all exponentials but the one at `k`.
    """

    k: Array
    d: Extended
    e: Extended
    top: Extended
    tail: Extended

    @classmethod
    def of(cls, x: Extended, scale: float | Array = 1.0) -> Exponentials:
        """Return the exponentials of ``scale * x``, shifted; scales of rows are ``(..., 1)``."""
        below = np.less(scale, 0)
        rising = np.where(below, -x.hi, x.hi) if np.any(below) else x.hi
        k = np.argmax(rising, axis=-1, keepdims=True)
        d = scaled_difference(x, k, scale)
        e = d.lifted_exp()
        return cls(k, d, e, e.at(k), e.without(k).sum())

    def softmax(self) -> Extended:
        """Return the exponentials divided by their sum."""
        return self.e.share_of(self.tail + self.top)

    def log_total(self) -> Extended:
        """Return the logarithm of the sum of the exponentials (Blanchard, Higham, Higham [6]_)."""
        return (self.tail / self.top).log1p()

    def logsumexp(self, x: Extended) -> Extended:
        """Return the logsumexp of the logits `x`; an infinite maximum is its own."""
        peak = x.at(self.k)
        lse = peak + self.log_total()
        return Extended(np.where(np.isinf(peak.hi), peak.hi, lse.hi), lse.lo)


def scaled_difference(x: Extended, k: Array, scale: float | Array) -> Extended:
    """Return ``scale * (x - x[k])``, which overflows only where the result itself does.

    The power of two in `scale` is taken out: it rounds nothing.  Where it shrinks, it is applied
    before the difference, else after it.
    """
    if np.all(np.equal(scale, 1)):
        return x - x.at(k)
    fraction, exponent = np.frexp(scale)
    before = np.ldexp(1.0, np.minimum(0, exponent - 1))
    after = np.ldexp(1.0, np.maximum(0, exponent - 1))
    x = x._each(lambda part: part * before)
    d = (x - x.at(k))._each(lambda part: part * after)
    product = d * d.number(2 * fraction)
    # a power of two is done with, so that rows of scale 1 are the same beside any others
    return d.or_where(fraction != 0.5, product)


# --- Forward --------------------------------------------------------------------------------


def scale_of(scale: float | Array, rows: tuple[slice, slice]) -> float | Array:
    """Return the scale of a block of rows: one for all, or ``(..., 1)``."""
    return scale[rows][..., np.newaxis] if isinstance(scale, np.ndarray) else scale


@quiet
def softmax(x: Array, out: Array, scale: float | Array) -> None:
    """Write ``softmax(scale * x)``.

    Parameters
    ----------
    x, out : ndarray, (A, B, K)
        Logits and result.
    scale : float or ndarray, (A, B)
        A finite factor, of any sign, or one for each row.  Zero gives the uniform distribution
        where `x` is finite, and NaN where it is not, as ``0 * inf`` is.
    """
    for rows in blocks(x.shape[:2], x.shape[2]):
        out[rows] = Exponentials.of(Extended.of(x[rows]), scale_of(scale, rows)).softmax().rounded()


@quiet
def log_softmax(x: Array, out: Array, scale: float | Array) -> None:
    """Write the logarithm of ``softmax(scale * x)``.

    Both terms of ``scale * (x - x[k]) - log1p(tail)`` have one sign: nothing cancels.

    Parameters
    ----------
    x, out : ndarray, (A, B, K)
        Logits and result.
    scale : float or ndarray, (A, B)
        A finite factor, of any sign, or one for each row.  Zero gives the uniform distribution
        where `x` is finite, and NaN where it is not, as ``0 * inf`` is.
    """
    for rows in blocks(x.shape[:2], x.shape[2]):
        row = Exponentials.of(Extended.of(x[rows]), scale_of(scale, rows))
        out[rows] = (row.d - row.log_total()).rounded()


@quiet
def logsumexp(x: Array, out: Array) -> None:
    """Write ``log(sum(exp(x)))``.

    The error is small against the larger of ``|max(x)|`` and ``log(sum(exp(x - max(x))))``: where
    these two cancel in float64 or longdouble, the result near zero has fewer digits.

    Parameters
    ----------
    x : ndarray, (A, B, K)
        Logits.
    out : ndarray, (A, B)
        Result.
    """
    for rows in blocks(x.shape[:2], x.shape[2]):
        logits = Extended.of(x[rows])
        out[rows] = Exponentials.of(logits).logsumexp(logits).rounded()[..., 0]


@quiet
def logsumexp_partial(x: Array, m: Array, s: Array) -> None:
    """Write ``log(sum(exp(x)))`` as a pair of numbers, the second less than an ulp of the first.

    Parameters
    ----------
    x : ndarray, (A, B, K)
        Logits.
    m, s : ndarray, (A, B)
        Result, ``m + s``; float32 for logits of 16 bits.
    """
    for rows in blocks(x.shape[:2], x.shape[2]):
        logits = Extended.of(x[rows])
        lse = Exponentials.of(logits).logsumexp(logits)
        rest = np.zeros_like(lse.hi) if lse.lo is None else finite(lse.lo)
        m[rows], s[rows] = as_pair(lse.hi[..., 0], rest[..., 0], m.dtype)


# --- Derivatives ----------------------------------------------------------------------------


@quiet
def softmax_jacobian(s: Array, out: Array) -> None:
    """Write ``diag(s) - s s^T``.

    Parameters
    ----------
    s : ndarray, (A, B, K)
        Softmax outputs.
    out : ndarray, (A, B, K, K)
        Result, C-contiguous.
    """
    np.multiply(-s[..., :, np.newaxis], s[..., np.newaxis, :], out=out)  # rounds once
    diagonal = diagonals(out)
    for rows in blocks(s.shape[:2], s.shape[2]):
        diagonal[rows] = variances(s[rows]).rounded()


def variances(s: Array) -> Extended:
    """Return ``s * (1 - s)``, the diagonal of the Jacobian.

    Above one half ``1 - s`` is taken as the sum of the others, whose digits it has lost.
    """
    wide = Extended.of(s)
    k = np.argmax(wide.hi, axis=-1, keepdims=True)
    complement = wide.number(1.0) - wide
    at_k = complement.at(k)
    others = wide.without(k).sum()
    large = wide.at(k).hi > 0.5
    return wide * complement.put(k, others.where(large) + at_k.where(~large))


def diagonals(matrices: Array) -> Array:
    """Return the diagonals of C-contiguous ``(..., K, K)`` matrices as a writable view."""
    size = matrices.shape[-1]
    return matrices.reshape(*matrices.shape[:-2], size * size)[..., :: size + 1]


@quiet
def softmax_vjp(s: Array, g: Array, out: Array) -> None:
    """Write ``s * (h - sum(s * h))``, the Jacobian's product with `g` from either side.

    As `s` sums to one, any number may be taken from `g`: here it is the `g` at the peak, whose
    weight, the one that may be nearly 1 and rounded to it, is then multiplied by zero. The dot
    product keeps the errors of its products and of its sum (Ogita, Rump, Oishi [3]_).

    Parameters
    ----------
    s, g, out : ndarray, (A, B, K)
        Softmax outputs, upstream gradient (or tangent) and result.
    """
    for rows in blocks(s.shape[:2], s.shape[2]):
        weights = Extended.of(s[rows])
        h = about_peak(weights, Extended.of(g[rows]))
        h = h - (weights * h).sum()
        out[rows] = (weights * h).rounded()


def peak_of(s: Extended) -> Array:
    """Return the place of the first largest element of each row, ``(..., 1)``."""
    place: Array = np.argmax(s.hi, axis=-1, keepdims=True)
    return place


def about_peak(s: Extended, g: Extended) -> Extended:
    """Return `g` less its element where `s` (or its logarithm, if that is not -inf) is largest."""
    k = peak_of(s)
    return g - g.at(k).where(s.at(k).hi > -np.inf)


@quiet
def log_softmax_jacobian(log_s: Array, out: Array) -> None:
    """Write ``I - 1 s^T``, with ``-expm1(log_s)`` on the diagonal.

    Parameters
    ----------
    log_s : ndarray, (A, B, K)
        Log-softmax outputs.
    out : ndarray, (A, B, K, K)
        Result, C-contiguous.
    """
    diagonal = diagonals(out)
    for rows in blocks(log_s.shape[:2], log_s.shape[2]):
        wide = Extended.of(log_s[rows]).hi
        out[rows] = -np.exp(wide)[..., np.newaxis, :]
        diagonal[rows] = -np.expm1(wide)


@quiet
def log_softmax_vjp(log_s: Array, g: Array, out: Array) -> None:
    """Write ``g - s * sum(g)``; at the peak ``(1 - s) * g - s * (sum of the other g)``.

    There ``1 - s`` is ``-expm1(log_s)``: nothing is lost where `s` is nearly 1.

    Parameters
    ----------
    log_s, g, out : ndarray, (A, B, K)
        Log-softmax outputs, upstream gradient and result.
    """
    for rows in blocks(log_s.shape[:2], log_s.shape[2]):
        wide, gradient = Extended.of(log_s[rows]), Extended.of(g[rows])
        k, weights = peak_of(wide), wide.exp()
        top, others = gradient.at(k), gradient.without(k).sum()
        at_peak = top * wide.at(k).one_minus_exp() - weights.at(k) * others
        out[rows] = (gradient - weights * (others + top)).put(k, at_peak).rounded()


@quiet
def log_softmax_jvp(log_s: Array, v: Array, out: Array) -> None:
    """Write ``h - sum(exp(log_s) * h)``, with `h` the tangent less its element at the peak.

    Parameters
    ----------
    log_s, v, out : ndarray, (A, B, K)
        Log-softmax outputs, tangent and result.
    """
    for rows in blocks(log_s.shape[:2], log_s.shape[2]):
        wide = Extended.of(log_s[rows])
        h = about_peak(wide, Extended.of(v[rows]))
        out[rows] = (h - (wide.exp() * h).sum()).rounded()


@quiet
def logsumexp_vjp(x: Array, lse: Array, g: Array, out: Array) -> None:
    """Write ``exp(x - lse) * g``.

    Parameters
    ----------
    x, out : ndarray, (A, B, K)
        Logits and result.
    lse, g : ndarray, (A, B)
        The logits' logsumexp and its upstream gradient.
    """
    for rows in blocks(x.shape[:2], x.shape[2]):
        log_s = Extended.of(x[rows]) - Extended.of(lse[rows][..., np.newaxis])
        out[rows] = (log_s.exp() * Extended.of(g[rows][..., np.newaxis])).rounded()


# --- Pairs ----------------------------------------------------------------------------------


@quiet
def logsumexp_merge(p_m: Array, p_s: Array, q_m: Array, q_s: Array, m: Array, s: Array) -> None:
    """Write the logarithm of ``exp(p_m + p_s) + exp(q_m + q_s)`` as a number and what it lacks.

    With `a` the larger of the two and `b` the other, it is ``a + log1p(exp(b - a))``.

    Parameters
    ----------
    p_m, p_s, q_m, q_s : ndarray
        Logarithms, rounded, and what rounding took from them; of one shape.
    m, s : ndarray
        Result, of the same shape, C-contiguous.
    """
    wide = m.dtype if m.dtype.char == "g" else np.dtype(np.float64)
    operands = [np.asarray(part, wide) for part in (p_m, p_s, q_m, q_s)]
    p_m, p_s, q_m, q_s = operands
    swap = (q_m > p_m) | ((q_m == p_m) & (q_s > p_s))
    a, a_rest = np.where(swap, q_m, p_m), np.where(swap, q_s, p_s)
    b, b_rest = np.where(swap, p_m, q_m), np.where(swap, p_s, q_s)

    distance, error = two_diff(b, a)
    distance, error = two_sum(distance, finite(error) + (b_rest - a_rest))
    ratio = np.exp(distance)
    ratio += ratio * finite(error)
    total, rest = two_sum(a, np.log1p(ratio))
    total, rest = as_pair(total, finite(rest) + a_rest, m.dtype)

    peak = np.maximum(p_m, q_m).astype(m.dtype)  # NaN if there is one
    unchanged = np.isneginf(b) & np.isfinite(a)
    regular = np.isfinite(peak)
    m[...] = np.where(unchanged, a.astype(m.dtype), np.where(regular, total, peak))
    s[...] = np.where(unchanged, a_rest.astype(m.dtype), np.where(regular, rest, rest_of(peak)))


def as_pair(m: Array, rest: Array, dtype: np.dtype[Any]) -> tuple[Array, Array]:
    """Return ``m + rest`` as a number of `dtype` and what it lacks."""
    total, error = two_sum(m, rest)
    rounded = total.astype(dtype)
    lacking = ((total - rounded) + finite(error)).astype(dtype)
    return rounded, np.where(np.isfinite(rounded), lacking, rest_of(rounded))


def rest_of(m: Array) -> Array:
    """Return the second of the pair of which an infinity or NaN is the first."""
    return np.where(np.isnan(m), m, np.zeros_like(m))


# --- The layer ------------------------------------------------------------------------------


@quiet
def softmax_layer_jacobian(s: Array, x: Array, out: Array) -> None:
    """Write the derivative of ``s = softmax(W^T x + b)`` by ``W``.

    Parameters
    ----------
    s : ndarray, (N, K)
        Outputs of the layer.
    x : ndarray, (N, J)
        Inputs of the layer.
    out : ndarray, (N, K, K * J)
        Result, C-contiguous: ``s[t] * ((i == t) - s[i]) * x[j]`` in row `t`, column ``i * J + j``.
    """
    (count, size), inputs = s.shape, x.shape[1]
    products = out.reshape(count, size, size, inputs)
    for _, rows in blocks((1, count), size * size):
        wide, factor = Extended.of(s[rows]).hi, Extended.of(x[rows]).hi
        jacobian = -wide[:, :, np.newaxis] * wide[:, np.newaxis, :]
        diagonals(jacobian)[...] = variances(s[rows]).rounded()
        np.multiply(
            jacobian[..., np.newaxis],
            factor[:, np.newaxis, np.newaxis, :],
            out=products[rows],
            dtype=wide.dtype,
            casting="unsafe",
        )


# --- Losses ---------------------------------------------------------------------------------


@quiet
def cross_entropy(
    x: Array,
    labels: Array | None,
    soft: Array | None,
    weight: Array | None,
    on: float,
    off: float,
    z_loss: float,
    factor: float,
    loss: Array,
    lse: Array | None,
    grad: Array | None,
) -> None:
    """Write ``sum(a * (lse - x)) + z_loss * lse**2`` and its gradient, not reduced.

    The target's weights are ``a = weight * (on * t + off)``, with `t` the soft target or the
    one-hot row of the label; an ignored row has none.  Where a weight is zero, the class
    contributes nothing, be its logit -inf.

    Parameters
    ----------
    x : ndarray, (A, B, K)
        Logits.
    labels : ndarray of int64, (A, B), or None
        The classes, -1 for an ignored row, whose loss and gradient are zero whatever it holds.
    soft : ndarray, (A, B, K), or None
        The soft targets; exactly one of `labels` and `soft` is given.
    weight : ndarray, (K,), or None
        The weights of the classes; None stands for ones.
    on, off : float
        Label smoothing.
    z_loss : float
        The factor on the squared logsumexp of a row that is not ignored.
    factor : float
        The factor on the gradient, not on the loss.
    loss : ndarray, (A, B)
        The losses.
    lse : ndarray, (A, B), or None
        The logsumexp of every row, if wanted.
    grad : ndarray, (A, B, K), or None
        The gradient ``factor * ((sum(a) + 2 * z_loss * lse) * s - a)``, if wanted.
    """
    for rows in blocks(x.shape[:2], x.shape[2]):
        logits = Extended.of(x[rows])
        row = Exponentials.of(logits)
        log_sum = row.logsumexp(logits)
        z = log_sum * log_sum.number(z_loss) if z_loss else log_sum.number(0.0)
        if labels is not None:
            label = labels[rows][..., np.newaxis]
            target, counted = (label == np.arange(x.shape[2])).astype(x.dtype), label >= 0
        elif soft is not None:
            target, counted = soft[rows], np.full((1, 1, 1), True)
        a = target_weights(target, weight, on, off).where(counted)
        total = a.sum()
        undefined = total.hi - total.hi  # NaN if the target is infinite
        losses = total * row.log_total() + (a * (-row.d).where(a.hi != 0)).sum()
        if z_loss:  # as 0 times an infinite square is NaN
            losses = losses + z * log_sum
        if grad is not None:
            gradient = logit_gradient(row, a, z + z)
            gradient = gradient * gradient.number(factor)
            grad[rows] = np.where(counted, gradient.rounded() + undefined, 0)
        if lse is not None:
            lse[rows] = log_sum.rounded()[..., 0]
        loss[rows] = np.where(counted, losses.rounded() + undefined, 0)[..., 0]


def target_weights(target: Array, weight: Array | None, on: float, off: float) -> Extended:
    """Return ``weight * (on * target + off)``."""
    a = Extended.of(target)
    if (on, off) != (1.0, 0.0):
        a = a * a.number(on) + a.number(off)
    return a if weight is None else a * Extended.of(weight)


def logit_gradient(row: Exponentials, a: Extended, extra: Extended) -> Extended:
    """Return ``total * s - a``, at the peak written so that a confident label keeps its digits.

    The `total` is the sum of `a` and the `extra` mass of a z-loss.  At the peak the difference is
    ``(total - a) * s - a * (1 - s)``, with ``total - a`` summed over the others and ``1 - s`` the
    tail's share.
    """
    s = row.softmax()
    total = a.sum() + extra
    others = a.without(row.k).sum() + extra
    missing = row.tail / (row.tail + row.top)
    at_peak = others * s.at(row.k) - a.at(row.k) * missing
    return (total * s - a).put(row.k, at_peak)
