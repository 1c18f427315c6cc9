"""What the environment of the process tells the libraries in it, before they are loaded."""

from __future__ import annotations

# Libraries read these when they are loaded, so they are set before anything is imported.
SINGLE_THREAD = {
    "SMCORE_NUM_THREADS": "1",
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "VECLIB_MAXIMUM_THREADS": "1",
    "BLIS_NUM_THREADS": "1",
    "NUMBA_NUM_THREADS": "1",
    "NPROC": "1",  # XLA sizes its pool of threads by it
    "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1",
    "JAX_PLATFORMS": "cpu",
}
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
PREPARED = SINGLE_THREAD | KEEP_MEMORY
# A processor forced upon BLAS, or features taken from NumPy, would slow the peers down.
UNSET = ("OPENBLAS_CORETYPE", "NPY_DISABLE_CPU_FEATURES", "ATEN_CPU_CAPABILITY")
