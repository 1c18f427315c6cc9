"""cross_entropy_with_grad for Numba."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types

from .._cross_entropy import cross_entropy_with_grad
from ._api import cross_entropy_rows, sum_values
from ._judge import (
    jitable,
    refuse,
    require,
    require_integer,
    require_like,
    require_number,
    require_out,
    serves,
    value_of,
)
from ._memory import (
    address,
    blocks_of,
    normalized,
    number_of,
    room,
    rows_of,
    values_of,
)

__all__: list[str] = []


# Names without a body are for compiled code alone; what they do depends on types.


def _labels(k: Any, target: Any, ignore_index: Any, loss: Any, grad: Any) -> Any: ...
def _weights(k: Any, weight: Any, x: Any) -> Any: ...
def _divisor(labels: Any, weights: Any, loss: Any) -> Any: ...


def _judged_distributions(k: int, target: Any, ignore_index: int, loss: Any, grad: Any) -> None:
    if target.shape != grad.shape:
        raise ValueError("target (of floats) must have the shape of x")


@serves(_labels)
def _type_labels(k: Any, target: Any, ignore_index: Any, loss: Any, grad: Any) -> Any:
    """Return judged labels in order, ignored ones as -1; None if there are distributions."""
    if isinstance(target, types.Array) and isinstance(target.dtype, types.Float):
        return _judged_distributions

    def judged(k: int, target: Any, ignore_index: int, loss: Any, grad: Any) -> Any:
        given = np.asarray(target)
        if given.ndim and given.shape != loss.shape:
            raise ValueError("target must have the shape of x without the axis of the classes")
        labels = np.empty(given.size, np.int64)
        for i, item in enumerate(given.flat):
            label = np.int64(item)
            is_beyond = label < 0 and item > 0  # an unsigned one
            if label == ignore_index and not is_beyond:
                labels[i] = -1
            elif label < 0 or label >= k:
                found = str(label) if not is_beyond and label > -(2**63) else "one beyond 63 bits"
                raise ValueError(
                    f"target must hold labels from 0 to {k - 1}, or ignore_index; found {found}"
                )
            else:
                labels[i] = label
        return labels

    return judged


@serves(_weights)
def _type_weights(k: Any, weight: Any, x: Any) -> Any:
    """Return judged weights of classes in the dtype of x, or None."""
    if value_of(weight) is None:
        return lambda k, weight, x: None

    def judged(k: int, weight: Any, x: Any) -> Any:
        if weight.shape != (k,):
            raise ValueError("weight must have one number for each class")
        weights = weight.astype(x.dtype)
        if not np.isfinite(weights).all():
            raise ValueError("weight must be finite")
        return weights

    return judged


@jitable
def _total(values: Any) -> Any:
    return sum_values(number_of(values), values.size, address(values))


@serves(_divisor)
def _type_divisor(labels: Any, weights: Any, loss: Any) -> Any:
    """Return what a mean divides by: the rows that count, or their weights."""
    if value_of(labels) is None:
        return lambda labels, weights, loss: float(loss.size)
    if value_of(weights) is None:
        return lambda labels, weights, loss: float((labels >= 0).sum())

    def weighed(labels: Any, weights: Any, loss: Any) -> Any:
        found = weights[labels[labels >= 0]]
        total = _total(found)
        if total == 0 and found.size > 0:
            raise ValueError("the weights of the labels must not sum to 0 for a mean")
        return total

    return weighed


@jitable
def _fill_losses(
    x: Any, axis: int, labels: Any, t: Any, weights: Any, smoothing: float, z_loss: float,
    factor: float, loss: Any, lse: Any, grad: Any,
) -> None:  # fmt: skip
    blocks, n, k, row, col = blocks_of(x, axis)
    for i in range(blocks):
        at, by_row = i * n * k * x.itemsize, i * n * x.itemsize
        label_at = address(labels) + i * n * 8 if labels is not None else 0
        t_at = address(t) + at if labels is None else 0
        lse_at = address(lse) + by_row if lse is not None else 0
        cross_entropy_rows(
            number_of(x), n, k, address(x) + at, row, col, label_at, t_at, row, col,
            address(weights), 0, smoothing, z_loss, factor, address(loss) + by_row,
            lse_at, address(grad) + at, row, col,
        )  # fmt: skip


@jitable
def _one(labels: Any, weights: Any, loss: Any) -> float:
    return 1.0


@jitable
def _reduced(loss: Any, divisor: float) -> Any:
    return loss.dtype.type(_total(loss) / divisor if divisor else np.nan)


@jitable
def _each(loss: Any, divisor: float) -> Any:
    return loss


@jitable
def _only(loss: Any, divisor: float) -> Any:
    return loss[0]


@jitable
def _nothing(x: Any, axis: int) -> None:
    return None


@jitable
def _pair(loss: Any, grad: Any, lse: Any) -> Any:
    return loss, grad


@jitable
def _triple(loss: Any, grad: Any, lse: Any) -> Any:
    return loss, grad, lse


@jitable
def _triple_of_one(loss: Any, grad: Any, lse: Any) -> Any:
    return loss, grad, lse[0]


def _require_target(x: Any, target: Any, weight: Any) -> None:
    weight = value_of(weight)
    if weight is not None and (
        not isinstance(weight, types.Array)
        or weight.ndim != 1
        or not isinstance(weight.dtype, types.Float)
    ):
        refuse("weight", "an array of floats with one axis, or None", weight)
    dtype = target.dtype if isinstance(target, types.Array) else target
    if isinstance(dtype, types.Float):
        require_like(target, "target (of floats)", x)
    elif isinstance(target, types.Array):
        if not isinstance(dtype, types.Integer) or target.ndim != x.ndim - 1:
            refuse("target", f"an array of integers with {x.ndim - 1} axes", target)
    elif x.ndim != 1:
        refuse("target", "an array", target)
    else:
        require_integer(target, "target")


@serves(cross_entropy_with_grad)
def _type_cross_entropy_with_grad(
    x: Any, target: Any, axis: Any = -1, where: Any = None, weight: Any = None,
    sample_weight: Any = None, ignore_index: Any = -100, reduction: Any = "mean",
    label_smoothing: Any = 0.0, z_loss: Any = 0.0, return_lse: Any = False, out: Any = None,
) -> Any:  # fmt: skip
    require(x, "x", where=where, sample_weight=sample_weight)
    _require_target(x, target, weight)
    require_integer(axis, "axis")
    require_integer(ignore_index, "ignore_index")
    require_number(label_smoothing, "label_smoothing")
    require_number(z_loss, "z_loss")
    require_out(out, x)
    how = value_of(reduction)
    if how not in ("mean", "sum", "none"):
        refuse("reduction", "'mean', 'sum' or 'none', written in the call", reduction)
    if value_of(return_lse) not in (False, True):
        refuse("return_lse", "False or True, written in the call", return_lse)
    reduced = _reduced if how != "none" else _only if x.ndim == 1 else _each
    divisor_of = _divisor if how == "mean" else _one
    wants_lse = value_of(return_lse)
    lse_of = values_of if wants_lse else _nothing
    gather = _pair if not wants_lse else _triple if x.ndim > 1 else _triple_of_one

    def compiled(
        x: Any, target: Any, axis: Any = -1, where: Any = None, weight: Any = None,
        sample_weight: Any = None, ignore_index: Any = -100, reduction: Any = "mean",
        label_smoothing: Any = 0.0, z_loss: Any = 0.0, return_lse: Any = False, out: Any = None,
    ) -> Any:  # fmt: skip
        if not 0 <= label_smoothing <= 1:
            raise ValueError("label_smoothing must lie in [0, 1]")
        if not 0 <= z_loss < np.inf:
            raise ValueError("z_loss must be at least 0, and finite")
        k = x.shape[normalized(x, axis)]
        if k == 0:
            raise ValueError("there must be at least one class")
        grad, loss, lse = room(x, out), values_of(x, axis), lse_of(x, axis)
        labels = _labels(k, target, ignore_index, loss, grad)
        weights = _weights(k, weight, x)
        divisor = divisor_of(labels, weights, loss)
        factor = 1 / divisor if divisor else 1.0
        t = rows_of(target, grad) if labels is None else None
        _fill_losses(
            rows_of(x, grad), axis, labels, t, weights, label_smoothing, z_loss, factor, loss, lse,
            grad,
        )  # fmt: skip
        return gather(reduced(loss, divisor), grad, lse)

    return compiled
