"""Time smcore.dask beside SciPy on Dask arrays, and beside smcore in memory.

    SCIPY_ARRAY_API=1 OMP_NUM_THREADS=1 python benchmarks/adapters/on_dask.py

Prints a table in Markdown, in milliseconds of CPU time: the least of several repetitions, in turn,
on one thread. The array is in memory, so that what Dask and the cut into chunks cost shows.
"""

from __future__ import annotations

import os

import dask
import dask.array as da
import numpy as np
from scipy import special
from timing import least

import smcore
from smcore import dask as sd

SHAPE = (4096, 4096)  # of float32: 64 MiB
CHUNKS = {"rows whole": (512, 4096), "rows in 4 parts": (2048, 1024), "small chunks": (256, 256)}


def peer_cross_entropy(x, labels):
    """Return the mean loss, as users of Dask write it: the labels' logits by a mask."""
    own = da.where(da.arange(x.shape[1], chunks=x.chunks[1]) == labels[:, None], x, 0).sum(axis=1)
    return (special.logsumexp(x, axis=1) - own).mean()


def cases(values, labels, chunks):
    """Yield what is timed: a name, smcore in memory, smcore.dask and its peer."""
    x = da.from_array(values, chunks=chunks)
    y = da.from_array(labels, chunks=chunks[0])
    for name in ("softmax", "log_softmax", "logsumexp"):
        ours, lazy, peer = (getattr(module, name) for module in (smcore, sd, special))
        yield (
            name,
            lambda ours=ours: ours(values),
            lambda lazy=lazy: lazy(x).compute(),
            lambda peer=peer: peer(x, axis=-1).compute(),
        )
    yield (
        "cross_entropy",
        lambda: smcore.cross_entropy(values, labels),
        lambda: sd.cross_entropy(x, y).compute(),
        lambda: peer_cross_entropy(x, y).compute(),
    )


def main():
    """Time all, and print the table."""
    if os.environ.get("SCIPY_ARRAY_API") != "1":
        raise SystemExit("SciPy takes Dask arrays with SCIPY_ARRAY_API=1 in the environment")
    rng = np.random.default_rng(0)
    values = rng.standard_normal(SHAPE, dtype=np.float32)
    labels = rng.integers(0, SHAPE[1], SHAPE[0])
    print("| float32 | chunks | smcore in memory | smcore.dask | SciPy on Dask |")
    print("|---|---|---|---|---|")
    for title, chunks in CHUNKS.items():
        for name, *functions in cases(values, labels, chunks):
            times = (f"{1e3 * seconds:.0f}" for seconds in least(functions))
            print(f"| {name} | {title} {chunks} | {' | '.join(times)} |", flush=True)


if __name__ == "__main__":
    with smcore.set_num_threads(1), dask.config.set(scheduler="synchronous"):
        main()
