"""What is minimised: loss, gradient and Hessian product, as sums over blocks of rows."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

import smcore

__all__ = [
    "Memory",
    "Objective",
    "Rows",
    "Vector",
    "add",
    "expand",
    "loss_and_gradient",
    "spans_to_convert",
]

Vector: TypeAlias = NDArray[np.float64]
Array: TypeAlias = NDArray[Any]
Sums: TypeAlias = tuple[Any, ...]

_READ = 1 << 25  # bytes of rows that are converted at once


class Rows(Protocol):
    """Rows of inputs with targets and weights, wherever they are."""

    n_features: int
    n_classes: int
    dtype: Any  # to compute in
    total: float  # the sum of the weights

    def sum(self, function: Callable[..., Sums], *arguments: Any) -> Sums:
        """Add up what ``function(X, target, weight, *arguments)`` returns for each block."""

    def softmax(self, W: Array, b: Array) -> Array | None:
        """Return the softmax of the logits of all rows, or None where that is too much to keep."""


class Memory:
    """Rows in the memory of this process, or mapped into it.

    A file mapped with another dtype than the one computed in is converted a block at a time.
    """

    def __init__(
        self,
        X: Array,
        target: Array,
        weight: Array | None,
        n_classes: int,
        dtype: Any,
        is_mapped: bool = False,
    ) -> None:
        self.X, self.target, self.weight, self._is_mapped = X, target, weight, is_mapped
        self.n_features, self.n_classes, self.dtype = X.shape[1], n_classes, dtype
        self.total = float(len(X) if weight is None else weight.sum(dtype=np.float64))

    def take(self, rows: Any) -> tuple[Array, Array, Array | None]:
        """Return inputs, targets and weights of some rows, the inputs in the dtype computed in."""
        weight = None if self.weight is None else self.weight[rows]
        return np.asarray(self.X[rows], self.dtype), self.target[rows], weight

    def sum(self, function: Callable[..., Sums], *arguments: Any) -> Sums:
        """Add up what the function returns for each block."""
        found: Sums | None = None
        for rows in spans_to_convert(self.X, self.dtype):
            part = function(*self.take(rows), *arguments)
            found = part if found is None else add(found, part)
        assert found is not None  # there is a row
        return found

    def softmax(self, W: Array, b: Array) -> Array | None:
        """Return the softmax of the logits of all rows, or None for those of a file."""
        if self._is_mapped or self.X.dtype != self.dtype:
            return None
        return smcore.softmax_layer(self.X, W, b)


def spans_to_convert(X: Array, dtype: Any) -> Iterator[slice]:
    """Yield all rows at once if they can stay where they are, else those to convert together."""
    step = len(X)
    if X.dtype != dtype:
        step = max(1, _READ // max(1, X.shape[1] * np.dtype(dtype).itemsize))
    for start in range(0, len(X), max(1, step)):
        yield slice(start, start + step)


def add(first: Sums, second: Sums) -> Sums:
    """Add two tuples of sums."""
    return tuple(a + b for a, b in zip(first, second, strict=True))


def loss_and_gradient(
    X: Array, target: Array, weight: Array | None, W: Array, b: Array
) -> tuple[float, Array, Array]:
    """Return the weighted sum of the losses of some rows, with its gradients by `W` and `b`."""
    losses, (_, dW, db) = smcore.linear_cross_entropy_with_grad(
        X, W, target, b, sample_weight=weight, reduction="none", wrt="Wb"
    )
    return float(losses.sum(dtype=np.float64)), dW, db


def hessian_product(
    X: Array,
    target: Array,
    weight: Array | None,
    W: Array,
    b: Array,
    V: Array,
    Vb: Array,
    s: Array | None,
) -> tuple[Array, Array | None]:
    """Return the Hessian of that sum times a direction; `s` is the softmax where it was kept."""
    return smcore.linear_cross_entropy_hvp(
        X, W, V, target, b, Vb, sample_weight=weight, reduction="sum", s=s
    )


class Objective:
    """The mean loss with its penalty, scaled as in scikit-learn, of all parameters as one vector.

    That is ``sum(w * loss) / sum(w) + ||W||**2 / (2 * C * sum(w))``. The vector holds the weights,
    ``(D, K)``, and then the intercepts, ``(K,)``. Of two classes the first has a logit of 0, and
    only the other one's parameters are free.

    Parameters
    ----------
    rows : Rows
        The data.
    penalty : float
        The factor of half the squared weights, ``1 / (C * sum(w))``.
    fit_intercept : bool
        Whether there are intercepts.
    """

    def __init__(self, rows: Rows, penalty: float, fit_intercept: bool) -> None:
        self.rows, self.penalty, self.has_intercept = rows, penalty, fit_intercept
        self._n_free = 1 if rows.n_classes == 2 else rows.n_classes
        self._known: tuple[Vector, float, Vector] | None = None
        self._softmax: tuple[Vector, Array | None] | None = None

    def on(self, rows: Rows) -> Objective:
        """Return the same of other rows, such as a batch."""
        return Objective(rows, self.penalty, self.has_intercept)

    @property
    def shape(self) -> tuple[int, int]:
        """That of the parameters: of weights, with a row for the intercepts if there are any."""
        return self.rows.n_features + self.has_intercept, self._n_free

    def value(self, parameters: Vector) -> tuple[float, Vector]:
        """Return the objective and its gradient; the last ones are remembered."""
        if self._known is None or not np.array_equal(self._known[0], parameters):
            loss, dW, db = self.rows.sum(loss_and_gradient, *self._layer(parameters))
            weights = self._weights(parameters)
            value = loss / self.rows.total + self.penalty / 2 * float(np.vdot(weights, weights))
            self._known = parameters.copy(), value, self._gathered(dW, db, weights)
        return self._known[1:]

    def hessian_product(self, parameters: Vector, direction: Vector) -> Vector:
        """Return the Hessian of the objective at some parameters, times a direction."""
        layer = self._layer(parameters)
        if self._softmax is None or not np.array_equal(self._softmax[0], parameters):
            self._softmax = parameters.copy(), self.rows.softmax(*layer)
        moved = self._layer(direction)
        HW, Hb = self.rows.sum(hessian_product, *layer, *moved, self._softmax[1])
        return self._gathered(HW, Hb, self._weights(direction))

    def _weights(self, parameters: Vector) -> Vector:
        return parameters.reshape(self.shape)[: self.rows.n_features]

    def _layer(self, parameters: Vector) -> tuple[Array, Array]:
        """Return weights and intercepts of all classes, in the dtype to compute in."""
        table = expand(parameters.reshape(self.shape).astype(self.rows.dtype))
        D = self.rows.n_features
        return table[:D], table[D] if self.has_intercept else np.zeros_like(table[0])

    def _gathered(self, dW: Array, db: Array, weights: Vector) -> Vector:
        """Return the gradient, or product, as one vector, with the penalty's share."""
        found = np.empty(self.shape)
        D = self.rows.n_features
        found[:D] = dW[:, -self._n_free :] / self.rows.total + self.penalty * weights
        if self.has_intercept:
            found[D] = db[-self._n_free :] / self.rows.total
        return found.ravel()


def expand(table: Array) -> Array:
    """Return a column for each class, ``(..., K)``: the first of two classes has zeros."""
    if table.shape[-1] != 1:
        return table
    return np.concatenate([np.zeros_like(table), table], axis=-1)
