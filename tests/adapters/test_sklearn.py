"""smcore.sklearn: scikit-learn's optimum and conventions, from arrays, mapped files and Dask."""

from __future__ import annotations

import pickle
import subprocess
import sys
import tracemalloc

import numpy as np
import pytest

pytest.importorskip("sklearn")
pytest.importorskip("scipy")

from scipy.sparse import csr_matrix
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.datasets import load_digits, load_iris
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks
from threadpoolctl import threadpool_limits

import smcore.sklearn._objective
from smcore.sklearn import SoftmaxRegression
from smcore.sklearn._objective import Memory, Objective

rng = np.random.default_rng(3)
X, Y = load_iris(return_X_y=True)
X = (X - X.mean(axis=0)) / X.std(axis=0)
WEIGHTS = rng.random(len(X))
WEIGHTS[::7] = 0
TIGHT = {"tol": 1e-9, "max_iter": 1000}


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """Threads of BLAS and OpenMP that wait for each other would take longer than the tests."""
    with threadpool_limits(1):
        yield


@parametrize_with_checks(
    [SoftmaxRegression(), SoftmaxRegression(solver="newton-cg"), SoftmaxRegression(solver="adam")],
    expected_failed_checks=lambda estimator: (
        {"check_sample_weight_equivalence_on_dense_data": "batches of other rows"}
        if estimator.solver == "adam"
        else {}
    ),
)
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_conventions(estimator, check):
    check(estimator)


# ---- the optimum


def twins(**parameters):
    return LogisticRegression(**parameters), SoftmaxRegression(**parameters)


@pytest.mark.parametrize("solver", ["lbfgs", "newton-cg"])
@pytest.mark.parametrize("fit_intercept", [True, False])
@pytest.mark.parametrize("labels", [Y, Y > 0, np.array(["b", "c", "a"])[Y]], ids=["3", "2", "str"])
def test_the_optimum_is_that_of_scikit_learn(labels, fit_intercept, solver):
    theirs, ours = twins(solver=solver, fit_intercept=fit_intercept, C=0.7, **TIGHT)
    theirs.fit(X, labels, WEIGHTS)
    assert ours.fit(X, labels, WEIGHTS) is ours
    np.testing.assert_allclose(ours.predict_proba(X), theirs.predict_proba(X), atol=1e-6, rtol=0)
    assert (ours.classes_ == theirs.classes_).all()
    assert (ours.predict(X) == theirs.predict(X)).all()
    for name in ("coef_", "intercept_", "n_iter_"):
        assert getattr(ours, name).shape == getattr(theirs, name).shape
    decision = ours.decision_function(X)
    assert decision.shape == theirs.decision_function(X).shape
    np.testing.assert_allclose(decision, theirs.decision_function(X), atol=1e-4)
    np.testing.assert_allclose(ours.predict_log_proba(X), np.log(ours.predict_proba(X)), rtol=1e-9)
    assert len(ours.loss_curve_) == ours.n_iter_[0] > 1
    assert ours.loss_curve_[-1] < ours.loss_curve_[0]


@pytest.mark.parametrize("C", [1e-3, 1e3, np.inf])
@pytest.mark.parametrize("class_weight", [None, "balanced", {0: 2.0, 2: 0.5}])
def test_penalty_and_class_weights_mean_the_same(C, class_weight):
    labels = np.maximum(Y, 1) if np.isinf(C) else Y  # classes that no plane separates
    labels = np.where(rng.random(len(X)) < 0.1, 0, labels)
    theirs, ours = twins(C=C, class_weight=class_weight, solver="newton-cg", **TIGHT)
    one, other = (model.fit(X, labels).predict_proba(X) for model in (theirs, ours))
    np.testing.assert_allclose(other, one, atol=1e-6)


@pytest.mark.parametrize("solver", ["lbfgs", "newton-cg"])
def test_tol_means_the_same(solver):
    X, y = (a[:600] for a in load_digits(return_X_y=True))
    theirs, ours = (model.fit(X / 16, y) for model in twins(solver=solver))
    assert abs(int(theirs.n_iter_[0]) - int(ours.n_iter_[0])) <= 3
    if solver == "lbfgs":  # the same steps, but for rounding
        np.testing.assert_allclose(ours.coef_, theirs.coef_, atol=1e-6)


def formula(parameters, X, target, weights, C):
    """The objective of K classes with intercepts, by the book."""
    z = X @ parameters[:-1] + parameters[-1]
    z -= z.max(axis=1, keepdims=True)
    losses = -(target * (z - np.log(np.exp(z).sum(axis=1, keepdims=True)))).sum(axis=1)
    penalty = (parameters[:-1] ** 2).sum() / (2 * C * weights.sum())
    return (weights * losses).sum() / weights.sum() + penalty


@pytest.mark.parametrize("blocks", ["one", "many"])
@pytest.mark.parametrize("has_labels", [True, False])
def test_the_objective_and_its_derivatives(has_labels, blocks, monkeypatch):
    if blocks == "many":
        monkeypatch.setattr(smcore.sklearn._objective, "_READ", 1000)
    soft = np.eye(3)[Y] if has_labels else rng.dirichlet(np.ones(3), len(X))
    mapped = (100 * X).astype(np.int16) if blocks == "many" else X  # converted block by block
    target = Y if has_labels else soft
    rows = Memory(mapped, target, WEIGHTS, 3, np.dtype(np.float64))
    objective = Objective(rows, 1 / (0.3 * rows.total), True)
    parameters, direction = rng.normal(size=(2, 5, 3)) / (100 if blocks == "many" else 1)

    def value(p):
        return formula(p, mapped.astype(float), soft, WEIGHTS, 0.3)

    found, gradient = objective.value(parameters.ravel())
    assert found == pytest.approx(value(parameters), rel=1e-13)
    h = 1e-6
    slope = (value(parameters + h * direction) - value(parameters - h * direction)) / (2 * h)
    assert gradient @ direction.ravel() == pytest.approx(slope, rel=1e-6)
    moved = [objective.value((parameters + s * h * direction).ravel())[1] for s in (1, -1)]
    product = objective.hessian_product(parameters.ravel(), direction.ravel())
    difference = (moved[0] - moved[1]) / (2 * h)
    np.testing.assert_allclose(product, difference, rtol=1e-5, atol=1e-7 * np.abs(product).max())


def test_float32_stays_float32():
    model = SoftmaxRegression().fit(X.astype(np.float32), Y)
    assert model.coef_.dtype == model.intercept_.dtype == np.float32
    small = X[:5].astype(np.float32)
    assert model.predict_proba(small).dtype == model.predict_log_proba(small).dtype == np.float32
    assert model.predict_proba(X[:5]).dtype == np.float64
    exact = SoftmaxRegression().fit(X, Y)
    np.testing.assert_allclose(model.predict_proba(X), exact.predict_proba(X), atol=2e-3)


def test_the_tail_is_kept():
    model = SoftmaxRegression(C=1e6, max_iter=1000).fit(X[Y < 2], Y[Y < 2])
    far = model.predict_log_proba(1e4 * X[:1])
    assert far[0, 1] < -1000 and np.isfinite(far).all() and far[0, 0] == 0
    near = model.predict_log_proba(X[:1])
    s = model.predict_proba(X[:1])
    np.testing.assert_allclose(near[0, 0], np.log1p(-s[0, 1]), rtol=1e-12)
    assert near[0, 0] != 0


# ---- labels and weights


@pytest.mark.parametrize("solver", ["lbfgs", "newton-cg"])
def test_probabilities_weigh_as_repeated_rows_do(solver):
    soft = rng.dirichlet(np.ones(3), len(X))
    model = SoftmaxRegression(solver=solver, **TIGHT)
    from_soft = clone(model).fit(X, soft, WEIGHTS)
    assert from_soft.classes_.tolist() == [0, 1, 2]
    repeated = clone(model).fit(
        np.repeat(X, 3, axis=0), np.tile([0, 1, 2], len(X)), (soft * WEIGHTS[:, None]).ravel()
    )
    np.testing.assert_allclose(from_soft.predict_proba(X), repeated.predict_proba(X), atol=1e-6)
    assert from_soft.score(X, soft) == np.mean(from_soft.predict(X) == soft.argmax(axis=1))


def test_two_columns_are_two_classes():
    p = rng.random(len(X))
    soft = np.stack([1 - p, p], axis=1)
    model = SoftmaxRegression(**TIGHT).fit(X, soft)
    assert model.coef_.shape == (1, 4)
    twice = LogisticRegression(**TIGHT).fit(
        np.repeat(X, 2, axis=0), np.tile([0, 1], len(X)), soft.ravel()
    )
    np.testing.assert_allclose(model.predict_proba(X), twice.predict_proba(X), atol=1e-6)


def test_a_row_of_weight_zero_takes_no_part():
    kept = WEIGHTS > 0
    wild = np.where(kept[:, None], X, 1e30)
    for solver in ("lbfgs", "newton-cg"):
        one = SoftmaxRegression(solver=solver, **TIGHT).fit(wild, Y, WEIGHTS)
        other = SoftmaxRegression(solver=solver, **TIGHT).fit(X[kept], Y[kept], WEIGHTS[kept])
        np.testing.assert_allclose(one.coef_, other.coef_, rtol=1e-5, atol=1e-7)


# ---- warm starts and batches


@pytest.mark.parametrize("solver", ["lbfgs", "newton-cg", "adam"])
def test_a_warm_start_goes_on(solver):
    model = SoftmaxRegression(solver=solver, warm_start=True, random_state=0, max_iter=300)
    model.fit(X, Y)
    first = model.n_iter_[0]
    model.fit(X, Y)
    assert model.n_iter_[0] <= first / 2 + (20 if solver == "adam" else 0)
    with pytest.raises(ValueError, match=r"coef_ of shape \(3, 2\), .*found \(3, 4\)"):
        model.fit(X[:, :2], Y)


@pytest.mark.parametrize("solver", ["sgd", "adam"])
def test_batches_come_close(solver):
    exact = SoftmaxRegression(**TIGHT).fit(X, Y, WEIGHTS)
    model = SoftmaxRegression(
        solver=solver, batch_size=32, max_iter=2000, tol=1e-5, random_state=0
    ).fit(X, Y, WEIGHTS)
    rows = Memory(X, Y, WEIGHTS, 3, np.dtype(np.float64))
    objective = Objective(rows, 1 / rows.total, True)
    table = np.concatenate([model.coef_.T, model.intercept_[None]]).ravel()
    assert objective.value(table)[0] < exact.loss_curve_[-1] + 3e-3
    assert np.abs(model.predict_proba(X) - exact.predict_proba(X)).mean() < 0.02
    again = clone(model).fit(X, Y, WEIGHTS)
    assert (again.coef_ == model.coef_).all()


def test_partial_fit_takes_one_step_a_batch():
    model = SoftmaxRegression(solver="sgd", batch_size=len(X), learning_rate=0.1)
    model.partial_fit(X, Y, [0, 1, 2], WEIGHTS)
    rows = Memory(X, Y, WEIGHTS, 3, np.dtype(np.float64))
    gradient = Objective(rows, 1 / rows.total, True).value(np.zeros(15))[1].reshape(5, 3)
    np.testing.assert_allclose(model.coef_, -0.1 * gradient[:4].T, atol=1e-12)
    np.testing.assert_allclose(model.intercept_, -0.1 * gradient[4], atol=1e-12)
    assert model.n_iter_.tolist() == [1] and len(model.loss_curve_) == 1
    assert model.loss_curve_[0] == pytest.approx(np.log(3))


def test_partial_fit_of_a_stream():
    model = SoftmaxRegression(solver="adam", batch_size=10, random_state=0)
    order = rng.permutation(len(X))
    for _ in range(20):
        for start in range(0, len(X), 50):
            part = order[start : start + 50]
            model.partial_fit(X[part], Y[part], classes=[2, 1, 0])
    assert model.score(X, Y) > 0.93
    model.partial_fit(X[:3], Y[:3])  # of one class, which is known
    with pytest.raises(ValueError, match="classes must be those of before"):
        model.partial_fit(X, Y, classes=[0, 1])
    with pytest.raises(ValueError, match=r"labels of classes only; found .*7"):
        model.partial_fit(X[:2], [0, 7])
    with pytest.raises(ValueError, match="classes must be given in the first call"):
        clone(model).partial_fit(X, Y)
    with pytest.raises(ValueError, match="3 columns"):
        model.partial_fit(X, np.eye(4)[Y])
    assert clone(model).partial_fit(X, np.eye(3)[Y]).classes_.tolist() == [0, 1, 2]
    with pytest.raises(ValueError, match="'balanced'"):
        clone(model).set_params(class_weight="balanced").partial_fit(X, Y, [0, 1, 2])
    assert not hasattr(SoftmaxRegression(), "partial_fit")


# ---- where inputs are


@pytest.mark.parametrize("dtype", ["f4", "f8", "u1", "i2", "f2", ">f8"])
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_mapped_files_stay_where_they_are(dtype, tmp_path, monkeypatch):
    monkeypatch.setattr(smcore.sklearn._objective, "_READ", 1 << 18)
    data = rng.integers(0, 200, (20_000, 30)).astype(dtype)
    labels = (data[:, 0] > data[:, 1]).astype(int) + (data[:, 2] > 100)
    mapped = np.memmap(tmp_path / "X", dtype, "w+", shape=data.shape)
    mapped[:] = data
    model = SoftmaxRegression(max_iter=5, solver="newton-cg")
    tracemalloc.start()
    try:
        model.fit(mapped, labels)
        model.predict_proba(mapped)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 0.8 * data.size * 8  # a copy alone would take more
    whole = clone(model).fit(data.astype("f4" if dtype == "f4" else "f8"), labels)
    assert model.coef_.dtype == whole.coef_.dtype
    tolerance = 1e-3 if dtype == "f4" else 1e-9
    np.testing.assert_allclose(model.coef_, whole.coef_, rtol=tolerance, atol=1e-6)
    assert (model.predict(mapped[:50]) == model.predict(data[:50])).all()
    SoftmaxRegression(solver="adam", max_iter=1).fit(mapped, labels)


def test_sparse_inputs_are_refused():
    with pytest.raises(TypeError, match=r"[Ss]parse.*dense"):
        SoftmaxRegression().fit(csr_matrix(X), Y)


# ---- errors


@pytest.mark.parametrize(
    ("parameter", "value"),
    [
        ("C", 0),
        ("C", "1"),
        ("C", np.nan),
        ("tol", -1),
        ("max_iter", 0),
        ("max_iter", 1.5),
        ("solver", "saga"),
        ("batch_size", 0),
        ("learning_rate", np.inf),
        ("class_weight", "even"),
        ("class_weight", {0: -1.0}),
        ("fit_intercept", "no"),
    ],
)
def test_a_wrong_parameter_is_named(parameter, value):
    with pytest.raises(ValueError, match=f"{parameter}.*{value}"):
        SoftmaxRegression(**{parameter: value}).fit(X, Y)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((X, np.eye(3, dtype=int)[Y]), r"y .*shape \(150, 3\) of int64: pass y.argmax"),
        ((X, np.full((150, 3), 0.5)), "sum to 1 in each row; found .* in row 0"),
        ((X, np.array([[-0.5, 1.5]] * 150)), "none negative"),
        ((X, np.where(np.eye(3)[Y] > 0, np.nan, 0)), "y contains NaN"),
        ((X, np.zeros(150)), "at least 2 classes"),
        ((X, X[:, 0]), "continuous"),
        ((X, Y, -WEIGHTS), "sample_weight must not be negative"),
        ((X, Y, WEIGHTS[:3]), r"sample_weight must have shape \(150,\)"),
        ((X, Y, 0 * WEIGHTS), "sample_weight must not be zero for all"),
        ((X, Y, np.full(len(Y), 1e308)), r"sample_weight must have a finite sum; found 1e\+308"),
        ((X.astype("f4"), Y, np.full(len(Y), 1e39)), "in the range of float32; found 1e.39"),
        ((X.astype("f4"), Y, np.full(len(Y), 1e-50)), "in the range of float32; found 1e-50"),
        ((X, Y, WEIGHTS * np.nan), "sample_weight contains NaN"),
        ((X[:9], Y), "inconsistent"),
        ((X * np.nan, Y), "X contains NaN"),
    ],
)
def test_a_wrong_argument_is_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        SoftmaxRegression().fit(*arguments)


def test_class_weights_are_for_labels():
    with pytest.raises(ValueError, match="class_weight must be None where y holds probabilities"):
        SoftmaxRegression(class_weight="balanced").fit(X, np.eye(3)[Y])


def test_a_fit_that_ends_early_says_so():
    for solver in ("lbfgs", "newton-cg", "sgd"):
        with pytest.warns(ConvergenceWarning, match=f"{solver} has not converged in 2 iter"):
            model = SoftmaxRegression(solver=solver, max_iter=2, tol=1e-12).fit(X, Y)
        assert model.n_iter_.tolist() == [2] and len(model.loss_curve_) == 2
    with pytest.raises(NotFittedError):
        SoftmaxRegression().predict_proba(X)


def test_numbers_out_of_range_are_reported():
    for solver in ("lbfgs", "newton-cg"):
        with pytest.warns(ConvergenceWarning, match=f"{solver} has not converged"):
            SoftmaxRegression(solver=solver).fit(1e200 * X, Y)
    model = SoftmaxRegression(solver="sgd", learning_rate=1e300)
    with pytest.raises(ValueError, match=r"not finite with learning_rate 1.0e\+300"):
        model.fit(X, Y)
    model.partial_fit(X, Y, [0, 1, 2])
    kept = model.coef_.copy()
    with pytest.raises(ValueError, match="give a smaller one"):
        model.partial_fit(X, Y)
    assert (model.coef_ == kept).all()


def test_without_the_framework_the_error_says_what_to_install():
    code = "import sys; sys.modules['sklearn'] = None; import smcore.sklearn"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "pip install 'softmax-core[sklearn]'" in found.stderr


def test_nothing_is_imported_that_is_not_asked_for():
    code = (
        "import sys, smcore; assert 'sklearn' not in sys.modules and 'scipy' not in sys.modules\n"
        "import smcore.sklearn as s; s.SoftmaxRegression().fit([[0], [1]], [0, 1])\n"
        "assert not {'dask', 'rich', 'distributed'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


# ---- progress


def test_progress_is_shown_on_request(capsys, monkeypatch):
    SoftmaxRegression().fit(X, Y)
    assert capsys.readouterr() == ("", "")
    SoftmaxRegression(verbose=1).fit(X, Y)
    assert "SoftmaxRegression, lbfgs" in capsys.readouterr().err
    monkeypatch.setitem(sys.modules, "rich.progress", None)  # as if it were not installed
    SoftmaxRegression(solver="sgd", verbose=1, random_state=0, max_iter=1000).fit(X, Y)
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].startswith("SoftmaxRegression, sgd 1/1000 loss 1.0986") and len(lines) > 1


def test_progress_by_rich(capsys, monkeypatch):
    pytest.importorskip("rich")
    monkeypatch.setenv("FORCE_COLOR", "1")  # as if it were a terminal
    SoftmaxRegression(solver="newton-cg", verbose=1).fit(X, Y)
    shown = capsys.readouterr().err
    assert "SoftmaxRegression, newton-cg loss 0." in shown and "/100" in shown


# ---- with the rest of scikit-learn


def test_it_is_an_estimator_as_others_are():
    pipeline = make_pipeline(StandardScaler(), SoftmaxRegression())
    search = GridSearchCV(
        pipeline, {"softmaxregression__C": [0.01, 1.0]}, scoring="neg_log_loss", cv=3
    ).fit(X, Y)
    assert search.best_params_ == {"softmaxregression__C": 1.0}
    assert cross_val_score(SoftmaxRegression(), X, Y, cv=3).mean() > 0.9
    calibrated = CalibratedClassifierCV(SoftmaxRegression(), cv=3).fit(X, Y)
    assert calibrated.score(X, Y) > 0.9
    model = clone(SoftmaxRegression(C=3.0)).fit(X, Y)
    assert model.get_params()["C"] == 3.0 and repr(model) == "SoftmaxRegression(C=3.0)"
    loaded = pickle.loads(pickle.dumps(model))
    assert (loaded.predict_proba(X) == model.predict_proba(X)).all()


def test_frames_and_their_names():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(X, columns=list("abcd"))
    pipeline = make_pipeline(StandardScaler(), SoftmaxRegression()).set_output(transform="pandas")
    pipeline.fit(frame, pandas.Series(Y).map({0: "u", 1: "v", 2: "w"}))
    assert pipeline[-1].feature_names_in_.tolist() == list("abcd")
    assert set(pipeline.predict(frame)) == set("uvw")
    soft = pandas.DataFrame(np.eye(3)[Y])
    assert SoftmaxRegression().fit(frame, soft).score(frame, soft) > 0.9


def test_class_weights_that_leave_no_sample_are_refused():
    with pytest.raises(ValueError, match="class_weight must leave a sample that weighs"):
        SoftmaxRegression(class_weight={0: 0, 1: 0}).fit([[0.0], [1.0]], [0, 1])
