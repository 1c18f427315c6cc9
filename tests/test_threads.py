"""Rows spread over threads: the same bits for any number, and no trouble with forks and signals."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import layouts
import numpy as np
import pytest
from cases import DTYPES, OPERATIONS, ROWWISE, assert_identical, every, results

import smcore

pytestmark = pytest.mark.light_on("numpy", "best")

needs_native = pytest.mark.skipif(
    smcore.backend() != "native", reason="the NumPy backend computes with one thread"
)
needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")

HANGING = 600  # seconds: an emulated processor takes a minute for what a real one does in one

SHARED = {**ROWWISE, "softmax_layer_jacobian": OPERATIONS["softmax_layer_jacobian"]}


@pytest.fixture(params=smcore.targets())
def native(request):
    """Each target, as if little work were worth a thread: small arrays are shared out, too."""
    former = smcore._backend.core._set_worth_a_thread(500)
    with smcore.use_target(request.param):
        yield smcore
    smcore._backend.core._set_worth_a_thread(former)


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
    with sm.set_num_threads(restored + 1) as outer:
        with sm.set_num_threads(np.int64(restored + 2)) as inner:
            assert (outer, inner) == (restored + 1, restored + 2)
            assert type(inner) is int
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
        timeout=HANGING,
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


@pytest.mark.parametrize(
    "value, count",
    [("5,2", 5), (" 6 ", 6), ("99999", 1024), ("7" * 5000, 1024), ("0" * 5000 + "3", 3)],
)
def test_number_for_openmp(bare, value, count):
    assert printed(HOW_MANY, bare, OMP_NUM_THREADS=value) == [str(count)]


@pytest.mark.parametrize("value", ["", "0", "-2", "two", "²"])
def test_senseless_number_for_openmp_is_ignored(bare, value):
    assert printed(HOW_MANY, bare, OMP_NUM_THREADS=value) == printed(HOW_MANY, bare)


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="cores cannot be chosen here")
def test_default_is_the_number_of_cores_of_the_process(bare):
    cores = os.sched_getaffinity(0)
    assert printed(HOW_MANY, bare) == [str(len(cores))]
    one = f"import os; os.sched_setaffinity(0, {{{min(cores)}}}); {HOW_MANY}"
    assert printed(one, bare) == ["1"]


@pytest.mark.parametrize("value", ["0", "1025", "two", "4,2", "7" * 5000])
def test_senseless_number_of_our_own_is_refused(bare, value):
    result = python(HOW_MANY, bare, SMCORE_NUM_THREADS=value)
    assert result.returncode == 1
    last = result.stderr.strip().splitlines()[-1]
    assert last.startswith("ImportError: SMCORE_NUM_THREADS must be an integer from 1 to 1024")
    assert repr(value)[:20] in last and len(last) < 200


# ---- Results -------------------------------------------------------------------------------------


def bits(value):
    return tuple((a.dtype, a.shape, a.tobytes()) for a in results(value))


def with_threads(sm, n, operation, operands, **keywords):
    with sm.set_num_threads(n):
        return results(operation(sm, operands, **keywords))


every_dtype = pytest.mark.parametrize(
    "dtype", [name for name in DTYPES if name != "longdouble"], indirect=True
)
SHAPES = [((1000,), 5), ((30, 13), 17), ((3, 2, 50), 40), ((37,), 700)]


def shapes(operation):
    """Batches of short rows and of longer ones, in one axis and in several."""
    for lead, k in SHAPES:
        if operation.name == "softmax_layer_jacobian":
            lead = (int(np.prod(lead)),)
        if "jacobian" not in operation.name or k < 100:
            yield lead, k


def assert_same_bits(sm, operation, operands, **keywords):
    expected = bits(with_threads(sm, 1, operation, operands, **keywords))
    for n in (2, 3, 7):
        assert bits(with_threads(sm, n, operation, operands, **keywords)) == expected


@every(SHARED)
@every_dtype
def test_same_bits_for_any_number(native, dtype, rng, operation):
    for lead, k in shapes(operation):
        assert_same_bits(native, operation, operation.draw(rng, dtype, lead, k))


@every({name: o for name, o in ROWWISE.items() if "jacobian" not in name and "merge" not in name})
@pytest.mark.parametrize("step", [1, 2], ids=["dense", "strided"])
def test_same_bits_of_a_row_in_parts(native, native_dtype, rng, operation, step):
    """Fewer rows than threads: they share the parts of each."""
    operands = operation.draw(rng, native_dtype, (2,), 3 * 2**16 * step)
    full = operation.full(operands)
    operands = {name: a[:, ::step] if name in full else a for name, a in operands.items()}
    if "target" in operands:
        operands["target"] //= step
    assert_same_bits(native, operation, operands)


@every(ROWWISE)
@pytest.mark.parametrize("layout", layouts.INPUTS)
def test_same_bits_in_any_layout(native, native_dtype, rng, operation, layout):
    for k in (5, 40):
        operands = operation.draw(rng, native_dtype, (20, 30), k)
        operands = {name: layouts.INPUTS[layout](a) for name, a in operands.items()}
        for axis in (-1, 0, 1):
            full = operation.full(operands)
            moved = {
                name: np.moveaxis(a, -1, axis) if name in full else a
                for name, a in operands.items()
            }
            assert_same_bits(native, operation, moved, axis=axis)


@every({name: operation for name, operation in ROWWISE.items() if operation.like})
def test_same_bits_in_place(native, native_dtype, rng, operation):
    operands = operation.draw(rng, native_dtype, (999,), 12)
    expected = bits(with_threads(native, 1, operation, operands))
    for name in operation.like:
        for n in (2, 7):
            copies = {key: a.copy() for key, a in operands.items()}
            got = with_threads(native, n, operation, copies, out=copies[name])
            assert got[-1] is copies[name]
            assert bits(got) == expected


@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@every_dtype
def test_same_loss_for_any_number(native, dtype, rng, reduction, smoothing):
    """The losses of rows are added up in one order."""
    x, target = rng.standard_normal((3000, 9)).astype(dtype), rng.integers(9, size=3000)
    target[::7] = -100
    bits_of = {
        bits(
            with_threads(
                native,
                n,
                OPERATIONS["cross_entropy_with_grad"],
                {"x": x, "target": target},
                reduction=reduction,
                label_smoothing=smoothing,
            )
        )
        for n in (1, 2, 3, 7)
    }
    assert len(bits_of) == 1


# ---- Many at once --------------------------------------------------------------------------------


def test_many_python_threads_on_shared_input(native, native_dtype, rng):
    x = rng.standard_normal((2000, 33)).astype(native_dtype)
    expected = native.softmax(x)

    def work(i):
        with native.set_num_threads(1 + i % 4):
            return native.softmax(x)

    before = native.get_num_threads()
    with ThreadPoolExecutor(8) as pool:
        for got in pool.map(work, range(60)):
            assert_identical(got, expected)
    native.set_num_threads(before)


# The rest runs in processes of its own: it starts, forks and kills.

START = """
import os, signal, sys, threading, time
import numpy as np
import smcore
if smcore.backend() == "native":
    smcore._backend.core._set_worth_a_thread(500)
smcore.set_num_threads(3)
x = np.random.default_rng(0).standard_normal((20000, 50))
with smcore.set_num_threads(1):
    expected = smcore.softmax(x)
def check():
    assert (smcore.softmax(x) == expected).all()
"""


@needs_native
@pytest.mark.skipif(not os.path.isdir("/proc/self/task"), reason="threads cannot be counted here")
def test_threads_start_when_they_are_needed(bare):
    code = """
count = lambda: len(os.listdir("/proc/self/task"))
before = count()
smcore.softmax(x[0])
assert count() == before
check()
assert count() == before + 2
with smcore.set_num_threads(2): check()
assert count() == before + 2
with smcore.set_num_threads(5): check()
assert count() == before + 4
"""
    assert printed(START + code, {**bare, "OPENBLAS_NUM_THREADS": "1"}) == []


@needs_native
@pytest.mark.skipif(not os.path.isdir("/proc/self/task"), reason="memory cannot be counted here")
def test_threads_have_stacks_of_their_own_size(bare):
    """Whatever those of the system are: here 64 MiB."""
    code = """
import re
def mapped():
    return int(re.search(r"VmSize:\\s*(\\d+) kB", open("/proc/self/status").read())[1])
x = x[:1000]
before = mapped()
smcore.softmax(x)
assert 2 * 256 <= mapped() - before < 8192, mapped() - before  # of two workers
"""
    limited = """
import os, resource, sys
resource.setrlimit(resource.RLIMIT_STACK, (64 << 20, resource.RLIM_INFINITY))
os.execv(sys.executable, [sys.executable, "-c", sys.argv[1]])
"""
    result = subprocess.run(
        [sys.executable, "-c", limited, START + code],
        env={**bare, "OPENBLAS_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=HANGING,
    )
    assert (result.returncode, result.stderr) == (0, "")


BUSY = """
stop = False
def work():
    while not stop:
        check()
helper = threading.Thread(target=work, daemon=True)
check()
helper.start()
"""


@needs_fork
def test_fork_while_another_thread_computes(bare):
    code = """
import warnings
warnings.simplefilter("ignore", DeprecationWarning)  # Python 3.12: a fork with threads
for i in range(20):
    child = os.fork()
    if child == 0:
        signal.alarm(120)
        check()
        os._exit(7)
    check()
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 7, status
stop = True
helper.join()
"""
    assert printed(START + BUSY + code, bare) == []


@pytest.mark.parametrize("method", multiprocessing.get_all_start_methods())
def test_multiprocessing(bare, method, tmp_path):
    code = """
import multiprocessing, warnings
def run(i):
    check()
    return i
if __name__ == "__main__":
    warnings.simplefilter("ignore", DeprecationWarning)  # Python 3.12: a fork with threads
    check()
    with multiprocessing.get_context(sys.argv[1]).Pool(2) as pool:
        print(*pool.map(run, range(4)))
"""
    script = tmp_path / "script.py"
    script.write_text(START + code)
    result = subprocess.run(
        [sys.executable, "-W", "error", script, method],
        env=bare,
        capture_output=True,
        text=True,
        timeout=HANGING,
    )
    assert (result.stdout.split(), result.stderr) == (["0", "1", "2", "3"], "")


def test_exit_with_work_in_flight(bare):
    code = """
for _ in range(3):
    threading.Thread(target=work, daemon=True).start()
time.sleep(0.1)
print("done", flush=True)
"""
    for _ in range(3):
        assert printed(START + BUSY + code, bare) == ["done"]


@pytest.mark.skipif(sys.platform == "win32", reason="signals cannot be sent here")
def test_keyboard_interrupt(bare):
    # The handler is set, as Python has none if started by a program that ignores the signal.
    code = """
signal.signal(signal.SIGINT, signal.default_int_handler)
for _ in range(20):
    try: # from the start: on a busy machine the signal may come before the loop
        threading.Timer(0.01, os.kill, (os.getpid(), signal.SIGINT)).start()
        while True:
            smcore.softmax(x)
    except KeyboardInterrupt:
        check()
"""
    assert printed(START + code, bare) == []
