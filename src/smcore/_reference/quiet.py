"""Arithmetic without warnings, which every function of the backend runs in."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import ParamSpec

import numpy as np

__all__ = ["quiet"]

_Parameters = ParamSpec("_Parameters")


def quiet(function: Callable[_Parameters, None]) -> Callable[_Parameters, None]:
    """Run `function` without floating-point warnings; each call has a context of its own.

    NumPy clears the processor's flags before an addition, so that none is left behind, either.
    """

    @functools.wraps(function)
    def wrapper(*args: _Parameters.args, **kwargs: _Parameters.kwargs) -> None:
        with np.errstate(all="ignore"):
            function(*args, **kwargs)
        np.add(0.0, 0.0)

    return wrapper
