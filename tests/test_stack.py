"""Every operation on a small stack: of a thread that somebody else started, and of the main thread.

What overflows a stack ends the process, so calls are made in others.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import layouts
import numpy as np
import pytest
from cases import DTYPES, OPERATIONS, Operation

import smcore

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="stacks are as small as told there")

THREAD_BYTES = 128 << 10
MAIN_BYTES = 192 << 10
# Short rows, several to a vector; a few vectors each; some blocks of a buffer.
SHAPES = [((70,), 5), ((1,), 5), ((70,), 33), ((7,), 300), ((70,), 300), ((3,), 9000)]
LAYOUTS = ("c_order", "fortran_order", "strided", "reversed_")
PARTS = 3 << 16
# Start another interpreter, with the stack of its main thread limited to the first argument.
LIMITED = """
import os, resource, sys
resource.setrlimit(resource.RLIMIT_STACK, (int(sys.argv[1]), resource.RLIM_INFINITY))
os.execv(sys.executable, [sys.executable, *sys.argv[2:]])
"""
# An editable installation would rebuild itself, and CMake needs more.
PROGRAM = """
import sys
for finder in sys.meta_path:
    if hasattr(finder, "rebuild_flag"):
        finder.rebuild_flag = False
import test_stack
test_stack.main(*sys.argv[1:])
"""


def calls(dtype: np.dtype) -> Iterator[tuple[Operation, dict, dict]]:
    """Operations and their arguments, by way of each layout of tiles."""
    rng = np.random.default_rng(0)
    for operation in OPERATIONS.values():
        is_matrix = "acobian" in operation.name
        for lead, k in SHAPES:
            if is_matrix and k > 40:
                continue
            operands = operation.draw(rng, dtype, lead, k)
            if not operation.rowwise:
                yield operation, operands, {}
                continue
            for name in LAYOUTS:
                laid = {key: getattr(layouts, name)(a) for key, a in operands.items()}
                yield operation, laid, {}
                if not is_matrix and "merge" not in operation.name:
                    full = operation.full(laid)
                    across = {
                        key: np.moveaxis(a, -1, 0) if key in full else a for key, a in laid.items()
                    }
                    yield operation, across, {"axis": 0}
        if operation.rowwise and not is_matrix and "merge" not in operation.name:
            for step in (1, 2):
                operands = operation.draw(rng, dtype, (1,), PARTS * step)
                full = operation.full(operands)
                laid = {key: a[:, ::step] if key in full else a for key, a in operands.items()}
                yield operation, laid, {}


def call_all(target: str, dtype: str) -> None:
    """Call every operation there is."""
    smcore._backend.core._set_worth_a_thread(500)
    with smcore.use_target(target), smcore.set_num_threads(2), np.errstate(all="ignore"):
        for operation, operands, keywords in calls(np.dtype(dtype)):
            if "target" in operands:
                operands["target"] = operands["target"] % 3
            operation(smcore, operands, **keywords)


def main(where: str, target: str, dtype: str) -> None:
    """Call all, in the main thread or in a thread of its own."""
    if dtype == "bfloat16":
        import ml_dtypes  # noqa: F401 (which makes the name known)
    if where == "main":
        call_all(target, dtype)
        print("done")
        return
    threading.stack_size(THREAD_BYTES)
    done = []
    thread = threading.Thread(target=lambda: done.append(call_all(target, dtype)))
    thread.start()
    thread.join()
    print("done" if done else "failed")


@pytest.mark.parametrize("dtype", [name for name in DTYPES if name != "longdouble"])
@pytest.mark.parametrize("target", smcore.targets())
@pytest.mark.parametrize("where", ["main", "thread"])
def test_every_operation(environment, where, target, dtype):
    if dtype == "bfloat16":
        pytest.importorskip("ml_dtypes")
    program = ["-c", PROGRAM, where, target, dtype]
    if where == "main":
        program = ["-c", LIMITED, str(MAIN_BYTES), *program]
    paths = [str(Path(__file__).parent), environment.get("PYTHONPATH", "")]
    result = subprocess.run(
        [sys.executable, *program],
        env={
            **environment,
            "PYTHONPATH": os.pathsep.join(filter(None, paths)),
            "OPENBLAS_NUM_THREADS": "1",
        },
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert (result.returncode, result.stdout, result.stderr) == (0, "done\n", "")
