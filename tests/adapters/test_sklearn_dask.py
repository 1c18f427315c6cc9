"""smcore.sklearn with Dask arrays: the fit of all rows, on threads and on processes."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("sklearn")
pytest.importorskip("dask.array")

import dask
import dask.array as da
from sklearn.base import clone
from sklearn.datasets import load_iris
from threadpoolctl import threadpool_limits

from smcore.sklearn import SoftmaxRegression
from smcore.sklearn._dask import cluster_rows
from smcore.sklearn._objective import Memory, Objective

rng = np.random.default_rng(4)
X, Y = load_iris(return_X_y=True)
X = (X - X.mean(axis=0)) / X.std(axis=0)
WEIGHTS = rng.random(len(X))
SOFT = rng.dirichlet(np.ones(3), len(X))
CHUNKS = (40, 0, 1, 60, 49)
NEWTON = {"solver": "newton-cg", "tol": 1e-10}


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    with threadpool_limits(1), dask.config.set(scheduler="threads", num_workers=2):
        yield


def chunked(*arrays):
    return [da.from_array(a, chunks=(CHUNKS, *a.shape[1:])) for a in arrays]


def assert_alike(one, other, digits=9):
    for name in ("coef_", "intercept_"):
        a, b = getattr(one, name), getattr(other, name)
        assert a.shape == b.shape and a.dtype == b.dtype
        np.testing.assert_allclose(a, b, rtol=0, atol=10.0**-digits * np.abs(b).max())
    assert (one.classes_ == other.classes_).all()


@pytest.mark.parametrize(
    "y", [Y, Y == 1, np.array(["u", "v", "w"])[Y], SOFT], ids=["3", "2", "str", "soft"]
)
def test_the_optimum_is_that_of_all_rows(y):
    model = SoftmaxRegression(**NEWTON).fit(X, y, WEIGHTS)
    other = SoftmaxRegression(**NEWTON).fit(*chunked(X, y, WEIGHTS))
    assert_alike(other, model)
    assert other.n_features_in_ == 4 and (other.n_iter_ == model.n_iter_).all()
    assert len(other.loss_curve_) == other.n_iter_[0]


def test_lbfgs_takes_the_same_steps():
    for dtype, digits in ((np.float64, 10), (np.float32, 4)):
        with pytest.warns(match="has not converged in 5 iterations"):
            model = SoftmaxRegression(max_iter=5).fit(X.astype(dtype), Y)
        with pytest.warns(match="has not converged in 5 iterations"):
            other = SoftmaxRegression(max_iter=5).fit(*chunked(X.astype(dtype), Y))
        assert_alike(other, model, digits)


def test_sums_are_those_of_all_rows():
    rows, classes = cluster_rows(*chunked(X, Y, WEIGHTS), None)
    assert classes.tolist() == [0, 1, 2] and rows.total == pytest.approx(WEIGHTS.sum())
    one, other = (
        Objective(r, 0.01, True) for r in (rows, Memory(X, Y, WEIGHTS, 3, np.dtype(np.float64)))
    )
    p, v = rng.normal(size=(2, 15))
    assert one.value(p)[0] == pytest.approx(other.value(p)[0], rel=1e-14)
    np.testing.assert_allclose(one.value(p)[1], other.value(p)[1], rtol=1e-12, atol=1e-15)
    products = (objective.hessian_product(p, v) for objective in (one, other))
    np.testing.assert_allclose(*products, rtol=1e-12, atol=1e-15)


def test_many_weights_are_a_task_of_their_own(monkeypatch):
    model = SoftmaxRegression(**NEWTON)
    expected = clone(model).fit(*chunked(X, Y))
    monkeypatch.setattr("smcore.sklearn._dask._SENT", 0)
    assert (clone(model).fit(*chunked(X, Y)).coef_ == expected.coef_).all()


def test_class_weights_and_arguments_in_memory():
    model = SoftmaxRegression(class_weight="balanced", **NEWTON)
    one = clone(model).fit(X, Y, WEIGHTS)
    dX, dy, dw = chunked(X, Y, WEIGHTS)
    assert_alike(clone(model).fit(dX, Y, WEIGHTS), one)
    assert_alike(clone(model).fit(X, dy, dw), one)
    columns = dX.rechunk((50, 2))  # chunks of features, too
    assert_alike(clone(model).fit(columns, dy[:, None], dw), one)
    model.set_params(class_weight={0: 2.0})
    assert_alike(clone(model).fit(dX, dy, dw), clone(model).fit(X, Y, WEIGHTS))


def test_chunks_of_unknown_size():
    dX, dy = chunked(X, Y)
    kept = dX[:, 0] > 0
    model = SoftmaxRegression(**NEWTON)
    assert_alike(
        clone(model).fit(dX[kept], dy[kept]), clone(model).fit(X[X[:, 0] > 0], Y[X[:, 0] > 0])
    )


def test_integers_are_computed_in_float64():
    whole = np.rint(10 * X).astype(np.int16)
    one, other = (SoftmaxRegression(**NEWTON).fit(a, Y) for a in (whole, chunked(whole)[0]))
    assert_alike(other, one)


def test_a_warm_start_and_progress(capsys):
    dX, dy = chunked(X, Y)
    model = SoftmaxRegression(warm_start=True, verbose=1).fit(dX, dy)
    assert "SoftmaxRegression, lbfgs" in capsys.readouterr().err
    assert model.fit(dX, dy).n_iter_[0] <= 1


@pytest.mark.parametrize("y", [Y, Y == 1], ids=["3", "2"])
@pytest.mark.parametrize(
    "method", ["predict", "predict_proba", "predict_log_proba", "decision_function"]
)
def test_predictions_are_lazy(method, y):
    model = SoftmaxRegression().fit(X, y)
    expected = getattr(model, method)(X)
    found = getattr(model, method)(chunked(X)[0].rechunk((-1, 3)).rechunk((CHUNKS, 3)))
    assert isinstance(found, da.Array)
    assert found.shape == expected.shape and found.dtype == expected.dtype
    model.fit(X[:, ::-1], y)  # of which what was asked for before knows nothing
    if method == "predict":
        assert (found.compute() == expected).all()
    else:
        np.testing.assert_allclose(found.compute(), expected, rtol=1e-12)


def test_the_score_of_dask_arrays():
    model = SoftmaxRegression().fit(X, Y)
    assert model.score(*chunked(X, Y)) == model.score(X, Y)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((X, Y[:-1]), "y must have as many rows, in as many chunks"),
        ((X, Y, WEIGHTS[:3]), "sample_weight must have as many rows"),
        ((X * np.nan, Y), "X contains NaN"),
        ((X, Y, -WEIGHTS), "sample_weight must not be negative"),
        ((X, Y, 0 * WEIGHTS), "sample_weight must not be zero for all"),
        ((X, 0 * Y), "at least 2 classes"),
        ((X, Y + 0.5), "continuous"),
        ((X, SOFT * 2), "sum to 1"),
        ((X[:, 0], Y), r"X must be real, of shape \(N, D\)"),
    ],
)
def test_a_wrong_argument_is_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        SoftmaxRegression().fit(da.from_array(arguments[0], chunks=40), *arguments[1:])


def test_batches_are_for_memory():
    with pytest.raises(ValueError, match="'lbfgs' or 'newton-cg' for Dask"):
        SoftmaxRegression(solver="adam").fit(*chunked(X, Y))
    with pytest.raises(ValueError, match="partial_fit takes arrays in memory"):
        SoftmaxRegression(solver="adam").partial_fit(*chunked(X, Y), classes=[0, 1, 2])


def test_on_processes():
    distributed = pytest.importorskip("distributed")
    with (
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, dashboard_address=None
        ) as cluster,
        distributed.Client(cluster),
    ):
        dX, dy, dw = (a.persist() for a in chunked(X, Y, WEIGHTS))
        with pytest.warns(match="has not converged in 4 iterations"):
            other = SoftmaxRegression(max_iter=4).fit(dX, dy, dw)
        probabilities = other.predict_proba(dX).compute()
        wide = da.ones((4, 700_000), chunks=(2, -1))
        rows, _ = cluster_rows(wide, [0, 1, 0, 1], None, None)
        value = Objective(rows, 0.1, False).value(np.zeros(700_000))[0]  # 11 MB, and no warning
        assert value == pytest.approx(np.log(2))
    with pytest.warns(match="has not converged in 4 iterations"):
        model = SoftmaxRegression(max_iter=4).fit(X, Y, WEIGHTS)
    assert_alike(other, model, 10)
    np.testing.assert_allclose(probabilities, model.predict_proba(X), rtol=1e-9)
