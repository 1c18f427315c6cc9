"""Matrices on the command line: read from an argument, printed with their names."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from .errors import CliError, reading

Floats: TypeAlias = NDArray[np.float64]

SUFFIXES = (".csv", ".npy", ".npz")
WIDTH = 80  # of the printed lines
DECIMALS = 8
MOST_BANDS = 8  # a wider matrix is cut after so many bands of columns
MOST_ROWS = 20


def read_matrix(option: str, text: str) -> Floats:
    """Read the 2-D array given as ``--option text``: written out, or in a file."""
    path = Path(text)
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        return _parse(text.split(";"), f"argument --{option}")
    try:
        if suffix == ".csv":
            return _parse(path.read_text("utf-8-sig").splitlines(), str(path))
        array = _load(path, option, f"argument --{option}: {path}")
    except FileNotFoundError:
        raise CliError(f"argument --{option}: {path}: no such file") from None
    except OSError as error:
        raise CliError(f"argument --{option}: {path}: {error.strerror or error}") from None
    except UnicodeDecodeError:
        raise CliError(f"argument --{option}: {path}: is not UTF-8 text") from None
    return judge(array, f"argument --{option}: {path}")


def read_vector(option: str, text: str) -> Floats:
    """Read the 1-D array given as ``--option text``: a row or a column."""
    matrix = read_matrix(option, text)
    if 1 not in matrix.shape:
        raise CliError(f"argument --{option}: has shape {matrix.shape}, not one row or column")
    return matrix.ravel()


def read_beside(option: str, text: str) -> dict[str, NDArray[Any]]:
    """Read all arrays of the file given as ``--option text``, if it is an .npz."""
    path = Path(text)
    if path.suffix.lower() != ".npz":
        return {}
    with reading(f"argument --{option}: {path}", "a NumPy file of numbers"), np.load(path) as found:
        return dict(found)


def _parse(lines: Sequence[str], place: str) -> Floats:
    """Read numbers row by row; blank lines are skipped."""
    rows: list[list[float]] = []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        spot = f"{place}, row {number}"
        fields = line.split(",")
        if rows and len(fields) != len(rows[0]):
            raise CliError(f"{spot}: has length {len(fields)}, the first row {len(rows[0])}")
        rows.append([])
        for column, field in enumerate(fields, start=1):
            try:
                rows[-1].append(float(field))
            except ValueError:
                raise CliError(f"{spot}, column {column}: {field!r} is not a number") from None
    if not rows:
        raise CliError(f"{place}: holds no numbers")
    return judge(np.array(rows), place)


def _load(path: Path, name: str, place: str) -> NDArray[Any]:
    with reading(place, "a NumPy file of numbers"):
        loaded = np.load(path)
        if not isinstance(loaded, np.lib.npyio.NpzFile):
            return np.asarray(loaded)
        with loaded:
            if name in loaded:
                return np.asarray(loaded[name])
            names = ", ".join(map(repr, loaded)) or "none"
    raise CliError(f"{place}: no array {name!r}; there are {names}")


def judge(array: NDArray[Any], place: str) -> Floats:
    """Return a matrix of finite numbers, a vector as one row."""
    if array.dtype.kind not in "biuf" or array.ndim not in (1, 2) or not array.size:
        raise CliError(f"{place}: is {array.dtype} of shape {array.shape}, not a matrix of numbers")
    matrix = np.atleast_2d(array.astype(np.float64))
    bad = np.argwhere(~np.isfinite(matrix))
    if len(bad):
        row, column = bad[0]
        value = matrix[row, column]
        raise CliError(f"{place}, row {row + 1}, column {column + 1}: {value} is not finite")
    return matrix


def print_matrix(
    matrix: Floats, rows: Sequence[str], columns: Sequence[str], group: int = 1
) -> None:
    """Print a matrix with the names of its rows and columns.

    A wide matrix is printed in bands of columns, a large one in part.

    Parameters
    ----------
    matrix : ndarray, shape (n, m)
        What to print.
    rows, columns : sequence of str
        The n and m names.
    group : int, default: 1
        Bands are cut at multiples of so many columns.
    """
    cells = _format(matrix[:MOST_ROWS])
    width = 1 + max(len(text) for text in [*cells.flat, *columns])
    margin = 2 + max(map(len, rows))
    per_band = max((WIDTH - margin) // width // group, 1) * group
    bands = range(0, len(columns), per_band)
    for start in bands[:MOST_BANDS]:
        band = slice(start, start + per_band)
        print(" " * margin + "".join(f"{name:>{width}}" for name in columns[band]))
        for name, line in zip(rows, cells[:, band], strict=False):
            print(f"{name:>{margin}}" + "".join(f"{cell:>{width}}" for cell in line))
    for line in _left_out(len(rows) - MOST_ROWS, len(columns) - per_band * MOST_BANDS):
        print(" " * margin + line)


def _left_out(rows: int, columns: int) -> Iterator[str]:
    if rows > 0:
        yield f"... and {rows} more rows"
    if columns > 0:
        yield f"... and {columns} more columns"


def _format(matrix: Floats) -> NDArray[np.str_]:
    """Write all entries with the same decimals, no more than needed."""
    sizes = np.abs(matrix[matrix != 0])
    if sizes.size and not 1e-6 <= sizes.min() <= sizes.max() < 1e6:
        return np.array([[f"{value:.4e}" for value in row] for row in matrix])
    rounded = matrix.round(DECIMALS) + 0.0  # no negative zeros
    decimals = next(d for d in range(DECIMALS + 1) if np.array_equal(rounded.round(d), rounded))
    return np.array([[f"{value:.{decimals}f}" for value in row] for row in rounded])
