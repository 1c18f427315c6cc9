"""The target of a loss, and the weights of classes and rows, judged."""

from __future__ import annotations

import math
import operator
from typing import Any, SupportsIndex

import numpy as np
from numpy.typing import ArrayLike

from ._arrays import (
    Array,
    DType,
    Mask,
    as_array,
    as_float,
    check_shape,
    compute_dtype,
    is_float,
    sum_dtype,
)
from ._rows import Rows

__all__ = [
    "IGNORED",
    "as_class_weights",
    "as_labels",
    "as_sample_weights",
    "as_target",
    "check_order",
    "checked_target",
    "summed_weights",
]

IGNORED = -1  # the label by which the kernels know a row that does not count


def checked_target(target: ArrayLike, shape: tuple[int, ...], rows: Rows) -> Array:
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


def as_target(values: Array, dtype: DType) -> Array:
    """Return labels as they are, and probabilities in the dtype of the logits."""
    return values if values.dtype == np.int64 else as_float(values, "target", dtype)


def as_class_weights(weight: ArrayLike, count: int, dtype: DType) -> Array:
    weights = as_float(weight, "weight", compute_dtype(dtype))
    check_shape(weights, (count,), "weight")
    weights = weights.copy()  # contiguous, out of the way of `out`, and of other threads
    if not np.isfinite(weights).all():
        raise ValueError(f"weight must be finite in {weights.dtype}; found {weight!r}")
    return weights


def as_sample_weights(sample_weight: ArrayLike, rows: Rows, dtype: DType, is_mean: bool) -> Array:
    """Return a weight for each row, of the dtype computed in.

    A mean depends on their ratios alone: its weights are divided by a power of two, so that neither
    their sum nor a small one is out of range.
    """
    weights = rows.numbers(sample_weight, "sample_weight", sum_dtype(dtype))
    if (weights < 0).any():
        raise ValueError(f"sample_weight must be at least 0; found {weights.min()} among them")
    narrow = compute_dtype(dtype)
    with np.errstate(all="ignore"):
        if is_mean:
            weights = np.ldexp(weights, -np.frexp(weights.max(initial=0))[1])
        found = weights.astype(narrow)
    if not np.isfinite(found).all():
        raise ValueError(f"sample_weight must be finite in {narrow}; found {weights.max()}")
    return np.broadcast_to(found.reshape(rows.lead if found.ndim else ()), rows.lead)


def as_labels(values: Array, rows: Rows, ignore_index: SupportsIndex) -> Array:
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
    labels[ignored] = IGNORED
    return labels


def summed_weights(
    rows: Rows,
    target: Array,
    counted: Mask | None,
    weights: Array | None,
    sample: Array | None,
    dtype: DType,
) -> Any:
    """Return the summed weights of the rows that count: of their labels, times their own."""
    index: Any = ... if counted is None else counted
    terms: Any = None if sample is None else sample[index].astype(dtype)
    with np.errstate(over="ignore"):
        if weights is not None and target.dtype == np.int64:
            of_labels = weights[target[index]]
            terms = of_labels if terms is None else terms * of_labels
        if terms is not None:
            return terms.sum(dtype=dtype)
    return math.prod(rows.lead) if counted is None else np.count_nonzero(counted)
