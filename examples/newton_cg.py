"""Multinomial logistic regression on the handwritten digits of scikit-learn, by Newton's method.

    python examples/newton_cg.py
    python examples/newton_cg.py --C 100 --tol 1e-6

Each Newton step is solved by conjugate gradients (SciPy's newton-cg), which need the product of the
Hessian with a direction, never the Hessian: `linear_cross_entropy_hvp`. The loss is that of
scikit-learn's LogisticRegression(solver="newton-cg"), which runs beside it on the same data: the
mean cross-entropy and a penalty on the weights. Needs scikit-learn, which brings SciPy and
threadpoolctl: the extra [demo].
"""

from __future__ import annotations

import argparse
import time

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from threadpoolctl import threadpool_limits

import smcore

Array = NDArray[np.float64]


class Objective:
    """mean cross-entropy + ||W||² / (2 C N), of the parameters as one vector: W, then b."""

    def __init__(self, X: Array, y: NDArray[np.int64], classes: int, C: float) -> None:
        self.X, self.y = X, y
        self.shape = (X.shape[1], classes)
        self.penalty = 1 / (C * len(X))

    def unpack(self, parameters: Array) -> tuple[Array, Array]:
        classes = self.shape[1]
        return parameters[:-classes].reshape(self.shape), parameters[-classes:]

    def value_and_gradient(self, parameters: Array) -> tuple[float, Array]:
        W, b = self.unpack(parameters)
        loss, (_, dW, db) = smcore.linear_cross_entropy_with_grad(self.X, W, self.y, b)
        dW += self.penalty * W
        return float(loss + self.penalty / 2 * np.vdot(W, W)), np.append(dW, db)

    def hessian_product(self, parameters: Array, direction: Array) -> Array:
        W, b = self.unpack(parameters)
        V, Vb = self.unpack(direction)
        HW, Hb = smcore.linear_cross_entropy_hvp(self.X, W, V, self.y, b, Vb)
        return np.append(HW + self.penalty * V, Hb)


def main() -> None:
    """Fit both, and compare loss, coefficients and time."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--C", type=float, default=1.0, help="inverse of the penalty (default: 1)")
    parser.add_argument("--tol", type=float, default=1e-8, help="tolerance (default: 1e-8)")
    args = parser.parse_args()

    X, y = load_digits(return_X_y=True)
    X = X / 16
    objective = Objective(X, y, 10, args.C)

    start = time.perf_counter()
    result = minimize(
        objective.value_and_gradient,
        np.zeros((X.shape[1] + 1) * 10),
        jac=True,
        hessp=objective.hessian_product,
        method="newton-cg",
        options={"xtol": args.tol},
    )
    ours = time.perf_counter() - start

    start = time.perf_counter()
    peer = LogisticRegression(solver="newton-cg", C=args.C, tol=args.tol, max_iter=1000).fit(X, y)
    theirs = time.perf_counter() - start

    W, b = objective.unpack(result.x)
    table = {
        "smcore, SciPy": (W, b, ours),
        "scikit-learn": (peer.coef_.T, peer.intercept_, theirs),
    }
    print(f"{'newton-cg of':16} {'loss':>18} {'|gradient|':>11} {'accuracy':>9} {'time':>9}")
    losses = []
    for name, (weights, bias, seconds) in table.items():
        loss, gradient = objective.value_and_gradient(np.append(weights, bias))
        losses.append(loss)
        accuracy = np.mean((X @ weights + bias).argmax(axis=1) == y)
        size, milliseconds = abs(gradient).max(), seconds * 1e3
        print(f"{name:16} {loss:18.15f} {size:11.1e} {accuracy:9.2%} {milliseconds:6.0f} ms")
    difference = abs(W - peer.coef_.T).max()
    print(f"{result.nit} Newton steps, {result.nhev} products with the Hessian")
    print(f"largest difference of the weights: {difference:.1e}")
    if abs(losses[0] - losses[1]) > 1e-6:
        raise SystemExit("the two do not agree")


if __name__ == "__main__":
    # Matrices as small as these are multiplied fastest by one thread.
    with threadpool_limits(1):
        main()
