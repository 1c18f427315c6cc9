"""The Hessian of the cross-entropy in the logits: what it is asked of, and its factor for each row.

It is ``A (diag(s) - s sᵀ)``, with the softmax s and the sum A of a row's target times weights.
"""

from __future__ import annotations

from typing import Any, SupportsIndex

import numpy as np
from numpy.typing import ArrayLike

from ._arrays import Array, Axis, DType, Mask, Real, cast
from ._criterion import Criterion, Reduction, criterion_of
from ._rows import Rows

__all__ = ["Factors", "factors_of", "hessian_of"]


def hessian_of(
    shape: tuple[int, ...],
    dtype: DType,
    target: ArrayLike | None,
    axis: Axis,
    where: ArrayLike | None,
    weight: ArrayLike | None,
    sample_weight: ArrayLike | None,
    ignore_index: SupportsIndex,
    reduction: Reduction,
    label_smoothing: Real,
) -> Criterion:
    """Judge the arguments of a Hessian; without a target any class will do that is not ignored."""
    if target is None:
        if weight is not None:
            raise ValueError("weight must be None where target is None: no row has a class")
        target, ignore_index = np.zeros(Rows(shape, axis).lead, np.int8), -1
    return criterion_of(
        shape,
        dtype,
        target,
        axis,
        where,
        weight,
        sample_weight,
        ignore_index,
        reduction,
        label_smoothing,
        0.0,
    )


def factors_of(criterion: Criterion) -> Array:
    """Return ``(*lead)``, the factor A of each row times its weight, over the loss's divisor."""
    target, mask, divisor = criterion.target, criterion.mask, criterion.divisor
    with np.errstate(all="ignore"):
        K = criterion.rows.length
        weights = np.ones(K) if criterion.weight is None else criterion.weight
        weights = weights.astype(divisor.dtype)
        on, even = 1 - criterion.smoothing, criterion.smoothing * _mean_weights(weights, mask)
        if criterion.has_labels:
            counts = target >= 0
            factors = on * np.where(counts, weights[np.maximum(target, 0)], 0) + even * counts
        else:
            shares = np.ascontiguousarray(target)  # so that each row is summed alike
            if mask is not None:
                shares = np.where(mask, shares, 0)
            if criterion.weight is not None:
                shares = shares * weights
            factors = on * shares.sum(axis=-1, dtype=weights.dtype) + even
        if criterion.sample is not None:
            factors = np.where(criterion.sample > 0, factors * criterion.sample, 0)
        return np.asarray(factors / divisor if divisor else np.zeros_like(factors))


def _mean_weights(weights: Array, mask: Mask | None) -> Any:
    """Return the mean of the weights of the classes that take part, in each row or in all alike."""
    if mask is None:
        return weights.sum() / weights.size
    total = np.sum(np.broadcast_to(weights, mask.shape), axis=-1, where=mask)
    return total / np.maximum(mask.sum(axis=-1), 1)


class Factors:
    """What rows are multiplied by, in the dtype of their product; scaling needs no more memory."""

    def __init__(self, factors: Array, dtype: DType) -> None:
        self._are_one = (factors == 1).all()
        self._are_zero = factors == 0
        self._factors = cast(factors, dtype)

    def scale(self, product: Array) -> Array:
        """Multiply rows in place; a factor of 0 hides what the row holds."""
        if not self._are_one:
            with np.errstate(all="ignore"):
                np.multiply(product, self._factors, out=product)
            np.copyto(product, 0, where=self._are_zero)
        return product
