"""The softmax layer: the worked example, the product of Jacobians, the shortcut, and their sums."""

from __future__ import annotations

import numpy as np
import pytest
import truth
from cases import INPUTS, OPERATIONS
from truth import wide

pytestmark = pytest.mark.light_on("numpy", "best")

# The worked example: three inputs, five classes, no bias; what it prints, to eight decimals
X = np.array([0.1, 0.5, 0.4])
W = np.array(
    [
        [0.1, 0.2, 0.3, 0.4, 0.5],
        [0.6, 0.7, 0.8, 0.9, 0.1],
        [0.11, 0.12, 0.13, 0.14, 0.15],
    ]
)
Z = [0.354, 0.418, 0.482, 0.546, 0.16]
H = [0.19091352, 0.20353145, 0.21698333, 0.23132428, 0.15724743]
DS_DZ = [
    [0.15446555, -0.03885690, -0.04142505, -0.04416293, -0.03002066],
    [-0.03885690, 0.16210640, -0.04416293, -0.04708177, -0.03200480],
    [-0.04142505, -0.04416293, 0.16990156, -0.05019351, -0.03412007],
    [-0.04416293, -0.04708177, -0.05019351, 0.17781336, -0.03637515],
    [-0.03002066, -0.03200480, -0.03412007, -0.03637515, 0.13252067],
]
DS_DW = [  # a line for each output; in it, for each class, the weights of its three inputs
    [
        [0.01544655, 0.07723277, 0.06178622],
        [-0.00388569, -0.01942845, -0.01554276],
        [-0.00414251, -0.02071253, -0.01657002],
        [-0.00441629, -0.02208147, -0.01766517],
        [-0.00300207, -0.01501033, -0.01200826],
    ],
    [
        [-0.00388569, -0.01942845, -0.01554276],
        [0.01621064, 0.08105320, 0.06484256],
        [-0.00441629, -0.02208147, -0.01766517],
        [-0.00470818, -0.02354088, -0.01883271],
        [-0.00320048, -0.01600240, -0.01280192],
    ],
    [
        [-0.00414251, -0.02071253, -0.01657002],
        [-0.00441629, -0.02208147, -0.01766517],
        [0.01699016, 0.08495078, 0.06796063],
        [-0.00501935, -0.02509676, -0.02007740],
        [-0.00341201, -0.01706004, -0.01364803],
    ],
    [
        [-0.00441629, -0.02208147, -0.01766517],
        [-0.00470818, -0.02354088, -0.01883271],
        [-0.00501935, -0.02509676, -0.02007740],
        [0.01778134, 0.08890668, 0.07112534],
        [-0.00363751, -0.01818757, -0.01455006],
    ],
    [
        [-0.00300207, -0.01501033, -0.01200826],
        [-0.00320048, -0.01600240, -0.01280192],
        [-0.00341201, -0.01706004, -0.01364803],
        [-0.00363751, -0.01818757, -0.01455006],
        [0.01325207, 0.06626034, 0.05300827],
    ],
]
PRINTED = dict(rtol=0, atol=5.001e-9)


def test_worked_example(sm):
    h = sm.softmax_layer(X, W)
    np.testing.assert_allclose(W.T @ X, Z, **PRINTED)
    np.testing.assert_allclose(h, H, **PRINTED)
    np.testing.assert_allclose(sm.softmax_jacobian(h), DS_DZ, **PRINTED)
    shortcut = sm.softmax_layer_jacobian(h, X)
    np.testing.assert_allclose(shortcut, np.reshape(DS_DW, (5, 15)), **PRINTED)
    product = sm.softmax_jacobian(h) @ sm.linear_weight_jacobian(X, 5)
    np.testing.assert_allclose(product, shortcut, rtol=1e-15, atol=0)


def test_softmax_of_one_two_three(sm):
    np.testing.assert_allclose(
        sm.softmax([1, 2, 3]), [0.09003057, 0.24472847, 0.66524096], **PRINTED
    )
    np.testing.assert_array_equal(sm.softmax([1000, 2000, 3000]), [0, 0, 1])


LEADS = pytest.mark.parametrize("lead", [(), (1,), (4,)])


@LEADS
@pytest.mark.parametrize("k", [1, 2, 5, 17])
def test_linear_weight_jacobian_places_x_in_every_class_block(sm, dtype, rng, lead, k):
    x = rng.standard_normal((*lead, INPUTS)).astype(dtype)
    expected = np.zeros((*lead, k, k, INPUTS), dtype)
    for i in range(k):
        expected[..., i, i, :] = x
    got = sm.linear_weight_jacobian(x, k)
    assert got.dtype == dtype
    np.testing.assert_array_equal(got, expected.reshape(*lead, k, k * INPUTS))


@LEADS
@pytest.mark.parametrize("k", [1, 2, 5, 17])
def test_layer_jacobian_is_the_formula_and_the_product(sm, dtype, rng, lead, k):
    s, x = OPERATIONS["softmax_layer_jacobian"].draw(rng, dtype, lead, k).values()
    got = sm.softmax_layer_jacobian(s, x)
    assert got.shape == (*lead, k, k * INPUTS) and got.dtype == dtype
    exact = truth.mp_softmax_jacobian(truth.mpf(s))[..., None] * truth.mpf(x)[..., None, None, :]
    truth.assert_ulps(got, exact.reshape(got.shape), 0.51 if dtype.itemsize == 2 else 4, "formula")
    if dtype.itemsize > 2:
        product = sm.softmax_jacobian(s) @ sm.linear_weight_jacobian(x, k)
        tolerance = 4 * truth.eps(dtype)
        np.testing.assert_allclose(got, product, rtol=tolerance, atol=0)


@LEADS
def test_outputs_sum_to_one_so_their_derivatives_sum_to_zero(sm, native_dtype, rng, lead):
    x, W, b = OPERATIONS["softmax_layer"].draw(rng, native_dtype, lead, 7).values()
    s = sm.softmax_layer(x, W, b)
    allowed = 8 * truth.eps(native_dtype) * np.abs(x).max()
    assert np.abs(sm.softmax_layer_jacobian(s, x).sum(-2)).max() <= allowed
    for name, gradient in zip("Wbx", sm.softmax_layer_vjp(s, x, W, np.ones_like(s)), strict=True):
        assert np.abs(gradient).max() <= 4 * allowed, name


@LEADS
@pytest.mark.parametrize("with_bias", [True, False])
def test_layer_is_the_softmax_of_the_weighted_inputs(sm, dtype, rng, lead, with_bias):
    x, W, b = OPERATIONS["softmax_layer"].draw(rng, dtype, lead, 7).values()
    b = b if with_bias else None
    z, size = truth.mpf(x) @ truth.mpf(W), abs(truth.mpf(x)) @ abs(truth.mpf(W))
    if with_bias:
        z, size = z + truth.mpf(b), size + abs(truth.mpf(b))
    exact = truth.exp(z) / truth.exp(z).sum(-1, keepdims=True)
    got = sm.softmax_layer(x, W, b)
    assert got.dtype == dtype
    # an error of z goes straight into the exponent
    bound = (3 + 4 * size.max()) * truth.eps(dtype) * exact
    truth.assert_within(got, exact, bound.astype(float), "softmax_layer")


def test_layer_gradients_are_summed_over_the_batch(sm, rng):
    s, x, W, g = OPERATIONS["softmax_layer_vjp"].draw(rng).values()
    dW, db, dx = sm.softmax_layer_vjp(s, x, W, g)
    alone = [sm.softmax_layer_vjp(s[i], x[i], W, g[i]) for i in range(len(s))]
    np.testing.assert_allclose(dW, sum(a[0] for a in alone), rtol=0, atol=1e-14)
    np.testing.assert_allclose(db, sum(a[1] for a in alone), rtol=0, atol=1e-14)
    np.testing.assert_allclose(dx, [a[2] for a in alone], rtol=0, atol=1e-14)


def test_layer_products_are_products_with_the_layer_jacobian(sm, rng):
    s, x, W, dW, db, dx = OPERATIONS["softmax_layer_jvp"].draw(rng, lead=()).values()
    columns = dW.T.reshape(-1)  # column i·J + j
    by_weight = sm.softmax_layer_jacobian(s, x)
    np.testing.assert_allclose(
        sm.softmax_layer_jvp(s, x, W, dW=dW), by_weight @ columns, rtol=0, atol=1e-14
    )
    g = rng.standard_normal(s.shape)
    got = sm.softmax_layer_vjp(s, x, W, g)
    np.testing.assert_allclose(got[0].T.reshape(-1), g @ by_weight, rtol=0, atol=1e-14)
    np.testing.assert_allclose(got[1], g @ sm.softmax_jacobian(s), rtol=0, atol=1e-14)
    np.testing.assert_allclose(got[2], g @ sm.softmax_jacobian(s) @ W.T, rtol=0, atol=1e-14)
    expected = sm.softmax_jacobian(s) @ (columns.reshape(-1, INPUTS) @ x + db + dx @ W)
    np.testing.assert_allclose(
        sm.softmax_layer_jvp(s, x, W, dW, db, dx), expected, rtol=0, atol=1e-14
    )


@pytest.mark.parametrize("real", [np.float32, np.float64])
@pytest.mark.parametrize(
    ("n", "inputs", "k"),
    [(257, 784, 10), (1031, 130, 9), (70, 300, 12), (1400, 1000, 3), (40, 1001, 32)],
)
def test_products_with_a_thin_matrix(sm, rng, real, n, inputs, k):
    """So large that they are done in pieces of rows, of which the last is shorter."""
    x = rng.uniform(-1, 1, (n, inputs)).astype(real)
    weights = rng.uniform(-0.1, 0.1, (inputs, k)).astype(real)
    g = rng.standard_normal((n, k)).astype(real)
    s = sm.softmax_layer(x, weights)
    logits = wide(x) @ wide(weights)
    expected = np.exp(logits - logits.max(axis=-1, keepdims=True))
    expected /= expected.sum(axis=-1, keepdims=True)
    np.testing.assert_allclose(s, expected.astype(real), rtol=inputs * truth.eps(real), atol=0)

    d_weights, _, d_x = sm.softmax_layer_vjp(s, x, weights, g)
    delta = wide(sm.softmax_vjp(s, g))
    for got, a, b in ((d_weights, wide(x).T, delta), (d_x, delta, wide(weights).T)):
        bound = a.shape[1] * truth.eps(real) * (abs(a) @ abs(b))
        assert (abs(got - a @ b) <= bound).all()
