"""Softmax, its logarithm, and the logarithm of its denominator.

References
----------
.. [1] P. Blanchard, D. J. Higham, N. J. Higham, "Accurately computing the log-sum-exp and softmax
   functions", IMA J. Numer. Anal. 41 (2021).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from .._blocks import blocks
from .._exact import as_pair, finite
from .._quiet import quiet
from .extended import Array, Extended

__all__ = ["Exponentials", "log_softmax", "logsumexp", "logsumexp_partial", "softmax"]


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
        """Return the logarithm of the sum of the exponentials (Blanchard, Higham, Higham [1]_)."""
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
