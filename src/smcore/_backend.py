"""Choose the backend, once, at import: compiled kernels where they load, else NumPy.

Every other module reaches the kernels through `core` (the backend in use), `kernels` (the one that
serves a dtype) and `reference` (NumPy, which serves all). `Kernels` is the interface of both.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from . import _reference

__all__ = ["Kernels", "core", "kernels", "reason", "reference"]

Array = NDArray[Any]
Function = TypeVar("Function", bound=Callable[..., Any])


class Kernels(Protocol):
    """What a backend provides: loops over checked rows.

    Operands are ``(A, B, K)`` with the class axis last, any strides, and share one native, aligned
    dtype. Outputs are written in place: an output is either exactly the same memory as an input of
    its shape, or does not overlap it. A scale is one number, or an array ``(A, B)`` of float64, one
    for each row.
    """

    @property
    def NAME(self) -> str: ...

    def softmax(self, x: Array, out: Array, scale: float | Array, /) -> None: ...
    def log_softmax(self, x: Array, out: Array, scale: float | Array, /) -> None: ...
    def logsumexp(self, x: Array, out: Array, /) -> None: ...
    def logsumexp_partial(self, x: Array, m: Array, s: Array, /) -> None: ...
    def softmax_jacobian(self, s: Array, out: Array, /) -> None: ...
    def softmax_vjp(self, s: Array, g: Array, out: Array, /) -> None: ...
    def log_softmax_jacobian(self, log_s: Array, out: Array, /) -> None: ...
    def log_softmax_vjp(self, log_s: Array, g: Array, out: Array, /) -> None: ...
    def log_softmax_jvp(self, log_s: Array, v: Array, out: Array, /) -> None: ...
    def logsumexp_vjp(self, x: Array, lse: Array, g: Array, out: Array, /) -> None: ...
    def logsumexp_merge(
        self, p_m: Array, p_s: Array, q_m: Array, q_s: Array, m: Array, s: Array, /
    ) -> None: ...
    def softmax_layer_jacobian(self, s: Array, x: Array, out: Array, /) -> None: ...
    def cross_entropy(
        self,
        x: Array,
        labels: Array | None,
        soft: Array | None,
        sample: Array | None,
        weight: Array | None,
        on: float,
        off: float,
        z_loss: float,
        factor: float,
        loss: Array,
        lse: Array | None,
        grad: Array | None,
        /,
    ) -> None: ...
    def fast_path(self, function: Function, /) -> Function: ...
    def targets(self) -> tuple[str, ...]: ...
    def active_target(self) -> str: ...
    def set_target(self, name: str, /) -> None: ...
    def compiler(self) -> str: ...
    def set_num_threads(self, count: int, /) -> None: ...
    def get_num_threads(self) -> int: ...


def _load() -> tuple[Kernels, str]:
    """Return the backend, and why it is this one."""
    forced = os.environ.get("SMCORE_BACKEND", "")
    if forced not in ("", "native", "numpy"):
        raise ImportError(
            f"SMCORE_BACKEND must be 'native' or 'numpy' (or unset), found {forced!r}"
        )
    why = "forced by SMCORE_BACKEND" if forced else "default"
    if forced != "numpy":
        try:
            import smcore._core as native  # `from .` blames a circle where there is none

            return native, why
        except ImportError as error:
            if forced:
                raise ImportError(
                    "SMCORE_BACKEND=native, but the compiled kernels cannot be imported "
                    f"({error}); the other value allowed is 'numpy'"
                ) from error
            why = f"the compiled kernels cannot be imported: {error}"
    return _reference, why


reference: Kernels = _reference  # serves every dtype
core, reason = _load()


def kernels(dtype: np.dtype[Any]) -> Kernels:
    """Return the backend that serves `dtype`: extended precision is NumPy's alone."""
    return reference if dtype.char == "g" else core
