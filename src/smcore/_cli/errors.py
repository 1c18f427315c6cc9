"""The one exception the command line reports to its user, what becomes one, and its words."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager


class CliError(Exception):
    """What the user asked for cannot be done; the text is one line that names the place."""


@contextmanager
def reading(place: str, expected: str) -> Iterator[None]:
    """Turn what a library raises over a file that is not what it should be into one line.

    It is more than it documents: a damaged archive or header meets zipfile, zlib, the parser of
    literals and the allocator. An OSError, which says more than this could, passes.
    """
    try:
        yield
    except (CliError, OSError):
        raise
    except MemoryError:
        raise CliError(f"{place}: holds an array that is larger than the memory") from None
    except Exception as error:
        if "Object arrays" in str(error):
            raise CliError(f"{place}: holds an array of Python objects") from None
        raise CliError(f"{place}: is damaged, or is not {expected}") from None


@contextmanager
def opening(place: str) -> Iterator[None]:
    """Turn an OSError over a file into one line."""
    try:
        yield
    except FileNotFoundError:
        raise CliError(f"{place}: no such file") from None
    except OSError as error:
        raise CliError(f"{place}: {error.strerror or error}") from None


def not_installed(package: str, extra: str) -> CliError:
    """Return the error for a package that belongs to an extra."""
    return CliError(f'{package} is not installed: python -m pip install "softmax-core[{extra}]"')


def listed(names: Sequence[str], most: int = 8) -> str:
    """Return the names in quotes, the first ones if they are many."""
    shown = ", ".join(repr(shortened(name)) for name in names[:most])
    return shown + (f" and {len(names) - most} more" if len(names) > most else "") or "none"


def shortened(text: str, most: int = 40) -> str:
    """Return the text, cut if it is long."""
    return text if len(text) <= most else text[: most - 3] + "..."
