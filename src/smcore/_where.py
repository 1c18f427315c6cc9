"""The argument `where`: which entries take part."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from ._arrays import Array, DType, Mask, as_mask
from ._rows import Rows

__all__ = ["NOTHING", "Selection"]


# What the forward functions return for an entry that takes no part, by the argument that holds it.
NOTHING = {"s": 0.0, "log_s": -np.inf}


class Selection(NamedTuple):
    """The argument `where` beside operands and a result of one shape and dtype.

    It takes its memory before the first write, so that to fill an `out` cannot fail.
    """

    mask: Mask  # the entries that take part; broadcastable
    kept: Array  # in the result's bits: all ones for those, else 0; the mask for a long double

    @classmethod
    def of(cls, where: ArrayLike | None, shape: tuple[int, ...], dtype: DType) -> Selection | None:
        """Return the selection that `where` makes; None if it is None."""
        if where is None:
            return None
        mask = as_mask(where, shape)
        if dtype.itemsize not in (2, 4, 8):
            return cls(mask, mask)
        kept = np.array(mask, f"u{dtype.itemsize}")
        return cls(mask, np.negative(kept, out=kept))

    def by_row(self, rows: Rows, shape: tuple[int, ...]) -> Selection:
        """Return the same for rows ``(*lead, length)`` of an array of `shape`."""
        mask, kept = (rows.view(np.broadcast_to(a, shape)) for a in (self.mask, self.kept))
        return Selection(mask, kept)

    def copy(self, array: Array, value: float) -> Array:
        """Return a copy of `array`, `value` in place of the entries that take no part."""
        filled = np.array(array, order="K")
        self.fill(filled, value)
        return filled

    def fill(self, array: Array, value: float, index: Any = ...) -> None:
        """Write `value` to the entries that take no part; `index` makes the selection fit."""
        if self.kept.dtype == np.bool_:
            np.copyto(array, value, where=~self.kept[index])
        else:
            _replace(array, self.kept[index], value)

    def fill_matrices(self, array: Array, value: float) -> None:
        """Write `value` to their rows and columns in matrices; for a selection `by_row`."""
        self.fill(array, value, (..., np.newaxis))
        self.fill(array, value, (..., np.newaxis, slice(None)))


def _replace(array: Array, kept: Array, value: float) -> None:
    """Write `value` into `array` where `kept` is 0, not all ones; without another array.

    ``np.copyto`` and ``np.where`` take a branch for each element, and ten times as long where that
    cannot be foretold.
    """
    number = array.view(kept.dtype)
    bits = np.array(value, array.dtype).view(kept.dtype)
    if bits:
        number ^= bits
    number &= kept
    if bits:
        number ^= bits
