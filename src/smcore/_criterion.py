"""What makes a cross-entropy: target, weights and reduction, judged; and rows evaluated by it."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple, Protocol, SupportsIndex, TypedDict

import numpy as np
from numpy.typing import ArrayLike

from ._arrays import (
    Array,
    Axis,
    DType,
    Mask,
    Real,
    as_mask,
    as_real,
    cast,
    compute_dtype,
    is_float,
    sum_dtype,
)
from ._backend import kernels
from ._outputs import deliver
from ._rows import Rows
from ._target import (
    IGNORED,
    as_class_weights,
    as_labels,
    as_sample_weights,
    as_target,
    checked_target,
    summed_weights,
)
from ._where import Selection

__all__ = [
    "Criterion",
    "Options",
    "Reduced",
    "Reduction",
    "Strip",
    "criterion_of",
]

Reduction = Literal["mean", "sum", "none"]
Reduced = Literal["mean", "sum"]  # to one number

_BLOCK = 1 << 22  # logits that `where` is applied to at once


class Options(TypedDict, total=False):
    """What every loss takes besides `reduction` and `return_lse`."""

    where: ArrayLike | None
    weight: ArrayLike | None
    sample_weight: ArrayLike | None
    ignore_index: SupportsIndex
    label_smoothing: Real
    z_loss: Real


class LossKernel(Protocol):
    """A loss of blocks of logits, with the gradient where an array for it is given."""

    def __call__(
        self,
        x: Array,
        target: Array,
        sample: Array | None,
        losses: Array,
        lse: Array,
        gradient: Array | None = None,
        /,
    ) -> None: ...


class Criterion(NamedTuple):
    """What is asked of logits of one shape and dtype: checked, and in the kernels' terms."""

    rows: Rows
    target: Array  # labels (*lead), int64; or probabilities (*lead, K), of any dtype
    mask: Mask | None  # (*lead, K), the classes that take part
    weight: Array | None  # (K,)
    sample: Array | None  # (*lead), a factor for each row; 0: it does not count
    counted: Mask | None  # (*lead), the rows that do; None: all
    smoothing: Any  # a scalar of `sum_dtype`, as the divisor
    z_loss: float
    reduction: Reduction
    divisor: Any  # of the summed losses, and of their gradient

    @property
    def has_labels(self) -> bool:
        """Whether the target holds labels rather than probabilities."""
        return self.target.dtype == np.int64

    def evaluate(self, x: Array, gradient: Array | None = None) -> tuple[Any, Any]:
        """Return loss and logsumexp of logits `x`, and fill in the gradient, which may be `x`."""
        rows = self.rows
        losses, lse = self.new_values(x.dtype)
        room = self.room(losses, lse, x.dtype)
        if self.mask is not None:
            z = np.array(rows.view(x), compute_dtype(x.dtype), order="C").reshape(-1, rows.length)
            strip = Strip(self, z.dtype, losses, lse)
            step = max(1, _BLOCK // rows.length)
            for start in range(0, len(z), step):
                block = slice(start, start + step)
                strip.evaluate(block, z[block], gradient is not None)
            if gradient is not None:
                rows.put(gradient, cast(z, x.dtype))
            return self.results(losses, lse, room)
        operands = (rows.view(x), as_target(self.target, x.dtype), self.sample, losses)
        kernel = self.kernel(x.dtype)
        if gradient is None:
            rows.sweep(kernel, operands, lse)
        else:
            rows.map(kernel, (*operands, lse), gradient)
        return self.results(losses, lse, room)

    def new_values(self, dtype: DType) -> tuple[Array, Array]:
        """Return where the kernels put each row's loss, and its logsumexp."""
        lead = self.rows.lead
        return np.zeros(lead, compute_dtype(dtype)), np.zeros(lead, compute_dtype(dtype))

    def kernel(self, dtype: DType) -> LossKernel:
        """Return the function that evaluates blocks of logits."""
        backend = kernels(dtype)
        with np.errstate(all="ignore"):
            on, off = 1 - self.smoothing, self.smoothing / self.rows.length
            factor = 1 / self.divisor if self.divisor else 1.0
        if self.mask is not None:  # `Strip` smooths the target
            on, off = 1.0, 0.0
        how = (self.weight, on, off, self.z_loss, factor)

        def run(
            x: Array,
            target: Array,
            sample: Array | None,
            losses: Array,
            lse: Array,
            gradient: Array | None = None,
            /,
        ) -> None:
            labels, soft = (target, None) if target.dtype == np.int64 else (None, target)
            backend.cross_entropy(x, labels, soft, sample, *how, losses, lse, gradient)
            if gradient is not None and not self.divisor:
                counted = np.True_ if labels is None else labels != IGNORED
                self.divide_by_zero(gradient, counted if sample is None else counted & (sample > 0))

        return run

    def divide_by_zero(self, gradient: Array, counted: Any) -> None:
        """Do to a gradient what becomes of the loss; rows that do not count still have none."""
        with np.errstate(all="ignore"):
            zero = gradient.dtype.type(self.divisor)
            np.divide(gradient, zero, out=gradient, where=counted[..., np.newaxis])

    def room(self, losses: Array, lse: Array, dtype: DType) -> tuple[Array, Array]:
        """Return where `results` converts to: had before the gradient is written, or not at all."""
        of_losses = dtype if self.reduction == "none" else sum_dtype(dtype)
        return cast(losses, of_losses), cast(lse, dtype)

    def results(self, losses: Array, lse: Array, room: tuple[Array, Array]) -> tuple[Any, Any]:
        """Return the loss, reduced, and the logsumexp, in the dtype of the logits."""
        with np.errstate(all="ignore"):
            for values, converted in zip((losses, lse), room, strict=True):
                if converted is not values:
                    converted[...] = values
            losses, lse = room
            if self.reduction == "none":
                return deliver(losses, None), deliver(lse, None)
            return lse.dtype.type(losses.sum() / self.divisor), deliver(lse, None)


class Strip:
    """The rows of a criterion one after the other, to be judged a few at a time.

    What `where` leaves out is done here: kernels get logits of -inf there. So a row is judged as if
    it had the classes left alone; one that has none is given to them as zeros, and judged here.
    """

    def __init__(self, criterion: Criterion, dtype: DType, losses: Array, lse: Array) -> None:
        K = criterion.rows.length
        self._criterion, self._kernel = criterion, criterion.kernel(dtype)
        self._target = criterion.target.reshape((-1,) if criterion.has_labels else (-1, K))
        self._mask = None if criterion.mask is None else criterion.mask.reshape(-1, K)
        self._sample = None if criterion.sample is None else criterion.sample.reshape(-1)
        self._counted = None if criterion.counted is None else criterion.counted.reshape(-1)
        self._losses, self._lse = losses.reshape(-1), lse.reshape(-1)

    def evaluate(self, rows: slice | Array, z: Array, with_gradient: bool) -> None:
        """Fill in loss and logsumexp of some rows of logits, and their gradient over `z`."""
        target, losses, lse = (a[rows] for a in (self._target, self._losses, self._lse))
        mask, sample, counted = (
            None if a is None else a[rows] for a in (self._mask, self._sample, self._counted)
        )
        selection = Selection.of(mask, z.shape, z.dtype)
        values = target
        if selection is not None:
            selection.fill(z, -np.inf)
            values = self._left(z, target, selection.mask)
        operands: list[Any] = [z, as_target(values, z.dtype), sample, losses, lse]
        operands += [z] * with_gradient
        views: list[Any] = [a if a is None else a[np.newaxis] for a in operands]
        self._kernel(*views)
        if selection is not None:
            empty = ~selection.mask.any(axis=-1)
            lse[empty] = -np.inf
            losses[empty] = self._without_classes(target)[empty]
            ignored = np.zeros_like(empty) if counted is None else ~counted
            losses[ignored] = 0
            if with_gradient:
                selection.fill(z, 0.0)
                z[ignored] = 0
        if not isinstance(rows, slice):  # of which these are copies
            self._losses[rows], self._lse[rows] = losses, lse

    def _left(self, z: Array, target: Array, mask: Mask) -> Array:
        """Return the target of the classes left; and give rows that have none logits of 0."""
        left = mask.sum(axis=-1, keepdims=True)
        z[left[:, 0] == 0] = 0
        criterion, smoothing = self._criterion, self._criterion.smoothing
        if criterion.has_labels and not smoothing:
            return target
        if criterion.has_labels:
            values = np.zeros(mask.shape, z.dtype)
            (counted,) = np.nonzero(target != IGNORED)
            values[counted, target[counted]] = 1
        else:
            values = np.where(mask, as_target(target, z.dtype), 0)
        with np.errstate(all="ignore"):
            values *= z.dtype.type(1 - smoothing)
            values += np.where(mask, (smoothing / np.maximum(left, 1)).astype(z.dtype), 0)
        return values

    def _without_classes(self, target: Array) -> Array:
        """Return the losses of rows that have no classes left: that of a label is not finite."""
        criterion, losses = self._criterion, np.zeros(len(target))
        if criterion.has_labels:
            on = criterion.smoothing < 1  # or the label has no share
            share = np.float64(on) if criterion.weight is None else on * criterion.weight[target]
            losses = np.where(share, np.copysign(np.inf, share), losses)
        return losses + np.inf if criterion.z_loss else losses


def criterion_of(
    shape: tuple[int, ...],
    dtype: DType,
    target: ArrayLike,
    axis: Axis,
    where: ArrayLike | None,
    weight: ArrayLike | None,
    sample_weight: ArrayLike | None,
    ignore_index: SupportsIndex,
    reduction: Reduction,
    label_smoothing: Real,
    z_loss: Real,
) -> Criterion:
    """Judge the arguments of a loss of logits of this shape and dtype."""
    rows = Rows(shape, axis)
    if rows.length == 0:
        raise ValueError(f"there must be at least one class; found logits of shape {shape}")
    if reduction not in ("mean", "sum", "none"):
        raise ValueError(f"reduction must be 'mean', 'sum' or 'none'; found {reduction!r}")
    smoothing = as_real(label_smoothing, "label_smoothing")
    if not 0 <= smoothing <= 1:
        raise ValueError(f"label_smoothing must lie in [0, 1]; found {label_smoothing!r}")
    z_factor = as_real(z_loss, "z_loss")
    if z_factor < 0:
        raise ValueError(f"z_loss must be at least 0; found {z_loss!r}")
    weights = None if weight is None else as_class_weights(weight, rows.length, dtype)
    is_mean = reduction == "mean"
    sample = None
    if sample_weight is not None:
        sample = as_sample_weights(sample_weight, rows, dtype, is_mean)

    values = checked_target(target, shape, rows)
    mask = None if where is None else rows.view(np.broadcast_to(as_mask(where, shape), shape))
    counted = None if sample is None else sample > 0
    if is_float(values.dtype):
        values = rows.view(values)
    else:
        values = as_labels(values, rows, ignore_index)
        counted = values != IGNORED if counted is None else (values != IGNORED) & counted
    if counted is not None and counted.all():
        counted = None
    exact = sum_dtype(dtype)
    divisor = summed_weights(rows, values, counted, weights, sample, exact) if is_mean else 1
    return Criterion(
        rows,
        values,
        mask,
        weights,
        sample,
        counted,
        exact.type(smoothing),
        z_factor,
        reduction,
        exact.type(divisor),
    )
