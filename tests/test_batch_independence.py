"""The result for a row depends on the row alone, bit for bit, wherever it lies and beside what."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import layouts
import numpy as np
import pytest
from cases import OPERATIONS, ROWWISE, assert_identical, every, results
from truth import Exact, assert_ulps, wide

ALONE = {**ROWWISE, "softmax_layer_jacobian": OPERATIONS["softmax_layer_jacobian"]}
LENGTHS = (1, 2, 3, 5, 8, 10, 15, 16, 17, 31, 33, 64, 65, 100, 129, 200, 1000)
SMALL = tuple(k for k in LENGTHS if k <= 256)
# The longest row for which every operation adds in the same order along a row and down a column.
PACKED = 23


def call(sm, operation, operands):
    return results(operation(sm, operands))


def pick(operands, index):
    return {name: a[index] for name, a in operands.items()}


def lengths(operation):
    return SMALL if "jacobian" in operation.name else LENGTHS


@every(ALONE)
def test_rows_alone(sm, dtype, rng, operation):
    """Each row by itself gives what it gives in a batch."""
    for k in lengths(operation):
        operands = operation.draw(rng, dtype, (5,), k)
        batch = call(sm, operation, operands)
        for i in range(5):
            assert_identical(call(sm, operation, pick(operands, i)), tuple(r[i] for r in batch))


@pytest.mark.light_on("best")
@every(ALONE)
@pytest.mark.parametrize("size", [2, 3, 7, 16, 17, 40])
def test_size_of_the_batch(sm, native_dtype, rng, operation, size):
    """The same row at every place of a batch of any size, its neighbours wild."""
    for k in SMALL:
        row = operation.draw(rng, native_dtype, (1,), k)
        expected = tuple(r[0] for r in call(sm, operation, row))
        batch = operation.draw(rng, native_dtype, (size,), k)
        for name, a in batch.items():
            if a.dtype == native_dtype:
                a *= 100
                a[::3] = np.nan
            for place in {0, 1, size // 2, size - 1}:
                a[place] = row[name][0]
        got = call(sm, operation, batch)
        for place in {0, 1, size // 2, size - 1}:
            assert_identical(tuple(r[place] for r in got), expected)


@every(ALONE)
def test_alignment(sm, dtype, rng, operation):
    """A row starting at any element of a cache line."""
    for k in (5, 17, 64, 100):
        row = operation.draw(rng, dtype, (1,), k)
        expected = call(sm, operation, row)
        for start in range(0, 64 // dtype.itemsize + 1, 1 if k == 17 else 3):
            shifted = {}
            for name, a in row.items():
                space = np.zeros(a.size + start, a.dtype)
                shifted[name] = space[start:].reshape(a.shape)
                shifted[name][...] = a
            assert_identical(call(sm, operation, shifted), expected)


@pytest.mark.usual
@every(ROWWISE)
@pytest.mark.parametrize(
    "layout", ["fortran_order", "strided", "reversed", "inner_slice", "unaligned"]
)
def test_strides(sm, native_dtype, rng, operation, layout):
    """The same row with other distances between its elements."""
    in_columns = layout == "fortran_order"
    for k in (k for k in lengths(operation) if k <= PACKED or not in_columns):
        operands = operation.draw(rng, native_dtype, (4,), k)
        laid_out = {name: layouts.INPUTS[layout](a) for name, a in operands.items()}
        assert_identical(call(sm, operation, laid_out), call(sm, operation, operands))


@every(ROWWISE)
def test_columns(sm, native_dtype, rng, operation):
    """The same short row down the first axis."""
    for k in (k for k in LENGTHS if k <= PACKED):
        operands = operation.draw(rng, native_dtype, (9,), k)
        full = operation.full(operands)
        columns = {
            name: np.ascontiguousarray(a.T) if name in full else a for name, a in operands.items()
        }
        expected = call(sm, operation, operands)
        got = results(operation(sm, columns, axis=0))
        got = tuple(r.T if operation.like and r.ndim == 2 else r for r in got)
        assert_identical(got, expected)


@pytest.mark.heavy
@every(ROWWISE)
@pytest.mark.parametrize("k", [5, 20, 80, 180])
def test_columns_pages_apart(sm, native_dtype, rng, operation, k):
    """Numbers of a column that lie at the same place of a page: it is copied, unless it is long."""
    operands = operation.draw(rng, native_dtype, (4096 // native_dtype.itemsize,), k)
    full = operation.full(operands)
    columns = {
        name: np.ascontiguousarray(a.T) if name in full else a for name, a in operands.items()
    }
    got = results(operation(sm, columns, axis=0))
    got = tuple(r.T if operation.like and r.ndim == 2 else r for r in got)
    expected = call(sm, operation, operands)
    if k <= PACKED:
        assert_identical(got, expected)
    few = 8 * np.finfo(native_dtype).eps
    size = max(np.abs(r).max() for r in expected)
    for one, other in zip(got, expected, strict=True):
        np.testing.assert_allclose(one, other, few, few * size)


@pytest.mark.usual
@every({name: o for name, o in ALONE.items() if o.has_out})
def test_out(sm, native_dtype, rng, operation):
    """Computed in place, elsewhere, or into new memory."""
    for k in lengths(operation):
        operands = operation.draw(rng, native_dtype, (6,), k)
        expected = call(sm, operation, operands)
        for layout in ("c_order", "offset", "strided", "fortran_order"):
            out = layouts.OUTPUTS[layout](np.zeros_like(expected[-1]))
            assert_identical(results(operation(sm, operands, out=out)), expected)


@every(ALONE)
def test_threads(sm, native_dtype, rng, operation):
    """Several threads at once, on shared input large enough for the GIL to be released."""
    operands = operation.draw(rng, native_dtype, (40 if "jacobian" in operation.name else 600,), 40)
    expected = call(sm, operation, operands)
    with ThreadPoolExecutor(4) as pool:
        for got in pool.map(lambda _: call(sm, operation, operands), range(8)):
            assert_identical(got, expected)


def test_a_row_as_long_as_several_blocks(sm, native_dtype, rng):
    """Long rows, where the sums run over many blocks: their ends depend on the strides alone."""
    x = (rng.standard_normal((3, 70001)) * 3).astype(native_dtype)
    for name in ("softmax", "log_softmax", "logsumexp"):
        function = getattr(sm, name)
        dense = function(x)
        for layout in ("offset", "strided", "reversed"):
            rows = layouts.INPUTS[layout](x)
            batch = function(rows)
            assert_ulps(batch, Exact(wide(dense), np.zeros(np.shape(dense)), 0), 2)
            for i in range(3):
                assert_identical(function(rows[i]), batch[i])
        assert_identical(function(layouts.INPUTS["offset"](x)), dense)


@pytest.mark.heavy
@pytest.mark.parametrize("name", ["softmax", "log_softmax", "softmax_vjp", "log_softmax_vjp"])
@pytest.mark.parametrize(
    "k, start",
    [(10, 1), (23, 16), (40, 9), (100, 3), (256, 5), (515, 0), (1000, 1), (4097, 5), (200_000, 3)],
)
def test_results_that_no_cache_holds(sm, native_dtype, rng, name, k, start):
    """Beyond 32 MiB some are stored past the caches, a line at a time: at any place in a line."""
    operation = OPERATIONS[name]
    n = 2**25 // native_dtype.itemsize // k + 3
    row = operation.draw(rng, native_dtype, (7,), k)
    operands = {key: np.resize(a, (n, k)) for key, a in row.items()}
    space = np.full(n * k + start + 1, 7, native_dtype)
    out = space[start:-1].reshape(n, k)
    with sm.set_num_threads(1):
        assert operation(sm, operands, out=out) is out
        (expected,) = call(sm, operation, row)
    np.testing.assert_array_equal(out, np.resize(expected, (n, k)))
    assert (space[:start] == 7).all() and space[-1] == 7


@pytest.mark.heavy
@pytest.mark.parametrize("k, start", [(100, 3), (1000, 16)])
def test_gradients_that_no_cache_holds(sm, native_dtype, rng, k, start):
    """The same of losses, whose gradient at a label is written by itself; one row is ignored."""
    n = 2**25 // native_dtype.itemsize // k + 3
    few = rng.normal(size=(7, k)).astype(native_dtype)
    labels = rng.integers(0, k, 7)
    labels[3] = -100
    space = np.full(n * k + start + 1, 7, native_dtype)
    out = space[start:-1].reshape(n, k)
    with sm.set_num_threads(1):
        loss, gradient = sm.cross_entropy_with_grad(
            np.resize(few, (n, k)), np.resize(labels, n), reduction="none", out=out
        )
    expected = sm.cross_entropy_with_grad(few, labels, reduction="none")
    assert gradient is out
    np.testing.assert_array_equal(loss, np.resize(expected[0], n))
    np.testing.assert_array_equal(out, np.resize(expected[1], (n, k)))
    assert (space[:start] == 7).all() and space[-1] == 7


@pytest.mark.heavy
@pytest.mark.parametrize("name", ["softmax", "log_softmax", "softmax_vjp"])
@pytest.mark.parametrize("k", [10, 31, 127, 192, 256, 700])
def test_rows_that_come_from_memory(sm, native_dtype, rng, name, k):
    """Tiles are cut and lines fetched in another way: the bits are those of a few rows."""
    operation = OPERATIONS[name]
    operands = operation.draw(rng, native_dtype, (6_000_000 // k,), k)
    (expected,) = results(operation(sm, operands))
    for part in (slice(0, 1), slice(5, 25), slice(-40, None)):
        few = {key: a[part] for key, a in operands.items()}
        assert_identical(results(operation(sm, few)), (expected[part],))


@pytest.mark.heavy
@pytest.mark.parametrize("name", ["log_softmax", "softmax_vjp"])
@pytest.mark.parametrize("k, start", [(5, 0), (40, 3), (40, 16), (1000, 0)])
def test_columns_that_no_cache_holds(sm, native_dtype, rng, name, k, start):
    """The same along the first axis."""
    operation = OPERATIONS[name]
    few = {key: a.T for key, a in operation.draw(rng, native_dtype, (160,), k).items()}
    times = 2**25 // native_dtype.itemsize // (160 * k) + 2
    operands = {key: np.tile(a, (1, times)) for key, a in few.items()}
    space = np.full(160 * times * k + start + 1, 7, native_dtype)
    out = space[start:-1].reshape(k, 160 * times)
    with sm.set_num_threads(1):
        assert operation(sm, operands, axis=0, out=out) is out
        # of columns as far apart, as that decides how they are cut
        expected = operation(sm, {key: a[:, :160] for key, a in operands.items()}, axis=0)
    np.testing.assert_array_equal(out, np.tile(expected, (1, times)))
    assert (space[:start] == 7).all() and space[-1] == 7


PRODUCTS = ("softmax_vjp", "log_softmax_vjp", "log_softmax_jvp")


@pytest.mark.heavy
@pytest.mark.parametrize("name", ["softmax", "log_softmax", "logsumexp", *PRODUCTS])
@pytest.mark.parametrize("k, columns", [(33, 150), (40, 700), (1100, 2000), (6000, 517)])
def test_many_columns(sm, native_dtype, rng, name, k, columns):
    """However many of them come together, and whoever computes them; in one the maximum rises."""
    operation = OPERATIONS[name]
    operands = operation.draw(rng, native_dtype, (columns,), k)
    if name not in PRODUCTS:
        (x,) = operands.values()
        x[1] += np.linspace(-300, 300, k, dtype=native_dtype)
        x[2] += 5000
        x[3, k // 2 :] = -np.inf
        x[4] = -np.inf
        x[5, k // 3] = np.nan
        x[6, k // 3] = np.inf
    else:  # no result of log_softmax: many classes, each of which seems to have nearly all
        next(iter(operands.values()))[[5, 34]] = -rng.random(k).astype(native_dtype)
    operands = {key: np.ascontiguousarray(a.T) for key, a in operands.items()}
    with sm.set_num_threads(1):
        (expected,) = results(operation(sm, operands, axis=0))
        for part in (slice(0, 2), slice(1, 9), slice(33, 100)):
            few = {key: a[:, part] for key, a in operands.items()}
            (got,) = results(operation(sm, few, axis=0))
            assert_identical(got, expected[..., part])
    with sm.set_num_threads(3):
        assert_identical(results(operation(sm, operands, axis=0)), (expected,))
