"""NumPy's memory, of which the n-th piece asked for cannot be had.

The allocator is that of NumPy's C interface (NEP 49), made here from functions of Python.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

_SET_HANDLER = 304  # places in the table of NumPy's C interface
_DEFAULT_HANDLER = 306
_NAME = b"mem_handler"
_LEAST = 64  # bytes: numbers are left alone, for want of which NumPy's own copying may crash

_ARGUMENTS = {
    "malloc": (ctypes.c_void_p, ctypes.c_size_t),
    "calloc": (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_size_t),
    "realloc": (ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t),
}


class _Handler(ctypes.Structure):
    _fields_ = (
        ("name", ctypes.c_char * 127),
        ("version", ctypes.c_uint8),
        ("context", ctypes.c_void_p),
        *((name, ctypes.c_void_p) for name in (*_ARGUMENTS, "free")),
    )


def _table() -> ctypes.Array[ctypes.c_void_p]:
    get = ctypes.pythonapi.PyCapsule_GetPointer
    get.restype, get.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
    address = get(np._core._multiarray_umath._ARRAY_API, None)
    return (ctypes.c_void_p * (_DEFAULT_HANDLER + 1)).from_address(address)


class Handler:
    """Takes the place of NumPy's own functions for memory while it is in use."""

    def __init__(self) -> None:
        table = _table()
        get = ctypes.pythonapi.PyCapsule_GetPointer
        default = ctypes.cast(table[_DEFAULT_HANDLER], ctypes.POINTER(ctypes.py_object))[0]
        own = _Handler.from_address(get(default, _NAME))
        # Held as long as the process: arrays made meanwhile are freed by it.
        self._handler = _Handler(b"tests", own.version, own.context, *self._pointers(own))
        new = ctypes.pythonapi.PyCapsule_New
        new.restype = ctypes.py_object
        new.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p]
        self._capsule = new(ctypes.addressof(self._handler), _NAME, None)
        self._set = ctypes.PYFUNCTYPE(ctypes.py_object, ctypes.py_object)(table[_SET_HANDLER])

    def _pointers(self, own: _Handler) -> Iterator[Any]:
        """malloc, calloc, realloc, free."""
        raise NotImplementedError

    @contextmanager
    def in_use(self) -> Iterator[None]:
        """Make all arrays of the block with it."""
        former = self._set(self._capsule)
        try:
            yield
        finally:
            self._set(former)


class Allocator(Handler):
    """Counts what is asked of NumPy's own allocator, and fails once: at request `fail_at`."""

    def __init__(self) -> None:
        self.requests = self.fail_at = 0
        super().__init__()

    def _pointers(self, own: _Handler) -> Iterator[Any]:
        self._requests = {name: self._request(name, own) for name in _ARGUMENTS}
        yield from (ctypes.cast(f, ctypes.c_void_p) for f in self._requests.values())
        yield own.free  # in C

    def _request(self, name: str, own: _Handler) -> Any:
        """Return what takes the place of one of NumPy's functions, which want the GIL held."""
        signature = ctypes.PYFUNCTYPE(ctypes.c_void_p, *_ARGUMENTS[name])
        function = signature(getattr(own, name))

        def request(*arguments: int) -> int | None:
            size = arguments[-1] * (arguments[1] if name == "calloc" else 1)
            counts = size >= _LEAST
            self.requests += counts
            return None if counts and self.requests == self.fail_at else function(*arguments)

        return signature(request)

    @contextmanager
    def failing_at(self, request: int) -> Iterator[None]:
        """Fail at that request of the block; 0 is none."""
        self.requests, self.fail_at = 0, request
        with self.in_use():
            try:
                yield
            finally:
                self.fail_at = 0


ALLOCATOR = Allocator()
