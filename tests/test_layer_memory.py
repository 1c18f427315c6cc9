"""What the losses of a layer take besides their results: never the whole of its logits."""

from __future__ import annotations

import subprocess
import sys
import tracemalloc

import numpy as np
import pytest
from cases import results

import smcore

pytestmark = pytest.mark.light_on("numpy", "best")

MIB = 1 << 20


@pytest.mark.parametrize("name", ["linear_cross_entropy", "linear_cross_entropy_with_grad"])
@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_allocations_stay_within_the_block(sm, dtype, rng, name, transposed):
    """Logits of 6 MiB, a block of one; the NumPy backend's own temporaries on top."""
    count, inputs, classes = 320, 6, 5000
    X = rng.standard_normal((count, inputs)).astype(dtype)
    W = rng.standard_normal((classes, inputs)).astype(dtype).T
    W = W if transposed else np.ascontiguousarray(W)
    target = rng.integers(classes, size=count)
    tracemalloc.start()
    try:
        found = getattr(sm, name)(X, W, target, block_bytes=MIB)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    temporaries = 3 * MIB if sm.backend() == "numpy" else MIB // 8
    outputs = 3 * sum(a.nbytes for a in results(found))  # sums for the weights of 16-bit floats
    assert peak <= MIB + outputs + temporaries


RESIDENT = """
import numpy as np, sys, tracemalloc, smcore

def resident():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) << 10 for line in status if line.startswith("VmHWM"))

count, inputs, classes = 2000, 8, 50_000
name, dtype = sys.argv[1:]
rng = np.random.default_rng(1)
X = rng.standard_normal((count, inputs), np.float32).astype(dtype)
W = rng.standard_normal((inputs, classes), np.float32).astype(dtype)
b, y = np.zeros(classes, dtype), rng.integers(classes, size=count)
call = getattr(smcore, name)
call(X[:64], W, y[:64], b)  # what BLAS keeps for itself
before = resident()
found = call(X, W, y, b)
print(resident() - before)
tracemalloc.start()
call(X, W, y, b)
print(tracemalloc.get_traced_memory()[1])
"""


@pytest.mark.heavy
@pytest.mark.skipif(sys.platform != "linux", reason="reads the peak of the resident set in /proc")
@pytest.mark.skipif(smcore.backend() == "numpy", reason="takes NumPy a minute")
@pytest.mark.parametrize("dtype", ["float32", "float16"])
@pytest.mark.parametrize("name", ["linear_cross_entropy", "linear_cross_entropy_with_grad"])
def test_logits_never_exist_whole(environment, name, dtype):
    """400 MB of them (in the float32 that both are computed in); 64 MiB are granted."""
    run = subprocess.run(
        [sys.executable, "-c", RESIDENT, name, dtype],
        env=environment,
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stderr
    resident, allocated = map(int, run.stdout.split())
    outputs = 2 * 4 * 8 * (50_000 + 2000)  # for 16-bit floats: with their sums in float32
    assert allocated <= 64 * MIB + outputs
    assert resident <= 64 * MIB + outputs + 4 * MIB
