"""Rows in blocks that fit the cache, with the temporaries that NumPy makes of them."""

from __future__ import annotations

from collections.abc import Iterator

__all__ = ["blocks"]

_BLOCK = 1 << 14
"""Elements of the rows computed together: some ten temporaries of this size fit the cache."""


def blocks(rows: tuple[int, ...], size: int, most: int = _BLOCK) -> Iterator[tuple[slice, slice]]:
    """Yield the indices of blocks of rows of some `most` elements, at least one row each.

    Parameters
    ----------
    rows : tuple of int
        The two numbers of rows, ``(A, B)``.
    size : int
        The number of elements that one row needs.
    most : int
        The number of elements in a block.
    """
    outer, inner = rows
    count = max(1, most // max(1, size))
    inner_step = max(1, min(inner, count))
    outer_step = max(1, count // inner_step)
    for a in range(0, outer, outer_step):
        for b in range(0, inner, inner_step):
            yield slice(a, a + outer_step), slice(b, b + inner_step)
