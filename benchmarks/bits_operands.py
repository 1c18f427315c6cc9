"""The operands of bits.py: values that no other library decides, in every layout.

Operands are integers from the raw stream of PCG64, scaled by powers of two: exact, whatever
computes them. None passes through a function of libm or of NumPy whose last bit is anyone's choice.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import cases
import numpy as np

Array = np.ndarray[Any, np.dtype[Any]]

DIGITS = {"float32": 24, "float64": 53, "float16": 11, "bfloat16": 8}
SMALLEST = {"float32": -126, "float64": -1022, "float16": -14, "bfloat16": -126}  # normal: 2^this
LINE, PAGE = 64, 4096


# ---- values --------------------------------------------------------------------------------------


class Stream:
    """Numbers of one dtype, drawn alike everywhere."""

    def __init__(self, seed: str, dtype: str) -> None:
        self.bits = np.random.PCG64(zlib.crc32(seed.encode()))
        self.dtype, self.digits, self.smallest = dtype, DIGITS[dtype], SMALLEST[dtype]

    def integers(self, shape: tuple[int, ...], below: int) -> Array:
        """Integers from 0."""
        raw = self.bits.random_raw(math.prod(shape)) >> np.uint64(32)
        return (raw % np.uint64(below)).astype(np.int64).reshape(shape)

    def unit(self, shape: tuple[int, ...]) -> Array:
        """Numbers in (0, 1), of as many digits as the dtype has."""
        raw = self.bits.random_raw(math.prod(shape)) >> np.uint64(64 - self.digits)
        return (raw | np.uint64(1)).astype(np.float64).reshape(shape) * 2.0**-self.digits

    def signed(self, shape: tuple[int, ...]) -> Array:
        """Numbers in (-1, 1), of the same."""
        u = self.unit(shape)
        sign = 1.0 - 2.0 * self.integers(shape, 2)
        return u * sign


@dataclass(frozen=True)
class Draw:
    """What an operand is drawn from."""

    stream: Stream
    lead: tuple[int, ...]
    k: int
    special: bool
    inputs: int  # of a layer

    def rows(self, a: Array, kind: int, kinds: int) -> Array:
        """Every so many rows of `a`, flat: the first of a different kind for each length."""
        flat = a.reshape(-1, self.k)
        return flat[(kind - self.k - len(flat)) % kinds :: kinds]


def logits(d: Draw) -> Array:
    """Rows in turn: of any values; with a tie; with one far above; close to each other."""
    x = d.stream.signed((*d.lead, d.k)) * 8
    d.rows(x, 1, 4)[:, [d.k // 3, 2 * d.k // 3]] = 9
    d.rows(x, 2, 4)[:, d.k // 2] = 28
    d.rows(x, 3, 4)[...] *= 2.0**-6
    if d.special:
        add_special(d, x)
    return x


def add_special(d: Draw, x: Array) -> None:
    """Rows with what is not finite, subnormal or as large as can be."""
    largest, tiny = 2.0 ** (1 - d.stream.smallest), 2.0 ** (d.stream.smallest - 4)
    d.rows(x, 1, 9)[:, ::3] = -np.inf
    d.rows(x, 2, 9)[...] = -np.inf
    d.rows(x, 3, 9)[:, d.k // 2] = np.inf
    d.rows(x, 4, 9)[:, d.k // 2] = np.nan
    d.rows(x, 5, 9)[...] *= tiny
    d.rows(x, 6, 9)[...] *= largest / 32
    d.rows(x, 7, 9)[:, 1:] = -np.inf
    d.rows(x, 8, 9)[...] *= 16


def probabilities(d: Draw) -> Array:
    """Rows whose sums are about one: of any values; with a tie; nearly sure; sure."""
    s = d.stream.unit((*d.lead, d.k)) * 2.0 ** (1 - d.k.bit_length())
    d.rows(s, 1, 4)[:, [d.k // 3, 2 * d.k // 3]] = 0.375
    d.rows(s, 2, 4)[...] *= 2.0**-9
    d.rows(s, 2, 4)[:, d.k // 2] = 1 - 2.0**-7
    d.rows(s, 3, 8)[...] = 0
    d.rows(s, 3, 8)[:, d.k // 2] = 1
    if d.special:
        d.rows(s, 1, 5)[:, d.k // 2] = np.nan
        d.rows(s, 2, 5)[:, ::2] *= 2.0 ** (d.stream.smallest + 2)
        d.rows(s, 3, 5)[:, d.k // 3] = np.inf
        d.rows(s, 4, 5)[...] = 0
    return s


def log_probabilities(d: Draw) -> Array:
    """Likewise of logarithms: of no two classes is each more likely than not."""
    farthest = 2.0 ** d.k.bit_length().bit_length()
    log_s = (d.stream.unit((*d.lead, d.k)) + 1) * (-farthest / 2)
    d.rows(log_s, 1, 4)[:, [d.k // 3, 2 * d.k // 3]] = -0.75
    d.rows(log_s, 2, 4)[...] *= 8
    d.rows(log_s, 2, 4)[:, d.k // 2] = -(2.0**-7)
    d.rows(log_s, 3, 8)[...] = -np.inf
    d.rows(log_s, 3, 8)[:, d.k // 2] = 0
    if d.special:
        d.rows(log_s, 1, 5)[:, d.k // 2] = np.nan
        d.rows(log_s, 2, 5)[...] *= 2.0**6
        d.rows(log_s, 3, 5)[:, d.k // 3] = -(2.0 ** (d.stream.smallest - 3))
        d.rows(log_s, 4, 5)[...] = -np.inf
    return log_s


def one_per_row(d: Draw) -> Array:
    return d.stream.signed(d.lead) * 4


def pairs(d: Draw) -> Array:
    m, s = d.stream.signed((2, *d.lead)) * 8
    if d.special:
        m[..., ::3], m[..., 1::3] = -np.inf, np.nan
    return np.stack([m, s * 2.0 ** (-d.stream.digits - 3)])


def labels(d: Draw) -> Array:
    return d.stream.integers(d.lead, d.k)


def some_ignored(d: Draw) -> Array:
    found = labels(d)
    found[..., ::3] = -100
    return found


def inputs(d: Draw) -> Array:
    return d.stream.signed((*d.lead, d.inputs))


def per_class(d: Draw) -> Array:
    return d.stream.unit((d.k,)) * 2


def mask(d: Draw) -> Array:
    return d.stream.integers((*d.lead, d.k), 4) > 0


def scales(d: Draw) -> Array:
    """Float64 for any dtype; of both signs, and zero."""
    found = d.stream.signed(d.lead) * 2
    found[..., 4::9] = 0
    return found


DRAWN: dict[Any, Callable[[Draw], Array]] = {
    cases.logits: logits,
    cases.log_probabilities: log_probabilities,
    cases.probabilities: probabilities,
    cases.one_per_row: one_per_row,
    cases.pairs: pairs,
    cases.labels: labels,
    cases.inputs: inputs,
}


# ---- layouts -------------------------------------------------------------------------------------
# Of an array (..., k): a view with the same values, with the classes along the axis of the layout.


def new(shape: tuple[int, ...], dtype: Any, offset: int = 0) -> Array:
    """Memory that starts so many bytes after a cache line does."""
    size = math.prod(shape) * dtype.itemsize
    space = np.empty(size + LINE + offset, np.uint8)
    start = -space.ctypes.data % LINE + offset
    return space[start : start + size].view(dtype).reshape(shape)


def filled(view: Array, a: Array) -> Array:
    view[...] = a
    return view


def rows(a: Array) -> Array:
    return filled(new(a.shape, a.dtype), a)


def offset(a: Array) -> Array:
    return filled(new(a.shape, a.dtype, a.itemsize), a)


def gaps(a: Array) -> Array:
    return filled(new((*a.shape[:-1], a.shape[-1] + 3), a.dtype)[..., :-3], a)


def strided(a: Array) -> Array:
    return filled(new((*a.shape[:-1], 2 * a.shape[-1]), a.dtype)[..., ::2], a)


def reversed_(a: Array) -> Array:
    return filled(new(a.shape, a.dtype)[..., ::-1, ::-1], a)


def backwards(a: Array) -> Array:
    """Rows in reverse, each in order."""
    return filled(new(a.shape, a.dtype)[..., ::-1, :], a)


def unaligned(a: Array) -> Array:
    return filled(new(a.shape, a.dtype, 1), a)


def one_row(a: Array) -> Array:
    """The same row everywhere: a stride of 0."""
    return np.broadcast_to(rows(a[:1]), a.shape)


def one_class(a: Array) -> Array:
    """The same number in a row: a stride of 0."""
    return np.broadcast_to(rows(a[:, :1]), a.shape)


def columns(a: Array) -> Array:
    return rows(a.T)


def columns_offset(a: Array) -> Array:
    return offset(a.T)


def columns_reversed(a: Array) -> Array:
    return filled(new(a.T.shape, a.dtype)[::-1], a.T)


def wide(a: Array, bytes_: int) -> Array:
    """Columns, so many bytes from class to class; what lies between is never touched."""
    n, k = a.shape
    return filled(new((k, bytes_ // a.itemsize), a.dtype)[:, :n], a.T)


def columns_gaps(a: Array) -> Array:
    return wide(a, (a.shape[0] + 3) * a.itemsize)


def columns_lines(a: Array) -> Array:
    return wide(a, (-(-a.shape[0] * a.itemsize // LINE) + 1) * LINE)


def columns_pages(a: Array) -> Array:
    return wide(a, -(-a.shape[0] * a.itemsize // PAGE) * PAGE)


def columns_far(a: Array) -> Array:
    return wide(a, 8 * PAGE + 8 * LINE)


def columns_far_pages(a: Array) -> Array:
    return wide(a, 8 * PAGE)


def planes(a: Array) -> Array:
    return rows(np.swapaxes(a.reshape(3, -1, a.shape[-1]), 1, 2))


@dataclass(frozen=True)
class Layout:
    place: Callable[[Array], Array]
    axis: int = -1
    over: int | None = None  # the operand whose place the result takes

    def lead(self, n: int) -> tuple[int, ...]:
        return (3, n // 3) if self.place is planes else (n,)

    def result(self, shape: tuple[int, ...], dtype: Any) -> Array:
        """Memory for a result (n, k)."""
        repeated = self.place in (one_row, one_class)
        empty = np.broadcast_to(np.zeros((), dtype), shape)
        return (rows if repeated else self.place)(empty)


LAYOUTS = {
    "rows": Layout(rows),
    "offset": Layout(offset),
    "gaps": Layout(gaps),
    "strided": Layout(strided),
    "reversed": Layout(reversed_),
    "backwards": Layout(backwards),
    "unaligned": Layout(unaligned),
    "one row": Layout(one_row),
    "one class": Layout(one_class),
    "in place": Layout(rows, over=0),
    "over g": Layout(rows, over=1),
    "columns": Layout(columns, 0),
    "columns offset": Layout(columns_offset, 0),
    "columns reversed": Layout(columns_reversed, 0),
    "columns gaps": Layout(columns_gaps, 0),
    "columns lines": Layout(columns_lines, 0),
    "columns pages": Layout(columns_pages, 0),
    "columns far": Layout(columns_far, 0),
    "columns far pages": Layout(columns_far_pages, 0),
    "columns in place": Layout(columns, 0, 0),
    "columns over g": Layout(columns, 0, 1),
    "planes": Layout(planes, 1),
}
