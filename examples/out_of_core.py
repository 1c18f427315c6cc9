"""Softmax of rows too long for memory, in a file: block by block, along the classes.

    python examples/out_of_core.py
    python examples/out_of_core.py --mebibytes 4096 --block 64

The first pass reduces each block to a pair for each row (`logsumexp_partial`) and merges the pairs
(`logsumexp_merge`), in any order; the blocks could as well lie on different machines. The second
pass writes the softmax of each block over its logits (`softmax_from_lse`). Needs rich, for the
progress bars: the extra [demo].
"""

from __future__ import annotations

import argparse
import tempfile
import tracemalloc
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.progress import track

import smcore

Logits = NDArray[np.float32]


def draw(logits: Logits, blocks: list[slice]) -> None:
    """Fill with normal numbers around 100, ever wider from row to row."""
    rng = np.random.default_rng(0)
    scale = np.linspace(1, 30, len(logits), dtype=np.float32)[:, np.newaxis]
    for block in track(blocks, "writing  "):
        part = logits[:, block]
        part[...] = rng.standard_normal(part.shape, np.float32) * scale + 100


def softmax_in_place(logits: Logits, blocks: list[slice]) -> None:
    """Replace logits by probabilities."""
    lse = (-np.inf, 0.0)  # that of nothing
    for block in track(blocks, "logsumexp"):
        lse = smcore.logsumexp_merge(lse, smcore.logsumexp_partial(logits[:, block]))
    m, rest = lse
    for block in track(blocks, "softmax  "):
        part = logits[:, block]
        smcore.softmax_from_lse(part, m, rest=rest, out=part)


def largest_error(found: Logits, logits: Logits) -> float:
    """Return the largest error of a row, in units in the last place, against float64."""
    exact = smcore.softmax(logits, dtype=np.float64)
    return float(np.max(abs(found - exact) / np.spacing(exact.astype(np.float32))))


def main() -> None:
    """Write a file of logits, turn it into probabilities, and check some rows."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--mebibytes", type=int, default=256, help="of the file (default: 256)")
    parser.add_argument("--block", type=int, default=16, help="MiB of a block (default: 16)")
    parser.add_argument("--rows", type=int, default=64, help="rows in the file (default: 64)")
    args = parser.parse_args()

    classes = args.mebibytes * 2**20 // 4 // args.rows
    step = max(1, args.block * 2**20 // 4 // args.rows)
    blocks = [slice(start, start + step) for start in range(0, classes, step)]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "logits"
        logits = np.memmap(path, np.float32, "w+", shape=(args.rows, classes))
        draw(logits, blocks)
        sample = [0, args.rows // 2, args.rows - 1]
        before = logits[sample]

        tracemalloc.start()  # counts NumPy's arrays, but not the pages of the file
        softmax_in_place(logits, blocks)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()

        errors = [
            largest_error(logits[row], kept) for row, kept in zip(sample, before, strict=True)
        ]
        del logits  # so that Windows can delete the file

    print(f"{args.rows} rows of {classes:,} classes, {len(blocks)} blocks")
    print(f"arrays in memory: at most {peak / 2**20:.1f} MiB, for a file of {args.mebibytes} MiB")
    for row, error in zip(sample, errors, strict=True):
        print(f"row {row:3}: largest error {error:.2f} units in the last place")
    if max(errors) > 4:
        raise SystemExit("a row is wrong")


if __name__ == "__main__":
    main()
