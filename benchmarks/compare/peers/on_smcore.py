"""smcore itself."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

import smcore

from ..card import Cell
from ..measure import Call
from ..operands import Operands, arrays_of
from . import Prepare

VERSION = smcore.__version__
to_numpy = np.asarray


def _function(function: Callable[..., Any], *, axis: bool = True) -> Prepare:
    """Prepare `function` on all operands, with `axis` and `out` where needed."""

    def prepare(cell: Cell, operands: Operands) -> Call:
        options: dict[str, Any] = {"axis": cell.axis} if axis and cell.axis != -1 else {}
        if "out" in operands:
            options["out"] = operands["out"]
        return partial(function, *arrays_of(cell, operands), **options)

    return prepare


def _merge(cell: Cell, operands: Operands) -> Call:
    m, rest, m2, rest2 = arrays_of(cell, operands)
    return partial(smcore.logsumexp_merge, (m, rest), (m2, rest2))


def _matvec(cell: Cell, operands: Operands) -> Call:
    s, v = arrays_of(cell, operands)
    return partial(smcore.SoftmaxJacobian(s).matvec, v)


def _linear_cross_entropy_hvp(cell: Cell, operands: Operands) -> Call:
    X, W, dW, b, db = arrays_of(cell, operands)
    return partial(smcore.linear_cross_entropy_hvp, X, W, dW, b=b, Vb=db)


TABLE: dict[str, Prepare] = {
    "softmax": _function(smcore.softmax),
    "log_softmax": _function(smcore.log_softmax),
    "logsumexp": _function(smcore.logsumexp),
    "softmax_vjp": _function(smcore.softmax_vjp),
    "log_softmax_vjp": _function(smcore.log_softmax_vjp),
    "log_softmax_jvp": _function(smcore.log_softmax_jvp),
    "logsumexp_vjp": _function(smcore.logsumexp_vjp),
    "softmax_from_lse": _function(smcore.softmax_from_lse),
    "logsumexp_partial": _function(smcore.logsumexp_partial),
    "logsumexp_merge": _merge,
    "softmax_jacobian": _function(smcore.softmax_jacobian),
    "log_softmax_jacobian": _function(smcore.log_softmax_jacobian),
    "SoftmaxJacobian.matvec": _matvec,
    "softmax_layer": _function(smcore.softmax_layer, axis=False),
    "softmax_layer_jacobian": _function(smcore.softmax_layer_jacobian, axis=False),
    "softmax_layer_vjp": _function(smcore.softmax_layer_vjp, axis=False),
    "softmax_layer_jvp": _function(smcore.softmax_layer_jvp, axis=False),
    "cross_entropy": _function(smcore.cross_entropy),
    "cross_entropy_with_grad": _function(smcore.cross_entropy_with_grad),
    "cross_entropy_hvp": _function(smcore.cross_entropy_hvp),
    "linear_cross_entropy": _function(smcore.linear_cross_entropy, axis=False),
    "linear_cross_entropy_with_grad": _function(smcore.linear_cross_entropy_with_grad, axis=False),
    "linear_cross_entropy_hvp": _linear_cross_entropy_hvp,
}
