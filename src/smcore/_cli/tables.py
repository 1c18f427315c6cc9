"""Tables as they come, in text or in Parquet: first the names of the columns, then those wanted.

A column is read as numbers if all it holds are numbers, and as text otherwise. What is missing is
NaN among numbers, and None among text.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from .errors import CliError, opening

Values: TypeAlias = NDArray[np.float64] | list[str | None]
Progress: TypeAlias = Callable[[int], None]  # called with the number of bytes read so far

TEXT = (".csv", ".tsv", ".tab", ".txt", ".data", ".dat")
COMPRESSED = (".gz", ".bz2", ".xz")
ARROW = {".parquet": "parquet", ".pq": "parquet", ".feather": "feather", ".arrow": "feather"}
SUFFIXES = (*TEXT, *ARROW)


@dataclass(frozen=True)
class Dialect:
    """How a text file is written; None: the delimiter is found out."""

    header: bool = True
    delimiter: str | None = None
    decimal: str = "."
    encoding: str = "utf-8-sig"


@dataclass(frozen=True)
class Table:
    """Some columns of a table, by name; `place` says where a row is."""

    columns: Mapping[str, Values]
    place: Callable[[int], str]

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(next(iter(self.columns.values())))

    def take(self, rows: NDArray[np.intp]) -> Table:
        """Return the table of these rows alone."""
        columns: dict[str, Values] = {
            name: values[rows] if isinstance(values, np.ndarray) else [values[i] for i in rows]
            for name, values in self.columns.items()
        }
        return Table(columns, lambda row: self.place(int(rows[row])))


class Source(Protocol):
    """A file with a table in it, of which the names of the columns are known."""

    path: Path
    names: Sequence[str]  # of the columns, all different
    index: Collection[str]  # those of the columns that name the rows
    header: bool  # whether the names are those of the file rather than numbers

    def read(self, names: Sequence[str], text: Collection[str], progress: Progress) -> Table:
        """Read these columns, those in `text` as text whatever they hold."""


def is_missing(values: Values) -> NDArray[np.bool_]:
    """Return which values are missing."""
    if isinstance(values, np.ndarray):
        return np.isnan(values)
    return np.array([value is None for value in values], dtype=np.bool_)


def without_missing(
    table: Table, names: Sequence[str], path: str, drop: bool, remedy: str = ""
) -> tuple[Table, str | None]:
    """Return the rows in which none of these columns misses a value, and a note if some do.

    Raises
    ------
    CliError
        Something is missing, and `drop` is False, or nothing would be left; `remedy` is the option
        that leaves a column out.
    """
    masks = {name: is_missing(table.columns[name]) for name in names}
    missing = {name: mask for name, mask in masks.items() if mask.any()}
    if not missing:
        return table, None
    any_missing = np.logical_or.reduce(list(missing.values()))
    count, total = int(any_missing.sum()), len(any_missing)
    by_column = sorted(missing, key=lambda name: -int(missing[name].sum()))
    most = ", ".join(f"{int(missing[name].sum())} in {name!r}" for name in by_column[:5])
    more = f" and others in {len(by_column) - 5} more columns" if len(by_column) > 5 else ""
    if count == total:
        raise CliError(
            f"{path}: every row misses a value ({most}{more})"
            + (f": {remedy} leaves a column out" if remedy else "")
        )
    if drop:
        kept = np.flatnonzero(~any_missing)
        return table.take(kept), f"{count} of {total} rows are left out: values are missing"
    first = int(any_missing.argmax())
    column = next(name for name, mask in missing.items() if mask[first])
    raise CliError(
        f"{table.place(first)}, column {column!r}: the value is missing; in all, {most}{more}: "
        f"--drop-missing leaves out {count} of {total} rows"
        + (f", {remedy} a column" if remedy else "")
    )


def open_table(path: Path, dialect: Dialect) -> Source:
    """Open a table by the ending of its name, and look at no more than the names of its columns."""
    suffix = kind_of(path)
    if suffix in ARROW:
        from .arrow import ArrowFile

        return ArrowFile(path, ARROW[suffix])
    if suffix in TEXT:
        from .text import TextFile

        return TextFile(path, dialect)
    raise CliError(
        f"{path}: the name must end in {', '.join(SUFFIXES)} or .npz; text may be compressed "
        f"({', '.join(COMPRESSED)}); save a table of another kind as .csv or .parquet"
    )


def kind_of(path: Path) -> str:
    """Return the ending of the name, without that of a compression."""
    suffix = path.suffix.lower()
    return Path(path.stem).suffix.lower() if suffix in COMPRESSED else suffix


def check_exists(path: Path) -> None:
    """Refuse a path that is no file, and name those nearby."""
    with opening(str(path)):
        if path.is_file():
            return
        if path.exists():
            raise CliError(f"{path}: is not a file")
        import difflib

        beside = [file.name for file in path.parent.iterdir()] if path.parent.is_dir() else []
        close = difflib.get_close_matches(path.name, beside, n=1)
        hint = f"; there is {str(path.with_name(close[0]))!r}" if close else ""
        raise CliError(f"{path}: no such file{hint}")


def resolve(names: Sequence[str], wanted: str, option: str, place: str) -> str:
    """Return the name of a column given by name, or by position: 1 is the first, -1 the last."""
    if wanted in names:
        return wanted
    try:
        position = int(wanted)
    except ValueError:
        position = 0
    if 1 <= abs(position) <= len(names):
        return names[position - 1 if position > 0 else position]
    import difflib

    from .errors import listed

    close = difflib.get_close_matches(wanted, names, n=1)
    hint = f"; did you mean {close[0]!r}?" if close else ""
    raise CliError(
        f"{place}: argument {option}: no column {wanted!r}; there are {listed(names)}{hint}"
    )


def resolve_all(
    names: Sequence[str], wanted: Sequence[str], option: str, place: str
) -> dict[str, Any]:
    """Return the names, in order, of columns that are given one by one, or with commas between."""
    found: dict[str, None] = {}
    for text in wanted:
        for part in [text] if text in names else text.split(","):
            found[resolve(names, part.strip(), option, place)] = None
    return found
