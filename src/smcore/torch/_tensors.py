"""Tensors as NumPy sees them, and back; and the only place where tensors are judged."""

from __future__ import annotations

import operator
from typing import Any, SupportsIndex

import numpy as np
import torch

from .._arrays import Array, Axis

__all__ = [
    "Dims",
    "array_of",
    "axis_of",
    "checked_by_row",
    "checked_constant",
    "checked_dims",
    "checked_float",
    "checked_tensor",
    "keep",
    "kept",
    "masked",
    "room_like",
    "row_sum",
    "scaled",
    "tensor_of",
    "without",
]

Tensor = Any  # torch.Tensor: where types are checked there need not be a PyTorch
Dims = tuple[int, ...]  # the axes of a row, counted from the end: more in front do not matter

_FLOATS = frozenset((torch.float32, torch.float64, torch.float16, torch.bfloat16))
_UNSET = -1  # the default of `axis`, by which one that was given is known


# ---- to NumPy and back -------------------------------------------------------------------------


def array_of(tensor: Tensor | None) -> Any:
    """Return a view of the tensor's memory (a copy of one whose negation is still to be done)."""
    if tensor is None:
        return None
    if tensor.dtype is torch.bfloat16:
        return tensor.detach().view(torch.int16).numpy().view(_bfloat16())
    return tensor.numpy(force=True)  # as detach(), in one call


def tensor_of(result: Array) -> Tensor:
    """Return a tensor on the memory of a result, an array or a scalar of NumPy.

    NumPy's allocator asks for huge pages where PyTorch's does not: large results come three times
    as fast as into memory of PyTorch's.
    """
    array: Array = np.asarray(result)
    if array.dtype.kind == "V":  # bfloat16
        return torch.from_numpy(array.view(np.int16)).view(torch.bfloat16)
    return torch.from_numpy(array)


def room_like(tensor: Tensor, array: Array) -> Array | None:
    """Return where a result like `array` is to be written: C-contiguous, as `empty_like` says."""
    return None if tensor.is_contiguous() else np.empty(array.shape, array.dtype)


def scaled(array: Array, factor: float | Array) -> Array:
    """Multiply a result of ours in place."""
    with np.errstate(all="ignore"):
        product = np.asarray(array)
        product *= np.asarray(factor, product.dtype)
        return product


def _bfloat16() -> Any:
    try:
        import ml_dtypes
    except ModuleNotFoundError:
        raise ImportError(
            "tensors of bfloat16 need ml_dtypes, which gives NumPy that dtype: "
            "pip install ml_dtypes, or pass x.float()"
        ) from None
    return ml_dtypes.bfloat16


# ---- rows --------------------------------------------------------------------------------------


def checked_dims(ndim: int, axis: Axis, dim: Axis) -> Dims:
    """Return the axes of a row, given as `axis` or as `dim`, from the end and in order."""
    if dim is not None:
        if axis != _UNSET:
            raise TypeError(f"give axis or dim, not both; found axis={axis!r} and dim={dim!r}")
        axis = dim
    if axis == -1:  # of a number, the whole of it
        return (-1,) if ndim else ()
    if axis is None:
        return tuple(range(-ndim, 0))
    given = axis if isinstance(axis, tuple | list) else (axis,)
    if ndim == 0 and len(given) == 1 and _index(given[0]) in (0, -1):
        return ()
    found = []
    for each in map(_index, given):
        if not -ndim <= each < ndim:
            raise np.exceptions.AxisError(each, ndim)
        found.append(each if each < 0 else each - ndim)
    if len(set(found)) != len(found):
        raise ValueError(f"axis must not name an axis twice; found {axis!r}")
    return tuple(sorted(found))


def _index(axis: SupportsIndex) -> int:
    try:
        return operator.index(axis)
    except TypeError:
        raise TypeError(
            f"axis must be an integer, a tuple of integers or None; found {axis!r}"
        ) from None


def axis_of(dims: Dims) -> Axis:
    """Return the argument `axis` of `smcore`."""
    return dims[0] if len(dims) == 1 else tuple(dims)


def kept(shape: tuple[int, ...], dims: Dims) -> tuple[int, ...]:
    """Return the shape with the axes of a row at length 1."""
    return tuple(1 if i - len(shape) in dims else size for i, size in enumerate(shape))


def without(shape: tuple[int, ...], dims: Dims) -> tuple[int, ...]:
    """Return the shape without the axes of a row."""
    return tuple(size for i, size in enumerate(shape) if i - len(shape) not in dims)


def keep(values: Tensor, x: Tensor, dims: Dims) -> Tensor:
    """Return one value for each row of `x` in a shape that broadcasts against it."""
    return values.reshape(kept(x.shape, dims))


def row_sum(terms: Tensor, dims: Dims) -> Tensor:
    """Return the sums of rows, as axes of length 1 (of no axes: PyTorch would take all)."""
    return terms.sum(dims, keepdim=True) if dims else terms


def masked(where: Tensor | None, *tensors: Tensor) -> tuple[Tensor, ...]:
    """Return tensors with 0 for what takes no part, which may be anything."""
    return tensors if where is None else tuple(torch.where(where, t, 0) for t in tensors)


# ---- what is served ----------------------------------------------------------------------------


def checked_tensor(value: Any, name: str) -> Tensor:
    """Return the argument `name`, a dense tensor on the CPU, or a meta tensor."""
    if not isinstance(value, torch.Tensor):
        raise TypeError(
            f"{name} must be a torch.Tensor; found {type(value).__name__}; pass "
            f"torch.as_tensor({name}), or use the function of this name in smcore"
        )
    if not (value.is_cpu or value.is_meta):
        raise ValueError(
            f"{name} must be on the CPU, where smcore computes; found device {value.device}; pass "
            f"{name}.cpu(), or use PyTorch's own function on that device"
        )
    if value.layout is not torch.strided or value.is_nested or value.is_quantized:
        kind = (
            "nested"
            if value.is_nested
            else str(value.dtype if value.is_quantized else value.layout)
        )
        remedy = "dequantize()" if value.is_quantized else "to_dense()"
        if value.is_nested:
            remedy = "to_padded_tensor(0.0), with where= for what is no padding,"
        raise TypeError(f"{name} must be dense; found a {kind} tensor; pass {name}.{remedy}")
    return value


def checked_float(value: Any, name: str, dtype: Any = None) -> Tensor:
    """Return the argument `name`, a tensor of floats: converted to `dtype`, if there is one."""
    tensor = checked_tensor(value, name)
    if dtype is not None:
        if dtype not in _FLOATS:
            raise TypeError(
                f"dtype must be torch.float16, bfloat16, float32 or float64; found {dtype!r}"
            )
        if not tensor.is_complex():
            tensor = tensor.to(dtype)
    if tensor.dtype not in _FLOATS:
        raise TypeError(
            f"{name} must hold float16, bfloat16, float32 or float64; found {tensor.dtype}"
            + ("" if tensor.is_complex() else f"; pass {name}.to(torch.float64)")
        )
    return tensor


def checked_by_row(value: Tensor, name: str, shape: tuple[int, ...], dims: Dims) -> Tensor:
    """Return the argument `name`, one number for each row, with the axes of a row at length 1."""
    whole, lead = kept(shape, dims), without(shape, dims)
    try:
        return value.expand(whole if value.ndim == len(whole) else lead).reshape(whole)
    except RuntimeError:
        raise ValueError(
            f"{name} must have shape {lead} or {whole}, or broadcast to it; "
            f"found {tuple(value.shape)}"
        ) from None


def checked_constant(value: Any, name: str) -> Tensor:
    """Return the argument `name`, a tensor that the loss is not differentiated by."""
    tensor = checked_tensor(value, name)
    if tensor.requires_grad and torch.is_grad_enabled():
        raise ValueError(
            f"{name} must not require a gradient: there is none by it; pass {name}.detach()"
        )
    return tensor
