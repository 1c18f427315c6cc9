"""Measure the accuracy of smcore: the tables of docs/accuracy.md.

    python benchmarks/accuracy.py table    # softmax, log_softmax, ... beside SciPy's
    python benchmarks/accuracy.py exp      # exp at every float32

Each takes some minutes.  Errors are in units in the last place (ulp) of the exact result, which is
computed in NumPy's extended precision: 64 bits of mantissa on x86, 11 more than float64 has.  Needs
the extra [demo].
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track
from rich.table import Table
from scipy import special

import smcore

Array = NDArray[np.floating]
Measure = Callable[[Array], float]

LENGTHS = (1, 2, 3, 5, 8, 10, 16, 17, 32, 33, 64, 100, 128, 1000, 4097, 50257, 1 << 22)
SPREADS = (0.1, 1.0, 3.0, 30.0, 300.0, 1000.0)
OFFSETS = (0.0, -90.0, 1e5)
ELEMENTS = 1 << 16  # of one array, where its rows are shorter


def ulp_error(found: Array, exact: Array) -> float:
    """Return the largest error of `found` in units in the last place of `exact`."""
    spacing = np.spacing(np.abs(exact).astype(found.dtype)).astype(np.longdouble)
    return float(np.max(np.abs(found.astype(np.longdouble) - exact) / spacing))


class Exact:
    """The exact softmax of the rows of x, and what follows from it."""

    def __init__(self, x: Array) -> None:
        wide = x.astype(np.longdouble)
        self.peak = x.argmax(axis=-1)[:, None]
        self.distance = wide - np.take_along_axis(wide, self.peak, -1)
        e = np.exp(self.distance)
        np.put_along_axis(e, self.peak, 0, -1)
        self.tail = e.sum(axis=-1, keepdims=True)
        np.put_along_axis(e, self.peak, 1, -1)
        self.softmax = e / (1 + self.tail)
        self.log_softmax = self.distance - np.log1p(self.tail)
        self.peak_gradient = -self.tail / (1 + self.tail)


def measures(core: object) -> dict[str, Measure]:
    """Return what is measured of smcore or SciPy, by name."""

    def softmax(x: Array) -> float:
        return ulp_error(core.softmax(x, axis=-1), Exact(x).softmax)

    def log_softmax(x: Array) -> float:
        return ulp_error(core.log_softmax(x, axis=-1), Exact(x).log_softmax)

    def log_softmax_at_peak(x: Array) -> float:
        exact = Exact(x)
        found = np.take_along_axis(core.log_softmax(x, axis=-1), exact.peak, -1)
        return ulp_error(found, np.take_along_axis(exact.log_softmax, exact.peak, -1))

    def row_sums(x: Array) -> float:
        total = core.softmax(x, axis=-1).astype(np.longdouble).sum(axis=-1)
        return float(np.abs(total - 1).max() / np.finfo(x.dtype).eps)

    def peak_gradient(x: Array) -> float:
        exact = Exact(x)
        _, gradient = core.cross_entropy_with_grad(x, exact.peak[:, 0], reduction="sum")
        return ulp_error(np.take_along_axis(gradient, exact.peak, -1), exact.peak_gradient)

    found = {
        "softmax": softmax,
        "log_softmax": log_softmax,
        "log_softmax at the peak": log_softmax_at_peak,
        "row sums of softmax, from 1, in eps": row_sums,
    }
    if core is smcore:
        found["cross-entropy gradient at a confident label"] = peak_gradient
    return found


def inputs(dtype: type) -> Iterator[Array]:
    rng = np.random.default_rng(0)
    for length in LENGTHS:
        for spread in SPREADS:
            for offset in OFFSETS:
                rows = max(1, ELEMENTS // length)
                yield (spread * rng.standard_normal((rows, length)) + offset).astype(dtype)


def table(console: Console) -> None:
    """Print the largest errors over all lengths, spreads and offsets."""
    for dtype in (np.float32, np.float64):
        result = Table(title=f"largest error in ulp, {dtype.__name__}", title_justify="left")
        result.add_column("")
        names = list(measures(smcore))
        columns: dict[str, dict[str, float]] = {}
        arrays = list(inputs(dtype))
        for column in (*smcore.targets(), "SciPy") if smcore.targets() else ("numpy", "SciPy"):
            worst = dict.fromkeys(measures(special if column == "SciPy" else smcore), 0.0)
            for x in track(arrays, f"{dtype.__name__} {column}", console=console, transient=True):
                for name, measure in measures(special if column == "SciPy" else smcore).items():
                    if column in smcore.targets():
                        with smcore.use_target(column):
                            worst[name] = max(worst[name], measure(x))
                    else:
                        worst[name] = max(worst[name], measure(x))
            columns[column] = worst
            result.add_column(column, justify="right")
        for name in names:
            cells = [columns[c].get(name) for c in columns]
            result.add_row(name, *("" if v is None else f"{v:.3g}" for v in cells))
        console.print(result)


def exp_of(x: Array) -> Array:
    """Return exp(x) as the kernels compute it: logsumexp_vjp is exp(x - lse)*g."""
    return smcore.logsumexp_vjp(x, np.zeros((), x.dtype), np.ones((), x.dtype))


def every_float32(chunk: int = 1 << 22) -> Iterator[Array]:
    """Yield all float32 numbers whose exponential is neither 0 nor infinite."""
    for sign, bound in ((0, 89.0), (1 << 31, 104.0)):
        last = int(np.float32(bound).view(np.uint32))
        for start in range(0, last, chunk):
            bits = np.arange(start, min(start + chunk, last), dtype=np.uint32)
            yield (bits | np.uint32(sign)).view(np.float32)


def exp_everywhere(console: Console) -> None:
    """Print the largest error of exp over every float32, for every target."""
    result = Table(title="exp at every float32 from -104 to 89", title_justify="left")
    for heading in ("target", "largest error, ulp", "at x", "not correctly rounded"):
        result.add_column(heading, justify="right")
    chunks = sum(1 for _ in every_float32())
    for target in smcore.targets() or ("numpy",):
        worst, where, wrong, count = 0.0, 0.0, 0, 0
        for x in track(every_float32(), target, total=chunks, console=console, transient=True):
            if smcore.targets():
                with smcore.use_target(target):
                    found = exp_of(x)
            else:
                found = exp_of(x)
            with np.errstate(over="ignore"):
                exact = np.exp(x.astype(np.float64))  # right to 1e-16, or a billionth of an ulp
                nearest = exact.astype(np.float32)
            finite = np.isfinite(nearest)
            if not np.array_equal(np.isfinite(found), finite):
                differs = np.isfinite(found) != finite
                console.print(f"{target}: overflow differs at {x[differs][:4]}")
            spacing = np.spacing(nearest[finite]).astype(np.float64)
            error = np.abs(found[finite] - exact[finite]) / spacing
            at = int(error.argmax()) if error.size else 0
            if error.size and error[at] > worst:
                worst, where = float(error[at]), float(x[finite][at])
            wrong += int(np.count_nonzero(found != nearest))
            count += x.size
        result.add_row(target, f"{worst:.4f}", f"{where!r}", f"{wrong / count:.2%}")
    console.print(result)


def main() -> None:
    """Run the measurement that the command line names."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=("table", "exp"), help="which measurement to make")
    console = Console()
    {"table": table, "exp": exp_everywhere}[parser.parse_args().what](console)


if __name__ == "__main__":
    main()
