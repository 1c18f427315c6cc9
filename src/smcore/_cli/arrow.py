"""Tables in Parquet and Feather, read by pyarrow."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .errors import CliError, not_installed, opening, reading
from .tables import Progress, Table, Values


class ArrowFile:
    """A `Source` of typed columns."""

    def __init__(self, path: Path, kind: str) -> None:
        self.path, self.header = path, True
        with opening(str(path)):
            path.open("rb").close()  # said in fewer words than pyarrow's
        try:
            import pyarrow.dataset
        except ModuleNotFoundError:
            raise not_installed("pyarrow", "tables") from None
        with reading(str(path), f"a {path.suffix} file"):
            self._dataset = pyarrow.dataset.dataset(str(path), format=kind)
        self.names: Sequence[str] = list(self._dataset.schema.names)
        doubled = {name for name in self.names if self.names.count(name) > 1}
        if doubled:
            raise CliError(f"{path}: column {min(doubled)!r} appears twice")
        pandas = self._dataset.schema.pandas_metadata or {}
        index = {name for name in pandas.get("index_columns", []) if isinstance(name, str)}
        self.index: Collection[str] = index.intersection(self.names)

    def read(self, names: Sequence[str], text: Collection[str], progress: Progress) -> Table:
        """Read these columns, those in `text` as text whatever they hold."""
        import pyarrow.dataset

        fields = {name: pyarrow.dataset.field(name) for name in names}
        columns: dict[str, Values] = {}
        with reading(str(self.path), f"a {self.path.suffix} file"):
            table = self._dataset.to_table(columns=fields)
            for name, column in zip(names, table.columns, strict=True):
                columns[name] = self._values(name, column, name in text)
        return Table(columns, lambda row: f"{self.path}, row {row + 1}")

    def _values(self, name: str, column: Any, as_text: bool) -> Values:
        """Return the values of a column of Arrow's."""
        from pyarrow import types

        kind = column.type
        if types.is_dictionary(kind):
            kind = kind.value_type
            column = column.cast(kind)
        is_text = types.is_string(kind) or types.is_large_string(kind) or types.is_boolean(kind)
        if types.is_string_view(kind) or is_text or as_text:
            return [None if _is_nan(value) else str(value) for value in column.to_pylist()]
        numeric = types.is_integer(kind) or types.is_floating(kind) or types.is_decimal(kind)
        if not (numeric or types.is_null(kind)):
            raise CliError(
                f"{self.path}, column {name!r}: holds {kind}, neither numbers nor text: "
                f"--drop {name!r} leaves it out"
            )
        return np.asarray(column.cast("float64", safe=False).to_numpy(), dtype=np.float64)


def _is_nan(value: object) -> bool:
    return value is None or value != value or (isinstance(value, str) and not value.strip())
