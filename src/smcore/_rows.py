"""Arrays as the kernels see them: ``(A, B, K)``, views where strides allow, the class axis last."""

from __future__ import annotations

import itertools
import math
import operator
from collections.abc import Callable, Iterator
from typing import Any, TypeVarTuple

import numpy as np
from numpy.exceptions import AxisError
from numpy.typing import ArrayLike, DTypeLike

from ._arrays import Array, Axis, DType, apart, as_float, as_real

__all__ = ["Rows"]

Inputs = TypeVarTuple("Inputs")  # as many arrays as a kernel reads


class Rows:
    """Arrays of one shape, seen as rows: the axes chosen become one, which comes last.

    Attributes
    ----------
    lead : tuple of int
        The lengths of the other axes, in order.
    axes : tuple of int
        The axes of a row, in order, none of them negative.
    length : int
        The length of a row. A row over no axes at all has one element.
    kept : tuple of int
        The shape, with the axes chosen kept at length 1.
    """

    def __init__(self, shape: tuple[int, ...], axis: Axis) -> None:
        axes = _normalized_axes(axis, len(shape))
        others = tuple(i for i in range(len(shape)) if i not in axes)
        self._shape, self._order = shape, others + axes
        self.axes = axes
        self.lead = tuple(shape[i] for i in others)
        self.length = math.prod(shape[i] for i in axes)
        self.kept = tuple(1 if i in axes else n for i, n in enumerate(shape))

    def view(self, array: Array) -> Array:
        """Return ``(*lead, length)``: a view, or a copy if the strides of several axes ask it."""
        return array.transpose(self._order).reshape(*self.lead, self.length)

    def restore(self, values: Array) -> Array:
        """Return rows ``(*lead, length)`` in the shape that is seen as rows: a view, or a copy."""
        inverse = sorted(range(len(self._order)), key=self._order.__getitem__)
        return values.reshape([self._shape[i] for i in self._order]).transpose(inverse)

    def empty(self, dtype: DType) -> Array:
        """Return a new array of the shape that is seen as rows, whose rows are a view."""
        inverse = np.argsort(self._order)
        return np.empty([self._shape[i] for i in self._order], dtype).transpose(inverse)

    def numbers(self, value: ArrayLike, name: str, dtype: DTypeLike = np.float64) -> Array:
        """Return finite numbers of a dtype: one, 0-d, or one for each row, ``kept``."""
        dtype = np.dtype(dtype)
        if np.ndim(value) == 0:
            return np.asarray(as_real(value, name), dtype)
        array = as_float(value, name, dtype).copy()  # out of the way of `out`
        lead = array.ndim <= len(self.lead)
        try:
            array = np.broadcast_to(array, self.lead if lead else self.kept)
        except ValueError:
            raise ValueError(
                f"{name} must be one number, or one for each row: of shape {self.lead} "
                f"(or {self.kept}), or broadcast to it; found {array.shape}"
            ) from None
        if not np.isfinite(array).all():
            found = array[~np.isfinite(array)][0]
            raise ValueError(f"{name} must be finite; found {found} among them")
        return np.ascontiguousarray(array).reshape(self.kept)

    def reduced(self, array: Array, name: str) -> Array:
        """Return ``lead`` from an array of one element per row, the axes dropped or kept at 1."""
        if array.shape not in (self.lead, self.kept):
            raise ValueError(
                f"{name} must have shape {self.lead} (or {self.kept}); found {array.shape}"
            )
        return array.reshape(self.lead)

    def blocks(self, *arrays: Array) -> Iterator[tuple[Array, ...]]:
        """Yield views ``(A, B, ...)`` of arrays ``(*lead, ...)`` that together cover them all.

        Leading axes are ordered by the last array's strides, long to short, and neighbours merge
        where the strides of every array allow: usually one pair of axes is left, and one block.
        """
        if not self.length or 0 in self.lead:
            return
        strides = arrays[-1].strides
        order = sorted(range(len(self.lead)), key=lambda i: -abs(strides[i]))
        merged: list[int] = []
        last = 0
        for i in order:
            length = self.lead[i]
            if length == 1:
                continue
            if merged and all(a.strides[last] == length * a.strides[i] for a in arrays):
                merged[-1] *= length
            else:
                merged.append(length)
            last = i
        outer, inner = merged[:-2], [1, 1, *merged][-2:]
        views = [_with_lead(a, order, [*outer, *inner]) for a in arrays]
        for index in itertools.product(*map(range, outer)):
            yield tuple(view[index] for view in views)

    def map(
        self, kernel: Callable[[*Inputs, Array], None], inputs: tuple[*Inputs], out: Array
    ) -> None:
        """Call `kernel` as `sweep` does, for an `out` of the shape that is seen as rows."""
        target = self.view(out)
        self.sweep(kernel, inputs, target)
        if not np.may_share_memory(target, out):  # the view of `out` had to be a copy
            self.put(out, target)

    def put(self, out: Array, values: Array) -> None:
        """Write rows ``(*lead, length)`` into an `out` of the shape that is seen as rows."""
        moved = out.transpose(self._order)
        moved[...] = values.reshape(moved.shape)

    def sweep(
        self, kernel: Callable[[*Inputs, Array], None], inputs: tuple[*Inputs], target: Array
    ) -> None:
        """Call ``kernel(*inputs, target)`` on blocks of arrays ``(*lead, ...)``; None stays."""
        arrays: Any = (*inputs, target)  # to mypy, members of a `tuple[*Inputs]` are objects
        run: Callable[..., None] = kernel
        operands = [apart(array, target) for array in arrays if array is not None]
        for blocks in self.blocks(*operands):
            views = iter(blocks)
            run(*(None if array is None else next(views) for array in arrays))


def _normalized_axes(axis: Axis, ndim: int) -> tuple[int, ...]:
    if axis is None:
        return tuple(range(ndim))
    limit = max(ndim, 1)  # a 0-d array has, as for NumPy's reductions, an axis 0
    axes = set()
    for item in axis if isinstance(axis, tuple) else (axis,):
        try:
            index = operator.index(item)
        except TypeError:
            raise TypeError(
                f"axis must be an integer, a tuple of integers or None; found {axis!r}"
            ) from None
        if not -limit <= index < limit:
            raise AxisError(index, ndim)
        if index % limit in axes:
            raise ValueError(f"axis must not name an axis twice; found {axis!r}")
        axes.add(index % limit)
    return tuple(sorted(axes)) if ndim else ()


def _with_lead(array: Array, order: list[int], lead: list[int]) -> Array:
    """Reorder and merge the leading axes: always a view, as the strides were seen to allow it."""
    tail = array.shape[len(order) :]
    axes = (*order, *range(len(order), array.ndim))
    return array.transpose(axes).reshape(*lead, *tail)
