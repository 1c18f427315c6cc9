"""What makes a cross-entropy: target, weights and reduction, judged; and rows evaluated by it."""

from __future__ import annotations

import math
import operator
from dataclasses import dataclass
from typing import Any, Literal, Protocol, SupportsIndex, TypedDict

import numpy as np
from numpy.typing import ArrayLike

from ._arrays import (
    Array,
    Axis,
    DType,
    Mask,
    Real,
    as_array,
    as_float,
    as_mask,
    as_real,
    cast,
    check_shape,
    compute_dtype,
    is_float,
    sum_dtype,
)
from ._backend import kernels
from ._outputs import deliver
from ._rows import Rows
from ._where import Selection

__all__ = [
    "Criterion",
    "Options",
    "Reduced",
    "Reduction",
    "Strip",
    "check_order",
    "criterion_of",
]

Reduction = Literal["mean", "sum", "none"]
Reduced = Literal["mean", "sum"]  # to one number

_IGNORED = -1  # the label by which the kernels know a row that does not count
_BLOCK = 1 << 22  # logits that `where` is applied to at once


class Options(TypedDict, total=False):
    """What every loss takes besides `reduction` and `return_lse`."""

    where: ArrayLike | None
    weight: ArrayLike | None
    ignore_index: SupportsIndex
    label_smoothing: Real
    z_loss: Real


class LossKernel(Protocol):
    """A loss of blocks of logits, with the gradient where an array for it is given."""

    def __call__(
        self,
        x: Array,
        target: Array,
        losses: Array,
        lse: Array,
        gradient: Array | None = None,
        /,
    ) -> None: ...


@dataclass(frozen=True)
class Criterion:
    """What is asked of logits of one shape and dtype: checked, and in the kernels' terms."""

    rows: Rows
    target: Array  # labels (*lead), int64; or probabilities (*lead, K), of any dtype
    mask: Mask | None  # (*lead, K), the classes that take part
    weight: Array | None  # (K,)
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
        operands = (rows.view(x), _as_target(self.target, x.dtype), losses)
        kernel = self.kernel(x.dtype)
        if gradient is None:
            rows.sweep(kernel, operands, lse)
        else:
            rows.map(kernel, (*operands, lse), gradient)
        return self.results(losses, lse, room)

    def new_values(self, dtype: DType) -> tuple[Array, Array]:
        """Return where the kernels put each row's loss, and its logsumexp."""
        lead = self.rows.lead
        return np.empty(lead, compute_dtype(dtype)), np.empty(lead, compute_dtype(dtype))

    def kernel(self, dtype: DType) -> LossKernel:
        """Return the function of blocks of logits, target, losses, logsumexp and gradient."""
        backend = kernels(dtype)
        with np.errstate(all="ignore"):
            on, off = 1 - self.smoothing, self.smoothing / self.rows.length
            factor = 1 / self.divisor if self.divisor else 1.0
        if self.mask is not None:  # `Strip` smooths the target
            on, off = 1.0, 0.0
        how = (self.weight, on, off, self.z_loss, factor)

        def run(
            x: Array, target: Array, losses: Array, lse: Array, gradient: Array | None = None, /
        ) -> None:
            labels, soft = (target, None) if target.dtype == np.int64 else (None, target)
            backend.cross_entropy(x, labels, soft, *how, losses, lse, gradient)
            if gradient is not None and not self.divisor:
                self.divide_by_zero(gradient, labels)

        return run

    def divide_by_zero(self, gradient: Array, labels: Array | None) -> None:
        """Do to a gradient what becomes of the loss; rows that are ignored still have none."""
        counted = True if labels is None else (labels != _IGNORED)[..., np.newaxis]
        with np.errstate(all="ignore"):
            zero = gradient.dtype.type(self.divisor)
            np.divide(gradient, zero, out=gradient, where=counted)

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
        self._losses, self._lse = losses.reshape(-1), lse.reshape(-1)

    def evaluate(self, rows: slice, z: Array, with_gradient: bool) -> None:
        """Fill in loss and logsumexp of some rows of logits, and their gradient over `z`."""
        target, losses, lse = (a[rows] for a in (self._target, self._losses, self._lse))
        mask = None if self._mask is None else self._mask[rows]
        selection = Selection.of(mask, z.shape, z.dtype)
        values = target
        if selection is not None:
            selection.fill(z, -np.inf)
            values = self._left(z, target, selection.mask)
        operands = [z, _as_target(values, z.dtype), losses, lse, *[z] * with_gradient]
        self._kernel(*(array[np.newaxis] for array in operands))
        if selection is None:
            return
        empty = ~selection.mask.any(axis=-1)
        lse[empty] = -np.inf
        losses[empty] = self._without_classes(target)[empty]
        ignored = target < 0 if self._criterion.has_labels else np.zeros_like(empty)
        losses[ignored] = 0
        if with_gradient:
            selection.fill(z, 0.0)
            z[ignored] = 0

    def _left(self, z: Array, target: Array, mask: Mask) -> Array:
        """Return the target of the classes left; and give rows that have none logits of 0."""
        left = mask.sum(axis=-1, keepdims=True)
        z[left[:, 0] == 0] = 0
        criterion, smoothing = self._criterion, self._criterion.smoothing
        if criterion.has_labels and not smoothing:
            return target
        if criterion.has_labels:
            values = np.zeros(mask.shape, z.dtype)
            (counted,) = np.nonzero(target >= 0)
            values[counted, target[counted]] = 1
        else:
            values = np.where(mask, _as_target(target, z.dtype), 0)
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
    weights = None if weight is None else _as_weights(weight, rows.length, dtype)

    values = _checked_target(target, shape, rows)
    mask = None if where is None else rows.view(np.broadcast_to(as_mask(where, shape), shape))
    if is_float(values.dtype):
        values = rows.view(values)
        divisor: Any = math.prod(rows.lead)
    else:
        values = _as_labels(values, rows, ignore_index)
        divisor = _counted(values, weights, dtype)
    if reduction != "mean":
        divisor = 1
    exact = sum_dtype(dtype).type
    return Criterion(
        rows, values, mask, weights, exact(smoothing), z_factor, reduction, exact(divisor)
    )


def _checked_target(target: ArrayLike, shape: tuple[int, ...], rows: Rows) -> Array:
    """Return the argument `target`, of integers or floats and of the shape that goes with them."""
    values = as_array(target, "target", "target.filled(ignore_index), or target.data")
    dtype = values.dtype
    per_logit = values.shape == shape != rows.lead
    if dtype.kind not in "iu" and not is_float(dtype):
        hint = ""
        if dtype == np.bool_:
            hint = "; pass target.astype(float)" if per_logit else "; pass target.astype(int)"
        raise TypeError(
            f"target must hold integer labels, or probabilities as floats; found {dtype}{hint}"
        )
    if is_float(dtype):
        name, expected = "target (of floats, one for each logit)", shape
    else:
        name, expected = "target (of integers, one for each row)", rows.lead
    if values.shape != expected:
        hint = _hint_for_target(values, per_logit, rows)
        raise ValueError(f"{name} must have shape {expected}; found {values.shape}{hint}")
    return values


def _hint_for_target(values: Array, per_logit: bool, rows: Rows) -> str:
    """Return what to do with a target of the wrong shape that is right in another form."""
    if per_logit:
        return "; pass one-hot rows as target.astype(float), or labels as target.argmax(axis)"
    if values.shape not in (rows.lead, rows.kept):
        return ""
    form = "" if values.shape == rows.lead else f".reshape({rows.lead})"
    if values.dtype.kind in "iu":
        return f"; pass target{form}"
    with np.errstate(all="ignore"):
        whole = np.isfinite(values).all() and (values == np.rint(values)).all()
    return f"; labels are integers: pass target.astype(int){form}" if whole else ""


def check_order(X: ArrayLike, W: ArrayLike, target: ArrayLike | None, b: ArrayLike | None) -> None:
    """Raise if bias and labels are given in each other's place."""
    labels, bias = np.asarray(b), np.asarray(target)
    are_swapped = labels.dtype.kind in "iu" and labels.shape == np.shape(X)[:-1]
    if are_swapped and bias.dtype.kind == "f" and bias.shape == np.shape(W)[-1:]:
        raise ValueError(
            f"target must hold labels, and b the bias; found them in each other's place: "
            f"floats of shape {bias.shape} as target, and integers of shape {labels.shape} as b"
        )


def _as_target(values: Array, dtype: DType) -> Array:
    """Return labels as they are, and probabilities in the dtype of the logits."""
    return values if values.dtype == np.int64 else as_float(values, "target", dtype)


def _as_weights(weight: ArrayLike, count: int, dtype: DType) -> Array:
    weights = as_float(weight, "weight", compute_dtype(dtype))
    check_shape(weights, (count,), "weight")
    weights = weights.copy()  # contiguous, out of the way of `out`, and of other threads
    if not np.isfinite(weights).all():
        raise ValueError(f"weight must be finite in {weights.dtype}; found {weight!r}")
    return weights


def _as_labels(values: Array, rows: Rows, ignore_index: SupportsIndex) -> Array:
    """Return a copy of the labels as the kernels know them, ignored ones as -1.

    It is the copy that is judged: another thread may be writing the array itself.
    """
    check_shape(values, rows.lead, "target (of integers, one for each row)")
    values = values.copy()
    try:
        ignored = values == operator.index(ignore_index)
    except TypeError:
        raise TypeError(f"ignore_index must be an integer; found {ignore_index!r}") from None
    wrong = ~ignored & ((values < 0) | (values >= rows.length))
    if wrong.any():
        position = tuple(int(i) for i in np.argwhere(wrong)[0])
        raise ValueError(
            f"target must hold labels 0 to {rows.length - 1}, or ignore_index ({ignore_index}); "
            f"found {values[position]} at index {position}"
        )
    labels = values.astype(np.int64, copy=False)
    labels[ignored] = _IGNORED
    return labels


def _counted(labels: Array, weights: Array | None, dtype: DType) -> Any:
    """Return the summed weights of the rows that count."""
    counted = labels[labels != _IGNORED]
    if weights is None:
        return counted.size
    with np.errstate(over="ignore"):
        return weights[counted].sum(dtype=sum_dtype(dtype))
