"""``smcore predict``: the classes of the rows of a table, by a model that ``train`` wrote."""

from __future__ import annotations

import argparse
import csv
import io
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import columns, model, output, tables
from .model import TrainedModel
from .progress import loading
from .tables import Dialect, Values


@dataclass
class Rows:
    """The features of the rows, and what of the table goes beside the results."""

    X: NDArray[np.float64]
    kept: dict[str, Values] = field(default_factory=dict)
    labels: Sequence[str | None] = ()  # where the table has them


def run(arguments: argparse.Namespace, dialect: Dialect) -> None:
    """Carry out the command: read model and table, write what is predicted."""
    if arguments.out is not None:
        output.check_file(arguments.out)
    trained = model.load(arguments.model)
    tables.check_exists(arguments.data)
    if arguments.data.suffix.lower() == ".npz":
        rows = Rows(trained.features_of_arrays(arguments.data))
    else:
        rows = _rows_of_table(arguments, trained, dialect)
    s = trained.predict(rows.X)
    text = _csv(trained, s, rows.kept, arguments.show)
    if arguments.out is None:
        sys.stdout.write(text)
    else:
        output.write_files(arguments.out.parent, {arguments.out.name: text.encode()})
    if rows.labels:
        _print_accuracy(trained, s, rows.labels)


def _rows_of_table(arguments: argparse.Namespace, trained: TrainedModel, dialect: Dialect) -> Rows:
    source = tables.open_table(arguments.data, dialect)
    trained.check_columns(source)
    kept = tables.resolve_all(source.names, arguments.keep, "--keep", str(source.path))
    needed = [column.name for column in trained.columns]
    labels = {trained.target}.intersection(source.names).difference(needed)
    with loading(arguments.data) as progress:
        table = trained.read(source, progress, {*kept, *labels})
    rows, note = tables.without_missing(table, needed, str(source.path), arguments.drop_missing)
    if note:
        print(f"smcore predict: note: {note}", file=sys.stderr)
    return Rows(
        columns.encode(rows, trained.columns, arguments.ignore_unknown),
        {name: rows.columns[name] for name in kept},
        [text for name in labels for text in rows.columns[name]],
    )


def _csv(trained: TrainedModel, s: NDArray[Any], kept: dict[str, Values], show: str) -> str:
    """Write what is kept, the most probable class and the probabilities as a table."""
    header = list(kept)
    parts: list[Sequence[Any]] = [_texts(values) for values in kept.values()]
    if show != "probabilities":
        header.append(trained.target)
        parts.append(trained.classes[s.argmax(axis=1)].tolist())
    if show != "labels":
        header.extend(f"P({label})" for label in trained.classes.tolist())
        parts.extend(s.T.tolist() if s.dtype == np.float64 else s.T.astype(np.str_).tolist())
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(zip(*parts, strict=True))
    return buffer.getvalue()


def _texts(values: Values) -> list[str]:
    return ["" if v is None or v != v else columns.canonical(str(v)) for v in values]


def _print_accuracy(trained: TrainedModel, s: NDArray[Any], labels: Sequence[str | None]) -> None:
    """Say on stderr how many rows are right, where the table has the labels of all."""
    if None in labels:
        return
    names = trained.classes[s.argmax(axis=1)].tolist()
    right = sum(columns.canonical(str(a)) == str(b) for a, b in zip(labels, names, strict=True))
    print(
        f"smcore predict: accuracy {right / len(labels):.1%}: {right} of {len(labels)} rows have "
        f"the class that the column {trained.target!r} says",
        file=sys.stderr,
    )
