"""Random calls of the public functions, on guarded arrays, with memory refused at times.

A result is compared with that of the NumPy backend, for plain copies of the operands: another
program, by other formulas.
"""

from __future__ import annotations

import ctypes
import gc
import random
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from cases import OPERATIONS, Operands, Operation, results
from conftest import numpy_copy
from truth import eps, format_of

import smcore as native

from .call import Wrong, dtype_named
from .guarded import GuardedAllocator
from .memory import Array
from .values import BORDERS

FORWARD = ("softmax", "log_softmax", "logsumexp", "logsumexp_partial")
_LOSSES = ("cross_entropy", "cross_entropy_with_grad")
_LINEAR = ("linear_cross_entropy", "linear_cross_entropy_with_grad")
LAYOUTS = ("plain",) * 4 + (
    *("fortran", "strided", "reversed", "inner", "offset", "unaligned", "swapped", "read-only"),
    "broadcast",
)


def lay_out(a: Array, layout: str) -> Array:
    """The same values, laid out so; what is broadcast is the first along one axis everywhere."""
    if not a.ndim:
        layout = "plain"
    match layout:
        case "fortran":
            return np.array(a, order="F")
        case "strided":
            space = np.full([2 * n for n in a.shape], 77).astype(a.dtype)
            view = space[tuple(slice(0, 2 * n, 2) for n in a.shape)]
        case "reversed":
            view = np.empty(a.shape, a.dtype)[(slice(None, None, -1),) * a.ndim]
        case "inner":
            space = np.full([n + 3 for n in a.shape], 77).astype(a.dtype)
            view = space[tuple(slice(1, 1 + n) for n in a.shape)]
        case "offset":
            view = np.empty(a.size + 1, a.dtype)[1:].reshape(a.shape)
        case "unaligned":
            view = np.empty(a.nbytes + 1, np.uint8)[1:].view(a.dtype).reshape(a.shape)
        case "swapped" if a.dtype.name != "bfloat16":
            return a.astype(a.dtype.newbyteorder("S"))
        case _:
            view = np.empty(a.shape, a.dtype)
    view = np.asarray(view)
    view[...] = a
    if layout == "read-only":
        view.flags.writeable = False
    return view


class Call:
    """One call of a public function."""

    def __init__(self, fuzzer: Fuzzer, case: int) -> None:
        self.draw = draw = random.Random(f"{fuzzer.seed}/{case}")
        self.fuzzer = fuzzer
        self.rng = np.random.default_rng(draw.getrandbits(64))
        self.operation: Operation = draw.choice([*OPERATIONS.values()])
        self.name = self.operation.name
        self.dtype = dtype_named(draw.choice(("float32", "float64", "float16", "bfloat16")))
        self.target = draw.choice(native.targets())
        self.threads = draw.choice((1, 1, 2, 3))
        self.keywords: dict[str, Any] = {}
        self.layouts: dict[str, str] = {}
        self.has_specials = False
        self.axis = -1
        self.shape_lead, self.k = self._sizes()
        self.plain = self.operation.draw(self.rng, self.dtype, self.shape_lead, self.k)
        if self.name == "linear_weight_jacobian":
            self.keywords["K"] = self.k
        self._prepare()

    def _sizes(self) -> tuple[tuple[int, ...], int]:
        draw, is_matrix = self.draw, "jacobian" in self.name
        k = draw.choice(BORDERS)
        if is_matrix:
            k = min(k, draw.choice((3, 9, 17)))
        most = (300 if is_matrix else 20_000) // k
        lead: tuple[int, ...] = ()
        counts = (1,) if not self.operation.rowwise else (0, 1, 1, 2, 3)
        for _ in range(draw.choice(counts)):
            rest = max(1, most // int(np.prod(lead, dtype=int)))
            lead += (min(rest, draw.choice((0, 1, 2, 3, 5, 8, 17, 33, 64, 65, 130, 300))),)
            if not lead[-1]:
                break
        if not self.operation.rowwise and not lead[0]:
            lead = (1,)
        return lead, k

    # -- operands and keywords

    def _prepare(self) -> None:
        draw, name = self.draw, self.name
        if draw.random() < 0.2:
            self._put_specials()
        if name in ("softmax", "log_softmax") and draw.random() < 0.5:
            scale = draw.choice((0.5, -2.0, 0.0, 1e-30, 37.5))
            rows = self.rng.choice((1.0, 0.5, -3.0), self.shape_lead)
            self.keywords["scale"] = rows if draw.random() < 0.3 and self.shape_lead else scale
        if name in (*FORWARD[:3],) and draw.random() < 0.1:
            self.keywords["dtype"] = draw.choice((np.float32, np.float64))
        if name == "logsumexp" and draw.random() < 0.2:
            self.keywords["b"] = self.rng.uniform(0.5, 2, self.k)
        if name in (*_LOSSES, *_LINEAR, "cross_entropy_hvp", "linear_cross_entropy_hvp"):
            self._draw_loss()
        if self._takes_where() and draw.random() < 0.35:
            mask = self.rng.random((*self.shape_lead, self.k)[-draw.choice((1, 3)) :]) < 0.7
            self.keywords["where"] = mask
            self._leave_out(mask)

    def _leave_out(self, mask: Array) -> None:
        """Make probabilities those of the entries that take part."""
        with np.errstate(all="ignore"):
            for name in {"s", "log_s"} & set(self.plain):
                a = self.plain[name].astype(np.float64)
                s = np.where(mask, np.exp(a) if name == "log_s" else a, 0)
                s = s / s.sum(-1, keepdims=True)
                self.plain[name] = (np.log(s) if name == "log_s" else s).astype(self.dtype)

    def _takes_where(self) -> bool:
        # (A label that `where` leaves out is an error.)
        is_loss = "cross_entropy" in self.name
        return self.operation.rowwise and not is_loss and "b" not in self.keywords

    def _put_specials(self) -> None:
        self.has_specials = True
        for a in self.plain.values():
            if a.dtype.kind != "i" and a.size and self.draw.random() < 0.5:
                value = self.draw.choice((np.nan, np.inf, -np.inf, 6e4, -6e4))
                a.flat[self.draw.randrange(a.size)] = value

    def _draw_loss(self) -> None:
        draw, keywords = self.draw, self.keywords
        keywords["reduction"] = draw.choice(("none", "mean", "sum"))
        keywords["label_smoothing"] = draw.choice((0.0, 0.0, 0.125))
        if draw.random() < 0.4:
            keywords["weight"] = self.rng.uniform(0.5, 2, self.k)
        if draw.random() < 0.3:
            sample = self.rng.integers(0, 5, self.shape_lead) / 4
            keywords["sample_weight"] = draw.choice((1.5, sample, sample))
        if "hvp" not in self.name:
            keywords["z_loss"] = draw.choice((0.0, 0.0, 1e-2))
            keywords["return_lse"] = draw.random() < 0.3
        if self.name in _LINEAR:
            keywords["block_bytes"] = draw.choice((None, 1, 4096))
        if self.name == "linear_cross_entropy_with_grad":
            keywords["wrt"] = draw.choice(("XWb", "Wb", "X"))
        target = self.plain["target"]
        if draw.random() < 0.3 and target.size:
            target = np.where(self.rng.random(target.shape) < 0.3, -100, target)
        kinds = [np.int64, np.int32, np.int16] + [np.uint8] * (
            self.k < 250 and bool((target >= 0).all())
        )
        self.plain["target"] = np.asarray(target).astype(draw.choice(kinds))

    def operands(self) -> Operands:
        """The operands laid out, their class axis somewhere."""
        full = self.operation.full(self.plain) if self.operation.rowwise else []
        if self.operation.rowwise:
            ndim = len(self.shape_lead) + 1
            self.axis = self.draw.randrange(-ndim, ndim)
        made = {}
        for name, a in self.plain.items():
            self.layouts[name] = layout = self.draw.choice(LAYOUTS)
            if layout == "broadcast":
                layout = "plain"
                if a.ndim > 1 and a.size and a.dtype.kind != "i" and "where" not in self.keywords:
                    a = self.plain[name] = np.broadcast_to(a[:1], a.shape)
                    if name in full:
                        a = np.moveaxis(a, -1, self.axis)
                    made[name] = a
                    continue
            if name in full:
                a = np.moveaxis(a, -1, self.axis)
            made[name] = lay_out(a, layout)
        return made

    def moved(self, keywords: dict[str, Any]) -> dict[str, Any]:
        """The keywords of the call itself, as opposed to those of the plain one."""
        found = dict(keywords)
        if not self.operation.rowwise:
            return found
        found["axis"] = self.axis
        ndim = len(self.shape_lead) + 1
        for key in ("where", "b"):
            if key in found:
                a = found[key]
                a = a.reshape((1,) * (ndim - a.ndim) + a.shape)
                found[key] = lay_out(np.moveaxis(a, -1, self.axis), self.draw.choice(LAYOUTS[:8]))
        return found

    # -- the call

    def run(self) -> None:
        """Call, compare, and call once more with some memory refused."""
        fuzzer, plain_keywords = self.fuzzer, dict(self.keywords)
        if self.name in _LOSSES and self.draw.random() < 0.15:
            self.layouts["labels"] = "written by another thread meanwhile"
            if fuzzer.announce:
                print(self.describe(), flush=True)
            self._race()
            return
        operands = self.operands()
        keywords = self.moved(plain_keywords)
        if self.fuzzer.announce:
            print(self.describe(), flush=True)
        with np.errstate(all="ignore"):
            expected = results(
                self.operation(
                    fuzzer.numpy, {n: np.array(a) for n, a in self.plain.items()}, **plain_keywords
                )
            )
        before = {name: a.tobytes() for name, a in operands.items()}
        warns = {"all": "ignore"} if self.has_specials else {"all": "raise", "under": "ignore"}
        with (
            np.errstate(**warns),
            native.use_target(self.target),
            native.set_num_threads(self.threads),
        ):
            got = self.operation(native, operands, **keywords)
            self._compare(results(got), expected)
            if self.operation.has_out and self.draw.random() < 0.6:
                self._with_out(operands, keywords, got)
            elif self.draw.random() < 0.5:
                self._refuse(lambda: self.operation(native, operands, **keywords), None)
        for name, a in operands.items():
            if name not in self.keywords.get("overwritten", ()) and a.tobytes() != before[name]:
                raise Wrong(f"{name} has changed")

    def _with_out(self, operands: Operands, keywords: dict[str, Any], got: Any) -> None:
        """The same, written to an array given; then with some memory refused."""
        result = np.asarray(self.operation.buffer(got))
        if keywords.get("return_lse"):
            result = np.asarray(results(got)[1])
        layout = self.draw.choice(LAYOUTS[:-2])
        out = lay_out(np.full_like(result, 7), layout)
        like = [
            n
            for n in self.operation.like
            if operands[n].shape == out.shape
            and operands[n].flags.writeable
            and operands[n].dtype == out.dtype
        ]
        given = dict(operands)
        if like and self.draw.random() < 0.4:
            name = self.draw.choice(like)
            given[name] = out
            out[...] = operands[name]
            layout += f", in place of {name}"
        self.layouts["out"] = layout
        start = out.copy()
        again = self.operation(native, given, out=out, **keywords)
        for one, other in zip(results(again), results(got), strict=True):
            self._near(one, other, "with out")

        def repeat() -> Any:
            out[...] = start
            return self.operation(native, given, out=out, **keywords)

        if self.draw.random() < 0.6:
            self._refuse(repeat, (out, start))

    def _refuse(self, call: Any, kept: tuple[Array, Array] | None) -> None:
        """Refuse one request for memory: an error, and `out` as it was, or the same result."""
        state = self.fuzzer.allocator.state
        state.requests = 0
        call()
        count = int(state.requests)
        if not count:
            return
        request = self.draw.randrange(1, count + 1)
        self.layouts["refused"] = f"request {request} of {count}"
        if self.fuzzer.announce:
            print(self.describe(), flush=True)
        state.requests, state.fail_at = 0, request
        try:
            call()
        except MemoryError:
            state.fail_at = 0
            if kept is not None and not np.array_equal(_bits(kept[0]), _bits(kept[1])):
                raise Wrong("out was written before a MemoryError") from None
        finally:
            state.fail_at = 0

    def _race(self) -> None:
        """Another thread writes over the labels: whatever comes out, nothing foreign is read."""
        n, k = 3000, 5
        real = self.draw.choice((np.float32, np.float64))  # others are not on the fast path
        x = self.rng.standard_normal((n, k)).astype(real)
        labels, weight = np.zeros(n, np.int64), np.ones(k, real)
        wild = self.draw.choice((2**40, -(2**40), 2**62, k, -1))
        stop = ctypes.c_int(0)
        scribble = self.fuzzer.allocator.library.scribble
        scribble.argtypes = ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int64, ctypes.c_void_p
        arguments = labels.ctypes.data, n, wild, ctypes.addressof(stop)
        writer = threading.Thread(target=scribble, args=arguments)
        writer.start()
        try:
            for _ in range(60):
                with suppress(ValueError):
                    getattr(native, self.name)(x, labels, weight=weight)
        finally:
            stop.value = 1
            writer.join()

    # -- judging

    def _compare(self, got: tuple[Array, ...], expected: tuple[Array, ...]) -> None:
        for one, other in zip(got, expected, strict=True):
            is_rows = self.operation.rowwise and other.ndim == len(self.shape_lead) + 1
            if is_rows and "jacobian" not in self.name and self.name not in FORWARD[2:]:
                one = np.moveaxis(one, self.axis, -1) if one.ndim == other.ndim else one
            if one.shape != other.shape and "jacobian" in self.name:
                return  # whose axes are where the class axis was: see the tests
            self._near(one, other, "beside the NumPy backend")

    def _near(self, one: Array, other: Array, what: str) -> None:
        if one.shape != other.shape or one.dtype.newbyteorder("=") != other.dtype:
            raise Wrong(f"{what}: {one.shape} {one.dtype}, not {other.shape} {other.dtype}")
        if (self.has_specials and self.name not in FORWARD) or not one.size:
            return
        a, b = one.astype(np.longdouble), other.astype(np.longdouble)
        with np.errstate(all="ignore"):
            size = np.max(np.abs(b[np.isfinite(b)]), initial=0) if self.name != "softmax" else 0
            if self.name.startswith("logsumexp"):
                size = max(size, 1, *(_largest(v) for v in self.plain.values()))
            elif self.name not in FORWARD:
                size = max(size, *(_largest(v) for n, v in self.plain.items() if n != "target"))
            allowed = 16 * eps(one.dtype) * (abs(b) + size) + 2.0 ** (
                format_of(one.dtype).lowest + 1
            )
            good = (abs(a - b) <= allowed) | (a == b) | (np.isnan(a) & np.isnan(b))
        if not good.all():
            at = tuple(map(int, np.argwhere(~good)[0]))
            raise Wrong(f"{what}: {one[at]!r}, not {other[at]!r} at {at}")

    def describe(self) -> str:
        """The call in some lines."""

        def shown(value: Any) -> str:
            return (
                f"{value.dtype}{list(value.shape)}"
                if isinstance(value, np.ndarray)
                else repr(value)
            )

        lines = [
            f"{self.name}, {self.target}, {self.dtype}, rows {self.shape_lead}, k = {self.k}, "
            f"axis {self.axis}, {self.threads} threads" + ", no numbers" * self.has_specials,
            "  " + ", ".join(f"{key}={shown(value)}" for key, value in self.keywords.items()),
            "  " + ", ".join(f"{name}: {layout}" for name, layout in self.layouts.items()),
        ]
        return "\n".join(line for line in lines if line.strip())


def _largest(a: Array) -> float:
    a = a.astype(np.float64)
    return float(np.max(np.abs(a[np.isfinite(a)]), initial=0))


def _bits(a: Array) -> Array:
    return np.ascontiguousarray(a).reshape(-1).view(np.uint8)


class Fuzzer:
    """The package, its NumPy backend, and the allocator of the arrays."""

    def __init__(self, library: Path, seed: int) -> None:
        self.seed = seed
        self.numpy = numpy_copy()
        self.allocator = GuardedAllocator(library)
        self.announce = False
        self.last: Call | None = None
        from smcore import _core

        _core._set_worth_a_thread(2000)

    def run(self, case: int) -> None:
        """Make one call and judge it; nothing that it has had may be held when it is over."""
        self.last = None
        state = self.allocator.state
        before, damaged = state.held, state.damaged
        with self.allocator.in_use():
            self.last = Call(self, case)
            self.last.run()
            self.description = self.last.describe()
            self.last = None
        if state.held > before:
            gc.collect()
        if state.held > before:
            raise Wrong(f"{state.held - before} arrays are still held")
        if state.damaged > damaged:
            raise Wrong("something was written past the end of an array")

    def describe(self) -> str:
        """What the last call was."""
        return self.last.describe() if self.last else self.description
