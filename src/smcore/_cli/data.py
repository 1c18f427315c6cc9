"""Data for training: the bundled digits or the user's file, judged value by value.

Every complaint names the place: file, line and column of a ``.csv``, file, array and index of a
``.npz``.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from .errors import CliError, reading

Floats: TypeAlias = NDArray[np.floating[Any]]
Labels: TypeAlias = NDArray[np.int64]

TEST_SHARE = 0.25


@dataclass(frozen=True)
class Dataset:
    """Rows with their class labels.

    Attributes
    ----------
    X : ndarray, shape (N, J), float64
        The features.
    y : ndarray, shape (N,), int64
        The class of each row, an index into `classes`.
    classes : ndarray, shape (K,)
        The labels as they were found, sorted: integers or text.
    features : tuple of str
        The names of the columns of `X`.
    source : str
        Where the rows come from.
    image_shape : tuple of int or None
        Height and width, where a row is an image.
    """

    X: Floats
    y: Labels
    classes: NDArray[Any]
    features: tuple[str, ...]
    source: str
    image_shape: tuple[int, int] | None = None


@dataclass(frozen=True)
class Split:
    """Training and test rows, standardised: ``(X - mean) / scale``."""

    X_train: Floats
    y_train: Labels
    X_test: Floats
    y_test: Labels
    mean: Floats
    scale: Floats


def load(path: Path | None, target: str | None) -> Dataset:
    """Read the user's file, or the bundled digits where there is none."""
    if path is None:
        if target is not None:
            raise CliError("argument --target: names a column of --data, which is missing")
        return _digits()
    if target is None:
        raise CliError("argument --data: needs --target, the column or array of class labels")
    readers = {".csv": _read_csv, ".npz": _read_npz}
    reader = readers.get(path.suffix.lower())
    if reader is None:
        raise CliError(f"{path}: the name must end in .csv or .npz")
    try:
        return reader(path, target)
    except FileNotFoundError:
        raise CliError(f"{path}: no such file") from None
    except OSError as error:
        raise CliError(f"{path}: {error.strerror or error}") from None


def split(dataset: Dataset, seed: int, dtype: str) -> Split:
    """Hold out a quarter of every class, and standardise with the rest."""
    n_classes = len(dataset.classes)
    n_test = max(math.ceil(TEST_SHARE * len(dataset.y)), n_classes)
    X_train, X_test, y_train, y_test = train_test_split(
        dataset.X, dataset.y, test_size=n_test, stratify=dataset.y, random_state=seed
    )
    mean, scale = _standardisation(X_train, dataset)
    return Split(
        X_train=((X_train - mean) / scale).astype(dtype),
        y_train=y_train,
        X_test=((X_test - mean) / scale).astype(dtype),
        y_test=y_test,
        mean=mean,
        scale=scale,
    )


def _standardisation(X: Floats, dataset: Dataset) -> tuple[Floats, Floats]:
    with np.errstate(over="ignore", invalid="ignore"):
        mean = X.mean(axis=0)
        # The pixels of an image share one unit: one scale keeps the near-constant ones quiet.
        scale = X.std(axis=0) if dataset.image_shape is None else np.full_like(mean, X.std())
    for name, finite in zip(dataset.features, np.isfinite(scale), strict=True):
        if not finite:
            raise CliError(
                f"{dataset.source}, column {name!r}: the values are too large to be standardised"
            )
    scale[scale == 0] = 1  # a constant column becomes zeros
    return mean, scale


def _digits() -> Dataset:
    digits = load_digits()
    return Dataset(
        X=digits.data,
        y=digits.target.astype(np.int64),
        classes=digits.target_names,
        features=tuple(digits.feature_names),
        source="the handwritten digits of scikit-learn",
        image_shape=(8, 8),
    )


def _read_csv(path: Path, target: str) -> Dataset:
    lines = _csv_lines(path)
    _, header = next(lines, (0, []))
    if not header:
        raise CliError(f"{path}: is empty, not even a header line")
    _check_header(path, header, target)
    position = header.index(target)
    rows: list[list[float]] = []
    labels: list[str] = []
    numbers: list[int] = []
    for number, fields in lines:
        place = f"{path}, line {number}"
        if len(fields) != len(header):
            raise CliError(f"{place}: has {len(fields)} fields, the header has {len(header)}")
        labels.append(_label(fields.pop(position), f"{place}, column {target!r}"))
        rows.append(_numbers(fields, place, header, position))
        numbers.append(number)
    place = f"{path}, column {target!r}"
    y, classes = _encode(_as_integers(labels), place, lambda i: f"{path}, line {numbers[i]}")
    features = tuple(name for name in header if name != target)
    return Dataset(np.array(rows, dtype=np.float64), y, classes, features, str(path))


def _csv_lines(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Yield the number and the fields of every line that is not blank."""
    content = path.read_bytes()
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise CliError(f"{path}, line {line}: is not UTF-8 text") from None
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        for fields in reader:
            if fields:
                yield reader.line_num, fields
    except csv.Error as error:
        raise CliError(f"{path}, line {reader.line_num}: {error}") from None


def _check_header(path: Path, header: list[str], target: str) -> None:
    for column, name in enumerate(header, start=1):
        if not name.strip():
            raise CliError(f"{path}, line 1, column {column}: the column has no name")
        if header.index(name) != column - 1:
            raise CliError(f"{path}, line 1, column {column}: {name!r} appears twice")
    if target not in header:
        raise CliError(f"{path}, line 1: no column {target!r}; there are {_listed(header)}")
    if len(header) == 1:
        raise CliError(f"{path}, line 1: no column besides {target!r} to learn from")


def _label(text: str, place: str) -> str:
    text = text.strip()
    if not text:
        raise CliError(f"{place}: is empty")
    if text.lower() == "nan":
        raise CliError(f"{place}: is NaN")
    return text


def _numbers(fields: list[str], place: str, header: list[str], position: int) -> list[float]:
    """Convert the features of one line; `fields` lacks the target at `position`."""
    try:
        values = [float(field) for field in fields]
    except ValueError:
        values = []
    if values and all(map(math.isfinite, values)) and "_" not in "".join(fields):
        return values
    names = header[:position] + header[position + 1 :]
    for name, field in zip(names, fields, strict=True):
        fault = _fault(field)
        if fault:
            raise CliError(f"{place}, column {name!r}: {fault}")
    raise AssertionError("a line was refused without a reason")


def _fault(field: str) -> str | None:
    """Say what keeps `field` from being a feature, or None."""
    if not field.strip():
        return "is empty"
    try:
        value = float(field) if "_" not in field else None  # Python reads 1_000 as a number
    except ValueError:
        value = None
    if value is None:
        return f"{_shortened(field)!r} is not a number"
    return None if math.isfinite(value) else _not_finite(value)


def _read_npz(path: Path, target: str) -> Dataset:
    arrays = _npz_arrays(path)
    if target not in arrays:
        raise CliError(f"{path}: no array {target!r}; there are {_listed(list(arrays))}")
    labels = arrays.pop(target)
    if "X" not in arrays and len(arrays) != 1:
        raise CliError(f"{path}: no array 'X' with the features; there are {_listed(list(arrays))}")
    name = "X" if "X" in arrays else next(iter(arrays))
    X = _npz_features(arrays[name], f"{path}, array {name!r}")
    place = f"{path}, array {target!r}"
    if labels.shape != (len(X),):
        raise CliError(f"{place}: has shape {labels.shape}, {name!r} has {len(X)} rows")
    y, classes = _encode(_npz_labels(labels, place), place, lambda i: f"{place}, index [{i}]")
    shape = (X.shape[1], X.shape[2]) if X.ndim == 3 else None
    flat = X.reshape(len(X), -1)
    features = tuple(f"{name}[{j}]" for j in range(flat.shape[1]))
    return Dataset(flat, y, classes, features, str(path), shape)


def _npz_arrays(path: Path) -> dict[str, NDArray[Any]]:
    with reading(str(path), "an .npz archive"):
        archive = np.load(path)
        if isinstance(archive, np.lib.npyio.NpzFile):
            with archive:
                return {name: archive[name] for name in archive.files}
    raise CliError(f"{path}: is not an .npz archive")


def _npz_features(array: NDArray[Any], place: str) -> Floats:
    if array.dtype.kind not in "biuf":
        raise CliError(f"{place}: holds {array.dtype} values, not numbers")
    if array.ndim not in (2, 3):
        raise CliError(f"{place}: has shape {array.shape}, not (rows, features)")
    if array[:1].size == 0 and len(array):
        raise CliError(f"{place}: has shape {array.shape}, no features")
    X = array.astype(np.float64)
    _check_finite(X, place)
    return X


def _npz_labels(labels: NDArray[Any], place: str) -> NDArray[Any]:
    if labels.dtype.kind in "biuU":
        return labels
    if labels.dtype.kind == "f":
        _check_finite(labels, place)
        if np.array_equal(labels, np.rint(labels)):
            beyond = np.flatnonzero(np.abs(labels) >= 2.0**63)
            if len(beyond):
                raise CliError(
                    f"{place}, index [{beyond[0]}]: {labels[beyond[0]]} is too large for a label"
                )
            return labels.astype(np.int64)
    raise CliError(f"{place}: holds {labels.dtype} values, neither text nor whole numbers")


def _check_finite(array: Floats, place: str) -> None:
    bad = np.argwhere(~np.isfinite(array))
    if len(bad):
        index = tuple(bad[0])
        spot = ", ".join(map(str, index))
        raise CliError(f"{place}, index [{spot}]: {_not_finite(float(array[index]))}")


def _as_integers(labels: list[str]) -> NDArray[Any]:
    """Turn labels into integers where all are: 10 then comes after 9."""
    try:
        numbers = [float(label) for label in labels]
        if all(number == int(number) and abs(number) < 2**53 for number in numbers):
            return np.array(numbers, dtype=np.int64)
    except (ValueError, OverflowError):
        pass
    return np.array(labels, dtype=np.str_)


def _encode(
    labels: NDArray[Any], place: str, place_of: Callable[[int], str]
) -> tuple[Labels, NDArray[Any]]:
    """Turn labels into class numbers; refuse what cannot be split into training and test rows."""
    if not len(labels):
        raise CliError(f"{place}: there are no rows")
    classes, first, y, counts = np.unique(
        labels, return_index=True, return_inverse=True, return_counts=True
    )
    if len(classes) == 1:
        raise CliError(f"{place}: a single class, {classes[0].item()!r}; at least two are needed")
    rare = int(counts.argmin())
    if counts[rare] < 2:
        raise CliError(
            f"{place_of(first[rare])}: the only row of class {classes[rare].item()!r}; "
            "every class needs two, one of them for the test"
        )
    return y.astype(np.int64), classes


def _not_finite(value: float) -> str:
    return "is NaN" if math.isnan(value) else "is infinite"


def _listed(names: list[str], most: int = 8) -> str:
    shown = ", ".join(repr(_shortened(name)) for name in names[:most])
    return shown + (f" and {len(names) - most} more" if len(names) > most else "") or "none"


def _shortened(text: str, most: int = 40) -> str:
    return text if len(text) <= most else text[: most - 3] + "..."
