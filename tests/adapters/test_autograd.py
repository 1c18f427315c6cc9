"""smcore.autograd: values are smcore's; derivatives are right, twice, both ways; tails are kept."""

from __future__ import annotations

import importlib
import sys

import numpy as np
import pytest

pytest.importorskip("autograd")

import autograd.numpy as anp
from autograd import elementwise_grad, grad, hessian, jacobian, make_jvp
from autograd.test_util import check_grads

import smcore
from smcore import autograd as sa

rng = np.random.default_rng(5)
X = rng.normal(size=(3, 4, 5))
MASK = rng.random((3, 4, 5)) < 0.7
MASK[..., 0] = MASK[0] = True
LABELS = rng.integers(0, 5, (3, 4))
SOFT = rng.dirichlet(np.ones(5), (3, 4))
BY_ROW = rng.random((3, 4))
BY_ROW[0, 1] = 0
check = check_grads  # of order 2, forward and reverse, against differences


def checked(function, *arguments):
    check(function, modes=["fwd", "rev"], order=2)(*arguments)


@pytest.mark.parametrize("axis", [-1, 0, 1, (0, 2), None])
@pytest.mark.parametrize("where", [None, MASK], ids=["all", "where"])
@pytest.mark.parametrize("name", ["softmax", "log_softmax", "logsumexp"])
def test_derivatives(name, axis, where):
    def function(x):
        y = getattr(sa, name)(x, axis, where=where)
        return anp.sin(anp.where(np.isfinite(getattr(smcore, name)(X, axis, where=where)), y, 0))

    if where is not None:
        x = np.where(MASK, X, 7.0)  # any number: what is left out moves nothing
        assert not grad(lambda x: anp.sum(function(x)))(x)[~MASK].any()
    checked(function, X)


@pytest.mark.parametrize("name", ["softmax", "log_softmax", "logsumexp"])
def test_values_and_dtypes_are_those_of_smcore(name):
    ours, theirs = getattr(sa, name), getattr(smcore, name)
    for dtype in (np.float32, np.float64, np.float16):
        x = X.astype(dtype)
        np.testing.assert_array_equal(ours(x, 1), theirs(x, 1))
        assert ours(x, 1).dtype == dtype
        assert elementwise_grad(ours)(x).dtype == dtype
    np.testing.assert_array_equal(ours([1, 2, 3]), theirs([1, 2, 3]))


@pytest.mark.parametrize("name", ["softmax", "log_softmax"])
@pytest.mark.parametrize("scale", [1.5, -0.5, X[..., 0], X[..., :1], X[0, :, 0]], ids=str)
def test_scale_is_differentiated_too(name, scale):
    function = getattr(sa, name)
    expected = getattr(smcore, name)(X, scale=scale)
    np.testing.assert_array_equal(function(X, scale=scale), expected)
    checked(lambda x, scale: anp.sin(function(x, scale=scale)), X, scale)


def test_what_is_left_out_is_not_looked_at_by_a_scale():
    x = np.array([[1.0, 2.0, np.nan], [0.5, -np.inf, 0.0]])
    where = np.array([[True, True, False], [True, True, True]])
    scales = np.array([0.0, 2.0])

    def function(scales):
        return anp.sum(anp.cos(sa.softmax(x, where=where, scale=scales)))

    assert np.isfinite(grad(function)(scales)).all()
    step = 1e-6
    for i in range(2):
        h = step * np.eye(2)[i]
        expected = (function(scales + h) - function(scales - h)) / (2 * step)
        assert abs(grad(function)(scales)[i] - expected) < 1e-8


@pytest.mark.parametrize("axis", [-1, 0, (0, 2), None])
@pytest.mark.parametrize("where", [None, MASK], ids=["all", "where"])
@pytest.mark.parametrize("keepdims", [False, True])
def test_logsumexp_with_factors_and_sign(axis, where, keepdims):
    b = rng.normal(size=5)
    how = dict(where=where, keepdims=keepdims, return_sign=True)
    log, sign = sa.logsumexp(X, axis, b=b, **how)
    expected = smcore.logsumexp(X, axis, b=b, **how)
    np.testing.assert_array_equal(log, expected[0])
    np.testing.assert_array_equal(sign, expected[1])
    checked(lambda x, b: sa.logsumexp(x, axis, b=b, **how)[0], X, b)


def test_a_factor_of_zero_takes_no_part_and_has_a_derivative():
    x, b = np.array([1.0, np.nan, 2.0]), np.array([1.0, 0.0, 3.0])
    dx = grad(lambda x: sa.logsumexp(x, b=b))(x)
    total = np.exp(1.0) + 3 * np.exp(2.0)
    np.testing.assert_allclose(dx, [np.exp(1.0) / total, 0, 3 * np.exp(2.0) / total], rtol=1e-14)
    db = grad(lambda b: sa.logsumexp(np.array([1.0, 0.0, 2.0]), b=b))(b)
    np.testing.assert_allclose(db, np.exp([1.0, 0.0, 2.0]) / total, rtol=1e-14)


OPTIONS = {
    "plain": {},
    "sum": dict(reduction="sum"),
    "none": dict(reduction="none"),
    "ignored": dict(ignore_index=2),
    "weight": dict(weight=[0.5, 2.0, 1.0, 0.0, 3.0], label_smoothing=0.1),
    "z_loss": dict(z_loss=0.3, ignore_index=1, weight=[0.5, 2.0, 1.0, 1.0, 3.0]),
    "z_loss sum": dict(z_loss=0.3, ignore_index=1, reduction="sum"),
    "where": dict(where=MASK, label_smoothing=0.2, z_loss=0.1, reduction="none"),
    "rows": dict(sample_weight=BY_ROW, label_smoothing=0.1),
    "rows z_loss": dict(sample_weight=BY_ROW, z_loss=0.3, ignore_index=1, weight=np.arange(1.0, 6)),
    "rows sum": dict(sample_weight=BY_ROW, z_loss=0.3, reduction="sum"),
    "rows none": dict(sample_weight=BY_ROW, z_loss=0.3, reduction="none"),
}


def labels_for(options):
    return np.zeros_like(LABELS) if "where" in options else LABELS


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_cross_entropy(options):
    for target in (labels_for(options), SOFT):
        loss = sa.cross_entropy(X, target, **options)
        np.testing.assert_array_equal(loss, smcore.cross_entropy(X, target, **options))
        checked(lambda x, target=target: sa.cross_entropy(x, target, **options), X)


@pytest.mark.parametrize("reduction", ["sum", "none", "mean"])
def test_no_row_counts(reduction):
    labels = np.full((3, 4), -100)
    how = dict(reduction=reduction, z_loss=0.1)
    loss = sa.cross_entropy(X, labels, **how)
    np.testing.assert_array_equal(loss, smcore.cross_entropy(X, labels, **how))
    _, dx = smcore.cross_entropy_with_grad(X, labels, **how)
    assert not dx.any()
    found = elementwise_grad(sa.cross_entropy)(X, labels, **how)
    assert reduction == "mean" or not found.any()
    hessian_product = make_jvp(lambda x: elementwise_grad(sa.cross_entropy)(x, labels, **how))
    assert reduction == "mean" or not hessian_product(X)(X)[1].any()


def test_a_row_of_weight_zero_is_not_looked_at():
    x, weights = X.copy(), np.ones((3, 4))
    x[1, 2], weights[1, 2] = np.nan, 0
    labels = np.where(weights == 0, -100, LABELS)
    for reduction in ("mean", "sum", "none"):
        how = dict(reduction=reduction, z_loss=0.1)
        found = elementwise_grad(sa.cross_entropy)(x, LABELS, sample_weight=weights, **how)
        expected = elementwise_grad(sa.cross_entropy)(np.nan_to_num(x), labels, **how)
        np.testing.assert_allclose(found, expected, rtol=1e-14)


def test_cross_entropy_along_other_axes():
    x, labels = np.moveaxis(X, -1, 0).copy(), LABELS
    for reduction in ("mean", "none"):
        options = dict(axis=0, reduction=reduction, z_loss=0.1)
        checked(lambda x, options=options: sa.cross_entropy(x, labels, **options), x)


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
@pytest.mark.parametrize("bias", [False, True], ids=["", "bias"])
def test_linear_cross_entropy(options, bias):
    features, W, b = X[0], rng.normal(size=(5, 3)), rng.normal(size=3)
    options = {name: value for name, value in options.items() if name not in ("where", "weight")}
    if "sample_weight" in options:
        options["sample_weight"] = BY_ROW[0]
    labels = [0, 1, 2, 2]
    arguments = (features, W, b) if bias else (features, W)

    def function(X, W, b=None):
        return sa.linear_cross_entropy(X, W, labels, b, **options)

    expected = smcore.linear_cross_entropy(features, W, labels, b if bias else None, **options)
    np.testing.assert_array_equal(function(*arguments), expected)
    checked(function, *arguments)


def test_the_gradient_of_a_loss_is_smcores():
    x = X.astype(np.float32)
    _, dx = smcore.cross_entropy_with_grad(x, LABELS)
    found = grad(sa.cross_entropy)(x, LABELS)
    np.testing.assert_array_equal(found, dx)
    assert found.dtype == np.float32
    features, W = x[0], rng.normal(size=(5, 4)).astype(np.float32)
    _, (dX, dW, _) = smcore.linear_cross_entropy_with_grad(features, W, LABELS[0] % 4)
    np.testing.assert_array_equal(grad(sa.linear_cross_entropy, 1)(features, W, LABELS[0] % 4), dW)
    np.testing.assert_array_equal(grad(sa.linear_cross_entropy)(features, W, LABELS[0] % 4), dX)


def test_the_tail_of_a_sure_prediction_is_kept():
    x = np.array([0.0, 60.0, 1.0])
    e, e1 = np.exp(-60.0), np.exp(-59.0)
    rest = e + e1
    tight = dict(rtol=1e-14, atol=0)
    np.testing.assert_allclose(grad(sa.cross_entropy)(x, 1), [e, -rest, e1], **tight)
    np.testing.assert_allclose(jacobian(sa.softmax)(x)[1], [-e, rest, -e1], **tight)
    np.testing.assert_allclose(grad(lambda x: sa.log_softmax(x)[1])(x), [-e, rest, -e1], **tight)
    second = [[e, -e, -e * e1], [-e, rest, -e1], [-e * e1, -e1, e1]]
    for function in (sa.logsumexp, lambda x: sa.cross_entropy(x, 1)):
        np.testing.assert_allclose(hessian(function)(x), second, **tight)
    forward = make_jvp(grad(lambda x: -sa.log_softmax(x)[1]))(x)
    np.testing.assert_allclose(
        np.stack([forward(v)[1] for v in np.eye(3)], axis=1), second, **tight
    )


def test_a_network_is_trained():
    features = rng.normal(size=(60, 4))
    labels = (features @ rng.normal(size=(4, 3))).argmax(axis=1)

    def loss(parameters):
        W1, b1, W2, b2 = parameters
        return sa.linear_cross_entropy(anp.tanh(features @ W1 + b1), W2, labels, b2)

    parameters = [rng.normal(size=shape) for shape in [(4, 8), (8,), (8, 3), (3,)]]
    step = grad(loss)
    before = loss(parameters)
    for _ in range(100):
        parameters = [p - 0.5 * g for p, g in zip(parameters, step(parameters), strict=True)]
    assert loss(parameters) < 0.2 * before


def test_empty_arrays():
    assert grad(lambda x: anp.sum(sa.softmax(x)))(np.zeros((0, 3))).shape == (0, 3)
    assert grad(lambda x: anp.sum(sa.log_softmax(x)))(np.zeros((3, 0))).shape == (3, 0)
    assert grad(lambda x: anp.sum(sa.logsumexp(x)))(np.zeros((0, 3))).shape == (0, 3)


def test_without_autograd_the_error_says_what_to_install(monkeypatch):
    for name in [name for name in sys.modules if name.startswith("smcore.autograd")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "autograd", None)
    with pytest.raises(ImportError, match=r"pip install 'softmax-core\[autograd\]'"):
        importlib.import_module("smcore.autograd")


def test_bad_input():
    with pytest.raises(ValueError, match="target must hold labels 0 to 4"):
        grad(sa.cross_entropy)(X, LABELS + 5)
    with pytest.raises(TypeError, match="return_lse"):
        sa.cross_entropy(X, LABELS, return_lse=True)
    with pytest.raises(ValueError, match="scale must be"):
        grad(lambda x: anp.sum(sa.softmax(x, scale=np.ones(7))))(X)
    with pytest.raises(TypeError, match="x must hold"):
        sa.softmax(X + 1j)
    with pytest.raises(NotImplementedError, match="no derivative by target; pass"):
        grad(lambda soft: sa.cross_entropy(X, soft))(SOFT)
    with pytest.raises(NotImplementedError, match="no derivative by sample_weight"):
        grad(lambda w: sa.linear_cross_entropy(X[0], X[0].T, LABELS[0], sample_weight=w))(BY_ROW[0])
