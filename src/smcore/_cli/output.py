"""Where the results go: checked before the work, written after it, whole or not at all."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from pathlib import Path

from .errors import CliError


def check_directory(directory: Path) -> None:
    """Refuse a place that cannot be written to, without creating anything."""
    existing = directory.absolute()
    while not existing.exists() and existing != existing.parent:
        existing = existing.parent
    if not existing.is_dir():
        raise CliError(f"argument --out: {existing} is not a directory")
    if not os.access(existing, os.W_OK | os.X_OK):
        raise CliError(f"argument --out: {existing} cannot be written to")


def write_files(directory: Path, contents: Mapping[str, bytes]) -> list[Path]:
    """Write every file of `contents`, moving them into place when all are complete.

    Parameters
    ----------
    directory : Path
        Created where it does not exist. Other files in it stay as they are.
    contents : mapping of str to bytes
        What to write, by file name.

    Returns
    -------
    list of Path
        The files written.
    """
    try:
        directory.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".smcore-", dir=directory) as staging:
            for name, content in contents.items():
                Path(staging, name).write_bytes(content)
            return [Path(staging, name).replace(directory / name) for name in contents]
    except OSError as error:
        place = error.filename2 or error.filename or directory
        raise CliError(f"argument --out: {place}: {error.strerror or error}") from None
