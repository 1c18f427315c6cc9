"""Every row of the table of edge values, and not one floating-point warning on the way."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import partial
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import truth
from cases import OPERATIONS, ROWWISE, every, largest, results

NAN, INF = np.nan, np.inf
LENGTHS = (1, 2, 3, 5, 8, 16, 17, 33, 100, 1000)


class Strict:
    """The package, called where every floating-point error raises."""

    def __init__(self, package: ModuleType) -> None:
        self.package = package

    def __getattr__(self, name: str) -> Callable[..., Any]:
        def call(*args: Any, **keywords: Any) -> Any:
            with np.errstate(all="raise"):
                return getattr(self.package, name)(*args, **keywords)

        return call


@pytest.fixture
def sm(sm: ModuleType) -> Strict:
    """What the caller has told NumPy to do about overflow is no business of these functions."""
    return Strict(sm)


def same(got, expected):
    """Equal everywhere, NaN to NaN."""
    np.testing.assert_array_equal(
        np.asarray(got, np.longdouble), np.asarray(expected, np.longdouble)
    )


# how a row of ordinary logits becomes the edge, and its softmax, log_softmax and logsumexp then
ROWS = {
    "all -inf": (lambda x: np.full_like(x, -INF), NAN, NAN, -INF),
    "+inf": (lambda x: np.where(np.arange(x.size) == x.size // 2, INF, x), NAN, NAN, INF),
    "+inf last": (lambda x: np.where(np.arange(x.size) == x.size - 1, INF, x), NAN, NAN, INF),
    "all +inf": (lambda x: np.full_like(x, INF), NAN, NAN, INF),
    "+inf and -inf": (
        lambda x: np.where(np.arange(x.size) == x.size // 2, INF, -INF),
        NAN,
        NAN,
        INF,
    ),
    "NaN": (lambda x: np.where(np.arange(x.size) == x.size // 2, NAN, x), NAN, NAN, NAN),
    "NaN first": (lambda x: np.where(np.arange(x.size) == 0, NAN, x), NAN, NAN, NAN),
    "NaN last": (lambda x: np.where(np.arange(x.size) == x.size - 1, NAN, x), NAN, NAN, NAN),
    "all NaN": (lambda x: np.full_like(x, NAN), NAN, NAN, NAN),
    "NaN among -inf": (
        lambda x: np.where(np.arange(x.size) == x.size // 2, NAN, -INF),
        NAN,
        NAN,
        NAN,
    ),
}


@pytest.mark.parametrize("k", LENGTHS)
@pytest.mark.parametrize("edge", ROWS)
def test_edge_rows(sm, dtype, rng, edge, k):
    """Alone, and in a batch whose other rows do not notice."""
    make, *expected = ROWS[edge]
    x = rng.standard_normal((20, k)).astype(dtype)
    ordinary = x.copy()
    hit = np.arange(20) % 3 == 1
    x[hit] = make(x[1].astype(float)).astype(dtype)
    for name, value in zip(("softmax", "log_softmax", "logsumexp"), expected, strict=True):
        function = getattr(sm, name)
        got = function(x)
        same(got[hit], np.full_like(got[hit], value))
        same(got[~hit], function(ordinary)[~hit])
        same(function(x[1]), got[1])


@pytest.mark.parametrize("position", range(17))
@pytest.mark.parametrize("value", [NAN, INF])
def test_edge_value_at_every_position(sm, native_dtype, value, position):
    x = np.zeros(17, native_dtype)
    x[position] = value
    assert np.isnan(sm.softmax(x)).all()
    assert np.isnan(sm.log_softmax(x)).all()
    same(sm.logsumexp(x), value)


def test_every_nan_of_16_bits_stays_one(sm, dtype):
    """Whatever its bits: they do not carry over into its sign."""
    if dtype.itemsize != 2:
        pytest.skip("other numbers are stored as they are computed")
    infinity = np.array(INF, dtype).view(np.uint16)

    def is_nan(bits):
        return (bits & 0x7FFF) > infinity

    bits = np.arange(2**16, dtype=np.uint16)
    nan = bits[is_nan(bits)].view(dtype)
    x = np.zeros((nan.size, 33), dtype)
    x[:, 5] = nan
    for got in (sm.softmax(x), sm.log_softmax(x), sm.softmax_vjp(x, x)):
        assert is_nan(got.view(np.uint16)).all()


@pytest.mark.parametrize(
    "shape, axis", [((0,), -1), ((3, 0), -1), ((0, 3), 0), ((2, 0, 3), 1), ((0, 0), None)]
)
def test_rows_of_length_zero(sm, dtype, shape, axis):
    x = np.zeros(shape, dtype)
    for name in ("softmax", "log_softmax"):
        got = getattr(sm, name)(x, axis)
        assert got.shape == shape and got.dtype == dtype
    lse = sm.logsumexp(x, axis)
    assert np.shape(lse) == np.shape(np.sum(np.zeros(shape), axis)) and lse.dtype == dtype
    assert (np.asarray(lse, float) == -INF).all()


@every(ROWWISE)
def test_derivatives_of_rows_of_length_zero(sm, dtype, operation):
    if operation.name.startswith("cross_entropy"):
        pytest.skip("no label is a class of zero: see the bad inputs")
    if operation.name == "logsumexp_partial":
        pytest.skip("a pair: see test_streaming.py")
    operands = operation.draw(np.random.default_rng(), dtype, (3,), 0)
    for result in results(operation(sm, operands)):
        assert result.dtype == dtype and (result.size == 0 or (result == -INF).all())


@every(ROWWISE)
@pytest.mark.parametrize("lead", [(0,), (2, 0), (0, 3)])
def test_empty_batches(sm, dtype, rng, operation, lead):
    usual = results(operation(sm, operation.draw(rng, dtype, (1,) * len(lead))))
    for got, like in zip(
        results(operation(sm, operation.draw(rng, dtype, lead))), usual, strict=True
    ):
        assert got.shape == lead + like.shape[len(lead) :] and got.dtype == like.dtype


@pytest.mark.parametrize("axis", [-1, 0, None])
def test_no_dimensions(sm, dtype, axis):
    """A row of one; the results are NumPy scalars."""
    for value in (2.5, 0.0, -INF, INF, NAN):
        x = np.asarray(value, dtype)
        finite = np.isfinite(value)
        for name, expected in [
            ("softmax", 1 if finite else NAN),
            ("log_softmax", 0 if finite else NAN),
            ("logsumexp", value),
        ]:
            got = getattr(sm, name)(x, axis)
            assert type(got) is dtype.type, name
            same(got, expected)


def test_python_scalars(sm):
    for value in (3, 3.0, True):
        assert isinstance(sm.softmax(value), np.float64) and sm.softmax(value) == 1
        assert isinstance(sm.log_softmax(value), np.float64) and sm.log_softmax(value) == 0
        assert isinstance(sm.logsumexp(value), np.float64) and sm.logsumexp(value) == value


@pytest.mark.parametrize("axis", [-1, None])
def test_reduced_to_a_scalar(sm, dtype, axis):
    assert type(sm.logsumexp(np.zeros(3, dtype), axis)) is dtype.type


# ---- Ranges --------------------------------------------------------------------------------------


def test_range_of_softmax(sm, dtype):
    """Underflow is a zero or a subnormal, never a warning; the log stays finite."""
    x = np.array([0, -20000], dtype)
    s, log_s = sm.softmax(x), sm.log_softmax(x)
    same(s, [1, 0])
    same(log_s, x)


def test_differences_that_overflow(sm, dtype):
    big = np.finfo(dtype).max if dtype == np.longdouble else largest(dtype)
    x = np.array([big, -big, 0]).astype(dtype)
    same(sm.softmax(x), [1, 0, 0])
    same(sm.log_softmax(x)[0], 0)
    same(sm.log_softmax(x)[1], -INF)
    same(sm.logsumexp(x), x[0])


@pytest.mark.parametrize("scale", [1e30, -1e30, 1e300])
def test_scale_does_not_overflow(sm, native_dtype, scale):
    x = np.array([3e38, 1e38, 0, -3e38], native_dtype)
    expected = [1, 0, 0, 0] if scale > 0 else [0, 0, 0, 1]
    same(sm.softmax(x, scale=scale), expected)
    same(sm.log_softmax(x, scale=scale)[expected.index(1)], 0)


def test_scale_zero_is_uniform(sm, dtype):
    x = np.array([0, 1, 100, -7]).astype(dtype)
    same(sm.softmax(x, scale=0.0), [0.25] * 4)
    truth.assert_ulps(sm.log_softmax(x, scale=0.0), truth.mp_log_softmax(np.zeros(4)), 1)


@pytest.mark.light_on("best")
@pytest.mark.parametrize("scale", [0.0, -0.0])
@pytest.mark.parametrize("k", [*LENGTHS, 127, 128, 129, 257, 2051, 140_001])
def test_scale_zero_at_every_length(sm, dtype, rng, k, scale):
    """Uniform whatever is finite, and NaN beside what is not: 0 times infinity."""
    x = (rng.standard_normal((6 if k < 10_000 else 2, k)) * 1e4).astype(dtype)
    ones = truth.mpf(np.ones(1))
    for layout in (lambda a: a, np.asfortranarray, lambda a: a[:, ::-1], lambda a: a[:1]):
        s, log_s = (f(layout(x), scale=scale) for f in (sm.softmax, sm.log_softmax))
        truth.assert_ulps(s[0, :1], ones / k, 1)
        truth.assert_ulps(log_s[0, :1], -truth.log(ones * k), 1)
        assert (s == s[0, 0]).all() and (log_s == log_s[0, 0]).all()
    for value in (INF, -INF, NAN):
        x[0, k // 2] = value
        for function in (sm.softmax, sm.log_softmax):
            got = function(x, scale=scale)
            assert np.isnan(got[0]).all() and np.isfinite(got[1:].astype(float)).all()
    if k > 2:
        where = np.arange(k) != k // 2
        got = sm.softmax(x, scale=scale, where=where)
        assert (got[:, k // 2] == 0).all() and (got[:, where] == got[0, 0]).all()


@pytest.mark.parametrize("scale", [0.3, 19999999.0, 3.3e15, 1e30, 1e300, 1e-46, 1e-320])
@pytest.mark.parametrize("k", [2, 3, 17, 129, 300, 5001])
def test_minus_infinity_at_every_scale(sm, dtype, rng, scale, k):
    """It is nothing, and its logarithm what it was."""
    x = rng.standard_normal((3, k)).astype(dtype)
    x[:, k // 2] = -INF
    for layout in (lambda a: a, np.asfortranarray, lambda a: a[:1]):
        given = layout(x)
        s, log_s = sm.softmax(given, scale=scale), sm.log_softmax(given, scale=scale)
        assert (s[:, k // 2] == 0).all() and (log_s[:, k // 2] == -INF).all()
        assert not np.isnan(log_s.astype(float)).any()
        others = np.delete(np.arange(k), k // 2)
        same(s[:, others].max(-1) > 0, True)


@pytest.mark.parametrize("edge", ROWS)
@pytest.mark.parametrize("name", ["softmax", "log_softmax"])
def test_negative_scale_is_softmax_of_the_negated(sm, dtype, rng, edge, name):
    x = ROWS[edge][0](rng.standard_normal(9)).astype(dtype)
    function = getattr(sm, name)
    same(function(x, scale=-1.0), function(-x))


def test_integers_become_float64_before_anything_is_subtracted(sm):
    for integer in (
        np.int8,
        np.uint8,
        np.int16,
        np.uint16,
        np.int32,
        np.uint32,
        np.int64,
        np.uint64,
    ):
        info = np.iinfo(integer)
        x = np.array([info.min, info.max, info.max - 1, 3], integer)
        for name in ("softmax", "log_softmax", "logsumexp"):
            got = getattr(sm, name)(x)
            assert got.dtype == np.float64
            same(got, getattr(sm, name)(x.astype(np.float64)))
    same(sm.softmax([True, False]), sm.softmax([1.0, 0.0]))


# ---- Derivatives: NaN in, NaN out; the rows beside it do not notice; nothing warns ---------------


@every(ROWWISE)
@pytest.mark.parametrize("value", [NAN, INF, -INF])
def test_derivatives_keep_edge_values_in_their_row(sm, dtype, rng, operation, value):
    ordinary = operation.draw(rng, dtype, (3,))
    operands = {name: a.copy() for name, a in ordinary.items()}
    for a in operands.values():
        if a.dtype == dtype:
            a[1] = value
    for got, expected in zip(
        results(operation(sm, operands)), results(operation(sm, ordinary)), strict=True
    ):
        same(got[[0, 2]], expected[[0, 2]])
        if np.isnan(value):
            assert np.isnan(got[1]).all()


@every({name: o for name, o in OPERATIONS.items() if not o.rowwise})
@pytest.mark.parametrize("value", [NAN, INF, -INF, 1e4])
def test_layer_functions_do_not_warn(sm, dtype, rng, operation, value):
    operands = operation.draw(rng, dtype)
    next(iter(operands.values()))[1] = value
    for result in results(operation(sm, operands)):
        assert result.dtype == dtype


def test_losses_are_finite_for_finite_logits(sm, dtype):
    """As long as the loss itself is in range."""
    half = float(np.float32(1e38)) if dtype.name in ("bfloat16", "float32") else 1e4
    x = np.array([[half, -half, 0], [0, -half, half]]).astype(dtype)
    loss, gradient = sm.cross_entropy_with_grad(x, [1, 0])
    assert np.isfinite(loss) and np.isfinite(gradient.astype(float)).all()


# ---- No floating-point flag is left behind -------------------------------------------------------


def call_observed(function: Callable[[], Any]) -> Any:
    """What NumPy does inside a loop of its own: flags that are set afterwards are errors."""
    found = []
    with np.errstate(all="raise"):
        np.frompyfunc(lambda _: found.append(function()), 1, 1)(0)
    return found[0]


def test_flags_are_observed():
    def overflow():
        with np.errstate(all="ignore"):
            return np.float32(1e30) * np.float32(1e30)

    with pytest.raises(FloatingPointError):
        call_observed(overflow)


@pytest.mark.light_on("best")
@every({name: o for name, o in OPERATIONS.items() if o.name != "linear_weight_jacobian"})
def test_no_flag_is_left_behind(sm, native_dtype, rng, operation):
    """By rows alone, by a few, or by many, of every length up to some vectors."""
    for k in range(1, 301) if operation.rowwise else (1, 2, 3, 5, 17, 33):
        leads = [(), (3,)] + [(70,)] * (k % 16 == 1 and "jacobian" not in operation.name)
        for lead in leads if operation.rowwise else [(3,)]:
            operands = operation.draw(rng, native_dtype, lead, k)
            call_observed(partial(operation, sm.package, operands))


@pytest.mark.light_on("best")
@pytest.mark.parametrize(
    "name", [name for name in OPERATIONS if "layer" in name or "linear" in name]
)
def test_no_flag_is_left_behind_by_products_of_layers(sm, native_dtype, name):
    """Of sure predictions, whose gradients come to nothing."""
    top = 90 if native_dtype == np.float32 else 720
    x = np.array([[top, 1e-3], [top - 10, 2e-3]], native_dtype)
    W = np.array([[1, -0.01, 0], [0, 0, 1]], native_dtype)
    b = np.full(3, np.finfo(native_dtype).smallest_subnormal)
    s, labels = sm.softmax_layer(x, W, b), np.array([0, 0])
    calls = {
        "softmax_layer": (x, W, b),
        "softmax_layer_jacobian": (s, x),
        "softmax_layer_vjp": (s, x, W, s),
        "softmax_layer_jvp": (s, x, W, W, b),
        "linear_weight_jacobian": (x[0], 3),
        "linear_cross_entropy": (x, W, labels, b),
        "linear_cross_entropy_with_grad": (x, W, labels, b),
        "linear_cross_entropy_hvp": (x, W, W, labels, b),
    }
    function = getattr(sm.package, name)
    for way in (function, inspect.unwrap(function)):  # before it there may be a fast path
        call_observed(partial(way, *calls[name]))


def test_large_layers_do_not_warn(sm, native_dtype):
    """Where nothing but NumPy computes."""
    x, W = np.ones((70_000, 1), native_dtype), np.array([[np.inf, 1.0]], native_dtype)
    s = sm.softmax_layer(x, W)
    assert np.isnan(sm.softmax_layer_jvp(s, x, W, -W, dx=x)).all()


@pytest.mark.heavy
@pytest.mark.parametrize("lead", [(2,), (9,), (13,), (70,)])
@pytest.mark.parametrize("k", [1, 3, 8, 33, 100, 300])
def test_no_flag_is_left_behind_by_rows_far_away(sm, native_dtype, rng, k, lead):
    """Where vectors have lanes without a row, and where rows are ignored."""
    package, far = sm.package, 2047.0
    for offset in (far, -far):
        x = (rng.standard_normal((*lead, k)) + offset).astype(native_dtype)
        lse, g = package.logsumexp(x), np.ones(lead, native_dtype)
        call_observed(partial(package.logsumexp_vjp, x, lse, g))
        labels = np.where(np.arange(*lead) % 2, -100, 0)
        for options in ({}, {"label_smoothing": 0.1}, {"z_loss": 1e-4}):
            loss = partial(package.cross_entropy_with_grad, x, labels, reduction="none")
            call_observed(partial(loss, **options))


def test_the_lowest_number_is_more_than_minus_infinity(sm, native_dtype):
    """It may be the maximum of a row: of others, of infinities, of lanes without data."""
    lowest = np.finfo(native_dtype).min if native_dtype.name != "bfloat16" else -3.3895313892515e38
    for k in LENGTHS:
        for lead in ((), (7,), (70,)):
            for sign in (1, -1):
                x = np.full((*lead, k), sign * lowest).astype(native_dtype)
                s = sm.softmax(x, scale=float(sign))
                np.testing.assert_array_equal(s, np.full_like(s, 1 / k))
                x[..., 1:] = -sign * INF
                hot = np.zeros_like(x)
                hot[..., 0] = 1
                same(sm.softmax(x, scale=float(sign)), hot)
                with np.errstate(divide="ignore"):
                    same(sm.log_softmax(x, scale=float(sign)), np.log(hot.astype(float)))
                if sign == 1:
                    same(sm.logsumexp(x), np.broadcast_to(lowest, lead))


@pytest.mark.parametrize("kind", ["far up", "far down", "spread", "huge", "tiny", "ties"])
def test_no_flag_is_left_behind_at_the_ends_of_the_range(sm, native_dtype, rng, kind):
    """Where all results are finite."""
    package, big = sm.package, largest(native_dtype)
    lengths = (1, 3, 10, 100, 129, 300, 5001, 200_001)
    for shape, axis in [
        *[((k,), -1) for k in lengths if k < 10_000 or package.backend() != "numpy"],
        *[((20, k), -1) for k in lengths if k < 1000],
        *[((k, 37), 0) for k in (3, 33, 129, 600)],
    ]:
        x = {
            "far up": rng.standard_normal(shape) + 1000,
            "far down": rng.standard_normal(shape) - 3000,
            "spread": rng.standard_normal(shape) * 1000,
            "huge": rng.choice([big, -big, 0, big / 2], shape),
            "tiny": rng.choice([2.0**-140, 0, -(2.0**-140)], shape),
            "ties": np.ones(shape),
        }[kind].astype(native_dtype)
        label = np.zeros(np.delete(shape, axis), int)
        loss = partial(package.cross_entropy_with_grad, x, label, reduction="none")
        calls = [partial(f, x) for f in (package.logsumexp, package.logsumexp_partial)]
        for scale in (1.0, 0.3, -2.5, 0.0, 1e-46, 1e-300, 1e20):
            calls += [partial(f, x, scale=scale) for f in (package.softmax, package.log_softmax)]
        for call in (loss, *calls):
            if all(np.isfinite(a).all() for a in results(call(axis=axis))):
                call_observed(partial(call, axis=axis))
