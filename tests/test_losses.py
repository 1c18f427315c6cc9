"""Cross-entropy: values and gradients against the definition, with PyTorch's arguments."""

from __future__ import annotations

import itertools
import signal
from functools import cache

import numpy as np
import pytest
import truth
from cases import INPUTS, assert_identical, results
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


@truth.known
def definition(x, target, weight, smoothing, reduction, ignored=IGNORED, z_loss=0.0):
    """Loss and gradient, from the definition: -Σ_c w_c q_c log s_c, with q the smoothed target.

    A row that counts has the z-loss, z lse², added; its gradient is 2 z lse s.
    """
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
    lse = truth.log(truth.exp(x).sum(-1, keepdims=True))
    log_s = x - lse
    z = truth.mpmath.mpf(z_loss) * lse * truth.mpf(counted[:, None])
    loss = -(a * log_s).sum(-1) + (z * lse)[:, 0]
    gradient = (a.sum(-1, keepdims=True) + 2 * z) * truth.exp(log_s) - a
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
@pytest.mark.parametrize("z_loss", [0.0, 0.0625])
def test_gradient_is_the_difference_of_the_loss(sm, rng, kind, reduction, z_loss):
    x, target, weight = problem(rng, float, kind)
    options = dict(weight=weight, label_smoothing=0.25, reduction=reduction, z_loss=z_loss)
    got = sm.cross_entropy_with_grad(x, target, **options)[1]
    expected = jacobian(lambda x: np.sum(sm.cross_entropy(x, target, **options)), x)
    np.testing.assert_allclose(got, expected, rtol=0, atol=1e-11)


def test_long_rows(sm, native_dtype, rng):
    """Weights and targets, of a length at which rows are worked on in parts."""
    k = 3 * 2**16 + 5
    x = (rng.standard_normal((2, k)) * 3).astype(native_dtype)
    weight = rng.uniform(0.25, 2, k).astype(native_dtype)
    soft = rng.uniform(0, 1, (2, k)) ** 50
    soft = (soft / soft.sum(-1, keepdims=True)).astype(native_dtype)
    one_hot = np.zeros((2, k))
    one_hot[[0, 1], [k - 3, 7]] = 1
    wide = x.astype(np.longdouble)
    lse = np.log(np.exp(wide).sum(-1, keepdims=True))
    for target, q, w, smoothing in [
        (np.array([k - 3, 7]), one_hot, None, 0.0),
        (np.array([k - 3, 7]), one_hot, weight, 0.25),
        (soft, soft, weight, 0.25),
    ]:
        a = (q * (1 - smoothing) + smoothing / k) * (1 if w is None else w.astype(wide.dtype))
        expected = a.sum(-1, keepdims=True) * np.exp(wide - lse) - a
        got, gradient = sm.cross_entropy_with_grad(
            x, target, weight=w, label_smoothing=smoothing, reduction="none"
        )
        eps = truth.eps(native_dtype)
        np.testing.assert_allclose(got, (a * (lse - wide)).sum(-1), rtol=6 * eps)
        np.testing.assert_allclose(gradient, expected, rtol=8 * eps, atol=4 * eps * a.max())


# ---- The logsumexp -------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["hard", "ignoring", "soft"])
@pytest.mark.parametrize("weighted, smoothing", [(False, 0.0), (True, 0.125)])
@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_z_loss_is_its_definition(sm, dtype, rng, kind, weighted, smoothing, reduction):
    x, target, weight = problem(rng, dtype, kind)
    weight = weight if weighted else None
    options = dict(weight=weight, label_smoothing=smoothing, reduction=reduction, z_loss=0.25)
    got = sm.cross_entropy_with_grad(x, target, **options)
    compare(dtype, got, definition(x, target, weight, smoothing, reduction, z_loss=0.25))
    np.testing.assert_array_equal(sm.cross_entropy(x, target, **options), got[0])


def test_z_loss_of_a_confident_label(sm, native_dtype):
    """Within 4 roundings of the two parts, A s - a and 2 z lse s, which may differ in sign."""
    x, target = confident(native_dtype)
    options = dict(reduction="none")
    for shift, z_loss in itertools.product([0, -5, -60], [1e-4, 0.5]):
        moved = (x + native_dtype.type(shift)).astype(native_dtype)
        got = sm.cross_entropy_with_grad(moved, target, **options, z_loss=z_loss)
        exact = definition(moved, target, None, 0, **options, z_loss=z_loss)
        plain = definition(moved, target, None, 0, **options)
        for value, whole, part in zip(got, exact, plain, strict=True):
            size = np.asarray(abs(part) + abs(whole - part), float)
            truth.assert_within(value, whole, 4 * truth.eps(native_dtype) * size)


def test_z_loss_where_the_logsumexp_cancels(sm, native_dtype, rng):
    """Near zero it has the rounding errors of the maximum and of the logarithm that meet there."""
    x = (rng.standard_normal((50, K)) / 64 - np.log(K)).astype(native_dtype)
    target = rng.integers(K, size=50)
    loss, gradient = sm.cross_entropy_with_grad(x, target, reduction="none", z_loss=0.5)
    exact_loss, exact = definition(x, target, None, 0, "none", z_loss=0.5)
    plain = definition(x, target, None, 0, "none")[1]
    term = np.maximum(abs(x.max(-1, keepdims=True)), np.log(K)).astype(float)
    size = np.asarray(abs(plain), float) + term * np.asarray(truth.mp_softmax(x), float)
    truth.assert_within(gradient, exact, 4 * truth.eps(native_dtype) * size)
    truth.assert_ulps(loss, exact_loss, 4)


def test_z_loss_of_zero_looks_at_no_logsumexp(sm, native_dtype):
    """Whose square may overflow."""
    big = np.finfo(native_dtype).max / 4
    x = np.array([[big, -big, 0]], native_dtype)
    loss, gradient = sm.cross_entropy_with_grad(x, [0], z_loss=0)
    assert loss == 0 and (gradient == 0).all()
    assert sm.cross_entropy(x, [0], z_loss=0.5) == np.inf


@pytest.mark.parametrize("z_loss", [0.0, 0.5])
@pytest.mark.parametrize("in_place", [False, True])
@pytest.mark.parametrize("axis", [0, -1])
@pytest.mark.parametrize("k", [5, 100, 1100])
def test_the_logsumexp_comes_with_the_loss(sm, dtype, rng, k, axis, in_place, z_loss):
    """The bits of `logsumexp`, for rows ignored or not finite too, and even in place."""
    x = rng.standard_normal((9, k)) * 3
    for row, value in ((0, np.inf), (1, np.nan), (5, -np.inf)):
        x[row, 2] = value
    x[2], x[3], x[4] = -np.inf, np.inf, np.nan
    x[6, 3:5] = np.inf, np.nan
    x = np.moveaxis(x.astype(dtype), -1, axis).copy()
    target = rng.integers(k, size=9)
    target[::2] = IGNORED
    lse = sm.logsumexp(x, axis)
    plain = sm.cross_entropy(x, target, axis=axis, z_loss=z_loss)
    loss, got = sm.cross_entropy(x, target, axis=axis, z_loss=z_loss, return_lse=True)
    assert_identical((loss, got), (plain, lse))
    expected = sm.cross_entropy_with_grad(x, target, axis=axis, z_loss=z_loss)
    out = x if in_place else None
    got = sm.cross_entropy_with_grad(x, target, axis=axis, z_loss=z_loss, return_lse=True, out=out)
    assert_identical(got, (*expected, lse))


def test_the_logsumexp_of_a_layer(sm, dtype, rng):
    X, W = (rng.standard_normal(shape).astype(dtype) for shape in [(N, INPUTS), (INPUTS, K)])
    target = rng.integers(K, size=N)
    loss, lse = sm.linear_cross_entropy(X, W, target, return_lse=True)
    exact = truth.mp_logsumexp(truth.wide(X) @ truth.wide(W)).astype(float)
    tolerance = 8 * truth.eps(dtype)
    np.testing.assert_allclose(lse.astype(float), exact, rtol=tolerance, atol=tolerance)
    with_grad = sm.linear_cross_entropy_with_grad(X, W, target, return_lse=True)
    assert_identical((with_grad[0], with_grad[2]), (loss, lse))
    assert lse.dtype == dtype and lse.shape == (N,)
    one = sm.linear_cross_entropy(X[0], W, 1, return_lse=True)[1]
    assert np.ndim(one) == 0 and abs(float(one) - exact[0]) <= tolerance * max(1, abs(exact[0]))


# ---- The layer -----------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["hard", "ignoring", "soft"])
def test_linear_cross_entropy_is_cross_entropy_of_the_products(sm, rng, kind):
    for with_bias, reduction in itertools.product([True, False], REDUCTIONS):
        X, W = rng.standard_normal((N, INPUTS)), rng.standard_normal((INPUTS, K))
        b = rng.standard_normal(K) if with_bias else None
        _, target, weight = problem(rng, float, kind)
        options = dict(weight=weight, label_smoothing=0.25, reduction=reduction, z_loss=0.125)
        z = X @ W + (0 if b is None else b)
        expected, dz = definition(z, target, weight, 0.25, reduction, z_loss=0.125)
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
    options = dict(weight=weight, label_smoothing=0.25, z_loss=0.125)
    _, (dX, dW, db) = sm.linear_cross_entropy_with_grad(X, W, target, b, **options)

    def loss(X, W, b):
        return sm.linear_cross_entropy(X, W, target, b, **options)

    np.testing.assert_allclose(dX, jacobian(lambda X: loss(X, W, b), X), rtol=0, atol=1e-10)
    np.testing.assert_allclose(dW, jacobian(lambda W: loss(X, W, b), W), rtol=0, atol=1e-10)
    np.testing.assert_allclose(db, jacobian(lambda b: loss(X, W, b), b), rtol=0, atol=1e-10)


def assert_close(got, expected, dtype):
    """Shapes and dtypes alike, values within a few roundings of the largest."""
    for one, other in zip(results(got), results(expected), strict=True):
        assert one.dtype == other.dtype == dtype and one.shape == other.shape
        one, other = truth.wide(one), truth.wide(other)
        size = np.max(np.abs(other), initial=0)
        np.testing.assert_allclose(one, other, rtol=0, atol=16 * truth.eps(dtype) * size)


LAYOUTS = {
    "plain": lambda a: a,
    "transposed": lambda a: a.T.copy().T,
    "strided": lambda a: np.repeat(np.repeat(a, 2, 0), 3, 1)[::2, ::3],
    "reversed": lambda a: a[::-1, ::-1].copy()[::-1, ::-1],
}


@pytest.mark.parametrize("layout, kind", [*itertools.product(LAYOUTS, ["hard"]), ("plain", "soft")])
def test_blocks_of_rows_make_the_same_results(sm, dtype, rng, layout, kind):
    """One row in a block, some, or all, whatever way the weights lie."""
    count, inputs, classes = 11, 40, 100
    X = (rng.standard_normal((count, inputs)) / 4).astype(dtype)
    W = rng.standard_normal((inputs, classes)).astype(dtype)
    b, weight = rng.standard_normal(classes).astype(dtype), rng.uniform(1, 2, classes)
    target = rng.integers(classes, size=count)
    target[::5] = IGNORED
    if kind == "soft":
        target = rng.dirichlet(np.ones(classes), count)
    options = dict(weight=weight, label_smoothing=0.125, z_loss=1e-3, return_lse=True)
    expected = sm.linear_cross_entropy_with_grad(X, W, target, b, **options)
    laid_out = LAYOUTS[layout](X), LAYOUTS[layout](W), target, b
    for block_bytes in (1, 40_000, 2**40):
        got = sm.linear_cross_entropy_with_grad(*laid_out, **options, block_bytes=block_bytes)
        assert_close(got, expected, dtype)
        alone = sm.linear_cross_entropy(*laid_out, **options, block_bytes=block_bytes)
        assert_close(alone, (expected[0], expected[2]), dtype)


def test_gradients_of_many_chunks_of_classes(sm, native_dtype, rng):
    """Sums over blocks in a matrix of weights that is taken in several pieces."""
    X = rng.standard_normal((20, 1200)).astype(native_dtype) / 32
    W = rng.standard_normal((1200, 1000)).astype(native_dtype)
    target = rng.integers(1000, size=20)
    expected = sm.linear_cross_entropy_with_grad(X, W, target)
    got = sm.linear_cross_entropy_with_grad(X, W, target, block_bytes=2**23)
    assert_close(got, expected, native_dtype)


class Interrupted(Exception):
    """Stands for the KeyboardInterrupt of a user."""


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="needs a timer that sends a signal")
def test_a_signal_is_heard_between_blocks(sm, rng):
    """Long before a call of some seconds is over."""
    X, W = rng.standard_normal((5000, 1)), rng.standard_normal((1, 10_000))

    def interrupt(*_):
        raise Interrupted

    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        with pytest.raises(Interrupted):
            signal.setitimer(signal.ITIMER_REAL, 0.02)
            sm.linear_cross_entropy(X, W, np.zeros(5000, int), block_bytes=1)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@pytest.mark.parametrize("block_bytes", [None, 1])
def test_layer_without_rows_or_inputs(sm, dtype, block_bytes):
    options = dict(reduction="none", block_bytes=block_bytes)
    for count, inputs in ((0, 3), (2, 0), (0, 0)):
        X, W = np.ones((count, inputs), dtype), np.ones((inputs, K), dtype)
        target = np.zeros(count, int)
        loss, (dX, dW, _) = sm.linear_cross_entropy_with_grad(X, W, target, **options)
        assert_close(loss, np.log(np.full(count, 5, np.longdouble)).astype(dtype), dtype)
        assert dX.shape == X.shape and dW.shape == W.shape
        assert not dX.astype(float).any() and not dW.astype(float).any()


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


def test_gradient_at_a_label_of_little_more_than_half(sm, native_dtype, rng):
    """s - 1 is smaller than s, and as exact: not with twice its error."""
    share = rng.uniform(0.5001, 0.5625, 400)
    x = np.stack([rng.standard_normal(400), np.zeros(400)], -1)
    x[:, 1] = x[:, 0] + np.log((1 - share) / share)
    x, target = x.astype(native_dtype), np.zeros(400, int)
    _, gradient = sm.cross_entropy_with_grad(x, target, reduction="none")
    truth.assert_ulps(gradient, definition(x, target, None, 0, "none")[1], 2.6)


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


@pytest.mark.parametrize("kind", ["hard", "ignoring", "soft"])
@pytest.mark.parametrize("smoothing", [0.0, 0.125])
def test_weights_of_every_size(sm, native_dtype, rng, kind, smoothing):
    """A power of two in all of them is one in the gradient, unless in that of a mean."""
    info = np.finfo(native_dtype)
    for k in (3, 17, 40, 129, 300, 5000):
        x = (rng.standard_normal((20, k)) * 3).astype(native_dtype)
        target = rng.integers(k, size=20)
        target[::4] = np.argmax(x[::4], -1)
        if kind == "ignoring":
            target[1::3] = IGNORED
        if kind == "soft":
            target = rng.dirichlet(np.ones(k), 20).astype(native_dtype)
        weight = rng.integers(1, 4, k).astype(native_dtype)
        for layout in (np.array, np.asfortranarray):
            for reduction in ("sum", "mean"):
                keywords = {"label_smoothing": smoothing, "reduction": reduction}
                plain = sm.cross_entropy_with_grad(layout(x), target, weight=weight, **keywords)
                for bits in (0.8 * info.minexp, 0.9 * info.maxexp):
                    power = native_dtype.type(2.0 ** int(bits))
                    loss, gradient = sm.cross_entropy_with_grad(
                        layout(x), target, weight=weight * power, **keywords
                    )
                    size = 1 if reduction == "mean" and kind != "soft" else power
                    close = {"rtol": 4 * info.eps, "atol": size * info.tiny + info.tiny * info.eps}
                    np.testing.assert_allclose(loss, plain[0] * size, **close)
                    most = 6 * info.eps * np.abs(plain[1] * size).max(-1, keepdims=True)
                    assert (np.abs(gradient - plain[1] * size) <= most + close["atol"]).all()


def test_gradient_of_small_weights(sm):
    weight = np.full(3, 1e-30, np.float32)
    x = np.float32([0, 1, 2])
    got = sm.cross_entropy_with_grad(x, 0, weight=weight, reduction="sum")
    exact = definition(x[np.newaxis], np.array([0]), weight, 0, "sum")
    compare(x.dtype, (got[0], got[1][np.newaxis]), exact)


@pytest.mark.parametrize("k", [3, 129])
def test_factors_that_no_float32_holds(sm, rng, k):
    """The mean's, of weights whose sum is beyond the range."""
    x = rng.standard_normal((100, k)).astype(np.float32)
    target, weight = rng.integers(k, size=100), np.full(k, 3e38, np.float32)
    for smoothing in (0.0, 0.125):
        keywords = {"label_smoothing": smoothing}
        got = sm.cross_entropy_with_grad(x, target, weight=weight, **keywords)[1]
        expected = sm.cross_entropy_with_grad(x, target, **keywords)[1]
        np.testing.assert_allclose(got, expected, rtol=1e-6, atol=1e-9)


def test_weights_that_come_to_nothing(sm, dtype):
    """Loss and gradient are both divided by 0; but a row that is ignored has none."""
    x = np.array([[0, 1, 2], [3, 1, 0], [1, 1, 1], [0, 0, 1]], dtype)
    weight = np.array([1, -1, 0], dtype)
    loss, gradient = sm.cross_entropy_with_grad(x, [0, 1, 2, IGNORED], weight=weight)
    assert loss == np.inf and sm.cross_entropy(x[:3], [0, 1, 2], weight=weight) == np.inf
    plain = sm.cross_entropy_with_grad(x, [0, 1, 2, IGNORED], weight=weight, reduction="sum")[1]
    with np.errstate(all="ignore"):
        expected = plain[:3].astype(float) / 0
    np.testing.assert_array_equal(gradient[:3].astype(float), expected)
    assert (gradient[3] == 0).all()
    loss, gradient = sm.cross_entropy_with_grad(x, [2, 2, IGNORED, 2], weight=weight)
    assert np.isnan(loss) and np.isnan(gradient[[0, 1, 3]].astype(float)).all()
    assert (gradient[2] == 0).all()


@pytest.mark.parametrize("value", [np.inf, -np.inf, np.nan])
@pytest.mark.parametrize("k", [2, 33, 200, 5000])
def test_targets_that_are_not_finite(sm, dtype, rng, value, k):
    """Their rows have neither loss nor gradient; others do not notice."""
    x = rng.standard_normal((5, k)).astype(dtype)
    target = np.full((5, k), 0.125).astype(dtype)
    expected = sm.cross_entropy_with_grad(x, target, reduction="none")
    peak = int(np.argmax(x[2].astype(float)))
    for position in {0, k - 1, peak}:
        hit = target.copy()
        hit[2, position] = value
        loss, gradient = sm.cross_entropy_with_grad(x, hit, reduction="none")
        assert np.isnan(loss[2]) and np.isnan(gradient[2].astype(float)).all()
        others = [0, 1, 3, 4]
        assert_identical((loss[others], gradient[others]), tuple(a[others] for a in expected))
        loss = sm.cross_entropy(x.T, hit.T, axis=0, reduction="none")
        assert np.isnan(loss[2]) and np.isfinite(loss[others].astype(float)).all()


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
