"""Arrays as rows for the C API, and room for results: what compiled code does itself.

Names without a body are for compiled code alone; what they do depends on types.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba.cpython.unsafe import tuple as tuples

from ._judge import jitable, serves, value_of

__all__ = [
    "address",
    "blocks_of",
    "first",
    "normalized",
    "number_of",
    "room",
    "rows_of",
    "values_of",
    "whole",
]

set_item: Any = tuples.tuple_setitem


def address(x: Any) -> Any: ...
def room(x: Any, out: Any) -> Any: ...
def values_of(x: Any, axis: Any) -> Any: ...


@serves(address)
def _type_address(x: Any) -> Any:
    """Return the address of an array; 0 for None.

    For an array that is an argument: Numba lets go of a variable after its last use, which this
    may be.
    """
    if value_of(x) is None:
        return lambda x: 0
    return lambda x: np.intp(x.ctypes.data)


@serves(room)
def _type_room(x: Any, out: Any) -> Any:
    """Return where a result like x goes."""
    if value_of(out) is None:
        return lambda x, out: np.empty(x.shape, x.dtype)

    def given(x: Any, out: Any) -> Any:
        if out.shape != x.shape:
            raise ValueError("out must have the shape of the result")
        return out

    return given


@jitable
def rows_of(x: Any, out: Any) -> Any:
    """Return x C-contiguous, and apart from `out` unless it has the same memory."""
    rows = np.ascontiguousarray(x)
    start, other, size = address(rows), address(out), rows.size * rows.itemsize
    if start != other and start < other + size and other < start + size:
        return rows.copy()
    return rows


@jitable
def normalized(x: Any, axis: int) -> int:
    """Return the axis counted from the first."""
    if axis < -x.ndim or axis >= x.ndim:
        raise ValueError("axis is out of bounds for the array")
    return axis + x.ndim if axis < 0 else axis


@jitable
def blocks_of(x: Any, axis: int) -> tuple[int, int, int, int, int]:
    """Return how many blocks there are, n and k of each, and the strides of rows in it."""
    axis = normalized(x, axis)
    outer, inner = 1, 1
    for i in range(x.ndim):
        if i < axis:
            outer *= x.shape[i]
        elif i > axis:
            inner *= x.shape[i]
    k = x.shape[axis]
    if inner == 1:
        return 1, outer, k, k, 1
    return outer, inner, k, 1, inner


@serves(values_of)
def _type_values(x: Any, axis: Any) -> Any:
    """Return room for a value for each row: in the shape without the axis, or (1,)."""
    if x.ndim == 1:
        return lambda x, axis: np.empty(1, x.dtype)

    def lead(x: Any, axis: int) -> Any:
        shape = x.shape[1:]
        for i in range(normalized(x, axis)):
            shape = set_item(shape, i, x.shape[i])
        return np.empty(shape, x.dtype)

    return lead


@jitable
def first(values: Any) -> Any:
    """Return the value of the only row."""
    return values[0]


@jitable
def whole(values: Any) -> Any:
    """Return the values of several."""
    return values


@jitable
def number_of(x: Any) -> Any:
    """Return the number of the dtype in the API."""
    return np.int32(0 if x.itemsize == 4 else 1)
