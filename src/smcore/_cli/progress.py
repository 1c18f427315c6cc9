"""Bars on stderr, for people who look at it: none where it is no terminal."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .tables import Progress

LARGE = 2**22  # bytes; a smaller file is read before a bar could be seen


@contextmanager
def loading(path: Path | None) -> Iterator[Progress]:
    """Show how much of a large file has been read; what it yields is called with the bytes."""
    size = path.stat().st_size if path is not None and path.is_file() else 0
    if size < LARGE or not sys.stderr.isatty():
        yield lambda _: None
        return
    try:
        from rich.console import Console
        from rich.progress import BarColumn, DownloadColumn, TextColumn, TimeRemainingColumn
        from rich.progress import Progress as Bars
    except ModuleNotFoundError:  # predict needs NumPy alone
        print(f"reading {path}", file=sys.stderr)
        yield lambda _: None
        return
    parts = TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn()
    with Bars(*parts, console=Console(stderr=True), transient=True) as bars:
        task = bars.add_task(f"reading {path}", total=size)
        yield lambda done: bars.update(task, completed=done)
