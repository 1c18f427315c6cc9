"""softmax, log_softmax, softmax_vjp and logsumexp for Numba."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .._logsumexp import logsumexp
from .._products import softmax_vjp
from .._softmax import log_softmax, softmax
from ._api import log_softmax_rows, logsumexp_rows, softmax_rows, softmax_vjp_rows
from ._judge import (
    jitable,
    require,
    require_integer,
    require_like,
    require_number,
    require_out,
    serves,
)
from ._memory import address, blocks_of, first, number_of, room, rows_of, values_of, whole

__all__: list[str] = []


def _map(function: Callable[..., Any], kernel: Any) -> None:
    """Let Numba know a function from rows to rows."""

    @jitable
    def run(x: Any, axis: int, scale: float, y: Any) -> None:
        blocks, n, k, row, col = blocks_of(x, axis)
        for i in range(blocks):
            at = i * n * k * x.itemsize
            start, end = address(x) + at, address(y) + at
            kernel(number_of(x), n, k, start, row, col, end, row, col, scale)

    @serves(function)
    def typed(
        x: Any, axis: Any = -1, where: Any = None, scale: Any = 1.0, dtype: Any = None,
        out: Any = None,
    ) -> Any:  # fmt: skip
        require(x, "x", where=where, dtype=dtype)
        require_integer(axis, "axis")
        require_number(scale, "scale")
        require_out(out, x)

        def compiled(
            x: Any, axis: Any = -1, where: Any = None, scale: Any = 1.0, dtype: Any = None,
            out: Any = None,
        ) -> Any:  # fmt: skip
            if not np.isfinite(scale):
                raise ValueError("scale must be finite")
            y = room(x, out)
            run(rows_of(x, y), axis, scale, y)
            return y

        return compiled


_map(softmax, softmax_rows)
_map(log_softmax, log_softmax_rows)


@jitable
def _multiply(s: Any, g: Any, axis: int, y: Any) -> None:
    blocks, n, k, row, col = blocks_of(s, axis)
    for i in range(blocks):
        at = i * n * k * s.itemsize
        first, second, end = address(s) + at, address(g) + at, address(y) + at
        softmax_vjp_rows(number_of(s), n, k, first, row, col, second, row, col, end, row, col)


@serves(softmax_vjp)
def _type_softmax_vjp(s: Any, g: Any, axis: Any = -1, where: Any = None, out: Any = None) -> Any:
    require(s, "s", where=where)
    require_like(g, "g", s)
    require_integer(axis, "axis")
    require_out(out, s)

    def compiled(s: Any, g: Any, axis: Any = -1, where: Any = None, out: Any = None) -> Any:
        if g.shape != s.shape:
            raise ValueError("g must have the shape of s")
        y = room(s, out)
        _multiply(rows_of(s, y), rows_of(g, y), axis, y)
        return y

    return compiled


# ---- logsumexp -----------------------------------------------------------------------------------


@jitable
def _fill_logsumexp(x: Any, axis: int, y: Any) -> None:
    blocks, n, k, row, col = blocks_of(x, axis)
    if k == 0:
        y.fill(-np.inf)
    for i in range(blocks):
        start, end = address(x) + i * n * k * x.itemsize, address(y) + i * n * x.itemsize
        logsumexp_rows(number_of(x), n, k, start, row, col, end)


@serves(logsumexp)
def _type_logsumexp(
    x: Any, axis: Any = -1, b: Any = None, where: Any = None, keepdims: Any = False,
    return_sign: Any = False, dtype: Any = None, out: Any = None,
) -> Any:  # fmt: skip
    require(
        x, "x", b=b, where=where, keepdims=keepdims, return_sign=return_sign, dtype=dtype, out=out
    )
    require_integer(axis, "axis")
    pick = first if x.ndim == 1 else whole

    def compiled(
        x: Any, axis: Any = -1, b: Any = None, where: Any = None, keepdims: Any = False,
        return_sign: Any = False, dtype: Any = None, out: Any = None,
    ) -> Any:  # fmt: skip
        y = values_of(x, axis)
        _fill_logsumexp(np.ascontiguousarray(x), axis, y)
        return pick(y)

    return compiled
