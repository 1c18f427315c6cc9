"""`smcore.dask` on a cluster of processes: right when one dies, within the memory of each."""

from __future__ import annotations

import os
import re
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import smcore

da = pytest.importorskip("dask.array")
distributed = pytest.importorskip("distributed")
resource = pytest.importorskip("resource")  # Windows has none
sd = pytest.importorskip("smcore.dask")

LIMIT = 256 * 2**20  # bytes for a worker


@pytest.fixture(scope="module")
def client() -> Iterator[Any]:
    """Three worker processes on this machine, with all their connections closed at the end."""
    with (
        distributed.LocalCluster(
            n_workers=3,
            threads_per_worker=1,
            memory_limit=LIMIT,
            dashboard_address="127.0.0.1:0",
        ) as cluster,
        distributed.Client(cluster) as client,
    ):
        yield client


def close(got: Any, expected: Any) -> None:
    np.testing.assert_allclose(got, expected, rtol=1e-15, atol=0)


def test_all_functions(client, rng):
    values, labels = rng.standard_normal((30, 200)), rng.integers(0, 200, 30)
    x = da.from_array(values, chunks=(10, 30))
    y = da.from_array(labels, chunks=7)
    lazy = sd.softmax(x), sd.log_softmax(x), sd.logsumexp(x), sd.cross_entropy(x, y)
    softmax, log_softmax, lse, loss = (future.result() for future in client.compute(lazy))
    close(softmax, smcore.softmax(values))
    close(log_softmax, smcore.log_softmax(values))
    close(lse, smcore.logsumexp(values))
    close(loss, smcore.cross_entropy(values, labels))


def test_an_array_that_the_workers_hold(client, rng):
    values = rng.standard_normal((30, 200))
    x = client.persist(da.from_array(values, chunks=(10, 30)))
    close(sd.softmax(x).compute(), smcore.softmax(values))


def test_an_error_of_a_worker_reaches_the_caller(client):
    x = da.zeros((4, 6), chunks=(2, 3))
    loss = sd.cross_entropy(x, da.from_array([0, 1, 6, 2], chunks=2))
    with pytest.raises(ValueError, match="target must hold labels 0 to 5"):
        loss.compute()


def mortal(x: Any, trace: str, block_info: Any = None) -> Any:
    """The chunk; the first process that comes to the last one dies instead."""
    if block_info[0]["chunk-location"] == (2, 6) and not os.path.exists(trace):
        Path(trace).touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return x


@pytest.mark.parametrize("function", ["softmax", "logsumexp"])
def test_a_worker_that_is_killed(client, rng, tmp_path, function):
    values = rng.standard_normal((30, 200))
    x = da.from_array(values, chunks=(10, 30))
    x = x.map_blocks(mortal, str(tmp_path / "trace"), dtype=float)
    got = getattr(sd, function)(x).compute()
    assert (tmp_path / "trace").exists()
    close(got, getattr(smcore, function)(values))


# ---- memory --------------------------------------------------------------------------------------


def peak() -> int:
    """The most memory that this process has held, in bytes.

    On Linux not by getrusage(), which counts what the process that started this one held, too.
    """
    status = Path("/proc/self/status")
    if status.exists():
        return int(re.search(r"VmHWM:\s*(\d+) kB", status.read_text())[1]) * 1024
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024


def ramp(block_info: Any = None) -> Any:
    """A chunk whose entries grow by 2**-20 along a row, from 0 in the first."""
    (_, _), (first, last) = block_info[None]["array-location"]
    shape = block_info[None]["chunk-shape"]
    return np.broadcast_to(np.arange(first, last) * 2.0**-20, shape) + 0.0


def test_an_array_of_ten_times_the_memory_of_a_worker(client):
    """3 GB: what is exp of an arithmetic progression is known in closed form."""
    N, K = 352, 2**20
    x = da.map_blocks(ramp, chunks=((32,) * 11, (2**15,) * 32), dtype=float)
    assert x.shape == (N, K) and x.nbytes > 10 * LIMIT
    step = 2.0**-20
    exact = np.log(np.expm1(K * step)) - np.log(np.expm1(step))
    close(sd.logsumexp(x).compute(), np.full(N, exact))
    labels = np.arange(N) * 2900
    loss = sd.cross_entropy(x, labels).compute()
    close(loss, np.mean(exact - labels * step))
    top = sd.softmax(x)[:, -1].compute()
    np.testing.assert_allclose(top, np.exp((K - 1) * step - exact), rtol=1e-13)
    peaks = client.run(peak)
    print({worker: f"{most / 2**20:.0f} MiB" for worker, most in peaks.items()})
    assert max(peaks.values()) < LIMIT
