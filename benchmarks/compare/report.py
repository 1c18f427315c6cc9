"""The results as a table for the terminal, as Markdown and as JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from .goals import misses
from .peers import OURS
from .results import Result, mean_of_short_rows, means, means_by_dtype, means_by_peer, warnings

COLUMNS = (
    "operation",
    "shape",
    "dtype",
    "",
    "smcore ns/el.",
    "spread",
    "best peer",
    "ns/el.",
    "spread",
    "ratio",
    "limit",
    "× limit",
)
WIDEST = 1000  # characters
LEFT_COLUMNS = (0, 1, 2, 3, 6, 10)
LEGEND = (
    "ns/el.: nanoseconds per element in the best round (of a Jacobian: per entry). "
    "spread: how far the median round is above it. "
    "ratio: the best peer's time over smcore's; below 1, the peer is faster. "
    "limit: the slowest of what the work cannot do without, timed in the same rounds (copy, fill, "
    "multiply: NumPy on the same bytes; exp: as many NumPy exponentials in the cache; matmul: the "
    "three products). × limit: smcore's time over it."
)


@dataclass(frozen=True)
class Report:
    """A run: what was asked for, what there was, what was found."""

    card: str
    seconds: float
    threads: int
    target: str | None
    environment: dict[str, str]
    peers: dict[str, str]
    missing: dict[str, str]
    results: Sequence[Result]

    def misses(self, result: Result) -> list[str]:
        """Say which goals a cell of this run misses."""
        return misses(result, self.threads, self.target)


def print_report(report: Report) -> None:
    """Print everything for a reader at a terminal."""
    for line in _about(report):
        print(line)
    table = Table(box=SIMPLE_HEAD, title=_title(report))
    for i, name in enumerate(COLUMNS):
        table.add_column(name, justify="left" if i in LEFT_COLUMNS else "right", no_wrap=True)
    for result in report.results:
        table.add_row(*_row(result), style="red" if (result.ratio or 1) < 1 else None)
    # A row that is cut off says nothing, so a file or a narrow terminal gets long lines.
    width = Console(width=WIDEST).measure(table).maximum
    Console(width=max(width, Console().width)).print(table, crop=False)
    print(LEGEND, end="\n\n")
    for line in _conclusion(report):
        print(line)


def as_markdown(report: Report) -> str:
    """Return the same as Markdown, with every peer's time in a table of its own."""
    lines = [f"# {_title(report)}", ""]
    lines += [f"- {line}" for line in _about(report)]
    lines += ["", *_markdown_table(COLUMNS, LEFT_COLUMNS, map(_row, report.results))]
    lines += ["", LEGEND, "", "## Conclusion", ""]
    lines += [f"- {line}" for line in _conclusion(report)]
    for title, cells in _behind(report).items():
        lines += ["", f"### {title}", "", *([f"- {cell}" for cell in cells] or ["None."])]
    names = list(report.peers)
    lines += ["", "## Nanoseconds per element", ""]
    rows = ([str(result.cell), *_times(result, names)] for result in report.results)
    lines += _markdown_table(["cell", *names], (0,), rows)
    return "\n".join(lines) + "\n"


def as_json(report: Report) -> str:
    """Return everything that was measured, as JSON."""
    content = {
        "card": report.card,
        "seconds_per_cell": report.seconds,
        "threads": report.threads,
        "target_forced": report.target,
        "environment": report.environment,
        "peers": report.peers,
        "missing": report.missing,
        "geometric_means": means(report.results),
        "geometric_means_by_dtype": means_by_dtype(report.results),
        "geometric_mean_of_short_rows": mean_of_short_rows(report.results),
        "geometric_means_by_peer": means_by_peer(report.results),
        "warnings": warnings(report.results, report.threads),
        "cells": [
            result.as_dict() | {"goals_missed": report.misses(result)} for result in report.results
        ],
    }
    return json.dumps(content, indent=1, allow_nan=False) + "\n"


def _title(report: Report) -> str:
    target = "" if report.target is None else f", all kept to {report.target} as far as they can be"
    return (
        f"smcore beside its peers, {report.threads} thread{'s' * (report.threads > 1)} each{target}"
    )


def _about(report: Report) -> list[str]:
    lines = [f"{label}: {value}" for label, value in report.environment.items()]
    lines.append("peers: " + ", ".join(f"{n} {v}" for n, v in report.peers.items() if n != OURS))
    if report.missing:
        lines.append("not installed: " + ", ".join(report.missing))
    lines.append(f"card: {report.card}, {len(report.results)} cells of {report.seconds:g} s")
    return lines


def _conclusion(report: Report) -> list[str]:
    results = report.results
    ratios = means(results)
    groups = {"all cells": ratios.pop("all")} | ratios | means_by_dtype(results)
    groups["rows of up to 64 classes"] = mean_of_short_rows(results)
    lines = [
        f"geometric mean of the ratio to the best peer, {group}: {_number(mean)}"
        for group, mean in groups.items()
    ]
    lines += [
        f"geometric mean of the ratio to {peer}, where it took part: {_number(mean)}"
        for peer, mean in means_by_peer(results).items()
    ]
    lines += [
        f"{title}: {len(cells)} of {len(results)}" for title, cells in _behind(report).items()
    ]
    return lines + [f"warning: {text}" for text in warnings(results, report.threads)]


def _behind(report: Report) -> dict[str, list[str]]:
    """Name the cells that are not as fast as they should be, and say how fast they are."""
    results = report.results
    return {
        "Cells in which a peer is faster": [
            f"{r.cell}: ratio {_number(r.ratio)} to {r.best_peer}"
            for r in results
            if (r.ratio or 1) < 1
        ],
        "Cells that miss a goal": [
            f"{r.cell}: {'; '.join(missed)}" for r in results if (missed := report.misses(r))
        ],
    }


def _row(result: Result) -> list[str]:
    cell, best = result.cell, result.best_peer
    theirs = ["none", "", "", ""]
    if best is not None:
        timing = result.timings[best]
        theirs = [
            best,
            _number(result.per_element(timing.minimum)),
            f"{timing.spread:.0%}",
            _number(result.ratio),
        ]
    return [
        cell.op,
        " × ".join(map(str, cell.shape)),
        cell.dtype,
        cell.variant,
        _number(result.per_element(result.seconds)),
        f"{result.timings[OURS].spread:.0%}",
        *theirs,
        result.limit,
        _number(result.distance),
    ]


def _times(result: Result, names: Sequence[str]) -> list[str]:
    return [
        _number(result.per_element(result.timings[name].minimum)) if name in result.timings else ""
        for name in names
    ]


def _markdown_table(columns: Sequence[str], left: Sequence[int], rows: Any) -> list[str]:
    marks = [":--" if i in left else "--:" for i in range(len(columns))]
    return ["| " + " | ".join(row) + " |" for row in (columns, marks, *rows)]


def _number(value: float | None) -> str:
    """Three digits, without an exponent."""
    if value is None:
        return "none"
    return f"{value:.0f}" if value >= 100 else f"{value:#.3g}"
