"""The C API as compiled code calls it: by symbols, which LLVM looks up in each process anew."""

from __future__ import annotations

from typing import Any

import llvmlite.binding
from numba import types
from numba.extending import get_cython_function_address

__all__ = [
    "cross_entropy_rows",
    "log_softmax_rows",
    "logsumexp_rows",
    "missing",
    "softmax_rows",
    "softmax_vjp_rows",
    "sum_values",
]

_ROWS = (types.intp,) * 3  # a pointer and two strides
_START = (types.int32, types.intp, types.intp)  # dtype, n, k
_SIGNATURES = {  # pointers are integers: 0 is NULL
    "softmax_rows": types.int32(*_START, *_ROWS, *_ROWS, types.float64),
    "log_softmax_rows": types.int32(*_START, *_ROWS, *_ROWS, types.float64),
    "logsumexp_rows": types.int32(*_START, *_ROWS, types.intp),
    "softmax_vjp_rows": types.int32(*_START, *_ROWS, *_ROWS, *_ROWS),
    "cross_entropy_rows": types.int32(
        *(*_START, *_ROWS, types.intp, *_ROWS, types.intp, types.intp),
        *(types.float64, types.float64, types.float64, types.intp, types.intp, *_ROWS),
    ),
    "sum_values": types.float64(types.int32, types.intp, types.intp),
}


def _symbol(name: str) -> str:
    """Return how code calls a function, from a cache too: that of version 1 of the API."""
    return f"smcore_1_{name}"


def _find() -> str:
    """Tell LLVM where the functions are in this process; return why that cannot be, or ''."""
    for name in _SIGNATURES:
        try:
            address = get_cython_function_address("smcore._core", name)
        except ImportError as error:
            return str(error)
        llvmlite.binding.add_symbol(_symbol(name), address)
    return ""


missing = _find()
_functions: list[Any] = [
    types.ExternalFunction(_symbol(name), signature) for name, signature in _SIGNATURES.items()
]
softmax_rows, log_softmax_rows, logsumexp_rows, softmax_vjp_rows = _functions[:4]
cross_entropy_rows, sum_values = _functions[4:]
