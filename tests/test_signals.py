"""Ctrl-C and other signals during a long call: heard between pieces of it, in the main thread."""

from __future__ import annotations

import os
import signal
import threading
import time

import numpy as np
import pytest
from cases import DTYPES, assert_identical

import smcore

pytestmark = [
    pytest.mark.light_on("numpy", "best"),
    pytest.mark.skipif(
        not hasattr(signal, "setitimer"), reason="needs a timer that sends a signal"
    ),
]

needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")

ATTEMPTS = 10  # on a busy machine the signal may come before the call, or after it


class Interrupted(Exception):
    """Stands for the KeyboardInterrupt of a user."""


@pytest.fixture(params=smcore.targets())
def native(request):
    """Each target, as if little work were worth a thread: calls of milliseconds look, too."""
    former = smcore._backend.core._set_worth_a_thread(500)
    with smcore.use_target(request.param):
        yield smcore
    smcore._backend.core._set_worth_a_thread(former)


@pytest.fixture(params=[1, 2])
def threads(request, native):
    with native.set_num_threads(request.param):
        yield request.param


@pytest.fixture
def on_alarm():
    """Set what is done at the alarm; the former is restored."""
    former = signal.getsignal(signal.SIGALRM)
    yield lambda handler: signal.signal(signal.SIGALRM, handler)
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, former)


def interrupt(*_):
    raise Interrupted


def rows(length, dtype=np.float32, seed=0):
    return np.random.default_rng(seed).standard_normal(length).astype(dtype)


def many_rows(sm, row, count=40_000):
    """A function of `out`, of so many rows: they take no memory, as they are one."""
    x = np.broadcast_to(row, (count, len(row)))
    return lambda out: sm.logsumexp(x, out=out), count


ROW = 3 << 20
ONE_ROW = {
    "softmax": lambda sm, x, out: sm.softmax(x, out=out),
    "log_softmax": lambda sm, x, out: sm.log_softmax(x, out=out),
    "scaled": lambda sm, x, out: sm.softmax(x, scale=np.array([[0.5], [2.0]]), out=out),
    "softmax_vjp": lambda sm, x, out: sm.softmax_vjp(x, x, out=out),
    "softmax_from_lse": lambda sm, x, out: sm.softmax_from_lse(x, np.float32([1, 2]), out=out),
    "cross_entropy": lambda sm, x, out: sm.cross_entropy_with_grad(x, [1, 2], out=out),
    "strided": lambda sm, x, out: sm.softmax(x[:, ::-1], out=out[:, ::-1]),
}


def seconds(call, out):
    start = time.perf_counter()
    call(out)
    return time.perf_counter() - start


def left_after_interrupt(call, out, on_alarm):
    """How many elements of `out` a call had not written when it was interrupted."""
    call(out)  # the threads are there, and memory
    delay = seconds(call, out) / 3
    on_alarm(interrupt)
    for _ in range(ATTEMPTS):
        out.fill(np.nan)
        with pytest.raises(Interrupted):
            signal.setitimer(signal.ITIMER_REAL, delay)
            call(out)
            time.sleep(60)
        if np.isnan(out).any():
            break
    return np.isnan(out).sum()


@pytest.mark.parametrize("dtype", [name for name in DTYPES if name != "longdouble"], indirect=True)
def test_many_rows(native, threads, dtype, on_alarm):
    """What is left is as it was, and the rest is right."""
    call, count = many_rows(native, rows(1000).astype(dtype))
    expected, out = np.empty(count, dtype), np.empty(count, dtype)
    call(expected)
    assert 0 < left_after_interrupt(call, out, on_alarm) < count
    assert_identical(out[~np.isnan(out)], expected[~np.isnan(out)])
    call(out)
    assert_identical(out, expected)


@pytest.mark.parametrize("name", ONE_ROW)
def test_rows_in_parts(native, threads, name, on_alarm):
    x = rows((2, ROW))
    expected, out = np.empty_like(x), np.empty_like(x)

    def call(out):
        return ONE_ROW[name](native, x, out)

    call(expected)
    assert left_after_interrupt(call, out, on_alarm)
    call(out)
    assert_identical(out, expected)


def test_blocks_of_rows_in_parts(native, on_alarm):
    """No row after the one that was interrupted is written."""
    row = rows(ROW + 4000)
    x = np.lib.stride_tricks.as_strided(row, (3, 2, ROW), (4000, 28, 4), writeable=False)
    with native.set_num_threads(2):  # one alone has so many rows whole
        expected, out = native.logsumexp(x), np.empty((3, 2), np.float32)
        assert left_after_interrupt(lambda out: native.logsumexp(x, out=out), out, on_alarm)
        is_left = np.isnan(out.ravel())
        assert (is_left == np.sort(is_left)).all()
        assert (out != expected).ravel()[~is_left].sum() <= 1  # that one
        native.logsumexp(x, out=out)
    assert_identical(out, expected)


def test_usual_thresholds(sm, on_alarm):
    """A call of a second, with nothing set for the test."""
    call, count = many_rows(sm, rows(1000), 2_000_000 if sm.backend() == "native" else 100_000)
    out = np.empty(count, np.float32)
    whole = seconds(call, out)
    on_alarm(interrupt)
    signal.setitimer(signal.ITIMER_REAL, whole / 10)
    start = time.perf_counter()
    with pytest.raises(Interrupted):
        call(out)
    assert time.perf_counter() - start < 0.7 * whole


@pytest.mark.parametrize("kind", ["rows", "parts"])
def test_handler_that_lets_go_on(native, threads, kind, on_alarm):
    """It may call us, too."""
    call, count = many_rows(native, rows(1000))
    if kind == "parts":
        x, count = rows(ROW), ROW

        def call(out):
            return native.softmax(x, out=out)

    expected, out = np.empty(count, np.float32), np.empty(count, np.float32)
    call(expected)
    part = rows((3000, 100), np.float64)
    found, heard_in_call = [], False
    on_alarm(lambda *_: found.append((native.softmax(part), np.isnan(out).any())))
    for _ in range(ATTEMPTS):
        out.fill(np.nan)
        delay = seconds(call, expected) / 3
        signal.setitimer(signal.ITIMER_REAL, delay)
        call(out)
        assert_identical(out, expected)
        heard_in_call = any(unfinished for _, unfinished in found)
        if heard_in_call:
            break
    assert heard_in_call
    for s, _ in found:
        assert_identical(s, native.softmax(part))


def test_other_threads_are_not_interrupted(native, threads, on_alarm):
    """The main thread hears, while the call of another goes on to its end."""
    call, count = many_rows(native, rows(1000))
    expected, out = np.empty(count, np.float32), np.full(count, np.nan, np.float32)
    call(expected)
    heard = []
    on_alarm(lambda *_: heard.append(threading.current_thread()))
    helper = threading.Thread(target=call, args=(out,))
    signal.setitimer(signal.ITIMER_REAL, 0.001)
    helper.start()
    helper.join()
    assert_identical(out, expected)
    while not heard:
        time.sleep(0.001)
    assert heard == [threading.main_thread()]


@needs_fork
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # Python 3.12: a fork with threads
def test_handler_that_forks(native, threads, on_alarm):
    """The parent's call is right; so is the child's if it had no threads, else it is an error."""
    call, count = many_rows(native, rows(1000))
    expected, out = np.empty(count, np.float32), np.empty(count, np.float32)
    call(expected)
    parent, children = os.getpid(), []

    def fork(*_):
        if np.isnan(out).any():
            children.append(os.fork())

    on_alarm(fork)
    delay = seconds(call, out) / 3
    for _ in range(ATTEMPTS):
        out.fill(np.nan)
        status = 1
        try:
            signal.setitimer(signal.ITIMER_REAL, delay)
            call(out)
            status = 0 if (out == expected).all() else 2
        except RuntimeError as error:
            status = 3 if "forked" in str(error) else 4
        finally:
            if os.getpid() != parent:
                os._exit(status)
        assert status == 0
        if children:
            break
    assert children
    codes = {os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children}
    assert codes <= ({0} if threads == 1 else {0, 3})
    call(out)
    assert_identical(out, expected)
