"""Tables in text: CSV and its kin, in any delimiter, compressed or not."""

from __future__ import annotations

import bz2
import csv
import gzip
import io
import itertools
import lzma
import zlib
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from math import nan
from pathlib import Path
from typing import Any, BinaryIO, TextIO, cast

import numpy as np
from numpy.typing import NDArray

from .errors import CliError, opening
from .tables import Dialect, Progress, Table, Values

BLOCK = 2**17  # fields that are converted together
TOLD = 64  # lines after which the progress is told
SAMPLE = 50  # lines that tell the delimiter
# A comma is often part of a number or a sentence, a blank of a name: they come last.
DELIMITERS = ("\t", ";", "|", ",", " ")
MISSING = frozenset({"", "na", "n/a", "#n/a", "nan", "<na>", "null", "none", "?"})


class TextFile:
    """A `Source` in text."""

    def __init__(self, path: Path, dialect: Dialect) -> None:
        self.path, self.header, self._dialect = path, dialect.header, dialect
        with opening(str(path)), self._open() as (_, text):
            sample = list(itertools.islice(text, SAMPLE))
        self._delimiter = dialect.delimiter or _delimiter_of(sample)
        rows = list(itertools.islice(self._lines(), 2))
        if not rows:
            raise CliError(f"{path}: is empty, not even a header line")
        self.index: Collection[str] = ()
        if self.header:
            self.names: Sequence[str] = self._header(rows[0][1], rows[1][1] if rows[1:] else [])
        else:
            self.names = [str(i + 1) for i in range(len(rows[0][1]))]

    def _header(self, names: list[str], first: list[str]) -> list[str]:
        """Judge the names; a header that is one short of the lines names no index, or no end."""
        if len(first) == len(names) + 1:
            names = [*names, ""] if not first[-1].strip() else ["", *names]
        names = [name.strip() for name in names]
        unnamed = {i: f"column {i + 1}" for i, name in enumerate(names) if not name}
        names = [unnamed.get(i, name) for i, name in enumerate(names)]
        for i, name in enumerate(names):
            if names.index(name) != i:
                raise CliError(
                    f"{self.path}, line 1, column {i + 1}: {name!r} appears twice; if line 1 holds "
                    "no names, --no-header"
                )
        self.index = [unnamed[0]] if 0 in unnamed else []
        return names

    def read(self, names: Sequence[str], text: Collection[str], progress: Progress) -> Table:
        """Read these columns, those in `text` as text whatever they hold."""
        places = [self.names.index(name) for name in names]
        parts: list[list[Values]] = [[] for _ in names]
        numbers: list[NDArray[np.int64]] = []
        with opening(str(self.path)):
            lines = self._rows(progress)
            while block := list(itertools.islice(lines, max(BLOCK // len(self.names), 1))):
                numbers.append(np.array([number for number, _ in block], dtype=np.int64))
                fields = list(zip(*(fields for _, fields in block), strict=True))
                for name, place, column in zip(names, places, parts, strict=True):
                    column.append(_converted(fields[place], name in text, self._dialect.decimal))
        mixed = {name for name, column in zip(names, parts, strict=True) if _is_mixed(column)}
        if mixed:  # what was taken for numbers is text: its digits are wanted as they were
            return self.read(names, {*text, *mixed}, progress)
        lines_of = np.concatenate(numbers) if numbers else np.zeros(0, np.int64)
        joined = {name: _joined(column) for name, column in zip(names, parts, strict=True)}
        return Table(joined, lambda row: f"{self.path}, line {lines_of[row]}")

    def _rows(self, progress: Progress) -> Iterator[tuple[int, list[str]]]:
        """Yield number and fields of every line below the header, as many fields as names."""
        width = len(self.names)
        for number, fields in itertools.islice(self._lines(progress), int(self.header), None):
            if len(fields) != width:
                first = "the header" if self.header else "the first line"
                cut = " " if self._delimiter == " " else self._delimiter
                raise CliError(
                    f"{self.path}, line {number}: has {len(fields)} fields, {first} has {width} "
                    f"(cut at {cut!r}: --delimiter sets another)"
                )
            yield number, fields

    def _lines(self, progress: Progress = lambda _: None) -> Iterator[tuple[int, list[str]]]:
        """Yield the number and the fields of every line that is not blank."""
        with self._open() as (raw, text):
            blank = self._delimiter == " "
            lines = (line.strip() for line in text) if blank else text
            reader = csv.reader(
                lines, delimiter=self._delimiter, skipinitialspace=True, strict=True
            )
            try:
                for count, fields in enumerate(reader):
                    if fields and not (len(fields) == 1 and not fields[0].strip()):
                        yield reader.line_num, fields
                    if count % TOLD == 0:
                        progress(raw.tell())
            except csv.Error as error:
                raise CliError(f"{self.path}, line {reader.line_num}: {error}") from None

    @contextmanager
    def _open(self) -> Iterator[tuple[BinaryIO, TextIO]]:
        """Open the file, and what it holds as text, at its start."""
        encoding = self._dialect.encoding
        try:
            with (
                self.path.open("rb") as raw,
                _unpacked(raw, self.path) as binary,
                io.TextIOWrapper(binary, encoding, newline="") as text,
            ):
                yield raw, text
        except UnicodeError:
            raise CliError(
                f"{self._undecodable()}: is not {encoding.removesuffix('-sig').upper()} text; "
                "--encoding names another, such as cp1252 or utf-16"
            ) from None
        except (EOFError, zlib.error, lzma.LZMAError):
            raise CliError(f"{self.path}: is damaged, or is not complete") from None

    def _undecodable(self) -> str:
        """Return the place of the first line that is not text."""
        encoding = self._dialect.encoding
        with self.path.open("rb") as raw, _unpacked(raw, self.path) as binary:
            if b"\0" not in binary.read(2):  # where a byte is no character, no line can be told
                binary.seek(0)
                for number, line in enumerate(binary, start=1):
                    try:
                        line.decode(encoding)
                    except UnicodeError:
                        return f"{self.path}, line {number}"
        return str(self.path)


def _unpacked(raw: BinaryIO, path: Path) -> BinaryIO:
    """Return what yields the content of the file, compressed or not."""
    openers: dict[str, Callable[[BinaryIO], Any]] = {
        ".gz": gzip.open,
        ".bz2": bz2.open,
        ".xz": lzma.open,
    }
    opener = openers.get(path.suffix.lower())
    return raw if opener is None else cast(BinaryIO, opener(raw))


def _delimiter_of(sample: Sequence[str]) -> str:
    """Return what cuts all lines into as many fields, more than one.

    The header may have one less. If nothing does, the one that cuts the header most often.
    """
    width = {}
    for delimiter in DELIMITERS:
        lines = [line.strip() for line in sample] if delimiter == " " else sample
        try:
            rows = list(filter(None, csv.reader(lines, delimiter=delimiter, skipinitialspace=True)))
        except csv.Error:
            continue
        complete = rows[:-1] if len(sample) == SAMPLE else rows  # the last may go on
        counts = [len(fields) for fields in complete]
        alike = set(counts[1:] or counts)
        if len(alike) == 1 and alike != {1} and min(alike) - counts[0] in (0, 1):
            return delimiter
        width[delimiter] = counts[0] if counts and delimiter != " " else 1
    return max(width, key=lambda delimiter: (width[delimiter], delimiter == ","), default=",")


def _converted(fields: Sequence[str], as_text: bool, decimal: str) -> Values:
    """Return the fields of a part of a column as numbers if all are, else as text."""
    if not as_text:
        try:
            return _numbers(fields, decimal)
        except ValueError:
            pass
    stripped = [field.strip() for field in fields]
    return [None if field.casefold() in MISSING else field for field in stripped]


def _numbers(fields: Sequence[str], decimal: str) -> NDArray[np.float64]:
    if "_" in "".join(fields):  # Python reads 1_000 as a number
        raise ValueError
    if decimal != ".":
        fields = [field.replace(decimal, ".") for field in fields]
    try:
        return np.array(list(map(float, fields)))
    except ValueError:
        return np.array(
            [nan if field.strip().casefold() in MISSING else float(field) for field in fields]
        )


def _is_mixed(parts: Sequence[Values]) -> bool:
    """Tell whether numbers were read in some parts, and text in others."""
    numbers = [part for part in parts if isinstance(part, np.ndarray)]
    return len(numbers) < len(parts) and not all(np.isnan(part).all() for part in numbers)


def _joined(parts: Sequence[Values]) -> Values:
    if all(isinstance(part, np.ndarray) for part in parts):
        return np.concatenate([np.zeros(0), *parts])
    values: list[str | None] = []
    known: dict[str | None, str | None] = {}  # a text that comes again is held once
    for part in parts:  # an array among text misses all its values
        texts = [None] * len(part) if isinstance(part, np.ndarray) else part
        values.extend(known.setdefault(text, text) for text in texts)
    return values
