"""smcore itself."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

import smcore

from ..card import Cell
from ..measure import Call
from ..operands import Operands
from . import Prepare

VERSION = smcore.__version__
to_numpy = np.asarray


def _function(function: Callable[..., Any], *names: str, axis: bool = True) -> Prepare:
    """Prepare `function` on the operands of these names, with `axis` and `out` where needed."""

    def prepare(cell: Cell, operands: Operands) -> Call:
        options: dict[str, Any] = {"axis": cell.axis} if axis and cell.axis != -1 else {}
        if "out" in operands:
            options["out"] = operands["out"]
        return partial(function, *(operands[name] for name in names), **options)

    return prepare


TABLE: dict[str, Prepare] = {
    "softmax": _function(smcore.softmax, "x"),
    "log_softmax": _function(smcore.log_softmax, "x"),
    "logsumexp": _function(smcore.logsumexp, "x"),
    "softmax_vjp": _function(smcore.softmax_vjp, "s", "g"),
    "softmax_jacobian": _function(smcore.softmax_jacobian, "s"),
    "softmax_layer_jacobian": _function(smcore.softmax_layer_jacobian, "s", "x", axis=False),
    "cross_entropy_with_grad": _function(smcore.cross_entropy_with_grad, "x", "y"),
    "linear_cross_entropy_with_grad": _function(
        smcore.linear_cross_entropy_with_grad, "X", "W", "y", "b", axis=False
    ),
}
