"""Where the results go: checked before the work, written after it, whole or not at all."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from .errors import CliError


def check_directory(directory: Path, names: Sequence[str] = ()) -> None:
    """Refuse a place in which no files of these names can be written, without creating anything."""
    existing = directory.absolute()
    while not existing.exists() and existing != existing.parent:
        existing = existing.parent
    if not existing.is_dir():
        raise CliError(f"argument --out: {existing} is not a directory")
    try:
        with tempfile.TemporaryFile(dir=existing):  # permissions alone do not tell
            pass
    except OSError as error:
        reason = error.strerror or error
        raise CliError(f"argument --out: {existing} cannot be written to: {reason}") from None
    for name in names:
        if (directory / name).is_dir():
            raise CliError(f"argument --out: {directory / name} is a directory")


def check_file(path: Path) -> None:
    """Refuse a file that cannot be written."""
    if path.is_dir():
        raise CliError(f"argument --out: {path} is a directory")
    if path.exists() and not path.is_file():
        raise CliError(f"argument --out: {path} is not a file; without --out, stdout is written to")
    check_directory(path.parent)


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
