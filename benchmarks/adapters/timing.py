"""What the benchmarks of adapters share: shapes, operands, the clock and the table."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator

import numpy as np

SHAPES = [(64, 10), (4096, 10), (128, 1000), (512, 32000)]
FEATURES = 64  # of a layer's input
SECONDS = 1.0  # for one pair

Pair = tuple[str, Callable[[], object], Callable[[], object]]  # its name, ours, and the peer's


def rows_of(n: int, k: int) -> tuple[np.ndarray, ...]:
    """Return logits, labels, features and weights for them, in float32."""
    rng = np.random.default_rng(0)
    arrays = (rng.normal(size=shape) for shape in [(n, k), (n, FEATURES), (FEATURES, k)])
    x, features, W = (array.astype(np.float32) for array in arrays)
    return x, rng.integers(0, k, n), features, W


def least(functions: Iterable[Callable[[], object]]) -> list[float]:
    """Return for each the least CPU time of a call in seconds; they take turns.

    That of the process, all its threads: other work on the machine counts less than in wall time.
    """
    functions = list(functions)
    counts = []
    for function in functions:
        function()
        start = time.perf_counter()
        function()
        counts.append(max(1, int(0.002 / (time.perf_counter() - start))))
    found = [np.inf] * len(functions)
    end = time.perf_counter() + SECONDS
    while time.perf_counter() < end:
        for i, (function, count) in enumerate(zip(functions, counts, strict=True)):
            start = time.process_time()
            for _ in range(count):
                function()
            found[i] = min(found[i], (time.process_time() - start) / count)
    return found


def print_table(
    peer: str,
    shapes: Iterable[tuple[int, int]],
    cases: Callable[[int, int], Iterator[Pair]],
) -> None:
    """Print a table in Markdown, in microseconds."""
    print(f"| float32 | shape | smcore | {peer} | ratio |")
    print("|---|---|---|---|---|")
    for n, k in shapes:
        for name, *functions in cases(n, k):
            ours, theirs = (1e6 * seconds for seconds in least(functions))
            print(f"| {name} | ({n}, {k}) | {ours:.3g} | {theirs:.3g} | {theirs / ours:.2f} |")
