"""The Jacobian matrices' products with vectors.

References
----------
.. [1] T. Ogita, S. M. Rump, S. Oishi, "Accurate sum and dot product", SIAM J. Sci. Comput. 26
   (2005).
"""

from __future__ import annotations

import numpy as np

from .._blocks import blocks
from .._quiet import quiet
from .extended import Array, Extended

__all__ = ["log_softmax_jvp", "log_softmax_vjp", "logsumexp_vjp", "softmax_vjp"]


@quiet
def softmax_vjp(s: Array, g: Array, out: Array) -> None:
    """Write ``s * (h - sum(s * h))``, the Jacobian's product with `g` from either side.

    As `s` sums to one, any number may be taken from `g`: here it is the `g` at the peak, whose
    weight, the one that may be nearly 1 and rounded to it, is then multiplied by zero. The dot
    product keeps the errors of its products and of its sum (Ogita, Rump, Oishi [1]_).

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


def peak_of(s: Extended) -> Array:
    """Return the place of the first largest element of each row, ``(..., 1)``."""
    place: Array = np.argmax(s.hi, axis=-1, keepdims=True)
    return place


def about_peak(s: Extended, g: Extended) -> Extended:
    """Return `g` less its element where `s` (or its logarithm, if that is not -inf) is largest."""
    k = peak_of(s)
    return g - g.at(k).where(s.at(k).hi > -np.inf)
