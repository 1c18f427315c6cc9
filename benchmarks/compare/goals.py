"""What the project has set itself as a goal, and which cells miss theirs.

Ratios and distances to a limit hold on any machine. The times were set for one thread of a core of
its day (Zen 5, AVX-512) and are compared only where smcore runs with one thread at its best.
"""

from __future__ import annotations

from typing import TypeAlias

from .card import Cell
from .results import SHORT_ROW, Result

Shape: TypeAlias = tuple[int, ...]

FORWARD_AND_PRODUCTS = ("softmax", "log_softmax", "logsumexp", "softmax_vjp")
LAYER_PRODUCTS = ("softmax_layer_vjp", "softmax_layer_jvp")
LINEAR = "linear_cross_entropy_with_grad"
SMALL_LAYERS = ((64, 64, 10), (256, 784, 10))
LARGE_LAYERS = ((512, 768, 32000), (1024, 512, 32000))

# Most times of a limit
TIMES_LIMIT: dict[tuple[str, Shape], tuple[str, float]] = {
    ("softmax", (1, 2**24)): ("copy", 1.9),
    ("softmax", (2**20, 16)): ("copy", 1.6),
    ("softmax_jacobian", (64, 1000)): ("fill", 1.05),
    ("softmax_layer_jacobian", (256, 100)): ("fill", 1.3),
} | {(op, shape): ("matmul", 1.15) for op in (*LAYER_PRODUCTS, LINEAR) for shape in LARGE_LAYERS}

# Most microseconds of a call in float32 and in float64; None: no goal
MICROSECONDS: dict[tuple[str, Shape], tuple[float, float | None]] = {
    ("softmax", (10,)): (0.2, 0.2),
    ("softmax", (64, 10)): (1.0, None),
    ("softmax", (4096, 10)): (16.4, 28.7),
    ("softmax", (4096, 16)): (16.4, None),
    ("softmax", (128, 1000)): (24.3, 64.0),
    ("softmax", (32, 32000)): (174, None),
    ("softmax", (12288, 128)): (299, None),
    ("softmax", (1, 3072, 1024)): (786, None),
    ("softmax", (8, 81, 8732)): (1697, None),
    ("softmax", (1, 2**24)): (7046, None),
    ("softmax", (2**20, 16)): (6375, None),
    ("log_softmax", (10,)): (0.2, 0.2),
    ("log_softmax", (4096, 10)): (20, 35),
    ("log_softmax", (128, 1000)): (28, 65),
    ("logsumexp", (10,)): (0.25, 0.25),
    ("logsumexp", (128, 1000)): (20, 50),
    ("softmax_vjp", (10,)): (0.25, 0.25),
    ("softmax_vjp", (4096, 10)): (15, 25),
    ("softmax_vjp", (128, 1000)): (12, 25),
    ("softmax_jacobian", (5,)): (0.35, None),
    ("softmax_jacobian", (10,)): (0.35, None),
    ("softmax_jacobian", (256, 10)): (10, 20),
    ("softmax_jacobian", (1000,)): (45, 90),
    ("softmax_jacobian", (64, 1000)): (9000, 18000),
    ("softmax_layer_jacobian", (3, 5)): (0.35, None),
    ("softmax_layer_jacobian", (784, 10)): (6, 12),
    ("cross_entropy_with_grad", (64, 10)): (2, 4),
    ("cross_entropy_with_grad", (4096, 10)): (30, 60),
    ("cross_entropy_with_grad", (128, 1000)): (32, 64),
    ("cross_entropy_with_grad", (512, 32000)): (8000, 16000),
}


def misses(result: Result, threads: int = 1, target: str | None = None) -> list[str]:
    """Say which goals a cell misses, by how much, in a run with these settings."""
    found = []
    at_its_best = threads == 1 and target is None
    for peer, wanted in _ratios(result.cell, at_its_best, target).items():
        ratio = result.ratio if peer == "the best peer" else _ratio_of(result, peer)
        if ratio is not None and ratio < wanted:
            found.append(f"ratio to {peer} {ratio:.3g}, goal {wanted:g}")
    if at_its_best:
        found += _limits_missed(result) + _times_missed(result)
    return found


def _ratios(cell: Cell, at_its_best: bool, target: str | None) -> dict[str, float]:
    """Return the least ratio to each peer for which there is a goal."""
    if target in ("sse2", "scalar"):
        return {"scipy": 3.0}
    best = {"the best peer": 1.0}
    if not at_its_best:
        return best
    if cell.dtype in ("float16", "bfloat16"):
        return best | {"pytorch": 2.0}
    if cell.op.endswith("_jacobian"):
        return {"the best peer": 2.0}
    if cell.op in LAYER_PRODUCTS and cell.shape in SMALL_LAYERS:
        return best | {"pytorch": 1.5, "jax": 1.5}
    if cell.op == LINEAR:
        return {"the best peer": 2.0} if cell.shape in SMALL_LAYERS else best | {"pytorch": 2.0}
    if cell.op in FORWARD_AND_PRODUCTS and cell.axis != -1:
        return {"the best peer": 1.3}
    if cell.op in FORWARD_AND_PRODUCTS and cell.classes <= SHORT_ROW:
        return {"the best peer": 3.0}
    return best


def _ratio_of(result: Result, peer: str) -> float | None:
    return result.ratio_of(peer) if peer in result.timings else None


def _limits_missed(result: Result) -> list[str]:
    name, wanted = TIMES_LIMIT.get((result.cell.op, result.cell.shape), ("", 0.0))
    if name not in result.limits:
        return []
    times = result.seconds / result.limits[name]
    return [f"{times:.3g} times the {name}, goal {wanted:g}"] if times > wanted else []


def _times_missed(result: Result) -> list[str]:
    cell = result.cell
    if cell.dtype not in ("float32", "float64") or cell.strided:
        return []
    wanted = MICROSECONDS.get((cell.op, cell.shape), (None, None))[cell.dtype == "float64"]
    taken = 1e6 * result.seconds
    if wanted is None or taken <= wanted:
        return []
    return [f"{taken:.3g} µs, goal {wanted:g} µs"]
