"""What the measured times mean: best peer, ratio, distance to the limit, geometric means."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from .card import Cell
from .measure import Timing
from .peers import OURS

# Processor time per time gone by, and thread allowed, beyond which a warning is due
MORE_THREADS = 1.2
KEPT_WAITING = 0.9
SHORT_ROW = 64  # classes


@dataclass(frozen=True)
class Result:
    """One cell, measured.

    Attributes
    ----------
    cell : Cell
        What was measured.
    timings : mapping of str to Timing
        smcore's and every peer's.
    limits : mapping of str to float
        Seconds of the same bytes moved, or the same exponentials taken.
    skipped : mapping of str to str
        Who did not take part, and why.
    """

    cell: Cell
    timings: Mapping[str, Timing]
    limits: Mapping[str, float]
    skipped: Mapping[str, str] = field(default_factory=dict)

    @property
    def seconds(self) -> float:
        """The seconds of smcore's call: the minimum, as all below."""
        return self.timings[OURS].minimum

    @property
    def best_peer(self) -> str | None:
        """The fastest peer, or None if there is none for this cell."""
        peers = [name for name in self.timings if name != OURS]
        return min(peers, key=lambda name: self.timings[name].minimum, default=None)

    @property
    def ratio(self) -> float | None:
        """How many times smcore's time the best peer takes: below 1, the peer is faster."""
        return None if self.best_peer is None else self.ratio_of(self.best_peer)

    @property
    def limit(self) -> str:
        """The limit that counts, the slowest."""
        return max(self.limits, key=self.limits.__getitem__)

    @property
    def distance(self) -> float:
        """How many times the limit smcore takes."""
        return self.seconds / self.limits[self.limit]

    def ratio_of(self, peer: str) -> float:
        """How many times smcore's time a peer takes."""
        return self.timings[peer].minimum / self.seconds

    def per_element(self, seconds: float) -> float:
        """Nanoseconds per element."""
        return 1e9 * seconds / self.cell.elements

    def as_dict(self) -> dict[str, Any]:
        """Return everything, for the JSON."""
        best = self.best_peer
        return {
            **{name: getattr(self.cell, name) for name in Cell.__dataclass_fields__},
            "classes": self.cell.classes,
            "elements": self.cell.elements,
            "size": self.cell.size,
            "ns_per_element": self.per_element(self.seconds),
            "best_peer": best,
            "best_peer_ns_per_element": (
                None if best is None else self.per_element(self.timings[best].minimum)
            ),
            "ratio": self.ratio,
            "limit": self.limit,
            "limit_distance": self.distance,
            "limits_ns": {name: 1e9 * seconds for name, seconds in self.limits.items()},
            "times": {name: _timing_dict(timing) for name, timing in self.timings.items()},
            "skipped": dict(self.skipped),
        }


def _timing_dict(timing: Timing) -> dict[str, Any]:
    return {
        "min_ns": 1e9 * timing.minimum,
        "median_ns": 1e9 * timing.median,
        "max_ns": 1e9 * max(timing.samples),
        "rounds": len(timing.samples),
        "calls_per_round": timing.calls,
        "threads": timing.threads,
    }


def geometric_mean(values: Iterable[float | None]) -> float | None:
    """Return the geometric mean of the values that are there; None where there are none."""
    logs = [math.log(value) for value in values if value is not None]
    return math.exp(math.fsum(logs) / len(logs)) if logs else None


def means(results: Sequence[Result]) -> dict[str, float | None]:
    """Return the geometric mean of the ratios to the best peer: of all cells, and by operation."""
    return {"all": geometric_mean(result.ratio for result in results)} | _means_by(
        results, lambda result: result.cell.op
    )


def means_by_dtype(results: Sequence[Result]) -> dict[str, float | None]:
    """Return the geometric mean of the ratios to the best peer, by dtype."""
    return _means_by(results, lambda result: result.cell.dtype)


def mean_of_short_rows(results: Sequence[Result]) -> float | None:
    """Return the geometric mean of the ratios to the best peer, over rows of up to 64 classes."""
    return geometric_mean(r.ratio for r in results if r.cell.classes <= SHORT_ROW)


def _means_by(results: Sequence[Result], key: Callable[[Result], str]) -> dict[str, float | None]:
    groups: dict[str, list[float | None]] = {}
    for result in results:
        groups.setdefault(key(result), []).append(result.ratio)
    return {name: geometric_mean(ratios) for name, ratios in groups.items()}


def means_by_peer(results: Sequence[Result]) -> dict[str, float | None]:
    """Return the geometric mean of the ratios to each peer, over the cells it took part in."""
    peers = dict.fromkeys(name for r in results for name in r.timings if name != OURS)
    return {
        peer: geometric_mean(r.ratio_of(peer) for r in results if peer in r.timings)
        for peer in peers
    }


def warnings(results: Sequence[Result], threads: int = 1) -> list[str]:
    """Say what casts doubt on a comparison in which everyone may use so many threads."""
    found = []
    waiting = [t.threads < KEPT_WAITING for result in results for t in result.timings.values()]
    if any(waiting):
        found.append(
            f"{sum(waiting)} of {len(waiting)} calls had to wait for the processor: "
            "other programs were running"
        )
    for result in results:
        for name, timing in result.timings.items():
            if timing.threads > MORE_THREADS * threads:
                found.append(f"{result.cell}: {name} kept {timing.threads:.1f} threads busy")
    return found
