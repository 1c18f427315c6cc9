"""The CPU time of softmax regression through smcore, beside scikit-learn's LogisticRegression.

The objective, the solvers and the rules by which they stop are the same: smcore computes the
gradient and the products with the Hessian, SciPy's L-BFGS-B or scikit-learn's own Newton-CG does
the rest. One thread each; the minimum over rounds in which both take turns.

    python benchmarks/logistic_regression.py [--rounds 5] [--sizes 20000,200,20 ...]
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from sklearn.linear_model import LogisticRegression
from sklearn.utils.optimize import _newton_cg  # private, but this is the algorithm to compare with
from threadpoolctl import threadpool_limits

import smcore

Array = NDArray[Any]
SIZES = ((20_000, 200, 20), (1797, 64, 10), (60_000, 784, 10))
SOLVERS = ("lbfgs", "newton-cg")
TOLERANCE, ITERATIONS = 1e-4, 100


class Problem:
    """The mean cross-entropy of the layer, and half of the squared weights times `l2`.

    The parameters are one vector: the weights, input by input, then the bias.
    """

    def __init__(self, X: Array, y: Array, classes: int, l2: float) -> None:
        self.X, self.y, self.l2 = X, y, l2
        self.shape = X.shape[1] + 1, classes

    def parts(self, parameters: Array) -> tuple[Array, Array]:
        """Return views of weights and bias."""
        both = parameters.reshape(self.shape)
        return both[:-1], both[-1]

    def together(self, dW: Array, db: Array, W: Array) -> Array:
        """Return one vector of derivatives, the penalty's added."""
        both = np.empty(self.shape)
        np.multiply(W, self.l2, out=both[:-1])
        both[:-1] += dW
        both[-1] = db
        return both.ravel()

    def loss(self, parameters: Array) -> float:
        """Return the objective."""
        W, b = self.parts(parameters)
        return float(smcore.linear_cross_entropy(self.X, W, self.y, b)) + self.penalty(W)

    def penalty(self, W: Array) -> float:
        """Return what the weights add to it."""
        return 0.5 * self.l2 * float(W.ravel() @ W.ravel())

    def with_gradient(self, parameters: Array) -> tuple[float, Array]:
        """Return the objective and its gradient."""
        W, b = self.parts(parameters)
        loss, (_, dW, db) = smcore.linear_cross_entropy_with_grad(self.X, W, self.y, b, wrt="Wb")
        return float(loss) + self.penalty(W), self.together(dW, db, W)

    def gradient(self, parameters: Array) -> Array:
        """Return the gradient alone."""
        return self.with_gradient(parameters)[1]

    def with_hessian(self, parameters: Array) -> tuple[Array, Callable[[Array], Array]]:
        """Return the gradient, and the function that multiplies by the Hessian."""
        W, b = self.parts(parameters)
        s = smcore.softmax_layer(self.X, W, b)

        def product(direction: Array) -> Array:
            V, Vb = self.parts(direction)
            HW, Hb = smcore.linear_cross_entropy_hvp(self.X, W, V, None, b, Vb, s=s)
            assert Hb is not None
            return self.together(HW, Hb, V)

        return self.gradient(parameters), product


def fit(solver: str, X: Array, y: Array, classes: int) -> tuple[Array, int]:
    """Return weights and bias in one matrix, and the number of iterations."""
    problem = Problem(X, y, classes, 1 / len(X))
    start = np.zeros(problem.shape).ravel()
    if solver == "lbfgs":
        options = {"maxiter": ITERATIONS, "maxls": 50, "gtol": TOLERANCE}
        options["ftol"] = 64 * np.finfo(float).eps
        found = minimize(problem.with_gradient, start, method="L-BFGS-B", jac=True, options=options)
        return found.x.reshape(problem.shape), int(found.nit)
    parameters, iterations = _newton_cg(
        problem.with_hessian,
        problem.loss,
        problem.gradient,
        start,
        maxiter=ITERATIONS,
        tol=TOLERANCE,
    )
    return parameters.reshape(problem.shape), iterations


def peer(solver: str, X: Array, y: Array, classes: int) -> tuple[Array, int]:
    """Return the same from scikit-learn."""
    model = LogisticRegression(solver=solver, tol=TOLERANCE, max_iter=ITERATIONS).fit(X, y)
    return np.vstack([model.coef_.T, model.intercept_]), int(model.n_iter_[0])


def draw(count: int, inputs: int, classes: int) -> tuple[Array, Array]:
    """Return inputs, and labels drawn from a softmax layer of them."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((count, inputs))
    z = X @ rng.standard_normal((inputs, classes)) * (2 / np.sqrt(inputs))
    return X, np.argmax(z + rng.gumbel(size=z.shape), axis=1)


def seconds(call: Callable[[], object]) -> float:
    """Return the CPU time of a call."""
    start = time.process_time()
    call()
    return time.process_time() - start


def report(solver: str, size: tuple[int, int, int], rounds: int) -> None:
    """Print a line of the table."""
    X, y = draw(*size)
    classes = size[2]
    (ours, steps), (theirs, their_steps) = (f(solver, X, y, classes) for f in (fit, peer))
    apart = np.abs(
        smcore.softmax(X @ ours[:-1] + ours[-1]) - smcore.softmax(X @ theirs[:-1] + theirs[-1])
    )
    times = [
        [seconds(lambda f=f: f(solver, X, y, classes)) for f in (fit, peer)] for _ in range(rounds)
    ]
    best, best_peer = np.min(times, axis=0)
    print(
        f"| {solver} | {size} | {best:.3f} | {best_peer:.3f} | {best / best_peer:.2f} | "
        f"{steps}, {their_steps} | {apart.max():.0e} |",
        flush=True,
    )


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--sizes", nargs="*", default=[",".join(map(str, s)) for s in SIZES])
    parser.add_argument("--solvers", nargs="*", default=list(SOLVERS), choices=SOLVERS)
    arguments = parser.parse_args()
    warnings.filterwarnings("ignore", module="sklearn|scipy")  # of iterations that are over
    print("| solver | N, D, K | smcore, s | scikit-learn, s | ratio | iterations | apart |")
    print("|---|---|---|---|---|---|---|")
    with threadpool_limits(1), smcore.set_num_threads(1):
        for text in arguments.sizes:
            count, inputs, classes = map(int, text.split(","))
            for solver in arguments.solvers:
                report(solver, (count, inputs, classes), arguments.rounds)


if __name__ == "__main__":
    main()
