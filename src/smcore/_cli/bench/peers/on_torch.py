"""PyTorch: its functions where there are some, autograd for the losses."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from ..card import Cell
from ..measure import Call
from ..operands import Array, Operands
from . import Prepare, UnsupportedError

VERSION = f"{torch.__version__} ({torch.backends.cpu.get_cpu_capability()})"

torch.set_num_threads(1)


def to_numpy(tensor: Any) -> Array:
    """Convert a tensor; NumPy has no bfloat16 of its own."""
    tensor = tensor.detach()
    return np.asarray(tensor.float() if tensor.dtype == torch.bfloat16 else tensor)


def _tensor(array: Array) -> Any:
    """Wrap an array, sharing its memory and its strides."""
    if array.dtype.name == "bfloat16":
        return torch.from_numpy(array.view(np.uint16)).view(torch.bfloat16)
    return torch.from_numpy(array)


def _forward(function: Any, *, several_axes: bool = False) -> Prepare:
    def prepare(cell: Cell, operands: Operands) -> Call:
        if isinstance(cell.axis, tuple) and not several_axes:
            raise UnsupportedError("takes one axis")
        options = {"out": _tensor(operands["out"])} if "out" in operands else {}
        return partial(function, _tensor(operands["x"]), cell.axis, **options)

    return prepare


def _softmax_vjp(cell: Cell, operands: Operands) -> Call:
    """Call what autograd calls."""
    if isinstance(cell.axis, tuple):
        raise UnsupportedError("takes one axis")
    if cell.out:
        raise UnsupportedError("has no out")
    s, g = _tensor(operands["s"]), _tensor(operands["g"])
    return partial(torch._softmax_backward_data, g, s, cell.axis, s.dtype)


def _jacobian(s: Any) -> Any:
    return torch.diag_embed(s) - s.unsqueeze(-1) * s.unsqueeze(-2)


def _softmax_jacobian(cell: Cell, operands: Operands) -> Call:
    return partial(_jacobian, _tensor(operands["s"]))


def _softmax_layer_jacobian(cell: Cell, operands: Operands) -> Call:
    s, x = _tensor(operands["s"]), _tensor(operands["x"])
    return lambda: (_jacobian(s).unsqueeze(-1) * x).view(len(s), -1)


def _cross_entropy_with_grad(cell: Cell, operands: Operands) -> Call:
    if cell.out:
        raise UnsupportedError("has no out")
    x, y = _tensor(operands["x"]).requires_grad_(), _tensor(operands["y"])

    def call() -> Any:
        loss = functional.cross_entropy(x, y)
        return loss, torch.autograd.grad(loss, x)

    return call


def _linear_cross_entropy_with_grad(cell: Cell, operands: Operands) -> Call:
    """Keep the weights as ``torch.nn.Linear`` does, transposed: that is what PyTorch is fast on."""
    arrays = operands["X"], np.ascontiguousarray(operands["W"].T), operands["b"]
    X, W, b = (_tensor(array).requires_grad_() for array in arrays)
    y = _tensor(operands["y"])

    def call() -> Any:
        loss = functional.cross_entropy(functional.linear(X, W, b), y)
        dX, dW, db = torch.autograd.grad(loss, (X, W, b))
        return loss, dX, dW.t(), db

    return call


TABLE: dict[str, Prepare] = {
    "softmax": _forward(torch.softmax),
    "log_softmax": _forward(torch.log_softmax),
    "logsumexp": _forward(torch.logsumexp, several_axes=True),
    "softmax_vjp": _softmax_vjp,
    "softmax_jacobian": _softmax_jacobian,
    "softmax_layer_jacobian": _softmax_layer_jacobian,
    "cross_entropy_with_grad": _cross_entropy_with_grad,
    "linear_cross_entropy_with_grad": _linear_cross_entropy_with_grad,
}
