"""Logarithms of sums of parts, as pairs of numbers, joined."""

from __future__ import annotations

import numpy as np

from .._exact import Array, as_pair, finite, rest_of, two_diff, two_sum
from .._quiet import quiet

__all__ = ["logsumexp_merge"]


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
