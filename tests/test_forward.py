"""What each argument of softmax, log_softmax and logsumexp means."""

from __future__ import annotations

import functools
import itertools

import numpy as np
import pytest
import truth
from cases import assert_identical

FORWARD = pytest.mark.parametrize("name", ["softmax", "log_softmax", "logsumexp"])
LIKE_X = pytest.mark.parametrize("name", ["softmax", "log_softmax"])
HALVES = ("float16", "bfloat16")


def limit(dtype):
    return 0.51 if dtype.name in HALVES else 3


# ---- axis ----------------------------------------------------------------------------------------


AXES = [0, 1, 2, -1, -2, -3, (0,), (0, 1), (1, 2), (0, 2), (2, 0), (-1, 0), (0, 1, 2), None]


@FORWARD
@pytest.mark.parametrize("axis", AXES, ids=str)
def test_axes_are_merged_into_one_row(sm, dtype, rng, name, axis):
    """The same bits as the last axis of an array laid out so."""
    x = (rng.standard_normal((2, 3, 4)) * 3).astype(dtype)
    axes = tuple(range(3)) if axis is None else (axis,) if isinstance(axis, int) else axis
    axes = tuple(sorted(a % 3 for a in axes))
    others = tuple(a for a in range(3) if a not in axes)
    moved = x.transpose(others + axes)
    lead = moved.shape[: len(others)]
    expected = getattr(sm, name)(np.ascontiguousarray(moved).reshape(*lead, -1))
    got = getattr(sm, name)(x, axis)
    assert got.dtype == dtype
    if name == "logsumexp":
        np.testing.assert_array_equal(got, expected)
    else:
        np.testing.assert_array_equal(got.transpose(others + axes), expected.reshape(moved.shape))


def test_default_axis_is_the_last(sm, rng):
    x = rng.standard_normal((3, 4))
    for name in ("softmax", "log_softmax", "logsumexp"):
        function = getattr(sm, name)
        np.testing.assert_array_equal(function(x), function(x, -1))
        np.testing.assert_array_equal(function(x), function(x, axis=1))


@pytest.mark.parametrize("axis", AXES, ids=str)
def test_keepdims(sm, rng, axis):
    x = rng.standard_normal((2, 3, 4))
    kept = sm.logsumexp(x, axis, keepdims=True)
    assert kept.shape == x.sum(axis, keepdims=True).shape
    np.testing.assert_array_equal(np.squeeze(kept), np.squeeze(sm.logsumexp(x, axis)))
    log, sign = sm.logsumexp(x, axis, keepdims=True, return_sign=True)
    np.testing.assert_array_equal(log, kept)
    assert sign.shape == kept.shape and (sign == 1).all()


def test_array_likes(sm):
    """Lists, tuples and Python scalars are taken as arrays of float64."""
    np.testing.assert_array_equal(sm.softmax([[0.0, 0.0]]), [[0.5, 0.5]])
    np.testing.assert_array_equal(sm.softmax((1, 1)), [0.5, 0.5])
    np.testing.assert_array_equal(sm.softmax_jacobian([0.5, 0.5]), [[0.25, -0.25], [-0.25, 0.25]])
    assert sm.softmax([1, 2]).dtype == np.float64


# ---- where ---------------------------------------------------------------------------------------


@LIKE_X
@pytest.mark.parametrize("hidden", [np.nan, np.inf, -np.inf, "largest", "lowest"])
def test_where_never_looks_at_false_entries(sm, dtype, rng, name, hidden):
    big = float(np.finfo(np.float32 if dtype.name == "bfloat16" else dtype).max / 1.01)
    hidden = {"largest": min(big, 1e308), "lowest": -min(big, 1e308)}.get(hidden, hidden)
    x = (rng.standard_normal((5, 33)) * 3).astype(dtype)
    where = rng.random((5, 33)) < 0.5
    shown = np.where(where, x.astype(np.longdouble), -np.inf).astype(dtype)
    x[~where] = hidden
    got = getattr(sm, name)(x, where=where)
    truth.assert_ulps(got, getattr(truth.forward(shown), name), limit(dtype), name)
    assert (got[~where] == (0 if name == "softmax" else -np.inf)).all()


def test_where_of_logsumexp(sm, dtype, rng):
    x = (rng.standard_normal((5, 33)) * 3).astype(dtype)
    where = rng.random((5, 33)) < 0.5
    expected = sm.logsumexp(np.where(where, x.astype(np.longdouble), -np.inf).astype(dtype))
    for hidden in (np.nan, np.inf, 6e4):
        x[~where] = hidden
        np.testing.assert_array_equal(sm.logsumexp(x, where=where), expected)


@pytest.mark.parametrize("hidden", [0.0, np.nan, np.inf, -np.inf])
def test_rows_with_every_entry_false(sm, dtype, hidden):
    x = np.full((3, 4), hidden).astype(dtype)
    for shape in ((3, 4), (), (4,), (3, 1)):
        where = np.zeros(shape, bool)
        assert (sm.softmax(x, where=where) == 0).all()
        assert (sm.log_softmax(x, where=where) == -np.inf).all()
        assert (sm.logsumexp(x, where=where) == -np.inf).all()
    x[1] = 1
    where = np.array([[False], [True], [False]])
    np.testing.assert_array_equal(
        sm.softmax(x, where=where).astype(float), [[0] * 4, [0.25] * 4, [0] * 4]
    )


@FORWARD
@pytest.mark.parametrize("shape", [(), (1,), (4,), (1, 4), (3, 1), (2, 1, 1), (2, 3, 4)])
@pytest.mark.parametrize("axis", [-1, 0, (1, 2), None], ids=str)
def test_where_is_broadcast(sm, rng, name, shape, axis):
    x = rng.standard_normal((2, 3, 4))
    where = rng.random(shape) < 0.6
    expected = getattr(sm, name)(x, axis, where=np.broadcast_to(where, x.shape).copy())
    np.testing.assert_array_equal(getattr(sm, name)(x, axis, where=where), expected)


@FORWARD
def test_where_true_changes_nothing(sm, dtype, rng, name):
    x = rng.standard_normal((3, 9)).astype(dtype)
    np.testing.assert_array_equal(getattr(sm, name)(x, where=True), getattr(sm, name)(x))


def test_where_of_no_dimensions(sm):
    assert sm.softmax(np.nan, where=False) == 0
    assert sm.log_softmax(np.nan, where=False) == -np.inf
    assert sm.logsumexp(np.nan, where=False) == -np.inf


@LIKE_X
@pytest.mark.parametrize("scale", [2.0, -2.0, 0.0])
def test_where_and_scale_together(sm, native_dtype, rng, name, scale):
    x = rng.standard_normal((4, 17)).astype(native_dtype)
    where = rng.random(x.shape) < 0.5
    where[0] = False
    got = getattr(sm, name)(np.where(where, x, np.nan), where=where, scale=scale)
    for row, shown, value in zip(x, where, got, strict=True):
        assert (value[~shown] == (0 if name == "softmax" else -np.inf)).all()
        if shown.any():
            exact = getattr(truth, "mp_" + name)(scale * row[shown])
            truth.assert_ulps(value[shown], exact, 3)


# ---- dtype ---------------------------------------------------------------------------------------


@FORWARD
def test_dtype_is_what_is_computed_in(sm, dtype, rng, name):
    x = rng.standard_normal((3, 9)).astype(np.float16)
    got = getattr(sm, name)(x, dtype=dtype)
    assert got.dtype == dtype
    np.testing.assert_array_equal(got, getattr(sm, name)(x.astype(dtype)))


@FORWARD
def test_dtype_of_integers(sm, dtype, name):
    got = getattr(sm, name)([1, 2, 3], dtype=dtype)
    assert got.dtype == dtype
    np.testing.assert_array_equal(got, getattr(sm, name)(np.array([1, 2, 3]).astype(dtype)))


@FORWARD
@pytest.mark.parametrize("spelling", ["float32", "f4", np.float32, np.dtype("f4"), ">f4"])
def test_dtype_spellings(sm, name, spelling):
    assert getattr(sm, name)([1.0, 2.0], dtype=spelling).dtype == np.float32


@FORWARD
def test_dtype_narrower_than_the_input(sm, name):
    """What does not fit is infinite, as asked; no warning."""
    x = np.array([1e300, 0.0])
    got = getattr(sm, name)(x, dtype=np.float32)
    np.testing.assert_array_equal(got, getattr(sm, name)(np.array([np.inf, 0], np.float32)))


# ---- b and return_sign ---------------------------------------------------------------------------


@truth.known
def weighted(x, b):
    """log|Σ b exp(x)| and the sum's sign, for each row."""
    total = (truth.mpf(b) * truth.exp(truth.mpf(x))).sum(-1)
    sign = np.array([(t > 0) - (t < 0) for t in total.flat], float).reshape(total.shape)
    return truth.log(abs(total)), sign


@pytest.mark.parametrize("offset", [0, 500, -1e5])
@pytest.mark.parametrize("k", [1, 2, 17, 100])
def test_b_are_factors_of_the_exponentials(sm, dtype, rng, k, offset):
    if dtype.name == "float16" and abs(offset) > 6e4:
        offset = 1000
    x = (rng.standard_normal((6, k)) * 3 + offset).astype(dtype)
    b = rng.standard_normal((6, k)).astype(dtype)
    b[1] = abs(b[1])
    exact, exact_sign = weighted(x, b)
    log, sign = sm.logsumexp(x, b=b, return_sign=True)
    assert log.dtype == dtype and sign.dtype == dtype
    np.testing.assert_array_equal(sign, exact_sign)
    # what cancels between terms of both signs is lost to any method that sums rounded terms
    terms = (abs(truth.mpf(b)) * truth.exp(truth.mpf(x))).sum(-1)
    condition = np.array([float(v) for v in terms / truth.exp(exact)])
    size = np.maximum(np.abs(exact.astype(float)), np.abs(np.max(x.astype(float), -1)))
    truth.assert_within(log, exact, truth.eps(dtype) * (3 * size + 4 * condition), "log")
    plain = sm.logsumexp(x, b=b)
    np.testing.assert_array_equal(np.isnan(plain), exact_sign < 0)
    np.testing.assert_array_equal(plain[exact_sign > 0], log[exact_sign > 0])


B_CASES = [
    ([1.0, 2.0], [1, -1]),
    ([1.0, 1.0], [1, -1]),
    ([1000.0, 1000.0], [2, -1]),
    ([0.0, 0.0], [0, 0]),
    ([np.inf, 0.0], [1, 1]),
    ([np.inf, 0.0], [-1, 1]),
    ([np.inf, 0.0], [0, 1]),
    ([np.nan, 0.0], [0, 1]),
    ([np.nan, 0.0], [1, 1]),
    ([-np.inf, 0.0], [5, 1]),
    ([-np.inf, -np.inf], [1, 1]),
    ([-np.inf, -np.inf], [-1, -1]),
    ([-np.inf, 0.0], [-1, -1]),
    ([np.inf, np.inf], [1, -1]),
    ([np.inf, np.inf], [-1, -1]),
    ([np.inf, -np.inf], [-1, 1]),
    ([0.0, 1.0], [np.nan, 1]),
    ([0.0, 1.0], [np.inf, 1]),
    ([0.0, 1.0], [-np.inf, 1]),
    ([5.0], [-2]),
]


@functools.cache
def long_rows(dtype, peak):
    """Rows in two parts, their factors, and the truth: the same for every implementation."""
    rng = np.random.default_rng(peak)
    x = rng.standard_normal((3, 5000)).astype(dtype)
    b = rng.uniform(0.5, 2, x.shape).astype(dtype)
    b[1] *= np.where(np.arange(5000) % 3, 1, -1).astype(dtype)
    x[:2, peak] = 40
    x[2] = -40
    x[2, peak], b[2, peak] = 0, 1  # whose logarithm is that of the rest alone
    with truth.mpmath.workdps(60):  # no part of a sum here is less than 1e-22 of it
        return x, b, *weighted(x, b)


@pytest.mark.parametrize("peak", [4095, 4999])
def test_b_of_long_rows(sm, dtype, peak):
    """Wherever the largest term is, and what is not finite."""
    x, b, exact, exact_sign = long_rows(dtype, peak)
    x, b = x.copy(), b.copy()
    log, sign = sm.logsumexp(x, b=b, return_sign=True)
    np.testing.assert_array_equal(sign, exact_sign)
    size = np.abs(exact.astype(float)) + np.array([40, 40, 0])
    truth.assert_within(log, exact, 4 * truth.eps(dtype) * size, "log")
    x[0, peak], b[1, peak] = np.nan, np.inf
    x[2, peak], b[2, peak] = np.inf, -1
    log, sign = sm.logsumexp(x, b=b, return_sign=True)
    np.testing.assert_array_equal(log.astype(float), [np.nan, np.inf, np.inf])
    np.testing.assert_array_equal(sign.astype(float), [np.nan, 1, -1])


@pytest.mark.parametrize("k", [1, 2, 10, 16, 17, 100, 5000, 5000])
def test_b_of_a_row_alone(sm, native_dtype, rng, k):
    """To the bit what it is in a batch, along a row or down a column."""
    x, b = rng.standard_normal((2, 7, k)).astype(native_dtype)
    expected = sm.logsumexp(x, b=b, return_sign=True)
    for i in range(len(x)):
        alone = sm.logsumexp(x[i], b=b[i], return_sign=True)
        assert_identical(alone, tuple(part[i] for part in expected))
    columns = np.ascontiguousarray(x.T), np.ascontiguousarray(b.T)
    assert_identical(sm.logsumexp(columns[0], 0, b=columns[1], return_sign=True), expected)


def test_b_that_outweigh_the_exponentials(sm):
    """The largest term need not be that of the largest x."""
    x, b = (
        np.array([[700.0, -700.0], [800.0, -600.0]]),
        np.array([[1e-300, 1e300], [-1e-308, 1e308]]),
    )
    exact, exact_sign = weighted(x, b)
    log, sign = sm.logsumexp(x, b=b, return_sign=True)
    truth.assert_within(log, exact, 1e-12, "log")
    np.testing.assert_array_equal(sign, exact_sign)


@pytest.mark.parametrize("x, b", B_CASES, ids=str)
def test_b_has_the_meaning_of_scipy(sm, x, b):
    special = pytest.importorskip("scipy.special")
    x, b = np.array(x), np.array(b, float)
    with np.errstate(all="ignore"):
        expected = special.logsumexp(x, b=b, return_sign=True)
        plain = special.logsumexp(x, b=b)
    got = sm.logsumexp(x, b=b, return_sign=True)
    np.testing.assert_allclose(got[0], expected[0], rtol=1e-14)
    np.testing.assert_array_equal(got[1], expected[1])
    np.testing.assert_allclose(sm.logsumexp(x, b=b), plain, rtol=1e-14)


def test_return_sign_without_b(sm, dtype, rng):
    x = rng.standard_normal((3, 5)).astype(dtype)
    x[0], x[1, 0] = -np.inf, np.nan
    log, sign = sm.logsumexp(x, return_sign=True)
    assert_identical(log, sm.logsumexp(x))
    assert_identical(sign, np.array([0, np.nan, 1], dtype))


def test_sign_of_an_empty_sum(sm):
    """Zero, as of every sum that is zero (SciPy says -1)."""
    for options in ({}, {"b": np.zeros((2, 0))}):
        log, sign = sm.logsumexp(np.zeros((2, 0)), return_sign=True, **options)
        np.testing.assert_array_equal(log, [-np.inf, -np.inf])
        np.testing.assert_array_equal(sign, [0, 0])


@pytest.mark.parametrize(
    "shapes", [((3, 4), (4,)), ((3, 4), (3, 1)), ((3, 4), ()), ((4,), (3, 4)), ((1, 4), (3, 1))]
)
def test_b_is_broadcast(sm, rng, shapes):
    x, b = (rng.standard_normal(shape) for shape in shapes)
    got = sm.logsumexp(x, b=abs(b))
    shape = np.broadcast_shapes(*shapes)
    expected = sm.logsumexp(
        np.broadcast_to(x, shape).copy(), b=np.broadcast_to(abs(b), shape).copy()
    )
    np.testing.assert_array_equal(got, expected)


def test_b_where_and_keepdims_together(sm, rng):
    x, b = rng.standard_normal((2, 3, 4)), rng.standard_normal(4)
    where = rng.random(x.shape) < 0.7
    expected, sign = weighted(np.where(where, x, -np.inf), np.broadcast_to(b, x.shape))
    got = sm.logsumexp(
        np.where(where, x, np.nan), b=b, where=where, keepdims=True, return_sign=True
    )
    np.testing.assert_allclose(got[0][..., 0], expected.astype(float), rtol=1e-13)
    np.testing.assert_array_equal(got[1][..., 0], sign)


def test_b_of_integers(sm):
    assert sm.logsumexp(np.zeros(2, np.float32), b=[1, 1]).dtype in (np.float32, np.float64)
    np.testing.assert_allclose(sm.logsumexp([0, 0], b=[3, 1]), np.log(4), rtol=1e-15)


# ---- SciPy, one default apart --------------------------------------------------------------------


@pytest.mark.parametrize("axis", AXES, ids=str)
def test_agrees_with_scipy(sm, rng, axis):
    special = pytest.importorskip("scipy.special")
    x = rng.standard_normal((2, 3, 4)) * 3
    for name in ("softmax", "log_softmax"):
        got, expected = getattr(sm, name)(x, axis), getattr(special, name)(x, axis)
        np.testing.assert_allclose(got, expected, rtol=1e-11)
    for keepdims, return_sign, b in itertools.product(
        [False, True], [False, True], [None, rng.standard_normal(x.shape)]
    ):
        options = dict(b=b, keepdims=keepdims, return_sign=return_sign)
        got, expected = sm.logsumexp(x, axis, **options), special.logsumexp(x, axis, **options)
        np.testing.assert_allclose(got, expected, rtol=1e-11)
        assert np.shape(got) == np.shape(expected)


# ---- a scale for each row ------------------------------------------------------------------------

SCALES = np.array([1.0, 1.0, 1.0, -2.0, 0.0, -0.0, 0.5, 1e-3, 30.0, 30.0, -1.0, 3.7])


@LIKE_X
@pytest.mark.parametrize("k", [1, 5, 17, 64, 129, 1000])
@pytest.mark.parametrize("masked", [False, True])
def test_scale_of_each_row(sm, dtype, rng, name, k, masked):
    """To the bit what the row alone gets with that number."""
    x = rng.standard_normal((len(SCALES), k)).astype(dtype)
    where = {"where": rng.random(x.shape) < 0.7} if masked else {}
    function = getattr(sm, name)
    expected = np.stack(
        [
            function(row, scale=float(scale), **{key: m[i] for key, m in where.items()})
            for i, (row, scale) in enumerate(zip(x, SCALES, strict=True))
        ]
    )
    assert_identical(function(x, scale=SCALES, **where), expected)
    assert_identical(function(x, scale=SCALES[:, np.newaxis], **where), expected)
    assert_identical(function(x, scale=SCALES, out=x, **where), expected)


@LIKE_X
@pytest.mark.parametrize("axis", [0, 1, -1, (0, 2), (1, 2), None], ids=str)
def test_scale_of_each_row_along_any_axis(sm, native_dtype, rng, name, axis):
    x = rng.standard_normal((3, 4, 5)).astype(native_dtype)
    kept = sm.logsumexp(x, axis, keepdims=True).shape
    scale = rng.uniform(-2, 2, kept)
    function = getattr(sm, name)
    expected = np.empty_like(x)
    for index in np.ndindex(kept):
        row = tuple(
            slice(i, i + 1) if n > 1 else slice(None) for i, n in zip(index, kept, strict=True)
        )
        expected[row] = function(x[row].copy(), axis, scale=float(scale[index]))
    for given in (scale, scale.reshape(sm.logsumexp(x, axis).shape), scale.tolist()):
        np.testing.assert_array_equal(function(x, axis, scale=given), expected)
        out = np.asfortranarray(np.zeros_like(x))
        np.testing.assert_array_equal(function(x, axis, scale=given, out=out), expected)


@LIKE_X
def test_scale_of_each_row_is_broadcast(sm, rng, name):
    """To the shape without the class axis; with as many axes as x has, to that with it kept."""
    x = rng.standard_normal((3, 3, 5))
    function = getattr(sm, name)
    for scale, whole in (
        ([2.0], np.full((3, 3), 2.0)),
        ([1.0, 2, 3], np.broadcast_to([1.0, 2, 3], (3, 3))),
        ([[1.0], [2], [3]], np.repeat([[1.0], [2], [3]], 3, 1)),
        ([[[1.0], [2], [3]]], np.broadcast_to([1.0, 2, 3], (3, 3))),
        (np.arange(3), np.broadcast_to(np.arange(3), (3, 3))),
    ):
        assert_identical(function(x, scale=scale), function(x, scale=whole))
        assert_identical(function(x, scale=np.float32(2)), function(x, scale=2.0))
    assert function(np.zeros((0, 5)), scale=np.zeros(0)).shape == (0, 5)
    assert function(np.zeros((2, 0)), scale=np.zeros(2)).shape == (2, 0)


@LIKE_X
def test_scale_of_each_row_may_overlap_out(sm, rng, name):
    x, scale = rng.standard_normal((6, 5)), rng.uniform(-2, 2, 6)
    space = np.zeros((6, 5))
    space.reshape(-1)[:6] = scale
    expected = getattr(sm, name)(x, scale=scale)
    getattr(sm, name)(x, scale=space.reshape(-1)[:6], out=space)
    assert_identical(space, expected)


@pytest.mark.heavy
@LIKE_X
def test_scale_of_each_row_over_threads(sm, native_dtype, rng, name):
    """More rows than one thread takes, and rows so long that they are shared."""
    for shape in ((3000, 400), (3, 700_000)):
        x = rng.standard_normal(shape).astype(native_dtype)
        scale = np.round(rng.uniform(1, 3, len(x)))
        with sm.set_num_threads(2):
            got = getattr(sm, name)(x, scale=scale)
        for i in {0, 1, len(x) // 2, len(x) - 1}:
            assert_identical(got[i], getattr(sm, name)(x[i], scale=float(scale[i])))


@LIKE_X
@pytest.mark.parametrize(
    "scale, error, part",
    [
        (np.ones(3), ValueError, "(4,)"),
        (np.ones((4, 5)), ValueError, "(4, 5)"),
        (np.ones((1, 4, 1)), ValueError, "(1, 4, 1)"),
        ([1, 2, np.nan, 4], ValueError, "nan"),
        ([1, np.inf, 3, 4], ValueError, "inf"),
        ([1j] * 4, TypeError, "complex"),
        (["a"] * 4, TypeError, "U1"),
    ],
)
def test_bad_scale_of_each_row(sm, name, scale, error, part):
    x = np.arange(20.0).reshape(4, 5)
    out = x.copy()
    with pytest.raises(error, match=r"^scale must") as caught:
        getattr(sm, name)(x, scale=scale, out=out)
    assert part in str(caught.value)
    np.testing.assert_array_equal(out, x)
