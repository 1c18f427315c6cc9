"""The arguments, and all that is wrong with them before a peer is loaded."""

from __future__ import annotations

import argparse
import math
import os
from collections.abc import Callable, Iterable
from pathlib import Path

import smcore

from .card import CARDS, ITEMSIZE, select
from .ops import OPS
from .peers import PEERS

MAX_THREADS = 1024

DESCRIPTION = """\
Time smcore beside every peer that is installed, on the same work: in one process, on as many
threads, in turns, each warmed and each allocating its result (or none of them), after its result
was compared with smcore's. Needs the extra [bench], which brings SciPy and scikit-learn. Numba,
PyTorch, JAX and ONNX Runtime (with onnx) take part if they are installed, and are not required."""

EPILOG = """\
cards:
  quick  some small cells of every kind: well below a minute
  perf   the shapes that the project's goals are about, up to 2^24 elements
  full   those, and every row length at every level of memory, axes, layouts and dtypes: long

The program runs itself in a new process that allows every library as many threads, in which freed
memory stays for the next call whatever its size (glibc maps nothing and trims nothing), and in
which OPENBLAS_CORETYPE and its like are not set. Times are minima over the rounds; the spread says
how far the medians are above them.

JAX has no number of threads to set: its pool has that size. Who keeps more threads busy than
allowed is named in a warning.

With --target, PyTorch, JAX, Numba, NumPy and BLAS are kept to that instruction set as well, and the
report says what each ran. ONNX Runtime cannot be told. SMCORE_TARGET and SMCORE_BACKEND in the
environment are for smcore alone.

files written to --out, all at the end, and none after an error:
  bench.json  every time, ratio and limit, versions, who was left out and why
  bench.md    the same as tables
  bench.png   the ratio of every cell and peer, the time per element over the number of classes

examples:
  python -m benchmarks.compare
  python -m benchmarks.compare --card full --ops softmax,logsumexp --dtype float32 --seconds 0.5"""


def parse() -> argparse.Namespace:
    """Return the request of the command line, with its ``cells``; what is wrong ends the program.

    Nothing is created yet.
    """
    parser = _parser()
    request = parser.parse_args()
    request.cells = select(request.card, request.ops, request.dtype)
    if not request.cells:
        parser.error(f"argument --card: {request.card!r} has no such cells")
    return request


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.compare",
        usage="%(prog)s [options]",
        description=DESCRIPTION,
        epilog=EPILOG,
        allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--card", choices=CARDS, default="quick", help="what to measure (default: %(default)s)"
    )
    for name, names, text in (
        ("--ops", tuple(OPS), "operations, separated by commas"),
        ("--dtype", tuple(ITEMSIZE), "dtypes, separated by commas"),
    ):
        parser.add_argument(
            name,
            type=_names(names),
            default=names,
            metavar="NAMES",
            help=f"{text}: {', '.join(names)} (default: all)",
        )
    parser.add_argument(
        "--peers",
        type=_names(PEERS),
        metavar="NAMES",
        help=f"peers, separated by commas: {', '.join(PEERS)} (default: all installed)",
    )
    parser.add_argument(
        "--threads",
        type=_threads,
        default=1,
        metavar="N",
        help="threads that each library may use (default: %(default)s)",
    )
    parser.add_argument(
        "--target",
        type=_target,
        metavar="NAME",
        help="another instruction set than the best, for all who can be told: e.g. avx2",
    )
    parser.add_argument(
        "--seconds",
        type=_seconds,
        default=0.3,
        metavar="X",
        help="time spent on a cell, by all together (default: %(default)s)",
    )
    parser.add_argument(
        "--out",
        type=_directory,
        metavar="DIR",
        default="smcore-bench",
        help="directory for the results (default: %(default)s)",
    )
    return parser


def _names(known: Iterable[str]) -> Callable[[str], tuple[str, ...]]:
    def parse(text: str) -> tuple[str, ...]:
        names = tuple(dict.fromkeys(filter(None, (name.strip() for name in text.split(",")))))
        for name in names or (text,):
            _check(name in known, f"{name!r} is unknown; there are {', '.join(known)}")
        return names

    return parse


def _threads(text: str) -> int:
    _check(
        text.isdecimal() and 1 <= int(text) <= MAX_THREADS,
        f"must be a whole number from 1 to {MAX_THREADS}, not {text!r}",
    )
    return int(text)


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    _check(0 < seconds < math.inf, f"must be a finite number above 0, not {text!r}")
    return seconds


def _target(text: str) -> str:
    known = ", ".join(smcore.targets()) or "none, as the NumPy backend is in use"
    _check(text in smcore.targets(), f"this processor has no {text!r}; there are {known}")
    return text


def _directory(text: str) -> Path:
    """Refuse a place that cannot be written to."""
    path = Path(text)
    absolute = path.absolute()
    existing = next(place for place in (absolute, *absolute.parents) if place.exists())
    _check(existing.is_dir(), f"{existing} is not a directory")
    _check(os.access(existing, os.W_OK | os.X_OK), f"{existing} cannot be written to")
    return path


def _check(holds: bool, message: str) -> None:
    if not holds:
        raise argparse.ArgumentTypeError(message)
