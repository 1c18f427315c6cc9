"""The truth that `tests/fuzz/` judges by is that of `truth.py`, and finds what is off."""

from __future__ import annotations

import numpy as np
import pytest
import truth
from cases import largest
from fuzz import exact

pytestmark = pytest.mark.skipif(not exact.has_digits(), reason="longdouble is as double here")


def rows(dtype, rng, k=17):
    """Moderate rows, sure ones, far away, tied, and with holes."""
    x = rng.standard_normal((9, k)) * np.array([[0.1, 1, 3, 10, 30, 100, 3, 3, 3]]).T
    x[6] += 3000
    x[7, [0, k // 2]] = 20
    x[8, 1::3] = -np.inf
    return x.astype(dtype)


def is_near(value, exactly, limit):
    """Within so many units of the last place of an extended number of 64 bits."""
    found = truth.from_mpf(exactly)
    with np.errstate(all="ignore"):
        want = np.ldexp(found.hi.astype(np.longdouble) + found.lo, found.exp)
        error = np.abs(value - want)
    good = (error <= limit * 2.0**-63 * np.abs(want)) | (value == want)
    return bool(good.all())


@pytest.mark.parametrize("scale", [1.0, -0.3, 37.5, 0.0, 1e-300, 3.3e15])
def test_forward(dtype, rng, scale):
    if dtype == np.longdouble:
        pytest.skip("no kernel computes in it")
    x = rows(dtype, rng)[: 9 if scale > 0 else 8]
    with np.errstate(all="ignore"), truth.mpmath.workdps(60):
        got = exact.Rows.of(x, scale)
        softmax, log_softmax = got.softmax(), got.log_softmax()
        for i, row in enumerate(x):
            shown = np.isfinite(row.astype(float))
            scaled = truth.mpf(row[shown]) * truth.mpmath.mpf(scale)
            e = truth.exp(scaled - np.max(scaled))
            tiny = np.asarray(abs(scaled - np.max(scaled)) > 11_000, bool)
            total = e.sum()
            assert is_near(softmax[i][shown][~tiny], (e / total)[~tiny], 40)
            away = scaled - np.max(scaled) - truth.mpmath.log(total)
            peak = int(np.argmax(scaled))
            away[peak] = -truth.mpmath.log1p(sum(np.delete(e, peak)))
            assert is_near(log_softmax[i][shown], away, 40)
            assert (softmax[i][~shown] == 0).all() and np.isneginf(log_softmax[i][~shown]).all()


@pytest.mark.parametrize("name", ["softmax_vjp", "log_softmax_vjp", "log_softmax_jvp"])
def test_products(native_dtype, rng, name):
    x = rows(native_dtype, rng)[:8]
    g = rng.standard_normal(x.shape).astype(native_dtype)
    with truth.mpmath.workdps(160):
        theirs = {"softmax_vjp": truth.softmax_product}.get(name) or getattr(truth, name)
        product = theirs(x, g)
        forward = truth.mp_log_softmax(x) if name.startswith("log") else truth.mp_softmax(x)
        s = truth.rounded(forward, native_dtype)
    judged = getattr(exact, name)(exact.Rows.of(x), s, g)
    size = np.asarray(abs(product.size), float)
    assert (
        np.abs((judged.value - np.asarray(product.value, float)).astype(float)) <= size * 1e-15
    ).all()
    bound = np.asarray(product.bound(native_dtype), float)
    # Sums of products that are subnormal are allowed one more unit for each.
    more = 20 * 2.0 ** truth.format_of(native_dtype).lowest
    np.testing.assert_allclose(judged.bound.astype(float), bound, rtol=1e-6, atol=more)


def test_what_is_off_is_wrong(native_dtype, rng):
    """By five units, or by being no number."""
    x = rows(native_dtype, rng)
    with np.errstate(all="ignore"):
        judged = exact.softmax(x, 1.0)
        right = judged.value.astype(native_dtype)
        assert not judged.wrong(right).any()
        assert not judged.wrong(np.nextafter(right, native_dtype.type(2))).any()
        off = right.copy()
        for _ in range(5):
            off = np.nextafter(off, native_dtype.type(2))
        assert judged.wrong(off).all()
        assert judged.wrong(np.full_like(right, np.nan)).all()


def test_rows_without_a_largest_number(native_dtype):
    big = largest(native_dtype)
    x = np.array([[np.nan, 1], [np.inf, 1], [-np.inf, -np.inf], [big, -big]], native_dtype)
    with np.errstate(all="ignore"):
        assert np.isnan(exact.softmax(x, 1.0).value[:3]).all()
        value = exact.logsumexp(x).value
    np.testing.assert_array_equal(value.astype(float), [np.nan, np.inf, -np.inf, big])
