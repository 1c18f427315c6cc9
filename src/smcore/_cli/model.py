"""The file of a trained model: what ``train`` writes, ``predict`` and ``explain`` need."""

from __future__ import annotations

import io
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import smcore

from . import archives, columns, tables
from .columns import Column
from .errors import CliError, listed
from .tables import Progress, Source, Table

FILE_NAME = "weights.npz"
NUMBERS = ("W", "b", "mean", "scale")


@dataclass(frozen=True)
class TrainedModel:
    """A softmax layer for standardised features, and what the features are made of.

    Attributes
    ----------
    W, b : ndarray, shapes (J, K) and (K,)
        The layer.
    mean, scale : ndarray, shape (J,)
        Features enter the layer as ``(X - mean) / scale``.
    classes : ndarray, shape (K,)
        The labels.
    columns : tuple of Column
        What the features are made of.
    target : str
        The name of the labels.
    """

    W: NDArray[Any]
    b: NDArray[Any]
    mean: NDArray[Any]
    scale: NDArray[Any]
    classes: NDArray[Any]
    columns: tuple[Column, ...]
    target: str

    def to_bytes(self) -> bytes:
        """Return the content of the file."""
        features = [name for column in self.columns for name in column.features]
        buffer = io.BytesIO()
        np.savez(
            buffer,
            W=self.W,
            b=self.b,
            classes=self.classes,
            features=np.array(features, dtype=np.str_),
            mean=self.mean,
            scale=self.scale,
            columns=np.array(columns.to_json(self.columns)),
            target=np.array(self.target),
        )
        return buffer.getvalue()

    def predict(self, X: NDArray[np.float64]) -> NDArray[Any]:
        """Return the probabilities of the classes, shape (N, K), for features as they are."""
        x = ((X - self.mean) / self.scale).astype(self.W.dtype)
        return smcore.softmax_layer(x, self.W, self.b)

    def check_columns(self, source: Source) -> None:
        """Refuse a table that lacks columns; without names, they are taken in their order."""
        names = [column.name for column in self.columns]
        if not source.header and len(source.names) == len(names):
            source.names = names
        absent = [name for name in names if name not in source.names]
        if absent:
            raise CliError(
                f"{source.path}: lacks {len(absent)} of the {len(names)} columns that the model "
                f"needs: {listed(absent)}; there are {listed(source.names)}"
            )

    def read(self, source: Source, progress: Progress, others: Collection[str] = ()) -> Table:
        """Read the columns that the model needs, and `others` as text."""
        self.check_columns(source)
        names = [column.name for column in self.columns]
        categories = [column.name for column in self.columns if column.kind == "category"]
        others = [name for name in others if name not in names]
        return source.read([*names, *others], {*categories, *others}, progress)

    def features_of_arrays(self, path: Path) -> NDArray[np.float64]:
        """Return the features in an ``.npz``."""
        name, X = archives.features(archives.read(path), self.target, path)
        flat = X.reshape(len(X), -1)
        if flat.shape[1] != len(self.W):
            raise CliError(
                f"{path}, array {name!r}: has {flat.shape[1]} features, the model has {len(self.W)}"
            )
        return flat


def load(path: Path) -> TrainedModel:
    """Read the model in a directory that ``train`` wrote, or its file."""
    if path.is_dir():
        path = path / FILE_NAME
    tables.check_exists(path)
    arrays = archives.read(path)
    absent = [name for name in (*NUMBERS, "classes") if name not in arrays]
    if absent:
        raise CliError(f"{path}: is no model of train: lacks {listed(absent)}")
    try:
        learned = _columns(arrays)
    except (ValueError, TypeError, KeyError):
        raise CliError(f"{path}, array 'columns': is not what train writes") from None
    n_features = sum(len(column.features) for column in learned)
    classes, target = arrays["classes"], str(arrays.get("target", "class"))
    J, K = n_features, len(np.atleast_1d(classes))
    shapes = {"W": (J, K), "b": (K,), "mean": (J,), "scale": (J,), "classes": (K,)}
    for name, shape in shapes.items():
        if arrays[name].shape != shape or (name in NUMBERS and arrays[name].dtype.kind != "f"):
            raise CliError(
                f"{path}, array {name!r}: is {arrays[name].dtype} of shape {arrays[name].shape}; "
                f"numbers of shape {shape} are wanted"
            )
    W, b, mean, scale = (arrays[name] for name in NUMBERS)
    return TrainedModel(W, b, mean, scale, classes, learned, target)


def _columns(arrays: dict[str, NDArray[Any]]) -> tuple[Column, ...]:
    """Return what the features are made of; numbers, where only their names are known."""
    if "columns" in arrays:
        return columns.from_json(str(arrays["columns"]))
    names = arrays.get("features", np.arange(len(arrays["W"])))
    return tuple(Column(str(name)) for name in names.tolist())
