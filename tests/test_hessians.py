"""Products with the Hessian of the losses: the definition, and differences of the gradients."""

from __future__ import annotations

import itertools

import layouts
import numpy as np
import pytest
import truth
from cases import INPUTS, OPERATIONS, assert_identical
from differences import STENCIL, STEP, directional
from test_losses import IGNORED, REDUCTIONS, SMOOTHINGS, K, N, problem
from test_peak_memory import peak_below

pytestmark = pytest.mark.light_on("numpy", "best")

KINDS = pytest.mark.parametrize("kind", ["hard", "ignoring", "soft"])
WEIGHTED = pytest.mark.parametrize("weighted", [False, True], ids=["plain", "weighted"])
REDUCED = pytest.mark.parametrize("reduction", REDUCTIONS)


def factors(target, weight, smoothing, reduction):
    """A over the divisor, row by row, in mpmath: from the definition of the loss."""
    w = truth.mpf(np.ones(K) if weight is None else weight)
    eps = truth.mpmath.mpf(smoothing)
    if target.dtype.kind in "iu":
        counted = target != IGNORED
        q = truth.mpf(np.eye(K)[np.where(counted, target, 0)] * counted[:, None])
        divisor = (q * w).sum()
    else:
        counted, q, divisor = np.ones(N, bool), truth.mpf(target), truth.mpmath.mpf(N)
    total = (w * ((1 - eps) * q + eps / K)).sum(-1) * truth.mpf(counted)
    return total / (divisor if reduction == "mean" else 1)


@KINDS
@WEIGHTED
@pytest.mark.parametrize("smoothing", SMOOTHINGS)
@REDUCED
def test_hvp_is_its_definition(sm, dtype, rng, kind, weighted, smoothing, reduction):
    x, target, weight = problem(rng, dtype, kind)
    weight = weight if weighted else None
    s, v = sm.softmax(x), rng.standard_normal((N, K)).astype(dtype)
    options = dict(weight=weight, label_smoothing=smoothing, reduction=reduction)
    got = sm.cross_entropy_hvp(s, v, target, **options)
    assert got.dtype == dtype and got.shape == s.shape
    scale = factors(target, weight, smoothing, reduction)[:, None]
    s, v = truth.mpf(s), truth.mpf(v)
    mean = (s * v).sum(-1, keepdims=True)
    size = scale * s * (abs(v) + (s * abs(v)).sum(-1, keepdims=True))
    truth.assert_within(
        got, scale * s * (v - mean), (5 * truth.eps(dtype) * size).astype(float), "hvp"
    )


@KINDS
@WEIGHTED
@REDUCED
def test_hvp_is_the_difference_of_the_gradient(sm, rng, kind, weighted, reduction):
    """With the very options that the gradient was given."""
    x, target, weight = problem(rng, float, kind)
    v = rng.standard_normal((N, K))
    options = dict(weight=weight if weighted else None, label_smoothing=0.25, reduction=reduction)
    expected = directional(lambda x: sm.cross_entropy_with_grad(x, target, **options)[1], x, v)
    got = sm.cross_entropy_hvp(sm.softmax(x), v, target, **options)
    np.testing.assert_allclose(got, expected, rtol=0, atol=1e-11)


def test_hessian_is_the_fisher_matrix_of_the_model(sm, rng):
    """The mean of the outer products of the gradients, over labels drawn from s itself."""
    x = rng.standard_normal(K)
    s = sm.softmax(x)
    gradients = [sm.cross_entropy_with_grad(x, label)[1] for label in range(K)]
    fisher = sum(p * np.outer(g, g) for p, g in zip(s, gradients, strict=True))
    hessian = [sm.cross_entropy_hvp(s, unit) for unit in np.eye(K)]
    np.testing.assert_allclose(hessian, fisher, rtol=0, atol=1e-15)
    np.testing.assert_allclose(hessian, sm.softmax_jacobian(s), rtol=0, atol=1e-15)


@REDUCED
@pytest.mark.parametrize("smoothing", [0.0, 0.5])
def test_without_a_target_every_row_counts(sm, dtype, rng, reduction, smoothing):
    s, v = OPERATIONS["softmax_jvp"].draw(rng, dtype, (N,), K).values()
    options = dict(reduction=reduction, label_smoothing=smoothing)
    got = sm.cross_entropy_hvp(s, v, **options)
    assert_identical(got, sm.cross_entropy_hvp(s, v, rng.integers(K, size=N), **options))
    # also where the default label for rows that do not count is a class
    assert_identical(sm.cross_entropy_hvp(s, v, ignore_index=0, **options), got)


def test_many_rows_without_a_target(sm, native_dtype, rng):
    """More than are taken at once: beyond the first there is no label either."""
    s, v = OPERATIONS["softmax_jvp"].draw(rng, native_dtype, (5000,), K).values()
    got = sm.cross_entropy_hvp(s, v, reduction="sum")
    assert_identical(got, sm.softmax_jvp(s, v))
    X, W = rng.standard_normal((5000, 2)).astype(native_dtype), np.ones((2, K), native_dtype)
    products = sm.linear_cross_entropy_hvp(X, W, v[:2])
    assert_identical(products, sm.linear_cross_entropy_hvp(X, W, v[:2], np.zeros(5000, int)))


@pytest.mark.parametrize("axis", [0, 1, 2, -2])
@pytest.mark.parametrize("soft", [False, True])
def test_axis_and_layout(sm, native_dtype, rng, axis, soft):
    s, v = OPERATIONS["softmax_jvp"].draw(rng, native_dtype, (3, 4), K).values()
    target = s if soft else rng.integers(K, size=(3, 4))
    expected = np.moveaxis(sm.cross_entropy_hvp(s, v, target, reduction="sum"), -1, axis)
    s, v, moved = (np.moveaxis(a, -1, axis) for a in (s, v, s))
    target = moved if soft else target
    for layout in layouts.INPUTS.values():
        operands = [layout(a) for a in (s, v, target)]
        got = sm.cross_entropy_hvp(*operands, axis=axis, reduction="sum")
        np.testing.assert_array_equal(got, expected)


def test_axes_together(sm, rng):
    s = sm.softmax(rng.standard_normal((3, 4, 5)), (0, 2))
    v = rng.standard_normal(s.shape)
    got = sm.cross_entropy_hvp(s, v, [0, 1, -100, 14], axis=(0, 2))
    expected = sm.softmax_jvp(s, v, (0, 2)) * np.array([1, 1, 0, 1])[:, None] / 3
    np.testing.assert_allclose(got, expected, rtol=1e-14)


def test_ignored_rows_are_not_looked_at(sm, dtype):
    s = np.array([[np.nan] * 3, [0.25, 0.25, 0.5]]).astype(dtype)
    v = np.array([[np.inf] * 3, [1, 0, 0]]).astype(dtype)
    got = sm.cross_entropy_hvp(s, v, [-100, 1])
    assert (got[0] == 0).all()
    np.testing.assert_array_equal(got[1], sm.softmax_jvp(s[1], v[1]))
    assert (sm.cross_entropy_hvp(s, v, [-100, -100]) == 0).all()


def test_out_over_any_operand(sm, dtype, rng):
    s, v = OPERATIONS["softmax_jvp"].draw(rng, dtype, (N,), K).values()
    target = rng.dirichlet(np.ones(K), N).astype(dtype)
    expected = sm.cross_entropy_hvp(s, v, target)
    for i in range(3):
        operands = [s.copy(), v.copy(), target.copy()]
        assert sm.cross_entropy_hvp(*operands, out=operands[i]) is operands[i]
        assert_identical(operands[i], expected)


# ---- Of the layer --------------------------------------------------------------------------------


def layer(rng, kind, dtype=float):
    X, W, b = (rng.standard_normal(shape) for shape in [(N, INPUTS), (INPUTS, K), (K,)])
    _, target, weight = problem(rng, dtype, kind)
    return X.astype(dtype), W.astype(dtype), b.astype(dtype), target, weight


@KINDS
@WEIGHTED
@REDUCED
@pytest.mark.parametrize("moved", ["", "b", "Vb"])
def test_layer_hvp_is_the_difference_of_the_gradients(sm, rng, kind, weighted, reduction, moved):
    X, W, b, target, weight = layer(rng, kind)
    V, Vb = rng.standard_normal(W.shape), rng.standard_normal(K)
    b, Vb = (b if moved else None), (Vb if moved == "Vb" else None)
    options = dict(weight=weight if weighted else None, label_smoothing=0.25, reduction=reduction)
    HW, Hb = sm.linear_cross_entropy_hvp(X, W, V, target, b, Vb, **options)
    expected_W, expected_b = 0, 0
    for place, coefficient in STENCIL:
        t = place * STEP
        b_moved = b if Vb is None else b + t * Vb
        _, (_, dW, db) = sm.linear_cross_entropy_with_grad(X, W + t * V, target, b_moved, **options)
        expected_W = expected_W + coefficient / STEP * dW
        expected_b = expected_b if db is None else expected_b + coefficient / STEP * db
    np.testing.assert_allclose(HW, expected_W, rtol=0, atol=1e-10)
    assert HW.shape == W.shape
    if b is None:
        assert Hb is None
    else:
        assert Hb.shape == (K,)
        np.testing.assert_allclose(Hb, expected_b, rtol=0, atol=1e-10)


@KINDS
def test_layer_hvp_is_exact_to_some_roundings(sm, dtype, rng, kind):
    X, W, b, target, weight = layer(rng, kind, dtype)
    V, Vb = rng.standard_normal(W.shape).astype(dtype), rng.standard_normal(K).astype(dtype)
    got = sm.linear_cross_entropy_hvp(X, W, V, target, b, Vb, weight=weight)
    X, W, b, V, Vb = map(truth.mpf, (X, W, b, V, Vb))
    z = truth.exp(X @ W + b)
    s = z / z.sum(-1, keepdims=True)
    v = X @ V + Vb
    scale = factors(target, weight, 0, "mean")[:, None]
    delta = scale * s * (v - (s * v).sum(-1, keepdims=True))
    bound = np.asarray(abs(X).T @ abs(scale * s), float).max() * 60 * truth.eps(dtype)
    for name, one, exact in zip("Wb", got, (X.T @ delta, delta.sum(0)), strict=True):
        assert one.dtype == dtype
        truth.assert_within(one, exact, bound, name)


def test_stack_of_directions(sm, rng):
    X, W, b, target, weight = layer(rng, "ignoring")
    V, Vb = rng.standard_normal((2, 3, *W.shape)), rng.standard_normal((2, 3, K))
    HW, Hb = sm.linear_cross_entropy_hvp(X, W, V, target, b, Vb, weight=weight)
    assert HW.shape == V.shape and Hb.shape == Vb.shape
    for at in itertools.product(range(2), range(3)):
        one = sm.linear_cross_entropy_hvp(X, W, V[at], target, b, Vb[at], weight=weight)
        np.testing.assert_allclose(HW[at], one[0], rtol=0, atol=1e-15)
        np.testing.assert_allclose(Hb[at], one[1], rtol=0, atol=1e-15)


def test_layer_hvp_of_one_row(sm, rng):
    X, W, b, _, _ = layer(rng, "hard")
    one = sm.linear_cross_entropy_hvp(X[0], W, W, 2, b)
    batch = sm.linear_cross_entropy_hvp(X[:1], W, W, [2], b)
    assert_identical(one, batch)


def test_hessian_is_symmetric_and_positive_semidefinite(sm, rng):
    X, W, b, target, weight = layer(rng, "soft")
    size = W.size + K
    units = np.eye(size)
    V, Vb = units[:, : W.size].reshape(-1, *W.shape), units[:, W.size :]
    HW, Hb = sm.linear_cross_entropy_hvp(X, W, V, target, b, Vb, weight=weight)
    hessian = np.concatenate([HW.reshape(size, -1), Hb], axis=1)
    np.testing.assert_allclose(hessian, hessian.T, rtol=0, atol=1e-15)
    assert np.linalg.eigvalsh(hessian).min() > -1e-15
    # all classes moved alike
    HW, Hb = sm.linear_cross_entropy_hvp(X, W, np.ones_like(W), target, b, np.ones(K))
    assert abs(HW).max() < 1e-14 and abs(Hb).max() < 1e-14


@pytest.mark.heavy
def test_logits_are_never_held_whole(sm, native_dtype):
    """Blocks of rows add up to the whole."""
    n, k = 20_000, 1000
    rng = np.random.default_rng(3)
    X, W = rng.standard_normal((n, 2)).astype(native_dtype), np.zeros((2, k), native_dtype)
    V = rng.standard_normal((2, k)).astype(native_dtype)
    with peak_below(2.5 * 2**22 * native_dtype.itemsize):  # whole, they are 4.8 times 2**22
        HW, _ = sm.linear_cross_entropy_hvp(X, W, V)
    v = X.astype(float) @ V.astype(float)
    expected = X.T.astype(float) @ ((v - v.mean(1, keepdims=True)) / k / n)
    tolerance = 2000 * truth.eps(native_dtype) * abs(expected).max()
    np.testing.assert_allclose(HW, expected, rtol=0, atol=tolerance)


@pytest.mark.parametrize("kind", ["empty", "ignored"])
def test_no_row_counts(sm, dtype, rng, kind):
    X, W, b, target, _ = layer(rng, "hard", dtype)
    X, target = (X[:0], target[:0]) if kind == "empty" else (X, np.full(N, IGNORED))
    HW, Hb = sm.linear_cross_entropy_hvp(X, W, W, target, b)
    assert (HW == 0).all() and (Hb == 0).all() and HW.dtype == dtype


# ---- Bad input -----------------------------------------------------------------------------------

S, Y = np.full((2, 3), 1 / 3), np.array([0, 2])
X, W = np.ones((2, 4)), np.ones((4, 3))
BAD = [
    ("cross_entropy_hvp", (S, np.ones(2)), {}, ValueError, ("v", "(2,)", "(2, 3)")),
    ("cross_entropy_hvp", (S, S, [0, 3]), {}, ValueError, ("target", "3", "0 to 2")),
    ("cross_entropy_hvp", (S, S, [0]), {}, ValueError, ("target", "(1,)", "(2,)")),
    ("cross_entropy_hvp", (S, S), dict(weight=[1, 1, 1]), ValueError, ("weight", "target")),
    ("cross_entropy_hvp", (S, S, Y), dict(weight=[1, 1]), ValueError, ("weight", "(2,)", "(3,)")),
    ("cross_entropy_hvp", (S, S), dict(reduction="all"), ValueError, ("reduction", "'all'")),
    ("cross_entropy_hvp", (S, S), dict(label_smoothing=2), ValueError, ("label_smoothing", "2")),
    ("cross_entropy_hvp", (S[:, :0], S[:, :0]), {}, ValueError, ("class",)),
    ("linear_cross_entropy_hvp", (X, W, W.T), {}, ValueError, ("V", "(3, 4)", "(4, 3)")),
    ("linear_cross_entropy_hvp", (X, W.T, W), {}, ValueError, ("W", "(3, 4)")),
    ("linear_cross_entropy_hvp", (1.0, W, W), {}, ValueError, ("X", "()")),
    ("linear_cross_entropy_hvp", (X, W, W), dict(s=S[0]), ValueError, ("s", "(3,)", "(2, 3)")),
    ("cross_entropy_hvp", (S, S), dict(sample_weight=[1, -1]), ValueError, ("sample_weight", "-1")),
    (
        "cross_entropy_hvp",
        (S, S),
        dict(sample_weight=[1] * 3),
        ValueError,
        ("sample_weight", "(3,)"),
    ),
    ("linear_cross_entropy_hvp", (X, W, W, Y, [1, 2]), {}, ValueError, ("b", "(2,)", "(3,)")),
    ("linear_cross_entropy_hvp", (X, W, W, Y, None, S[0]), {}, ValueError, ("Vb", "b", "None")),
    ("linear_cross_entropy_hvp", (X, W, W, Y, S[0], S), {}, ValueError, ("Vb", "(2, 3)", "(3,)")),
    ("linear_cross_entropy_hvp", (X, W, W), dict(weight=S[0]), ValueError, ("weight", "target")),
    ("linear_cross_entropy_hvp", (X, W, W, [0, 9]), {}, ValueError, ("target", "9", "0 to 2")),
]


@pytest.mark.parametrize("name, args, keywords, error, parts", BAD, ids=range(len(BAD)))
def test_bad_input(sm, name, args, keywords, error, parts):
    with pytest.raises(error) as caught:
        getattr(sm, name)(*args, **keywords)
    for part in parts:
        assert part in str(caught.value), f"{part!r} is not in {str(caught.value)!r}"
