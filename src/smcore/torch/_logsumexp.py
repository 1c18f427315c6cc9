"""The logarithm of the sum of exponentials."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

import smcore

from .._arrays import Axis
from ._operation import Operation, by_rows, like_first
from ._tensors import (
    Dims,
    Tensor,
    array_of,
    axis_of,
    checked_dims,
    checked_float,
    checked_tensor,
    keep,
    kept,
    masked,
    room_like,
    row_sum,
    tensor_of,
    without,
)

__all__ = ["logsumexp", "logsumexp_vjp", "row_logsumexp"]


def logsumexp(
    x: Tensor,
    axis: Axis = -1,
    *,
    dim: Axis = None,
    where: Tensor | None = None,
    keepdims: bool = False,
    dtype: Any = None,
) -> Tensor:
    """Compute the logarithm of the sum of the exponentials of each row, as `smcore.logsumexp` does.

    Parameters
    ----------
    x : torch.Tensor
        Floats, of any shape.
    axis, dim : int, tuple of ints or None, default -1
        The axis along which a row lies, by either name. Several axes make one row together;
        ``axis=None`` takes all.
    where : torch.Tensor of bool, optional
        Which entries take part, broadcastable to `x`. The others are never looked at.
    keepdims : bool, default False
        Keep the axes summed over, at length 1.
    dtype : torch.dtype, optional
        What `x` is converted to first.

    Returns
    -------
    torch.Tensor
        The shape of `x` without the axes. -inf for a row without entries.

    Raises
    ------
    TypeError
        If an argument is no tensor where one is wanted, `x` holds no floats, a tensor is not dense,
        or both `axis` and `dim` are given.
    ValueError
        If a tensor is not on the CPU, or `where` has the wrong shape.
    numpy.exceptions.AxisError
        If `x` has no such axis.

    See Also
    --------
    smcore.logsumexp : The same for arrays, with factors and signs as well.

    Examples
    --------
    >>> import torch
    >>> from smcore.torch import logsumexp
    >>> logsumexp(torch.tensor([[1000.0, 1000.0], [0.0, 0.0]]), keepdims=True)
    tensor([[1.0007e+03],
            [6.9315e-01]])
    """
    x = checked_float(x, "x", dtype)
    dims = checked_dims(x.ndim, axis, dim)
    if where is not None:
        checked_tensor(where, "where")
    lse = row_logsumexp(x, where, dims)
    return keep(lse, x, dims) if keepdims else lse


def _lse_kernel(x: Tensor, where: Tensor | None, dims: Dims) -> Tensor:
    result = smcore.logsumexp(array_of(x), axis_of(dims), where=array_of(where))
    return tensor_of(result)


def _lse_fake(x: Tensor, where: Tensor | None, dims: Dims) -> Tensor:
    return x.new_empty(without(x.shape, dims))


def _lse_setup(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    x, where, ctx.dims = inputs
    ctx.save_for_backward(x, where, output)


def _lse_backward(ctx: Any, g: Tensor) -> tuple[Any, ...]:
    x, where, lse = ctx.saved_tensors
    lse, g = keep(lse, x, ctx.dims), keep(g, x, ctx.dims)
    return (logsumexp_vjp(x, lse, g, where, ctx.dims),)


def _lse_product(x: Tensor, lse: Tensor, g: Tensor, where: Tensor | None, dims: Dims) -> Tensor:
    a, mask = array_of(x), array_of(where)
    out, whole = room_like(x, a), kept(a.shape, dims)
    values = (array_of(t) for t in (lse, g))
    lse, g = (v if v.shape == whole else np.broadcast_to(v, whole) for v in values)
    return tensor_of(smcore.logsumexp_vjp(a, lse, g, axis_of(dims), where=mask, out=out))


def _lse_setup_product(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    x, lse, g, where, ctx.dims = inputs
    ctx.save_for_backward(x, lse, g, where)


def _lse_backward_product(ctx: Any, h: Tensor) -> tuple[Any, ...]:
    """Differentiate ``exp(x - lse) * g``, where both hold the axes of a row at length 1."""
    x, lse, g, where = ctx.saved_tensors
    (h,) = masked(where, h)
    terms = h * logsumexp_vjp(x, lse, torch.ones_like(g), where, ctx.dims)
    dx = g * terms
    return dx, -row_sum(dx, ctx.dims), row_sum(terms, ctx.dims)


logsumexp_vjp = Operation(
    "logsumexp_vjp(Tensor x, Tensor lse, Tensor g, Tensor? where, int[] dims) -> Tensor",
    _lse_product,
    like_first,
    by_rows,
    _lse_setup_product,
    _lse_backward_product,
)
row_logsumexp = Operation(
    "logsumexp(Tensor x, Tensor? where, int[] dims) -> Tensor",
    _lse_kernel,
    _lse_fake,
    by_rows,
    _lse_setup,
    _lse_backward,
)
