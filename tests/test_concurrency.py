"""Eight threads at once: the same bits as alone, and the GIL, where there is none, stays off."""

from __future__ import annotations

import subprocess
import sys
import sysconfig
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import numpy as np
import pytest

THREADS, ROUNDS = 8, 50


def every_result(sm, x, labels):
    """What the short ways for small calls and the general one return for shared input."""
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


@pytest.mark.skipif(not sysconfig.get_config_var("Py_GIL_DISABLED"), reason="a Python with a GIL")
def test_gil_stays_off(environment):
    code = "import smcore, sys; sys.exit(sys._is_gil_enabled())"
    subprocess.run([sys.executable, "-W", "error", "-c", code], env=environment, check=True)
