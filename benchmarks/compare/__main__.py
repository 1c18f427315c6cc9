"""The program: restart fit for it, load the peers, compare, report."""

from __future__ import annotations

import argparse
import io
import sys

from . import environment, settings
from .arguments import parse
from .comparison import compare
from .peers import OURS, PEERS, load
from .plot import draw
from .report import Report, as_json, as_markdown, print_report


def main() -> int:
    """Do as the arguments say, in a new process unless this one is fit for it; return a status."""
    request = parse()
    try:
        if not settings.is_prepared(request.threads, request.target):
            return settings.restart(sys.argv[1:], request.threads, request.target)
        report = _compare(request)
    except KeyboardInterrupt:
        return 130
    print_report(report)
    _write(report, request)
    return 0


def _compare(request: argparse.Namespace) -> Report:
    peers, missing = load((OURS, *(request.peers or PEERS)))
    for name in request.peers or ():  # who was asked for by name is not left out
        if name in missing:
            raise SystemExit(f"error: {name} cannot be imported: {missing[name]}")
    return Report(
        card=request.card,
        seconds=request.seconds,
        threads=request.threads,
        target=request.target,
        environment=environment.describe(),
        peers={peer.name: peer.version for peer in peers},
        missing=missing,
        results=compare(request.cells, peers, request.seconds),
    )


def _write(report: Report, request: argparse.Namespace) -> None:
    contents = {
        "bench.json": as_json(report).encode(),
        "bench.md": as_markdown(report).encode(),
        "bench.png": draw(report.results),
    }
    request.out.mkdir(parents=True, exist_ok=True)
    print("\nWritten:")
    for name, content in contents.items():
        (request.out / name).write_bytes(content)
        print(f"  {request.out / name}")


if __name__ == "__main__":
    if isinstance(sys.stdout, io.TextIOWrapper):  # a terminal may not know ×, nor all paths
        sys.stdout.reconfigure(errors="backslashreplace")
    raise SystemExit(main())
