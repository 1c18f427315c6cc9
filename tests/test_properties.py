"""Properties that hold for any input, searched by hypothesis."""

from __future__ import annotations

import numpy as np
import truth
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

FLOATS = st.sampled_from([np.dtype("float32"), np.dtype("float64")])


def elements(dtype: np.dtype, reach: float) -> st.SearchStrategy[float]:
    return st.floats(-reach, reach, width=8 * dtype.itemsize)


@st.composite
def arrays(draw, reach=1000.0, count=1, dims=3, side=20):
    """Arrays of one dtype and shape."""
    dtype = draw(FLOATS)
    shape = draw(hnp.array_shapes(min_dims=1, max_dims=dims, max_side=side))
    return tuple(
        draw(hnp.arrays(dtype, shape, elements=elements(dtype, reach))) for _ in range(count)
    )


@given(arrays())
def test_softmax_is_a_distribution(sm, drawn):
    (x,) = drawn
    s = sm.softmax(x)
    assert (s >= 0).all() and (s <= 1).all()
    assert np.abs(s.astype(np.longdouble).sum(-1) - 1).max() <= 4 * truth.eps(x.dtype)


@given(arrays())
def test_within_the_promise(sm, drawn):
    (x,) = drawn
    exact = truth.forward(x)
    truth.assert_ulps(sm.softmax(x), exact.softmax, 3, "softmax")
    truth.assert_ulps(sm.log_softmax(x), exact.log_softmax, 3, "log_softmax")


@given(arrays(reach=100.0), st.integers(-(2**16), 2**16))
def test_shift_invariance(sm, drawn, shift):
    """A shift that rounds nothing moves nothing by more than both results' own ulps."""
    x = np.round(drawn[0] * 4) / 4  # every x + shift is then a float32
    s, shifted = sm.softmax(x), sm.softmax(x + x.dtype.type(shift))
    unit = np.maximum(np.spacing(s), np.spacing(shifted))
    assert (np.abs(s - shifted) <= 6 * unit).all()
    lse = sm.logsumexp(x.astype(float))
    np.testing.assert_allclose(
        sm.logsumexp(x.astype(float) + shift), lse + shift, rtol=1e-15, atol=1e-14
    )


@given(arrays(dims=1, side=100), st.randoms(use_true_random=False))
def test_permutation(sm, drawn, random):
    """The classes' order matters no more than the rounding of one sum."""
    (x,) = drawn
    order = list(range(x.size))
    random.shuffle(order)
    s, permuted = sm.softmax(x)[order], sm.softmax(x[order])
    assert (np.abs(s - permuted) <= 6 * np.maximum(np.spacing(s), np.spacing(permuted))).all()


@given(arrays())
def test_order_is_kept(sm, drawn):
    (x,) = drawn
    for name in ("softmax", "log_softmax"):
        y = getattr(sm, name)(x)
        order = np.argsort(x, -1, kind="stable")
        steps = np.diff(np.take_along_axis(y, order, -1).astype(np.longdouble), axis=-1)
        slack = (
            6 * np.spacing(np.abs(y).max(-1, keepdims=True, initial=0))
            if name == "log_softmax"
            else 6 * truth.eps(x.dtype)
        )
        assert (steps >= -slack).all()


@given(arrays(reach=30.0))
def test_log_softmax_is_the_logarithm(sm, drawn):
    (x,) = drawn
    s = sm.softmax(x).astype(np.longdouble)
    log_s = sm.log_softmax(x)
    allowed = 4 * truth.eps(x.dtype) * (1 + np.abs(log_s))
    assert (np.abs(np.log(s) - log_s) <= allowed).all()
    assert (log_s <= 0).all()


@given(arrays(reach=30.0))
def test_logsumexp_is_between_the_maximum_and_its_bound(sm, drawn):
    (x,) = drawn
    lse, m = sm.logsumexp(x).astype(np.longdouble), x.max(-1)
    slack = 3 * np.spacing(np.abs(m) + np.log(x.dtype.type(x.shape[-1])) + 1)
    assert (lse >= m).all() or (lse >= m - slack).all()
    assert (lse <= m + np.log(x.shape[-1]) + slack).all()


@given(arrays(reach=30.0, count=3))
def test_vjp_and_jvp_are_adjoint(sm, drawn):
    """⟨vjp(g), v⟩ = ⟨g, jvp(v)⟩, for softmax and its logarithm."""
    x, g, v = drawn
    for name in ("softmax", "log_softmax"):
        y = getattr(sm, name)(x)
        back = getattr(sm, name + "_vjp")(y, g).astype(np.longdouble)
        along = getattr(sm, name + "_jvp")(y, v).astype(np.longdouble)
        size = (1 + np.abs(g)).sum(-1).astype(float) * (1 + np.abs(v)).sum(-1)
        difference = np.abs((back * v).sum(-1) - (along * g).sum(-1))
        assert (difference <= 8 * truth.eps(x.dtype) * size).all()


@given(arrays(reach=50.0, dims=2))
def test_jacobian_rows_sum_to_zero(sm, drawn):
    (x,) = drawn
    jacobian = sm.softmax_jacobian(sm.softmax(x)).astype(np.longdouble)
    np.testing.assert_array_equal(jacobian, np.swapaxes(jacobian, -1, -2))
    for axis in (-1, -2):
        size = np.abs(jacobian).sum(axis)
        assert (np.abs(jacobian.sum(axis)) <= 16 * truth.eps(x.dtype) * size + 1e-44).all()
    of_log = sm.log_softmax_jacobian(sm.log_softmax(x)).astype(np.longdouble)
    assert (np.abs(of_log.sum(-1)) <= 16 * truth.eps(x.dtype)).all()


@given(arrays(reach=50.0, count=2, dims=2))
def test_products_are_products_with_the_jacobian(sm, drawn):
    x, g = drawn
    for name in ("softmax", "log_softmax"):
        y = getattr(sm, name)(x)
        jacobian = getattr(sm, name + "_jacobian")(y).astype(np.longdouble)
        size = np.abs(jacobian).sum(-1) + np.abs(jacobian).sum(-2) + 1
        allowed = 16 * truth.eps(x.dtype) * size * np.abs(g).sum(-1, keepdims=True) + 1e-43
        along = (jacobian * g[..., None, :]).sum(-1)
        back = (jacobian * g[..., :, None]).sum(-2)
        assert (np.abs(getattr(sm, name + "_jvp")(y, g) - along) <= allowed).all()
        assert (np.abs(getattr(sm, name + "_vjp")(y, g) - back) <= allowed).all()


@given(arrays(reach=50.0, dims=2), st.data())
def test_cross_entropy_is_minus_the_log_softmax_of_the_label(sm, drawn, data):
    (x,) = drawn
    k = x.shape[-1]
    target = data.draw(hnp.arrays(np.int64, x.shape[:-1], elements=st.integers(0, k - 1)))
    loss, gradient = sm.cross_entropy_with_grad(x, target, reduction="none")
    expected = -np.take_along_axis(sm.log_softmax(x), target[..., None], -1)[..., 0]
    assert (np.abs(loss - expected) <= 6 * np.spacing(np.abs(expected))).all()
    size = np.abs(gradient).astype(np.longdouble).sum(-1)
    assert (
        np.abs(gradient.astype(np.longdouble).sum(-1)) <= 16 * truth.eps(x.dtype) * size + 1e-44
    ).all()


@given(arrays(reach=50.0, dims=2), st.sampled_from([0.25, 0.5, 2.0, 4.0]))
def test_scale_by_a_power_of_two_is_softmax_of_the_scaled(sm, drawn, scale):
    (x,) = drawn
    assume((np.abs(x[x != 0]) > 1e-30).all())
    s, scaled = sm.softmax(x, scale=scale), sm.softmax(x * x.dtype.type(scale))
    assert (np.abs(s - scaled) <= 6 * np.maximum(np.spacing(s), np.spacing(scaled))).all()
