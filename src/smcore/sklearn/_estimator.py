"""The estimator."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_random_state
from sklearn.utils.metaestimators import available_if

from ._base import Classifier
from ._data import (
    check_parameters,
    checked_inputs,
    classes_of,
    encoded,
    given_classes,
    is_dask,
    labels_or_probabilities,
    row_weights,
    weights_in,
)
from ._objective import Memory, Objective, Rows, Vector
from ._predictions import Predictions
from ._progress import Progress
from ._solvers import Found, MiniBatches, Report, lbfgs, newton_cg

__all__ = ["SoftmaxRegression"]

Array = NDArray[Any]


def _takes_batches(estimator: Any) -> bool:
    if estimator.solver in ("sgd", "adam"):
        return True
    raise AttributeError(
        f"partial_fit needs solver='sgd' or 'adam', which go by batches; found {estimator.solver!r}"
    )


class SoftmaxRegression(Predictions, Classifier):
    r"""Multinomial logistic regression with an L2 penalty, exact, through smcore's kernels.

    Its parameters and attributes are named as those of `sklearn.linear_model.LogisticRegression`,
    and the model is the same: so are the objective, its scale, what `tol` means, and the optimum.

    Parameters
    ----------
    C : float, default 1.0
        The inverse of the strength of the penalty; inf for none.
    fit_intercept : bool, default True
        Whether there are intercepts. They are not penalised.
    class_weight : dict or "balanced", optional
        Factors for the rows of each class, ``{label: factor}``; "balanced" divides by how frequent
        a class is. None: all are one. Not for probabilities.
    solver : {"lbfgs", "newton-cg", "sgd", "adam"}, default "lbfgs"
        SciPy's L-BFGS, or its Newton-CG with products of the exact Hessian: both find the optimum.
        Or steps from shuffled mini-batches, with momentum or Adam's, which get close to it.
    max_iter : int, default 100
        At most so many iterations; of mini-batches, epochs.
    tol : float, default 1e-4
        The first two stop when no entry of the gradient is larger. Mini-batches: an epoch makes
        progress if it lowers the objective by more; three without halve the step, and seven
        halvings are the end.
    batch_size : int, default 256
        Rows of a mini-batch.
    learning_rate : float, optional
        The first step of mini-batches. By default it is chosen by the size of the inputs.
    warm_start : bool, default False
        Whether `fit` starts from the coefficients that there are.
    random_state : int or RandomState, optional
        What shuffles the rows for mini-batches. The other solvers draw nothing.
    verbose : int, default 0
        Not 0: show progress on standard error, with rich if it is installed.

    Attributes
    ----------
    classes_ : ndarray, shape (K,)
        The labels in order; for probabilities the numbers of the columns.
    coef_ : ndarray, shape (K, D), or (1, D) for two classes
        The weights, in the dtype computed in. Two classes have one logit, as everywhere in
        scikit-learn: that of ``classes_[1]``, where the one of ``classes_[0]`` is 0.
    intercept_ : ndarray, shape (K,), or (1,) for two classes
        The intercepts; zeros without.
    n_iter_ : ndarray, shape (1,)
        How many iterations, or epochs, there were.
    n_features_in_ : int
        D, the number of features.
    feature_names_in_ : ndarray, shape (D,)
        Their names, where all columns of X had one that is a string.
    loss_curve_ : list of float
        The objective after each iteration; of an epoch, its mean over the batches before their
        steps.

    See Also
    --------
    smcore.linear_cross_entropy_with_grad : The loss and its gradients.
    smcore.linear_cross_entropy_hvp : The products with the Hessian.

    Notes
    -----
    With weights :math:`w_n` of the rows, :math:`S = \sum_n w_n` and :math:`\ell_n` the
    cross-entropy of a row, the objective is

    .. math:: \frac{1}{S} \sum_n w_n \ell_n + \frac{1}{2 C S} \lVert W \rVert^2.

    float32 inputs are computed in float32, all others in float64. Files mapped by `numpy.memmap`
    stay where they are, also those of other dtypes, which are converted some rows at a time. Sparse
    inputs are refused. Dask arrays, in chunks of rows, are fitted where they lie: each value of the
    objective is one graph, whose sums are added up in a tree on the workers. Persist them before,
    if the workers can hold them; each evaluation reads them once.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from smcore.sklearn import SoftmaxRegression
    >>> X, y = load_iris(return_X_y=True)
    >>> model = SoftmaxRegression(max_iter=200).fit(X, y)
    >>> model.predict(X[:2])
    array([0, 0])
    >>> model.predict_proba(X[:2]).round(2)
    array([[0.98, 0.02, 0.  ],
           [0.97, 0.03, 0.  ]])
    >>> round(model.score(X, y), 2)
    0.97
    """

    coef_: Array
    intercept_: Array
    classes_: Array
    n_features_in_: int
    n_iter_: NDArray[np.int32]
    loss_curve_: list[float]

    def __init__(
        self,
        *,
        C: float = 1.0,
        fit_intercept: bool = True,
        class_weight: dict[Any, float] | str | None = None,
        solver: str = "lbfgs",
        max_iter: int = 100,
        tol: float = 1e-4,
        batch_size: int = 256,
        learning_rate: float | None = None,
        warm_start: bool = False,
        random_state: int | np.random.RandomState | None = None,
        verbose: int = 0,
    ) -> None:
        self.C = C
        self.fit_intercept = fit_intercept
        self.class_weight = class_weight
        self.solver = solver
        self.max_iter = max_iter
        self.tol = tol
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.warm_start = warm_start
        self.random_state = random_state
        self.verbose = verbose

    def fit(
        self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None
    ) -> SoftmaxRegression:
        """Fit the model.

        Parameters
        ----------
        X : array_like, shape (N, D)
            The inputs; a dense array, a mapped file, or a Dask array.
        y : array_like, shape (N,) or (N, K)
            A label for each row, or the probability of each class, in floats.
        sample_weight : array_like, shape (N,), optional
            A factor for each row, at least 0. A row of weight 0 takes no part.

        Returns
        -------
        SoftmaxRegression
            Itself, fitted.

        Raises
        ------
        TypeError
            If X is sparse.
        ValueError
            If a parameter or an argument is not what it may be: the message says which.

        Warns
        -----
        sklearn.exceptions.ConvergenceWarning
            If the solver stops before it has converged.
        """
        check_parameters(self)
        if is_dask(X, y, sample_weight):
            from ._dask import cluster_rows

            rows, self.classes_ = cluster_rows(X, y, sample_weight, self.class_weight)
            self.n_features_in_ = rows.n_features
        else:
            rows = self._rows(X, y, sample_weight)
        known = getattr(self, "coef_", None)
        start = self._start(rows) if self.warm_start and known is not None else None
        objective = Objective(rows, 1 / (self.C * rows.total), self.fit_intercept)
        self.loss_curve_ = []
        with Progress(f"SoftmaxRegression, {self.solver}", self.max_iter, self.verbose) as progress:

            def report(value: float, largest: float) -> None:
                self.loss_curve_.append(value)
                gradient = "" if np.isnan(largest) else f", gradient at most {largest:.1e}"
                progress.advance(f"loss {value:.6f}{gradient}")

            with np.errstate(all="ignore"):  # what cannot be computed is reported below
                found = self._minimised(objective, start, report)
        self._keep(found.parameters, objective)
        self.n_iter_ = np.array([found.n_iter], dtype=np.int32)
        self._seen = rows.total
        if found.complaint:
            warnings.warn(
                f"{self.solver} has not converged in {found.n_iter} iterations "
                f"({found.complaint}): standardise X, or raise max_iter or tol",
                ConvergenceWarning,
                stacklevel=2,
            )
        return self

    def _rows(
        self, X: Any, y: Any, sample_weight: Any, classes: Array | None = None, reset: bool = True
    ) -> Memory:
        """Return data in memory, checked. The classes are those in `y`, unless they are given."""
        is_mapped = isinstance(X, np.memmap)
        X = checked_inputs(self, X, reset=reset)
        y = labels_or_probabilities(X, y)
        self.classes_ = classes_of(y) if classes is None else classes
        weight = row_weights(y, self.classes_, sample_weight, self.class_weight)
        if y.ndim == 2 and y.shape[1] != len(self.classes_):
            raise ValueError(
                f"y must have {len(self.classes_)} columns, one for each class; found {y.shape[1]}"
            )
        dtype = X.dtype if X.dtype in (np.float32, np.float64) else np.dtype(np.float64)
        if weight is not None:
            weight = weights_in(dtype, weight)
        target = encoded(y, self.classes_)
        return Memory(X, target, weight, len(self.classes_), dtype, is_mapped)

    def _start(self, rows: Rows) -> Vector:
        """Return the parameters that there are, if they suit the data."""
        n_free = 1 if rows.n_classes == 2 else rows.n_classes
        if self.coef_.shape != (n_free, rows.n_features):
            raise ValueError(
                f"warm_start needs coef_ of shape {(n_free, rows.n_features)}, as the data has "
                f"it; found {self.coef_.shape}"
            )
        table = [self.coef_.T, self.intercept_[np.newaxis]][: 1 + self.fit_intercept]
        return np.concatenate(table).astype(np.float64).ravel()

    def _minimised(self, objective: Objective, start: Vector | None, report: Report) -> Found:
        if start is None:
            start = np.zeros(objective.shape).ravel()
        how = start, self.max_iter, self.tol, report
        self._batches = None
        if self.solver == "lbfgs":
            return lbfgs(objective, *how)
        if self.solver == "newton-cg":
            return newton_cg(objective, *how)
        if not isinstance(objective.rows, Memory):
            raise ValueError(
                f"solver must be 'lbfgs' or 'newton-cg' for Dask arrays; found {self.solver!r}"
            )
        self._batches = self._new_batches()
        return self._batches.minimise(objective, *how, check_random_state(self.random_state))

    def _new_batches(self) -> MiniBatches:
        return MiniBatches(self.solver, self.batch_size, self.learning_rate)

    def _keep(self, parameters: Vector, objective: Objective) -> None:
        """Take parameters over into the attributes."""
        table = parameters.reshape(objective.shape).astype(objective.rows.dtype)
        D = objective.rows.n_features
        self.coef_ = np.ascontiguousarray(table[:D].T)
        self.intercept_ = table[D].copy() if self.fit_intercept else np.zeros_like(table[0])

    @available_if(_takes_batches)  # type: ignore[untyped-decorator]
    def partial_fit(
        self,
        X: ArrayLike,
        y: ArrayLike,
        classes: ArrayLike | None = None,
        sample_weight: ArrayLike | None = None,
    ) -> SoftmaxRegression:
        """Go on from the coefficients that there are, by one epoch over these rows.

        The penalty is that of all rows seen so far.

        Parameters
        ----------
        X : array_like, shape (N, D)
            The inputs.
        y : array_like, shape (N,) or (N, K)
            A label for each row, or the probability of each class, in floats.
        classes : array_like, shape (K,), optional
            All labels that there will ever be. Needed in the first call, unless `y` holds
            probabilities.
        sample_weight : array_like, shape (N,), optional
            A factor for each row, at least 0.

        Returns
        -------
        SoftmaxRegression
            Itself.

        Raises
        ------
        AttributeError
            If the solver does not go by mini-batches.
        ValueError
            If an argument is not what it may be, or `classes` are others than before.
        """
        check_parameters(self)
        if is_dask(X, y, sample_weight):
            raise ValueError("partial_fit takes arrays in memory; found Dask arrays: use fit")
        if self.class_weight == "balanced":
            raise ValueError("class_weight must not be 'balanced' in partial_fit: give factors")
        is_first = not hasattr(self, "coef_")
        known = None if is_first else self.classes_
        found = given_classes(y, classes, known)
        rows = self._rows(X, y, sample_weight, found, reset=is_first)
        self._seen = (0.0 if is_first else self._seen) + rows.total
        objective = Objective(rows, 1 / (self.C * self._seen), self.fit_intercept)
        start = np.zeros(objective.shape).ravel() if is_first else self._start(rows)
        if is_first or self._batches is None or self._batches.solver != self.solver:
            self._batches = self._new_batches()
        rng = check_random_state(self.random_state)
        with np.errstate(all="ignore"):
            parameters, value = self._batches.epoch(objective, start, rng)
        self._keep(parameters, objective)
        self.loss_curve_ = [*getattr(self, "loss_curve_", []), value]
        self.n_iter_ = getattr(self, "n_iter_", np.zeros(1, np.int32)) + 1
        return self
