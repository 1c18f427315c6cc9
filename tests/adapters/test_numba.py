"""Numba: what compiled code gets is what Python returns, bit for bit of arrays in C order."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from cases import assert_identical, results

import smcore

numba = pytest.importorskip("numba")
if smcore.backend() != "native":
    pytest.skip("the native backend is not in use", allow_module_level=True)

from numba.core.errors import TypingError  # noqa: E402

SHAPES = [(6,), (5, 7), (2, 3, 4)]
REDUCTIONS = ["mean", "sum", "none"]


@numba.njit
def softmax(x, axis, scale):
    return smcore.softmax(x, axis, scale=scale)


@numba.njit
def log_softmax(x, axis, scale):
    return smcore.log_softmax(x, axis, scale=scale)


@numba.njit
def logsumexp(x, axis):
    return smcore.logsumexp(x, axis=axis)


@numba.njit
def softmax_vjp(s, g, axis):
    return smcore.softmax_vjp(s, g, axis)


@numba.njit
def plain_loss(x, target):
    return smcore.cross_entropy_with_grad(x, target)


LOSSES = {}
for reduction in REDUCTIONS:
    code = f"""
    def loss(x, target, axis, weight, ignore_index, smoothing, z_loss):
        return smcore.cross_entropy_with_grad(
            x, target, axis=axis, weight=weight, ignore_index=ignore_index,
            reduction="{reduction}", label_smoothing=smoothing, z_loss=z_loss, return_lse=True)
    """
    names = {"smcore": smcore}
    exec(textwrap.dedent(code), names)
    LOSSES[reduction] = numba.njit(names["loss"])


@pytest.fixture(params=["float32", "float64"])
def dtype(request: pytest.FixtureRequest) -> np.dtype:
    return np.dtype(request.param)


def logits(rng, shape, dtype):
    x = (rng.standard_normal(shape) * 5).astype(dtype)
    x.flat[1] = -np.inf
    return x


def axes(shape):
    return range(-len(shape), len(shape))


def assert_same(got, expected) -> None:
    """The same bits; a scalar comes from compiled code as a number of Python."""
    pairs = zip(results(got), results(expected), strict=True)
    numbers = tuple(one if one.ndim else one.astype(other.dtype) for one, other in pairs)
    assert_identical(numbers, expected)


# ---- Results -------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", SHAPES)
def test_rows(rng, dtype, shape):
    x, g = logits(rng, shape, dtype), rng.standard_normal(shape).astype(dtype)
    for axis in axes(shape):
        for scale in (1, 0.5):
            assert_same(softmax(x, axis, scale), smcore.softmax(x, axis, scale=scale))
            assert_same(log_softmax(x, axis, scale), smcore.log_softmax(x, axis, scale=scale))
        assert_same(logsumexp(x, axis), smcore.logsumexp(x, axis))
        s = smcore.softmax(x, axis)
        assert_same(softmax_vjp(s, g, axis), smcore.softmax_vjp(s, g, axis))


def test_against_formulas(rng):
    x = rng.standard_normal((4, 9))
    e = np.exp(x)
    np.testing.assert_allclose(softmax(x, 1, 1.0), e / e.sum(1, keepdims=True), rtol=1e-14)
    np.testing.assert_allclose(logsumexp(x, 0), np.log(e.sum(0)), rtol=1e-14)
    loss, grad = plain_loss(x, np.arange(4))
    p = e / e.sum(1, keepdims=True)
    np.testing.assert_allclose(loss, -np.log(p[range(4), range(4)]).mean(), rtol=1e-14)
    np.testing.assert_allclose(grad, (p - np.eye(4, 9)) / 4, rtol=1e-12)


@pytest.mark.parametrize("layout", [np.asfortranarray, lambda x: x.repeat(2, -1)[..., ::2]])
def test_layouts(rng, layout):
    x, g = rng.standard_normal((2, 4, 5, 6))
    for axis in axes(x.shape):
        s = smcore.softmax(x, axis)
        assert_same(softmax(layout(x), axis, 1.0), s)
        assert_same(logsumexp(layout(x), axis), smcore.logsumexp(x, axis))
        assert_same(softmax_vjp(layout(s), g, axis), smcore.softmax_vjp(s, g, axis))
    y = np.asfortranarray(rng.integers(6, size=(4, 5)))
    assert_same(plain_loss(layout(x), y), smcore.cross_entropy_with_grad(x, y))


@pytest.mark.parametrize(
    ("reduction", "dtype"),
    [("mean", "float32"), ("sum", "float64"), ("none", "float32"), ("none", "float64")],
)
@pytest.mark.parametrize("shape", [(6,), (2, 3, 4)])
def test_cross_entropy(rng, dtype, shape, reduction):
    x = rng.standard_normal(shape).astype(dtype) * 5
    for axis in axes(shape):
        k = shape[axis]
        lead = tuple(np.delete(shape, axis))
        labels = rng.integers(k, size=lead)
        if labels.ndim:
            labels.flat[0] = -100
        soft = smcore.softmax(rng.standard_normal(shape).astype(dtype), axis)
        for target in (labels, soft):
            for weight in (None, rng.random(k).astype(dtype)):
                given = target[()] if target.ndim == 0 else target
                got = LOSSES[reduction](x, given, axis, weight, -100, 0.25, 0.125)
                options = {"reduction": reduction, "label_smoothing": 0.25, "z_loss": 0.125}
                expected = smcore.cross_entropy_with_grad(
                    x, target, axis=axis, weight=weight, return_lse=True, **options
                )
                eps = float(np.finfo(dtype).eps)  # the divisor of a mean may be rounded otherwise
                for one, other in zip(got, expected, strict=True):
                    assert np.shape(one) == np.shape(other)
                    np.testing.assert_allclose(one, other, rtol=4 * eps, atol=1e-30)
                if reduction == "none":
                    assert_same(got, expected)


def test_losses_of_plain_labels_have_the_same_bits(rng, dtype):
    x, y = rng.standard_normal((300, 17)).astype(dtype), rng.integers(17, size=300)
    assert_same(plain_loss(x, y), smcore.cross_entropy_with_grad(x, y))
    y = y.astype(np.uint64 if dtype == np.float64 else np.int8)
    assert_same(plain_loss(x, y), smcore.cross_entropy_with_grad(x, y))


def test_a_mean_over_nothing_is_nan(rng):
    x, y = rng.standard_normal((3, 4)), np.full(3, -100)
    loss, grad = plain_loss(x, y)
    assert np.isnan(loss) and not grad.any()


def test_a_class_axis_or_lead_without_length(rng):
    for shape in ((0, 4), (4, 0), (0,)):
        x = np.empty(shape)
        assert softmax(x, -1, 1.0).shape == shape
        assert_same(logsumexp(x, -1), smcore.logsumexp(x))
        assert softmax_vjp(x, x, -1).shape == shape
    with pytest.raises(ValueError, match="at least one class"):
        plain_loss(np.empty((3, 0)), np.zeros(3, int))


# ---- out -----------------------------------------------------------------------------------------


@numba.njit
def softmax_into(x, out):
    return smcore.softmax(x, out=out)


@numba.njit
def vjp_into(s, g, out):
    return smcore.softmax_vjp(s, g, out=out)


@numba.njit
def loss_into(x, y, out):
    return smcore.cross_entropy_with_grad(x, y, out=out)


def test_out(rng):
    x, y = rng.standard_normal((5, 7)), rng.integers(7, size=5)
    out, s = np.empty_like(x), smcore.softmax(x)
    assert_same(softmax_into(x, out), s)
    assert_same(out, s)
    g = x.copy()
    assert_same(vjp_into(s, g, g), smcore.softmax_vjp(s, x))
    assert_same(g, smcore.softmax_vjp(s, x))
    z = x.copy()
    assert_same(loss_into(z, y, z), smcore.cross_entropy_with_grad(x, y))


def test_out_that_overlaps(rng):
    memory = rng.standard_normal(40)
    x, out = memory[:35].reshape(5, 7), memory[3:38].reshape(5, 7)
    expected = smcore.softmax(x.copy())
    assert_same(softmax_into(x, out), expected)


def test_read_only_input(rng):
    x = rng.standard_normal((5, 7))
    x.flags.writeable = False
    assert_same(softmax(x, -1, 1.0), smcore.softmax(x))


# ---- What is refused -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "x", "message"),
    [
        (lambda x: smcore.softmax(x), np.ones(3, int), "x must be an aligned array of float32 or"),
        (lambda x: smcore.softmax(x), 1.0, "x must be an aligned array of float32 or"),
        (lambda x: smcore.softmax(x), np.ones(3, np.float16), "x must be an aligned array of flo"),
        (lambda x: smcore.softmax(x, None), np.ones(3), "axis must be one integer; found None"),
        (lambda x: smcore.softmax(x, (0, 1)), np.ones((3, 3)), "axis must be one integer; found"),
        (lambda x: smcore.softmax(x, where=x > 0), np.ones(3), "where must be left out"),
        (
            lambda x: smcore.cross_entropy_with_grad(x, 0, sample_weight=x),
            np.ones(3),
            "sample_weight must be left out",
        ),
        (lambda x: smcore.softmax(x, dtype=np.float32), np.ones(3), "dtype must be left out"),
        (lambda x: smcore.softmax(x, scale=x), np.ones(3), "scale must be one number"),
        (lambda x: smcore.softmax(x, out=x.T), np.ones((3, 2)), "out must be C-contiguous"),
        (lambda x: smcore.softmax(x, out=x[0]), np.ones((3, 2)), "out must be an array of float64"),
        (lambda x: smcore.logsumexp(x, keepdims=True), np.ones(3), "keepdims must be left out"),
        (lambda x: smcore.logsumexp(x, b=x), np.ones(3), "b must be left out"),
        (lambda x: smcore.softmax_vjp(x, x[0]), np.ones((3, 2)), "g must be an array of float64"),
        (lambda x: smcore.cross_entropy_with_grad(x, x[0]), np.ones((3, 2)), "target .of floats."),
        (lambda x: smcore.cross_entropy_with_grad(x, 1), np.ones((3, 2)), "target must be an arr"),
        (
            lambda x: smcore.cross_entropy_with_grad(x, x, reduction="some"),
            np.ones((3, 2)),
            "reduction must be 'mean', 'sum' or 'none', written in the call; found",
        ),
        (
            lambda x: smcore.cross_entropy_with_grad(x, x, weight=x),
            np.ones((3, 2)),
            "weight must be an array of floats with one axis, or None",
        ),
    ],
)
def test_what_cannot_be_compiled_says_so(call, x, message):
    with pytest.raises(TypingError, match=f"smcore in code that Numba compiles: {message}"):
        numba.njit(call)(x)


def test_bad_values():
    x, y = np.ones((3, 4)), np.array([0, 1, 4])
    loss = LOSSES["mean"]
    for call, message in [
        (lambda: softmax(x, 2, 1.0), "axis is out of bounds"),
        (lambda: softmax(x, 0, np.nan), "scale must be finite"),
        (lambda: softmax_into(x, x[:2]), "out must have the shape"),
        (lambda: softmax_vjp(x, x[:2], 0), "g must have the shape"),
        (lambda: plain_loss(x, y), "labels from 0 to 3, or ignore_index; found 4"),
        (lambda: plain_loss(x, np.array([0, -1, 0])), "labels from 0 to 3, .*; found -1"),
        (lambda: plain_loss(x, np.array([0, -(2**63), 0])), "found one beyond 63 bits"),
        (lambda: plain_loss(x, np.array([0, 2**64 - 100, 0], np.uint64)), "beyond 63 bits"),
        (lambda: plain_loss(x, y[:2]), "target must have the shape"),
        (lambda: loss(x, y, -1, None, 4, 1.5, 0.0), "label_smoothing must lie in"),
        (lambda: loss(x, y, -1, None, 4, 0.5, -1.0), "z_loss must be at least 0"),
        (lambda: loss(x, y, -1, np.ones(3), 4, 0.5, 0.0), "one number for each class"),
        (lambda: loss(x, y, -1, np.full(4, np.inf), 4, 0.5, 0.0), "weight must be finite"),
        (lambda: loss(x, y, -1, np.zeros(4), 4, 0.5, 0.0), "must not sum to 0 for a mean"),
        (lambda: plain_loss(x, np.ones((2, 4))), "target .of floats. must have the shape"),
    ]:
        with pytest.raises(ValueError, match=message):
            call()
    out = np.full((3, 4), 7.0)
    with pytest.raises(ValueError, match="labels"):
        loss_into(x, y, out)
    assert (out == 7).all()


# ---- Threads, targets, caches --------------------------------------------------------------------


@numba.njit(parallel=True)
def in_parallel(x):
    out = np.empty_like(x)
    for i in numba.prange(len(x)):
        smcore.softmax(x[i], out=out[i])
    return out


@numba.njit(nogil=True)
def without_the_gil(x):
    return smcore.softmax(x)


def test_threads(rng):
    x = rng.standard_normal((200, 300))
    expected = smcore.softmax(x)
    assert_same(in_parallel(x), expected)
    without_the_gil(x)
    with ThreadPoolExecutor(4) as pool:
        for found in pool.map(without_the_gil, [x] * 40):
            assert_same(found, expected)


def test_targets(rng):
    x = rng.standard_normal((5, 1000)).astype(np.float32)
    for target in smcore.targets():
        with smcore.use_target(target):
            assert_same(softmax(x, -1, 1.0), smcore.softmax(x))


CACHED = """
import sys
import numba, numpy as np
from smcore import softmax

@numba.njit(cache=True)
def call(x):
    return softmax(x).sum()

print(call(np.ones((3, 4), np.float32)), sum(call.stats.cache_hits.values()))
"""


def test_compiled_code_is_taken_from_a_cache(tmp_path):
    """Also where the library lies elsewhere in memory, as in another process."""
    script = tmp_path / "cached.py"
    script.write_text(CACHED)
    kept = {name: value for name, value in os.environ.items() if not name.startswith("SMCORE_")}
    command = [sys.executable, "-W", "error", str(script)]
    for hits, backend in enumerate(["native", "native", "numpy"]):
        environment = {**kept, "NUMBA_CACHE_DIR": str(tmp_path), "SMCORE_BACKEND": backend}
        found = subprocess.run(command, env=environment, capture_output=True, text=True)
        assert (found.stdout, found.stderr) == (f"3.0 {min(hits, 1)}\n", "")


def test_without_kernels_the_error_says_so(tmp_path):
    code = """
    import sys
    sys.modules["smcore._core"] = None
    import numba, numpy as np, smcore
    try:
        numba.njit(lambda x: smcore.softmax(x))(np.ones(3))
    except numba.core.errors.TypingError as error:
        print("needs its kernels" in str(error))
    """
    kept = {name: value for name, value in os.environ.items() if not name.startswith("SMCORE_")}
    command = [sys.executable, "-W", "error", "-c", textwrap.dedent(code)]
    found = subprocess.run(command, env=kept, capture_output=True, text=True, cwd=tmp_path)
    assert (found.stdout, found.stderr) == ("True\n", "")


def test_importing_smcore_imports_no_numba(tmp_path):
    code = "import sys, smcore; assert 'numba' not in sys.modules and smcore.__file__"
    found = subprocess.run([sys.executable, "-c", code], cwd=Path(tmp_path), capture_output=True)
    assert found.returncode == 0, found.stderr
