"""Softmax and its logarithm."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

import smcore

from .._arrays import Axis
from ._operation import Operation, by_rows, like_first
from ._tensors import (
    Dims,
    Tensor,
    array_of,
    axis_of,
    checked_by_row,
    checked_dims,
    checked_float,
    checked_tensor,
    masked,
    room_like,
    row_sum,
    scaled,
    tensor_of,
)

__all__ = [
    "log_softmax",
    "row_softmax",
    "softmax",
    "softmax_vjp",
]


def softmax(
    x: Tensor,
    axis: Axis = -1,
    *,
    dim: Axis = None,
    where: Tensor | None = None,
    scale: float | Tensor = 1.0,
    dtype: Any = None,
) -> Tensor:
    """Compute the softmax of each row, as `smcore.softmax` does.

    Parameters
    ----------
    x : torch.Tensor
        Floats, of any shape.
    axis, dim : int, tuple of ints or None, default -1
        The axis along which a row lies, by either name. Several axes make one row together;
        ``axis=None`` takes all.
    where : torch.Tensor of bool, optional
        Which entries take part, broadcastable to `x`. The others are never looked at, and get 0.
    scale : float or torch.Tensor, default 1.0
        Compute ``softmax(scale * x)``. A tensor has one number for each row: its shape is, or
        broadcasts to, that of `x` without `axis`, or with `axis` kept at length 1. It may require a
        gradient, as a temperature that is learnt does.
    dtype : torch.dtype, optional
        What `x` is converted to first.

    Returns
    -------
    torch.Tensor
        Contiguous, of the shape of `x`. float16 and bfloat16 are computed in float32.

    Raises
    ------
    TypeError
        If an argument is no tensor where one is wanted, `x` holds no floats, a tensor is not dense,
        or both `axis` and `dim` are given.
    ValueError
        If a tensor is not on the CPU, or `where` or `scale` has the wrong shape.
    numpy.exceptions.AxisError
        If `x` has no such axis.

    See Also
    --------
    smcore.softmax : The same for arrays; values at the edges are described there.

    Examples
    --------
    >>> import torch
    >>> from smcore.torch import softmax
    >>> softmax(torch.tensor([[0.0, 1.0], [0.0, 1.0]]), dim=0)
    tensor([[0.5000, 0.5000],
            [0.5000, 0.5000]])
    """
    return _normalized(row_softmax, x, axis, dim, where, scale, dtype)


def log_softmax(
    x: Tensor,
    axis: Axis = -1,
    *,
    dim: Axis = None,
    where: Tensor | None = None,
    scale: float | Tensor = 1.0,
    dtype: Any = None,
) -> Tensor:
    """Compute the logarithm of the softmax of each row, as `smcore.log_softmax` does.

    Parameters
    ----------
    x : torch.Tensor
        Floats, of any shape.
    axis, dim : int, tuple of ints or None, default -1
        The axis along which a row lies, by either name. Several axes make one row together;
        ``axis=None`` takes all.
    where : torch.Tensor of bool, optional
        Which entries take part, broadcastable to `x`. The others are never looked at, and get -inf.
    scale : float or torch.Tensor, default 1.0
        Compute ``log_softmax(scale * x)``. A tensor has one number for each row, as in `softmax`.
    dtype : torch.dtype, optional
        What `x` is converted to first.

    Returns
    -------
    torch.Tensor
        Contiguous, of the shape of `x`. float16 and bfloat16 are computed in float32.

    Raises
    ------
    TypeError
        If an argument is no tensor where one is wanted, `x` holds no floats, a tensor is not dense,
        or both `axis` and `dim` are given.
    ValueError
        If a tensor is not on the CPU, or `where` or `scale` has the wrong shape.
    numpy.exceptions.AxisError
        If `x` has no such axis.

    See Also
    --------
    smcore.log_softmax : The same for arrays; values at the edges are described there.

    Examples
    --------
    A sure prediction keeps its small loss:

    >>> import torch
    >>> from smcore.torch import log_softmax
    >>> log_softmax(torch.tensor([0.0, 50.0]))
    tensor([-5.0000e+01, -1.9287e-22])
    """
    return _normalized(_log_softmax, x, axis, dim, where, scale, dtype)


def _normalized(
    operation: Operation,
    x: Tensor,
    axis: Axis,
    dim: Axis,
    where: Tensor | None,
    scale: float | Tensor,
    dtype: Any,
) -> Tensor:
    """Judge the arguments of softmax or log_softmax, and call it."""
    x = checked_float(x, "x", dtype)
    dims = checked_dims(x.ndim, axis, dim)
    if where is not None:
        checked_tensor(where, "where")
    if not isinstance(scale, torch.Tensor):
        return operation(x, where, None, dims, scale)
    scales = checked_by_row(checked_float(scale, "scale"), "scale", x.shape, dims)
    return operation(x, where, scales, dims, 1.0)


# ---- softmax and log_softmax -------------------------------------------------------------------


def _forward(function: Callable[..., Any]) -> Callable[..., Tensor]:
    """Return the kernel of softmax or log_softmax."""

    def kernel(
        x: Tensor, where: Tensor | None, scales: Tensor | None, dims: Dims, scale: float
    ) -> Tensor:
        a = array_of(x)
        result = function(
            a,
            axis_of(dims),
            where=array_of(where),
            scale=scale if scales is None else array_of(scales),
            out=room_like(x, a),
        )
        return tensor_of(result)

    return kernel


def _product(function: Callable[..., Any]) -> Callable[..., Tensor]:
    """Return the kernel of the backward pass of softmax or log_softmax."""

    def kernel(s: Tensor, g: Tensor, where: Tensor | None, dims: Dims, scale: float) -> Tensor:
        a = array_of(s)
        out = room_like(s, a)
        result = function(a, array_of(g), axis_of(dims), where=array_of(where), out=out)
        return tensor_of(result if scale == 1.0 else scaled(result, scale))

    return kernel


def _setup(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    x, where, scales, ctx.dims, ctx.scale = inputs
    x = None if scales is None else x  # the result is enough, unless the scale has a gradient
    ctx.save_for_backward(x, where, scales, output)


def _backward(product: Operation) -> Callable[..., tuple[Any, ...]]:
    """Return the backward pass of softmax or log_softmax, from that of their rows."""

    def backward(ctx: Any, g: Tensor) -> tuple[Any, ...]:
        x, where, scales, result = ctx.saved_tensors
        dz = product(result, g, where, ctx.dims, ctx.scale)
        if scales is None:
            return (dz,)
        dscales = None
        if ctx.needs_input_grad[2]:  # what is left out, or has no share, may be infinite
            terms = dz * torch.nan_to_num(x, 0.0, 0.0, 0.0)
            dscales = row_sum(terms, ctx.dims).to(scales.dtype)
        return (dz * scales).to(x.dtype), None, dscales

    return backward


def _setup_product(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    s, g, where, ctx.dims, ctx.scale = inputs
    ctx.save_for_backward(s, g, where)


def _backward_softmax_vjp(ctx: Any, h: Tensor) -> tuple[Any, ...]:
    """Differentiate ``scale * s * (g - sum(g * s))``."""
    s, g, where = ctx.saved_tensors
    dims, ds = ctx.dims, None
    if ctx.needs_input_grad[0]:
        u, v = masked(where, g, h)
        ds = u * v - v * row_sum(u * s, dims) - u * row_sum(v * s, dims)
        ds = ds if ctx.scale == 1.0 else ctx.scale * ds
    dg = softmax_vjp(s, h, where, dims, ctx.scale) if ctx.needs_input_grad[1] else None
    return ds, dg


def _backward_log_softmax_vjp(ctx: Any, h: Tensor) -> tuple[Any, ...]:
    """Differentiate ``scale * (g - exp(log_s) * sum(g))``."""
    log_s, g, where = ctx.saved_tensors
    u, v = masked(where, g, h)
    terms = v * torch.exp(log_s)
    dlog_s = -terms * row_sum(u, ctx.dims)
    (dg,) = masked(where, v - row_sum(terms, ctx.dims))
    return (dlog_s, dg) if ctx.scale == 1.0 else (ctx.scale * dlog_s, ctx.scale * dg)


softmax_vjp = Operation(
    "softmax_vjp(Tensor s, Tensor g, Tensor? where, int[] dims, float scale) -> Tensor",
    _product(smcore.softmax_vjp),
    like_first,
    by_rows,
    _setup_product,
    _backward_softmax_vjp,
)
_log_softmax_vjp = Operation(
    "log_softmax_vjp(Tensor log_s, Tensor g, Tensor? where, int[] dims, float scale) -> Tensor",
    _product(smcore.log_softmax_vjp),
    like_first,
    by_rows,
    _setup_product,
    _backward_log_softmax_vjp,
)
row_softmax = Operation(
    "softmax(Tensor x, Tensor? where, Tensor? scales, int[] dims, float scale) -> Tensor",
    _forward(smcore.softmax),
    like_first,
    by_rows,
    _setup,
    _backward(softmax_vjp),
)
_log_softmax = Operation(
    "log_softmax(Tensor x, Tensor? where, Tensor? scales, int[] dims, float scale) -> Tensor",
    _forward(smcore.log_softmax),
    like_first,
    by_rows,
    _setup,
    _backward(_log_softmax_vjp),
)
