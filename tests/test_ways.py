"""What the kernels choose by size alone: blocks of columns, parts of a row, rows from memory.

In a build with tiny thresholds (CMake's ``SMCORE_TINY``) the light sizes reach them all.
"""

from __future__ import annotations

import sys

import layouts
import numpy as np
import pytest
from cases import ROWWISE, assert_identical, every, results
from test_losses import IGNORED, compare, definition
from truth import eps

HUGE = pytest.mark.heavy
MPROTECT = pytest.mark.skipif(sys.platform == "win32", reason="pages are protected by mprotect")

# k, rows, and the axis of the classes
SIZES = [
    (300, 6, 1),
    (300, 23, 0),
    (1000, 5, 0),
    (4999, 3, 1),
    (5000, 2, 0),
    pytest.param(200_001, 2, 1, marks=HUGE),
    pytest.param(600, 30_011, 0, marks=HUGE),
]


def rows(shape, axis):
    """Logits, whose classes are along that axis."""
    x = np.random.default_rng(7).standard_normal(shape) * 3
    return x if axis else np.ascontiguousarray(x.T)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("k, n, axis", [(150, 6, 1), (150, 5, 0), (300, 3, 0)])
def test_smoothed_targets_over_several_blocks(sm, native_dtype, k, n, axis, weighted):
    """Each block has its own weights."""
    x = rows((n, k), axis).astype(native_dtype)
    rng = np.random.default_rng(8)
    labels = rng.integers(k, size=n)
    weight = rng.uniform(0.25, 2, k).astype(native_dtype) if weighted else None
    for smoothing in (0.125, 1.0):
        options = {"weight": weight, "label_smoothing": smoothing, "reduction": "none"}
        loss, gradient = sm.cross_entropy_with_grad(x, labels, axis=axis, **options)
        exact = definition(np.moveaxis(x, axis, -1), labels, weight, smoothing, "none")
        compare(native_dtype, (loss, np.moveaxis(gradient, axis, -1)), exact)


@pytest.mark.parametrize("z_loss", [0.0, 0.01])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("k, n, axis", SIZES)
def test_ignored_rows(sm, native_dtype, k, n, axis, smoothing, z_loss):
    """They have neither loss nor gradient, whatever they hold; and change nothing of the others."""
    x = rows((n, k), axis).astype(native_dtype)
    labels = np.arange(n) * 7 % k
    options = {
        "reduction": "none",
        "label_smoothing": smoothing,
        "z_loss": z_loss,
        "ignore_index": IGNORED,
        "axis": axis,
    }
    expected = sm.cross_entropy_with_grad(x, labels, **options)
    ignored = np.arange(n) % 2 == 1
    labels[ignored] = IGNORED
    for poison in (np.nan, np.inf, 1.0):
        np.moveaxis(x, axis, -1)[ignored] = poison
        loss, gradient = sm.cross_entropy_with_grad(x, labels, **options)
        gradient, of_all = (np.moveaxis(g, axis, -1) for g in (gradient, expected[1]))
        assert (loss[ignored] == 0).all() and (gradient[ignored] == 0).all()
        assert_identical(loss[~ignored], expected[0][~ignored])
        assert_identical(gradient[~ignored], of_all[~ignored])


@MPROTECT
@pytest.mark.parametrize("k, n, axis", [(10, 70, 1), *SIZES[:5]])
def test_labels_beyond_the_row(sm, native_dtype, k, n, axis):
    """A label may have been overwritten after it was judged: none leads outside of its row."""
    if sm.backend() == "numpy":
        pytest.skip("it checks labels where it uses them")
    kernels = sm._backend.core
    x = layouts.guarded(rows((n, k), axis).astype(native_dtype), at_end=True)
    x = (x if axis else x.T)[np.newaxis]
    real = np.float64 if native_dtype == np.float64 else np.float32
    loss, lse = np.empty((2, 1, n), native_dtype)
    weight = layouts.guarded(np.ones(k, real), at_end=True)
    for label in (k, k + 1, 2**31, 2**62, -1, -(2**63)):
        labels = np.full((1, n), label)
        kernels.cross_entropy(
            x, labels, None, None, weight, 0.9, 0.1 / k, 0.0, 1.0, loss, lse, np.empty_like(x)
        )
        assert (loss == 0).all() and np.isfinite(lse.astype(float)).all()


@MPROTECT
@every({name: o for name, o in ROWWISE.items() if "jacobian" not in name})
@pytest.mark.parametrize("at_end", [True, False])
@pytest.mark.parametrize("gap", [0, 5])
@pytest.mark.parametrize(
    "n, k",
    [(70, 37), (16, 47), (33, 96), (24, 131), (9, 300), pytest.param(30208, 96, marks=HUGE)],
)
def test_nothing_beside_rows_is_touched(sm, rng, operation, n, k, gap, at_end):
    """Rows with gaps or without, the last one up against a page that must not be touched."""
    operands = operation.draw(rng, np.float32, (n,), k)
    expected = operation(sm, operands)

    def gapped(a):
        space = np.full((*a.shape[:-1], a.shape[-1] + gap), layouts.CANARY, a.dtype)
        space[..., : a.shape[-1]] = a
        held = layouts.guarded(space.reshape(-1)[: space.size - gap], at_end=at_end)
        strides = (held.itemsize * space.shape[-1], held.itemsize)
        return np.lib.stride_tricks.as_strided(held, a.shape, strides)

    def gaps(a):
        return np.lib.stride_tricks.as_strided(a[:-1, -1:], (len(a) - 1, gap + 1), a.strides)[:, 1:]

    full = operation.full(operands)
    operands = {name: gapped(a) if name in full else a for name, a in operands.items()}
    with sm.set_num_threads(1):
        assert_identical(operation(sm, operands), expected)
        if operation.like:
            out = gapped(results(expected)[-1])
            assert_identical(operation(sm, operands, out=out), expected)
            assert (gaps(out) == out.dtype.type(layouts.CANARY)).all()


@pytest.mark.parametrize("k", [4096, 4097, pytest.param(4_194_305, marks=HUGE)])
def test_row_of_as_many_parts_as_there_may_be(sm, native_dtype, k):
    """One class more than the most parts of the least length hold; each part has the maximum."""
    x, lse = np.zeros(k, native_dtype), np.log(k)
    close = {"rtol": 4 * eps(native_dtype)}
    np.testing.assert_allclose(float(sm.logsumexp(x)), lse, **close)
    np.testing.assert_allclose(sm.log_softmax(x).astype(float), -lse, **close)
    s, g = sm.softmax(x), x.copy()
    np.testing.assert_allclose(s.astype(float), 1 / k, **close)
    g[-1] = 1
    product = sm.softmax_vjp(s, g).astype(float)
    last = float(s[-1]) * (1 - float(s[-1]))
    np.testing.assert_allclose(product[:-1], -(float(s[0]) ** 2), **close)
    np.testing.assert_allclose(product[-1], last, **close)
    product = sm.log_softmax_vjp(np.zeros_like(x), g).astype(float)  # each class is sure
    np.testing.assert_allclose(product, -1.0 * (np.arange(k) < k - 1), **close)


@MPROTECT
@pytest.mark.parametrize("k", [5, 13, 30, 300])
def test_peak_of_negative_numbers(sm, rng, k):
    """What is no probability has no product that is promised, but its peak is in the row, too."""
    s, g = np.full((9, k), np.float32(-0.5)), rng.standard_normal((9, k)).astype(np.float32)
    product = sm.softmax_vjp(layouts.guarded(s, at_end=True), layouts.guarded(g, at_end=True))
    assert np.isfinite(product).all()
