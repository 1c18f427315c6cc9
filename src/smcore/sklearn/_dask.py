"""Rows of Dask arrays: sums over their blocks are added up in a tree, where the blocks are."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from functools import reduce
from typing import Any

import dask
import dask.array as da
import numpy as np
from dask.delayed import delayed
from numpy.typing import NDArray
from sklearn.utils import check_array, check_consistent_length
from sklearn.utils.multiclass import check_classification_targets

from ._data import check_probabilities, class_factors, classes_of, encoded, judged_weights
from ._objective import Rows, Sums, add

__all__ = ["cluster_rows", "predictions"]

Array = NDArray[Any]

_FAN = 8  # sums that one task of the tree adds up
_SENT = 1 << 22  # bytes of weights that are sent with the tasks, rather than as a task of their own
_QUIET = {"distributed.admin.large-graph-warning-threshold": "1GiB"}  # of many weights


class ClusterRows:
    """Rows in the blocks of Dask arrays.

    The targets, as numbers of classes, and the weights stay where they were computed; the inputs
    are asked for each time, so that those that no worker could hold are read again.
    """

    def __init__(
        self,
        inputs: Sequence[Any],
        rest: Sequence[Any],
        shape: tuple[int, int],
        total: float,
        dtype: Any,
    ) -> None:
        self._blocks = list(zip(inputs, rest, strict=True))
        self.n_features, self.n_classes = shape
        self.total, self.dtype = total, dtype

    def sum(self, function: Callable[..., Sums], *arguments: Any) -> Sums:
        """Add up what the function returns for each block, by one graph.

        A few weights come with each task, which is a journey less than from a task of their own.
        """
        size = sum(argument.nbytes for argument in arguments if argument is not None)
        if size * len(self._blocks) > _SENT:
            arguments = tuple(delayed(argument) for argument in arguments)
        parts = [
            delayed(_of_block)(function, self.dtype, *block, *arguments) for block in self._blocks
        ]
        with dask.config.set(_QUIET):
            found: Sums = _tree(parts, add).compute()
        return found

    def softmax(self, W: Array, b: Array) -> None:
        """Keep none: the workers may not have the room."""


def _of_block(
    function: Callable[..., Sums], dtype: Any, X: Array, rest: tuple[Any, Any], *arguments: Any
) -> Sums:
    """Return the sums of a block."""
    return function(np.ascontiguousarray(X, dtype), *rest, *arguments)


def _tree(parts: Sequence[Any], add: Callable[[Any, Any], Any]) -> Any:
    """Return the delayed sum of delayed parts, always in the same order."""
    while len(parts) > 1:
        groups = [parts[i : i + _FAN] for i in range(0, len(parts), _FAN)]
        parts = [delayed(_reduced)(add, group) for group in groups]
    return parts[0]


def _reduced(add: Callable[[Any, Any], Any], parts: Sequence[Any]) -> Any:
    return reduce(add, parts)


def cluster_rows(X: Any, y: Any, sample_weight: Any, class_weight: Any) -> tuple[Rows, Array]:
    """Judge Dask arrays, on the workers; return rows of them, and the classes."""
    X, y, sample_weight = _aligned(X, y, sample_weight)
    inputs, targets = _blocks(X), _blocks(y)
    weights = [None] * len(inputs) if sample_weight is None else _blocks(sample_weight)
    described = [delayed(_described)(*part) for part in zip(inputs, targets, weights, strict=True)]
    labels, sums, total = _tree(described, _together).compute()
    if y.ndim == 1:
        check_classification_targets(np.tile(labels, 3))  # no class is as frequent as a row
    classes = classes_of(labels)
    factors = class_factors(class_weight, classes, sums, y.ndim)
    if factors is not None:
        total = factors @ sums
    if not total > 0:
        raise ValueError("sample_weight must not be zero for all samples")
    dtype = X.dtype if X.dtype in (np.float32, np.float64) else np.dtype(np.float64)
    pairs = zip(targets, weights, strict=True)
    rest = dask.persist(*[delayed(_encoded)(*pair, classes, factors, dtype) for pair in pairs])
    rows = ClusterRows(inputs, rest, (X.shape[1], len(classes)), float(total), dtype)
    return rows, classes


def _aligned(X: Any, y: Any, sample_weight: Any) -> list[Any]:
    """Return arrays in chunks of the same rows, each row whole."""
    X = da.asarray(X)
    if X.ndim != 2 or X.dtype.kind not in "iufb":
        raise ValueError(f"X must be real, of shape (N, D); found shape {X.shape} of {X.dtype}")
    X = X.rechunk({1: -1})
    found = [X]
    for name, array in (("y", y), ("sample_weight", sample_weight)):
        if array is not None:
            array = da.asarray(array)
            array = array[:, 0] if array.ndim == 2 and array.shape[1] == 1 else array
            array = array.rechunk({1: -1}) if array.ndim == 2 else array
            if not np.isnan([*X.chunks[0], *array.chunks[0]]).any() and len(array) == len(X):
                array = array.rechunk({0: X.chunks[0]})
            if array.ndim > 2 or array.numblocks[0] != X.numblocks[0]:
                raise ValueError(
                    f"{name} must have as many rows, in as many chunks, as X with "
                    f"{X.shape[0]} in {X.numblocks[0]}; found shape {array.shape}, "
                    f"{array.numblocks[0]} chunks"
                )
        found.append(array)
    return found


def _blocks(array: Any) -> list[Any]:
    return list(array.to_delayed().ravel())


def _described(X: Array, y: Array, weight: Array | None) -> tuple[Array, Array, float]:
    """Judge a block; return its labels, the summed weights of each, and of all."""
    check_array(X, dtype=None, input_name="X", ensure_min_samples=0)
    check_array(y, dtype=None, ensure_2d=False, ensure_min_samples=0, input_name="y")
    check_consistent_length(X, y)
    ones = np.ones(len(y)) if weight is None else judged_weights(weight, len(y))
    if y.ndim == 2:
        check_probabilities(y)
        return np.arange(y.shape[1]), np.zeros(y.shape[1]), ones.sum()
    labels, places = np.unique(y, return_inverse=True)
    return labels, np.bincount(places, ones, len(labels)), ones.sum()


def _together(
    first: tuple[Array, Array, float], second: tuple[Array, Array, float]
) -> tuple[Array, Array, float]:
    labels = np.union1d(first[0], second[0])
    sums = np.zeros(len(labels))
    for found, part, _ in (first, second):
        sums[np.searchsorted(labels, found)] += part
    return labels, sums, first[2] + second[2]


def _encoded(
    y: Array, weight: Array | None, classes: Array, factors: Array | None, dtype: Any
) -> tuple[Array, Array | None]:
    """Return targets and weights of a block, as the objective takes them."""
    target = encoded(y, classes)
    weight = None if weight is None else np.asarray(weight, dtype)
    if factors is not None:
        by_row = factors[target].astype(dtype)
        weight = by_row if weight is None else weight * by_row
    return target, weight


def predictions(estimator: Any, method: str, X: Any) -> Any:
    """Return a Dask array of what a method of a fitted estimator says of each block."""
    X = X.rechunk({1: -1})
    estimator = copy.copy(estimator)  # that a later fit does not change
    like = getattr(estimator, method)(np.zeros((1, X.shape[1]), X.dtype))
    shape = {"drop_axis": 1} if like.ndim == 1 else {"chunks": (X.chunks[0], like.shape[1:])}
    return X.map_blocks(_predicted, delayed(estimator), method, meta=like[:0], **shape)


def _predicted(X: Array, estimator: Any, method: str) -> Array:
    rows = X if len(X) else np.zeros((1, X.shape[1]), X.dtype)
    found: Array = getattr(estimator, method)(rows)
    return found[: len(X)]
