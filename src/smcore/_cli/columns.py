"""Columns of a table as features: numbers as they are, booleans as 0 and 1, categories one-hot."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import CliError, listed, shortened
from .tables import Table, Values

BOOLEANS = {"false": 0.0, "true": 1.0}


@dataclass(frozen=True)
class Column:
    """A column that features are made of.

    Attributes
    ----------
    name : str
        Its name in the table.
    kind : str
        ``"number"``, ``"boolean"`` or ``"category"``.
    categories : tuple of str
        Those of a category, sorted; each is a feature.
    """

    name: str
    kind: str = "number"
    categories: tuple[str, ...] = ()

    @property
    def features(self) -> list[str]:
        """The names of its features."""
        if self.kind != "category":
            return [self.name]
        return [f"{self.name}={category}" for category in self.categories]

    def encode(
        self, values: Values, place: Callable[[int], str], ignore_unknown: bool = False
    ) -> NDArray[np.float64]:
        """Return the features, shape ``(N, len(self.features))``; no value may be missing."""
        if self.kind == "number":
            return _finite(values, self.name, place)[:, np.newaxis]
        if self.kind == "boolean":
            return np.array(
                [[self._boolean(value, i, place)] for i, value in enumerate(values)]
            ).reshape(-1, 1)
        number = {category: j for j, category in enumerate(self.categories)}
        encoded = np.zeros((len(values), len(number)))
        for i, value in enumerate(values):
            j = number.get(canonical(str(value)))
            if j is not None:
                encoded[i, j] = 1
            elif not ignore_unknown:
                raise CliError(
                    f"{place(i)}, column {self.name!r}: {shortened(str(value))!r} is none of the "
                    f"categories that were learned, {listed(self.categories)}; --ignore-unknown "
                    "takes it for none of them"
                )
        return encoded

    def _boolean(self, value: object, row: int, place: Callable[[int], str]) -> float:
        found = BOOLEANS.get(str(value).lower())
        if found is None and value not in (0.0, 1.0):
            raise CliError(
                f"{place(row)}, column {self.name!r}: {shortened(str(value))!r} is neither true "
                "nor false"
            )
        return float(value) if found is None else found  # type: ignore[arg-type]


def learn(
    table: Table, names: Iterable[str], categorical: Collection[str], most: int, path: object
) -> tuple[Column, ...]:
    """Decide what kind each column is, by the values that it has.

    Raises
    ------
    CliError
        A value is no number in a column of numbers, or a column has more than `most` categories.
    """
    learned = []
    crowded: dict[str, Column] = {}
    for name in names:
        values = table.columns[name]
        if isinstance(values, np.ndarray):
            learned.append(Column(name))
            continue
        texts = {canonical(text) for text in values if text is not None}
        if name not in categorical:
            if {text.lower() for text in texts} <= set(BOOLEANS):
                learned.append(Column(name, "boolean"))
                continue
            _check_no_number(values, name, table.place)
        categories = tuple(map(str, np.unique(as_labels(sorted(texts))).tolist()))
        learned.append(Column(name, "category", categories))
        if len(categories) > most:
            crowded[name] = learned[-1]
    if crowded:
        raise CliError(_crowded(path, crowded, most))
    return tuple(learned)


def _crowded(path: object, crowded: Mapping[str, Column], most: int) -> str:
    name, *others = crowded
    categories = crowded[name].categories
    also = f", and so do {listed(others)}" if others else ""
    return (
        f"{path}, column {name!r}: holds {len(categories)} different texts, such as "
        f"{shortened(categories[0])!r}, more than --max-categories {most}{also}: "
        f"--drop {','.join(crowded)!r} leaves {'them' if others else 'it'} out"
    )


def _check_no_number(values: Sequence[str | None], name: str, place: Callable[[int], str]) -> None:
    """Refuse text that stands in a column of numbers: one where half of the values are."""
    present = [(i, text) for i, text in enumerate(values) if text is not None]
    bad = [(i, text) for i, text in present if not _reads(text)]
    hopeless = sum(not _reads(text.replace(",", ".")) for _, text in bad)
    if bad and 2 * hopeless <= len(present):
        row, text = bad[0]
        raise CliError(
            f"{place(row)}, column {name!r}: {_not_a_number(text)}; --categorical {name!r} takes "
            f"all of the column for names of categories, --drop {name!r} leaves it out"
        )


def _not_a_number(text: str) -> str:
    decimal = "," in text and _reads(text.replace(",", "."))
    hint = ": --decimal , if its comma is the decimal sign" if decimal else ""
    return f"{shortened(text)!r} is not a number{hint}"


def _reads(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return "_" not in text


def _finite(values: Values, name: str, place: Callable[[int], str]) -> NDArray[np.float64]:
    """Return the values of a column of numbers, if they are."""
    if not isinstance(values, np.ndarray):
        texts = [str(value) for value in values]
        bad = next((i for i, text in enumerate(texts) if not _reads(text)), None)
        if bad is not None:
            raise CliError(f"{place(bad)}, column {name!r}: {_not_a_number(texts[bad])}")
        values = np.array(list(map(float, texts)))
    infinite = np.flatnonzero(~np.isfinite(values))
    if len(infinite):
        raise CliError(f"{place(int(infinite[0]))}, column {name!r}: is infinite")
    return values


def as_labels(texts: Sequence[str]) -> NDArray[Any]:
    """Turn labels into integers where all are: 10 then comes after 9."""
    try:
        numbers = [float(text) for text in texts]
        if all(number == int(number) and abs(number) < 2**53 for number in numbers):
            return np.array(numbers, dtype=np.int64)
    except (ValueError, OverflowError):
        pass
    return np.array(texts, dtype=np.str_)


def canonical(text: str) -> str:
    """Return 3 for 3.0, as a whole number is written where others are missing."""
    try:
        value = float(text)
    except ValueError:
        return text
    return str(int(value)) if math.isfinite(value) and value == int(value) else text


def encode(
    table: Table, columns: Sequence[Column], ignore_unknown: bool = False
) -> NDArray[np.float64]:
    """Return the features that the columns make, side by side."""
    parts = (
        column.encode(table.columns[column.name], table.place, ignore_unknown) for column in columns
    )
    X = np.empty((len(table), sum(len(column.features) for column in columns)))
    start = 0
    for part in parts:
        X[:, start : start + part.shape[1]] = part
        start += part.shape[1]
    return X


def to_json(columns: Sequence[Column]) -> str:
    """Write the columns down."""
    return json.dumps([asdict(column) for column in columns], ensure_ascii=False)


def from_json(text: str) -> tuple[Column, ...]:
    """Read what `to_json` has written."""
    return tuple(
        Column(entry["name"], entry["kind"], tuple(entry["categories"]))
        for entry in json.loads(text)
    )
