"""Memory between pages that must not be touched: a byte read or written beyond it is a crash.

Slots are mapped once and used again.  All of a slot that is no element holds canaries.
"""

from __future__ import annotations

import ctypes
import mmap
import random
from collections import defaultdict
from dataclasses import dataclass
from typing import Any

import numpy as np

Array = np.ndarray[Any, np.dtype[Any]]

PAGE = mmap.PAGESIZE
_PROT_NONE, _READ, _WRITE = 0, 1, 2

_libc = ctypes.CDLL(None, use_errno=True)
_libc.mprotect.argtypes = ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int


def protect(address: int, size: int, mode: int) -> None:
    """Set what may be done to whole pages."""
    if _libc.mprotect(address, size, mode):
        raise OSError(ctypes.get_errno(), "mprotect")


class Slot:
    """Some pages between two of which none may be touched."""

    def __init__(self, pages: int) -> None:
        self.size = pages * PAGE
        self._map = mmap.mmap(-1, self.size + 2 * PAGE)
        self.buffer = np.frombuffer(self._map, np.uint8)
        self.start = self.buffer.ctypes.data + PAGE
        protect(self.start - PAGE, PAGE, _PROT_NONE)
        protect(self.start + self.size, PAGE, _PROT_NONE)
        self.bytes = self.buffer[PAGE:-PAGE]
        self.is_read_only = False

    def set_read_only(self, value: bool) -> None:
        """Let nobody write to it, or anybody."""
        if value != self.is_read_only:
            protect(self.start, self.size, _READ if value else _READ | _WRITE)
            self.is_read_only = value


class Arena:
    """The slots of one call."""

    def __init__(self) -> None:
        self._free: dict[int, list[Slot]] = defaultdict(list)
        self._taken: list[Slot] = []

    def take(self, size: int) -> Slot:
        """Return a slot of at least that many bytes."""
        pages = 1 << max(0, -(-size // PAGE) - 1).bit_length()
        slot = self._free[pages].pop() if self._free[pages] else Slot(pages)
        self._taken.append(slot)
        return slot

    def release(self) -> None:
        """Take all slots back; very large ones are unmapped."""
        for slot in self._taken:
            slot.set_read_only(False)
            if slot.size <= 1 << 24:
                self._free[slot.size // PAGE].append(slot)
        self._taken.clear()


@dataclass(frozen=True)
class Layout:
    """Steps in bytes from row to row and from element to element."""

    name: str
    row: int
    col: int

    def extent(self, n: int, k: int, size: int) -> tuple[int, int]:
        """Where the lowest byte of n rows of k elements lies, and the byte past the highest."""
        if not n:
            return 0, 0
        ends = [(n - 1) * self.row, (k - 1) * self.col]
        return sum(min(0, end) for end in ends), sum(max(0, end) for end in ends) + size


PLACES = ("end", "end", "start", "inside")


class Operand:
    """An array of rows at the edge of a slot."""

    def __init__(
        self, arena: Arena, draw: random.Random, values: Array, layout: Layout, is_output: bool
    ) -> None:
        self.layout, self.is_output = layout, is_output
        n, k = values.shape
        size = values.itemsize
        low, high = layout.extent(n, k, size)
        extent = high - low
        self.place = draw.choice(PLACES)
        shift = draw.randrange(1, 17) * size if self.place == "inside" else 0
        self.slot = slot = arena.take(extent + shift)
        offset = slot.size - extent if self.place == "end" else shift
        slot.bytes.fill(draw.choice((0xFF, 0x4D)))
        self.address = slot.start + offset - low
        strides = (layout.row if n > 1 else 0, layout.col if k > 1 else 0)
        self._view: dict[str, Any] = {
            "shape": values.shape,
            "dtype": values.dtype,
            "offset": offset - low,
            "strides": strides,
        }
        self.array = self.over(slot.bytes)
        if not is_output:
            self.array[...] = values
        self.before = slot.bytes.copy() if is_output else None

    def over(self, memory: Array) -> Array:
        """The same elements in another copy of the slot."""
        return np.ndarray(buffer=memory, **self._view)

    def is_kept_outside(self) -> bool:
        """Whether nothing beside the elements has been written."""
        if self.before is None:
            return True
        self.over(self.before)[...] = self.array
        return np.array_equal(self.before, self.slot.bytes)


def draw_layout(draw: random.Random, n: int, k: int, size: int, is_output: bool) -> Layout:
    """Steps of any kind that the kernels promise to take; those of outputs are injective."""
    gap = draw.choice((1, 1, 2, 3, 16))
    kinds = ["dense"] * 6 + ["columns"] * 5 + ["padded", "gapped", "padded columns", "pages"]
    if not is_output:
        kinds += ["same row", "same column", "windows"]
    kind = draw.choice(kinds)
    row, col = k * size, size
    page = draw.choice((PAGE, PAGE, PAGE // 2, PAGE + size, PAGE - size))
    match kind:
        case "columns":
            row, col = size, n * size
        case "padded":
            row += gap * size
        case "gapped":
            col = (1 + gap) * size
            row = k * col + draw.randrange(3) * size
        case "padded columns":
            row, col = size, (n + gap) * size
        case "pages":
            if k * size <= page and n <= 600:
                row = page
            elif n * size <= page and k <= 600:
                row, col = size, page
        case "same row":
            row = 0
        case "same column":
            row, col = draw.choice((size, k * size)), 0
        case "windows":
            row = size
    if draw.random() < 0.15:
        row, kind = -row, kind + ", rows backwards"
    if draw.random() < 0.2:
        col, kind = -col, kind + ", classes backwards"
    nowhere = (0, size, -size, PAGE, 1 << 40, -(1 << 40))  # a step that is never taken
    if n == 1 and draw.random() < 0.3:
        row = draw.choice(nowhere)
    if k == 1 and draw.random() < 0.3:
        col = draw.choice(nowhere)
    return Layout(kind, row, col)
