"""Choose the backend, once, at import: compiled kernels where they load, else NumPy.

Every other module reaches the kernels through `core` (the backend in use) and `kernels`
(the one that serves a dtype). `Kernels` is the interface that both backends implement.
"""

from __future__ import annotations

import importlib
import os
import platform
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from typing import Any, Protocol, TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from . import _reference

__all__ = [
    "Kernels",
    "backend",
    "config",
    "core",
    "kernels",
    "show_config",
    "targets",
    "use_target",
]

Array = NDArray[Any]
Function = TypeVar("Function", bound=Callable[..., Any])


class Kernels(Protocol):
    """What a backend provides: loops over checked rows.

    Operands are ``(A, B, K)`` with the class axis last, any strides, and share one native, aligned
    dtype. Outputs are written in place: an output is either exactly the same memory as an input of
    its shape, or does not overlap it.
    """

    NAME: str

    def softmax(self, x: Array, out: Array, scale: float, /) -> None: ...
    def log_softmax(self, x: Array, out: Array, scale: float, /) -> None: ...
    def logsumexp(self, x: Array, out: Array, /) -> None: ...
    def softmax_jacobian(self, s: Array, out: Array, /) -> None: ...
    def softmax_vjp(self, s: Array, g: Array, out: Array, /) -> None: ...
    def log_softmax_jacobian(self, log_s: Array, out: Array, /) -> None: ...
    def log_softmax_vjp(self, log_s: Array, g: Array, out: Array, /) -> None: ...
    def log_softmax_jvp(self, log_s: Array, v: Array, out: Array, /) -> None: ...
    def logsumexp_vjp(self, x: Array, lse: Array, g: Array, out: Array, /) -> None: ...
    def softmax_layer_jacobian(self, s: Array, x: Array, out: Array, /) -> None: ...
    def cross_entropy(
        self,
        x: Array,
        labels: Array | None,
        soft: Array | None,
        weight: Array | None,
        on: float,
        off: float,
        factor: float,
        loss: Array,
        grad: Array | None,
        /,
    ) -> None: ...
    def fast_path(self, function: Function, /) -> Function: ...
    def targets(self) -> tuple[str, ...]: ...
    def active_target(self) -> str: ...
    def set_target(self, name: str, /) -> None: ...
    def compiler(self) -> str: ...


def _load() -> tuple[Kernels, str]:
    """Return the backend, and why it is this one."""
    forced = os.environ.get("SMCORE_BACKEND", "")
    if forced not in ("", "native", "numpy"):
        raise ImportError(
            f"SMCORE_BACKEND must be 'native' or 'numpy' (or unset), found {forced!r}"
        )
    reason = "forced by SMCORE_BACKEND" if forced else "default"
    if forced != "numpy":
        try:
            return cast(Kernels, importlib.import_module("smcore._core")), reason
        except ImportError as error:
            if forced:
                raise ImportError(
                    "SMCORE_BACKEND=native, but the compiled kernels cannot be imported "
                    f"({error}); the other value allowed is 'numpy'"
                ) from error
            reason = f"the compiled kernels cannot be imported: {error}"
    return _reference, reason


def _force_target() -> None:
    name = os.environ.get("SMCORE_TARGET", "")
    if not name:
        return
    if name not in core.targets():
        raise ImportError(f"SMCORE_TARGET={name!r} {_not_a_target()}")
    core.set_target(name)


def _not_a_target() -> str:
    available = ", ".join(map(repr, core.targets())) or "none, as the NumPy backend is in use"
    return f"is not a target that this processor can run; available: {available}"


core, _reason = _load()
_force_target()


def kernels(dtype: np.dtype[Any]) -> Kernels:
    """Return the backend that serves `dtype`: extended precision is NumPy's alone."""
    return _reference if dtype.char == "g" else core


def backend() -> str:
    """Return the name of the backend in use.

    Returns
    -------
    str
        ``"native"`` (compiled kernels) or ``"numpy"``. The environment variable
        ``SMCORE_BACKEND`` forces either; without it the compiled kernels are used where they load.

    See Also
    --------
    show_config : The whole configuration, with the reason for the backend.

    Examples
    --------
    >>> import smcore
    >>> smcore.backend() in ("native", "numpy")
    True
    """
    return core.NAME


def targets() -> tuple[str, ...]:
    """Return the instruction sets that the compiled kernels can use on this processor.

    Returns
    -------
    tuple of str
        Best first; the first is the one used unless told otherwise. Empty with the NumPy backend.

    See Also
    --------
    use_target : Choose one of them.

    Examples
    --------
    >>> import smcore
    >>> bool(smcore.targets()) == (smcore.backend() == "native")
    True
    """
    return core.targets()


def use_target(name: str) -> AbstractContextManager[object]:
    """Compute with one instruction set from now on, or within a ``with`` block.

    The choice holds for the whole process. The environment variable ``SMCORE_TARGET`` makes it at
    import.

    Parameters
    ----------
    name : str
        One of `targets()`.

    Returns
    -------
    context manager
        Restores the former target on exit. To keep `name`, ignore it.

    Raises
    ------
    ValueError
        If `name` is not one of `targets()`.

    Examples
    --------
    >>> import smcore
    >>> for name in smcore.targets():
    ...     with smcore.use_target(name):
    ...         assert smcore.softmax([1.0, 1.0]).tolist() == [0.5, 0.5]
    """
    if name not in core.targets():
        raise ValueError(f"name: {name!r} {_not_a_target()}")
    stack = ExitStack()
    stack.callback(core.set_target, core.active_target())
    core.set_target(name)
    return stack


def config() -> dict[str, str]:
    """Return what `show_config` prints, as text by label."""
    from . import __version__  # here, as the package imports this module before it is complete

    return {
        "smcore": __version__,
        "backend": f"{core.NAME} ({_reason})",
        "target": core.active_target(),
        "targets": ", ".join(core.targets()) or "none",
        "compiler": core.compiler(),
        "NumPy": np.__version__,
        "Python": f"{platform.python_version()} ({platform.machine()}, {platform.system()})",
    }


def show_config() -> None:
    """Print the version, the backend and why it is in use, the instruction sets and the compiler.

    See Also
    --------
    backend : The name of the backend alone.
    targets : The instruction sets alone.

    Examples
    --------
    >>> import smcore
    >>> smcore.show_config()  # doctest: +ELLIPSIS
    smcore    ...
    backend   ...
    """
    for label, value in config().items():
        print(f"{label:<9} {value}")
