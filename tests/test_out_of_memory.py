"""Memory that cannot be had, at any point: a MemoryError, `out` as it was, and nothing kept."""

from __future__ import annotations

import gc
import itertools
import sys
import tracemalloc
from contextlib import suppress

import cases
import layouts
import numpy as np
import pytest
from allocator import ALLOCATOR
from cases import OPERATIONS, WITH_OUT, assert_identical, every, results

pytestmark = pytest.mark.light_on("numpy", "best")

ROWS = 40  # of 16-bit floats, one each, more than what is never refused

OPTIONS = {
    "softmax": {"where": {"where": np.arange(5) != 2}, "scales": {"scale": np.arange(-20.0, 20)}},
    "log_softmax": {
        "scale": {"scale": -2.0},
        "scales": {"where": np.arange(5) != 2, "scale": np.arange(-20.0, 20)},
    },
    "logsumexp": {
        "where": {"where": np.arange(5) != 2},
        "b": {"b": np.linspace(-1, 2, 5)},
        "sign": {"b": np.linspace(-1, 2, 5), "return_sign": True},
    },
    "cross_entropy": {"weight": {"weight": np.arange(1.0, 6)}},
    "cross_entropy_with_grad": {
        "mean": {"reduction": "mean", "return_lse": True},
        "weight": {"weight": np.arange(1.0, 6), "label_smoothing": 0.1},
        "sample": {"sample_weight": np.arange(ROWS) / 8},
    },
    "cross_entropy_hvp": {
        "weight": {"weight": np.arange(1.0, 6)},
        "sample": {"sample_weight": np.arange(ROWS) / 8},
    },
    "linear_cross_entropy_with_grad": {
        "lse": {"return_lse": True},
        "sample": {"sample_weight": np.arange(ROWS) % 3, "return_lse": True},
    },
    "linear_cross_entropy_hvp": {"sample": {"sample_weight": np.arange(ROWS) % 3}},
}
VARIANTS = {
    f"{name}-{option}": (operation, keywords)
    for name, operation in OPERATIONS.items()
    for option, keywords in {"plain": {}, **OPTIONS.get(name, {})}.items()
}
OVER_OUT = {label: value for label, value in VARIANTS.items() if value[0].name in WITH_OUT}
variants = pytest.mark.parametrize("variant", VARIANTS.values(), ids=VARIANTS)
over_out = pytest.mark.parametrize("variant", OVER_OUT.values(), ids=OVER_OUT)


def failures(call):
    """Call with the first request for memory refused, with the second, ...; yield each outcome.

    It is a MemoryError or, where there was another way, the result, as it is in the last call,
    which makes fewer requests.
    """
    for request in itertools.count(1):
        with ALLOCATOR.failing_at(request):
            try:
                outcome = call()
            except MemoryError as error:
                outcome = error
        yield outcome
        if ALLOCATOR.requests < request:
            return


@pytest.fixture(params=["float32", "float16", "longdouble"])
def dtype(request):
    """One computed in itself, one in another, and that which the NumPy backend serves."""
    return cases.dtype_named(request.param)


@variants
@pytest.mark.parametrize("layout", ["c_order", "strided"])
def test_every_request_may_fail(sm, dtype, rng, variant, layout):
    operation, keywords = variant
    operands = operation.draw(rng, dtype, (ROWS,))
    operands = {name: layouts.INPUTS[layout](a) for name, a in operands.items()}
    expected = operation(sm, operands, **keywords)
    before = {name: a.tobytes() for name, a in operands.items()}
    outcomes = list(failures(lambda: operation(sm, operands, **keywords)))
    assert len(outcomes) > 1, "nothing has been allocated"
    for outcome in outcomes:
        if not isinstance(outcome, MemoryError) and operation.rowwise:
            assert_identical(outcome, expected)
    assert before == {name: a.tobytes() for name, a in operands.items()}, "an input changed"


@over_out
@pytest.mark.parametrize("layout", ["c_order", "strided", "byte_swapped"])
@pytest.mark.parametrize("in_place", [False, True])
def test_out_is_kept(sm, dtype, rng, variant, layout, in_place):
    operation, keywords = variant
    if in_place and not operation.like:
        pytest.skip("no input has the place of its result")
    operands = operation.draw(rng, dtype, (ROWS,))
    found = results(operation(sm, operands, **keywords))
    start = max(found, key=lambda array: array.ndim)  # the first, if there are several
    start = operands[operation.like[0]] if in_place else np.full_like(start, 7)
    out = layouts.INPUTS[layout](start)
    if in_place:
        operands[operation.like[0]] = out
    before = out.tobytes()
    for outcome in failures(lambda: operation(sm, operands, out=out, **keywords)):
        if isinstance(outcome, MemoryError):
            assert out.tobytes() == before
        else:
            out[...] = start


@pytest.mark.parametrize("name", ["softmax", "log_softmax"])
@pytest.mark.parametrize("axis", [(0, 2), None])
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("in_place", [False, True])
def test_out_of_several_axes_is_kept(sm, dtype, rng, name, axis, masked, in_place):
    """They make one only in a copy."""
    x = rng.standard_normal((3, ROWS, 6)).astype(dtype)[:, :, ::2]
    out = x if in_place else np.full((3, 2 * ROWS, 3), 7).astype(dtype)[:, ::2]
    before = out.copy()
    where = {"where": rng.random(x.shape) < 0.7} if masked else {}
    expected = getattr(sm, name)(x, axis, **where)
    *errors, _ = failures(lambda: getattr(sm, name)(x, axis, out=out, **where))
    assert all(isinstance(error, MemoryError) for error in errors)
    assert_identical(out, expected)
    out[...] = before
    for request in range(1, len(errors) + 1):
        with ALLOCATOR.failing_at(request), pytest.raises(MemoryError):
            getattr(sm, name)(x, axis, out=out, **where)
        assert_identical(out, before)


def bytes_of_arrays() -> int:
    """What NumPy holds: other threads, such as those that run tests, may hold something, too."""
    numpy = tracemalloc.DomainFilter(inclusive=True, domain=np.lib.tracemalloc_domain)
    return sum(trace.size for trace in tracemalloc.take_snapshot().filter_traces([numpy]).traces)


@pytest.mark.heavy
@every(OPERATIONS)
def test_nothing_is_kept_after_a_failure(sm, rng, operation):
    """No reference to an input, and no array made on the way."""
    rows, times = 1024, 10
    operands = operation.draw(rng, np.float32, (rows,))
    number = len(list(failures(lambda: operation(sm, operands))))
    counts = [sys.getrefcount(a) for a in operands.values()]
    tracemalloc.start()
    try:
        held = bytes_of_arrays()
        for request in [*range(1, number)] * times:
            with ALLOCATOR.failing_at(request), suppress(MemoryError):
                operation(sm, operands)
        with ALLOCATOR.failing_at(1), suppress(MemoryError):
            np.empty(64, np.uint8)  # NumPy has what was refused last reported as held
        gc.collect()
        kept = bytes_of_arrays() - held
    finally:
        tracemalloc.stop()
    assert counts == [sys.getrefcount(a) for a in operands.values()]
    assert kept < 4 * rows * times  # less than one number a row
