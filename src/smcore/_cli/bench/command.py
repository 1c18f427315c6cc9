"""The command: restart fit for it, load the peers, measure cell after cell, report."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

import smcore

from .. import output
from ..errors import CliError
from . import environment, settings
from .card import Cell, select
from .limits import make_limits
from .measure import Call, measure
from .operands import agree, make_operands
from .peers import OURS, PEERS, Peer, load
from .plot import draw
from .report import Report, as_json, as_markdown, print_report
from .results import Result

LIMIT = "limit: "  # distinguishes limits from peers while they take turns


def run(arguments: argparse.Namespace) -> None:
    """Carry out the command, in a new process unless this one is fit for it."""
    output.check_directory(arguments.out)
    cells = select(arguments.card, arguments.ops, arguments.dtype)
    if not cells:
        raise CliError(f"argument --card: {arguments.card!r} has no such cells")
    _check_target(arguments.target)
    request = arguments.threads, arguments.target
    if not settings.is_prepared(*request):
        raise SystemExit(environment.restart(_as_arguments(arguments), *request))
    wanted = PEERS if arguments.peers is None else arguments.peers
    peers, missing = load((OURS, *wanted))
    _check_missing(missing, arguments.peers)
    report = Report(
        card=arguments.card,
        seconds=arguments.seconds,
        threads=arguments.threads,
        target=arguments.target,
        environment=environment.describe(),
        peers={peer.name: peer.version for peer in peers},
        missing=missing,
        results=_measure_all(cells, peers, arguments.seconds),
    )
    print_report(report)
    contents = {
        "bench.json": as_json(report).encode(),
        "bench.md": as_markdown(report).encode(),
        "bench.png": draw(report.results),
    }
    print("\nWritten:", *output.write_files(arguments.out, contents), sep="\n  ")


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


def _measure_all(cells: Sequence[Cell], peers: Sequence[Peer], seconds: float) -> list[Result]:
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
        raise CliError("argument --dtype: needs a package that is not installed")
    return results


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


def _check_target(name: str | None) -> None:
    if name is not None and name not in smcore.targets():
        known = ", ".join(smcore.targets()) or "none, as the NumPy backend is in use"
        raise CliError(f"argument --target: this processor has no {name!r}; there are {known}")


def _check_missing(missing: dict[str, str], demanded: Sequence[str] | None) -> None:
    """Refuse to go without a peer that was asked for by name."""
    for name, reason in missing.items():
        if demanded is not None and name in demanded:
            raise CliError(f"argument --peers: {name} cannot be imported: {reason}")


def _as_arguments(arguments: argparse.Namespace) -> list[str]:
    """Write the request as a command line again; the backend is in the environment by now."""
    lists = {"ops": arguments.ops, "dtype": arguments.dtype, "peers": arguments.peers}
    return [
        "bench",
        f"--card={arguments.card}",
        f"--threads={arguments.threads}",
        *([] if arguments.target is None else [f"--target={arguments.target}"]),
        f"--seconds={arguments.seconds!r}",
        f"--out={arguments.out}",
        *(f"--{name}={','.join(names)}" for name, names in lists.items() if names is not None),
    ]
