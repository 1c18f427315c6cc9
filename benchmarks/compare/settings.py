"""What the environment of the process tells the libraries in it, before they are loaded."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from collections.abc import Sequence

import numpy as np

# Who finds this one in its environment is prepared; it says for how many threads.
MARK = "SMCORE_BENCH_THREADS"
MARK_TARGET = "SMCORE_BENCH_TARGET"  # and this one for which target, if any
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
# What keeps the peers to the instructions of a target on x86-64, as far as they can be told:
# PyTorch with MKL and oneDNN, NumPy's BLAS, Numba. ONNX Runtime takes no orders.
AVX2 = {
    "ATEN_CPU_CAPABILITY": "avx2",
    "MKL_ENABLE_INSTRUCTIONS": "AVX2",
    "ONEDNN_MAX_CPU_ISA": "AVX2",
    "OPENBLAS_CORETYPE": "Haswell",
    "NUMBA_CPU_NAME": "haswell",
    "NUMBA_CPU_FEATURES": "",  # those of that processor, rather than of this one
}
SSE = {
    "ATEN_CPU_CAPABILITY": "default",
    "MKL_ENABLE_INSTRUCTIONS": "SSE4_2",
    "ONEDNN_MAX_CPU_ISA": "SSE41",
    "OPENBLAS_CORETYPE": "Nehalem",
    "NUMBA_CPU_NAME": "nehalem",
    "NUMBA_CPU_FEATURES": "",
}
X86_64 = platform.machine() in ("x86_64", "AMD64")
LIMITS = {"avx2": AVX2, "sse2": SSE, "scalar": SSE} if X86_64 else {}
XLA_LIMITS = {"avx2": "AVX2", "sse2": "SSE4_2", "scalar": "SSE4_2"} if X86_64 else {}
# A processor forced upon BLAS, or features taken from NumPy, would slow the peers down, unless that
# is what is asked for.
UNSET = (*AVX2, "NPY_DISABLE_CPU_FEATURES")


def threads() -> int:
    """Return the number of threads that everyone may use in this process."""
    return int(os.environ.get(MARK, "1"))


def target() -> str | None:
    """Return the target asked for, to which the peers are kept as well; None: the best."""
    return os.environ.get(MARK_TARGET)


def is_prepared(threads: int, target: str | None) -> bool:
    """Tell whether this process was started with the environment of such a benchmark."""
    marks = os.environ.get(MARK), os.environ.get(MARK_TARGET)
    return marks == (str(threads), target)


def restart(arguments: Sequence[str], threads: int, target: str | None) -> int:
    """Run the program with these arguments in a process that is prepared; return its status."""
    command = [sys.executable, "-m", __package__, *arguments]
    return subprocess.run(command, env=prepared(threads, target)).returncode


def prepared(threads: int, target: str | None) -> dict[str, str]:
    """Return the environment of a process in which everyone may use so many threads.

    And, if there is a `target`, no better instructions than its.
    """
    kept = {name: value for name, value in os.environ.items() if name not in (*UNSET, MARK_TARGET)}
    xla = [f"--xla_cpu_multi_thread_eigen={str(threads > 1).lower()}"]
    limits = {}
    if target is not None:
        limits = {MARK_TARGET: target, "SMCORE_TARGET": target}
        if target in LIMITS:
            limits |= LIMITS[target] | {"NPY_DISABLE_CPU_FEATURES": _features_beyond(target)}
            xla.append(f"--xla_cpu_max_isa={XLA_LIMITS[target]}")
    return (
        kept
        | KEEP_MEMORY
        | dict.fromkeys(THREADS, str(threads))
        | {"JAX_PLATFORMS": "cpu", "XLA_FLAGS": " ".join(xla)}
        | limits
    )


def _features_beyond(target: str) -> str:
    """List the features of this processor that NumPy uses, but that `target` does without."""
    found = np.show_config(mode="dicts").get("SIMD Extensions", {}).get("found", [])
    if target == "avx2":
        found = [name for name in found if name == "X86_V4" or name.startswith("AVX512")]
    return " ".join(found)
