"""smcore.jax: values and derivatives under JAX's transformations, by both ways to a kernel."""

from __future__ import annotations

import functools
import importlib
import sys

import numpy as np
import pytest

pytest.importorskip("jax")

import jax
import jax.numpy as jnp
from jax.test_util import check_grads
from numpy.exceptions import AxisError

import smcore
from smcore import jax as sj
from smcore.jax import _kernels, _softmax

rng = np.random.default_rng(5)
X = rng.normal(size=(3, 4, 5))
MASK = rng.random((3, 4, 5)) < 0.7
MASK[..., 0] = MASK[0] = True
LABELS = rng.integers(0, 5, (3, 4))
SOFT = rng.dirichlet(np.ones(5), (3, 4))
BY_ROW = rng.random((3, 4))
BY_ROW[0, 1] = 0
WAYS = ["callback", "ffi"] if sj.uses_ffi() else ["callback"]


@pytest.fixture(params=WAYS)
def way(request, monkeypatch):
    """Reach the kernels by each way that there is; other tests do so by the best."""
    if request.param != WAYS[-1]:
        monkeypatch.setattr(_kernels, "_by_ffi", False)
        jax.clear_caches()
    yield request.param
    if request.param != WAYS[-1]:
        jax.clear_caches()


@pytest.fixture
def x64():
    jax.config.update("jax_enable_x64", True)  # in all threads: those of callbacks, too
    yield
    jax.config.update("jax_enable_x64", False)


def checked(function, *arguments, order=2):
    check_grads(function, arguments, order, modes=["fwd", "rev"], atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize(
    ("axis", "where"), [(-1, None), ((0, 2), MASK)], ids=["rows", "where, two axes"]
)
@pytest.mark.parametrize("name", ["softmax", "log_softmax", "logsumexp"])
def test_values_and_derivatives(name, axis, where, x64):
    function = functools.partial(getattr(sj, name), axis=axis, where=where)
    expected = getattr(smcore, name)(X, axis, where=where)
    np.testing.assert_array_equal(function(X), expected)
    counts = np.isfinite(expected)
    checked(lambda x: jnp.sin(jnp.where(counts, function(x), 0)), jnp.asarray(X))
    if where is not None:
        x = jnp.where(MASK, X, jnp.nan)  # is not looked at
        dx = jax.grad(lambda x: jnp.where(counts, function(x), 0).sum())(x)
        assert not dx[~MASK].any()
        assert jnp.isfinite(dx).all()


def peers():
    return {
        "softmax": jax.nn.softmax,
        "log_softmax": jax.nn.log_softmax,
        "logsumexp": jax.nn.logsumexp,
    }


PEERS = {
    "softmax": jax.nn.softmax,
    "log_softmax": jax.nn.log_softmax,
    "logsumexp": functools.partial(jax.nn.logsumexp, axis=-1),
}


@pytest.mark.parametrize("name", PEERS)
@pytest.mark.parametrize("axis", [0, 1, None])
def test_axes(name, axis, x64, way):
    options = {"axis": axis, "where": MASK}
    expected = getattr(smcore, name)(X, **options)
    np.testing.assert_array_equal(getattr(sj, name)(X, **options), expected)


COMPOSED = {
    "jit grad": lambda f: jax.jit(jax.grad(f)),
    "grad jit": lambda f: jax.grad(jax.jit(f)),
    "vmap grad": lambda f: jax.vmap(jax.grad(f)),
    "jit vmap hessian": lambda f: jax.jit(jax.vmap(jax.hessian(f))),
    "grad grad": lambda f: jax.grad(lambda x: jnp.sum(jax.grad(f)(x) ** 2)),
    "jacrev jacfwd": lambda f: jax.jit(jax.jacrev(jax.jacfwd(f))),
    "jacfwd jacfwd": lambda f: jax.jit(jax.jacfwd(jax.jacfwd(f))),
    "linearize grad": lambda f: lambda x: jax.linearize(jax.grad(f), x)[1](x),
    "grad checkpoint": lambda f: jax.grad(jax.checkpoint(f)),
    "third": lambda f: jax.jit(jax.jacfwd(jax.jacrev(jax.jacrev(f)))),
    "scan": lambda f: jax.grad(lambda x: jax.lax.scan(lambda c, r: (c, f(r)), 0, x)[1].sum()),
}


@pytest.mark.parametrize("composed", COMPOSED.values(), ids=COMPOSED)
def test_compositions_agree_with_jax(composed, x64):
    x = jnp.asarray(X[0, :2, :3])

    def mixed(functions):
        """Mix all functions, so that each composition is compiled but once."""
        return lambda x: sum(jnp.sum(jnp.sin(f(x)) ** (i + 1)) for i, f in enumerate(functions))

    ours, theirs = mixed([getattr(sj, name) for name in PEERS]), mixed(PEERS.values())
    np.testing.assert_allclose(composed(ours)(x), composed(theirs)(x), rtol=1e-9, atol=1e-12)


def test_vmap_maps_any_axis(way):
    for name in PEERS:
        found = jax.vmap(getattr(sj, name), in_axes=1, out_axes=-1)(X)
        expected = np.moveaxis(getattr(smcore, name)(X.astype(np.float32)), 1, -1)
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
def test_dtypes(dtype, way):
    x = jnp.asarray(X, dtype)
    for name in ("softmax", "log_softmax", "logsumexp"):
        ours, theirs = getattr(sj, name), getattr(smcore, name)
        found = jax.jit(ours)(x)
        assert found.dtype == x.dtype
        np.testing.assert_array_equal(np.asarray(found), theirs(np.asarray(x)))
        dx = jax.grad(lambda x, ours=ours: ours(x)[0].sum())(x)
        assert dx.dtype == x.dtype
    dx = jax.grad(sj.cross_entropy)(x, LABELS)
    exact = smcore.cross_entropy_with_grad(np.asarray(x, np.float64), LABELS)[1]
    assert dx.dtype == x.dtype
    np.testing.assert_allclose(np.asarray(dx, float), exact, rtol=3 * float(jnp.finfo(dtype).eps))


def test_integers_become_the_default_float():
    assert sj.softmax([1, 2, 3]).dtype == jnp.float32
    np.testing.assert_array_equal(sj.softmax([1, 2, 3]), sj.softmax([1.0, 2.0, 3.0]))
    assert sj.logsumexp(True).dtype == jnp.float32


def test_integers_become_double_with_x64(x64):
    assert sj.softmax([1, 2, 3]).dtype == jnp.float64


@pytest.mark.parametrize("name", ["softmax", "log_softmax"])
@pytest.mark.parametrize("where", [None, MASK], ids=["all", "where"])
def test_scale(name, where, x64):
    for scale in (1.5, -0.5, 0.0, X[..., 0], X[..., :1], X[0, :, 0]):
        expected = getattr(smcore, name)(X, scale=scale, where=where)
        found = getattr(sj, name)(X, scale=scale, where=where)
        np.testing.assert_allclose(found, expected, rtol=1e-15)
    scale = X[..., 0].copy()
    scale[0] = 0

    def function(x, scale):
        y = getattr(sj, name)(x, scale=scale, where=where)
        return y if where is None else jnp.where(where, y, 0)

    checked(
        lambda x, scale: jnp.sin(function(x, scale)), jnp.asarray(X), jnp.asarray(scale), order=1
    )


OPTIONS = {
    "plain": {},
    "sum": dict(reduction="sum"),
    "none": dict(reduction="none"),
    "ignored": dict(ignore_index=2),
    "weight": dict(weight=np.array([0.5, 2.0, 1.0, 0.0, 3.0]), label_smoothing=0.1),
    "z_loss": dict(z_loss=0.3, ignore_index=1, weight=np.array([0.5, 2.0, 1.0, 1.0, 3.0])),
    "where": dict(where=MASK, label_smoothing=0.2, z_loss=0.1, reduction="none"),
    "where sum": dict(where=MASK, label_smoothing=0.2, reduction="sum", weight=np.arange(1.0, 6)),
    "rows": dict(sample_weight=BY_ROW, label_smoothing=0.1),
    "rows z_loss": dict(sample_weight=BY_ROW, z_loss=0.3, ignore_index=1, weight=np.arange(1.0, 6)),
    "rows sum": dict(sample_weight=BY_ROW, z_loss=0.3, reduction="sum"),
    "rows where": dict(sample_weight=BY_ROW, where=MASK, z_loss=0.3, reduction="none"),
}


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
@pytest.mark.parametrize("soft", [False, True], ids=["labels", "soft"])
def test_cross_entropy(options, soft, x64, way):
    labels = np.zeros_like(LABELS) if "where" in options else LABELS
    target = SOFT if soft else labels
    function = functools.partial(sj.cross_entropy, **options)
    expected = smcore.cross_entropy(X, target, **options)
    np.testing.assert_allclose(function(X, target), expected, rtol=1e-14)
    _, dx = smcore.cross_entropy_with_grad(X, target, **options)
    found = jax.grad(lambda x: function(x, target).sum())(X)
    np.testing.assert_allclose(found, dx, rtol=1e-14, atol=1e-17)
    if way == WAYS[-1]:
        checked(lambda x: function(x, target), jnp.asarray(X))


@pytest.mark.parametrize("name", ["weight", "where", "rows", "rows where"])
def test_cross_entropy_by_probabilities(name, x64):
    function = functools.partial(sj.cross_entropy, **OPTIONS[name])
    checked(function, jnp.asarray(X), jnp.asarray(SOFT))


def test_the_ways_agree(x64):
    """Bit for bit, in what is differentiated, too."""

    def function(x):
        rows = [f(x, scale=0.5) for f in (sj.softmax, sj.log_softmax)]
        return jnp.sum(jnp.sin(rows[0] + rows[1])) + jnp.sum(sj.logsumexp(x) ** 2)

    x = jnp.asarray(X[0, :2, :3])
    found = jax.jit(jax.hessian(function))(x)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_kernels, "_by_ffi", False)
        jax.clear_caches()
        np.testing.assert_array_equal(found, jax.jit(jax.hessian(function))(x))
    jax.clear_caches()


def test_cross_entropy_along_another_axis_and_mapped(x64):
    x = jnp.asarray(np.moveaxis(X, -1, 0))
    expected = smcore.cross_entropy(X, LABELS, reduction="none", z_loss=0.1)
    options = dict(axis=0, reduction="none", z_loss=0.1)
    np.testing.assert_array_equal(sj.cross_entropy(x, LABELS, **options), expected)
    by_row = jax.vmap(jax.value_and_grad(functools.partial(sj.cross_entropy, z_loss=0.1)))
    losses, dx = by_row(X.reshape(-1, 5), LABELS.reshape(-1))
    np.testing.assert_array_equal(losses, expected.reshape(-1))
    _, exact = smcore.cross_entropy_with_grad(X, LABELS, reduction="none", z_loss=0.1)
    np.testing.assert_array_equal(dx, exact.reshape(-1, 5))
    weights = rng.random((6, 5))  # mapped themselves
    found = jax.vmap(lambda w: sj.cross_entropy(X, LABELS, weight=w))(weights)
    exact = [smcore.cross_entropy(X, LABELS, weight=w) for w in weights]
    np.testing.assert_allclose(found, exact, rtol=1e-14)
    each = rng.random((2, 3, 4))
    found = jax.vmap(lambda w: sj.cross_entropy(X, LABELS, sample_weight=w))(each)
    exact = [smcore.cross_entropy(X, LABELS, sample_weight=w) for w in each]
    np.testing.assert_allclose(found, exact, rtol=1e-14)


@pytest.mark.parametrize("reduction", ["sum", "none", "mean"])
def test_no_row_counts(reduction):
    labels = np.full((3, 4), -100)
    function = functools.partial(sj.cross_entropy, reduction=reduction)
    expected = smcore.cross_entropy(X, labels, reduction=reduction)
    np.testing.assert_array_equal(function(X, labels), expected.astype(np.float32))
    assert not jax.grad(lambda x: function(x, labels).sum())(X).any()


@pytest.mark.parametrize("dtype", ["float16", "float32"])
@pytest.mark.parametrize("soft", [False, True], ids=["labels", "soft"])
def test_a_row_of_weight_zero_is_not_looked_at(dtype, soft, way):
    x = jnp.asarray(X.reshape(-1, 5), dtype).at[7].set(jnp.nan)
    target = jnp.asarray(SOFT.reshape(-1, 5), dtype) if soft else jnp.asarray(LABELS.reshape(-1))
    weights = np.arange(12.0) % 7  # 0 in rows 0 and 7
    function = jax.value_and_grad(lambda x: sj.cross_entropy(x, target, sample_weight=weights))
    counted = np.flatnonzero(weights)
    loss, dx = smcore.cross_entropy_with_grad(
        np.asarray(x)[counted], np.asarray(target)[counted], sample_weight=weights[counted]
    )
    found, gradient = function(x)
    eps = float(jnp.finfo(dtype).eps)
    np.testing.assert_allclose(np.float64(found), np.float64(loss), rtol=2 * eps)
    np.testing.assert_allclose(gradient[counted], dx, rtol=4 * eps, atol=eps / 8)
    assert not gradient[np.array([0, 7])].any()
    second = jax.jvp(jax.grad(lambda x: function(x)[0]), (x,), (jnp.ones_like(x),))[1]
    assert np.isfinite(second).all()
    none, gradient = jax.value_and_grad(sj.cross_entropy)(x, target, sample_weight=0 * weights)
    assert np.isnan(none) and not gradient.any()


@pytest.mark.parametrize("wrong", [-1.0, np.nan, np.inf])
def test_wrong_sample_weights(wrong, way):
    weights = np.ones((3, 4))
    weights[1, 1] = wrong
    with pytest.raises((ValueError, jax.errors.JaxRuntimeError), match="sample_weight must be"):
        jax.block_until_ready(sj.cross_entropy(X, LABELS, sample_weight=weights))


@pytest.mark.parametrize("name", ["sample_weight", "weight"])
@pytest.mark.parametrize("size", [1e-30, 1e38])
def test_a_mean_takes_weights_of_any_size(name, size, way):
    x, labels = jnp.asarray(X[0], jnp.float32), jnp.asarray(LABELS[0] % 3)
    weights = jnp.array([1.0, 2.0, 3.0, 2.0, 1.0][: 4 if name == "sample_weight" else 5])
    expected = jax.value_and_grad(sj.cross_entropy)(x, labels, **{name: weights})
    found = jax.value_and_grad(sj.cross_entropy)(x, labels, **{name: size * weights})
    for ours, theirs in zip(found, expected, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int32])
def test_an_index_to_ignore_that_no_label_can_be(dtype, way):
    labels = LABELS.astype(dtype)
    expected = sj.cross_entropy(X, labels)
    assert sj.cross_entropy(X, labels, ignore_index=2**40) == expected


@pytest.mark.parametrize(
    ("dtype", "ignored"),
    [(np.uint8, -100), (np.int8, -250), (np.int32, 2**31), (np.uint32, -(2**32))],
)
def test_labels_that_are_ignored_modulo_their_width_count(dtype, ignored, way):
    x = jnp.asarray(rng.normal(size=(2, 200)))
    labels = np.array([156 if dtype == np.uint8 else 6, 3])
    expected = jax.hessian(sj.cross_entropy)(x, labels)
    found = jax.hessian(functools.partial(sj.cross_entropy, ignore_index=ignored))(
        x, labels.astype(dtype)
    )
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-9)


def test_a_row_without_weight_has_no_part_in_derivatives_by_probabilities(way):
    x = np.array([[np.nan, 0, 0], [1.0, 2, 3]])
    function = functools.partial(sj.cross_entropy, x, sample_weight=np.array([0.0, 1]))
    target = np.full((2, 3), 1 / 3)
    found = jax.grad(function)(target)
    np.testing.assert_array_equal(found[0], 0)
    assert np.isfinite(found).all()
    assert np.isfinite(jax.jvp(function, (target,), (target,))[1])


def test_the_mean_over_no_rows_is_nan():
    for target in (np.zeros((0, 4)), np.zeros(0, int)):
        assert np.isnan(sj.cross_entropy(np.zeros((0, 4)), target))


def test_a_list_is_no_axis():
    for function in (sj.softmax, sj.log_softmax, sj.logsumexp):
        with pytest.raises(TypeError, match=r"axis must be an integer, a tuple.*found \["):
            function(X, axis=[-1])


def test_a_wrong_index_to_ignore():
    with pytest.raises(TypeError, match=r"ignore_index must be an integer; found 1\.5"):
        sj.cross_entropy(X, LABELS, ignore_index=1.5)
    with pytest.raises(ValueError, match="ignore_index must fit in 64 bits"):
        sj.cross_entropy(X, LABELS, ignore_index=2**64)


def test_linear_cross_entropy(x64):
    features, W, b = X[0], rng.normal(size=(5, 3)), rng.normal(size=3)
    labels = [0, 2, 1, 1]
    expected, gradients = smcore.linear_cross_entropy_with_grad(features, W, labels, b)
    function = functools.partial(sj.linear_cross_entropy, target=jnp.array(labels))
    loss, found = jax.value_and_grad(lambda *a: function(a[0], a[1], b=a[2]), (0, 1, 2))(
        features, W, b
    )
    np.testing.assert_allclose(loss, expected, rtol=1e-14)
    for ours, exact in zip(found, gradients, strict=True):
        np.testing.assert_allclose(ours, exact, rtol=1e-13, atol=1e-16)
    checked(lambda X, W, b: function(X, W, b=b), *map(jnp.asarray, (features, W, b)))
    weighted = smcore.linear_cross_entropy(features, W, labels, b, sample_weight=BY_ROW[0])
    found = function(features, W, b=b, sample_weight=BY_ROW[0])
    np.testing.assert_allclose(found, weighted, rtol=1e-14)


def test_the_tail_of_a_sure_prediction_is_kept(x64):
    x = jnp.array([0.0, 60.0, 1.0])
    e, e1 = np.exp(-60.0), np.exp(-59.0)
    rest = e + e1
    tight = dict(rtol=1e-14, atol=0)
    np.testing.assert_allclose(jax.grad(sj.cross_entropy)(x, 1), [e, -rest, e1], **tight)
    for jacobian in (jax.jacrev, jax.jacfwd):
        np.testing.assert_allclose(jacobian(sj.softmax)(x)[1], [-e, rest, -e1], **tight)
        np.testing.assert_allclose(jacobian(sj.log_softmax)(x)[1], [-e, rest, -e1], **tight)
    second = [[e, -e, -e * e1], [-e, rest, -e1], [-e * e1, -e1, e1]]
    losses = (sj.logsumexp, lambda x: sj.cross_entropy(x, 1), lambda x: -sj.log_softmax(x)[1])
    for function in losses:
        np.testing.assert_allclose(jax.hessian(function)(x), second, **tight)
        np.testing.assert_allclose(jax.jacrev(jax.grad(function))(x), second, **tight)


def test_a_step_of_training_is_traced_once():
    traces = []

    @jax.jit
    def step(W, features, labels):
        traces.append(1)
        loss, dW = jax.value_and_grad(sj.linear_cross_entropy, 1)(features, W, labels)
        return loss, W - 0.5 * dW

    features = jnp.asarray(rng.normal(size=(60, 4)))
    labels = jnp.argmax(features @ rng.normal(size=(4, 3)), axis=1)
    W = jnp.zeros((4, 3))
    losses = []
    for _ in range(100):
        loss, W = step(W, features, labels)
        losses.append(float(loss))
    assert len(traces) == 1
    assert losses[-1] < 0.4 * losses[0]


def test_calls_are_not_traced_again():
    compiled = _softmax._normalized._cache_size
    sj.softmax(X)
    before = compiled()
    sj.softmax(X + 1)
    sj.softmax(X, where=None, scale=1.0)
    assert compiled() == before


def test_large_arrays(way):
    x = rng.normal(size=(512, 4000)).astype(np.float32)
    labels = rng.integers(0, 4000, 512)
    loss, dx = jax.jit(jax.value_and_grad(sj.cross_entropy))(x, labels)
    expected, exact = smcore.cross_entropy_with_grad(x, labels)
    np.testing.assert_allclose(loss, expected, rtol=1e-6)
    np.testing.assert_allclose(dx, exact, rtol=1e-6)
    np.testing.assert_array_equal(sj.softmax(x), smcore.softmax(x))


def test_empty_arrays(way):
    for shape in [(0, 3), (3, 0), (0,)]:
        x = jnp.zeros(shape)
        assert sj.softmax(x).shape == sj.log_softmax(x).shape == shape
        assert jax.grad(lambda x: sj.softmax(x).sum())(x).shape == shape
        np.testing.assert_array_equal(sj.logsumexp(x), smcore.logsumexp(np.zeros(shape)))
    assert jnp.isnan(sj.cross_entropy(jnp.zeros((0, 3)), jnp.zeros(0, int)))
    assert sj.cross_entropy(jnp.zeros((0, 3)), jnp.zeros(0, int), reduction="none").shape == (0,)
    assert sj.softmax(2.0) == 1


def test_bad_input():
    x = jnp.asarray(X)
    with pytest.raises(TypeError, match="x must hold float16, bfloat16"):
        sj.softmax(x + 1j)
    with pytest.raises(AxisError):
        sj.softmax(x, 3)
    with pytest.raises(TypeError, match="where must be boolean"):
        sj.softmax(x, where=x)
    with pytest.raises(ValueError, match="where must have shape"):
        sj.logsumexp(x, where=np.ones(7, bool))
    with pytest.raises(ValueError, match="scale must be one number"):
        sj.softmax(x, scale=np.ones(7))
    with pytest.raises(ValueError, match=r"target .* must have shape"):
        sj.cross_entropy(x, LABELS[0])
    with pytest.raises(ValueError, match="reduction must be"):
        sj.cross_entropy(x, LABELS, reduction="max")
    with pytest.raises(ValueError, match="label_smoothing must lie"):
        sj.cross_entropy(x, LABELS, label_smoothing=2)
    with pytest.raises(TypeError, match="label_smoothing must be a real number"):
        jax.jit(lambda e: sj.cross_entropy(x, LABELS, label_smoothing=e))(0.1)
    with pytest.raises(ValueError, match="weight must have shape"):
        sj.cross_entropy(x, LABELS, weight=np.ones(4))
    with pytest.raises(NotImplementedError, match="no derivative by weight"):
        jax.grad(lambda w: sj.cross_entropy(x, LABELS, weight=w))(jnp.ones(5))
    with pytest.raises(ValueError, match=r"sample_weight must have shape \(3, 4\)"):
        sj.cross_entropy(x, LABELS, sample_weight=np.ones(3))
    with pytest.raises(NotImplementedError, match="no derivative by sample_weight"):
        jax.grad(lambda w: sj.cross_entropy(x, LABELS, sample_weight=w))(jnp.ones((3, 4)))
    with pytest.raises(ValueError, match="at least one class"):
        sj.cross_entropy(jnp.zeros((3, 0)), jnp.zeros(3, int))
    with pytest.raises(ValueError, match="X and W must have shapes"):
        sj.linear_cross_entropy(X[0], X[0], LABELS[0])


@pytest.mark.parametrize("dtype", ["int8", "uint8", "uint16", "int32", "uint32"])
def test_labels_of_any_width(dtype):
    expected = smcore.cross_entropy(X.astype(np.float32), LABELS)
    found = sj.cross_entropy(X, LABELS.astype(dtype))
    np.testing.assert_allclose(found, expected, rtol=1e-6)


@pytest.mark.parametrize("wrong", [5, -1])
def test_wrong_labels(wrong, way):
    labels = LABELS.copy()
    labels[1, 2] = wrong
    with pytest.raises(
        (ValueError, jax.errors.JaxRuntimeError), match=f"labels 0 to 4.* found {wrong}"
    ):
        jax.jit(sj.cross_entropy)(X, labels).block_until_ready()


def test_wrong_labels_without_a_sign(way):
    labels = LABELS.astype(np.uint32)
    labels[1, 2] = 2**32 - 100  # as int32, what is ignored
    with pytest.raises((ValueError, jax.errors.JaxRuntimeError), match="labels 0 to 4"):
        sj.cross_entropy(X, labels).block_until_ready()


@pytest.mark.parametrize("name", ["softmax", "log_softmax", "logsumexp"])
def test_another_platform_is_refused(name):
    function = jax.jit(getattr(sj, name))
    with pytest.raises(NotImplementedError, match=r"on the CPU; found .* 'cuda'.*device_put"):
        jax.export.export(function, platforms=["cuda"])(jnp.zeros(3))


def test_without_jax_the_error_says_what_to_install(monkeypatch):
    for name in [name for name in sys.modules if name.startswith("smcore.jax")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "jax", None)
    with pytest.raises(ImportError, match=r"pip install 'softmax-core\[jax\]'"):
        importlib.import_module("smcore.jax")


@pytest.mark.skipif(not sj.uses_ffi(), reason="smcore was compiled without jaxlib's headers")
def test_handlers_of_a_newer_interface_are_not_registered():
    _ffi = importlib.import_module("smcore.jax._ffi")
    major, minor = _ffi.version
    assert _kernels._takes((major, 0)) and _kernels._takes((major, minor))
    assert not _kernels._takes((major, minor + 1)) and not _kernels._takes((major + 1, 0))


@pytest.mark.parametrize("labels", [[0, -100], [-100, -100]])
@pytest.mark.parametrize("z_loss", [0.0, 0.5])
def test_second_derivatives_of_ignored_rows_are_zero(labels, z_loss):
    x = jnp.array([[1.0, 2.0, 4.0], [np.nan, np.inf, 0.0]])
    loss = functools.partial(sj.cross_entropy, z_loss=z_loss)
    found = np.asarray(jax.hessian(loss)(x, jnp.array(labels)))
    expected = np.zeros(found.shape)
    if labels[0] == 0:
        expected[0, :, 0] = jax.hessian(lambda row: loss(row, jnp.array(0)))(x[0])
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-7)
