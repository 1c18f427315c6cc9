"""How the objective is minimised: SciPy's L-BFGS and Newton-CG, or mini-batches."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
from scipy.optimize import OptimizeResult, minimize

from ._objective import Memory, Objective, Vector

__all__ = ["Found", "MiniBatches", "Report", "lbfgs", "newton_cg"]

Report: TypeAlias = Callable[[float, float], None]  # of an iteration: objective, largest gradient

_INNER = 200  # products with the Hessian for one direction
_BACKTRACKS = 30  # halvings of a step
_DECREASE = 1e-4  # the part of the decrease that the slope promises which is enough
_MOMENTUM = 0.9
_SQUARES = 0.999  # what Adam keeps of the mean of the squares
_PATIENCE = 5  # epochs without progress until the step is halved
_HALVINGS = 7  # of the step until there is no progress to be had


@dataclass(frozen=True)
class Found:
    """Where a solver ended."""

    parameters: Vector
    n_iter: int
    complaint: str  # why it has not converged; empty if it has


def lbfgs(objective: Objective, start: Vector, max_iter: int, tol: float, report: Report) -> Found:
    """Minimise by SciPy's L-BFGS, stopped as scikit-learn stops it."""

    def step(intermediate_result: OptimizeResult) -> None:
        value, gradient = objective.value(intermediate_result.x)
        report(value, float(np.abs(gradient).max()))

    options = {"maxiter": max_iter, "maxls": 50, "gtol": tol, "ftol": 64 * np.finfo(float).eps}
    options["maxfun"] = np.inf
    found = minimize(
        objective.value, start, method="L-BFGS-B", jac=True, options=options, callback=step
    )
    return Found(found.x, found.nit, "" if found.status == 0 else str(found.message))


def newton_cg(
    objective: Objective, start: Vector, max_iter: int, tol: float, report: Report
) -> Found:
    """Minimise by Newton's method, its systems solved by conjugate gradients, to the same `tol`.

    SciPy's Newton-CG takes a curvature below 7e-16 for none, whatever the length of the direction:
    near the optimum, where directions are short, it stands still.
    """
    parameters = start
    for iteration in range(max_iter + 1):
        value, gradient = objective.value(parameters)
        largest = float(np.abs(gradient).max())
        if iteration:
            report(value, largest)
        if largest <= tol:
            return Found(parameters, iteration, "")
        if iteration == max_iter:
            break
        direction = _newton_direction(objective, parameters, gradient)
        found = _line_search(objective, parameters, direction)
        if found is None:
            return Found(parameters, iteration, "the precision of the objective is exhausted")
        parameters = found
    return Found(parameters, max_iter, "max_iter is reached")


def _newton_direction(objective: Objective, parameters: Vector, gradient: Vector) -> Vector:
    """Solve ``H d = -gradient`` by conjugate gradients, the closer the smaller the gradient is."""
    size = float(np.abs(gradient).sum())
    limit = min(0.5, np.sqrt(size)) * size
    least = 16 * np.finfo(objective.rows.dtype).eps
    found, residual = np.zeros_like(gradient), gradient.copy()
    direction, squares = -residual, float(residual @ residual)
    for _ in range(_INNER):
        if np.abs(residual).sum() <= limit:
            break
        product = objective.hessian_product(parameters, direction)
        curvature = float(direction @ product)
        if curvature <= least * float(direction @ direction):  # flat, as far as can be told
            break
        found += squares / curvature * direction
        residual += squares / curvature * product
        before, squares = squares, float(residual @ residual)
        direction = squares / before * direction - residual
    return found if found.any() else -gradient


def _line_search(objective: Objective, parameters: Vector, direction: Vector) -> Vector | None:
    """Return the parameters after the whole step, or as much of it as improves the objective.

    Where rounding hides what the objective gains, the gradient must shrink.
    """
    value, gradient = objective.value(parameters)
    slope, noise = float(gradient @ direction), np.finfo(objective.rows.dtype).eps * abs(value)
    for halvings in range(_BACKTRACKS):
        trial = parameters + 0.5**halvings * direction
        new_value, new_gradient = objective.value(trial)
        if new_value <= value + _DECREASE * 0.5**halvings * slope:
            return trial
        if new_value - value <= 16 * noise and np.abs(new_gradient).sum() < np.abs(gradient).sum():
            return trial
    return None


def _batches(count: int, size: int, rng: np.random.RandomState | None) -> Iterator[Any]:
    """Yield the rows of each batch: runs, or indices in order, which is how files are read best."""
    order = None if rng is None else rng.permutation(count)
    for start in range(0, count, size):
        rows = slice(start, start + size)
        yield rows if order is None else np.sort(order[rows])


def _default_rate(solver: str, X: Any) -> float:
    """Return a step that suits inputs of this size: of the curvature's, or of a weight's scale."""
    size = 1 + float(np.mean(np.square(X, dtype=np.float64).sum(axis=1)))
    return 1.6 / size if solver == "sgd" else 0.2 / np.sqrt(size)


@dataclass
class MiniBatches:
    """Steps from batches of rows: plain with momentum ("sgd"), or Adam's.

    It holds what the next step depends on, so that ``partial_fit`` can go on from there.
    """

    solver: str
    batch_size: int
    rate: float | None  # None: by the size of the inputs of the first batch
    steps: int = 0
    velocity: Vector | None = None
    squares: Vector | None = field(default=None, repr=False)

    def epoch(
        self, objective: Objective, parameters: Vector, rng: np.random.RandomState | None
    ) -> tuple[Vector, float]:
        """Take a step for each batch, shuffled if there is a generator.

        Returns
        -------
        parameters : ndarray
            Those after the last step.
        value : float
            The objective, each batch judged before its step.

        Raises
        ------
        ValueError
            If the steps lead nowhere: they are too long.
        """
        rows, total = objective.rows, 0.0
        assert isinstance(rows, Memory)
        count = len(rows.target)
        mean_weight = rows.total / count
        for batch in _batches(count, self.batch_size, rng):
            if self.rate is None:
                self.rate = _default_rate(self.solver, rows.take(batch)[0])
            part = Memory(*rows.take(batch), rows.n_classes, rows.dtype)
            part.total = len(part.target) * mean_weight  # so that a batch's mean is unbiased
            value, gradient = objective.on(part).value(parameters)
            total += value * len(part.target) / count
            parameters = parameters - self.step(gradient)
        if not (np.isfinite(total) and np.isfinite(parameters).all()):
            raise ValueError(
                f"the objective is not finite with learning_rate {self.rate:.1e}: "
                "standardise X, or give a smaller one"
            )
        return parameters, total

    def step(self, gradient: Vector) -> Vector:
        """Return what to take from the parameters."""
        assert self.rate is not None
        if self.velocity is None or self.squares is None:
            self.velocity, self.squares = np.zeros_like(gradient), np.zeros_like(gradient)
        self.steps += 1
        if self.solver == "sgd":
            self.velocity = _MOMENTUM * self.velocity + self.rate * gradient
            return self.velocity
        self.velocity = _MOMENTUM * self.velocity + (1 - _MOMENTUM) * gradient
        self.squares = _SQUARES * self.squares + (1 - _SQUARES) * gradient**2
        mean = self.velocity / (1 - _MOMENTUM**self.steps)
        spread = np.sqrt(self.squares / (1 - _SQUARES**self.steps))
        return self.rate * mean / (spread + 1e-8)

    def minimise(
        self,
        objective: Objective,
        start: Vector,
        max_iter: int,
        tol: float,
        report: Report,
        rng: np.random.RandomState,
    ) -> Found:
        """Minimise in epochs. Some without progress by `tol` halve the step; seven times is all."""
        parameters, best, since, halvings = start, np.inf, 0, 0
        for epoch in range(1, max_iter + 1):
            parameters, value = self.epoch(objective, parameters, rng)
            report(value, float("nan"))
            since = 0 if value < best - tol else since + 1
            best = min(best, value)
            if since == _PATIENCE:
                since, halvings = 0, halvings + 1
                self.rate = (self.rate or 0.0) / 2
            if halvings == _HALVINGS:
                return Found(parameters, epoch, "")
        return Found(parameters, max_iter, f"the objective still falls in epoch {max_iter}")
