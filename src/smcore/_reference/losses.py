"""The cross-entropy of each row, and its gradient."""

from __future__ import annotations

import numpy as np

from .._blocks import blocks
from .._quiet import quiet
from .extended import Array, Extended
from .forward import Exponentials

__all__ = ["cross_entropy"]


@quiet
def cross_entropy(
    x: Array,
    labels: Array | None,
    soft: Array | None,
    sample: Array | None,
    weight: Array | None,
    on: float,
    off: float,
    z_loss: float,
    factor: float,
    loss: Array,
    lse: Array | None,
    grad: Array | None,
) -> None:
    """Write ``sample * (sum(a * (lse - x)) + z_loss * lse**2)`` and its gradient, not reduced.

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
    sample : ndarray, (A, B), or None
        The factor of each row, at least 0; a row is ignored where it is 0. None stands for ones.
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
        The gradient ``factor * sample * ((sum(a) + 2 * z_loss * lse) * s - a)``, if wanted.
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
        share = logits.number(1.0)
        if sample is not None:
            share = Extended.of(sample[rows][..., np.newaxis])
            counted = counted & (share.hi != 0)
        a = target_weights(target, weight, on, off).where(counted)
        total = a.sum()
        undefined = total.hi - total.hi  # NaN if the target is infinite
        losses = total * row.log_total() + (a * (-row.d).where(a.hi != 0)).sum()
        if z_loss:  # as 0 times an infinite square is NaN
            losses = losses + z * log_sum
        losses = losses * share
        if grad is not None:
            gradient = logit_gradient(row, a, z + z)
            gradient = gradient * (share * share.number(factor))
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
