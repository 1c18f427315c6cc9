"""The arrays of a cell, the same for everyone, and the comparison of what is made of them."""

from __future__ import annotations

from typing import Any, TypeAlias, cast

import numpy as np
from numpy.typing import NDArray

import smcore

from .card import Cell

Array: TypeAlias = NDArray[Any]
Operands: TypeAlias = dict[str, Array]

SEED = 1
SAMPLE = 2**16  # entries of a result that are compared
# Enough to tell another function from other rounding: accuracy is not what is measured here.
TOLERANCE = {"float64": 1e-9, "float32": 1e-4, "float16": 1e-2, "bfloat16": 5e-2}


def make_operands(cell: Cell) -> Operands:
    """Draw the arrays that the call of `cell` takes; ``out`` is among them where it is given."""
    rng = np.random.default_rng(SEED)
    dtype = dtype_named(cell.dtype)

    def normal(*shape: int, spread: float = 1.0) -> Array:
        if cell.strided:  # every second row of memory is left out
            return (spread * rng.standard_normal((*shape[:-1], 2 * shape[-1]))).astype(dtype)[
                ..., : shape[-1]
            ]
        return (spread * rng.standard_normal(shape)).astype(dtype)

    def labels() -> Array:
        return rng.integers(cell.classes, size=cell.logits_shape[0])

    if cell.op == "linear_cross_entropy_with_grad":
        N, J, K = cell.shape
        return {"X": normal(N, J), "W": normal(J, K, spread=0.1), "b": normal(K), "y": labels()}
    x = normal(*cell.logits_shape, spread=3.0)
    if cell.op == "cross_entropy_with_grad":
        return _with_out(cell, {"x": x, "y": labels()})
    if cell.op in ("softmax", "log_softmax", "logsumexp"):
        return _with_out(cell, {"x": x})
    smcore.softmax(x, cell.axis, out=x)
    if cell.op == "softmax_vjp":
        return _with_out(cell, {"s": x, "g": normal(*cell.logits_shape)})
    if cell.op == "softmax_layer_jacobian":
        return {"s": x, "x": normal(cell.shape[0])}
    return {"s": x}


def _with_out(cell: Cell, operands: Operands) -> Operands:
    if cell.out:
        first = next(iter(operands.values()))
        shape = np.empty(cell.shape, np.bool_).max(cell.axis).shape
        reduced = cell.op == "logsumexp"
        operands["out"] = np.zeros(shape if reduced else cell.shape, first.dtype)
    return operands


def dtype_named(name: str) -> np.dtype[Any]:
    """Return the dtype; raises ModuleNotFoundError where ml_dtypes is needed and missing."""
    if name == "bfloat16":
        import ml_dtypes

        return np.dtype(cast(type[Any], ml_dtypes.bfloat16))
    return np.dtype(name)


def sample(arrays: list[Array]) -> list[Array]:
    """Take some entries of each array, evenly spread, as float64."""
    flat = (array.reshape(-1) for array in arrays)
    return [array[:: max(1, array.size // SAMPLE)].astype(np.float64) for array in flat]


def agree(ours: list[Array], theirs: list[Array], dtype: str) -> bool:
    """Tell whether two samples show the same result, up to rounding."""
    tolerance = TOLERANCE[dtype]
    return len(ours) == len(theirs) and all(
        a.shape == b.shape and np.allclose(a, b, rtol=tolerance, atol=tolerance)
        for a, b in zip(ours, theirs, strict=True)
    )
