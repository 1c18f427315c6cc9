"""`smcore.dask` beside `smcore` in memory, and beside the truth."""

from __future__ import annotations

import itertools
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import mpmath
import numpy as np
import pytest
import truth

import smcore

dask = pytest.importorskip("dask")
da = pytest.importorskip("dask.array")
sd = pytest.importorskip("smcore.dask")

CHUNKED = [
    pytest.param((6, 50), (3, 17), -1, id="classes in parts"),
    pytest.param((6, 50), (2, 50), -1, id="classes whole"),
    pytest.param((6, 50), (4, 25), 0, id="the first axis"),
    pytest.param((4, 5, 30), (2, 5, 11), (0, 2), id="two axes"),
    pytest.param((4, 5, 6), (4, 2, 6), (0, -1), id="two axes, whole"),
    pytest.param((6, 50), (3, 17), None, id="all axes"),
    pytest.param((50,), (17,), -1, id="one row"),
    pytest.param((3, 8), (2, (0, 3, 0, 5, 0)), -1, id="empty chunks"),
    pytest.param((0, 8), (1, 3), -1, id="no rows"),
    pytest.param((3, 0), (1, 3), -1, id="no classes"),
]
chunked = pytest.mark.parametrize(("shape", "chunks", "axis"), CHUNKED)
dtypes = pytest.mark.parametrize("name", ["float32", "float64"])


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    with dask.config.set(scheduler="synchronous"):
        yield


def distance(got: Any, expected: Any) -> float:
    """How far results of one shape and dtype are apart, in units of the last place."""
    got, expected = np.asarray(got), np.asarray(expected)
    assert (got.shape, got.dtype) == (expected.shape, expected.dtype)
    with np.errstate(all="ignore"):
        unit = np.spacing(np.abs(expected))
        got, expected, unit = (a.astype("g") for a in (got, expected, unit))
        same = (got == expected) | (np.isnan(got) & np.isnan(expected))
        return float(np.max(np.where(same, 0, np.abs(got - expected) / unit), initial=0))


def computed(*lazy: Any) -> Any:
    """The results, after a look at what was said of them before."""
    results = tuple(map(np.asarray, dask.compute(*lazy)))
    for promised, result in zip(lazy, results, strict=True):
        assert (result.shape, result.dtype) == (promised.shape, promised.dtype)
        assert isinstance(promised._meta, np.ndarray) and promised._meta.dtype == promised.dtype
    return results if len(results) > 1 else results[0]


def with_edges(x: Any) -> Any:
    """Rows of 50 with far peaks, infinities and NaN, if there are such."""
    if x.shape == (6, 50):
        x[1] += 400
        x[2, 3] = 60
        x[3, :] = -np.inf
        x[4, 5], x[4, 6] = np.inf, np.nan
        x[5, 20:30] = -np.inf
    return x


# ---- beside smcore in memory ---------------------------------------------------------------------


@pytest.mark.parametrize("name", ["float16", "float32", "float64", "longdouble", "int32"])
@chunked
def test_results_are_those_in_memory(rng, shape, chunks, axis, name):
    x = (
        with_edges(rng.standard_normal(shape) * 5)
        if name != "int32"
        else rng.integers(9, size=shape)
    )
    x = x.astype(name)
    lazy = da.from_array(x, chunks=chunks)
    where = rng.random(shape) < 0.7
    calls: list[Any] = [("logsumexp", {}), ("logsumexp", {"where": where, "keepdims": True})]
    for options in ({}, {"where": where}, {"scale": 0.3}, {"scale": -2.0, "where": where}):
        calls += [(function, options) for function in ("softmax", "log_softmax")]
    got = [getattr(sd, function)(lazy, axis, **options) for function, options in calls]
    assert all(each.chunks == lazy.chunks for each in got[2:])
    for (function, options), each in zip(calls, computed(*got), strict=True):
        assert distance(each, getattr(smcore, function)(x, axis, **options)) <= 4


HOW: list[dict[str, Any]] = [
    {},
    {"label_smoothing": 0.1, "z_loss": 1e-3},
    {"label_smoothing": 1.0},
    {"where": True, "z_loss": 1e-3},
    {"where": True, "label_smoothing": 0.1, "weight": True},
    {"weight": True, "sample_weight": True},
]


@dtypes
@chunked
def test_losses_are_those_in_memory(rng, shape, chunks, axis, name):
    if 0 in shape:
        pytest.skip("no loss without classes or rows: see below")
    x = with_edges(rng.standard_normal(shape) * 5).astype(name)
    lead = np.shape(smcore.logsumexp(x, axis))
    classes = x.size // int(np.prod(lead))
    labels = rng.integers(0, classes, lead)
    if lead:
        labels.flat[0] = -100
    soft = np.where(rng.random(shape) < 0.3, 0, rng.random(shape))
    where, weight = rng.random(shape) < 0.8, rng.random(classes)
    weight[1] = 0
    sample = rng.integers(0, 3, lead) / 4
    named = (("where", where), ("weight", weight), ("sample_weight", sample))
    if shape == (6, 50):
        where[0] = where[1] = False
    lazy = da.from_array(x, chunks=chunks)
    got, expected = [], []
    for target, given in itertools.product((labels, soft), HOW):
        given = given | {name: array for name, array in named if name in given}
        for options in (given, given | {"reduction": "none", "return_lse": True}):
            one = sd.cross_entropy(lazy, target, axis=axis, **options)
            other = smcore.cross_entropy(x, target, axis=axis, **options)
            got += one if isinstance(one, tuple) else [one]
            expected += other if isinstance(other, tuple) else [other]
    for one, other in zip(computed(*got), expected, strict=True):
        assert distance(one, other) <= 4


def test_sums_of_losses_and_weights_of_rows(rng):
    x, labels = rng.standard_normal((7, 9)), rng.integers(0, 9, 7)
    sample = rng.random(7)
    sample[2] = 0
    x[2] = np.nan  # takes no part
    plain = np.delete(smcore.cross_entropy(x, labels, reduction="none"), 2)
    factors = np.delete(sample, 2)
    for lazy in (da.from_array(x, chunks=(3, 4)), da.from_array(x, chunks=(3, 9))):
        for weights in (sample, da.from_array(sample, chunks=2)):
            options = {"sample_weight": weights}
            total = computed(sd.cross_entropy(lazy, labels, reduction="sum", **options))
            assert total == pytest.approx((plain * factors).sum(), rel=1e-15)
            mean = computed(sd.cross_entropy(lazy, labels, **options))
            assert mean == pytest.approx(np.average(plain, weights=factors), rel=1e-15)
            each = computed(sd.cross_entropy(lazy, labels, reduction="none", **options))
            assert each[2] == 0


def test_nothing_counted_and_no_rows():
    x = da.zeros((3, 8), chunks=(2, 3))
    assert np.isnan(computed(sd.cross_entropy(x, [-100] * 3)))
    assert computed(sd.cross_entropy(x, [-100] * 3, reduction="sum")) == 0
    none = da.zeros((0, 8), chunks=(2, 3))
    assert np.isnan(computed(sd.cross_entropy(none, np.zeros(0, int))))
    assert computed(sd.cross_entropy(none, np.zeros(0, int), reduction="none")).shape == (0,)


@dtypes
@pytest.mark.parametrize("chunks", [(3, 50), (3, 20)])
def test_factors_and_signs(rng, chunks, name):
    x = (rng.standard_normal((6, 50)) * 3).astype(name)
    lazy = da.from_array(x, chunks=chunks)
    positive, mixed = rng.random((6, 50)), rng.standard_normal((6, 50))
    some = (positive, 0.5, positive[0], positive[:, :1], da.from_array(positive, chunks=11))
    got = computed(*(sd.logsumexp(lazy, b=b, dtype=name) for b in some))
    for b, each in zip(some, got, strict=True):
        assert distance(each, smcore.logsumexp(x, b=np.asarray(b), dtype=name)) <= 4
    log, sign = sd.logsumexp(lazy, b=mixed, return_sign=True, keepdims=True)
    exact = (mixed * np.exp(x.astype(np.longdouble))).sum(axis=-1, keepdims=True)
    assert (computed(sign) == np.sign(exact)).all()
    np.testing.assert_allclose(computed(log), np.log(np.abs(exact)).astype(float), rtol=1e-12)
    both = smcore.logsumexp(x, b=mixed, dtype=name)
    assert (np.isnan(computed(sd.logsumexp(lazy, b=mixed))) == np.isnan(both)).all()
    assert sd.logsumexp(da.zeros(3, chunks=2), b=np.ones((4, 3))).shape == (4,)
    _, sign = sd.logsumexp(lazy, return_sign=True)
    assert (computed(sign) == 1).all()


def test_a_scale_for_each_row(rng):
    x = rng.standard_normal((6, 4, 9))
    scale = rng.standard_normal((6, 4))
    for chunks in ((2, 3, 9), (2, 3, 4)):
        lazy = da.from_array(x, chunks=chunks)
        for some in (
            scale,
            scale[0],
            scale[:, :1],
            scale[..., None],
            da.from_array(scale, chunks=3),
        ):
            expected = smcore.softmax(x, scale=np.asarray(some))
            assert distance(computed(sd.softmax(lazy, scale=some)), expected) <= 4
        temperature = 1 / da.from_array(x, chunks=chunks).std()  # one number, not known yet
        expected = smcore.softmax(x, scale=1 / x.std())
        np.testing.assert_allclose(
            computed(sd.softmax(lazy, scale=temperature)), expected, rtol=1e-13
        )


def test_a_mask_is_broadcast_and_may_be_lazy(rng):
    x = rng.standard_normal((6, 9))
    lazy = da.from_array(x, chunks=(4, 2))
    mask = rng.random((6, 9)) < 0.5
    for where in (mask, mask[0], mask[:, :1], da.from_array(mask, chunks=(1, 9)), lazy > 0):
        expected = smcore.softmax(x, where=np.asarray(where))
        assert distance(computed(sd.softmax(lazy, where=where)), expected) <= 4


def test_arrays_without_axes():
    x = da.from_array(np.array(3.0))
    assert computed(sd.softmax(x)) == 1
    assert computed(sd.logsumexp(x)) == 3
    assert computed(sd.cross_entropy(x, 0)) == 0


def test_bfloat16(rng):
    ml_dtypes = pytest.importorskip("ml_dtypes")
    x = rng.standard_normal((4, 30)).astype(ml_dtypes.bfloat16)
    lazy = da.from_array(x, chunks=(2, 8))
    for function in ("softmax", "log_softmax", "logsumexp"):
        got, expected = computed(getattr(sd, function)(lazy)), getattr(smcore, function)(x)
        np.testing.assert_allclose(got.astype(float), expected.astype(float), rtol=2**-7)


def test_the_dtype_asked_for(rng):
    x = rng.standard_normal((4, 30)).astype(np.float32)
    lazy = da.from_array(x, chunks=(2, 8))
    for function in ("softmax", "log_softmax", "logsumexp"):
        expected = getattr(smcore, function)(x, dtype="float64")
        assert distance(computed(getattr(sd, function)(lazy, dtype="float64")), expected) <= 4


# ---- beside the truth ----------------------------------------------------------------------------

ROWS = {
    "plain": lambda rng: rng.standard_normal((5, 200)) * 3,
    "far up": lambda rng: rng.standard_normal((5, 200)) + 5000,
    "wide": lambda rng: rng.standard_normal((5, 200)) * 100,
    "sure": lambda rng: (
        np.where(np.arange(200) == [[0], [50], [60], [199], [7]], 30.0, -10.0)
        + rng.standard_normal((5, 200))
    ),
}


@dtypes
@pytest.mark.parametrize("rows", ROWS)
def test_errors_are_those_of_whole_rows(rng, rows, name):
    """The peak of a sure row keeps the digits of its logarithm, wherever its chunk ends."""
    x = ROWS[rows](rng).astype(name)
    exact = truth.forward(x)
    labels = x.argmax(axis=1)
    for size in (9, 64):
        lazy = da.from_array(x, chunks=(3, size))
        loss = sd.cross_entropy(lazy, labels, reduction="none")
        softmax, log_softmax, lse, losses = computed(
            sd.softmax(lazy), sd.log_softmax(lazy), sd.logsumexp(lazy), loss
        )
        truth.assert_ulps(softmax, exact.softmax, 4)
        truth.assert_ulps(log_softmax, exact.log_softmax, 4)
        truth.assert_ulps(lse, exact.logsumexp, 2)
        own = np.take_along_axis(smcore.log_softmax(x), labels[:, np.newaxis], 1)
        assert distance(losses, -own[:, 0]) <= 4


@dtypes
def test_a_scale_costs_no_digits(rng, name):
    x = (rng.standard_normal((3, 60)) * 100).astype(name)
    with mpmath.workdps(60):
        softmax, log_softmax = truth.mp_forward(truth.mpf(x) * mpmath.mpf(0.7))
    lazy = da.from_array(x, chunks=(2, 9))
    got = computed(sd.softmax(lazy, scale=0.7), sd.log_softmax(lazy, scale=0.7))
    truth.assert_ulps(got[0], softmax, 4)
    truth.assert_ulps(got[1], log_softmax, 4)


def test_a_scale_cannot_overflow(rng):
    x = np.array([[1e300, -1e300, 1e300, 0.0], [1.0, 2.0, -np.inf, 2.0]])
    lazy = da.from_array(x, chunks=(2, 1))
    for scale in (1e300, -1e300, 0.0, [1e300, 0.0]):
        for function in ("softmax", "log_softmax"):
            expected = getattr(smcore, function)(x, scale=scale)
            assert distance(computed(getattr(sd, function)(lazy, scale=scale)), expected) <= 4


@dtypes
@pytest.mark.parametrize("scale", [0.7, -1.3])
def test_a_scaled_sure_row_keeps_its_digits(rng, name, scale):
    x = (rng.standard_normal((4, 60)) * 30).astype(name)
    x[np.arange(4), [0, 30, 31, 59]] = np.copysign(200.3, scale)
    lazy = da.from_array(x, chunks=(2, 9))
    got = computed(sd.log_softmax(lazy, scale=scale))
    assert distance(got, smcore.log_softmax(x, scale=scale)) <= 4


def test_smoothing_keeps_its_digits_far_from_zero(rng):
    """A sum of logits would lose them: they are all near 5000."""
    x = (rng.standard_normal((4, 100)) + 5000).astype(np.float32)
    labels = rng.integers(0, 100, 4)
    wide = x.astype(float)
    log_s = smcore.log_softmax(wide)
    exact = -0.9 * log_s[np.arange(4), labels] - 0.1 * log_s.mean(axis=1)
    got = computed(
        sd.cross_entropy(
            da.from_array(x, chunks=(4, 7)), labels, label_smoothing=0.1, reduction="none"
        )
    )
    np.testing.assert_allclose(got, exact, rtol=4 * 2.0**-24)


# ---- how often chunks are read -------------------------------------------------------------------


def counted(shape: Any, chunks: Any) -> tuple[Any, Counter[Any]]:
    """A lazy array, and how often each of its chunks has been read."""
    reads: Counter[Any] = Counter()

    def read(block_info: Any = None) -> Any:
        where = block_info[None]
        reads[where["chunk-location"]] += 1
        rng = np.random.default_rng(where["chunk-location"])
        return rng.standard_normal(where["chunk-shape"])

    return da.map_blocks(read, chunks=da.core.normalize_chunks(chunks, shape), dtype=float), reads


REDUCTIONS: dict[str, Callable[[Any], Any]] = {
    "logsumexp": sd.logsumexp,
    "logsumexp of factors": lambda x: sd.logsumexp(x, b=2.0),
    "cross_entropy": lambda x: sd.cross_entropy(x, np.zeros(x.shape[0], int), label_smoothing=0.1),
}


@pytest.mark.parametrize("scheduler", ["synchronous", "threads"])
@pytest.mark.parametrize("name", REDUCTIONS)
def test_a_reduction_reads_each_chunk_once(name, scheduler):
    x, reads = counted((6, 40), (2, 8))
    lazy = REDUCTIONS[name](x)
    assert not reads
    lazy.compute(scheduler=scheduler)
    assert len(reads) == 15 and set(reads.values()) == {1}


@pytest.mark.parametrize("scheduler", ["synchronous", "threads"])
@pytest.mark.parametrize("function", ["softmax", "log_softmax"])
def test_a_softmax_reads_each_chunk_twice(function, scheduler):
    x, reads = counted((6, 40), (2, 8))
    lazy = getattr(sd, function)(x)
    assert not reads
    got = lazy.compute(scheduler=scheduler)
    assert len(reads) == 15 and set(reads.values()) == {2}
    assert distance(got, getattr(smcore, function)(x.compute())) <= 4


def test_a_softmax_of_whole_rows_reads_each_chunk_once():
    x, reads = counted((6, 40), (2, 40))
    sd.softmax(x).compute()
    assert len(reads) == 3 and set(reads.values()) == {1}


def test_the_same_call_makes_the_same_keys(rng):
    x = da.from_array(rng.standard_normal((4, 9)), chunks=2)
    assert sd.softmax(x).name == sd.softmax(x).name
    assert sd.softmax(x).name != sd.softmax(x, scale=2.0).name


# ---- chunks of unknown sizes ---------------------------------------------------------------------


@pytest.mark.parametrize("size", [10, 3], ids=["whole", "in parts"])
def test_rows_of_unknown_number(rng, size):
    values = rng.standard_normal((9, 10))
    kept = values[values[:, 0] > 0]
    x = da.from_array(values, chunks=(2, size))
    labels = da.from_array(np.arange(9), chunks=2)[x[:, 0] > 0]
    x = x[x[:, 0] > 0]
    assert np.isnan(x.shape[0])
    assert distance(sd.softmax(x).compute(), smcore.softmax(kept)) <= 4
    assert distance(sd.softmax(x, where=x > 0).compute(), smcore.softmax(kept, where=kept > 0)) <= 4
    assert distance(sd.logsumexp(x).compute(), smcore.logsumexp(kept)) <= 4
    expected = smcore.cross_entropy(kept, np.arange(9)[values[:, 0] > 0])
    assert distance(sd.cross_entropy(x, labels).compute(), expected) <= 4
    with pytest.raises(ValueError, match=r"target must have the chunks of x .*compute_chunk_sizes"):
        sd.cross_entropy(x, np.zeros(len(kept), int))


def test_classes_of_unknown_number(rng):
    values = rng.standard_normal((9, 10))
    x = da.from_array(values, chunks=(4, 3))
    x = x[:, x[0] > 0]
    assert distance(sd.softmax(x).compute(), smcore.softmax(values[:, values[0] > 0])) <= 4
    with pytest.raises(ValueError, match="x must have classes of known number"):
        sd.cross_entropy(x, np.zeros(9, int))


# ---- what is refused -----------------------------------------------------------------------------

X = da.zeros((4, 6), chunks=(2, 3))
WRONG = {
    "an array of NumPy": (
        lambda: sd.softmax(np.zeros(3)),
        TypeError,
        "x must be a dask.array.Array",
    ),
    "a list": (lambda: sd.logsumexp([1.0]), TypeError, "found list"),
    "complex": (lambda: sd.softmax(X.astype(complex)), TypeError, "x must hold float16"),
    "masked": (
        lambda: sd.softmax(da.ma.masked_greater(X, 1)),
        TypeError,
        r"x must not be a masked array.*dask.array.ma.getdata\(x\)",
    ),
    "an axis": (lambda: sd.softmax(X, 2), np.exceptions.AxisError, "axis 2 is out of bounds"),
    "an axis twice": (lambda: sd.softmax(X, (1, -1)), ValueError, "axis must not name"),
    "dtype": (lambda: sd.softmax(X, dtype=int), TypeError, "dtype must be float16"),
    "mask": (lambda: sd.softmax(X, where=X), TypeError, "where must be boolean"),
    "mask's shape": (
        lambda: sd.softmax(X, where=da.ones(5, dtype=bool)),
        ValueError,
        r"where must have shape \(4, 6\)",
    ),
    "scale": (lambda: sd.softmax(X, scale=np.nan), ValueError, "scale must be finite"),
    "scales": (lambda: sd.softmax(X, scale=[1.0, 2.0]), ValueError, "scale must be one number"),
    "lazy scales": (
        lambda: sd.softmax(X, scale=da.ones(3)),
        ValueError,
        "scale must be one number",
    ),
    "factors": (lambda: sd.logsumexp(X, b=np.ones(5)), ValueError, "b must broadcast against x"),
    "label": (
        lambda: sd.cross_entropy(X, [0, 1, 6, 2]),
        ValueError,
        r"target must hold labels 0 to 5.*found 6 at index \(2,\)",
    ),
    "labels' shape": (
        lambda: sd.cross_entropy(X, da.zeros(6, dtype=int)),
        ValueError,
        r"target \(of integers, one for each row\) must have shape \(4,\); found \(6,\)",
    ),
    "labels as floats": (
        lambda: sd.cross_entropy(X, da.zeros(4)),
        ValueError,
        r"target \(of floats, one for each logit\) must have shape \(4, 6\).*astype\(int\)",
    ),
    "labels as booleans": (
        lambda: sd.cross_entropy(X, da.zeros(4, dtype=bool)),
        TypeError,
        "target must hold integer labels",
    ),
    "weight": (lambda: sd.cross_entropy(X, [0] * 4, weight=[1.0]), ValueError, "weight must have"),
    "lazy weight": (
        lambda: sd.cross_entropy(X, [0] * 4, weight=da.ones(6)),
        TypeError,
        "weight must be an array of NumPy",
    ),
    "sample_weight": (
        lambda: sd.cross_entropy(X, [0] * 4, sample_weight=[1.0, 1.0, -1.0, 1.0]),
        ValueError,
        "sample_weight must be at least 0; found -1.0",
    ),
    "reduction": (
        lambda: sd.cross_entropy(X, [0] * 4, reduction="max"),
        ValueError,
        "reduction must be",
    ),
    "smoothing": (
        lambda: sd.cross_entropy(X, [0] * 4, label_smoothing=2),
        ValueError,
        "label_smoothing must lie in",
    ),
    "z_loss": (lambda: sd.cross_entropy(X, [0] * 4, z_loss=-1), ValueError, "z_loss must be at"),
    "ignore_index": (
        lambda: sd.cross_entropy(X, [0] * 4, ignore_index=0.5),
        TypeError,
        "ignore_index must be an integer",
    ),
    "no classes": (
        lambda: sd.cross_entropy(da.zeros((4, 0)), [0] * 4),
        ValueError,
        "there must be at least one class",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_is_said_before_anything_is_computed(name):
    call, error, message = WRONG[name]
    with pytest.raises(error, match=message):
        call()


@pytest.mark.parametrize("chunks", [(2, 3), (2, 6)])
def test_what_is_wrong_in_a_chunk_is_said_when_it_is_computed(chunks):
    x = da.zeros((4, 6), chunks=chunks)
    labels = sd.cross_entropy(x, da.from_array([0, 1, 6, 2], chunks=2))
    with pytest.raises(ValueError, match=r"target must hold labels 0 to 5.*found 6 at index"):
        labels.compute()
    scaled = sd.softmax(x, scale=da.from_array([1.0, 1.0, np.inf, 1.0], chunks=2))
    with pytest.raises(ValueError, match="scale must be finite"):
        scaled.compute()
    weighted = sd.cross_entropy(x, [0] * 4, sample_weight=da.from_array([-1.0, 1, 1, 1]))
    with pytest.raises(ValueError, match="sample_weight must be at least 0"):
        weighted.compute()


def test_arguments_are_left_as_they_are(rng):
    values = rng.standard_normal((4, 9))
    kept = values.copy()
    x = da.from_array(values, chunks=(4, 3))
    dask.compute(
        sd.softmax(x, where=values > 0), sd.log_softmax(x, scale=2.0), sd.cross_entropy(x, [0] * 4)
    )
    np.testing.assert_array_equal(values, kept)


def test_without_dask_the_error_says_what_to_install():
    code = "import sys; sys.modules['dask'] = None; import smcore.dask"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert re.search(r"ImportError: smcore.dask needs Dask.*\[dask\]", found.stderr)
