"""A Dask array seen as rows in chunks, and what lies beside it in the same chunks."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from .._arrays import Array, Axis, DType, as_array, as_dtype, as_floats, as_mask
from .._rows import Rows

try:
    import dask.array as da
    from dask.graph_manipulation import bind
except ImportError as error:
    raise ImportError(
        "smcore.dask needs Dask: python -m pip install 'dask[array]' distributed, "
        "or smcore with its extra [dask]"
    ) from error

__all__ = ["Grid", "Operands", "are_known", "convert", "da", "is_like", "sample_of", "tree"]

Operands = dict[str, tuple[Any, tuple[int, ...]]]  # by parameter: arrays, and which axes of x


class Grid:
    """The chunks of an array, with the axes of its rows.

    Attributes
    ----------
    x : dask.array.Array
        The array; broadcast against factors `b`, if there are any.
    dtype : dtype
        In which results are.
    axes, lead, all : tuple of int
        The axes of a row, the others, and both, in order.
    whole : bool
        Whether each row lies in one chunk.
    """

    def __init__(self, x: Any, axis: Axis, dtype: Any, b: Any = None) -> None:
        check_dask(x, "x")
        samples = {
            name: sample_of(a, name) for name, a in {"x": x, "b": b}.items() if a is not None
        }
        empty: Any = {name: np.empty(0, a.dtype) for name, a in samples.items()}
        self.dtype = as_floats((), as_dtype(dtype), **empty)[0].dtype
        if b is not None:
            x = _spread(x, np.shape(b))
        self.x = x
        rows = Rows(x.shape, axis)
        self.all = tuple(range(x.ndim))
        self.axes = rows.axes
        self.lead = tuple(i for i in self.all if i not in self.axes)
        self.whole = all(x.numblocks[i] == 1 for i in self.axes)

    # ---- what lies beside ----

    def beside(self, value: Any, name: str, axes: tuple[int, ...]) -> tuple[Any, tuple[int, ...]]:
        """Return the argument `name` in the chunks of those axes of `x`, or of length 1 there."""
        array = value if isinstance(value, da.Array) else as_array(value, name)
        own = array.chunks if isinstance(array, da.Array) else tuple((n,) for n in array.shape)
        chunks = []
        for found, axis in zip(own, axes, strict=True):
            wanted = self.x.chunks[axis]
            if are_known(found) and are_known(wanted):
                chunks.append(found if found == (1,) else wanted)
            elif len(found) == len(wanted) or found == (1,):
                chunks.append(found)
            else:
                raise ValueError(
                    f"{name} must have the chunks of x where their sizes are not known; found "
                    f"{len(found)} beside {len(wanted)}; x.compute_chunk_sizes() finds the sizes"
                )
        if isinstance(array, da.Array):
            return array.rechunk(tuple(chunks)), axes
        return da.from_array(array, chunks=tuple(chunks)), axes

    def where(self, where: Any) -> Operands:
        """Return the argument `where`, if it is not None."""
        if where is None:
            return {}
        mask = sample_of(where, "where")
        known = are_known((*mask.shape, *self.x.shape))
        as_mask(mask, self.x.shape if known else mask.shape)
        return {"where": self.trailing(where, "where")}

    def trailing(self, value: Any, name: str) -> tuple[Any, tuple[int, ...]]:
        """Return an argument that is broadcast against `x`, beside its last axes."""
        return self.beside(value, name, self.all[len(self.all) - np.ndim(value) :])

    def per_row(self, value: Any, name: str) -> Operands:
        """Return an argument of one number, or one for each row."""
        sample = sample_of(value, name)
        kept = tuple(1 if i in self.axes else n for i, n in enumerate(self.x.shape))
        lead = tuple(kept[i] for i in self.lead)
        axes, wanted = (self.lead, lead) if sample.ndim <= len(lead) else (self.all, kept)
        if not fits(sample.shape, wanted):
            raise ValueError(
                f"{name} must be one number, or one for each row: of shape {lead} (or {kept}), "
                f"or broadcast to it; found {sample.shape}"
            )
        if not isinstance(value, da.Array):  # or it is judged chunk by chunk
            Rows(sample.shape, ()).numbers(sample, name)
        return {name: self.beside(value, name, axes[len(axes) - sample.ndim :])}

    def starts(self) -> Operands:
        """Return where the chunks of the axes of a row begin."""
        found: Operands = {}
        for axis in self.axes:
            places = np.cumsum([0, *self.x.chunks[axis][:-1]], dtype=np.int64)
            found[f"start{axis}"] = da.from_array(places, chunks=1), (axis,)
        return found

    # ---- graphs ----

    def map(
        self,
        function: Callable[..., Any],
        operands: Operands,
        options: dict[str, Any],
        dtype: DType,
        *,
        kept: bool = False,
        x: Any = None,
    ) -> Any:
        """Call ``function(chunk, axis=axes, **operands, **options)`` for each chunk of `x`.

        It returns one of that shape, or, if `kept`, of length 1 along the axes of a row.
        """
        x = self.x if x is None else x
        options = {"axis": self.axes, **options}
        return da.blockwise(
            partial(_call, function, tuple(operands), options),
            self.all,
            x,
            self.all,
            *(item for pair in operands.values() for item in pair),
            token=f"smcore-{function.__name__}",
            adjust_chunks=dict.fromkeys(self.axes, 1) if kept else None,
            align_arrays=False,
            dtype=dtype,
            meta=np.empty((0,) * x.ndim, dtype),
        )

    def join(self, records: Any, merge: Callable[..., Array]) -> Any:
        """Merge records of parts to those of rows: a tree of tasks along the axes of a row."""
        return records if self.whole else tree(records, merge, self.axes)

    def again(self, operands: Operands, whole: Any) -> tuple[Any, Operands]:
        """Return `x` and operands, to be computed once more when `whole` is known."""
        arrays = [self.x, *(array for array, _ in operands.values())]
        x, *others = bind(arrays, whole, seed=whole.name)
        pairs = zip(operands.items(), others, strict=True)
        return x, {name: (array, axes) for (name, (_, axes)), array in pairs}

    def by_row(self, kept: Any) -> Any:
        """Return an array without the axes of a row, which it has at length 1."""
        return kept.squeeze(axis=self.axes) if self.axes else kept


def tree(x: Any, merge: Callable[..., Array], axes: tuple[int, ...]) -> Any:
    """Merge along axes, which are kept at length 1, by a tree of tasks.

    It has as many branches as Dask's `split_every` says.
    """
    return da.reduction(
        x,
        chunk=_same,
        aggregate=merge,
        axis=axes,
        keepdims=True,
        dtype=x.dtype,
        meta=np.empty((0,) * x.ndim, x.dtype),
    )


def convert(x: Any, function: Callable[..., Array], dtype: DType, **options: Any) -> Any:
    """Call ``function(chunk, dtype=dtype, **options)``, of the same shape, for each chunk."""
    function = partial(function, dtype=dtype, **options)
    return x.map_blocks(function, dtype=dtype, meta=np.empty((0,) * x.ndim, dtype))


def _spread(x: Any, shape: tuple[float, ...]) -> Any:
    """Return `x`, broadcast against the shape of factors `b`."""
    if fits(shape, x.shape):
        return x
    try:
        return da.broadcast_to(x, np.broadcast_shapes(tuple(x.shape), tuple(map(int, shape))))
    except (TypeError, ValueError):  # as int(nan) is one
        raise ValueError(f"b must broadcast against x; found {shape} and {x.shape}") from None


# ---- arguments -----------------------------------------------------------------------------------


def check_dask(x: Any, name: str) -> None:
    """Raise unless `x` is a Dask array of NumPy arrays without masks."""
    if not isinstance(x, da.Array):
        raise TypeError(
            f"{name} must be a dask.array.Array; found {type(x).__name__}; "
            f"pass dask.array.from_array({name}) (of xarray {name}.data), or call smcore itself"
        )
    as_array(
        x._meta,
        name,
        f"dask.array.ma.getdata({name}), with where=~dask.array.ma.getmaskarray({name}) "
        "if the function takes it",
    )
    if not isinstance(x._meta, np.ndarray):
        raise TypeError(
            f"{name} must have chunks that are NumPy arrays; found {type(x._meta).__name__}"
        )


def sample_of(value: Any, name: str) -> Array:
    """Return an argument as an array; of a Dask array, one of its shape and dtype that is all 0."""
    if not isinstance(value, da.Array):
        return as_array(value, name)
    check_dask(value, name)
    zero = np.zeros((), value.dtype)
    shape = value.shape if are_known(value.shape) else (1,) * value.ndim
    return np.broadcast_to(zero, shape)


def are_known(lengths: tuple[float, ...]) -> bool:
    """Whether none of these is NaN, by which Dask says that a length is not known."""
    return not any(math.isnan(n) for n in lengths)


def is_like(shape: tuple[float, ...], wanted: tuple[float, ...]) -> bool:
    """Whether a shape is the one wanted, as far as they are known."""
    return len(shape) == len(wanted) and all(
        n == m or not are_known((n, m)) for n, m in zip(shape, wanted, strict=True)
    )


def fits(shape: tuple[float, ...], wanted: tuple[float, ...]) -> bool:
    """Whether a shape can be broadcast to the one wanted, as far as they are known."""
    pairs = list(zip(reversed(shape), reversed(wanted), strict=False))
    return len(shape) <= len(wanted) and all(n in (1, m) or not are_known((n, m)) for n, m in pairs)


# ---- what tasks call -----------------------------------------------------------------------------


def _call(
    function: Callable[..., Any],
    names: tuple[str, ...],
    options: dict[str, Any],
    x: Array,
    *operands: Array,
) -> Array:
    """Call `function` as `Grid.map` says."""
    return np.asarray(function(x, **dict(zip(names, operands, strict=True)), **options))


def _same(x: Array, axis: Axis, keepdims: bool) -> Array:
    return x
