"""Sums, differences and products with what rounding took from them.

A number with more digits than its dtype is a pair: its value, rounded, and the rest.

References
----------
.. [1] T. J. Dekker, "A floating-point technique for extending the available precision",
   Numer. Math. 18 (1971).
.. [2] D. E. Knuth, "The Art of Computer Programming", vol. 2, section 4.2.2.
"""

from __future__ import annotations

import functools
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

__all__ = ["as_pair", "finite", "rest_of", "two_diff", "two_product", "two_sum"]

Array: TypeAlias = npt.NDArray[Any]


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


def as_pair(m: Array, rest: Array, dtype: np.dtype[Any]) -> tuple[Array, Array]:
    """Return ``m + rest`` as a number of `dtype` and what it lacks."""
    total, error = two_sum(m, rest)
    rounded = total.astype(dtype)
    lacking = ((total - rounded) + finite(error)).astype(dtype)
    return rounded, np.where(np.isfinite(rounded), lacking, rest_of(rounded))


def rest_of(m: Array) -> Array:
    """Return the second of the pair of which an infinity or NaN is the first."""
    return np.where(np.isnan(m), m, np.zeros_like(m))


def finite(correction: Array) -> Array:
    """Return `correction` with zero in place of infinities and NaN."""
    return np.where(np.isfinite(correction), correction, 0)
