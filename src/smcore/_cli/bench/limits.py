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
from .operands import Operands

BLOCK = 2048  # exponentials at a time: they stay in the first-level cache


@dataclass(frozen=True)
class Limit:
    """A call whose time, times `scale`, bounds that of the cell."""

    call: Call
    scale: float = 1.0


def make_limits(cell: Cell, operands: Operands) -> dict[str, Limit]:
    """Return the limits of a cell by name; the slowest of them is the one that counts."""
    if cell.op in ("softmax_jacobian", "softmax_layer_jacobian"):
        return {"fill": _fill(cell, operands)}
    if cell.op == "linear_cross_entropy_with_grad":
        return {"matmul": _matmul(cell, operands), "exp": _exp(cell)}
    if cell.op == "softmax_vjp":
        s, g = operands["s"], operands["g"]
        if cell.dtype in ("float16", "bfloat16"):  # their product is arithmetic by itself
            return {"copy": _copy(operands, "s")}
        return {"multiply": Limit(partial(np.multiply, s, g, out=operands.get("out")))}
    if cell.op == "logsumexp":
        return {"exp": _exp(cell)}
    return {"copy": _copy(operands, "x"), "exp": _exp(cell)}


def _copy(operands: Operands, name: str) -> Limit:
    source = operands[name]
    if "out" in operands:
        return Limit(partial(np.copyto, operands["out"], source))
    return Limit(partial(source.copy, order="C"))


def _fill(cell: Cell, operands: Operands) -> Limit:
    return Limit(partial(np.full, cell.elements, 0.5, operands["s"].dtype))


def _exp(cell: Cell) -> Limit:
    """NumPy's exponential of as many values, but in the cache, block after block."""
    block = np.linspace(-8, 0, BLOCK, dtype="float64" if cell.dtype == "float64" else "float32")
    call = partial(np.exp, block, np.empty_like(block))
    return Limit(call, math.prod(cell.logits_shape) / BLOCK)


def _matmul(cell: Cell, operands: Operands) -> Limit:
    """Compute the three matrix products of the loss and its gradients, and nothing else."""
    X, W = operands["X"], operands["W"]
    Z, dX, dW = np.empty(cell.logits_shape, X.dtype), np.empty_like(X), np.empty_like(W)

    def products() -> None:
        np.matmul(X, W, out=Z)
        np.matmul(Z, W.T, out=dX)
        np.matmul(X.T, Z, out=dW)

    np.matmul(X, W, out=Z)  # from here on, finite
    return Limit(products)
