"""Random calls of the kernels: what each operation is given, how it is called, and judged."""

from __future__ import annotations

import ctypes
import platform
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from truth import format_of

from . import binding, exact, values
from .binding import View
from .memory import Arena, Array, Layout, Operand, draw_layout

# What the stack holds before a call: signalling NaN of each type, infinities, zeros, large numbers.
SOIL = (0x7FA000007FA00000, 0x7FF4000000000000, 0x7F8000007F800000, 0x7FF << 52, 0, 0x7EEE << 48)
TIES = 2**24 + 5001  # of a maximum: more than a float32 can count
NOTHING = View(None, 0, 0)


class Wrong(Exception):
    """A promise that a call has not kept."""


class Call:
    """One call of a kernel, with operands in guarded memory."""

    def __init__(self, fuzzer: Fuzzer, case: int) -> None:
        self.draw = draw = random.Random(f"{fuzzer.seed}/{case}")
        self.fuzzer, self.arena = fuzzer, fuzzer.arena
        self.target = draw.choice([*fuzzer.targets])
        self.dtype_name = draw.choice(("float32", "float32", "float64", "float64", *binding.DTYPES))
        self.name = draw.choice(fuzzer.names)
        self.dtype = _dtype(self.dtype_name)
        self.computed = exact.computed(self.dtype)
        self.function = fuzzer.targets[self.target][self.dtype_name][self.name]
        budget = fuzzer.budget
        if "jacobian" in self.name:
            budget = min(budget, 3000) // 16
        self.n, self.k = values.draw_sizes(draw, budget)
        self.operands: dict[str, Operand] = {}
        self.given: dict[str, Array] = {}
        self.options: dict[str, Any] = {}
        self.same_layout = draw.random() < 0.5
        self._layouts: dict[int, Layout] = {}
        self.kind = ""
        self.rows: exact.Rows | None = None
        self.alias = ""

    # -- operands

    def logits(self) -> Array:
        """Rows of one kind, whose name is kept."""
        self.kind, x = values.draw_logits(self.draw, self.dtype, self.n, self.k)
        sign = np.copysign(1, self.options.get("scale", 1.0))
        return x if self.fuzzer.is_strict else values.without_known(x, sign)

    def place(self, name: str, a: Array, is_output: bool = False, dense: bool = False) -> Array:
        """Lay an operand out somewhere; return what it holds. (Strides of zero make rows alike.)"""
        rows = a.reshape(len(a), -1)
        n, k = rows.shape
        size = a.itemsize
        layout = draw_layout(self.draw, n, k, size, is_output)
        shared = self._layouts.get(size) if self.same_layout and a.ndim == 2 else None
        if dense:
            gap = self.draw.choice((0, 0, 1, 5)) * size
            layout = Layout("dense" if not gap else "padded", k * size + gap, size)
        elif shared is not None and not (is_output and _overlaps(shared, n, k)):
            layout = shared
        if a.ndim == 2:
            self._layouts.setdefault(size, layout)
        self.operands[name] = operand = Operand(self.arena, self.draw, rows, layout, is_output)
        self.given[name] = operand.array.copy().reshape(a.shape)
        return self.given[name]

    def place_output(self, name: str, shape: tuple[int, ...], dtype: Any, like: str = "") -> None:
        """Have memory for a result: of its own, or that of an input."""
        inputs = [i for i in like.split() if i in self.operands]
        usable = [i for i in inputs if not _overlaps(self.operands[i].layout, *shape)]
        if usable and self.draw.random() < 0.3:
            self.alias = self.draw.choice(usable)
            operand = self.operands[self.alias]
            operand.is_output, operand.before = True, operand.slot.bytes.copy()
            self.operands[name] = operand
            return
        self.place(name, np.empty(shape, dtype), is_output=True, dense="jacobian" in self.name)

    def view(self, name: str, row: int = 0) -> View:
        """An operand from a row on."""
        operand = self.operands.get(name)
        if operand is None:
            return NOTHING
        layout = operand.layout
        return View(operand.address + (row * layout.row if row else 0), layout.row, layout.col)

    def result(self, name: str) -> Array:
        """What an output holds now."""
        return self.operands[name].array

    # -- the call

    def run(self) -> None:
        """Call the kernel and judge all that it did."""
        kind = OPERATIONS[self.name]
        with np.errstate(all="ignore"):
            kind.prepare(self)
        spread = binding.Shuffled(self.draw) if self.draw.random() < 0.3 else None
        self.options["spread"] = "in parts" if spread else None
        for operand in self.operands.values():
            operand.slot.set_read_only(not operand.is_output)
        if self.fuzzer.announce:
            print(self.describe(), flush=True)
        flags = self.fuzzer.flags
        soil = self.draw.choice(SOIL)
        self.fuzzer.soil_stack(soil if self.fuzzer.is_strict else 0)
        flags.clear()
        kind.call(self, 0, self.n, spread.pointer if spread else None)
        raised = flags.raised()
        if not self.fuzzer.is_strict and self.name in values.KNOWN_FLAGS:
            raised.clear()
        if {self.options.get("scale", 1.0), self.options.get("z_loss", 0.0)} != {1.0, 0.0}:
            raised.discard("overflow")  # a product on the way may be beyond the range
        self.check_memory()
        outputs = [name for name in kind.outputs if name in self.operands]
        found = {name: self.result(name).copy() for name in outputs}
        with np.errstate(all="ignore"):
            if raised and not self.is_far_apart() and all(_is_finite(a) for a in (*self.given.values(), *found.values())):
                raise Wrong(f"the flag {', '.join(sorted(raised))} is left behind")
            kind.judge(self)
            is_known = values.has_known_bits(self.name, self.k) and not self.fuzzer.is_strict
            if self.options.get("of") != "anything" and not is_known:
                self.check_rows_alone(kind, found)

    def is_far_apart(self) -> bool:
        """Whether the distance of two logits, which a loss is made of, is beyond the range."""
        most = values.largest(self.dtype) / 4
        return self.name == "cross_entropy" and bool((abs(exact.wide(self.given["x"])) > most).any())

    def check_memory(self) -> None:
        """Nothing beside the elements of outputs has been written."""
        for name, operand in self.operands.items():
            if operand.is_output and not operand.is_kept_outside():
                raise Wrong(f"something beside the elements of {name} was written")

    def check_rows_alone(self, kind: Operation, found: dict[str, Array]) -> None:
        """A row has the same bits when it comes alone, at its place."""
        if not kind.has_rows or self.n == 1:
            return
        for row in {self.draw.randrange(self.n), self.n - 1}:
            if self.alias:
                self.operands[self.alias].array[row] = self.given[self.alias].reshape(self.n, -1)[row]
            spread = binding.Shuffled(self.draw) if self.draw.random() < 0.5 else None
            kind.call(self, row, 1, spread.pointer if spread else None)
            for name, before in found.items():
                if not _is_identical(self.result(name)[row], before[row]):
                    at = _first_difference(self.result(name)[row], before[row])
                    raise Wrong(
                        f"{name}: row {row} alone has other bits at {at}: "
                        f"{self.result(name)[row][at]!r}, not {before[row][at]!r}"
                    )
        self.check_memory()

    def expect(self, name: str, judged: exact.Judged) -> None:
        """Judge a result."""
        got = self.result(name).reshape(judged.value.shape)
        wrong = judged.wrong(got)
        if wrong.any():
            with np.errstate(all="ignore"):
                error = abs(exact.wide(got) - judged.value) / judged.bound
            at = np.unravel_index(np.argmax(np.where(wrong, np.nan_to_num(error, nan=np.inf), -1)), got.shape)
            raise Wrong(
                f"{name}{list(map(int, at))} is {got[at]!r}, not {judged.value[at]!r}: "
                f"{error[at]:.3g} of the error allowed ({np.count_nonzero(wrong)} of {got.size} off)"
            )

    def describe(self) -> str:
        """The call in some ten lines."""
        lines = [f"{self.name}, {self.target}, {self.dtype_name}, n = {self.n}, k = {self.k}; {self.kind}"]
        options = ", ".join(f"{key} = {value}" for key, value in self.options.items() if value is not None)
        lines += [f"  {options}"] if options else []
        for name, o in self.operands.items():
            same = f" = the memory of {self.alias}" if self.alias and o is self.operands[self.alias] and name != self.alias else ""
            lines.append(
                f"  {name}: {o.array.dtype}, {o.layout.name} ({o.layout.row}, {o.layout.col} bytes), "
                f"at the {o.place} of its pages{same}"
            )
        return "\n".join(lines)


def _dtype(name: str) -> np.dtype[Any]:
    if name == "bfloat16":
        import ml_dtypes

        return np.dtype(ml_dtypes.bfloat16)
    return np.dtype(name)


def _overlaps(layout: Layout, n: int, k: int) -> bool:
    """Whether two elements may share memory."""
    steps = sorted((abs(s), c) for s, c in ((layout.row, n), (layout.col, k)) if c > 1)
    if not steps:
        return False
    (low, count), *rest = steps
    return low == 0 or any(step < low * count for step, _ in rest)


def _is_finite(a: Array) -> bool:
    return bool(np.isfinite(a.astype(np.float64)).all())


def _is_identical(a: Array, b: Array) -> bool:
    return a.tobytes() == b.tobytes() or _first_difference(a, b) < 0


def _first_difference(a: Array, b: Array) -> int:
    """The first place of other bits, but for two NaN; -1 if there is none."""
    a, b = np.ascontiguousarray(a), np.ascontiguousarray(b)
    bits = f"u{a.itemsize}"
    differ = (a.view(bits) != b.view(bits)) & ~(np.isnan(a) & np.isnan(b))
    return int(np.argmax(differ)) if differ.any() else -1


# ---- The operations --------------------------------------------------------------------------------


class Operation:
    """How an operation is given operands, called and judged."""

    outputs: tuple[str, ...] = ("y",)
    has_rows = True

    def prepare(self, call: Call) -> None:
        """Place the operands."""
        raise NotImplementedError

    def call(self, call: Call, row: int, n: int, spread: int | None) -> None:
        """Call the kernel for n rows from one on."""
        raise NotImplementedError

    def judge(self, call: Call) -> None:
        """Raise Wrong if a result is."""
        raise NotImplementedError


class Scaled(Operation):
    """softmax, log_softmax."""

    def __init__(self, truth: Callable[[Array, float], exact.Judged]) -> None:
        self.truth = truth

    def prepare(self, call: Call) -> None:
        scale = call.options["scale"] = values.draw_scale(call.draw)
        call.place("x", values.draw_scaled(call.draw, call.logits(), scale))
        call.place_output("y", (call.n, call.k), call.dtype, "x")

    def call(self, call: Call, row: int, n: int, spread: int | None) -> None:
        x, y = call.view("x", row), call.view("y", row)
        call.function(x, y, n, call.k, call.options["scale"], spread)

    def judge(self, call: Call) -> None:
        call.expect("y", self.truth(call.given["x"], call.options["scale"]))


class Logsumexp(Operation):
    """logsumexp, and the pair that it is the sum of."""

    def __init__(self, outputs: tuple[str, ...]) -> None:
        self.outputs = outputs

    def prepare(self, call: Call) -> None:
        if call.draw.random() < 0.01 and call.computed == np.float32:
            self._draw_ties(call)
        else:
            call.place("x", call.logits())
        dtype = call.dtype if self.outputs == ("y",) else call.computed
        for name in self.outputs:
            call.place_output(name, (call.n, 1), dtype)

    def _draw_ties(self, call: Call) -> None:
        """A long row of one number, in steps of no bytes."""
        call.n, call.kind = 1, "one number"
        x = np.full((call.n, 1), call.draw.choice((0.0, 1.5, -300.0))).astype(call.dtype)
        call.place("x", x, dense=True)
        operand = call.operands["x"]
        operand.layout = Layout("same column", operand.layout.row, 0)  # which is that of columns
        call.k = TIES

    def call(self, call: Call, row: int, n: int, spread: int | None) -> None:
        views = [call.view(name, row) for name in ("x", *self.outputs)]
        call.function(*views, n, call.k, spread)

    def judge(self, call: Call) -> None:
        if self.outputs == ("y",):
            ties = call.k if call.kind == "one number" else 1
            call.expect("y", exact.logsumexp(call.given["x"], ties))
            return
        if call.kind == "one number":
            return
        m, s = (call.result(name)[:, 0] for name in self.outputs)
        wrong = exact.logsumexp_pair(call.given["x"], m, s)
        if wrong.any():
            at = int(np.argmax(wrong))
            raise Wrong(f"m, s [{at}] are {m[at]!r}, {s[at]!r}, a pair that is off")


class Product(Operation):
    """softmax_vjp and its like: of a rounded forward result and a direction."""

    def __init__(self, forward: str, truth: Callable[..., exact.Judged]) -> None:
        self.forward, self.truth = forward, truth

    def prepare(self, call: Call) -> None:
        x = call.logits()
        rows = exact.Rows.of(x)
        value = rows.softmax() if self.forward == "softmax" else rows.log_softmax()
        call.options["of"] = "a forward result"
        if call.draw.random() < 0.1:  # no softmax: judged for memory alone
            value, call.options["of"] = x, "anything"
        call.place("s", values.rounded(value, call.dtype))
        if call.draw.random() < 0.1:
            call.operands["g"], call.given["g"] = call.operands["s"], call.given["s"]
        else:
            call.place("g", values.draw_directions(call.draw, call.dtype, call.n, call.k))
        call.place_output("y", (call.n, call.k), call.dtype, "s g")
        call.rows = None if call.options["of"] == "anything" else rows

    def call(self, call: Call, row: int, n: int, spread: int | None) -> None:
        views = [call.view(name, row) for name in ("s", "g", "y")]
        call.function(*views, n, call.k, spread)

    def judge(self, call: Call) -> None:
        layout = call.operands["s"].layout
        if call.rows is not None and not _overlaps(layout, call.n, call.k):
            call.expect("y", self.truth(call.rows, call.given["s"], call.given["g"]))


class LogsumexpVjp(Operation):
    """exp(x - lse) g."""

    def prepare(self, call: Call) -> None:
        x = call.place("x", call.logits())
        rows = exact.Rows.of(x)
        lse = np.where(rows.finite[:, 0], rows.logsumexp()[0], rows.kind[:, 0])[:, np.newaxis]
        call.place("lse", values.rounded(lse, call.dtype))
        call.place("g", values.draw_directions(call.draw, call.dtype, call.n, 1))
        call.place_output("y", (call.n, call.k), call.dtype, "x")

    def call(self, call: Call, row: int, n: int, spread: int | None) -> None:
        views = [call.view(name, row) for name in ("x", "lse", "g", "y")]
        call.function(*views, n, call.k, spread)

    def judge(self, call: Call) -> None:
        x, lse, g = (call.given[name] for name in ("x", "lse", "g"))
        call.expect("y", exact.logsumexp_vjp(x, lse[:, 0], g[:, 0]))


class Merge(Operation):
    """logsumexp_merge, of n pairs."""

    outputs = ("m", "s")
    has_rows = False
    names = ("p_m", "p_s", "q_m", "q_s", "m", "s")

    def prepare(self, call: Call) -> None:
        call.k = 1
        draw, shape = call.draw, (call.n, 1)
        rng = np.random.default_rng(draw.getrandbits(64))
        size = draw.choice((1, 10, 100, 1e4))
        for name in ("p", "q"):
            m = rng.standard_normal(shape) * size
            if draw.random() < 0.3:
                m[draw.randrange(call.n)] = draw.choice((np.inf, -np.inf, np.nan))
            m = m.astype(call.dtype)
            unit = np.float64(2.0 ** -format_of(call.dtype).bits)
            rest = np.where(np.isfinite(m), m, 0).astype(float) * rng.uniform(-0.5, 0.5, shape) * unit
            call.place(f"{name}_m", m)
            call.place(f"{name}_s", rest.astype(call.dtype))
        for name, like in (("m", "p_m q_m"), ("s", "p_s q_s")):
            call.place_output(name, shape, call.dtype, like if name == "m" else "")

    def call(self, call: Call, row: int, n: int, spread: int | None) -> None:
        pairs = (View * 6)(*(call.view(name, row) for name in self.names))
        call.function(ctypes.cast(pairs, ctypes.POINTER(View)), n)

    def judge(self, call: Call) -> None:
        if call.dtype.itemsize == 2:  # no public function merges such pairs
            return
        pairs = [(call.result(n) if n in self.outputs else call.given[n])[:, 0] for n in self.names]
        wrong = exact.merged(pairs)
        if wrong.any():
            at = int(np.argmax(wrong))
            raise Wrong(f"[{at}]: {[a[at] for a in pairs]} are off")


class Jacobian(Operation):
    """Matrices of dense rows."""

    def __init__(self, forward: str, truth: Callable[..., exact.Judged]) -> None:
        self.forward, self.truth = forward, truth
        self.has_inputs = truth is exact.softmax_layer_jacobian

    def prepare(self, call: Call) -> None:
        call.k = min(call.k, call.draw.choice((3, 9, 40, 70)))
        draw = call.draw
        j = call.options["j"] = draw.choice((1, 2, 3, 5, 8, 9, 17, 33)) if self.has_inputs else None
        call.n = max(1, min(call.n, 20_000 // (call.k * call.k * (j or 1))))
        rows = exact.Rows.of(call.logits())
        value = rows.softmax() if self.forward == "softmax" else rows.log_softmax()
        value = np.where(rows.finite, value, 0.5 if self.forward == "softmax" else -1)
        call.place("s", values.rounded(value, call.dtype), dense=True)
        if j:
            rng = np.random.default_rng(draw.getrandbits(64))
            call.place("x", rng.standard_normal((call.n, j)).astype(call.dtype), dense=True)
        call.place_output("y", (call.n, call.k * call.k * (j or 1)), call.dtype)

    def call(self, call: Call, row: int, n: int, spread: int | None) -> None:
        names = ("s", "x", "y") if self.has_inputs else ("s", "y")
        sizes = (n, call.k, call.options["j"])[: len(names)]
        call.function(*(call.view(name, row) for name in names), *sizes)

    def judge(self, call: Call) -> None:
        given = [call.given[name] for name in ("s", "x") if name in call.given]
        call.expect("y", self.truth(*given))


class CrossEntropy(Operation):
    """Losses of labels or of distributions, their gradients and logsumexps."""

    outputs = ("grad", "loss", "lse")

    def prepare(self, call: Call) -> None:
        draw, n, k, real = call.draw, call.n, call.k, call.computed
        rng = np.random.default_rng(draw.getrandbits(64))
        smoothing = draw.choice((0, 0, 0.125, 0.3, 1.0))
        call.options.update(
            on=1 - smoothing,
            off=smoothing / k,
            z_loss=draw.choice((0.0, 0.0, 1e-4, 0.5)),
            factor=draw.choice((1.0, 1.0, 1 / n, -0.5, 1e-30, 0.0)),
        )
        call.place("x", call.logits())
        if draw.random() < 0.7:
            labels = rng.integers(k, size=(n, 1))
            labels[rng.random((n, 1)) < draw.choice((0, 0, 0.3, 1))] = -1
            if draw.random() < 0.05:  # as another thread might write them
                labels[draw.randrange(n)] = draw.choice((k, 2**62, -(2**63), 2**31))
            call.place("labels", labels)
        else:
            soft = rng.random((n, k)) ** draw.choice((1, 50)) * (rng.random((n, k)) < 0.8)
            call.place("soft", values.rounded(soft / max(1, k), call.dtype))
        if draw.random() < 0.4:
            weight = rng.integers(0, 5, (1, k)) / 4 * draw.choice((1.0, 1.0, 2.0**-90))
            call.place("weight", weight.astype(real), dense=True)
        if draw.random() < 0.7:
            call.place_output("grad", (n, k), call.dtype, "x soft")
        call.place_output("loss", (n, 1), real)
        if draw.random() < 0.5:
            call.place_output("lse", (n, 1), real)

    def call(self, call: Call, row: int, n: int, spread: int | None) -> None:
        view, options = call.view, call.options
        labels, loss, lse = view("labels", row), view("loss", row), view("lse", row)
        targets = binding.Targets(
            *(labels.data, labels.row, view("weight").data, options["on"], options["off"]),
            *(options["z_loss"], options["factor"], loss.data, loss.row, lse.data, lse.row),
        )
        operands = view("x", row), view("soft", row), view("grad", row)
        call.function(*operands, n, call.k, ctypes.byref(targets), spread)

    def judge(self, call: Call) -> None:
        given, options = call.given, call.options
        n, k = call.n, call.k
        known = counted = np.ones((n, 1), bool)
        if "labels" in given:
            label = given["labels"]
            counted, known = (label >= 0) & (label < k), label < k
            a = (label == np.arange(k)).astype(exact.L)
        else:
            a = exact.wide(given["soft"])
        a = a * exact.L(options["on"]) + exact.L(options["off"])
        if "weight" in given:
            a = a * exact.wide(given["weight"])
        truth = exact.cross_entropy(
            given["x"], a, counted, known, options["z_loss"], options["factor"]
        )
        call.expect("loss", truth.loss)
        if "grad" in call.operands:
            call.expect("grad", truth.gradient)
        if "lse" in call.operands:
            call.expect("lse", truth.lse)


OPERATIONS: dict[str, Operation] = {
    "softmax": Scaled(exact.softmax),
    "log_softmax": Scaled(exact.log_softmax),
    "logsumexp": Logsumexp(("y",)),
    "logsumexp_partial": Logsumexp(("m", "s")),
    "softmax_vjp": Product("softmax", exact.softmax_vjp),
    "log_softmax_vjp": Product("log_softmax", exact.log_softmax_vjp),
    "log_softmax_jvp": Product("log_softmax", exact.log_softmax_jvp),
    "logsumexp_vjp": LogsumexpVjp(),
    "logsumexp_merge": Merge(),
    "softmax_jacobian": Jacobian("softmax", exact.softmax_jacobian),
    "log_softmax_jacobian": Jacobian("log_softmax", exact.log_softmax_jacobian),
    "softmax_layer_jacobian": Jacobian("softmax", exact.softmax_layer_jacobian),
    "cross_entropy": CrossEntropy(),
}
OPERATIONS_DRAWN = [*OPERATIONS, "softmax", "log_softmax", "softmax_vjp"] + ["cross_entropy"] * 3


class Fuzzer:
    """The kernels of one library, and memory to call them on."""

    def __init__(
        self,
        library: Path,
        seed: int,
        budget: int,
        target: str | None = None,
        operation: str | None = None,
        is_strict: bool = False,
    ) -> None:
        self.seed, self.budget = seed, budget
        self.is_strict = is_strict
        self.targets = binding.targets(library)
        self.names = [operation] if operation else OPERATIONS_DRAWN
        if target:
            self.targets = {target: self.targets[target]}
        for tables in self.targets.values():
            unknown = set(tables["float32"]) ^ set(OPERATIONS)
            if unknown:
                raise SystemExit(f"operations of ops.def and of the fuzzer differ: {unknown}")
        self.soil_stack = binding.stack_soiler(library)
        self.flags = binding.Flags(platform.machine())
        self.arena = Arena()
        self.announce = False
        self.last: Call | None = None

    def run(self, case: int) -> None:
        """Make one call and judge it."""
        self.last = call = Call(self, case)
        try:
            call.run()
        finally:
            self.arena.release()

    def describe(self) -> str:
        """What the last call was."""
        return self.last.describe() if self.last else ""
