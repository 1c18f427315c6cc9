"""What the derivatives share: rows of boxed arrays."""

from __future__ import annotations

from typing import Any

import autograd.numpy as anp
from autograd.tracer import getval, isbox

from .._arrays import Axis
from .._rows import Rows

__all__ = ["kept", "kept_sum", "only", "value"]


def value(x: Any) -> Any:
    """Return what is in the boxes of all traces."""
    while isbox(x):
        x = getval(x)
    return x


def only(x: Any, where: Any) -> Any:
    return x if where is None else anp.where(where, x, 0)


def kept_sum(x: Any, axis: Axis) -> Any:
    """Return the sums of rows, each as a row of length 1."""
    return anp.sum(x, axis=axis, keepdims=True)


def kept(values: Any, x: Any, axis: Axis) -> Any:
    """Return one value for each row of `x`, each as a row of length 1."""
    return anp.reshape(values, Rows(anp.shape(x), axis).kept)
