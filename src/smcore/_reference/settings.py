"""What the backend tells of itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NoReturn, TypeVar

__all__ = [
    "NAME",
    "active_target",
    "compiler",
    "fast_path",
    "get_num_threads",
    "set_num_threads",
    "set_target",
    "targets",
]

NAME = "numpy"

_Function = TypeVar("_Function", bound=Callable[..., Any])


def targets() -> tuple[str, ...]:
    """Return the instruction-set targets to choose from: none."""
    return ()


def active_target() -> str:
    """Return the name of the target in use, always ``"numpy"``."""
    return NAME


def set_target(name: str) -> NoReturn:
    """Refuse any target.

    Parameters
    ----------
    name : str
        The target asked for.

    Raises
    ------
    ValueError
        Always.
    """
    raise ValueError(
        f"target {name!r} cannot be used: the NumPy backend has no instruction-set targets"
    )


def compiler() -> str:
    """Return what compiled this backend: ``"none"``."""
    return "none"


_num_threads = 1


def set_num_threads(count: int) -> None:
    """Keep the number of threads asked for: what computes here is one.

    Parameters
    ----------
    count : int
        The number, positive.
    """
    global _num_threads
    _num_threads = count


def get_num_threads() -> int:
    """Return the number of threads asked for."""
    return _num_threads


def fast_path(function: _Function) -> _Function:
    """Return `function` itself: the NumPy backend has no shortcut for small calls."""
    return function
