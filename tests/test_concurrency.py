"""Eight threads at once: the same bits as alone, and the GIL, where there is none, stays off."""

from __future__ import annotations

import subprocess
import sys
import sysconfig
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from threading import Barrier, Event

import numpy as np
import pytest

pytestmark = pytest.mark.light_on("numpy", "best")

THREADS, ROUNDS = 8, 50


def every_result(sm, x, labels):
    """What the fast path and the functions behind it return for shared input."""
    s = sm.softmax(x)
    loss, gradient = sm.cross_entropy_with_grad(x, labels)
    return [
        s,
        sm.log_softmax(x),
        sm.logsumexp(x),
        sm.softmax_vjp(s, x),
        sm.softmax_jvp(s, x),
        sm.softmax_jacobian(s),
        sm.softmax(x.T, axis=0),
        np.asarray(loss),
        gradient,
    ]


def test_threads_share_input(sm, native_dtype, rng):
    x = rng.standard_normal((5, 11)).astype(native_dtype)
    x.flags.writeable = False
    labels = rng.integers(0, 11, 5)
    expected = [result.tobytes() for result in every_result(sm, x, labels)]
    start = Barrier(THREADS)

    def work(_):
        start.wait()
        return all(
            [result.tobytes() for result in every_result(sm, x, labels)] == expected
            for _ in range(ROUNDS)
        )

    with ThreadPoolExecutor(THREADS) as pool:
        assert all(pool.map(work, range(THREADS)))


@contextmanager
def scribbled(labels, wild):
    """Let another thread write `wild` and 0 over all labels, without the GIL, again and again."""
    stop, started = Event(), Event()

    def scribble():
        while not stop.is_set():
            labels.fill(wild)
            labels.fill(0)
            started.set()

    with ThreadPoolExecutor(1) as pool:
        done = pool.submit(scribble)
        started.wait()
        try:
            yield
        finally:
            stop.set()
    done.result()


@pytest.mark.parametrize("wild", [2**40, -(2**40)])
@pytest.mark.parametrize("axis", [-1, 0])
def test_labels_written_meanwhile(sm, native_dtype, wild, axis):
    """A label that was judged is the one that is used: no wild read, and no error but that."""
    classes, rows = 3, 100_000
    x = np.zeros((rows, classes) if axis else (classes, rows), native_dtype)
    weight = np.ones(classes, native_dtype)
    labels = np.zeros(rows, np.int64)
    X, W = np.zeros((rows, 1), native_dtype), np.zeros((1, classes), native_dtype)
    calls = (
        lambda: sm.cross_entropy(x, labels, axis=axis, weight=weight),
        lambda: sm.cross_entropy_with_grad(x, labels, axis=axis, weight=weight),
        lambda: sm.cross_entropy_hvp(x, x, labels, axis=axis, weight=weight),
        lambda: sm.cross_entropy_hvp(x, x, labels, axis=axis),
        lambda: sm.linear_cross_entropy_with_grad(X, W, labels, weight=weight),
    )
    with scribbled(labels, wild):
        for call in calls * 10:
            try:
                call()
            except ValueError as error:
                assert str(error).startswith("target must hold labels 0 to 2")


@pytest.mark.skipif(not sysconfig.get_config_var("Py_GIL_DISABLED"), reason="a Python with a GIL")
def test_gil_stays_off(environment):
    code = "import smcore, sys; sys.exit(sys._is_gil_enabled())"
    subprocess.run([sys.executable, "-W", "error", "-c", code], env=environment, check=True)
