"""Arithmetic without warnings: every function of the NumPy backend, and the products of layers."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import ParamSpec, TypeVar

import numpy as np

__all__ = ["quiet"]

_Parameters = ParamSpec("_Parameters")
_Result = TypeVar("_Result")


def quiet(function: Callable[_Parameters, _Result]) -> Callable[_Parameters, _Result]:
    """Run `function` without floating-point warnings; each call has a context of its own.

    NumPy clears the processor's flags before an addition, so that none is left behind, either:
    np.matmul leaves them.
    """

    @functools.wraps(function)
    def wrapper(*args: _Parameters.args, **kwargs: _Parameters.kwargs) -> _Result:
        with np.errstate(all="ignore"):
            result = function(*args, **kwargs)
        np.add(0.0, 0.0)
        return result

    return wrapper
