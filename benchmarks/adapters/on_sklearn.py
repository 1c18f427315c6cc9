"""CPU times of smcore's SoftmaxRegression beside scikit-learn's LogisticRegression.

    OPENBLAS_NUM_THREADS=1 OMP_NUM_THREADS=1 python benchmarks/adapters/on_sklearn.py

Both minimise the same objective with the same stopping rule, on one thread, in turn; the least CPU
time of a fit counts. ``--repeat`` and ``--only`` (a part of a case's name) choose.
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from threadpoolctl import threadpool_limits

import smcore
from smcore.sklearn import SoftmaxRegression

SHAPES = [(20_000, 200, 20), (1797, 64, 10), (60_000, 784, 10)]


def data(rows: int, features: int, classes: int) -> tuple[Any, Any]:
    """Return the digits, or rows around a centre for each class that overlap as digits do."""
    if rows == 1797:
        X, y = load_digits(return_X_y=True)
        return X / 16, y
    rng = np.random.default_rng(0)
    centres = rng.standard_normal((classes, features)) * 3 / np.sqrt(features)
    y = rng.integers(classes, size=rows)
    return rng.standard_normal((rows, features)) + centres[y], y


def cases() -> Iterator[tuple[str, Any, Any, dict[str, Any]]]:
    """Yield a name, the data, and the parameters of both estimators."""
    for shape in SHAPES:
        X, y = data(*shape)
        for dtype in (np.float64, np.float32):
            for solver in ("lbfgs", "newton-cg"):
                name = f"{shape} {np.dtype(dtype).name} {solver}"
                yield name, X.astype(dtype), y, {"solver": solver, "max_iter": 500}


def fitted(estimator: Any, X: Any, y: Any) -> tuple[float, Any]:
    """Return the CPU time of a fit, in seconds, and the estimator."""
    start = time.process_time()
    estimator.fit(X, y)
    return time.process_time() - start, estimator


def main() -> None:
    """Print a row of the table for each case."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--only", default="")
    arguments = parser.parse_args()
    smcore.set_num_threads(1)
    warnings.simplefilter("ignore", ConvergenceWarning)
    print("| case | scikit-learn s | iterations | smcore s | iterations | ratio | differ by |")
    print("|---|---|---|---|---|---|---|")
    for name, X, y, parameters in cases():
        if arguments.only not in name:
            continue
        kinds = (LogisticRegression, SoftmaxRegression)
        runs: list[list[tuple[float, Any]]] = [[], []]
        for _ in range(arguments.repeat):
            for kind, found in zip(kinds, runs, strict=True):
                found.append(fitted(kind(**parameters), X, y))
        (theirs, one), (ours, other) = (min(found, key=lambda run: run[0]) for found in runs)
        error = np.abs(one.predict_proba(X[:5000]) - other.predict_proba(X[:5000])).max()
        print(
            f"| {name} | {theirs:.3f} | {one.n_iter_[0]} | {ours:.3f} | {other.n_iter_[0]} | "
            f"{ours / theirs:.2f} | {error:.0e} |",
            flush=True,
        )


if __name__ == "__main__":
    with threadpool_limits(1):
        main()
