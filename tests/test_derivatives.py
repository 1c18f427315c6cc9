"""The derivatives: against the exact formulas, and against differences of the forward functions."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
import truth
from cases import INPUTS, OPERATIONS, dtype_named
from differences import directional, jacobian

LENGTHS = (1, 2, 3, 5, 8, 16, 17, 33)
HALVES = ("float16", "bfloat16")
FIELDS = ("hi", "lo", "exp")


def limit(dtype: np.dtype, ulps: float) -> float:
    """Ulp allowed: as stated, or one rounding of a float32 result."""
    return 0.51 if dtype.name in HALVES else ulps


def confident(dtype: np.dtype, k: int = 6) -> np.ndarray:
    """Logits whose peak is ever surer, until 1 - s is 1e-30."""
    depth = np.array([0.5, 1, 2, 5, 9, 16, 30, 45, 70])
    x = np.random.default_rng(k).standard_normal((len(depth), k)) - depth[:, None]
    x[:, k // 3] = 0.25
    return x.astype(dtype)


# ---- Against the formulas, for the operands as given ---------------------------------------------


@pytest.mark.parametrize("k", LENGTHS)
def test_softmax_jacobian_is_diag_s_minus_outer(sm, dtype, rng, k):
    s = OPERATIONS["softmax_jacobian"].draw(rng, dtype, (3,), k)["s"]
    jacobian_ = sm.softmax_jacobian(s)
    assert jacobian_.shape == (3, k, k) and jacobian_.dtype == dtype
    exact, off = truth.mp_softmax_jacobian(truth.mpf(s)), ~np.eye(k, dtype=bool)
    truth.assert_ulps(jacobian_[:, off], exact[:, off], limit(dtype, 1), "off the diagonal")
    truth.assert_ulps(jacobian_[:, ~off], exact[:, ~off], limit(dtype, 3), "diagonal")


@truth.known
def identity_minus_s(log_s):
    k = log_s.shape[-1]
    return truth.mp_eye(k) - truth.exp(truth.mpf(log_s))[..., None, :] * truth.mpf(np.ones((k, 1)))


@pytest.mark.parametrize("k", LENGTHS)
def test_log_softmax_jacobian_is_identity_minus_s(sm, dtype, rng, k):
    log_s = OPERATIONS["log_softmax_jacobian"].draw(rng, dtype, (3,), k)["log_s"]
    jacobian_ = sm.log_softmax_jacobian(log_s)
    assert jacobian_.shape == (3, k, k) and jacobian_.dtype == dtype
    truth.assert_ulps(jacobian_, identity_minus_s(log_s), limit(dtype, 3), "I - 1 sᵀ")


@cache
def vanishing(name, k):
    """Logarithms of softmax that go far down, directions, and the truth of what is made of them."""
    dtype = dtype_named(name)
    far = np.array([-80, -88, -104, -110, -122, -125, -130, -708, -745, -751, -1025, -2000])
    z = np.zeros((len(far), k), dtype)
    z[:, k // 2] = far.astype(dtype)
    log_s = truth.rounded(truth.mp_log_softmax(z), dtype)
    g = np.linspace(-2, 3, k).astype(dtype) * np.ones_like(log_s)
    products = {
        name: getattr(truth, name)(z, g).within(dtype)
        for name in ("log_softmax_vjp", "log_softmax_jvp")
    }
    s = truth.exp(truth.mpf(log_s))
    half = truth.mpmath.ldexp(1, truth.format_of(dtype).lowest - 1)  # is always free
    slack = 1 - truth.mpmath.ldexp(1, -39)  # more than `Within` adds for its own rounding
    bound = truth.from_mpf((3 * truth.eps(dtype) * (1 + s) + half) * slack)
    exact = matrices(truth.from_mpf(1 - s), truth.from_mpf(-s))
    return log_s, g, products, truth.Within(exact, matrices(bound, bound))


def matrices(diagonal, other):
    """Of rows: matrices whose lines are all alike, but for the diagonal."""
    unit = np.eye(diagonal.hi.shape[-1], dtype=bool)
    pairs = ((getattr(a, name)[..., None, :] for a in (diagonal, other)) for name in FIELDS)
    return truth.Exact(*(np.where(unit, *pair) for pair in pairs))


@pytest.mark.parametrize("k", (2, 9, 100))
def test_vanishing_probabilities(sm, dtype, k):
    """exp(log_s) down to zero: a class far below the others adds next to nothing."""
    log_s, g, products, jacobian_ = vanishing(dtype.name, k)
    for name, within in products.items():
        got = getattr(sm, name)(log_s, g)
        within.check(got, name)
        nothing = log_s[-1].copy()
        nothing[k // 2] = -np.inf
        if dtype != np.longdouble:  # whose exp(-2000) is not 0
            np.testing.assert_array_equal(getattr(sm, name)(nothing, g[-1]), got[-1])
    jacobian_.check(sm.log_softmax_jacobian(log_s), "jacobian")


@pytest.mark.parametrize("k", LENGTHS)
def test_logsumexp_vjp(sm, dtype, rng, k):
    """exp(x - lse)·g; the difference x - lse costs its own rounding, no more."""
    x = OPERATIONS["logsumexp"].draw(rng, dtype, (3,), k)["x"]
    lse = sm.logsumexp(x)
    g = rng.standard_normal(3).astype(dtype)
    distance = truth.mpf(x) - truth.mpf(lse)[:, None]
    exact = truth.exp(distance) * truth.mpf(g)[:, None]
    bound = (3 + abs(distance)) * abs(exact) * truth.eps(dtype)
    got = sm.logsumexp_vjp(x, lse, g)
    assert got.dtype == dtype
    truth.assert_within(got, exact, bound.astype(float), "logsumexp_vjp")
    again = sm.logsumexp_vjp(x, lse[:, None], g[:, None])  # as keepdims=True returns them
    np.testing.assert_array_equal(again, got)


# ---- The tail: from the logits on, where 1 - s cancels -------------------------------------------


def test_peak_diagonal_of_the_jacobian(sm, native_dtype):
    """Within 4 ulp of s·(1 - s), though s rounds to one (which gives 0 by the plain formula)."""
    x = confident(native_dtype)
    exact = truth.mp_softmax(x)[:, 2]
    diagonal = np.diagonal(sm.softmax_jacobian(sm.softmax(x)), 0, 1, 2)[:, 2]
    assert diagonal.all()
    truth.assert_ulps(diagonal, exact * (1 - exact), 4)


def test_peak_diagonal_of_the_layer_jacobian(sm, native_dtype):
    x = confident(native_dtype)
    exact = truth.mp_softmax(x)[:, 2]
    blocks = sm.softmax_layer_jacobian(sm.softmax(x), np.ones((len(x), 1), native_dtype))
    truth.assert_ulps(blocks[:, 2, 2], exact * (1 - exact), 4)


def test_peak_diagonal_of_the_log_softmax_jacobian(sm, native_dtype):
    x = confident(native_dtype)
    diagonal = np.diagonal(sm.log_softmax_jacobian(sm.log_softmax(x)), 0, 1, 2)[:, 2]
    truth.assert_ulps(diagonal, 1 - truth.mp_softmax(x)[:, 2], 4)


@pytest.mark.heavy
@pytest.mark.parametrize("real", [np.float32, np.float64])
@pytest.mark.parametrize("start", [0, 1, 5])
def test_large_jacobians_are_those_of_each_row(sm, rng, real, start):
    """Beyond 32 MiB they are stored past the caches, a line at a time: at any place in a line."""
    batch, k, inputs = (13, 903, 521) if real is np.float32 else (7, 903, 521)
    s = sm.softmax(rng.standard_normal((batch, k)).astype(real) * 3)
    x = rng.standard_normal((batch, inputs)).astype(real)
    few = s[:, :50] * np.linspace(0.5, 2, batch, dtype=real)[:, np.newaxis]  # one is above one half
    few[0, 3] = 0.75
    for function, operands, size in (
        (sm.softmax_jacobian, (s,), k),
        (sm.log_softmax_jacobian, (np.log(s),), k),
        (sm.softmax_layer_jacobian, (few, x), 50 * inputs),
    ):
        shape = (*operands[0].shape, size)
        space = np.full(np.prod(shape) + start + 1, 7, real)
        out = space[start:-1].reshape(shape)
        assert function(*operands, out=out) is out
        for i in range(batch):
            np.testing.assert_array_equal(out[i], function(*(a[i] for a in operands)))
        assert (space[:start] == 7).all() and space[-1] == 7


@pytest.mark.parametrize("name", ["float32", "float64"])
def test_long_rows_do_not_drift(sm, name):
    """The sums over 2^17 classes carry no more error than those over ten."""
    dtype, k = dtype_named(name), 2**17
    rng = np.random.default_rng(5)
    s = sm.softmax(rng.standard_normal(k).astype(dtype) * 3)
    g = (rng.standard_normal(k) + 3).astype(dtype)
    mean = (s.astype(np.longdouble) * g).sum()
    exact = s * (g - mean)
    error = np.abs(sm.softmax_vjp(s, g) - exact)
    assert (error <= 3 * truth.eps(dtype) * s * (abs(g) + abs(mean))).all()


# ---- Against fourth-order differences of the forward functions -----------------------------------


@pytest.mark.parametrize(
    "forward, derivative",
    [("softmax", "softmax_jacobian"), ("log_softmax", "log_softmax_jacobian")],
)
@pytest.mark.parametrize("k", [1, 2, 5, 17])
def test_jacobians_are_the_differences(sm, rng, forward, derivative, k):
    x = rng.standard_normal(k)
    forward, derivative = getattr(sm, forward), getattr(sm, derivative)
    np.testing.assert_allclose(derivative(forward(x)), jacobian(forward, x), rtol=0, atol=1e-11)


@pytest.mark.parametrize("forward", ["softmax", "log_softmax"])
def test_products_are_the_differences(sm, rng, forward):
    x, v, g = rng.standard_normal((3, 4, 6))
    f, vjp, jvp = (getattr(sm, forward + suffix) for suffix in ("", "_vjp", "_jvp"))
    np.testing.assert_allclose(jvp(f(x), v), directional(f, x, v), rtol=0, atol=1e-11)
    gradient = jacobian(lambda x: (f(x) * g).sum(), x)
    np.testing.assert_allclose(vjp(f(x), g), gradient, rtol=0, atol=1e-11)


def test_logsumexp_vjp_is_the_differences(sm, rng):
    x, g = rng.standard_normal((4, 6)), rng.standard_normal(4)
    gradient = jacobian(lambda x: (sm.logsumexp(x) * g).sum(), x)
    np.testing.assert_allclose(
        sm.logsumexp_vjp(x, sm.logsumexp(x), g), gradient, rtol=0, atol=1e-11
    )


def test_layer_jacobian_is_the_differences(sm, rng):
    x, W, b = rng.standard_normal(INPUTS), rng.standard_normal((INPUTS, 5)), rng.standard_normal(5)
    by_weight = jacobian(lambda W: sm.softmax_layer(x, W, b), W)  # (t, j, i)
    columns = by_weight.transpose(0, 2, 1).reshape(5, 5 * INPUTS)  # column i·J + j
    got = sm.softmax_layer_jacobian(sm.softmax_layer(x, W, b), x)
    np.testing.assert_allclose(got, columns, rtol=0, atol=1e-11)


@pytest.mark.parametrize("lead", [(), (4,)])
def test_layer_vjp_is_the_differences(sm, rng, lead):
    x, W, b = (
        rng.standard_normal((*lead, INPUTS)),
        rng.standard_normal((INPUTS, 5)),
        rng.standard_normal(5),
    )
    g = rng.standard_normal((*lead, 5))

    def loss(x, W, b):
        return (sm.softmax_layer(x, W, b) * g).sum()

    dW, db, dx = sm.softmax_layer_vjp(sm.softmax_layer(x, W, b), x, W, g)
    np.testing.assert_allclose(dW, jacobian(lambda W: loss(x, W, b), W), rtol=0, atol=1e-10)
    np.testing.assert_allclose(db, jacobian(lambda b: loss(x, W, b), b), rtol=0, atol=1e-10)
    np.testing.assert_allclose(dx, jacobian(lambda x: loss(x, W, b), x), rtol=0, atol=1e-10)


@pytest.mark.parametrize("lead", [(), (4,)])
@pytest.mark.parametrize("moved", ["W", "b", "x", "Wb", "Wbx", ""])
def test_layer_jvp_is_the_differences(sm, rng, lead, moved):
    at = {
        "x": rng.standard_normal((*lead, INPUTS)),
        "W": rng.standard_normal((INPUTS, 5)),
        "b": rng.standard_normal(5),
    }
    tangents = {name: rng.standard_normal(at[name].shape) for name in moved}

    def along(t):
        return sm.softmax_layer(**{name: a + t * tangents.get(name, 0.0) for name, a in at.items()})

    s = sm.softmax_layer(**at)
    got = sm.softmax_layer_jvp(
        s, at["x"], at["W"], **{"d" + name: v for name, v in tangents.items()}
    )
    assert got.shape == s.shape
    np.testing.assert_allclose(
        got, directional(along, np.zeros(()), np.ones(())), rtol=0, atol=1e-10
    )
