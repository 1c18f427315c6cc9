"""The kernels as `csrc/smcore_kernels.h` declares them, by ctypes."""

from __future__ import annotations

import ctypes
import itertools
import random
import re
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).parents[2]
DTYPES = ("float32", "float64", "float16", "bfloat16")  # in the order of smc_dtype


class View(ctypes.Structure):
    """smc_view."""

    _fields_ = (
        ("data", ctypes.c_void_p),
        ("row", ctypes.c_ssize_t),
        ("col", ctypes.c_ssize_t),
    )


class Targets(ctypes.Structure):
    """smc_targets."""

    _fields_ = (
        ("weight", ctypes.c_void_p),
        ("on", ctypes.c_double),
        ("off", ctypes.c_double),
        ("z_loss", ctypes.c_double),
        ("factor", ctypes.c_double),
    )


MOST_OPERANDS = 7


class Call(ctypes.Structure):
    """smc_call."""

    _fields_ = (
        ("operands", View * MOST_OPERANDS),
        ("n", ctypes.c_size_t),
        ("k", ctypes.c_size_t),
        ("j", ctypes.c_size_t),
        ("scale", ctypes.c_double),
        ("targets", ctypes.POINTER(Targets)),
        ("parallel", ctypes.c_void_p),
    )


_BODY = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_size_t)
_OVER = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_void_p, ctypes.c_void_p)


class Parallel(ctypes.Structure):
    """smc_parallel."""

    _fields_ = (("over", _OVER), ("context", ctypes.c_void_p))


class Shuffled:
    """Spreads the parts of a row: in pieces of any size, in any order."""

    def __init__(self, draw: random.Random) -> None:
        self._draw = draw
        self._over = _OVER(self._run)
        self._parallel = Parallel(self._over, None)
        self.pointer = ctypes.addressof(self._parallel)

    def _run(self, _: int, parts: int, body: int, work: int) -> None:
        inner = self._draw.sample(range(1, parts), min(parts - 1, 7)) if parts > 1 else []
        ends = [0, *sorted(inner), parts]
        pieces = list(itertools.pairwise(ends))
        self._draw.shuffle(pieces)
        for begin, end in pieces:
            _BODY(body)(work, begin, end)


def operations() -> list[str]:
    """The names in `ops.def`."""
    text = (ROOT / "csrc/ops.def").read_text()
    return re.findall(r"^SMC_OP\((\w+),", text, re.MULTILINE)


Table = dict[str, Callable[[Call], None]]
_KERNEL = ctypes.CFUNCTYPE(None, ctypes.POINTER(Call))


def stack_soiler(library: Path) -> Callable[[int], None]:
    """What fills the stack of the next call with eight bytes."""
    return ctypes.CFUNCTYPE(None, ctypes.c_uint64)(("smc_soil_stack", ctypes.CDLL(str(library))))


def targets(library: Path) -> dict[str, dict[str, Table]]:
    """For each target of this processor and each dtype its table of kernels."""
    loaded = ctypes.CDLL(str(library))
    loaded.smc_fuzzed.restype = ctypes.c_void_p
    loaded.smc_fuzzed.argtypes = (ctypes.c_size_t,)
    names = operations()
    table = ctypes.c_void_p * len(names)  # and what plans

    class Target(ctypes.Structure):
        _fields_ = (
            ("name", ctypes.c_char_p),
            ("kernels", ctypes.POINTER(table) * len(DTYPES)),
        )

    found = {}
    while address := loaded.smc_fuzzed(len(found)):
        target = Target.from_address(address)
        found[target.name.decode()] = {
            dtype: {
                name: _KERNEL(pointer)
                for name, pointer in zip(names, kernels.contents, strict=True)
            }
            for dtype, kernels in zip(DTYPES, target.kernels, strict=True)
        }
    return found


class Flags:
    """The processor's floating-point flags, of this thread."""

    def __init__(self, machine: str) -> None:
        self._math = ctypes.CDLL("libm.so.6")
        is_x86 = machine in ("x86_64", "i686", "AMD64")
        divide, overflow = (4, 8) if is_x86 else (2, 4)  # as <fenv.h> has it
        self._names = {"invalid": 1, "divide": divide, "overflow": overflow}
        self._all = sum(self._names.values())

    def clear(self) -> None:
        """Clear those three."""
        self._math.feclearexcept(self._all)

    def raised(self) -> set[str]:
        """Those that are set."""
        found = self._math.fetestexcept(self._all)
        return {name for name, bit in self._names.items() if found & bit}
