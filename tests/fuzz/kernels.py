"""Random calls of the kernels of one library."""

from __future__ import annotations

import platform
from pathlib import Path

from . import binding
from .call import Call
from .memory import Arena
from .operations import OPERATIONS, OPERATIONS_DRAWN


class Fuzzer:
    """The kernels of one library, and memory to call them on."""

    def __init__(
        self,
        library: Path,
        seed: int,
        budget: int,
        target: str | None = None,
        operation: str | None = None,
    ) -> None:
        self.seed, self.budget = seed, budget
        self.targets = binding.targets(library)
        self.operations = OPERATIONS
        self.names = [operation] if operation else OPERATIONS_DRAWN
        if target:
            self.targets = {target: self.targets[target]}
        for tables in self.targets.values():
            unknown = set(tables["float32"]) ^ set(OPERATIONS)
            if unknown:
                raise SystemExit(f"operations of ops.def and of the fuzzer differ: {unknown}")
        self.soil_stack = binding.stack_soiler(library)
        self.flags = binding.Flags(platform.machine())
        self.arena = Arena()
        self.announce = False
        self.last: Call | None = None

    def run(self, case: int) -> None:
        """Make one call and judge it."""
        self.last = call = Call(self, case)
        try:
            call.run()
        finally:
            self.arena.release()

    def describe(self) -> str:
        """What the last call was."""
        return self.last.describe() if self.last else ""
