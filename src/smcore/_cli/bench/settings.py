"""What the environment of the process tells the libraries in it, before they are loaded."""

from __future__ import annotations

import os

# Who finds this one in its environment is prepared; it says for how many threads.
MARK = "SMCORE_BENCH_THREADS"
# What the libraries read when they are loaded, for the number of threads
THREADS = (
    MARK,
    "SMCORE_NUM_THREADS",
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "BLIS_NUM_THREADS",
    "NUMBA_NUM_THREADS",
    "NPROC",  # XLA sizes its pool of threads by it
)
# The C library gives freed memory back to the system, or keeps it for the next call, by its size
# and by what it has seen so far: a large array costs several times as much where the system has to
# fill its pages with zeros for each call anew. Here everyone's stays. A threshold would not do it:
# glibc takes none above 32 MiB. And the pools that it makes for further threads end at 64 MiB, and
# are given back when they are empty. Other C libraries ignore these.
KEEP_MEMORY = {
    "MALLOC_MMAP_MAX_": "0",
    "MALLOC_TRIM_THRESHOLD_": str(2**63 - 1),
    "MALLOC_ARENA_MAX": "1",
}
# A processor forced upon BLAS, or features taken from NumPy, would slow the peers down.
UNSET = ("OPENBLAS_CORETYPE", "NPY_DISABLE_CPU_FEATURES", "ATEN_CPU_CAPABILITY")


def threads() -> int:
    """Return the number of threads that everyone may use in this process."""
    return int(os.environ.get(MARK, "1"))


def is_prepared(threads: int) -> bool:
    """Tell whether this process was started with the environment of a benchmark."""
    return os.environ.get(MARK) == str(threads)


def prepared(threads: int) -> dict[str, str]:
    """Return the environment of a process in which everyone may use so many threads."""
    kept = {name: value for name, value in os.environ.items() if name not in UNSET}
    eigen = str(threads > 1).lower()
    return (
        kept
        | KEEP_MEMORY
        | dict.fromkeys(THREADS, str(threads))
        | {"JAX_PLATFORMS": "cpu", "XLA_FLAGS": f"--xla_cpu_multi_thread_eigen={eigen}"}
    )
