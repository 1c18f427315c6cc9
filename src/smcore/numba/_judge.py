"""Which types of arguments can be compiled."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NoReturn, TypeVar

from numba import types
from numba.core.errors import TypingError
from numba.extending import overload, register_jitable

from ._api import missing

__all__ = [
    "jitable",
    "refuse",
    "require",
    "require_integer",
    "require_like",
    "require_number",
    "require_out",
    "serves",
    "value_of",
]

Function = TypeVar("Function", bound=Callable[..., Any])

jitable: Callable[[Function], Function] = register_jitable


def serves(function: Callable[..., Any]) -> Callable[[Function], Function]:
    """Decorate what Numba asks for the code of that function, given types.

    Not strict: that would take annotations for differences between signatures.
    """
    found: Callable[[Function], Function] = overload(function, prefer_literal=True, strict=False)
    return found


def value_of(argument: Any) -> Any:
    """Return what an argument is, if that is known while compiling, else its type."""
    if isinstance(argument, types.Omitted):
        return argument.value
    if isinstance(argument, types.NoneType):
        return None
    return argument.literal_value if isinstance(argument, types.Literal) else argument


def refuse(argument: str, allowed: str, found: Any) -> NoReturn:
    """Raise what Numba shows as the reason why a call cannot be compiled."""
    raise TypingError(
        f"smcore in code that Numba compiles: {argument} must be {allowed}; found {found}"
    )


def require(x: Any, name: str, **left_out: Any) -> None:
    """Refuse an x that is no array of rows, and arguments that are to be left out."""
    if missing:
        raise TypingError(f"smcore in code that Numba compiles needs its kernels: {missing}")
    if (
        not isinstance(x, types.Array)
        or x.dtype not in (types.float32, types.float64)
        or not x.ndim
        or not x.aligned
    ):
        refuse(name, "an aligned array of float32 or float64 with an axis", x)
    for argument, value in left_out.items():
        if value_of(value) not in (None, False):
            refuse(argument, "left out", value)


def require_integer(value: Any, name: str) -> None:
    """Refuse an argument that is no integer."""
    value = value_of(value)
    if isinstance(value, bool) or not isinstance(value, int | types.Integer):
        refuse(name, "one integer", value)


def require_number(value: Any, name: str) -> None:
    """Refuse an argument that is no number."""
    value = value_of(value)
    if not isinstance(value, int | float | types.Integer | types.Float):
        refuse(name, "one number", value)


def require_like(value: Any, name: str, x: Any) -> None:
    """Refuse what is no array of the type and the axes of x."""
    if not isinstance(value, types.Array) or value.dtype != x.dtype or value.ndim != x.ndim:
        refuse(name, f"an array of {x.dtype} with {x.ndim} axes", value)


def require_out(out: Any, x: Any) -> None:
    """Refuse an `out` that results cannot be written to in place."""
    if value_of(out) is None:
        return
    require_like(out, "out", x)
    if out.layout != "C" or not out.mutable or not out.aligned:
        refuse("out", "C-contiguous and writable", out)
