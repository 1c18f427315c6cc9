"""What needs no matrix takes no room for one, and a matrix without room is refused untouched."""

from __future__ import annotations

import subprocess
import sys
import tracemalloc
from contextlib import contextmanager

import numpy as np
import pytest

pytestmark = pytest.mark.light_on("numpy", "best")

TOO_MANY = 2**23  # classes: a square matrix of them takes 256 TiB in float32


@contextmanager
def peak_below(limit):
    """NumPy reports its allocations to tracemalloc."""
    tracemalloc.start()
    try:
        yield
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak <= limit, f"{peak:,} bytes in use, {limit:,} allowed"


# ---- Operators -----------------------------------------------------------------------------------


@pytest.mark.parametrize("k", [100_000, 400_000])
def test_softmax_jacobian_takes_vectors_only(sm, native_dtype, k):
    s = np.full(k, 1 / k, native_dtype)
    v = np.ones((k, 2), native_dtype)
    # the result; the NumPy backend holds some temporaries of a row besides
    spare = (2 if sm.backend() == "native" else 12) * s.nbytes + 2**16
    with peak_below(spare):
        operator = sm.SoftmaxJacobian(s)
        operator.matvec(v[:, 0])
    with peak_below(s.nbytes + spare):
        operator @ v
    with peak_below(s.nbytes + spare):
        v.T @ operator


@pytest.mark.parametrize("shape", [(1024, 1024), (16, 2**16), (2**17, 8), (1, 2**20)])
@pytest.mark.parametrize("axis", [0, 1])
def test_logsumexp_with_factors_takes_blocks(sm, dtype, shape, axis):
    """Besides its results: one number in float64 for each row, or two."""
    x = np.ones(shape, dtype)
    b = np.ones(shape, dtype)
    rows = x.size // shape[axis]
    with peak_below(2**21 + 40 * rows):
        sm.logsumexp(x, axis, b=b, return_sign=True)


def test_layer_jacobian_takes_vectors_only(sm, native_dtype):
    k, j = 2000, 500
    s, x = np.full(k, 1 / k, native_dtype), np.ones(j, native_dtype)
    v = np.ones(k * j, native_dtype)
    operator = sm.SoftmaxLayerJacobian(s, x)
    with peak_below(8 * (s.nbytes + x.nbytes) + 2**16):
        operator @ v
    with peak_below(v.nbytes + 8 * (s.nbytes + x.nbytes) + 2**16):  # the result itself
        operator.T @ s


# ---- Blocks --------------------------------------------------------------------------------------


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("rows", [1, 500])
def test_where_keeps_within_the_block(sm, native_dtype, rng, rows, smoothing):
    """All that it takes counts, one row of classes for all rows or one for each."""
    X, W = rng.standard_normal((500, 16)), rng.standard_normal((16, 3000))
    X, W, y = X.astype(native_dtype), W.astype(native_dtype), rng.integers(3000, size=500)
    where = rng.random((rows, 3000)) < 0.5
    results = X.nbytes + W.nbytes + 3000 * 16
    # the NumPy backend holds some temporaries of a few rows besides
    spare = (1 << 16) + (0 if sm.backend() == "native" else 1 << 23)
    with peak_below(results + (1 << 21) + spare):
        sm.linear_cross_entropy_with_grad(
            X, W, y, where=where, label_smoothing=smoothing, block_bytes=1 << 21
        )


# ---- Matrices ------------------------------------------------------------------------------------


def refused(call, *parts):
    """MemoryError with that in its message, and nothing allocated."""
    # but for the buffer through which the free memory is read, 128 KiB from Python 3.14 on
    with peak_below(2**18), pytest.raises(MemoryError) as caught:
        call()
    for part in parts:
        assert part in str(caught.value), f"{part!r} is not in {str(caught.value)!r}"


def test_matrices_that_cannot_be_held(sm):
    s = np.full(TOO_MANY, 1 / TOO_MANY, np.float32)
    x, rows = np.ones(TOO_MANY, np.float32), np.broadcast_to(s, (3, TOO_MANY))
    square = (TOO_MANY, TOO_MANY)
    refused(
        lambda: sm.softmax_jacobian(s),
        f"shape {square} and dtype float32 takes 262,144.0 GiB",
        "SoftmaxJacobian(s)",
        "softmax_vjp",
        "softmax_jvp",
    )
    refused(lambda: sm.softmax_jacobian(rows), f"(3, {TOO_MANY}, {TOO_MANY})", "786,432.0 GiB")
    refused(lambda: sm.log_softmax_jacobian(s), str(square), "log_softmax_vjp", "log_softmax_jvp")
    s = s[: 2**12]
    wide = str((2**12, 2**12 * TOO_MANY))
    refused(
        lambda: sm.softmax_layer_jacobian(s, x),
        wide,
        "SoftmaxLayerJacobian(s, x)",
        "softmax_layer_vjp",
    )
    refused(lambda: sm.linear_weight_jacobian(x, 2**12), wide, "x @ dW")
    operator = sm.SoftmaxJacobian(np.broadcast_to(s[:1], TOO_MANY))
    for write_out in (operator.todense, operator.toarray, lambda: np.asarray(operator)):
        refused(write_out, str(square))


def test_size_beyond_the_address_space(sm):
    x = np.broadcast_to(np.float64(1), 2**40)
    refused(lambda: sm.linear_weight_jacobian(x, 2**40), "a dense matrix", "dtype float64")


def test_matrices_that_numpy_cannot_allocate(sm, monkeypatch):
    """Its error is replaced by the one that says what to do instead."""

    def fail(*_, **__):
        raise MemoryError("from NumPy")

    monkeypatch.setattr(np, "empty", fail)
    with pytest.raises(MemoryError, match="SoftmaxJacobian"):
        sm.softmax_jacobian(np.ones((2, 6))[:, ::2])  # not plain, as the fast path wants it


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere RLIMIT_AS is not kept to, or is not")
def test_matrices_that_the_process_may_not_have(environment):
    """Less than what is thought to fit anywhere, so that it is tried."""
    code = """
import resource
import numpy as np, smcore
s = np.full(4000, 1 / 4000, np.float32)
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + 2**25,) * 2)
try:
    np.empty(2**26, np.uint8)
except MemoryError:
    pass
else:
    raise SystemExit(3)
try:
    smcore.softmax_jacobian(s)
except MemoryError as error:
    assert "SoftmaxJacobian" in str(error), error
else:
    raise AssertionError("no error")
"""
    run = subprocess.run([sys.executable, "-c", code], env=environment)
    if run.returncode == 3:
        pytest.skip("the limit is not kept to, as on an emulated processor")
    assert run.returncode == 0


@pytest.mark.skipif(sys.platform == "win32", reason="NumPy's own error is early enough there")
def test_available_memory(sm):
    """Some, but less than the sizes above."""
    assert 2**26 < sm._memory.available() < 2**47


@pytest.mark.parametrize(
    "path, groups, limit, expected",
    [
        ("0::/", "memory.max", "1000000", 1000000),
        ("0::/user/one", "user/memory.max", "5000", 5000),
        ("0::/seen/outside/only", "memory.max", "6000", 6000),
        ("9:cpu:/\n4:memory,hugetlb:/one", "memory/one/memory.limit_in_bytes", "7000", 7000),
        ("0::/", "memory.max", "max", None),
        ("3:cpu:/one", "cpu/one/memory.max", "8000", None),
    ],
)
def test_limit_of_a_control_group(sm, monkeypatch, tmp_path, path, groups, limit, expected):
    """As in a container, by files laid out like those of the kernel."""
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/meminfo").write_text("MemAvailable: 100000 kB\nSwapFree: 1000 kB\n")
    (tmp_path / "proc/self/cgroup").write_text(path + "\n")
    file = tmp_path / "cgroup" / groups
    file.parent.mkdir(parents=True)
    file.write_text(limit + "\n")
    monkeypatch.setattr(sm._memory, "_PROC", tmp_path / "proc")
    monkeypatch.setattr(sm._memory, "_CGROUPS", tmp_path / "cgroup")
    assert sm._memory.available() == (101000 * 1024 if expected is None else expected)
