"""Judge the operands: the only module that does.

The public functions turn what they are given into checked arrays of one dtype; `Rows` shows these
to the kernels. All checks come before the first write, so an error leaves `out` as it was.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, SupportsIndex, TypeVar

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

Array = NDArray[Any]
DType = np.dtype[Any]
Axis = SupportsIndex | tuple[SupportsIndex, ...] | None
Real = float | np.floating[Any] | np.integer[Any]
Mask = NDArray[np.bool_]
F = TypeVar(
    "F", bound=np.floating[Any]
)  # what a result's elements have in common with an operand's

_FLOATS = "float16, bfloat16, float32, float64 or longdouble"


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
    hint = f"; pass np.asarray({name}, dtype=float)" if dtype == np.object_ else ""
    raise TypeError(f"{name} must hold {_FLOATS}, integers or booleans; found dtype {dtype}{hint}")


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


def common_dtype(dtypes: Iterator[DType]) -> DType:
    """Return the dtype that holds them all; float64 for none."""
    distinct = set(dtypes)
    if len(distinct) == 1:
        return distinct.pop()
    # No 16-bit dtype holds another, and NumPy knows no promotion between the two.
    return (
        np.result_type(np.float32, *map(compute_dtype, distinct)) if distinct else np.dtype(float)
    )


# ---- operands ----------------------------------------------------------------------------------


def as_array(value: ArrayLike | None, name: str, instead: str = "") -> Array:
    """Return the argument `name` as an array; refuse a masked one, whose mask that would drop.

    `instead` says what to pass in its place, if not the data and `where`. An array of another
    library may have ``__array__`` or DLPack; one that lies on a device is refused.
    """
    # A plain ndarray is none: so numpy.ma is imported only for those who use it.
    if type(value) is not np.ndarray:
        _check_not_masked(value, name, instead)
        for i, item in enumerate(value if isinstance(value, (list, tuple)) else ()):
            _check_not_masked(item, f"{name}[{i}]", instead)
        if hasattr(value, "__dlpack_device__") and not isinstance(value, np.ndarray):
            return _of_another_library(value, name)
    return np.asarray(value)


_HOST = {1, 3, 11, 13}  # DLPack's numbers: the CPU, and what CUDA and ROCm have there or share
_DEVICES = {2: "CUDA", 8: "Metal", 10: "ROCm", 14: "oneAPI"}


def _of_another_library(value: Any, name: str) -> Array:
    """Return an array that exports DLPack, without a copy where it can be had so."""
    try:
        kind = int(value.__dlpack_device__()[0])
        if kind in _HOST:  # __array__ has more dtypes, such as bfloat16
            return np.asarray(value) if hasattr(value, "__array__") else np.from_dlpack(value)
    except (BufferError, RuntimeError, TypeError, ValueError) as error:
        raise TypeError(
            f"{name} must be what NumPy can read; found {type(value).__name__}: {error}"
        ) from error
    found = _DEVICES.get(kind, f"a device of DLPack's type {kind}")
    raise TypeError(
        f"{name} must lie in the memory of the CPU; found {type(value).__name__} on {found}; "
        "copy it there, or use softmax, log_softmax or logsumexp of scipy.special with "
        "SCIPY_ARRAY_API=1, which serve arrays on devices"
    )


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
    if array.dtype == dtype and usable(array):
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


# ---- memory ------------------------------------------------------------------------------------


def usable(array: Array) -> bool:
    return array.dtype.isnative and array.flags.aligned


def apart(array: Array, out: Array) -> Array:
    """Return `array`, copied if `out` shares its memory in any way but being the same elements."""
    # Comparing the bounds is enough: the exact problem is exponential, and a copy is never wrong.
    if not np.may_share_memory(array, out) or _same_memory(array, out):
        return array
    return array.copy()


def _same_memory(a: Array, b: Array) -> bool:
    return (
        a.shape == b.shape
        and a.strides == b.strides
        and a.__array_interface__["data"] == b.__array_interface__["data"]
    )
