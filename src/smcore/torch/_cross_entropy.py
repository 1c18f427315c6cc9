"""Cross-entropy of softmax, from the logits."""

from __future__ import annotations

import math
from typing import Any, Literal, NamedTuple

import numpy as np
import torch

import smcore

from .._arrays import Axis
from ._logsumexp import logsumexp_vjp, row_logsumexp
from ._operation import Operation, one_by_one, plain, with_batch_in_front
from ._softmax import row_softmax, softmax_vjp
from ._tensors import (
    Dims,
    Tensor,
    array_of,
    axis_of,
    checked_by_row,
    checked_constant,
    checked_dims,
    checked_float,
    keep,
    kept,
    masked,
    room_like,
    row_sum,
    tensor_of,
    without,
)

__all__ = [
    "Constants",
    "How",
    "Reduction",
    "checked_constants",
    "cross_entropy",
    "keywords_of",
    "logit_gradient",
    "times",
]

Reduction = Literal["mean", "sum", "none"]

_keeps_graph = torch._C._autograd._get_current_graph_task_keep_graph  # of this backward pass


class How(NamedTuple):
    """What says how the logits are judged, besides tensors: in the order of the operations."""

    ignore_index: int
    reduction: str
    label_smoothing: float
    z_loss: float


def cross_entropy(
    x: Tensor,
    target: Tensor,
    *,
    axis: Axis = -1,
    dim: Axis = None,
    where: Tensor | None = None,
    weight: Tensor | None = None,
    sample_weight: Tensor | None = None,
    ignore_index: int = -100,
    reduction: Reduction = "mean",
    label_smoothing: float = 0.0,
    z_loss: float = 0.0,
    return_lse: bool = False,
) -> Any:
    """Compute the cross-entropy between the softmax of logits and a target.

    The arguments mean what they do in `smcore.cross_entropy`, and, but for the axis of the classes,
    in ``torch.nn.functional.cross_entropy``: the classes lie along the last axis by default, where
    PyTorch has them along the second.

    Where the logits require a gradient it is computed at once, in the same pass as the loss.

    Parameters
    ----------
    x : torch.Tensor
        The logits, K classes along `axis`.
    target : torch.Tensor
        Either labels 0 to K-1, integers of any width, in the shape of `x` without `axis`; or
        probabilities, floats in the shape of `x`. It must not require a gradient.
    axis, dim : int, tuple of ints or None, default -1
        The axis of the classes, by either name.
    where : torch.Tensor of bool, optional
        Which classes take part in each row, broadcastable to `x`. A row is judged as if it had
        these alone.
    weight : torch.Tensor, shape (K,), optional
        A factor for each class. The mean divides by the summed weights of the labels counted.
    sample_weight : torch.Tensor, optional
        A factor for each row's loss, at least 0: in the shape of `x` without `axis`, or
        broadcastable to it. A row of weight 0 does not count.
    ignore_index : int, default -100
        Rows with this label do not count: their loss and gradient are 0.
    reduction : {"mean", "sum", "none"}, default "mean"
        What becomes of the rows' losses.
    label_smoothing : float, default 0.0
        The share, in [0, 1], of the target that is spread evenly over the classes.
    z_loss : float, default 0.0
        A factor, at least 0: ``z_loss * lse**2`` is added to the loss of each row that counts.
    return_lse : bool, default False
        Whether to return the logsumexp of each row, too.

    Returns
    -------
    loss : torch.Tensor
        In the dtype of `x`: a number, or with ``reduction="none"`` one for each row.
    lse : torch.Tensor
        The logsumexp of each row's logits. Only with ``return_lse=True``.

    Raises
    ------
    TypeError
        If an argument is no tensor where one is wanted, a tensor has the wrong dtype or is not
        dense, or both `axis` and `dim` are given.
    ValueError
        If a tensor is not on the CPU, a constant requires a gradient, or an argument has a value or
        a shape that `smcore.cross_entropy` refuses.
    numpy.exceptions.AxisError
        If `x` has no such axis.

    See Also
    --------
    smcore.cross_entropy : The same for arrays; the formulas are there.
    linear_cross_entropy : From the layer before.

    Examples
    --------
    >>> import torch
    >>> from smcore.torch import cross_entropy
    >>> x = torch.tensor([[1.0, 2.0, 3.0], [0.0, 0.0, 0.0]], requires_grad=True)
    >>> loss = cross_entropy(x, torch.tensor([2, -100]))
    >>> loss.backward()
    >>> x.grad
    tensor([[ 0.0900,  0.2447, -0.3348],
            [ 0.0000,  0.0000,  0.0000]])
    """
    x = checked_float(x, "x")
    dims = checked_dims(x.ndim, axis, dim)
    constants = checked_constants(x.shape, dims, target, where, weight, sample_weight)
    with_grad = torch.is_grad_enabled() and x.requires_grad
    how = How(ignore_index, reduction, label_smoothing, z_loss)
    loss, lse, _ = _cross_entropy(x, *constants, dims, *how, with_grad)
    return (loss, lse) if return_lse else loss


class Constants(NamedTuple):
    """The tensors that say how the logits are judged, in the order of the operations."""

    target: Tensor
    where: Tensor | None
    weight: Tensor | None
    sample_weight: Tensor | None  # with the axes of a row at length 1


def checked_constants(
    shape: tuple[int, ...],
    dims: Dims,
    target: Tensor,
    where: Tensor | None,
    weight: Tensor | None,
    sample_weight: Tensor | None,
) -> Constants:
    """Judge the tensors beside logits of this shape."""
    checked_constant(target, "target")
    if target.dtype is torch.bool or (target.is_floating_point() and target.shape != shape):
        raise TypeError(
            f"target must hold labels as integers, or a probability for each of the logits, of "
            f"shape {tuple(shape)}; found {target.dtype} of shape {tuple(target.shape)}; "
            f"pass labels as target.long().reshape({without(shape, dims)})"
        )
    if where is not None:
        checked_constant(where, "where")
    if weight is not None:
        checked_constant(weight, "weight")
    if sample_weight is not None:
        checked_constant(sample_weight, "sample_weight")
        sample_weight = checked_by_row(sample_weight, "sample_weight", shape, dims)
    return Constants(target, where, weight, sample_weight)


def keywords_of(constants: Constants, how: Any) -> dict[str, Any]:
    """Return the arguments of a loss in `smcore` that have the same names there."""
    keywords = dict(zip(How._fields, how, strict=True), return_lse=True)
    _, where, weight, sample_weight = constants
    if where is not None:
        keywords["where"] = array_of(where)
    if weight is not None:
        keywords["weight"] = array_of(weight)
    if sample_weight is not None:
        keywords["sample_weight"] = array_of(sample_weight)
    return keywords


# ---- the operation -----------------------------------------------------------------------------


def _kernel(x: Tensor, *rest: Any) -> tuple[Tensor, Tensor, Tensor]:
    """Return loss, logsumexp of the rows, and the gradient, or nothing in its place."""
    constants, dims, how, with_grad = _parts(rest)
    a, target = array_of(x), array_of(constants.target)
    keywords = keywords_of(constants, how)
    if with_grad:
        loss, dx, lse = smcore.cross_entropy_with_grad(
            a, target, axis=axis_of(dims), out=room_like(x, a), **keywords
        )
        return tensor_of(loss), tensor_of(lse), tensor_of(dx)
    loss, lse = smcore.cross_entropy(a, target, axis=axis_of(dims), **keywords)
    return tensor_of(loss), tensor_of(lse), x.new_empty(0)


def _parts(rest: tuple[Any, ...]) -> tuple[Constants, Dims, How, bool]:
    """Return the arguments of the operation after the logits."""
    *constants, dims, ignore_index, reduction, label_smoothing, z_loss, with_grad = rest
    how = How(ignore_index, reduction, label_smoothing, z_loss)
    return Constants(*constants), dims, how, with_grad


def _fake(x: Tensor, *rest: Any) -> tuple[Tensor, Tensor, Tensor]:
    _, dims, how, with_grad = _parts(rest)
    lead = without(x.shape, dims)
    loss = x.new_empty(lead if how.reduction == "none" else ())
    return loss, x.new_empty(lead), x.new_empty(x.shape if with_grad else 0)


def _setup(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    x, *rest = inputs
    constants, ctx.dims, ctx.how, ctx.with_grad = _parts(tuple(rest))
    _, lse, dx = output
    ctx.save_for_backward(x, *constants, lse, dx)
    ctx.set_materialize_grads(False)


def _backward(
    ctx: Any, g_loss: Tensor | None, g_lse: Tensor | None, g_dx: Tensor | None
) -> tuple[Any, ...]:
    x, *constants, lse, dx = ctx.saved_tensors
    judged = (Constants(*constants), ctx.dims, ctx.how)
    found = logit_gradient(x, *judged, g_loss, g_lse, lse, dx if ctx.with_grad else None)
    if g_dx is not None and ctx.with_grad:
        product = _hessian_product(x, g_dx, *judged)
        found = product if found is None else found + product
    return (found,)


def logit_gradient(
    x: Tensor,
    constants: Constants,
    dims: Dims,
    how: How,
    g_loss: Tensor | None,
    g_lse: Tensor | None,
    lse: Tensor,
    dx: Tensor | None = None,
) -> Tensor | None:
    """Return what comes back to the logits by loss and logsumexp; `dx` if it is known."""
    found = None
    if g_loss is not None:
        if dx is None:
            dx = _cross_entropy(x, *constants, dims, *how, True)[2]
        found = times(dx, keep(g_loss, x, dims) if g_loss.ndim else g_loss)
    if g_lse is not None:
        lse, g_lse = keep(lse, x, dims), keep(g_lse, x, dims)
        by_lse = logsumexp_vjp(x, lse, g_lse, constants.where, dims)
        found = by_lse if found is None else found + by_lse
    return found


def times(gradient: Tensor, g: Tensor) -> Tensor:
    """Multiply a gradient by what comes from above: most often by 1, which takes no time."""
    if torch.is_grad_enabled() or not plain(gradient, g):
        return gradient * g
    if g.ndim == 0 and g.item() == 1.0:  # of a graph that is kept, it is wanted again
        return gradient.clone() if _keeps_graph() else gradient
    if gradient.dtype.itemsize == 2:
        return gradient * g
    with np.errstate(all="ignore"):
        return tensor_of(np.multiply(array_of(gradient), array_of(g)))


# ---- second derivatives, and batches, in terms of rows -----------------------------------------


def _row_factors(
    shape: tuple[int, ...], constants: Constants, dims: Dims, how: How
) -> tuple[Tensor, Tensor, Tensor]:
    """Return for each row the factor of its softmax, that of its z-loss, and what it weighs.

    All hold the axes of a row at length 1. The mean divides by the sum of what the rows weigh. They
    are float64, in which no such sum is out of range.
    """
    target, where, weight, sample_weight = constants
    dtype = torch.float64
    ndim, K = len(shape), math.prod(shape[d] for d in dims)
    weights = target.new_ones(K, dtype=dtype) if weight is None else weight.to(dtype)
    by_class = weights.reshape([shape[i] if i - ndim in dims else 1 for i in range(ndim)])
    even = weights.mean()
    if where is not None:
        part = where.expand(shape).to(dtype)
        even = row_sum(part * by_class, dims) / row_sum(part, dims).clamp(min=1)
    if target.is_floating_point():
        (shares,) = masked(where, target.to(dtype))
        on = row_sum(shares * by_class, dims)
        counts = weighs = torch.ones_like(on)
    else:
        labels = target.reshape(kept(shape, dims)).long()  # or a narrow one equals another modulo
        counts = labels != how.ignore_index
        on = weighs = torch.where(counts, weights[torch.where(counts, labels, 0)], 0)
        counts = counts.to(dtype)
    if sample_weight is not None:
        counts = counts * sample_weight.to(dtype)
        on, weighs = on * sample_weight.to(dtype), weighs * sample_weight.to(dtype)
    return (1 - how.label_smoothing) * on + how.label_smoothing * even * counts, counts, weighs


def _hessian_product(x: Tensor, v: Tensor, constants: Constants, dims: Dims, how: How) -> Tensor:
    """Return how the gradient moves when the logits move along `v`."""
    factors, counts, weighs = _row_factors(x.shape, constants, dims, how)
    if how.reduction == "mean":
        divisor = weighs.sum()
        factors, counts = factors / divisor, counts / divisor
    wide = torch.float32 if x.dtype.itemsize == 2 else x.dtype
    factors, counts = factors.to(wide), counts.to(wide)
    where = constants.where
    s = row_softmax(x, where, None, dims, 1.0)
    product = softmax_vjp(s, v, where, dims, 1.0)
    found = factors * product
    if how.z_loss:
        lse = keep(row_logsumexp(x, where, dims), x, dims)
        along = s * row_sum(s * v, dims)
        found = found + 2 * how.z_loss * counts * (lse * product + along)
    return torch.where(counts == 0, 0, found).to(x.dtype)


def _batch(operation: Operation, info: Any, in_dims: tuple[int | None, ...], *args: Any) -> Any:
    """Judge all rows of a batch at once, each for itself, and reduce them for each of the batch."""
    if in_dims[3] is not None:  # class weights
        return one_by_one(operation, info, in_dims, *args)
    x, *rest = args
    constants, dims, how, with_grad = _parts(tuple(rest))
    B, ndim = info.batch_size, x.ndim - (in_dims[0] is not None)
    x, target = (
        t.expand(B, *t.shape) if d is None else t.movedim(d, 0)
        for t, d in zip(args[:2], in_dims, strict=False)
    )
    where = with_batch_in_front(constants.where, in_dims[2], ndim)
    sample_weight = with_batch_in_front(constants.sample_weight, in_dims[4], ndim)
    if sample_weight is not None and how.reduction == "mean":
        sample_weight = _in_range(sample_weight)
    constants = Constants(target, where, constants.weight, sample_weight)
    by_row = how._replace(reduction="none")
    loss, lse, dx = operation(x, *constants, dims, *by_row, with_grad)
    if how.reduction != "none":
        sums = _batch_sums(loss)
        loss = sums.to(x.dtype)
    if how.reduction == "mean":
        divisor = _batch_sums(_row_factors(x.shape, constants, dims, how)[2])
        loss = (sums / divisor).to(x.dtype)
        if with_grad:  # rows that are ignored have no gradient, not even where no row counts
            wide = torch.float32 if x.dtype.itemsize == 2 else x.dtype
            by_batch = torch.where(divisor == 0, 1, divisor).to(wide)
            dx = (dx / by_batch.reshape(B, *[1] * ndim)).to(x.dtype)
    return (loss, lse, dx if with_grad else x.new_empty((B, 0))), (0, 0, 0)


def _batch_sums(values: Tensor) -> Tensor:
    """Return the sum of the values of each of a batch, where it is not out of range."""
    return values.reshape(len(values), math.prod(values.shape[1:])).sum(1, dtype=torch.float64)


def _in_range(sample_weight: Tensor) -> Tensor:
    """Divide the weights of each of a batch by a power of two, which their mean does not see."""
    wide = sample_weight.to(torch.float64)
    if not wide.numel():
        return wide
    largest = wide.amax(tuple(range(1, wide.ndim)), keepdim=True)
    return torch.ldexp(wide, -torch.frexp(largest).exponent)


_cross_entropy = Operation(
    "cross_entropy(Tensor x, Tensor target, Tensor? where, Tensor? weight, "
    "Tensor? sample_weight, int[] dims, int ignore_index, str reduction, float label_smoothing, "
    "float z_loss, bool with_grad) "
    "-> (Tensor loss, Tensor lse, Tensor dx)",
    _kernel,
    _fake,
    _batch,
    _setup,
    _backward,
)
