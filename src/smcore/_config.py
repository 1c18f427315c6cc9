"""What the user may ask of the backend, and choose: instruction sets and threads."""

from __future__ import annotations

import importlib.util
import operator
import os
import platform
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import SupportsIndex, TypeVar

import numpy as np

from ._backend import core, reason
from ._version import __version__

__all__ = [
    "backend",
    "config",
    "get_include",
    "get_num_threads",
    "set_num_threads",
    "show_config",
    "targets",
    "use_target",
]

Value = TypeVar("Value")

_MAX_THREADS = 1024  # more than cores, and no more than a system gives a process


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


def use_target(name: str) -> AbstractContextManager[str]:
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
        Gives `name`, and restores the former target on exit. To keep `name`, ignore it.

    Raises
    ------
    ValueError
        If `name` is not one of `targets()`.

    Examples
    --------
    >>> import smcore
    >>> for target in smcore.targets():
    ...     with smcore.use_target(target) as name:
    ...         assert name == target
    ...         assert smcore.softmax([1.0, 1.0]).tolist() == [0.5, 0.5]
    """
    if name not in core.targets():
        raise ValueError(f"name: {name!r} {_not_a_target()}")
    former = core.active_target()
    core.set_target(name)
    return _Restoring(name, lambda: core.set_target(former))


def set_num_threads(n: SupportsIndex) -> AbstractContextManager[int]:
    """Let a call use so many threads from now on, or within a ``with`` block.

    The number holds for the whole process. Its default is the environment variable
    ``SMCORE_NUM_THREADS``, else ``OMP_NUM_THREADS``, else the number of cores that the process may
    use.

    Parameters
    ----------
    n : int
        From 1 to 1024, the thread that makes the call included.

    Returns
    -------
    context manager
        Gives `n`, and restores the former number on exit. To keep `n`, ignore it.

    Raises
    ------
    TypeError
        If `n` is not an integer.
    ValueError
        If `n` is out of range.

    See Also
    --------
    get_num_threads : The number in use.

    Notes
    -----
    Results are the same, to the last bit, for any number. Only arrays large enough to gain by it
    are shared out, by rows. The threads are started when first needed, and sleep in between; a call
    made while another has them computes alone. The NumPy backend computes with one thread, whatever
    `n` is.

    A signal, as of Ctrl-C, is heard between pieces of a long call of the main thread. What its
    handler raises ends the call; `out` then holds results in some rows, while others are as they
    were, or were being computed and hold anything.

    Examples
    --------
    >>> import smcore
    >>> with smcore.set_num_threads(2) as n:
    ...     n, smcore.get_num_threads()
    (2, 2)
    """
    try:
        count = operator.index(n)
    except TypeError:
        raise TypeError(f"n must be an integer; found {n!r}") from None
    _as_num_threads(count, "n")
    former = core.get_num_threads()
    core.set_num_threads(count)
    return _Restoring(count, lambda: core.set_num_threads(former))


def get_num_threads() -> int:
    """Return how many threads a call may use.

    Returns
    -------
    int
        The thread that makes the call included.

    See Also
    --------
    set_num_threads : Choose the number.

    Examples
    --------
    >>> import smcore
    >>> smcore.get_num_threads() >= 1
    True
    """
    return core.get_num_threads()


def get_include() -> str:
    """Return the folder of ``smcore.h``, the C API, to compile other modules with.

    Cython modules need no folder: ``cimport smcore``.

    Returns
    -------
    str
        To be given to the compiler, for example in ``include_dirs`` of setuptools.

    Raises
    ------
    RuntimeError
        If `smcore` is installed without compiled kernels.

    Examples
    --------
    >>> import os
    >>> import smcore
    >>> if smcore.backend() == "native":
    ...     assert os.listdir(smcore.get_include()) == ["smcore.h"]
    """
    found = importlib.util.find_spec("smcore._core")
    if found is None or found.origin is None:
        raise RuntimeError(
            "smcore is installed without compiled kernels, so it has no C API: install a wheel for "
            "this platform, or compile it with SMCORE_BUILD=c"
        )
    return str(Path(found.origin).parent / "include")


def config() -> dict[str, str]:
    """Return what `show_config` prints, as text by label."""
    return {
        "smcore": __version__,
        "backend": f"{core.NAME} ({reason})",
        "target": core.active_target(),
        "targets": ", ".join(core.targets()) or "none",
        "compiler": core.compiler(),
        "threads": str(core.get_num_threads()),
        "NumPy": np.__version__,
        "Python": f"{platform.python_version()} ({platform.machine()}, {platform.system()})",
    }


def show_config() -> None:
    """Print the version, the backend and why, the instruction sets, the compiler and the threads.

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


class _Restoring(AbstractContextManager[Value]):
    """Gives what was chosen, and restores what was before, once."""

    def __init__(self, chosen: Value, restore: Callable[[], object]) -> None:
        self._chosen = chosen
        self._stack = ExitStack()
        self._stack.callback(restore)

    def __enter__(self) -> Value:
        return self._chosen

    def __exit__(self, *error: object) -> None:
        self._stack.close()


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


def _cores() -> int:
    """Return how many cores this process may use."""
    if hasattr(os, "process_cpu_count"):  # Python 3.13
        count = os.process_cpu_count()
    elif hasattr(os, "sched_getaffinity"):
        count = len(os.sched_getaffinity(0))
    else:
        count = os.cpu_count()
    return count or 1


def _default_num_threads() -> int:
    """Return the number of threads that the environment asks for, else that of the cores."""
    forced = os.environ.get("SMCORE_NUM_THREADS", "").strip()
    if forced:
        try:
            return _as_num_threads(int(forced), "SMCORE_NUM_THREADS")
        except ValueError:
            raise ImportError(
                f"SMCORE_NUM_THREADS must be an integer from 1 to {_MAX_THREADS} (or unset), "
                f"found {forced if len(forced) <= 40 else forced[:40] + '...'!r}"
            ) from None
    # Not our own: a list has a number for each level of nesting, and the rest is left to OpenMP.
    shared = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0].strip()
    digits = shared.lstrip("0") if shared.isascii() and shared.isdigit() else ""
    count = int(digits[:9] or 0)  # all of them may be more than Python converts
    return min(count or _cores(), _MAX_THREADS)


def _as_num_threads(count: int, name: str) -> int:
    if not 1 <= count <= _MAX_THREADS:
        raise ValueError(f"{name} must be from 1 to {_MAX_THREADS}; found {count}")
    return count


_force_target()
core.set_num_threads(_default_num_threads())
