"""Rows spread over threads: the same bits for any number, and no trouble with forks and signals."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest
from cases import OPERATIONS, ROWWISE, every, results

import smcore

needs_native = pytest.mark.skipif(
    smcore.backend() != "native", reason="the NumPy backend computes with one thread"
)
needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")

SHARED = {**ROWWISE, "softmax_layer_jacobian": OPERATIONS["softmax_layer_jacobian"]}
# Many of the smallest pieces that are worth a thread, see `WORTH_A_THREAD` in `_core.pyx`.
ENOUGH = 150_000


def shapes(operation):
    """Batches large enough for several threads: of short rows, and of longer ones."""
    for k in (7, 40) if "jacobian" in operation.name else (10, 700):
        size = k * k / 4 if "jacobian" in operation.name else k
        yield (int(ENOUGH / size) + 17,), k


# ---- The number of threads -----------------------------------------------------------------------


@pytest.fixture
def restored(sm):
    """Whatever the test chooses, the former number is chosen again."""
    before = sm.get_num_threads()
    yield before
    sm.set_num_threads(before)


def test_set_num_threads_as_a_function(sm, restored):
    for n in (3, 1, np.int64(2), 1024):
        sm.set_num_threads(n)
        assert sm.get_num_threads() == n
        assert type(sm.get_num_threads()) is int


def test_set_num_threads_as_a_context_manager(sm, restored):
    with sm.set_num_threads(restored + 1):
        with sm.set_num_threads(restored + 2):
            assert sm.get_num_threads() == restored + 2
        assert sm.get_num_threads() == restored + 1
    assert sm.get_num_threads() == restored


def test_set_num_threads_restores_after_an_error(sm, restored):
    with pytest.raises(ZeroDivisionError), sm.set_num_threads(restored + 1):
        raise ZeroDivisionError
    assert sm.get_num_threads() == restored


@pytest.mark.parametrize("n", [0, -1, 1025, 2**70])
def test_number_out_of_range_is_refused(sm, restored, n):
    with pytest.raises(ValueError, match=f"^n must be from 1 to 1024; found {n}$"):
        sm.set_num_threads(n)
    assert sm.get_num_threads() == restored


@pytest.mark.parametrize("n", [1.0, "2", None, np.ones(2)])
def test_what_is_no_integer_is_refused(sm, restored, n):
    with pytest.raises(TypeError, match=r"^n must be an integer; found "):
        sm.set_num_threads(n)
    assert sm.get_num_threads() == restored


# ---- The environment -----------------------------------------------------------------------------


def python(code, environment, **forced):
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        env={**environment, **forced},
        capture_output=True,
        text=True,
        timeout=60,
    )


def printed(code, environment, **forced):
    result = python(code, environment, **forced)
    assert (result.returncode, result.stderr) == (0, "")
    return result.stdout.split()


HOW_MANY = "import smcore; print(smcore.get_num_threads())"


@pytest.fixture
def bare(environment):
    """An environment that does not speak of threads."""
    return {name: value for name, value in environment.items() if name != "OMP_NUM_THREADS"}


@pytest.mark.parametrize("backend", ["numpy", smcore.backend()])
def test_number_from_the_environment(bare, backend):
    forced = {"SMCORE_BACKEND": backend, "OMP_NUM_THREADS": "4"}
    assert printed(HOW_MANY, bare, **forced) == ["4"]
    assert printed(HOW_MANY, bare, **forced, SMCORE_NUM_THREADS="3") == ["3"]
    assert printed(HOW_MANY, bare, **forced, SMCORE_NUM_THREADS="") == ["4"]


@pytest.mark.parametrize("value, count", [("5,2", 5), (" 6 ", 6), ("99999", 1024)])
def test_number_for_openmp(bare, value, count):
    assert printed(HOW_MANY, bare, OMP_NUM_THREADS=value) == [str(count)]


@pytest.mark.parametrize("value", ["", "0", "-2", "two", "1.5", "²", ","])
def test_senseless_number_for_openmp_is_ignored(bare, value):
    assert printed(HOW_MANY, bare, OMP_NUM_THREADS=value) == printed(HOW_MANY, bare)


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="cores cannot be chosen here")
def test_default_is_the_number_of_cores_of_the_process(bare):
    cores = os.sched_getaffinity(0)
    assert printed(HOW_MANY, bare) == [str(len(cores))]
    one = f"import os; os.sched_setaffinity(0, {{{min(cores)}}}); {HOW_MANY}"
    assert printed(one, bare) == ["1"]


@pytest.mark.parametrize("value", ["0", "-1", "1025", "two", "1.5", "4,2"])
def test_senseless_number_of_our_own_is_refused(bare, value):
    result = python(HOW_MANY, bare, SMCORE_NUM_THREADS=value)
    assert result.returncode == 1
    last = result.stderr.strip().splitlines()[-1]
    assert last.startswith("ImportError: SMCORE_NUM_THREADS must be an integer from 1 to 1024")
    assert repr(value) in last


# ---- Results -------------------------------------------------------------------------------------


def bits(value):
    return [(a.dtype, a.shape, a.tobytes()) for a in results(value)]


def with_threads(sm, n, operation, operands, **keywords):
    with sm.set_num_threads(n):
        return results(operation(sm, operands, **keywords))


@needs_native
@every(SHARED)
def test_same_bits_for_any_number(sm, dtype, rng, operation):
    if sm.backend() == "numpy":
        pytest.skip("one thread computes")
    for lead, k in shapes(operation):
        operands = operation.draw(rng, dtype, lead, k)
        expected = bits(with_threads(sm, 1, operation, operands))
        for n in (2, 3, 7):
            assert bits(with_threads(sm, n, operation, operands)) == expected
