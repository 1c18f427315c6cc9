"""Weights of rows, gradients that are not wanted, and rows that are left out of the products."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import truth
from cases import INPUTS, assert_identical, results
from differences import directional, jacobian
from test_losses import IGNORED, REDUCTIONS, K, N, assert_close, compare, definition, problem
from test_peak_memory import peak_below

pytestmark = pytest.mark.light_on("numpy", "best")

KINDS = pytest.mark.parametrize("kind", ["hard", "ignoring", "soft"])


def weights_of_rows(rng, dtype):
    """Powers of two and others; the first row, which may be ignored, and another have none."""
    return np.append([0, 0.25, 0], rng.uniform(0.25, 2, N - 3)).astype(dtype)


def counted_weights(target, weight, sample):
    """What the mean divides by."""
    shares = truth.mpf(sample)
    if target.ndim == 1:
        w = truth.mpf(np.ones(K) if weight is None else weight)
        shares = shares * w[np.maximum(target, 0)] * (target != IGNORED)
    return shares.sum()


def weighted_definition(x, target, weight, smoothing, reduction, z_loss, sample):
    """The rows' own losses and gradients, each times the weight."""
    loss, gradient = definition(x, target, weight, smoothing, "none", z_loss=z_loss)
    sample = truth.mpf(sample)
    loss, gradient = loss * sample, gradient * sample[:, None]
    divisor = counted_weights(target, weight, sample) if reduction == "mean" else 1
    return (loss if reduction == "none" else loss.sum() / divisor), gradient / divisor


@KINDS
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("smoothing, z_loss", [(0.0, 0.0), (0.125, 0.0625)])
@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_losses_are_their_definition(sm, dtype, rng, kind, weighted, smoothing, z_loss, reduction):
    x, target, weight = problem(rng, dtype, kind)
    sample = weights_of_rows(rng, dtype)
    options = dict(
        weight=weight if weighted else None,
        label_smoothing=smoothing,
        z_loss=z_loss,
        reduction=reduction,
        sample_weight=sample,
    )
    exact = weighted_definition(x, target, options["weight"], smoothing, reduction, z_loss, sample)
    x[sample == 0] = np.nan
    if kind == "soft":
        target[sample == 0] = np.inf
    got = sm.cross_entropy_with_grad(x, target, **options)
    compare(dtype, got, exact)
    assert not got[1][sample == 0].astype(float).any()
    alone, lse = sm.cross_entropy(x, target, return_lse=True, **options)
    np.testing.assert_array_equal(alone, got[0])
    assert_identical(lse, sm.logsumexp(x))
    columns = sm.cross_entropy_with_grad(x.T, target.T, axis=0, **options)
    assert_identical((columns[0], columns[1].T), got)


@KINDS
@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_gradient_is_the_difference_of_the_loss(sm, rng, kind, reduction):
    x, target, weight = problem(rng, float, kind)
    options = dict(
        weight=weight,
        label_smoothing=0.25,
        reduction=reduction,
        z_loss=0.125,
        sample_weight=weights_of_rows(rng, float),
    )
    got = sm.cross_entropy_with_grad(x, target, **options)[1]
    expected = jacobian(lambda x: np.sum(sm.cross_entropy(x, target, **options)), x)
    np.testing.assert_allclose(got, expected, rtol=0, atol=1e-11)


@KINDS
@pytest.mark.parametrize("smoothing", [0.0, 0.125])
@pytest.mark.parametrize("k", [1, 3, 17, 40, 129, 300, 5000])
@pytest.mark.parametrize("axis", [0, 1])
def test_powers_of_two(sm, native_dtype, rng, kind, smoothing, k, axis):
    """They change no digit, in rows of any length, and neither the rows beside them."""
    x = (rng.standard_normal((37, k)) * 3).astype(native_dtype)
    target = rng.integers(k, size=37)
    target[::4] = np.argmax(x[::4], -1)
    if kind == "ignoring":
        target[1::3] = IGNORED
    if kind == "soft":
        target = rng.dirichlet(np.ones(k), 37).astype(native_dtype)
    sample = np.ldexp(1.0, rng.integers(-20, 20, 37)) * (rng.random(37) < 0.8)
    laid_out = (x, target) if axis else (x.T.copy(), target.T.copy())
    options = dict(label_smoothing=smoothing, reduction="none", axis=axis)
    loss, gradient = sm.cross_entropy_with_grad(*laid_out, **options)
    got = sm.cross_entropy_with_grad(*laid_out, **options, sample_weight=sample)
    sample = sample.astype(native_dtype)
    assert_identical(got[0] + 0, loss * sample + 0)
    by_row = sample[:, None] if axis else sample
    # (where the gradient has no sign of its own, it may have that of zero)
    np.testing.assert_array_equal(got[1], gradient * by_row)


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("size", [1e-30, 1e30])
@pytest.mark.parametrize("soft", [False, True])
def test_weights_of_every_size(sm, rng, reduction, size, soft):
    """In float32: no digit is lost, nothing is beyond the range."""
    x, target, _ = problem(rng, np.float32, "soft" if soft else "hard")
    sample = rng.uniform(1, 2, N) * size
    got = sm.cross_entropy_with_grad(x, target, reduction=reduction, sample_weight=sample)
    exact = weighted_definition(x, target, None, 0.0, reduction, 0.0, sample.astype(np.float32))
    compare(x.dtype, got, exact)


@pytest.mark.parametrize("size", [1e-300, 1e-60, 1e60, 1.7e308])
def test_a_mean_knows_ratios_alone(sm, native_dtype, rng, size):
    """Weights that the dtype cannot hold, or whose sum none can."""
    x, target, weight = problem(rng, native_dtype, "ignoring")
    sample = np.array([1, 0.5, 0.25, 0, 0.125, 1])
    for options in ({}, {"weight": weight}):
        expected = sm.cross_entropy_with_grad(x, target, sample_weight=sample, **options)
        got = sm.cross_entropy_with_grad(x, target, sample_weight=sample * size, **options)
        for one, other in zip(got, expected, strict=True):
            np.testing.assert_allclose(one, other, rtol=4 * truth.eps(native_dtype), atol=0)
    with pytest.raises(ValueError, match="sample_weight must be finite in float32"):
        sm.cross_entropy(np.float32(x), target, sample_weight=[1e39] * N, reduction="sum")


def test_forms_of_weights(sm, dtype, rng):
    """Numbers of any kind, one for all, and what broadcasts."""
    x = rng.standard_normal((2, 3, K)).astype(dtype)
    target = rng.integers(K, size=(2, 3))

    def call(sample, reduction="sum"):
        return sm.cross_entropy_with_grad(x, target, sample_weight=sample, reduction=reduction)

    expected = call(np.full((2, 3), 2.0))
    for same in (2, 2.0, np.float16(2), np.full((2, 3, 1), 2), [[2], [2]], np.int8([2, 2, 2])):
        assert_identical(call(same), expected)
    rows = call(np.array([1, 2, 3]), "none")
    assert_identical(call(np.tile([1, 2, 3], (2, 1)), "none"), rows)
    plain = sm.cross_entropy_with_grad(x, target)
    for one, other in zip(call(7, "mean"), plain, strict=True):
        np.testing.assert_allclose(
            one.astype(float), other.astype(float), rtol=4 * truth.eps(dtype), atol=1e-7
        )
    one = sm.cross_entropy(x[0, 0], target[0, 0], sample_weight=3, reduction="sum")
    assert_identical(
        one, sm.cross_entropy(x[0, :1], target[0, :1], sample_weight=[3], reduction="sum")
    )


@KINDS
def test_with_classes_left_out(sm, dtype, rng, kind):
    """`where` beside the weights: each row's own loss and gradient times its own."""
    x, target, weight = problem(rng, dtype, kind)
    where = rng.random((N, K)) < 0.7
    where[np.arange(N), np.maximum(target, 0) if target.ndim == 1 else 0] = True
    where[N - 1] = False
    sample = np.ldexp(weights_of_rows(rng, dtype) > 0, 3)
    options = dict(weight=weight, label_smoothing=0.25, where=where, reduction="none")
    loss, gradient = sm.cross_entropy_with_grad(x, target, **options)
    x[sample == 0] = np.nan
    got = sm.cross_entropy_with_grad(x, target, sample_weight=sample, **options)
    expected = np.where(sample, loss.astype(float) * 8, 0)
    np.testing.assert_array_equal(got[0].astype(float), expected)
    by_row = np.where(sample[:, None], gradient.astype(float) * 8, 0)
    tolerance = 2 * truth.eps(dtype) if dtype.itemsize == 2 else 0  # rounded before or after
    np.testing.assert_allclose(got[1].astype(float), by_row, rtol=tolerance)


@pytest.mark.parametrize("reduction, expected", [("none", 0.0), ("sum", 0.0), ("mean", np.nan)])
@pytest.mark.parametrize("soft", [False, True])
def test_no_row_has_a_weight(sm, dtype, rng, reduction, expected, soft):
    """As if all were ignored."""
    x, target, _ = problem(rng, dtype, "soft" if soft else "hard")
    x[0] = np.nan
    options = dict(sample_weight=np.zeros(N), reduction=reduction)
    loss, gradient = sm.cross_entropy_with_grad(x, target, **options)
    np.testing.assert_array_equal(loss.astype(float), expected)
    assert (gradient == 0).all()
    X, W = rng.standard_normal((N, 2)).astype(dtype), rng.standard_normal((2, K)).astype(dtype)
    X[0] = np.nan
    loss, gradients = sm.linear_cross_entropy_with_grad(X, W, target, W[0], **options)
    np.testing.assert_array_equal(loss.astype(float), expected)
    assert all((gradient == 0).all() for gradient in gradients)
    products = sm.linear_cross_entropy_hvp(X, W, W, target, W[0], **options)
    assert all((product == 0).all() for product in products)


# ---- Hessians ------------------------------------------------------------------------------------


@KINDS
@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_hvp_is_the_difference_of_the_gradient(sm, rng, kind, reduction):
    x, target, weight = problem(rng, float, kind)
    v, sample = rng.standard_normal((N, K)), weights_of_rows(rng, float)
    options = dict(weight=weight, reduction=reduction, sample_weight=sample)
    expected = directional(lambda x: sm.cross_entropy_with_grad(x, target, **options)[1], x, v)
    s = sm.softmax(x)
    s[sample == 0] = np.nan
    got = sm.cross_entropy_hvp(s, v, target, **options)
    np.testing.assert_allclose(got, expected, rtol=0, atol=1e-11)
    options.pop("weight")
    labels = np.zeros(N, int)
    expected = sm.cross_entropy_hvp(s, v, labels, **options)
    assert_identical(sm.cross_entropy_hvp(s, v, **options), expected)


@KINDS
@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("masked", [False, True])
def test_layer_hvp(sm, rng, kind, reduction, masked):
    """That of the logits, carried on; whatever rows without a weight hold."""
    X, W, V = (rng.standard_normal(shape) for shape in [(N, INPUTS), (INPUTS, K), (INPUTS, K)])
    b, Vb = rng.standard_normal((2, K))
    _, target, weight = problem(rng, float, kind)
    where = rng.random((N, K)) < 0.8 if masked else None
    if masked and target.ndim == 1:
        where[np.arange(N), np.maximum(target, 0)] = True
    options = dict(
        weight=weight,
        reduction=reduction,
        where=where,
        sample_weight=weights_of_rows(rng, float),
    )
    s = sm.softmax(X @ W + b, where=where)
    delta = sm.cross_entropy_hvp(s, X @ V + Vb, target, **options)
    expected = X.T @ delta, delta.sum(0)
    X[options["sample_weight"] == 0] = np.nan
    for keywords in ({}, {"s": s}):
        got = sm.linear_cross_entropy_hvp(X, W, V, target, b, Vb, **options, **keywords)
        for one, other in zip(got, expected, strict=True):
            np.testing.assert_allclose(one, other, rtol=0, atol=1e-14)


def test_hvp_with_the_softmax_at_hand(sm, dtype, rng):
    """It takes the place of the weights; large and small, one direction or several."""
    for count, classes in ((N, K), (300, 500)):
        X = rng.standard_normal((count, INPUTS)).astype(dtype)
        W, V = rng.standard_normal((2, INPUTS, classes)).astype(dtype)
        b, Vb = rng.standard_normal((2, classes)).astype(dtype)
        target = rng.integers(classes, size=count)
        s = sm.softmax_layer(X, W, b)
        for direction in ((V, Vb), (np.stack([V, V]), np.stack([Vb, Vb]))):
            expected = sm.linear_cross_entropy_hvp(X, W, direction[0], target, b, direction[1])
            given = (X, np.full_like(W, np.nan), direction[0], target, b, direction[1])
            got = sm.linear_cross_entropy_hvp(*given, s=s)
            assert_close(got, expected, dtype)
    with pytest.raises(ValueError, match=r"s must have shape \(300, 500\); found \(500,\)"):
        sm.linear_cross_entropy_hvp(X, W, V, s=s[0])


# ---- Layers --------------------------------------------------------------------------------------


@KINDS
@pytest.mark.parametrize("block_bytes", [None, 1, 400])
@pytest.mark.parametrize("transposed", [False, True])
def test_rows_left_out_of_the_products(sm, dtype, rng, kind, block_bytes, transposed):
    """Those of weight 0 and those ignored: the rest alone has the same gradients."""
    X = rng.standard_normal((N, INPUTS)).astype(dtype)
    W = rng.standard_normal((INPUTS, K)).astype(dtype)
    W = np.repeat(W, 2, axis=0)[::2] if transposed else W
    b = rng.standard_normal(K).astype(dtype)
    _, target, weight = problem(rng, dtype, kind)
    sample = weights_of_rows(rng, dtype)
    left = np.flatnonzero((sample > 0) & ((target != IGNORED) if target.ndim == 1 else True))
    options = dict(weight=weight, label_smoothing=0.25, z_loss=0.125, return_lse=True)
    loss, (dX, dW, db), _ = sm.linear_cross_entropy_with_grad(
        X[left], W, target[left], b, **options, sample_weight=sample[left]
    )
    all_lse = sm.linear_cross_entropy(X, W, target, b, **options)[1]
    whole = np.zeros_like(X)
    whole[left] = dX
    given = X.copy()
    given[np.setdiff1d(np.arange(N), left)[::2]] = np.nan
    options.update(sample_weight=sample, block_bytes=block_bytes)
    got = sm.linear_cross_entropy_with_grad(given, W, target, b, **options)
    assert_close(got[:2], (loss, (whole, dW, db)), dtype)
    seen = ~np.isnan(given[:, 0].astype(float))
    assert_close(got[2][seen], all_lse[seen], dtype)
    assert np.isnan(got[2][~seen].astype(float)).all()
    without = sm.linear_cross_entropy_with_grad(
        given, W, target, b, **options | {"return_lse": False}
    )
    assert_identical(without, got[:2])
    alone = sm.linear_cross_entropy(given, W, target, b, **options)
    assert_close((alone[0], alone[1][seen]), (loss, all_lse[seen]), dtype)
    each = sm.linear_cross_entropy(given, W, target, b, **options | {"reduction": "none"})[0]
    assert not np.delete(each, left).astype(float).any()


@pytest.mark.parametrize("name", ["linear_cross_entropy", "linear_cross_entropy_with_grad"])
@pytest.mark.parametrize("soft", [False, True])
def test_inputs_of_any_leading_axes(sm, dtype, rng, name, soft):
    """Results have them, too; and so do the layer and the Hessian's product."""
    X = rng.standard_normal((4, 3, 2, INPUTS)).astype(dtype)
    W, V = rng.standard_normal((2, INPUTS, K)).astype(dtype)
    target = rng.integers(K, size=X.shape[:-1])
    if soft:
        target = rng.dirichlet(np.ones(K), X.shape[:-1]).astype(dtype)
    sample = rng.integers(3, size=(3, 2)) if soft else np.ones((3, 2))
    options = dict(reduction="none", return_lse=True, label_smoothing=0.125)
    where = rng.random((3, 1, K)) < 2

    def rows(a):
        return a.reshape(24, *a.shape[3:])

    flat = getattr(sm, name)(
        rows(X), W, rows(target), **options, sample_weight=np.tile(sample, (4, 1, 1)).reshape(24)
    )
    for x in (X, np.asfortranarray(X)):
        got = getattr(sm, name)(x, W, target, **options, sample_weight=sample)
        for one, other in zip(results(got), results(flat), strict=True):
            lead = X.shape[:-1] if len(other) == 24 else ()
            assert one.shape == lead + other.shape[len(lead) > 0 :]
        pairs = zip(results(got), results(flat), strict=True)
        assert_close(tuple(a.reshape(b.shape) for a, b in pairs), flat, dtype)
    masked = getattr(sm, name)(X, W, target, **options, sample_weight=sample, where=where)
    assert_close(masked, got, dtype)
    hvp = sm.linear_cross_entropy_hvp(X, W, V, target, sample_weight=sample)
    s = sm.softmax_layer(X, W)
    assert s.shape == (4, 3, 2, K)
    assert_close(
        sm.linear_cross_entropy_hvp(X, W, V, target, sample_weight=sample, s=s), hvp, dtype
    )


def test_layers_of_any_leading_axes(sm, dtype, rng):
    x = rng.standard_normal((4, 3, INPUTS)).astype(dtype)
    W, b = rng.standard_normal((INPUTS, K)).astype(dtype), rng.standard_normal(K).astype(dtype)
    g = rng.standard_normal((4, 3, K)).astype(dtype)
    flat = x.reshape(12, INPUTS)
    s = sm.softmax_layer(x, W, b)
    assert_close(s.reshape(12, K), sm.softmax_layer(flat, W, b), dtype)
    dW, db, dx = sm.softmax_layer_vjp(s, x, W, g)
    expected = sm.softmax_layer_vjp(s.reshape(12, K), flat, W, g.reshape(12, K))
    assert dx.shape == x.shape
    assert_close((dW, db, dx.reshape(12, INPUTS)), expected, dtype)
    moved = sm.softmax_layer_jvp(s, x, W, W, b, x)
    expected = sm.softmax_layer_jvp(s.reshape(12, K), flat, W, W, b, flat)
    assert_close(moved.reshape(12, K), expected, dtype)
    J = sm.softmax_layer_jacobian(s, x)
    expected = sm.softmax_layer_jacobian(s.reshape(12, K), flat)
    assert_identical(J, expected.reshape(4, 3, *expected.shape[1:]))
    assert_identical(sm.SoftmaxLayerJacobian(s, x).todense(), J)
    v = rng.standard_normal(J.shape[-1])
    np.testing.assert_allclose(
        (sm.SoftmaxLayerJacobian(s, x) @ v).astype(float), J.astype(float) @ v, atol=0.1
    )
    Z = sm.linear_weight_jacobian(x, K)
    assert_identical(Z.reshape(12, *Z.shape[2:]), sm.linear_weight_jacobian(flat, K))


# ---- Gradients that are wanted -------------------------------------------------------------------

CHOICES = ["", "X", "W", "b", "XW", "Wb", "bX", "XWb"]


@pytest.mark.parametrize("wrt", CHOICES)
@pytest.mark.parametrize("form", [str, tuple, set, iter], ids=["str", "tuple", "set", "iterator"])
@pytest.mark.parametrize("with_bias", [False, True])
def test_gradients_that_are_wanted(sm, native_dtype, rng, wrt, form, with_bias):
    X = rng.standard_normal((N, INPUTS)).astype(native_dtype)
    W, b = rng.standard_normal((INPUTS, K)).astype(native_dtype), np.ones(K, native_dtype)
    b = b if with_bias else None
    target = rng.integers(K, size=N)
    for options in ({}, {"block_bytes": 1}, {"sample_weight": weights_of_rows(rng, native_dtype)}):
        loss, gradients = sm.linear_cross_entropy_with_grad(X, W, target, b, **options)
        got = sm.linear_cross_entropy_with_grad(X, W, target, b, **options, wrt=form(wrt))
        assert_close(got[0], loss, native_dtype)
        for name, one, other in zip("XWb", got[1], gradients, strict=True):
            assert (one is None) == (name not in wrt or other is None)
            if one is not None:
                assert_close(one, other, native_dtype)
    s = sm.softmax_layer(X, W)
    gradients = sm.softmax_layer_vjp(s, X, W, s * s)
    got = sm.softmax_layer_vjp(s, X, W, s * s, wrt=form(wrt.replace("X", "x")))
    for name, one, other in zip("WbX", got, gradients, strict=True):
        assert (one is None) == (name not in wrt)
        if one is not None:
            assert_close(one, other, native_dtype)


@pytest.mark.parametrize(
    "wrt, error",
    [
        ("Q", ValueError),
        ("x", ValueError),
        (["X", "bias"], ValueError),
        (None, TypeError),
        (3, TypeError),
        ([["X"]], TypeError),
    ],
)
def test_names_that_no_gradient_has(sm, wrt, error):
    x, W = np.ones((N, 2)), np.ones((2, K))
    with pytest.raises(error, match="wrt must hold names among 'X', 'W', 'b'; found") as caught:
        sm.linear_cross_entropy_with_grad(x, W, np.zeros(N, int), wrt=wrt)
    assert repr(wrt) in str(caught.value)
    wrt = "X" if wrt == "x" else wrt
    with pytest.raises(error, match="wrt must hold names among 'W', 'b', 'x'; found"):
        sm.softmax_layer_vjp(np.ones((N, K)) / K, x, W, 1.0, wrt=wrt)


@pytest.mark.parametrize("name", ["linear", "layer"])
def test_a_gradient_not_wanted_takes_no_memory(sm, name):
    """The one by the inputs is as large as they are."""
    X, W = np.ones((20_000, 200)), np.ones((200, 3))
    target, s = np.zeros(20_000, int), np.full((20_000, 3), 1 / 3)
    with peak_below(X.nbytes * 0.6):
        if name == "linear":
            sm.linear_cross_entropy_with_grad(X, W, target, wrt="Wb")
        else:
            sm.softmax_layer_vjp(s, X, W, s, wrt="Wb")


@pytest.mark.parametrize("count", [1, 2, 5])
def test_small_calls_with_rows_left_out(sm, native_dtype, count):
    """Where the fast path stands before: what an ignored row holds stays out of the sums."""
    X, W = np.ones((count, 2), native_dtype), np.ones((2, 3), native_dtype)
    target = np.arange(count) % 3
    target[0], X[0] = IGNORED, np.nan
    for call in (
        lambda: sm.linear_cross_entropy_with_grad(X, W, target, W[0])[1],
        lambda: sm.linear_cross_entropy_hvp(X, W, W, target, W[0], W[0]),
    ):
        assert all(np.isfinite(gradient).all() for gradient in call())
    W[0] = np.inf
    assert not sm.linear_cross_entropy_with_grad(X, W, target)[1][0][0].any()


def test_every_option_together(sm, rng):
    """Weights of classes and rows, and probabilities: PyTorch has no such thing, the sum has."""
    x, target, weight = problem(rng, float, "soft")
    sample = weights_of_rows(rng, float)
    for smoothing, z_loss in itertools.product([0.0, 0.25], [0.0, 0.5]):
        options = dict(weight=weight, label_smoothing=smoothing, z_loss=z_loss)
        each = sm.cross_entropy(x, target, reduction="none", **options)
        mean = sm.cross_entropy(x, target, sample_weight=sample, **options)
        np.testing.assert_allclose(mean, np.average(each, weights=sample), rtol=1e-14)
