"""The two instruments of `truth.py` agree, and the measure measures."""

import numpy as np
import pytest
import truth
from cases import dtype_named


@pytest.mark.parametrize("name", ["float32", "float64", "longdouble"])
@pytest.mark.parametrize("scale", [0.1, 3.0, 100.0, 1000.0])
@pytest.mark.parametrize("offset", [0.0, -1e5, 300.0])
def test_double_double_agrees_with_mpmath(name, scale, offset):
    x = np.random.default_rng(1).standard_normal((3, 7)) * scale + offset
    x = x.astype(dtype_named(name))
    fast = truth.forward(x)
    for function, exact in [
        ("softmax", truth.mp_softmax(x)),
        ("log_softmax", truth.mp_log_softmax(x)),
        ("logsumexp", truth.mp_logsumexp(x)),
    ]:
        value = getattr(fast, function)
        got = truth.mpf(value.hi) + truth.mpf(value.lo)
        got = got * np.frompyfunc(lambda n: truth.mpmath.mpf(2) ** int(n), 1, 1)(value.exp)
        size = abs(exact) + (truth.mpf(fast.logsumexp_term) if function == "logsumexp" else 0)
        assert max((abs(got - exact) / size).flat) < 1e-20, function


def test_double_double_keeps_a_tiny_tail():
    x = np.array([0.0, -700.0])
    peak, exact = truth.forward(x).log_softmax[0], truth.mp_log_softmax(x)[0]
    assert -1e-300 < exact < 0
    assert abs(truth.mpf(peak.hi)[()] * truth.mpmath.mpf(2) ** int(peak.exp) / exact - 1) < 1e-15


def test_ulps_counts_spacings():
    one = truth.mpf(np.ones(1))
    assert truth.ulps(np.float32([1 + 2**-23]), one) == 1
    assert truth.ulps(np.float64([1 - 2**-53]), one) == 0.5
    assert truth.ulps(np.float64([5e-324]), truth.mpf(np.zeros(1))) == 1
    assert truth.ulps(np.float16([6e-8]), truth.mpf(np.zeros(1))) == 1
    assert truth.ulps(np.longdouble([1]) + np.finfo(np.longdouble).eps, one) == 1
    assert np.isnan(truth.ulps(np.float64([np.nan]), one))
    assert truth.ulps(np.float64([np.inf]), one) == np.inf


def test_assertions_fail_where_they_should():
    one = truth.mpf(np.ones(2))
    with pytest.raises(AssertionError, match=r"2 ulp > 1 at \(1,\)"):
        truth.assert_ulps(np.float64([1, 1 + 2**-51]), one, 1)
    with pytest.raises(AssertionError, match="nan"):
        truth.assert_ulps(np.float64([1, np.nan]), one, 1)
    with pytest.raises(AssertionError, match="shape"):
        truth.assert_ulps(np.ones(3), one, 1)
    with pytest.raises(AssertionError, match="bound"):
        truth.assert_within(np.float64([1, np.nan]), one, 1)


def test_known_tells_operands_apart():
    calls = []

    @truth.known
    def count(x, scale=1.0):
        calls.append(scale)
        return np.array([len(calls)])

    x = np.arange(6.0)
    for differing in (
        lambda: count(x),
        lambda: count(x, scale=2.0),
        lambda: count(x.reshape(2, 3)),
        lambda: count(x.astype(np.float32)),
        lambda: count(x.view(np.int64)),
        lambda: count(-x),
        lambda: count(truth.mpf(x)),
        lambda: count(truth.mpf(x) / 3),
    ):
        before = len(calls)
        first = differing()
        assert len(calls) == before + 1
        assert differing() is first
        with truth.mpmath.workdps(50):
            assert differing() is not first
        with pytest.raises(ValueError, match="read-only"):
            first[0] = 0
