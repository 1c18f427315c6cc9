"""Time several calls against each other, so that none has the better moment.

All are warmed; then they take turns, round after round, each with a slice of many calls. The order
is rotated from round to round, and turned about every other time, so that everyone follows
everyone. The minimum is what the work takes; the median and the maximum say how far to trust it.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import repeat
from statistics import median
from typing import Any, TypeAlias

Call: TypeAlias = Callable[[], Any]

MIN_ROUNDS = 5
ROUNDS = 20  # aimed at: the time is divided by this, the slices follow
SHORTEST_SLICE = 20e-6  # seconds; shorter ones measure the clock
WARM_UP = 0.1  # share of the time given, spent before the first round
SHORTEST_WARM_UP = 5e-3  # seconds
LONG_CALL = 10e-3  # seconds, after which nothing is left of what was in the caches before


@dataclass
class Timing:
    """The seconds of one call, as found in each round.

    Attributes
    ----------
    calls : int
        The calls of a round; a sample is their mean.
    samples : list of float
        Seconds of a call, one sample for each round.
    cpu : float
        Processor seconds spent in all rounds, by all threads.
    wall : float
        Seconds that went by in all rounds.
    """

    calls: int
    samples: list[float] = field(default_factory=list)
    cpu: float = 0.0
    wall: float = 0.0

    @property
    def minimum(self) -> float:
        """The seconds of one call in the best round."""
        return min(self.samples)

    @property
    def median(self) -> float:
        """The seconds of one call in the median round."""
        return median(self.samples)

    @property
    def spread(self) -> float:
        """By which share the median is above the minimum."""
        return self.median / self.minimum - 1

    @property
    def threads(self) -> float:
        """Processor time per time gone by: above 1, more than one thread was at work."""
        return self.cpu / self.wall


def measure(calls: Mapping[str, Call], seconds: float) -> dict[str, Timing]:
    """Time every call of `calls`, interleaved, for about `seconds` in all.

    Five rounds are made whatever they take.
    """
    with _no_garbage_collection():
        timings = {
            name: Timing(_calls_per_slice(call, seconds / len(calls)))
            for name, call in calls.items()
        }
        end = time.perf_counter() + seconds
        done = 0
        while done < MIN_ROUNDS or time.perf_counter() < end:
            for name in _order(list(calls), done):
                _time_slice(calls[name], timings[name])
            done += 1
    return timings


@contextmanager
def _no_garbage_collection() -> Iterator[None]:
    """Keep the collector, whose pauses would hit one call or another, out of the timing."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _calls_per_slice(call: Call, seconds: float) -> int:
    """Warm `call` up, and return how many of it fill a slice."""
    shortest = float("inf")
    end = time.perf_counter() + max(WARM_UP * seconds, SHORTEST_WARM_UP)
    while shortest == float("inf") or time.perf_counter() < end:
        start = time.perf_counter()
        call()
        shortest = min(shortest, time.perf_counter() - start)
    return max(1, round(max(seconds / ROUNDS, SHORTEST_SLICE) / shortest))


def _time_slice(call: Call, timing: Timing) -> None:
    if not timing.samples or timing.samples[-1] < LONG_CALL:
        call()  # what ran before has left its own data in the caches
    calls = repeat(None, timing.calls)
    cpu = time.process_time()
    start = time.perf_counter()
    for _ in calls:
        call()
    wall = time.perf_counter() - start
    timing.cpu += time.process_time() - cpu
    timing.wall += wall
    timing.samples.append(wall / timing.calls)


def _order(names: Sequence[str], turn: int) -> list[str]:
    first = turn // 2 % len(names)
    order = [*names[first:], *names[:first]]
    return order[::-1] if turn % 2 else order
