"""What a fitted estimator says of inputs, in memory or as Dask arrays."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.utils.validation import check_is_fitted

import smcore

from ._data import checked_inputs, has_probabilities, is_dask
from ._objective import expand, spans_to_convert

__all__ = ["Predictions"]

Array = NDArray[Any]


class Predictions:
    """The methods that predict; of a Dask array, a Dask array that is computed when asked for."""

    classes_: Array
    coef_: Array
    intercept_: Array

    def decision_function(self, X: ArrayLike) -> Array:
        """Return the logits.

        Parameters
        ----------
        X : array_like, shape (N, D)
            The inputs.

        Returns
        -------
        ndarray, shape (N, K), or (N,) for two classes
            The logits ``X @ coef_.T + intercept_``; of two classes that of ``classes_[1]``.
        """
        if is_dask(X):
            return self._lazily("decision_function", X)
        logits = self._logits(X)
        return logits[:, 0] if logits.shape[1] == 1 else logits

    def predict(self, X: ArrayLike) -> Array:
        """Return the most probable class of each row.

        Parameters
        ----------
        X : array_like, shape (N, D)
            The inputs.

        Returns
        -------
        ndarray, shape (N,)
            Labels, out of `classes_`.
        """
        if is_dask(X):
            return self._lazily("predict", X)
        logits = expand(self._logits(X))
        labels: Array = self.classes_[logits.argmax(axis=1)]
        return labels

    def predict_proba(self, X: ArrayLike) -> Array:
        """Return the probability of each class.

        Parameters
        ----------
        X : array_like, shape (N, D)
            The inputs.

        Returns
        -------
        ndarray, shape (N, K)
            The softmax of the logits, its columns in the order of `classes_`.
        """
        if is_dask(X):
            return self._lazily("predict_proba", X)
        logits = expand(self._logits(X))
        smcore.softmax(logits, out=logits)
        return logits

    def predict_log_proba(self, X: ArrayLike) -> Array:
        """Return the logarithm of the probability of each class, exact also where it is tiny.

        Parameters
        ----------
        X : array_like, shape (N, D)
            The inputs.

        Returns
        -------
        ndarray, shape (N, K)
            The log-softmax of the logits, its columns in the order of `classes_`.
        """
        if is_dask(X):
            return self._lazily("predict_log_proba", X)
        logits = expand(self._logits(X))
        smcore.log_softmax(logits, out=logits)
        return logits

    def score(self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None) -> float:
        """Return the share of rows whose class is predicted.

        Parameters
        ----------
        X : array_like, shape (N, D)
            The inputs.
        y : array_like, shape (N,) or (N, K)
            The labels; or probabilities, of which the largest counts.
        sample_weight : array_like, shape (N,), optional
            A factor for each row.

        Returns
        -------
        float
            The accuracy.
        """
        if has_probabilities(y):
            y = self.classes_[np.argmax(y, axis=1)]
        return float(super().score(X, y, sample_weight))  # type: ignore[misc]

    def _logits(self, X: ArrayLike) -> Array:
        check_is_fitted(self)
        X = checked_inputs(self, X, reset=False)
        dtype = np.result_type(*[X, self.coef_] if X.dtype.kind == "f" else [self.coef_])
        logits = np.empty((len(X), len(self.coef_)), dtype)
        for rows in spans_to_convert(X, dtype):
            np.matmul(X[rows], self.coef_.T, out=logits[rows])
        logits += self.intercept_
        return logits

    def _lazily(self, method: str, X: Any) -> Array:
        check_is_fitted(self)
        from ._dask import predictions

        found: Array = predictions(self, method, X)
        return found
