"""The same values, copied into memory laid out in every way NumPy allows."""

from __future__ import annotations

import ctypes
import mmap
from pathlib import Path
from typing import Any

import numpy as np

Array = np.ndarray[Any, np.dtype[Any]]

CANARY = 77


def owner_bytes(a: Array) -> Array:
    """All the memory that `a` is a view into, as bytes."""
    while isinstance(a.base, np.ndarray):
        a = a.base
    return np.ndarray(a.nbytes, np.uint8, a.T if a.flags.f_contiguous else a)


def c_order(a: Array) -> Array:
    """Plain."""
    return np.array(a, order="C")


def fortran_order(a: Array) -> Array:
    """First axis fastest."""
    return np.array(a, order="F")


def strided(a: Array) -> Array:
    """Every axis steps over two elements."""
    space = np.full([2 * n + 1 for n in a.shape], CANARY, a.dtype)
    view = space[tuple(slice(0, 2 * n, 2) for n in a.shape)]
    view[...] = a
    return view


def reversed_(a: Array) -> Array:
    """Every axis runs backwards."""
    everywhere = (slice(None, None, -1),) * a.ndim
    return np.array(a[everywhere], order="C")[everywhere]


def inner_slice(a: Array) -> Array:
    """Contiguous rows, apart from each other, inside a larger array."""
    space = np.full([n + 3 for n in a.shape], CANARY, a.dtype)
    view = space[tuple(slice(1, 1 + n) for n in a.shape)]
    view[...] = a
    return view


def offset(a: Array) -> Array:
    """Contiguous, one element past where the allocator aligns."""
    space = np.full(a.size + 1, CANARY, a.dtype)
    view = space[1:].reshape(a.shape)
    view[...] = a
    return view


def unaligned(a: Array) -> Array:
    """One byte past an element's alignment."""
    space = np.zeros(a.nbytes + 1, np.uint8)
    view = space[1:].view(a.dtype).reshape(a.shape)
    view[...] = a
    return view


def byte_swapped(a: Array) -> Array:
    """The other machine's byte order (bfloat16 has none)."""
    if a.dtype.name == "bfloat16":
        return a.copy()
    return a.astype(a.dtype.newbyteorder("S"))


def read_only(a: Array) -> Array:
    """Not to be written."""
    copy = a.copy()
    copy.flags.writeable = False
    return copy


def guarded(a: Array, *, at_end: bool) -> Array:
    """Up against a page that must not be touched: a byte read or written beyond `a` is a crash."""
    page = mmap.PAGESIZE
    middle = -(-max(a.nbytes, 1) // page) * page
    memory = np.frombuffer(mmap.mmap(-1, middle + 2 * page), np.uint8)
    protect = ctypes.CDLL(None, use_errno=True).mprotect
    protect.argtypes = ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int
    for start in (0, middle + page):
        if protect(memory.ctypes.data + start, page, 0):
            raise OSError(ctypes.get_errno(), "mprotect")
    start = page + (middle - a.nbytes if at_end else 0)
    view = memory[start : start + a.nbytes].view(a.dtype).reshape(a.shape)
    view[...] = a
    return view


INPUTS = {
    f.__name__.strip("_"): f
    for f in (
        c_order,
        fortran_order,
        strided,
        reversed_,
        inner_slice,
        offset,
        unaligned,
        byte_swapped,
        read_only,
    )
}
OUTPUTS = {name: f for name, f in INPUTS.items() if name != "read_only"}


def memmap(a: Array, path: Path) -> Array:
    """A file, mapped for reading only."""
    writable = np.memmap(path, a.dtype, "w+", shape=a.shape or (1,))
    writable[...] = a
    writable.flush()
    del writable
    return np.memmap(path, a.dtype, "r", shape=a.shape or (1,)).reshape(a.shape)
