"""One call of a kernel: operands laid out in guarded memory, and what holds of every operation."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

import numpy as np

from . import binding, exact, values
from .binding import View
from .memory import Array, Layout, Operand, draw_layout

if TYPE_CHECKING:
    from .kernels import Fuzzer
    from .operations import Operation

# What the stack holds before a call: signalling NaN of each type, infinities, zeros, large numbers.
SOIL = (0x7FA000007FA00000, 0x7FF4000000000000, 0x7F8000007F800000, 0x7FF << 52, 0, 0x7EEE << 48)
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
        self.dtype = dtype_named(self.dtype_name)
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
        return x

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
        elif shared is not None and not (is_output and overlaps(shared, n, k)):
            layout = shared
        if a.ndim == 2:
            self._layouts.setdefault(size, layout)
        self.operands[name] = operand = Operand(self.arena, self.draw, rows, layout, is_output)
        self.given[name] = operand.array.copy().reshape(a.shape)
        return self.given[name]

    def place_output(self, name: str, shape: tuple[int, ...], dtype: Any, like: str = "") -> None:
        """Have memory for a result: of its own, or that of an input."""
        inputs = [i for i in like.split() if i in self.operands]
        usable = [i for i in inputs if not overlaps(self.operands[i].layout, *shape)]
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
        kind = self.fuzzer.operations[self.name]
        with np.errstate(all="ignore"):
            kind.prepare(self)
        parallel = binding.Shuffled(self.draw) if self.draw.random() < 0.3 else None
        self.options["parallel"] = "in parts" if parallel else None
        for operand in self.operands.values():
            operand.slot.set_read_only(not operand.is_output)
        if self.fuzzer.announce:
            print(self.describe(), flush=True)
        flags = self.fuzzer.flags
        self.fuzzer.soil_stack(self.draw.choice(SOIL))
        flags.clear()
        kind.call(self, 0, self.n, parallel.pointer if parallel else None)
        raised = flags.raised()
        if {self.options.get("scale", 1.0), self.options.get("z_loss", 0.0)} != {1.0, 0.0}:
            raised.discard("overflow")  # a product on the way may be beyond the range
        self.check_memory()
        outputs = [name for name in kind.outputs if name in self.operands]
        found = {name: self.result(name).copy() for name in outputs}
        with np.errstate(all="ignore"):
            if (
                raised
                and not self.is_far_apart()
                and all(_is_finite(a) for a in (*self.given.values(), *found.values()))
            ):
                raise Wrong(f"the flag {', '.join(sorted(raised))} is left behind")
            kind.judge(self)
            if self.options.get("of") != "anything":
                self.check_rows_alone(kind, found)

    def is_far_apart(self) -> bool:
        """Whether the distance of two logits, which a loss is made of, is beyond the range."""
        most = values.largest(self.dtype) / 4
        return self.name == "cross_entropy" and bool(
            (abs(exact.wide(self.given["x"])) > most).any()
        )

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
                self.operands[self.alias].array[row] = self.given[self.alias].reshape(self.n, -1)[
                    row
                ]
            parallel = binding.Shuffled(self.draw) if self.draw.random() < 0.5 else None
            kind.call(self, row, 1, parallel.pointer if parallel else None)
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
            at = np.unravel_index(
                np.argmax(np.where(wrong, np.nan_to_num(error, nan=np.inf), -1)), got.shape
            )
            raise Wrong(
                f"{name}{list(map(int, at))} is {got[at]!r}, not {judged.value[at]!r}: "
                f"{error[at]:.3g} of the error allowed "
                f"({np.count_nonzero(wrong)} of {got.size} off)"
            )

    def describe(self) -> str:
        """The call in some ten lines."""
        lines = [
            f"{self.name}, {self.target}, {self.dtype_name}, "
            f"n = {self.n}, k = {self.k}; {self.kind}"
        ]
        options = ", ".join(
            f"{key} = {value}" for key, value in self.options.items() if value is not None
        )
        lines += [f"  {options}"] if options else []
        for name, o in self.operands.items():
            same = (
                f" = the memory of {self.alias}"
                if self.alias and o is self.operands[self.alias] and name != self.alias
                else ""
            )
            lines.append(
                f"  {name}: {o.array.dtype}, {o.layout.name} "
                f"({o.layout.row}, {o.layout.col} bytes), at the {o.place} of its pages{same}"
            )
        return "\n".join(lines)


def dtype_named(name: str) -> np.dtype[Any]:
    if name == "bfloat16":
        import ml_dtypes

        return np.dtype(ml_dtypes.bfloat16)
    return np.dtype(name)


def overlaps(layout: Layout, n: int, k: int) -> bool:
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
