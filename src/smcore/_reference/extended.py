"""Numbers that carry more digits than the dtype of the result.

References
----------
.. [1] S. M. Rump, T. Ogita, S. Oishi, "Accurate floating-point summation, part I", SIAM J. Sci.
   Comput. 31 (2008).
.. [2] M. Lange, S. M. Rump, "Faithfully rounded floating-point computations", ACM Trans. Math.
   Softw. 46 (2020).
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from .._exact import Array, finite, two_diff, two_product, two_sum

__all__ = ["Array", "Extended"]


class Extended:
    """Real numbers known to more digits than the result will have.

    Either `hi` alone, where the arithmetic is wide enough as it is, or the unevaluated sum of `hi`
    and `lo`.  Pairs follow the pair arithmetic of Lange and Rump [2]_: `hi` is what plain
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
        any rounding error (Rump, Ogita and Oishi [1]_); the rest is smaller by a factor of K*eps
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
