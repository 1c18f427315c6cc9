"""Cross-entropy: values and gradients against the definition, with PyTorch's arguments."""

from __future__ import annotations

import itertools
from functools import cache

import numpy as np
import pytest
import truth
from cases import INPUTS
from differences import jacobian

N, K = 6, 5
IGNORED = -100
HALVES = ("float16", "bfloat16")

REDUCTIONS = ("none", "mean", "sum")
SMOOTHINGS = (0.0, 0.125, 1.0)


def problem(rng, dtype, kind):
    """Logits, a target of that kind (`hard`, `ignoring`, `soft`), and a weight for every class."""
    x = (rng.standard_normal((N, K)) * 3).astype(dtype)
    labels = rng.integers(K, size=N)
    if kind == "ignoring":
        labels[::2] = IGNORED
    soft = rng.dirichlet(np.ones(K), N).astype(dtype)
    weight = rng.uniform(0.25, 2, K).astype(dtype)
    weight[1] = 0
    return x, soft if kind == "soft" else labels, weight


def definition(x, target, weight, smoothing, reduction, ignored=IGNORED):
    """Loss and gradient, from the definition: -Σ_c w_c q_c log s_c, with q the smoothed target."""
    n, k = x.shape
    x, w = truth.mpf(x), truth.mpf(np.ones(k) if weight is None else weight)
    eps = truth.mpmath.mpf(smoothing)
    soft = target.dtype.kind not in "iu"
    if soft:
        q, counted = truth.mpf(target), np.ones(n, bool)
        share = truth.mpf(np.ones(n))
    else:
        counted = target != ignored
        q = truth.mpf(np.eye(k)[np.where(counted, target, 0)] * counted[:, None])
        share = (q * w).sum(-1)
    a = w * (q * (1 - eps) + eps / k) * truth.mpf(counted[:, None])
    log_s = x - truth.log(truth.exp(x).sum(-1, keepdims=True))
    loss = -(a * log_s).sum(-1)
    gradient = a.sum(-1, keepdims=True) * truth.exp(log_s) - a
    total = {"none": 1, "sum": 1, "mean": share.sum()}[reduction]
    return (loss if reduction == "none" else loss.sum() / total), gradient / total


def compare(dtype, got, exact):
    """Loss and gradient, each within a few roundings of the sum of its terms' sizes."""
    (loss, gradient), (exact_loss, exact_gradient) = got, exact
    eps = truth.eps(dtype)
    assert np.asarray(loss).dtype == dtype and gradient.dtype == dtype
    size = np.asarray(abs(exact_loss), float)
    truth.assert_within(loss, exact_loss, 6 * eps * size, "loss")
    size = np.max(np.asarray(abs(exact_gradient), float), -1, keepdims=True)
    truth.assert_within(gradient, exact_gradient, 6 * eps * size, "gradient")


@pytest.mark.parametrize("kind", ["hard", "ignoring", "soft"])
@pytest.mark.parametrize("weighted", [False, True], ids=["plain", "weighted"])
@pytest.mark.parametrize("smoothing", SMOOTHINGS)
@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_cross_entropy_is_its_definition(sm, dtype, rng, kind, weighted, smoothing, reduction):
    x, target, weight = problem(rng, dtype, kind)
    options = dict(
        weight=weight if weighted else None, label_smoothing=smoothing, reduction=reduction
    )
    got = sm.cross_entropy_with_grad(x, target, **options)
    compare(dtype, got, definition(x, target, options["weight"], smoothing, reduction))
    alone = sm.cross_entropy(x, target, **options)
    np.testing.assert_array_equal(alone, got[0])
    assert np.asarray(alone).dtype == dtype


@pytest.mark.parametrize("kind", ["hard", "ignoring", "soft"])
@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_gradient_is_the_difference_of_the_loss(sm, rng, kind, reduction):
    x, target, weight = problem(rng, float, kind)
    options = dict(weight=weight, label_smoothing=0.25, reduction=reduction)
    got = sm.cross_entropy_with_grad(x, target, **options)[1]
    expected = jacobian(lambda x: np.sum(sm.cross_entropy(x, target, **options)), x)
    np.testing.assert_allclose(got, expected, rtol=0, atol=1e-11)


@pytest.mark.parametrize("kind", ["hard", "ignoring", "soft"])
def test_linear_cross_entropy_is_cross_entropy_of_the_products(sm, rng, kind):
    for with_bias, reduction in itertools.product([True, False], REDUCTIONS):
        X, W = rng.standard_normal((N, INPUTS)), rng.standard_normal((INPUTS, K))
        b = rng.standard_normal(K) if with_bias else None
        _, target, weight = problem(rng, float, kind)
        options = dict(weight=weight, label_smoothing=0.25, reduction=reduction)
        z = X @ W + (0 if b is None else b)
        expected, dz = definition(z, target, weight, 0.25, reduction)
        loss, (dX, dW, db) = sm.linear_cross_entropy_with_grad(X, W, target, b, **options)
        np.testing.assert_allclose(loss, np.asarray(expected, float), rtol=1e-14, atol=1e-14)
        dz = dz.astype(float)
        np.testing.assert_allclose(dX, dz @ W.T, rtol=0, atol=1e-14)
        np.testing.assert_allclose(dW, X.T @ dz, rtol=0, atol=1e-14)
        if with_bias:
            np.testing.assert_allclose(db, dz.sum(0), rtol=0, atol=1e-14)
        else:
            assert db is None
        alone = sm.linear_cross_entropy(X, W, target, b, **options)
        np.testing.assert_allclose(alone, loss, rtol=1e-15, atol=0)


def test_linear_cross_entropy_gradient_is_the_difference_of_the_loss(sm, rng):
    X, W, b = (rng.standard_normal(shape) for shape in [(N, INPUTS), (INPUTS, K), (K,)])
    _, target, weight = problem(rng, float, "ignoring")
    options = dict(weight=weight, label_smoothing=0.25)
    _, (dX, dW, db) = sm.linear_cross_entropy_with_grad(X, W, target, b, **options)

    def loss(X, W, b):
        return sm.linear_cross_entropy(X, W, target, b, **options)

    np.testing.assert_allclose(dX, jacobian(lambda X: loss(X, W, b), X), rtol=0, atol=1e-10)
    np.testing.assert_allclose(dW, jacobian(lambda W: loss(X, W, b), W), rtol=0, atol=1e-10)
    np.testing.assert_allclose(db, jacobian(lambda b: loss(X, W, b), b), rtol=0, atol=1e-10)


# ---- The tail ------------------------------------------------------------------------------------


DEPTHS = {"float32": (1, 5, 10, 20, 40, 60, 80), "float64": (1, 5, 20, 40, 100, 300, 600)}


def confident(dtype):
    """A row for every depth, the label's logit that far above the others."""
    depths = np.array(DEPTHS[dtype.name], float)
    x = np.random.default_rng(2).standard_normal((len(depths), K))
    x[:, 3] = 3 + depths
    return x.astype(dtype), np.full(len(depths), 3)


@pytest.mark.parametrize("smoothing", [0.0])
def test_gradient_at_a_confident_label(sm, native_dtype, smoothing):
    """s - 1 without the cancellation: within 4 ulp where s rounds to one."""
    x, target = confident(native_dtype)
    loss, gradient = sm.cross_entropy_with_grad(
        x, target, reduction="none", label_smoothing=smoothing
    )
    exact_loss, exact_gradient = definition(x, target, None, smoothing, "none")
    assert (loss > 0).all() and (gradient[:, 3] < 0).all()
    truth.assert_ulps(loss, exact_loss, 4, "loss")
    truth.assert_ulps(gradient, exact_gradient, 4, "gradient")


def test_gradient_at_a_confident_label_in_halves(sm, rng):
    for name in ("float16", "bfloat16"):
        dtype = pytest.importorskip("ml_dtypes").bfloat16 if name == "bfloat16" else np.float16
        x = np.array([[0, 0, 0, 4], [1, 2, 0, 9], [0, 0, 0, 12.5]]).astype(dtype)
        target = np.full(3, 3)
        _, gradient = sm.cross_entropy_with_grad(x, target, reduction="none")
        truth.assert_ulps(gradient, definition(x, target, None, 0, "none")[1], 0.51)


@pytest.mark.parametrize("k", [1, 2, 10, 1000])
def test_loss_is_never_negative(sm, dtype, k):
    x = np.random.default_rng(k).standard_normal((200, k)) * 10
    target = np.argmax(x, -1)
    loss = sm.cross_entropy(x.astype(dtype), target, reduction="none")
    assert (loss >= 0).all()
    assert not np.signbit(loss).any() or k == 1


def test_loss_of_a_hopeless_label_is_the_distance(sm, native_dtype):
    big = np.finfo(native_dtype).max / 4
    x = np.array([[big, -big, 0]], native_dtype)
    loss, gradient = sm.cross_entropy_with_grad(x, [1])
    assert loss == 2 * big
    np.testing.assert_array_equal(gradient, [[1, -1, 0]])


# ---- Zero times infinity is zero -----------------------------------------------------------------


def test_soft_zeros_do_not_look_at_infinite_losses(sm, dtype):
    x = np.array([[0, -np.inf, 1, -np.inf]]).astype(dtype)
    target = np.array([[0.75, 0, 0.25, 0]]).astype(dtype)
    loss, gradient = sm.cross_entropy_with_grad(x, target)
    expected_loss, expected = definition(x[:, ::2], target[:, ::2], None, 0, "mean")
    compare(dtype, (loss, gradient[:, ::2]), (expected_loss, expected))
    np.testing.assert_array_equal(gradient[:, 1::2].astype(float), [[0, 0]])


def test_label_with_an_infinite_loss(sm, dtype):
    x = np.array([[0, -np.inf, 1]]).astype(dtype)
    loss, gradient = sm.cross_entropy_with_grad(x, [1])
    assert loss == np.inf
    s = sm.softmax(x)
    truth.assert_ulps(gradient, truth.wide(s) - [[0, 1, 0]], 2)


def test_hidden_classes_are_not_looked_at(sm, dtype):
    """-inf logits of classes that are not the label."""
    x = np.array([[0, -np.inf, 1], [-np.inf, -np.inf, 2]]).astype(dtype)
    loss, gradient = sm.cross_entropy_with_grad(x, [2, 2], reduction="none")
    exact, _ = definition(x[:1, ::2], np.array([1]), None, 0, "none")
    truth.assert_ulps(loss[:1], exact, 4)
    assert loss[1] == 0 and (gradient[1] == 0).all() and gradient[0, 1] == 0


def test_class_weight_zero_hides_an_infinite_loss(sm, native_dtype):
    x = np.array([[0, -np.inf, 1], [0, 0, 0]], native_dtype)
    loss = sm.cross_entropy(x, [1, 0], weight=[1, 0, 1], reduction="none")
    assert loss[0] == 0
    truth.assert_ulps(loss[1:], truth.log(truth.mpf([3])), 3)


# ---- Ignored and empty ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "reduction, expected", [("none", np.zeros(3)), ("sum", 0.0), ("mean", np.nan)]
)
@pytest.mark.parametrize("linear", [False, True])
def test_every_target_ignored(sm, dtype, rng, reduction, expected, linear):
    target = np.full(3, IGNORED)
    if linear:
        X, W = rng.standard_normal((3, 2)).astype(dtype), rng.standard_normal((2, K)).astype(dtype)
        loss, gradients = sm.linear_cross_entropy_with_grad(X, W, target, reduction=reduction)
        gradients = gradients[:2]
    else:
        x = rng.standard_normal((3, K)).astype(dtype)
        loss, *gradients = sm.cross_entropy_with_grad(x, target, reduction=reduction)
    np.testing.assert_array_equal(loss.astype(float), expected)
    for gradient in gradients:
        assert (gradient == 0).all()


def test_ignored_rows_are_not_looked_at(sm, dtype):
    x = np.array([[np.nan] * 3, [np.inf] * 3, [0, 1, 2], [-np.inf] * 3]).astype(dtype)
    loss, gradient = sm.cross_entropy_with_grad(x, [7, 7, 2, 7], ignore_index=7)
    alone = sm.cross_entropy_with_grad(x[2:3], [2])
    assert loss == alone[0]
    np.testing.assert_array_equal(gradient[2], alone[1][0])
    assert (gradient[[0, 1, 3]] == 0).all()


def test_ignore_index_may_be_a_class(sm, rng):
    x, target = rng.standard_normal((N, K)), np.array([0, 1, 2, 0, 4, 0])
    loss, gradient = sm.cross_entropy_with_grad(x, target, ignore_index=0)
    exact = definition(x, target, None, 0, "mean", ignored=0)
    compare(np.dtype(float), (loss, gradient), exact)


@pytest.mark.parametrize(
    "reduction, expected", [("none", np.zeros(0)), ("sum", 0.0), ("mean", np.nan)]
)
def test_empty_batch(sm, dtype, reduction, expected):
    x = np.zeros((0, K), dtype)
    loss, gradient = sm.cross_entropy_with_grad(x, np.zeros(0, int), reduction=reduction)
    np.testing.assert_array_equal(loss.astype(float), expected)
    assert gradient.shape == (0, K) and gradient.dtype == dtype


# ---- Shapes, axes and label dtypes ---------------------------------------------------------------


@pytest.mark.parametrize(
    "labels",
    [np.int8, np.int16, np.int32, np.int64, np.uint8, np.uint16, np.uint32, np.uint64, ">i4"],
)
def test_labels_of_any_integer_width(sm, rng, labels):
    x, target = rng.standard_normal((N, K)), rng.integers(K, size=N)
    expected = sm.cross_entropy_with_grad(x, target)
    for got, value in zip(
        sm.cross_entropy_with_grad(x, target.astype(labels)), expected, strict=True
    ):
        np.testing.assert_array_equal(got, value)


@pytest.mark.parametrize("soft", [False, True])
@pytest.mark.parametrize("axis", [0, 1, 2, -1, -2, -3])
def test_class_axis_anywhere(sm, native_dtype, rng, axis, soft):
    x = rng.standard_normal((2, 3, K)).astype(native_dtype)
    target = (
        rng.dirichlet(np.ones(K), (2, 3)).astype(native_dtype)
        if soft
        else rng.integers(K, size=(2, 3))
    )
    loss, gradient = sm.cross_entropy_with_grad(x, target, reduction="none")
    moved = np.moveaxis(target, -1, axis) if soft else target
    got = sm.cross_entropy_with_grad(np.moveaxis(x, -1, axis), moved, axis=axis, reduction="none")
    assert loss.shape == (2, 3)
    np.testing.assert_array_equal(got[0], loss)
    np.testing.assert_array_equal(got[1], np.moveaxis(gradient, -1, axis))


def test_one_row_alone(sm, native_dtype, rng):
    x = rng.standard_normal(K).astype(native_dtype)
    loss, gradient = sm.cross_entropy_with_grad(x, 2)
    expected = sm.cross_entropy_with_grad(x[None], [2])
    assert np.ndim(loss) == 0 and loss == expected[0]
    np.testing.assert_array_equal(gradient, expected[1][0])


@cache
def many_rows(name):
    """Logits, labels and their mean loss."""
    rng = np.random.default_rng(1)
    x, target = rng.standard_normal((40_000, 3)).astype(name), rng.integers(3, size=40_000)
    exact = truth.forward(x).log_softmax
    return x, target, np.mean(-np.ldexp(exact.hi, exact.exp)[np.arange(len(x)), target])


def test_mean_of_many_rows_does_not_drift(sm, native_dtype):
    x, target, mean = many_rows(native_dtype.name)
    assert abs(sm.cross_entropy(x, target) / mean - 1) <= 4 * truth.eps(native_dtype)


def test_agrees_with_pytorch(sm, rng):
    torch = pytest.importorskip("torch")
    for kind, weighted, smoothing, reduction in itertools.product(
        ["hard", "ignoring", "soft"], [False, True], SMOOTHINGS, REDUCTIONS
    ):
        x, target, weight = problem(rng, float, kind)
        options = dict(reduction=reduction, label_smoothing=smoothing)
        logits = torch.tensor(x, requires_grad=True)
        loss = torch.nn.functional.cross_entropy(
            logits,
            torch.tensor(target),
            weight=torch.tensor(weight) if weighted else None,
            **options,
        )
        loss.sum().backward()
        got = sm.cross_entropy_with_grad(x, target, weight=weight if weighted else None, **options)
        np.testing.assert_allclose(got[0], loss.detach().numpy(), rtol=1e-12)
        np.testing.assert_allclose(got[1], logits.grad.numpy(), rtol=0, atol=1e-14)
