"""Judging what an estimator is given: parameters, inputs, labels or probabilities, weights."""

from __future__ import annotations

import sys
from numbers import Integral, Real
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.utils import check_array, check_consistent_length, compute_class_weight
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import column_or_1d, validate_data

__all__ = [
    "check_parameters",
    "check_probabilities",
    "checked_inputs",
    "class_factors",
    "classes_of",
    "encoded",
    "given_classes",
    "has_probabilities",
    "is_dask",
    "judged_weights",
    "labels_or_probabilities",
    "row_weights",
    "weights_in",
]

Array = NDArray[Any]

SOLVERS = ("lbfgs", "newton-cg", "sgd", "adam")
_FLOATS = [np.float64, np.float32]


def _is_number(value: Any, kind: type, least: float, *, above: bool = False) -> bool:
    is_kind = isinstance(value, kind) and not isinstance(value, bool)
    return is_kind and (value > least if above else value >= least)


def check_parameters(estimator: Any) -> None:
    """Raise unless the parameters of the estimator are what they may be."""
    rate = estimator.learning_rate
    rules = {
        "C": (_is_number(estimator.C, Real, 0, above=True), "a positive number, or inf"),
        "tol": (_is_number(estimator.tol, Real, 0), "a number, at least 0"),
        "max_iter": (_is_number(estimator.max_iter, Integral, 1), "an integer, at least 1"),
        "batch_size": (_is_number(estimator.batch_size, Integral, 1), "an integer, at least 1"),
        "learning_rate": (
            rate is None or (_is_number(rate, Real, 0, above=True) and np.isfinite(rate)),
            "a positive number, or None",
        ),
        "fit_intercept": (isinstance(estimator.fit_intercept, bool | np.bool_), "True or False"),
        "solver": (estimator.solver in SOLVERS, f"one of {', '.join(SOLVERS)}"),
    }
    for name, (is_right, allowed) in rules.items():
        if not is_right:
            raise ValueError(f"{name} must be {allowed}; found {getattr(estimator, name)!r}")


def is_dask(*arrays: Any) -> bool:
    """Whether one of them is a Dask array. Dask is not imported to find out."""
    dask = sys.modules.get("dask.array")
    return dask is not None and any(isinstance(array, dask.Array) for array in arrays)


def checked_inputs(estimator: Any, X: Any, *, reset: bool) -> Array:
    """Return the inputs as a float array; a mapped file stays where it is, whatever its dtype."""
    mapped = isinstance(X, np.memmap) and X.dtype.kind in "iufb"
    options = {"dtype": None} if mapped else {"dtype": _FLOATS, "order": "C"}
    found: Array = validate_data(estimator, X, reset=reset, **options)
    return found


def has_probabilities(y: Any) -> bool:
    """Whether `y` has a column for each class."""
    shape = y.shape if hasattr(y, "shape") else np.asarray(y).shape
    return len(shape) == 2 and shape[1] > 1


def labels_or_probabilities(X: Array, y: Any) -> Array:
    """Return `y` as a vector of labels, or as probabilities, ``(N, K)``."""
    if y is None:
        raise ValueError("y must be given: it requires y to be passed, but the target y is None")
    if has_probabilities(y):
        y = check_array(y, dtype=None, input_name="y")
        check_probabilities(y)
    else:
        y = column_or_1d(y, warn=True)
        check_array(y, dtype=None, ensure_2d=False, ensure_min_samples=0, input_name="y")
        check_classification_targets(y)
    check_consistent_length(X, y)
    found: Array = y
    return found


def check_probabilities(y: Array) -> None:
    """Raise unless each row is a distribution, in floats."""
    if y.dtype.kind != "f":
        raise ValueError(
            f"y must hold one label for each row, or probabilities as floats, one column for each "
            f"class; found shape {y.shape} of {y.dtype}: pass y.argmax(axis=1), or y.astype(float)"
        )
    sums = y.sum(axis=1, dtype=np.float64)
    wrong = (y < 0).any(axis=1) | ~(np.abs(sums - 1) <= 1e-3)
    if wrong.any():
        row = int(wrong.argmax())
        raise ValueError(
            f"y must hold probabilities, none negative, that sum to 1 in each row; "
            f"found {y[row]} in row {row}"
        )


def classes_of(y: Array) -> Array:
    """Return the classes: the labels in order, or the numbers of the columns."""
    classes = np.arange(y.shape[1]) if y.ndim == 2 else np.unique(y)
    if len(classes) < 2:
        raise ValueError(f"y must hold at least 2 classes; found only one class: {classes[0]!r}")
    return classes


def given_classes(y: Any, classes: Any, known: Array | None) -> Array:
    """Return the classes of a stream of batches, as they are given or were before."""
    if classes is None and known is not None:
        return known
    if classes is None and not has_probabilities(y):
        raise ValueError("classes must be given in the first call of partial_fit; found None")
    found = classes_of(np.empty((0, np.shape(y)[1])) if classes is None else np.asarray(classes))
    if known is not None and not np.array_equal(found, known):
        raise ValueError(f"classes must be those of before, {known!r}; found {found!r}")
    return found


def encoded(y: Array, classes: Array) -> Array:
    """Return labels as numbers of their classes; probabilities stay as they are."""
    if y.ndim == 2:
        return y
    found = np.minimum(np.searchsorted(classes, y), len(classes) - 1)
    unknown = classes[found] != y
    if unknown.any():
        raise ValueError(
            f"y must hold labels of classes only; found {y[unknown.argmax()]!r}, "
            f"which is not among {classes!r}"
        )
    return found


def row_weights(y: Array, classes: Array, sample_weight: Any, class_weight: Any) -> Array | None:
    """Return a factor for each row, the class's included; None if all are one."""
    weights = None if sample_weight is None else judged_weights(sample_weight, len(y))
    if weights is not None and not weights.any():
        raise ValueError("sample_weight must not be zero for all samples")
    if class_weight is None:
        return weights
    target = encoded(y, classes)
    sums = np.bincount(target, weights, len(classes)) if y.ndim == 1 else None
    by_row: Array = class_factors(class_weight, classes, sums, y.ndim)[target]
    with np.errstate(all="ignore"):
        found = by_row if weights is None else weights * by_row
    if not found.any():
        raise ValueError(f"class_weight must leave a sample that weighs; found {class_weight!r}")
    return found


def weights_in(dtype: Any, weights: Array) -> Array:
    """Return the factors of rows in that dtype, in whose range they must be."""
    with np.errstate(all="ignore"):
        found: Array = weights.astype(dtype, copy=False)
    if not np.isfinite(found).all() or not found.any():
        raise ValueError(
            f"sample_weight, times class_weight, must be in the range of {np.dtype(dtype)}; "
            f"found {weights.min():.3g} to {weights.max():.3g}"
        )
    return found


def judged_weights(sample_weight: Any, count: int) -> Array:
    """Return the argument `sample_weight` as float64, one for each row and none negative."""
    weights: Array = check_array(
        sample_weight,
        dtype=np.float64,
        ensure_2d=False,
        ensure_min_samples=0,
        input_name="sample_weight",
    )
    if weights.shape != (count,):
        raise ValueError(
            f"sample_weight must have shape ({count},), as X has rows; found {weights.shape}"
        )
    if (weights < 0).any():
        raise ValueError(f"sample_weight must not be negative; found {weights.min()}")
    with np.errstate(over="ignore"):
        total = weights.sum()
    if not np.isfinite(total):
        raise ValueError(f"sample_weight must have a finite sum; found {weights.max()} among them")
    return weights


def class_factors(class_weight: Any, classes: Array, sums: Any, ndim: int) -> Any:
    """Return a factor for each class, from the summed weights of its rows; None if all are one."""
    if class_weight is None:
        return None
    if ndim == 2:
        raise ValueError("class_weight must be None where y holds probabilities")
    if class_weight == "balanced":
        return np.where(sums > 0, sums.sum() / (len(classes) * np.maximum(sums, 1e-300)), 0.0)
    factors = compute_class_weight(class_weight, classes=classes, y=classes)
    if not ((factors >= 0) & np.isfinite(factors)).all():
        raise ValueError(f"class_weight must be finite and not negative; found {class_weight!r}")
    return factors
