"""The arrays of a cell, the same for everyone, and the comparison of what is made of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias, cast

import numpy as np
from numpy.typing import NDArray

import smcore

from .card import Cell
from .ops import OPS

Array: TypeAlias = NDArray[Any]
Operands: TypeAlias = dict[str, Array]

SEED = 1
SAMPLE = 2**16  # entries of a result that are compared
# Enough to tell another function from other rounding: accuracy is not what is measured here. (In
# float32, over a row of 2^24, PyTorch and ONNX Runtime are off by 2e-3.)
TOLERANCE = {"float64": 1e-9, "float32": 1e-2, "float16": 2e-2, "bfloat16": 5e-2}


def make_operands(cell: Cell) -> Operands:
    """Draw the arrays that the call of `cell` takes; ``out`` is among them where it is given."""
    rng = np.random.default_rng(SEED)
    dtype = dtype_named(cell.dtype)
    logits, rows, K = cell.logits_shape, cell.logits_shape[:-1], cell.classes
    J = cell.shape[-2] if OPS[cell.op].layer else 0
    operands: Operands = {}

    def normal(*shape: int, spread: float = 1.0) -> Array:
        if cell.strided:  # every second row of memory is left out
            return (spread * rng.standard_normal((*shape[:-1], 2 * shape[-1]))).astype(dtype)[
                ..., : shape[-1]
            ]
        return np.asarray(spread * rng.standard_normal(shape)).astype(dtype)

    def inputs() -> Array:
        return normal(*rows, J)

    def weights() -> Array:
        return normal(J, K, spread=0.1)

    def x() -> Array:
        return normal(*logits, spread=3.0)

    def applied(function: Callable[..., Array]) -> Array:
        z = x()
        return function(z, cell.axis, out=z)

    def change() -> Array:
        return normal(*logits)

    draw: dict[str, Callable[[], Array]] = {
        "x": x,
        "s": lambda: applied(smcore.softmax),
        "log_s": lambda: applied(smcore.log_softmax),
        "g": change,
        "v": change,
        "lse": lambda: np.asarray(smcore.logsumexp(operands["x"], cell.axis)),
        "g_lse": lambda: normal(*rows),
        "y": lambda: rng.integers(K, size=rows),
        "m": lambda: normal(*rows, spread=3.0),
        "rest": lambda: np.zeros(rows, dtype),
        "m2": lambda: normal(*rows, spread=3.0),
        "rest2": lambda: np.zeros(rows, dtype),
        "X": inputs,
        "dX": inputs,
        "W": weights,
        "dW": weights,
        "b": lambda: normal(K),
        "db": lambda: normal(K),
    }
    for name in OPS[cell.op].operands:
        operands[name] = draw[name]()
    if cell.out:
        shape = np.empty(cell.shape, np.bool_).max(cell.axis).shape
        operands["out"] = np.zeros(shape if OPS[cell.op].reduced else cell.shape, dtype)
    return operands


def arrays_of(cell: Cell, operands: Operands) -> list[Array]:
    """Return the arrays that the call takes, in order, without ``out``."""
    return [operands[name] for name in OPS[cell.op].operands]


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
    """Tell whether two samples show the same result, up to rounding of the largest entries."""
    tolerance = TOLERANCE[dtype]
    return len(ours) == len(theirs) and all(
        a.shape == b.shape
        and np.allclose(a, b, rtol=tolerance, atol=tolerance * np.abs(a).max(initial=0))
        for a, b in zip(ours, theirs, strict=True)
    )
