"""What no implementation can beat by much: the same bytes moved, the same exponentials taken.

The limits are timed among the peers, in the same rounds, with the same allocation: they make their
result anew where the peers do.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial

import numpy as np

from .card import Cell
from .measure import Call
from .operands import Operands, arrays_of
from .ops import OPS

BLOCK = 2048  # exponentials at a time: they stay in the first-level cache


@dataclass(frozen=True)
class Limit:
    """A call whose time, times `scale`, bounds that of the cell."""

    call: Call
    scale: float = 1.0


def make_limits(cell: Cell, operands: Operands) -> dict[str, Limit]:
    """Return the limits of a cell by name; the slowest of them is the one that counts."""
    names = OPS[cell.op].limits
    if cell.dtype in ("float16", "bfloat16"):  # whose product is arithmetic by itself
        names = tuple("copy" if name == "multiply" else name for name in names)
    return {name: LIMITS[name](cell, operands) for name in names}


def _copy(cell: Cell, operands: Operands) -> Limit:
    source = arrays_of(cell, operands)[0]
    if "out" in operands:
        return Limit(partial(np.copyto, operands["out"], source))
    return Limit(partial(source.copy, order="C"))


def _multiply(cell: Cell, operands: Operands) -> Limit:
    return Limit(partial(np.multiply, *arrays_of(cell, operands), out=operands.get("out")))


def _fill(cell: Cell, operands: Operands) -> Limit:
    return Limit(partial(np.full, cell.elements, 0.5, arrays_of(cell, operands)[0].dtype))


def _exp(cell: Cell, _: Operands) -> Limit:
    """NumPy's exponential of as many values, but in the cache, block after block."""
    block = np.linspace(-8, 0, BLOCK, dtype="float64" if cell.dtype == "float64" else "float32")
    call = partial(np.exp, block, np.empty_like(block))
    return Limit(call, math.prod(cell.logits_shape) / BLOCK)


def _matmul(cell: Cell, operands: Operands) -> Limit:
    """Compute the matrix products of the layer, and nothing else."""
    X, W = operands["X"], operands["W"]
    Z, dX, dW = np.zeros(cell.logits_shape, X.dtype), np.empty_like(X), np.empty_like(W)
    products = {"Z": (X, W, Z), "dX": (Z, W.T, dX), "dW": (X.T, Z, dW)}
    arrays = [products[name] for name in OPS[cell.op].products]

    def multiply() -> None:
        for a, b, out in arrays:
            np.matmul(a, b, out=out)

    return Limit(multiply)


LIMITS = {"copy": _copy, "multiply": _multiply, "fill": _fill, "exp": _exp, "matmul": _matmul}
