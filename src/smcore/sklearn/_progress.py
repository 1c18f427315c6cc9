"""What ``verbose`` shows: an updated line by rich where it is installed, else plain lines."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import Any

__all__ = ["Progress"]

_SECONDS = 1.0  # between plain lines


class Progress:
    """A line on standard error on how far a fit has come.

    Parameters
    ----------
    title : str
        What is being done.
    total : int
        How many iterations there may be.
    verbose : int
        0 for none.
    """

    def __init__(self, title: str, total: int, verbose: int) -> None:
        self._title, self._total, self._verbose = title, total, verbose
        self._bar: Any = None
        self._done, self._shown, self._text = 0, 0.0, ""

    def __enter__(self) -> Progress:
        if self._verbose:
            self._bar = _rich_bar()
        if self._bar is not None:
            self._bar.start()
            self._task = self._bar.add_task(self._title, total=self._total)
        return self

    def advance(self, text: str) -> None:
        """Show that an iteration is done, and what came out."""
        if not self._verbose:
            return
        self._done, self._text = self._done + 1, text
        if self._bar is not None:
            self._bar.update(self._task, advance=1, description=f"{self._title} {text}")
        elif time.monotonic() - self._shown > _SECONDS:
            self._print()

    def _print(self) -> None:
        self._shown, text = time.monotonic(), self._text
        print(f"{self._title} {self._done}/{self._total} {text}", file=sys.stderr)
        self._text = ""

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._bar.stop()
        elif self._text:  # of the last iteration
            self._print()


def _rich_bar() -> Any:
    """Return a bar that is not started, or None without rich or a terminal."""
    try:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
        from rich.progress import Progress as Bar
    except ImportError:
        return None
    console = Console(stderr=True)
    if not console.is_terminal:
        return None
    return Bar(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=console,
    )
