"""Data for training: the bundled digits, or the user's table or arrays, judged value by value.

Every complaint names the place: file, line and column of a table, file, array and index of an
``.npz``. Nothing but NumPy is imported to find what is wrong.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from . import archives, columns, tables
from .columns import Column
from .errors import CliError, listed
from .tables import Dialect, Progress, Source, Table

Floats: TypeAlias = NDArray[np.floating[Any]]
Labels: TypeAlias = NDArray[np.int64]

TEST_SHARE = 0.25


@dataclass(frozen=True)
class Choice:
    """What is to be made of a file, as the options say."""

    target: str | None
    dialect: Dialect
    drop: Sequence[str] = ()
    categorical: Sequence[str] = ()
    drop_missing: bool = False
    max_categories: int = 100


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
    columns : tuple of Column
        What the columns of `X` were made of.
    target : str
        The name of the labels.
    source : str
        Where the rows come from.
    image_shape : tuple of int or None
        Height and width, where a row is an image.
    notes : tuple of str
        What was left out.
    """

    X: Floats
    y: Labels
    classes: NDArray[Any]
    columns: tuple[Column, ...]
    target: str
    source: str
    image_shape: tuple[int, int] | None = None
    notes: tuple[str, ...] = ()

    @property
    def features(self) -> tuple[str, ...]:
        """The names of the columns of `X`."""
        return tuple(name for column in self.columns for name in column.features)


@dataclass(frozen=True)
class Split:
    """Training and test rows, standardised: ``(X - mean) / scale``."""

    X_train: Floats
    y_train: Labels
    X_test: Floats
    y_test: Labels
    mean: Floats
    scale: Floats


def load(path: Path | None, choice: Choice, progress: Progress) -> Dataset:
    """Read the user's file, or the bundled digits where there is none."""
    if path is None:
        if choice.target is not None:
            raise CliError("argument --target: names a column of --data, which is missing")
        return _digits()
    tables.check_exists(path)
    if path.suffix.lower() == ".npz":
        if choice.target is None:
            raise CliError("argument --data: needs --target, the array of class labels")
        if choice.drop or choice.categorical or choice.drop_missing:
            raise CliError(f"{path}: --drop, --categorical and --drop-missing are for tables")
        return _read_npz(path, choice.target)
    return _read_table(tables.open_table(path, choice.dialect), choice, progress)


def split(dataset: Dataset, seed: int, dtype: str) -> Split:
    """Hold out a quarter of every class, and standardise with the rest."""
    from sklearn.model_selection import train_test_split

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
    from sklearn.datasets import load_digits

    digits = load_digits()
    return Dataset(
        X=digits.data,
        y=digits.target.astype(np.int64),
        classes=digits.target_names,
        columns=tuple(map(Column, digits.feature_names)),
        target="digit",
        source="the handwritten digits of scikit-learn",
        image_shape=(8, 8),
    )


def _read_table(source: Source, choice: Choice, progress: Progress) -> Dataset:
    names, path = source.names, str(source.path)
    target = _target(source, choice.target)
    dropped = tables.resolve_all(names, choice.drop, "--drop", path)
    if target in dropped:
        raise CliError(f"{path}: argument --drop: {target!r} is the target")
    categorical = tables.resolve_all(names, choice.categorical, "--categorical", path)
    wanted = [name for name in names if name not in {*dropped, *source.index, target}]
    table = source.read([*wanted, target], {*categorical, target}, progress)
    place = f"{path}, column {target!r}"
    if not len(table):
        raise CliError(f"{place}: there are no rows")
    left_out = _useless(table, wanted)
    wanted = [name for name in wanted if name not in left_out]
    if not wanted:
        raise CliError(
            f"{path}: no column besides {target!r} to learn from"
            + "".join(f"; {name!r} is left out: {reason}" for name, reason in left_out.items())
        )
    # What makes no features is told before what is missing: it may be missing there.
    learned = columns.learn(table, wanted, categorical, choice.max_categories, path)
    table, note = tables.without_missing(
        table, [*wanted, target], path, choice.drop_missing, "--drop NAME"
    )
    if note:
        learned = columns.learn(table, wanted, categorical, choice.max_categories, path)
    labels = columns.as_labels([str(value) for value in table.columns[target]])
    y, classes = _encode(labels, place, table.place)
    X = columns.encode(table, learned)
    left_out |= {name: "it names the rows" for name in {*source.index} - {*dropped, target}}
    notes = [f"{name!r} is left out: {reason}" for name, reason in left_out.items()]
    notes += [*_doubts(source), *filter(None, [note])]
    return Dataset(X, y, classes, learned, target, path, notes=tuple(notes))


def _target(source: Source, wanted: str | None) -> str:
    """Return the name of the column of labels."""
    if wanted is None:
        raise CliError(
            f"argument --data: needs --target, the column of class labels; {source.path} has "
            f"{listed(source.names)}"
        )
    try:
        return tables.resolve(source.names, wanted, "--target", str(source.path))
    except CliError as error:
        doubtful = source.header and any(map(_is_number, source.names))
        hint = "; if line 1 holds no names, --no-header" if doubtful else ""
        raise CliError(f"{error}{hint}") from None


def _doubts(source: Source) -> Iterator[str]:
    """Say so if line 1 looks like data."""
    numbers = [name for name in source.names if _is_number(name)]
    odd = [name for name in numbers if not name.isdecimal()]
    if source.header and (odd or len(numbers) == len(source.names)):
        yield (
            f"line 1 is taken for the names of the columns, though it holds "
            f"{(odd or numbers)[0]!r}: --no-header if it is data"
        )


def _useless(table: Table, names: Sequence[str]) -> dict[str, str]:
    """Return the columns that tell nothing of a row, and why."""
    found = {}
    for name in names:
        values = table.columns[name]
        if tables.is_missing(values).all():
            found[name] = "it has no values"
        elif name == names[0] and _counts(values):
            found[name] = "it numbers the rows"
    return found


def _counts(values: tables.Values) -> bool:
    """Tell whether the values are 0, 1, 2, ... or 1, 2, 3, ..., for more than a few rows."""
    if not isinstance(values, np.ndarray) or len(values) < 10 or values[0] not in (0, 1):
        return False
    return bool(np.array_equal(values, values[0] + np.arange(len(values))))


def _read_npz(path: Path, target: str) -> Dataset:
    arrays = archives.read(path)
    if target not in arrays:
        raise CliError(f"{path}: no array {target!r}; there are {listed(list(arrays))}")
    name, X = archives.features(arrays, target, path)
    place = f"{path}, array {target!r}"
    labels = archives.labels(arrays[target], place)
    if labels.shape != (len(X),):
        raise CliError(f"{place}: has shape {labels.shape}, {name!r} has {len(X)} rows")
    y, classes = _encode(labels, place, lambda i: f"{place}, index [{i}]")
    shape = (X.shape[1], X.shape[2]) if X.ndim == 3 else None
    flat = X.reshape(len(X), -1)
    features = tuple(Column(f"{name}[{j}]") for j in range(flat.shape[1]))
    return Dataset(flat, y, classes, features, target, str(path), shape)


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
        lone = int((counts < 2).sum())
        raise CliError(
            f"{place_of(first[rare])}: the only row of class {classes[rare].item()!r}; "
            "every class needs two, one of them for the test"
            + (f"; {lone} of {len(classes)} classes have one" if lone > 1 else "")
        )
    return y.astype(np.int64), classes


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
