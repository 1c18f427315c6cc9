"""The promise: within a few ulp of the truth at every length, spread and offset."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
import truth
from cases import DTYPES, dtype_named, largest

SPREADS = (0.1, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1000.0)
# on both sides of where the kernels begin to subtract the maximum, and far out
OFFSETS = (0.0, 255.0, -257.0, 2047.0, -2049.0, 1e5, -1e5)
# around every vector width, mask and block
LENGTHS = (1, 2, 3, 4, 5, 7, 8, 9, 10, 15, 16, 17, 31, 32, 33, 48, 63, 64, 65, 100, 127, 128, 129)
LONG = (255, 256, 257, 1000, 1023, 1025, 4097, 50257)
HALVES = ("float16", "bfloat16")


def limit(dtype: np.dtype) -> float:
    """Ulp allowed: the promise, or one rounding of a float32 result."""
    return 0.51 if dtype.name in HALVES else 3.0


@cache
def rows(name: str, k: int) -> np.ndarray:
    """Normal logits of length k, a row for every spread and offset (for some, if k is large)."""
    rng = np.random.default_rng(k)
    pairs = [(spread, offset) for spread in SPREADS for offset in OFFSETS]
    if k > 5000:
        pairs = pairs[:: len(OFFSETS) + 1]
    spread, offset = np.array(pairs).T[..., None]
    x = rng.standard_normal((len(pairs), k)) * spread + offset
    return (
        np.clip(x, -60000, 60000).astype(dtype_named(name))
        if name == "float16"
        else x.astype(dtype_named(name))
    )


@cache
def truth_of_rows(name: str, k: int) -> truth.Forward:
    return truth.forward(rows(name, k))


lengths = pytest.mark.parametrize("k", LENGTHS + LONG)


@lengths
def test_softmax(sm, dtype, k):
    s = sm.softmax(rows(dtype.name, k))
    assert s.dtype == dtype
    truth.assert_ulps(s, truth_of_rows(dtype.name, k).softmax, limit(dtype), "softmax")


@lengths
def test_log_softmax(sm, dtype, k):
    log_s = sm.log_softmax(rows(dtype.name, k))
    assert log_s.dtype == dtype
    truth.assert_ulps(log_s, truth_of_rows(dtype.name, k).log_softmax, limit(dtype), "log_softmax")


@lengths
def test_logsumexp(sm, dtype, k):
    """Within 3 ulp of the larger of its two terms: maximum and log1p of the rest may cancel."""
    lse = sm.logsumexp(rows(dtype.name, k))
    assert lse.dtype == dtype
    exact = truth_of_rows(dtype.name, k)
    assert_logsumexp(lse, exact, limit(dtype))


def assert_logsumexp(lse: np.ndarray, exact: truth.Forward, allowed: float) -> None:
    error = truth.ulps(lse, exact.logsumexp)
    own = np.ldexp(exact.logsumexp.hi, exact.logsumexp.exp)
    # the spacing at the larger term, in units of the spacing at the sum
    ratio = np.exp2(
        np.frexp(np.maximum(exact.logsumexp_term, np.abs(own)))[1].astype(float) - np.frexp(own)[1]
    )
    assert (error <= allowed * ratio).all(), f"{np.max(error / ratio)} ulp"


@lengths
def test_softmax_sums_to_one(sm, dtype, k):
    if dtype.name == "float16" and k > 1025:
        pytest.skip(
            "most of such a row is subnormal in float16: its spacing, not eps, is the error"
        )
    s = sm.softmax(rows(dtype.name, k))
    total = truth.dd_total(truth.Exact(*truth.split(s), np.zeros(s.shape, np.int64)))
    assert np.abs((total.hi - 1) + total.lo).max() <= 4 * truth.eps(dtype)


# ---- Rows made to hurt ---------------------------------------------------------------------------


def confident(k: int, depth: float) -> np.ndarray:
    """One peak, all else `depth` below."""
    x = np.full(k, -float(depth))
    x[k // 2] = 0.0
    return x


def structured(dtype: np.dtype) -> dict[str, np.ndarray]:
    """Rows whose difficulty is named."""
    deep = {"float64": 745.0, "longdouble": 700.0}.get(dtype.name, 104.0)
    big = 1e307 if dtype == np.longdouble else largest(dtype) / 1.01
    none = -np.inf
    return {
        "all equal": np.full(1000, 0.3),
        "two peaks": np.r_[np.zeros(2), np.full(31, -40.0)],
        "ascending": np.linspace(-deep, 0, 4097),
        "descending": np.linspace(0, -deep, 4097),
        "far ascending": np.linspace(-deep, 0, 1025) + 3000,
        "every exponent": -np.exp2(np.arange(-20.0, 9.0)),
        "near zero": np.r_[
            np.exp2(-np.arange(1.0, 60.0)), -np.exp2(-np.arange(1.0, 60.0)), 0.0, -0.0
        ],
        "shallow peak": confident(100, 20),
        "deep peak": confident(100, 80),
        "deepest peak": confident(7, deep - 5),
        "lone peak": confident(1, 0),
        "subnormal results": np.r_[0.0, -deep + np.linspace(0, 20, 65)],
        "holes": np.r_[none, 1.0, none, none, 2.0, np.full(40, none), -3.0],
        "a hole and a peak": np.array([none, 5.0]),
        "largest numbers": np.array([big, big, -big, big * 0.999, 0.0]),
        "lowest numbers": np.array([-big, -big * 0.999]),
        "threshold": np.r_[256.0, np.nextafter(256.0, 0), 255.0, 200.0, 0.0, -256.0],
        "below threshold": np.r_[-256.0, -256.5, -257.0, -300.0],
        "far threshold": np.r_[2048.0, np.nextafter(2048.0, 0), 2000.0, 1500.0],
        "subnormal inputs": np.array([5e-324, 1e-310, -1e-310, 0.0]),
    }


@pytest.mark.parametrize("name", structured(np.dtype(float)))
def test_structured_rows(sm, dtype, name):
    x = structured(dtype)[name].astype(dtype)
    exact = truth.forward(x)
    truth.assert_ulps(sm.softmax(x), exact.softmax, limit(dtype), "softmax")
    truth.assert_ulps(sm.log_softmax(x), exact.log_softmax, limit(dtype), "log_softmax")
    assert_logsumexp(sm.logsumexp(x), exact, limit(dtype))


@pytest.mark.parametrize("k", [17, 130, 256, 300, 1003, 140_005])
def test_the_maximum_anywhere(sm, native_dtype, rng, k):
    """At any place of a row, or at two; what is left of the sum is small beside it."""
    places = sorted({0, 1, 15, 16, k // 3, k // 2, k - 16, k - 5, k - 1} & set(range(k)))
    if k > 100_000:  # so long that the maximum rises from block to block
        places = places[::4]
    pairs = [(a, b) for a in places for b in places if a <= b]
    x = rng.uniform(-2, 2, (len(pairs), k)).astype(native_dtype)
    for row, (a, b) in zip(x, pairs, strict=True):
        row[a] = row[b] = 12
    exact = truth.forward(x)
    truth.assert_ulps(sm.softmax(x), exact.softmax, limit(native_dtype), "softmax")
    truth.assert_ulps(sm.log_softmax(x), exact.log_softmax, limit(native_dtype), "log_softmax")
    assert_logsumexp(sm.logsumexp(x), exact, limit(native_dtype))


@pytest.mark.parametrize("k", [300, 2500])
def test_long_columns(sm, native_dtype, rng, k):
    """Whose maximum is found at once, or rises from block to block; each has its own."""
    deep = 104.0 if native_dtype == np.float32 else 745.0
    columns = [
        rng.standard_normal(k) * 3,
        np.linspace(-deep, 0, k),
        np.linspace(0, -deep, k),
        np.linspace(-deep, 0, k) + 3000,
        np.linspace(0, -deep, k) - 5000,
        np.r_[np.zeros(k - 1), 90.0],
        np.r_[90.0, np.zeros(k - 1)],
    ]
    x = np.stack(columns * 5, 1).astype(native_dtype)
    exact = truth.forward(x.T)
    truth.assert_ulps(sm.softmax(x, axis=0).T, exact.softmax, limit(native_dtype), "softmax")
    log_s = sm.log_softmax(x, axis=0).T
    truth.assert_ulps(log_s, exact.log_softmax, limit(native_dtype), "log_softmax")
    assert_logsumexp(sm.logsumexp(x, axis=0), exact, limit(native_dtype))


def test_peak_of_log_softmax_is_exact_in_the_tail(sm, native_dtype):
    """At a peak whose probability rounds to one, log_softmax is -Σ of the others, not 0."""
    depths = (40, 60, 80, 100) if native_dtype == np.float32 else (40, 100, 300, 600, 700)
    x = np.array([confident(9, depth) for depth in depths], native_dtype)
    log_s = sm.log_softmax(x)[:, 9 // 2]
    assert (log_s < 0).all()
    truth.assert_ulps(log_s, truth.mp_log_softmax(x)[:, 9 // 2], 3)


def test_tails_of_many_subnormal_terms(sm, dtype):
    """Terms that have few digits left, or none, add up to one that has more."""
    deepest = float(np.log(2.0) * truth.format_of(dtype).lowest)
    x = np.full((4, 10_001), -np.inf).astype(dtype)
    for row, depth in zip(x, (0.3, -0.2, -2.0, -5.0), strict=True):
        row[:], row[0] = deepest + depth, 0
    e = truth.exp(truth.mpf(x[:, 1]))
    tail = 10_000 * e
    share, log = e / (1 + tail), truth.log1p(tail)
    s, log_s = sm.softmax(x), sm.log_softmax(x)
    assert (s[:, 2:] == s[:, 1:2]).all()
    truth.assert_ulps(s[:, 1], share, limit(dtype), "softmax")
    truth.assert_ulps(log_s[:, 0], -log, limit(dtype), "log_softmax")
    loss, gradient = sm.cross_entropy_with_grad(x, [0] * 4, reduction="none")
    assert (gradient[:, 2:] == gradient[:, 1:2]).all()
    truth.assert_ulps(loss, log, limit(dtype), "loss")
    truth.assert_ulps(gradient[:, 0], -tail / (1 + tail), limit(dtype), "gradient")
    truth.assert_ulps(gradient[:, 1], share, limit(dtype), "gradient")


@pytest.mark.parametrize("scale", [1.0, 0.5, -1.0, float(np.float32(0.1)), 1000.0, -37.5, 2.0**-30])
def test_scale_argument(sm, dtype, scale):
    """softmax(scale·x) as if the product were exact."""
    x = (np.random.default_rng(3).standard_normal((6, 33)) * 5 / max(1, abs(scale) / 20)).astype(
        dtype
    )
    scaled = truth.mpf(x) * truth.mpmath.mpf(scale)
    e = truth.exp(scaled)
    total = e.sum(-1, keepdims=True)
    truth.assert_ulps(sm.softmax(x, scale=scale), e / total, limit(dtype), "softmax")
    truth.assert_ulps(
        sm.log_softmax(x, scale=scale), scaled - truth.log(total), limit(dtype), "log_softmax"
    )


SCALES = (
    *(5e-324, 1e-320, -1e-310, 1e-300, 1e-200, -1e-60, 1e-46, 1e-39, 1e-20, 0.3),
    *(19999999.0, 3.3e15, 1e20, -1.7e38, 3.4e38, 1e45, 1e60, -1e80, 1e160, 1e300, 1.7e308),
)
"""Any double is one: of the range of each dtype, at its ends, and far beyond."""

SCALED_LENGTHS = (1, 3, 17, 129, 300)


@cache
def scaled_rows(name: str, scale: float, k: int) -> tuple[np.ndarray, truth.Exact, truth.Exact]:
    """Rows whose arguments are moderate, if such numbers there are, or large; and the truth."""
    dtype = dtype_named(name)
    rng = np.random.default_rng(k)
    spread = np.array([1, 30, 700])[:, np.newaxis]
    arguments = rng.standard_normal((3, k)) * spread + [[0], [100], [-5000]]
    most = largest(dtype)
    with np.errstate(all="ignore"):
        x = np.clip(np.nan_to_num(arguments / scale, posinf=most, neginf=-most), -most, most)
        x = np.concatenate([x, rng.choice([-most, 0, most / 2, most], (1, k))]).astype(dtype)
    scaled = truth.mpf(x) * truth.mpmath.mpf(scale)
    return x, *truth.mp_forward(scaled)


@pytest.mark.parametrize("scale", SCALES)
def test_scale_of_any_size(sm, dtype, scale):
    """Along rows and down columns, of many lengths, and of a row alone."""
    for k in SCALED_LENGTHS:
        x, softmax, log_softmax = scaled_rows(dtype.name, scale, k)
        for name, exact in [("softmax", softmax), ("log_softmax", log_softmax)]:
            function = getattr(sm, name)
            columns = np.tile(x, (10, 1)).T.copy()
            for what, got in [
                ("rows", function(x, scale=scale)),
                ("columns", function(columns, axis=0, scale=scale).T[: len(x)]),
                ("alone", np.stack([function(row, scale=scale) for row in x])),
                ("where", function(x, scale=scale, where=np.full(k, True))),
            ]:
                truth.assert_ulps(got, exact, limit(dtype), f"{name}, {k} classes, {what}")


@pytest.mark.parametrize("scale", SCALES)
def test_scale_of_any_size_and_where(sm, dtype, scale):
    """What is hidden is as if it were not there."""
    for k in (3, 40):
        x, *_ = scaled_rows(dtype.name, scale, k)
        shown = np.arange(k) % 3 != 1
        with np.errstate(invalid="ignore"):
            x_shown = truth.mpf(x[:, shown]) * truth.mpmath.mpf(scale)
        softmax, log_softmax = truth.mp_forward(x_shown)
        x = np.where(shown, x, np.array(np.nan, dtype))
        for name, exact in [("softmax", softmax), ("log_softmax", log_softmax)]:
            got = getattr(sm, name)(x, scale=scale, where=shown)
            truth.assert_ulps(got[:, shown], exact, limit(dtype), f"{name}, {k} classes")
            assert (got[:, ~shown] == (0 if name == "softmax" else -np.inf)).all()


# ---- More ties than a float32 can count ----------------------------------------------------------


@pytest.mark.heavy
@pytest.mark.parametrize("name, k", [("float16", 2**24 + 2), ("float32", 2**25)])
def test_ties_without_number(sm, name, k):
    """Rows of one value, along and down, of which no sum or count drifts."""
    if sm.backend() == "numpy":
        pytest.skip("it counts nothing in float32, and takes gigabytes here")
    log = truth.mpmath.log(k)
    lse, log_s = truth.mpf(np.zeros(2)) + log, truth.mpf(np.zeros(2)) - log
    s = truth.mpf(np.ones(2)) / k
    bound = limit(np.dtype(name))
    for x, axis in [(np.zeros((k, 2), name), 0), (np.zeros((1, k), name), 1)]:
        ends = [0, -1]
        columns = 2 if axis == 0 else 1
        truth.assert_ulps(sm.logsumexp(x, axis), lse[:columns], bound, "logsumexp")
        for function, exact in [(sm.log_softmax, log_s), (sm.softmax, s)]:
            got = np.moveaxis(function(x, axis, out=x), axis, -1)
            truth.assert_ulps(got[0, ends], exact, bound, function.__name__)
            assert (got == got[0, 0]).all()
            x.fill(0)
        label = np.zeros(columns, int)
        loss = sm.cross_entropy(x, label, axis=axis, reduction="none")
        truth.assert_ulps(loss, lse[:columns], bound, "cross_entropy")
        smooth = sm.cross_entropy(x, label, axis=axis, reduction="none", label_smoothing=0.3)
        truth.assert_ulps(smooth, lse[:columns], 2 * bound, "cross_entropy, smoothed")


# Rows for which a hundred million random values came out worst on some target or another
WORST_FOUND = {
    "float32": [
        "-0x1.b5407ep+0 0x1.e81114p+1 -0x1.0c261ep+1 -0x1.bc5cecp+0 -0x1.2a4ef4p+0 -0x1.8fd9ccp+1",
    ],
    "float64": [
        "0x1.26d2d8dcfdb54p+4 -0x1.fab02d1d4341ep+1 -0x1.1d4b814c39adbp+1 0x1.56b5bc4d14a19p+2 "
        "-0x1.434375d1364a9p+3 0x1.00064ce50a7ddp+3 -0x1.ac6091592041ep+3 0x1.cb275303eebbap-8 "
        "-0x1.cf67c4dce0a7cp+2 0x1.6917abe927bafp+2 -0x1.96454839f7a71p+1 -0x1.dd3a864093854p+1 "
        "0x1.26847d856795cp+1 -0x1.7a0189b54f0c9p+0",
    ],
}


def test_worst_rows_found(sm, native_dtype):
    for digits in WORST_FOUND[native_dtype.name]:
        x = np.array([float.fromhex(digit) for digit in digits.split()], native_dtype)
        exact = truth.forward(x)
        truth.assert_ulps(sm.softmax(x), exact.softmax, 3, "softmax")
        truth.assert_ulps(sm.log_softmax(x), exact.log_softmax, 3, "log_softmax")


# ---- Four million classes ------------------------------------------------------------------------


HUGE = 2**22
HUGE_ROWS = {"spread 3": (3.0, 0.0), "spread 30, far away": (30.0, -1e5)}


@cache
def huge(name: str, row: str) -> tuple[np.ndarray, truth.Forward]:
    spread, offset = HUGE_ROWS[row]
    x = np.random.default_rng(22).standard_normal(HUGE) * spread + offset
    x = x.astype(dtype_named(name))
    return x, truth.forward(x)


@pytest.mark.heavy
@pytest.mark.parametrize("row", HUGE_ROWS)
def test_four_million_classes(sm, native_dtype, row):
    x, exact = huge(native_dtype.name, row)
    s = sm.softmax(x)
    truth.assert_ulps(s, exact.softmax, 3, "softmax")
    assert abs(np.sum(s, dtype=np.longdouble) - 1) <= 4 * truth.eps(native_dtype)
    truth.assert_ulps(sm.log_softmax(x), exact.log_softmax, 3, "log_softmax")
    assert_logsumexp(sm.logsumexp(x), exact, 3)


# ---- Rows that are worked on in parts, which meet at the end -------------------------------------


K_IN_PARTS = 3 * 2**16 + 5
NAMES_IN_PARTS = ("ties", "rising", "falling", "from nothing", "lone peak", "far away")


@cache
def in_parts(name: str, row: str) -> tuple[np.ndarray, truth.Forward]:
    k = K_IN_PARTS
    x = np.random.default_rng(3).standard_normal(k) * 2
    match row:
        case "ties":
            x[[0, k // 2, k - 1]] = 20
        case "rising":
            x += np.linspace(-90, 5, k)
        case "falling":
            x += np.linspace(5, -90, k)
        case "from nothing":
            x[: k // 2] = -np.inf
        case "lone peak":
            x[k // 2] = 60
        case "far away":
            x -= 3000
    x = x.astype(dtype_named(name))
    return x, truth.forward(x)


@pytest.mark.parametrize("row", NAMES_IN_PARTS)
def test_row_in_parts(sm, dtype, row):
    x, exact = in_parts(dtype.name, row)
    truth.assert_ulps(sm.softmax(x), exact.softmax, limit(dtype), "softmax")
    truth.assert_ulps(sm.log_softmax(x), exact.log_softmax, limit(dtype), "log_softmax")
    assert_logsumexp(sm.logsumexp(x), exact, limit(dtype))


# ---- Every binade of the exponential, through a two-class softmax and a row of many --------------


@pytest.mark.parametrize("name", DTYPES[:2])
def test_every_binade_of_the_exponential(sm, name):
    """Where n = rint(x·log2 e) changes: both neighbours of each half-integer multiple of ln 2."""
    deepest = 150 if name == "float32" else 1075
    edge = ((np.arange(1, deepest) - 0.5) * np.log(2)).astype(name)
    x = -np.concatenate(
        [edge, np.nextafter(edge, np.inf, dtype=name), np.nextafter(edge, 0, dtype=name)]
    )
    pairs = np.stack([np.zeros_like(x), x], -1)
    exact = truth.forward(pairs)
    truth.assert_ulps(sm.softmax(pairs), exact.softmax, 3, "two classes")
    truth.assert_ulps(sm.log_softmax(pairs), exact.log_softmax, 3, "two classes")
    row = np.append(x, 0).astype(name)
    truth.assert_ulps(sm.softmax(row), truth.forward(row).softmax, 3, "one row")
