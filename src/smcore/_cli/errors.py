"""The one exception the command line reports to its user, and what becomes one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


class CliError(Exception):
    """What the user asked for cannot be done; the text is one line that names the place."""


@contextmanager
def reading(place: str, expected: str) -> Iterator[None]:
    """Turn what NumPy raises over a file that is not what it should be into one line.

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
