"""Cell after cell: everyone does the work, is judged by the result, and is timed in turns."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from .card import Cell
from .limits import make_limits
from .measure import Call, measure
from .operands import agree, make_operands
from .peers import OURS, Peer
from .results import Result

LIMIT = "limit: "  # distinguishes limits from peers while they take turns


def compare(cells: Sequence[Cell], peers: Sequence[Peer], seconds: float) -> list[Result]:
    """Time cell after cell; smcore is the first of the peers."""
    results = []
    with np.errstate(all="ignore"), _progress(len(cells)) as advance:
        for cell in cells:
            advance(str(cell), 0)
            try:
                results.append(measure_cell(cell, peers, seconds))
            except ModuleNotFoundError as error:  # ml_dtypes, for bfloat16
                print(f"{cell}: {error.name} is not installed", file=sys.stderr)
            advance(str(cell), 1)
    if not results:
        raise SystemExit("error: --dtype needs a package that is not installed")
    return results


def measure_cell(cell: Cell, peers: Sequence[Peer], seconds: float) -> Result:
    """Time one cell: every peer that can do it and does it right, and the limits, in turns.

    Parameters
    ----------
    cell : Cell
        What to measure.
    peers : sequence of Peer
        smcore first: the results of the others are compared with its.
    seconds : float
        The time to spend, preparation apart.
    """
    operands = make_operands(cell)
    calls: dict[str, Call] = {}
    skipped: dict[str, str] = {}
    reference = None
    for peer in peers:
        try:
            call = peer.prepare(cell, operands)
            found = peer.sample(cell, call())
        except Exception as error:
            if peer.name == OURS:
                raise
            skipped[peer.name] = " ".join(str(error).split())[:200] or type(error).__name__
            continue
        reference = found if reference is None else reference
        if agree(reference, found, cell.dtype):
            calls[peer.name] = call
        else:
            skipped[peer.name] = "computes something else"
    limits = make_limits(cell, operands)
    timings = measure(calls | {LIMIT + name: limit.call for name, limit in limits.items()}, seconds)
    return Result(
        cell,
        {name: timings[name] for name in calls},
        {name: limit.scale * timings[LIMIT + name].minimum for name, limit in limits.items()},
        skipped,
    )


@contextmanager
def _progress(total: int) -> Iterator[Callable[[str, int], None]]:
    """Show a bar on stderr; it is drawn between cells so as not to be timed."""
    with Progress(
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.description}"),
        console=Console(stderr=True),
        auto_refresh=False,
        transient=True,
        disable=not sys.stderr.isatty(),
    ) as progress:
        task = progress.add_task("", total=total)

        def advance(description: str, steps: int) -> None:
            progress.update(task, description=description, advance=steps, refresh=True)

        yield advance
