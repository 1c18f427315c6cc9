"""NumPy's memory, each piece of it at the end of a page before one that must not be touched."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from allocator import Handler


class State(ctypes.Structure):
    """guarded_state of `csrc/tests/guarded.c`."""

    _fields_ = tuple((name, ctypes.c_uint64) for name in ("requests", "fail_at", "held", "damaged"))


class GuardedAllocator(Handler):
    """Refuses one request, if told to; counts pieces held, and bytes past their ends written."""

    def __init__(self, library: Path) -> None:
        self.library = ctypes.CDLL(str(library))
        self.state = State.in_dll(self.library, "guarded")
        super().__init__()

    def _pointers(self, own: Any) -> Iterator[Any]:
        for name in ("malloc", "calloc", "realloc", "free"):
            yield ctypes.cast(self.library[f"guarded_{name}"], ctypes.c_void_p)
