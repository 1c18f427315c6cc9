"""Where results go: into `out`, checked, or into new memory.

Which of the two a kernel may write depends on the backend: the NumPy one wants memory between its
writes.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from . import _memory
from ._arrays import Array, DType, as_array, check_shape, usable
from ._backend import kernels

__all__ = ["as_matrices", "as_output", "check_output", "deliver", "dense"]


_SURELY_FITS = 1 << 26  # bytes: too few to ask the system about


def as_output(out: Array | None, like: Array, shape: tuple[int, ...]) -> Array:
    """Return the array to compute into, of `like`'s dtype: `out` where kernels can write there.

    Hand it back with `deliver`. The NumPy backend wants memory between its writes, and finds none,
    maybe: it computes beside `out`, which an error leaves as it was.
    """
    if out is not None:
        check_output(out, shape, like.dtype)
        if usable(out) and _never_fail(like.dtype):
            return np.asarray(out)
    return np.empty_like(like, shape=shape)


def as_matrices(out: Array | None, like: Array, shape: tuple[int, ...], instead: str) -> Array:
    """Do the same for matrices in C order; see `dense` for `instead`."""
    if out is not None:
        check_output(out, shape, like.dtype)
        if usable(out) and out.flags.c_contiguous and _never_fail(like.dtype):
            return np.asarray(out)
    return dense(np.empty, shape, like.dtype, instead)


def _never_fail(dtype: DType) -> bool:
    """Whether kernels for that dtype are compiled."""
    return kernels(dtype).NAME == "native"


def dense(
    make: Callable[[tuple[int, ...], DType], Array],
    shape: tuple[int, ...],
    dtype: DType,
    instead: str,
) -> Array:
    """Return ``make(shape, dtype)``; raise, before any of it is written, if it cannot be held.

    The error names `instead`: what does the same without a matrix.
    """
    size = math.prod(shape) * dtype.itemsize
    try:
        if size > _SURELY_FITS and size > _memory.available():
            raise MemoryError
        return make(shape, dtype)
    except MemoryError:
        raise MemoryError(
            f"a dense matrix of shape {shape} and dtype {dtype} takes {size / 2**30:,.1f} GiB, "
            f"which cannot be had; without the matrix: {instead}"
        ) from None


def check_output(out: Array, shape: tuple[int, ...], dtype: DType) -> None:
    """Raise unless `out` is an array that a result of this shape and dtype may be written into."""
    if not isinstance(out, np.ndarray):
        raise TypeError(f"out must be a numpy.ndarray; found {type(out).__name__}")
    as_array(out, "out", "out.data")
    if out.dtype != dtype and out.dtype.newbyteorder("=") != dtype:
        raise TypeError(f"out must have dtype {dtype}; found {out.dtype}")
    check_shape(out, shape, "out")
    if not out.flags.writeable:
        raise ValueError("out must be writeable; found a read-only array")
    if _overlaps_itself(out):
        raise ValueError(
            "out must not overlap itself, as a broadcast array does; "
            f"found shape {out.shape} with strides {out.strides}"
        )


def deliver(result: Array, out: Array | None) -> Array:
    """Return `out`, filled, or `result` itself: a NumPy scalar where it is 0-d."""
    if out is None:
        value: Array = result[()] if result.ndim == 0 else result
        return value
    if not np.may_share_memory(result, out):
        out[...] = result
    return out


def _overlaps_itself(array: Array) -> bool:
    reach = array.itemsize  # bytes spanned by the axes seen so far, from the innermost outwards
    for stride, length in sorted(zip(map(abs, array.strides), array.shape, strict=True)):
        if length > 1 and stride < reach:
            return array.size > 0
        reach += stride * (length - 1)
    return False
