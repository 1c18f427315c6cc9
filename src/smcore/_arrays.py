"""Judge the input and lay it out in rows: the only module that does.

The public functions turn what they are given into checked arrays (`as_float`, `as_output`, ...),
then `Rows` shows them to the kernels as ``(A, B, K)`` views with the class axis last. All checks
come before the first write, so an error leaves `out` as it was.
"""

from __future__ import annotations

import itertools
import math
import operator
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, SupportsIndex, TypeVar

import numpy as np
from numpy.exceptions import AxisError
from numpy.typing import ArrayLike, DTypeLike, NDArray

from . import _memory
from ._backend import kernels

Array = NDArray[Any]
DType = np.dtype[Any]
Axis = SupportsIndex | tuple[SupportsIndex, ...] | None
Real = float | np.floating[Any] | np.integer[Any]
Mask = NDArray[np.bool_]
F = TypeVar(
    "F", bound=np.floating[Any]
)  # what a result's elements have in common with an operand's

_FLOATS = "float16, bfloat16, float32, float64 or longdouble"
_SURELY_FITS = 1 << 26  # bytes: too few to ask the system about


# ---- dtypes ------------------------------------------------------------------------------------


def is_float(dtype: DType) -> bool:
    """Return whether `dtype` is one of the floating-point dtypes served."""
    # bfloat16 is known by its name, so that ml_dtypes need not be imported.
    return dtype.char in "efdg" or dtype.name == "bfloat16"


def _float_dtype(dtype: DType, name: str) -> DType:
    """Return the dtype in which values of `dtype` are served."""
    if is_float(dtype):
        return dtype if dtype.isnative else dtype.newbyteorder("=")
    if dtype.kind in "biu":
        return np.dtype(np.float64)
    raise TypeError(f"{name} must hold {_FLOATS}, integers or booleans; found dtype {dtype}")


def as_dtype(dtype: DTypeLike | None) -> DType | None:
    """Return the argument `dtype`, checked."""
    if dtype is None:
        return None
    found = np.dtype(dtype)
    if not is_float(found):
        raise TypeError(f"dtype must be {_FLOATS}; found {found}")
    return _float_dtype(found, "dtype")


def compute_dtype(dtype: DType) -> DType:
    """Return the dtype in which sums over `dtype` are held: float32 for the 16-bit ones."""
    return np.dtype(np.float32) if dtype.itemsize == 2 else dtype


def sum_dtype(dtype: DType) -> DType:
    """Return the dtype in which sums over many rows are held."""
    return dtype if dtype.char == "g" else np.dtype(np.float64)


# ---- operands ----------------------------------------------------------------------------------


def _usable(array: Array) -> bool:
    return array.dtype.isnative and array.flags.aligned


def as_array(value: ArrayLike | None, name: str, instead: str = "") -> Array:
    """Return the argument `name` as an array; refuse a masked one, whose mask that would drop.

    `instead` says what to pass in its place, if not the data and `where`.
    """
    # A plain ndarray is none: so numpy.ma is imported only for those who use it.
    if type(value) is not np.ndarray:
        _check_not_masked(value, name, instead)
        for i, item in enumerate(value if isinstance(value, (list, tuple)) else ()):
            _check_not_masked(item, f"{name}[{i}]", instead)
    return np.asarray(value)


def _check_not_masked(array: Any, name: str, instead: str) -> None:
    if not isinstance(array, np.ndarray) or type(array) is np.ndarray:
        return
    if isinstance(array, np.ma.MaskedArray):
        instead = instead or f"{name}.data, with where=~{name}.mask if the function takes it"
        raise TypeError(
            f"{name} must not be a masked array, as its mask would be lost; "
            f"found {type(array).__name__}; pass {instead}"
        )


def as_float(value: ArrayLike, name: str, dtype: DType | None = None) -> Array:
    """Return `value` as a native, aligned array of `dtype`, by default the one that serves it."""
    array = as_array(value, name)
    own = _float_dtype(array.dtype, name)
    dtype = own if dtype is None else dtype
    if array.dtype == dtype and _usable(array):
        return array
    with np.errstate(all="ignore"):  # as in `cast`, but aligned too
        return array.astype(dtype)


def as_floats(
    optional: tuple[str, ...] = (), dtype: DType | None = None, /, **values: ArrayLike | None
) -> list[Array]:
    """Return arrays of one dtype: `dtype`, else the one that the values have in common.

    Python scalars take the dtype of the others. None stays None under an `optional` name, unseen by
    the annotation.
    """
    arrays: dict[str, Any] = {
        name: None if value is None and name in optional else as_array(value, name)
        for name, value in values.items()
    }
    if dtype is None:
        dtype = common_dtype(
            _float_dtype(array.dtype, name)
            for name, array in arrays.items()
            if array is not None and type(values[name]) not in (bool, int, float)
        )
    floats: list[Any] = [a if a is None else as_float(a, name, dtype) for name, a in arrays.items()]
    return floats


def common_dtype(dtypes: Iterator[DType]) -> DType:
    """Return the dtype that holds them all; float64 for none."""
    distinct = set(dtypes)
    if len(distinct) == 1:
        return distinct.pop()
    # No 16-bit dtype holds another, and NumPy knows no promotion between the two.
    return (
        np.result_type(np.float32, *map(compute_dtype, distinct)) if distinct else np.dtype(float)
    )


def widened(*arrays: Array) -> list[Array]:
    """Return arrays from `as_floats` in the dtype to compute in."""
    return [a if a is None else cast(a, compute_dtype(a.dtype)) for a in arrays]


def cast(array: Array, dtype: DType) -> Array:
    """Return `array` (or a NumPy scalar) in `dtype`: what is out of range becomes inf or 0."""
    with np.errstate(all="ignore"):
        return array.astype(dtype, copy=False)


def as_like(value: Array, shape: tuple[int, ...], name: str) -> Array:
    """Return a view of `value` broadcast to `shape`."""
    if value.shape == shape:
        return value
    try:
        return np.broadcast_to(value, shape)
    except ValueError:
        raise ValueError(
            f"{name} must have shape {shape} or broadcast to it; found {value.shape}"
        ) from None


def as_mask(where: ArrayLike, shape: tuple[int, ...]) -> Mask:
    """Return the argument `where`, checked against the shape that it selects from."""
    mask = as_array(where, "where", "where.filled(False)")
    if mask.dtype != np.bool_:
        raise TypeError(f"where must be boolean; found dtype {mask.dtype}")
    as_like(mask, shape, "where")
    return mask


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


@dataclass(frozen=True)
class Selection:
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


def check_shape(array: Array, shape: tuple[int, ...], name: str) -> None:
    """Raise unless `array` has `shape`."""
    if array.shape != shape:
        raise ValueError(f"{name} must have shape {shape}; found {array.shape}")


def as_real(value: Any, name: str) -> float:
    """Return a finite Python float."""
    try:
        finite = math.isfinite(value)
    except TypeError:
        raise TypeError(f"{name} must be a real number; found {type(value).__name__}") from None
    except OverflowError:
        finite = False
    if not finite:
        raise ValueError(f"{name} must be finite; found {value!r}")
    return float(value)


# ---- results -----------------------------------------------------------------------------------


def as_output(out: Array | None, like: Array, shape: tuple[int, ...]) -> Array:
    """Return the array to compute into, of `like`'s dtype: `out` where kernels can write there.

    Hand it back with `deliver`. The NumPy backend wants memory between its writes, and finds none,
    maybe: it computes beside `out`, which an error leaves as it was.
    """
    if out is not None:
        check_output(out, shape, like.dtype)
        if _usable(out) and _never_fail(like.dtype):
            return np.asarray(out)
    return np.empty_like(like, shape=shape)


def as_matrices(out: Array | None, like: Array, shape: tuple[int, ...], instead: str) -> Array:
    """Do the same for matrices in C order; see `dense` for `instead`."""
    if out is not None:
        check_output(out, shape, like.dtype)
        if _usable(out) and out.flags.c_contiguous and _never_fail(like.dtype):
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


def _same_memory(a: Array, b: Array) -> bool:
    return (
        a.shape == b.shape
        and a.strides == b.strides
        and a.__array_interface__["data"] == b.__array_interface__["data"]
    )


def apart(array: Array, out: Array) -> Array:
    """Return `array`, copied if `out` shares its memory in any way but being the same elements."""
    # Comparing the bounds is enough: the exact problem is exponential, and a copy is never wrong.
    if not np.may_share_memory(array, out) or _same_memory(array, out):
        return array
    return array.copy()


# ---- rows --------------------------------------------------------------------------------------


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


class Rows:
    """Arrays of one shape, seen as rows: the axes chosen become one, which comes last.

    Attributes
    ----------
    lead : tuple of int
        The lengths of the other axes, in order.
    length : int
        The length of a row. A row over no axes at all has one element.
    kept : tuple of int
        The shape, with the axes chosen kept at length 1.
    """

    def __init__(self, shape: tuple[int, ...], axis: Axis) -> None:
        axes = _normalized_axes(axis, len(shape))
        others = tuple(i for i in range(len(shape)) if i not in axes)
        self._shape, self._order = shape, others + axes
        self.lead = tuple(shape[i] for i in others)
        self.length = math.prod(shape[i] for i in axes)
        self.kept = tuple(1 if i in axes else n for i, n in enumerate(shape))

    def view(self, array: Array) -> Array:
        """Return ``(*lead, length)``: a view, or a copy if the strides of several axes ask it."""
        return array.transpose(self._order).reshape(*self.lead, self.length)

    def empty(self, dtype: DType) -> Array:
        """Return a new array of the shape that is seen as rows, whose rows are a view."""
        inverse = np.argsort(self._order)
        return np.empty([self._shape[i] for i in self._order], dtype).transpose(inverse)

    def numbers(self, value: ArrayLike, name: str) -> Array:
        """Return finite numbers in float64: one, 0-d, or one for each row, ``kept``."""
        if np.ndim(value) == 0:
            return np.asarray(as_real(value, name))
        array = as_float(value, name, np.dtype(np.float64)).copy()  # out of the way of `out`
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
        self, kernel: Callable[..., None], inputs: list[Array], out: Array, *parameters: float
    ) -> None:
        """Call `kernel` as `sweep` does, for an `out` of the shape that is seen as rows."""
        target = self.view(out)
        self.sweep(kernel, inputs, target, *parameters)
        if not np.may_share_memory(target, out):  # the view of `out` had to be a copy
            self.put(out, target)

    def put(self, out: Array, values: Array) -> None:
        """Write rows ``(*lead, length)`` into an `out` of the shape that is seen as rows."""
        moved = out.transpose(self._order)
        moved[...] = values.reshape(moved.shape)

    def sweep(
        self, kernel: Callable[..., None], inputs: list[Array], target: Array, *parameters: float
    ) -> None:
        """Call ``kernel(*inputs, target, *parameters)`` on blocks of arrays ``(*lead, ...)``."""
        operands = [apart(array, target) for array in inputs]
        for blocks in self.blocks(*operands, target):
            kernel(*blocks, *parameters)


def _with_lead(array: Array, order: list[int], lead: list[int]) -> Array:
    """Reorder and merge the leading axes: always a view, as the strides were seen to allow it."""
    tail = array.shape[len(order) :]
    axes = (*order, *range(len(order), array.ndim))
    return array.transpose(axes).reshape(*lead, *tail)
