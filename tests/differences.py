"""Derivatives by central differences of fourth order, in float64."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

Array = np.ndarray[Any, np.dtype[Any]]

# f'(0) = Σ weight·f(place·h)/h + O(h⁴)
STENCIL = ((-2, 1 / 12), (-1, -8 / 12), (1, 8 / 12), (2, -1 / 12))
# balances the truncation h⁴ against the rounding ε/h
STEP = 2.0**-10


def directional(f: Callable[[Array], Any], x: Array, v: Array) -> Array:
    """The derivative of f at x along v."""
    return np.asarray(
        sum(weight * np.asarray(f(x + place * STEP * v)) for place, weight in STENCIL) / STEP
    )


def jacobian(f: Callable[[Array], Any], x: Array) -> Array:
    """df/dx: the axes of f, then those of x."""
    units = np.eye(x.size).reshape(x.size, *x.shape)
    columns = [directional(f, x, unit) for unit in units]
    return np.stack(columns, -1).reshape(*columns[0].shape, *x.shape)
