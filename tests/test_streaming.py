"""Logsumexp of parts: merged in any order they give the whole row's, to the last digits."""

from __future__ import annotations

import functools

import layouts
import numpy as np
import pytest
import truth
from cases import assert_identical, dtype_named
from test_peak_memory import peak_below

NAN, INF = np.nan, np.inf
IDENTITY = (-INF, 0.0)


# rows whose logarithm is hard to keep in parts, of n entries
def plain(rng, n):
    return rng.standard_normal(n)


def spread(rng, n):
    return rng.standard_normal(n) * 30


def far_up(rng, n):
    return rng.standard_normal(n) + 5000


def far_down(rng, n):
    return rng.standard_normal(n) * 3 - 5000


def peak_at_zero(rng, n):
    """The logarithm is the sum of what is far below: 1e-14."""
    x = rng.standard_normal(n) - 40
    x[n // 3] = 0
    return x


def probabilities(rng, n):
    """Logarithms that add up to one: the result is what rounding left of it."""
    x = rng.standard_normal(n) * 3
    return x - np.log(np.exp(x).sum())


def ascending(rng, n):
    return np.sort(rng.standard_normal(n) * 20)


def equal(rng, n):
    return np.zeros(n)


ROWS = [plain, spread, far_up, far_down, peak_at_zero, probabilities, ascending, equal]
rows = pytest.mark.parametrize("row", ROWS, ids=lambda row: row.__name__)


def exactly(x):
    """The logarithm, and the larger of the two terms that make it, m and log(1 + tail)."""
    known = truth.forward(x)
    lse = known.logsumexp
    return truth.mpf(lse.hi) + truth.mpf(lse.lo), known.logsumexp_term


def pair_error(pair, exact):
    """How far ``m + s`` is from the truth."""
    m, s = pair
    return np.asarray(abs(truth.mpf(m) + truth.mpf(s) - exact), float)


def as_compute(dtype):
    return np.dtype(np.float32) if dtype.itemsize == 2 else dtype


# ---- One part ------------------------------------------------------------------------------------


@rows
@pytest.mark.parametrize("n", [1, 2, 17, 100, 1000])
def test_pair_of_a_part_has_more_digits_than_its_logarithm(sm, dtype, rng, row, n):
    """An absolute error of some epsilon, and less where the logarithm is small."""
    x = row(rng, n).astype(dtype)[None]
    m, s = sm.logsumexp_partial(x)
    assert m.dtype == s.dtype == as_compute(dtype)
    exact, term = exactly(x)
    assert pair_error((m, s), exact) <= 2.5 * truth.eps(m.dtype) * np.minimum(1, 2 * term)
    assert m == m + s


def test_finalize_of_a_part_is_logsumexp(sm, dtype, rng):
    x = rng.standard_normal((4, 50)).astype(dtype)
    got = sm.logsumexp_finalize(*sm.logsumexp_partial(x))
    truth.assert_ulps(got, truth.forward(x).logsumexp, 2)


@pytest.mark.parametrize("axis", [0, 1, 2, -1, (0, 2), (1, 2), (0, 1, 2), None, ()])
@pytest.mark.parametrize("layout", ["c_order", "fortran_order", "strided", "reversed"])
def test_axes(sm, native_dtype, rng, axis, layout):
    x = rng.standard_normal((3, 4, 5)).astype(native_dtype)
    m, s = sm.logsumexp_partial(layouts.INPUTS[layout](x), axis)
    expected = sm.logsumexp(x, axis)
    assert m.shape == s.shape == np.shape(expected)
    np.testing.assert_allclose(m, expected, rtol=4 * truth.eps(native_dtype), atol=0)
    lse = sm.logsumexp(x, axis, keepdims=True)
    for shape in (lse.shape, np.shape(expected)):
        got = sm.softmax_from_lse(layouts.INPUTS[layout](x), lse.reshape(shape), axis)
        np.testing.assert_allclose(got, sm.softmax(x, axis), rtol=8 * truth.eps(native_dtype))


def test_rows_in_several_blocks(sm, native_dtype, rng):
    """Each as if it were alone."""
    x = rng.standard_normal((300, 500)).astype(native_dtype)
    got = sm.logsumexp_partial(x)
    alone = [sm.logsumexp_partial(row) for row in x]
    assert_identical(got, tuple(np.array(member) for member in zip(*alone, strict=True)))


def test_integers_and_booleans(sm):
    for values in ([1, 2, 3], [True, False]):
        expected = sm.logsumexp_partial(np.array(values, float))
        assert_identical(sm.logsumexp_partial(values), expected)


# ---- Merging -------------------------------------------------------------------------------------


def fold(merge, parts):
    return functools.reduce(merge, parts)


def fold_right(merge, parts):
    return functools.reduce(lambda p, q: merge(q, p), reversed(parts))


def tree(merge, parts):
    if len(parts) == 1:
        return parts[0]
    return merge(tree(merge, parts[::2]), tree(merge, parts[1::2]))


def at_random(merge, parts):
    rng, parts = np.random.default_rng(7), list(parts)
    while len(parts) > 1:
        i, j = rng.choice(len(parts), 2, replace=False)
        parts[i] = merge(parts[i], parts[j])
        del parts[j]
    return parts[0]


ORDERS = [fold, fold_right, tree, at_random]


@pytest.mark.parametrize("order", ORDERS, ids=lambda order: order.__name__)
@pytest.mark.parametrize("length", [1, 3])
def test_a_thousand_merges(sm, native_dtype, rng, order, length):
    """Within 2 ulp of the larger term; and the pair itself within a few epsilon."""
    x = np.stack([row(rng, 1000 * length) for row in ROWS]).astype(native_dtype)
    parts = [sm.logsumexp_partial(part) for part in np.split(x, 1000, axis=1)]
    pair = order(sm.logsumexp_merge, parts)
    got = sm.logsumexp_finalize(*pair)
    assert got.dtype == native_dtype
    exact, term = exactly(x)
    error = np.asarray(abs(truth.mpf(got) - exact), float)
    ulps = error / np.spacing(term.astype(native_dtype))
    assert (ulps <= 2).all(), ulps
    epsilons = pair_error(pair, exact) / np.minimum(1, 2 * term) / truth.eps(native_dtype)
    assert (epsilons <= 4).all(), epsilons


@pytest.mark.parametrize("name", ["float16", "bfloat16"])
def test_merges_of_halves_are_in_float32(sm, rng, name):
    x = (rng.standard_normal((1000, 4)) * 3).astype(dtype_named(name))
    m, s = fold(sm.logsumexp_merge, [sm.logsumexp_partial(part) for part in x])
    got = sm.logsumexp_finalize(m, s)
    assert m.dtype == s.dtype == got.dtype == np.float32
    truth.assert_ulps(got, truth.forward(x.reshape(1, -1)).logsumexp[0], 2)


@pytest.fixture
def pairs(sm, dtype, rng):
    """Three arrays of pairs of all sizes, the edges among them."""
    edges = [0, -INF, INF, NAN, 1e-7, -1e-7, 3e4, -3e4]
    grid = np.array(np.meshgrid(edges, edges, edges)).reshape(3, -1)
    x = np.concatenate([grid, rng.standard_normal((3, 500)) * 20], axis=1)
    both = np.stack([x, np.concatenate([grid, x[:, len(grid[0]) :] + 0.25], axis=1)])
    return [sm.logsumexp_partial(both[:, i].astype(dtype), axis=0) for i in range(3)]


def test_commutative_to_the_bit(sm, pairs):
    p, q, _ = pairs
    assert_identical(sm.logsumexp_merge(p, q), sm.logsumexp_merge(q, p))


def test_associative_to_an_ulp(sm, pairs):
    p, q, r = pairs
    merge, finalize = sm.logsumexp_merge, sm.logsumexp_finalize
    left, right = finalize(*merge(merge(p, q), r)), finalize(*merge(p, merge(q, r)))
    wide = left.astype(np.longdouble), right.astype(np.longdouble)
    # in ulp of the largest logarithm, or of one
    size = np.max([np.where(np.isfinite(m), abs(m), 0) for m, _ in pairs], axis=0)
    allowed = 2 * truth.eps(left.dtype) * np.maximum(size, 1)
    same = (wide[0] == wide[1]) | np.isnan(wide[0]) & np.isnan(wide[1])
    with np.errstate(invalid="ignore"):
        assert (same | (abs(wide[0] - wide[1]) <= allowed)).all()


def test_identity_to_the_bit(sm, pairs):
    for p in pairs:
        assert_identical(sm.logsumexp_merge(p, IDENTITY), p)
        assert_identical(sm.logsumexp_merge(IDENTITY, p), p)
    # whatever the second member of a pair holds
    p = np.float64(1.0), np.float64(0.3)
    assert_identical(sm.logsumexp_merge(p, IDENTITY), p)


def test_infinities_and_nan_as_logsumexp_keeps_them(sm, pairs):
    (p, _), (q, _) = pairs[:2]
    with np.errstate(all="raise"):
        m, s = sm.logsumexp_merge(*pairs[:2])
        got = sm.logsumexp_finalize(m, s)
        expected = sm.logsumexp(np.stack([p, q]), axis=0)
    finite = np.isfinite(expected)
    np.testing.assert_array_equal(got[~finite], expected[~finite])
    assert np.isfinite(got[finite]).all()
    np.testing.assert_array_equal(s[~finite], np.where(np.isnan(m), NAN, 0)[~finite])


def test_parts_of_nothing(sm, dtype):
    for x in (np.zeros((3, 0), dtype), np.full((3, 4), -INF, dtype)):
        m, s = sm.logsumexp_partial(x)
        assert_identical((m, s), (np.full(3, -INF, m.dtype), np.zeros(3, m.dtype)))
        np.testing.assert_array_equal(sm.logsumexp_merge((m, s), (m, s)), (m, s))
        np.testing.assert_array_equal(sm.logsumexp_finalize(m, s), m)


def test_largest_numbers(sm, native_dtype):
    big = np.finfo(native_dtype).max
    up, down = sm.logsumexp_partial([native_dtype.type(big)]), sm.logsumexp_partial([-big])
    assert_identical(sm.logsumexp_merge(up, down), up)
    assert sm.logsumexp_finalize(*sm.logsumexp_merge(up, up)) == big


def test_pairs_are_broadcast(sm, rng):
    p = tuple(rng.standard_normal((2, 4, 1)))
    q = tuple(rng.standard_normal((2, 3)))
    m, s = sm.logsumexp_merge(p, q)
    assert m.shape == s.shape == (4, 3)
    assert m[2, 1] == sm.logsumexp_merge((p[0][2, 0], p[1][2, 0]), (q[0][1], q[1][1]))[0]


# ---- Softmax of the parts ------------------------------------------------------------------------


@rows
def test_softmax_in_parts_is_as_right_as_of_the_whole(sm, dtype, rng, row):
    x = row(rng, 300).astype(dtype)
    parts = np.split(x, [7, 100, 200])
    m, s = fold(sm.logsumexp_merge, [sm.logsumexp_partial(part) for part in parts])
    got = np.concatenate([sm.softmax_from_lse(part, m, rest=s) for part in parts])
    assert got.dtype == dtype
    truth.assert_ulps(got, truth.forward(x).softmax, 0.52 if dtype.itemsize == 2 else 4)


def test_digits_of_a_longer_lse_are_used(sm, rng):
    x = (rng.standard_normal((4, 50)) + 3000).astype(np.float32)
    lse = sm.logsumexp(x, dtype=np.float64)
    got = sm.softmax_from_lse(x, lse)
    assert got.dtype == np.float32
    truth.assert_ulps(got, truth.forward(x).softmax, 4)


@pytest.mark.parametrize("value", [INF, -INF, NAN])
def test_rows_that_are_not_finite(sm, dtype, value):
    x = np.array([[0, value, 1], [0, 1, 2]]).astype(dtype)
    if value == -INF:
        x[0] = -INF
    lse = sm.logsumexp_finalize(*sm.logsumexp_partial(x))
    with np.errstate(all="raise"):
        got = sm.softmax_from_lse(x, lse)
    assert np.isnan(got[0]).all()
    np.testing.assert_allclose(got[1].astype(float), sm.softmax(x[1]).astype(float), rtol=1e-2)


def test_out_in_place(sm, dtype, rng):
    x = rng.standard_normal((4, 30)).astype(dtype)
    m, s = sm.logsumexp_partial(x)
    expected = sm.softmax_from_lse(x, m, rest=s)
    assert sm.softmax_from_lse(x, m, rest=s, out=x) is x
    assert_identical(x, expected)


# ---- Memory, and bad input -----------------------------------------------------------------------


def test_partial_takes_little_memory(sm, native_dtype):
    x = np.zeros((4000, 1000), native_dtype)
    with peak_below(x.nbytes / 3):
        sm.logsumexp_partial(x)
        sm.logsumexp_partial(x.T, axis=0)


ONE = np.ones(3)
BAD = [
    ("logsumexp_merge", (ONE[0], IDENTITY), {}, TypeError, ("p", "pair", "float64")),
    ("logsumexp_merge", (IDENTITY, None), {}, TypeError, ("q", "pair", "NoneType")),
    ("logsumexp_merge", (IDENTITY, (1.0, 2.0, 3.0)), {}, ValueError, ("q", "pair", "3 members")),
    ("logsumexp_merge", ((1.0,), IDENTITY), {}, ValueError, ("p", "pair", "1 members")),
    ("logsumexp_merge", ((1j, 0.0), IDENTITY), {}, TypeError, ("p[0]", "complex128")),
    ("logsumexp_merge", (IDENTITY, (ONE, "0")), {}, TypeError, ("q[1]", "U1")),
    ("logsumexp_merge", ((ONE, ONE), (ONE[:2], 0.0)), {}, ValueError, ("p and q", "(3,)", "(2,)")),
    ("logsumexp_finalize", (ONE, ONE[:2]), {}, ValueError, ("s", "(2,)", "(3,)")),
    ("logsumexp_finalize", (ONE, 1j), {}, TypeError, ("s", "complex128")),
    ("softmax_from_lse", (np.ones((2, 3)), ONE), {}, ValueError, ("lse", "(3,)", "(2,)")),
    ("softmax_from_lse", (ONE, 1.0), dict(rest=ONE), ValueError, ("rest", "(3,)", "()")),
    ("softmax_from_lse", (ONE, 1.0), dict(rest=1j), TypeError, ("rest", "complex128")),
]


@pytest.mark.parametrize("name, args, keywords, error, parts", BAD, ids=range(len(BAD)))
def test_bad_input(sm, name, args, keywords, error, parts):
    with pytest.raises(error) as caught:
        getattr(sm, name)(*args, **keywords)
    for part in parts:
        assert part in str(caught.value), f"{part!r} is not in {str(caught.value)!r}"
