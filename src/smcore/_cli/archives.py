"""Arrays of an ``.npz`` file: features and labels, judged."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import CliError, listed, opening, reading


def read(path: Path) -> dict[str, NDArray[Any]]:
    """Read all arrays of the file."""
    with opening(str(path)), reading(str(path), "an .npz archive"):
        archive = np.load(path)
        if isinstance(archive, np.lib.npyio.NpzFile):
            with archive:
                return {name: archive[name] for name in archive.files}
    raise CliError(f"{path}: is not an .npz archive")


def features(
    arrays: Mapping[str, NDArray[Any]], target: str, path: Path
) -> tuple[str, NDArray[np.float64]]:
    """Return name and values of the features: the array ``X``, or the only one but the target."""
    others = [name for name in arrays if name != target]
    if "X" not in others and len(others) != 1:
        raise CliError(f"{path}: no array 'X' with the features; there are {listed(others)}")
    name = "X" if "X" in others else others[0]
    array, place = arrays[name], f"{path}, array {name!r}"
    if array.dtype.kind not in "biuf":
        raise CliError(f"{place}: holds {array.dtype} values, not numbers")
    if array.ndim not in (2, 3):
        raise CliError(f"{place}: has shape {array.shape}, not (rows, features)")
    if array[:1].size == 0 and len(array):
        raise CliError(f"{place}: has shape {array.shape}, no features")
    X = array.astype(np.float64)
    _check_finite(X, place)
    return name, X


def labels(labels: NDArray[Any], place: str) -> NDArray[Any]:
    """Return the labels, whole numbers as integers."""
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


def _check_finite(array: NDArray[Any], place: str) -> None:
    bad = np.argwhere(~np.isfinite(array))
    if len(bad):
        index = tuple(bad[0])
        spot = ", ".join(map(str, index))
        raise CliError(f"{place}, index [{spot}]: {_not_finite(float(array[index]))}")


def _not_finite(value: float) -> str:
    return "is NaN" if math.isnan(value) else "is infinite"
