"""`smcore` in functions that Numba compiles: there is nothing to import or to register.

Numba loads this module by its entry point before it compiles anything. `softmax`, `log_softmax`,
`logsumexp`, `softmax_vjp` and `cross_entropy_with_grad` are then known to it, and call the kernels
by the C API. They work in the thread that calls, and any number of threads may call them.

Examples
--------
>>> import numba, numpy as np, smcore
>>> @numba.njit
... def surest(x):
...     return smcore.softmax(x).max()
>>> round(surest(np.array([0.0, 0.0, np.log(2.0)])), 4)
0.5
"""

try:
    import numba  # noqa: F401
except ModuleNotFoundError as _error:
    raise ImportError("smcore.numba needs Numba: pip install 'softmax-core[numba]'") from _error

from . import _cross_entropy, _rowwise  # noqa: F401 (what they register)

__all__ = ["init"]


def init() -> None:
    """Do nothing: Numba's entry point has to name a function, and importing the module is all."""
