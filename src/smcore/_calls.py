"""What all public functions share: a fast path, where the backend knows one, and help by name.

Whoever comes from another library may call an argument by its name there. Python refuses that; the
error then says what it is called here. Nothing is looked up before a call has failed.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable
from typing import Any, TypeVar, cast

from ._backend import core

__all__ = ["public"]

Function = TypeVar("Function", bound=Callable[..., Any])

_AXIS = {"axis": "use axis"}
_SCALE = {"scale": "use scale=1/temperature"}
_TARGET = {"target": "use target"}
_WEIGHT = {"weight": "use weight"}
_FIRST = {
    "x": "the first argument is x",
    "X": "the first argument is X",
    "s": "the first argument is s, what softmax returned",
    "log_s": "the first argument is log_s, what log_softmax returned",
}

# Names elsewhere; for each the parameters that may be meant, and what to say of them.
_ELSEWHERE = {
    "dim": _AXIS,
    "dims": _AXIS,
    "axes": _AXIS,
    "keepdim": {"keepdims": "use keepdims"},
    "mask": {"where": "use where, which is True for the entries that take part"},
    "temperature": _SCALE,
    "tau": _SCALE,
    "T": _SCALE,
    "a": _FIRST,
    "x": _FIRST,
    "z": _FIRST,
    "input": _FIRST,
    "logits": _FIRST,
    "y": _TARGET,
    "y_true": _TARGET,
    "labels": _TARGET,
    "targets": _TARGET,
    "weights": _WEIGHT,
    "class_weight": _WEIGHT,
    "smoothing": {"label_smoothing": "use label_smoothing"},
    "bias": {"b": "use b"},
    "grad_output": {"g": "use g"},
    "tangent": {"v": "use v"},
}


def public(function: Function) -> Function:
    """Return `function` as it is offered to users.

    A backend that has a fast path for it asks `_remedy` itself, so that ordinary calls gain nothing
    on their way.
    """
    found = core.fast_path(function)
    if found is not function:
        found._remedy = _remedy  # type: ignore[attr-defined]
        return found

    @functools.wraps(function)
    def call(*arguments: Any, **keywords: Any) -> Any:
        try:
            return function(*arguments, **keywords)
        except TypeError:
            message = _remedy(function, keywords)
            if message is None:
                raise
        raise TypeError(message)

    call.__signature__ = inspect.signature(function)  # type: ignore[attr-defined]
    return cast(Function, call)


def _remedy(function: Callable[..., Any], keywords: Iterable[str]) -> str | None:
    """Return the message for a call with these keywords, if one is known by another name here."""
    parameters = list(inspect.signature(function).parameters)
    for keyword in keywords:
        hints = {} if keyword in parameters else _ELSEWHERE.get(keyword, {})
        for name in parameters[:1] if hints is _FIRST else parameters:
            if name in hints:
                error = f"{function.__name__}() got an unexpected keyword argument {keyword!r}"
                return f"{error}; {hints[name]}"
    return None
