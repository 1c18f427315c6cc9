"""PyTorch: its functions where there are some, autograd for the losses."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from ..card import Cell
from ..measure import Call
from ..operands import Array, Operands, arrays_of
from ..settings import threads
from . import Prepare, UnsupportedError

VERSION = f"{torch.__version__} ({torch.backends.cpu.get_cpu_capability()})"

torch.set_num_threads(threads())


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


def _function(function: Any) -> Prepare:
    """Prepare a function of the operands, one that gives no choice of axis or ``out``."""

    def prepare(cell: Cell, operands: Operands) -> Call:
        if cell.axis != -1 or cell.out:
            raise UnsupportedError("is written for the last axis, without out")
        return partial(function, *map(_tensor, arrays_of(cell, operands)))

    return prepare


def _backward(function: Any) -> Prepare:
    """Prepare what autograd calls, on output and gradient."""

    def prepare(cell: Cell, operands: Operands) -> Call:
        if isinstance(cell.axis, tuple):
            raise UnsupportedError("takes one axis")
        if cell.out:
            raise UnsupportedError("has no out")
        result, g = map(_tensor, arrays_of(cell, operands))
        return partial(function, g, result, cell.axis, result.dtype)

    return prepare


def _product(s: Any, v: Any) -> Any:
    return torch._softmax_backward_data(v, s, -1, s.dtype)


def _log_softmax_jvp(log_s: Any, v: Any) -> Any:
    return v - log_s.exp().mul_(v).sum(-1, keepdim=True)


def _softmax_from_lse(x: Any, lse: Any) -> Any:
    return (x - lse.unsqueeze(-1)).exp_()


def _logsumexp_vjp(x: Any, lse: Any, g: Any) -> Any:
    return _softmax_from_lse(x, lse).mul_(g.unsqueeze(-1))


def _logsumexp_merge(m: Any, rest: Any, m2: Any, rest2: Any) -> Any:
    return torch.logaddexp(m, m2)


def _softmax_jacobian(s: Any) -> Any:
    J = s.neg().unsqueeze(-1) * s.unsqueeze(-2)
    J.diagonal(dim1=-2, dim2=-1).add_(s)
    return J


def _log_softmax_jacobian(log_s: Any) -> Any:
    row = log_s.exp().neg_().unsqueeze(-2)
    J = row.expand(*log_s.shape, log_s.shape[-1]).clone(memory_format=torch.contiguous_format)
    J.diagonal(dim1=-2, dim2=-1).add_(1)
    return J


def _softmax_layer_jacobian(s: Any, X: Any) -> Any:
    return (_softmax_jacobian(s).unsqueeze(-1) * X).view(len(s), -1)


def _layer(function: Any) -> Prepare:
    """Prepare a function of a layer whose weights are kept as ``torch.nn.Linear`` does, transposed.

    That is what PyTorch is fast on.
    """

    def prepare(cell: Cell, operands: Operands) -> Call:
        weights = {name: array.T.copy() for name, array in operands.items() if name in ("W", "dW")}
        return partial(function, *map(_tensor, arrays_of(cell, operands | weights)))

    return prepare


def _softmax_layer(X: Any, W: Any, b: Any) -> Any:
    return torch.softmax(functional.linear(X, W, b), -1)


def _softmax_layer_vjp(s: Any, X: Any, W: Any, g: Any) -> Any:
    dZ = _product(s, g)
    return (dZ.t() @ X).t(), dZ.sum(0), dZ @ W


def _softmax_layer_jvp(s: Any, X: Any, W: Any, dW: Any, db: Any, dX: Any) -> Any:
    return _product(s, torch.addmm(functional.linear(X, dW, db), dX, W.t()))


def _cross_entropy_with_grad(x: Any, y: Any) -> Any:
    x.requires_grad_()
    loss = functional.cross_entropy(x, y)
    return loss, torch.autograd.grad(loss, x)


def _cross_entropy_hvp(s: Any, v: Any) -> Any:
    return _product(s, v).div_(len(s))


def _linear_cross_entropy(X: Any, W: Any, y: Any, b: Any) -> Any:
    return functional.cross_entropy(functional.linear(X, W, b), y)


def _linear_cross_entropy_with_grad(X: Any, W: Any, y: Any, b: Any) -> Any:
    for parameter in (X, W, b):
        parameter.requires_grad_()
    loss = _linear_cross_entropy(X, W, y, b)
    dX, dW, db = torch.autograd.grad(loss, (X, W, b))
    return loss, dX, dW.t(), db


def _linear_cross_entropy_hvp(X: Any, W: Any, dW: Any, b: Any, db: Any) -> Any:
    dZ = _cross_entropy_hvp(_softmax_layer(X, W, b), functional.linear(X, dW, db))
    return (dZ.t() @ X).t(), dZ.sum(0)


TABLE: dict[str, Prepare] = {
    "softmax": _forward(torch.softmax),
    "log_softmax": _forward(torch.log_softmax),
    "logsumexp": _forward(torch.logsumexp, several_axes=True),
    "softmax_vjp": _backward(torch._softmax_backward_data),
    "log_softmax_vjp": _backward(torch._log_softmax_backward_data),
    "log_softmax_jvp": _function(_log_softmax_jvp),
    "logsumexp_vjp": _function(_logsumexp_vjp),
    "softmax_from_lse": _function(_softmax_from_lse),
    "logsumexp_partial": _forward(torch.logsumexp, several_axes=True),
    "logsumexp_merge": _function(_logsumexp_merge),
    "softmax_jacobian": _function(_softmax_jacobian),
    "log_softmax_jacobian": _function(_log_softmax_jacobian),
    "SoftmaxJacobian.matvec": _function(_product),
    "softmax_layer": _layer(_softmax_layer),
    "softmax_layer_jacobian": _function(_softmax_layer_jacobian),
    "softmax_layer_vjp": _layer(_softmax_layer_vjp),
    "softmax_layer_jvp": _layer(_softmax_layer_jvp),
    "cross_entropy": _function(functional.cross_entropy),
    "cross_entropy_with_grad": _function(_cross_entropy_with_grad),
    "cross_entropy_hvp": _function(_cross_entropy_hvp),
    "linear_cross_entropy": _layer(_linear_cross_entropy),
    "linear_cross_entropy_with_grad": _layer(_linear_cross_entropy_with_grad),
    "linear_cross_entropy_hvp": _layer(_linear_cross_entropy_hvp),
}
