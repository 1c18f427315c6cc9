"""Cases in child processes, so that one that crashes is known and the others go on."""

from __future__ import annotations

import faulthandler
import mmap
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable
from typing import Protocol

import numpy as np


class Fuzzer(Protocol):
    """Runs the case of a number."""

    announce: bool
    """Whether a case is described before it is run."""

    def run(self, case: int) -> None:
        """Raise what is wrong."""

    def describe(self) -> str:
        """What the last case was, in some ten lines."""


_DONE, _CRASHED = 0, 1


class Runner:
    """Runs cases 0, 1, 2, ... in some processes, until the time or the number of them is over."""

    def __init__(self, make: Callable[[], Fuzzer], command: str, workers: int, most: int) -> None:
        self.make, self.command, self.most = make, command, most
        self.workers = workers
        # Of each worker the case that it is at, the number of cases done, and of failures.
        shared = mmap.mmap(-1, 24 * workers)
        self.at = np.frombuffer(shared, np.int64).reshape(workers, 3)

    def run(self, seconds: float, first: int, count: int | None) -> int:
        """Return the number of failures."""
        start = time.monotonic()
        end = start + seconds
        last = sys.maxsize if count is None else first + count
        children = {self._fork(w, first + w, last, end): w for w in range(self.workers)}
        crashes = broken = 0
        while children:
            child, status = os.wait()
            worker = children.pop(child)
            broken += not os.WIFSIGNALED(status) and os.WEXITSTATUS(status) != _DONE
            if os.WIFSIGNALED(status):
                crashes += 1
                case = int(self.at[worker, 0])
                self._report_crash(case, os.WTERMSIG(status))
                if crashes < self.most:
                    children[self._fork(worker, case + self.workers, last, end)] = worker
        done, failed = (int(n) for n in self.at[:, 1:].sum(axis=0))
        took = time.monotonic() - start
        print(
            f"{done + crashes} calls in {took:.0f} s ({done / max(took, 1e-9):.0f} a second), "
            f"{failed + crashes} failures, {crashes} of them crashes"
        )
        if broken or not done:
            print("nothing was called, or a worker ended by itself")
        return failed + crashes + broken + (not done)

    def _fork(self, worker: int, first: int, last: int, end: float) -> int:
        sys.stdout.flush()
        child = os.fork()
        if child:
            return child
        try:
            self._work(worker, first, last, end)
            sys.stdout.flush()
            os._exit(_DONE)
        except BaseException:
            traceback.print_exc()
            os._exit(_CRASHED)

    def _work(self, worker: int, first: int, last: int, end: float) -> None:
        fuzzer, at = self.make(), self.at[worker]
        for case in range(first, last, self.workers):
            if time.monotonic() > end or at[2] >= self.most:
                return
            at[0] = case
            try:
                fuzzer.run(case)
            except Exception as error:
                at[2] += 1
                self._report(case, error, fuzzer.describe())
            at[1] += 1

    def _report(self, case: int, error: Exception, description: str) -> None:
        if type(error).__name__ != "Wrong":
            traceback.print_exc()
        text = f"FAILED: {self.command} --case {case}\n{description}\n  {error}\n"
        print(text, flush=True)

    def _report_crash(self, case: int, number: int) -> None:
        """Run the case once more, described before it crashes."""
        name = signal.Signals(number).name
        print(f"FAILED: {self.command} --case {case}: {name}", flush=True)
        child = os.fork()
        if not child:
            faulthandler.enable(all_threads=False)
            fuzzer = self.make()
            fuzzer.announce = True
            try:
                fuzzer.run(case)
                print("  (which did not come again)", flush=True)
            finally:
                os._exit(0)
        os.waitpid(child, 0)
        print(flush=True)
