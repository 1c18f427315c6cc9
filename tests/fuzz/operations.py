"""What each operation of the kernels is given, how it is called, and judged."""

from __future__ import annotations

import ctypes
from collections.abc import Callable

import numpy as np
from truth import format_of

from . import binding, exact, values
from .call import Call, Wrong, overlaps
from .memory import Array, Layout

TIES = 2**24 + 5001  # of a maximum: more than a float32 can count


class Operation:
    """How an operation is given operands, called and judged."""

    operands: tuple[str, ...]  # in the order of ops.def; one that is not placed has no data
    outputs: tuple[str, ...] = ("y",)
    has_rows = True

    def prepare(self, call: Call) -> None:
        """Place the operands."""
        raise NotImplementedError

    def call(self, call: Call, row: int, n: int, parallel: int | None) -> None:
        """Call the kernel for n rows from one on."""
        operands = [call.view(name, row) for name in self.operands]
        options, targets = call.options, self.targets(call)
        call.function(
            binding.Call(
                operands=tuple(operands),
                n=n,
                k=call.k,
                j=options.get("j") or 0,
                scale=options.get("scale", 1.0),
                targets=ctypes.pointer(targets) if targets else None,
                parallel=parallel,
            )
        )

    def targets(self, call: Call) -> binding.Targets | None:
        """What cross_entropy compares with."""

    def judge(self, call: Call) -> None:
        """Raise Wrong if a result is."""
        raise NotImplementedError


class Scaled(Operation):
    """softmax, log_softmax."""

    operands = ("x", "y")

    def __init__(self, truth: Callable[[Array, float], exact.Judged]) -> None:
        self.truth = truth

    def prepare(self, call: Call) -> None:
        scale = call.options["scale"] = values.draw_scale(call.draw)
        call.place("x", values.draw_scaled(call.draw, call.logits(), scale))
        call.place_output("y", (call.n, call.k), call.dtype, "x")

    def judge(self, call: Call) -> None:
        call.expect("y", self.truth(call.given["x"], call.options["scale"]))


class Logsumexp(Operation):
    """logsumexp, and the pair that it is the sum of."""

    def __init__(self, outputs: tuple[str, ...]) -> None:
        self.outputs = outputs
        self.operands = ("x", *outputs)

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

    operands = ("s", "g", "y")

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

    def judge(self, call: Call) -> None:
        layout = call.operands["s"].layout
        if call.rows is not None and not overlaps(layout, call.n, call.k):
            call.expect("y", self.truth(call.rows, call.given["s"], call.given["g"]))


class LogsumexpVjp(Operation):
    """exp(x - lse) g."""

    operands = ("x", "y", "lse", "g")

    def prepare(self, call: Call) -> None:
        x = call.place("x", call.logits())
        rows = exact.Rows.of(x)
        lse = np.where(rows.finite[:, 0], rows.logsumexp()[0], rows.kind[:, 0])[:, np.newaxis]
        call.place("lse", values.rounded(lse, call.dtype))
        call.place("g", values.draw_directions(call.draw, call.dtype, call.n, 1))
        call.place_output("y", (call.n, call.k), call.dtype, "x")

    def judge(self, call: Call) -> None:
        x, lse, g = (call.given[name] for name in ("x", "lse", "g"))
        call.expect("y", exact.logsumexp_vjp(x, lse[:, 0], g[:, 0]))


class Merge(Operation):
    """logsumexp_merge, of n pairs."""

    outputs = ("m", "s")
    has_rows = False
    operands = ("p_m", "p_s", "q_m", "q_s", "m", "s")

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
            rest = (
                np.where(np.isfinite(m), m, 0).astype(float) * rng.uniform(-0.5, 0.5, shape) * unit
            )
            call.place(f"{name}_m", m)
            call.place(f"{name}_s", rest.astype(call.dtype))
        for name, like in (("m", "p_m q_m"), ("s", "p_s q_s")):
            call.place_output(name, shape, call.dtype, like if name == "m" else "")

    def judge(self, call: Call) -> None:
        if call.dtype.itemsize == 2:  # no public function merges such pairs
            return
        pairs = [
            (call.result(n) if n in self.outputs else call.given[n])[:, 0] for n in self.operands
        ]
        wrong = exact.merged(pairs)
        if wrong.any():
            at = int(np.argmax(wrong))
            raise Wrong(f"[{at}]: {[a[at] for a in pairs]} are off")


class Jacobian(Operation):
    """Matrices of dense rows."""

    def __init__(self, forward: str, truth: Callable[..., exact.Judged]) -> None:
        self.forward, self.truth = forward, truth
        self.has_inputs = truth is exact.softmax_layer_jacobian
        self.operands = ("s", "x", "y") if self.has_inputs else ("s", "y")

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

    def judge(self, call: Call) -> None:
        given = [call.given[name] for name in ("s", "x") if name in call.given]
        call.expect("y", self.truth(*given))


class CrossEntropy(Operation):
    """Losses of labels or of distributions, their gradients and logsumexps."""

    operands = ("x", "soft", "grad", "labels", "loss", "lse", "sample")
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
        if draw.random() < 0.3:
            sample = rng.integers(0, 5, (n, 1)) / 4 * draw.choice((1.0, 1.0, 2.0**-60))
            call.place("sample", sample.astype(real))
        if draw.random() < 0.7:
            call.place_output("grad", (n, k), call.dtype, "x soft")
        call.place_output("loss", (n, 1), real)
        if draw.random() < 0.5:
            call.place_output("lse", (n, 1), real)

    def targets(self, call: Call) -> binding.Targets:
        options, weight = call.options, call.view("weight")
        numbers = (options[name] for name in ("on", "off", "z_loss", "factor"))
        return binding.Targets(weight.data, *numbers)

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
        sample = exact.wide(given["sample"]) if "sample" in given else np.ones((n, 1), exact.L)
        truth = exact.cross_entropy(
            given["x"],
            a,
            counted & (sample > 0),
            known,
            sample,
            options["z_loss"],
            options["factor"],
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
