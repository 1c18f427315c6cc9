"""The Jacobians as linear operators: what they give is what their dense arrays would."""

from __future__ import annotations

import layouts
import numpy as np
import pytest
import truth
from cases import INPUTS, OPERATIONS, assert_identical, dtype_named

pytestmark = pytest.mark.light_on("numpy", "best")

K = 5
HALVES = ("float16", "bfloat16")


def jacobian(sm, rng, dtype=float, lead=()):
    """The operator, and its dense array."""
    s = OPERATIONS["softmax_jacobian"].draw(rng, dtype, lead, K)["s"]
    return sm.SoftmaxJacobian(s), sm.softmax_jacobian(s)


def layer_jacobian(sm, rng, dtype=float, lead=()):
    """The operator, and its dense array."""
    s, x = OPERATIONS["softmax_layer_jacobian"].draw(rng, dtype, lead, K).values()
    return sm.SoftmaxLayerJacobian(s, x), sm.softmax_layer_jacobian(s, x)


def transposed(sm, rng, dtype=float, lead=()):
    """The transpose of the layer's, and its dense array."""
    operator, dense = layer_jacobian(sm, rng, dtype, lead)
    return operator.T, np.swapaxes(dense, -1, -2)


every_operator = pytest.mark.parametrize("make", [jacobian, layer_jacobian, transposed])
every_lead = pytest.mark.parametrize("lead", [(), (1,), (4,)])


def agree(got, expected, dtype=float):
    """The same shape and dtype, and values within the roundings of a short sum."""
    assert got.shape == expected.shape and got.dtype == expected.dtype
    got, expected = got.astype(np.longdouble), expected.astype(np.longdouble)
    size = np.abs(expected).max(initial=1)
    eps = max(truth.eps(dtype), truth.eps(float))  # the probabilities are drawn in float64
    np.testing.assert_allclose(got, expected, rtol=0, atol=40 * eps * size)


# ---- As arrays, added and scaled -----------------------------------------------------------------


@every_operator
@every_lead
def test_as_an_array(sm, dtype, rng, make, lead):
    operator, dense = make(sm, rng, dtype, lead)
    for got in (operator.toarray(), operator.todense(), np.asarray(operator), np.array(operator)):
        assert_identical(got, dense)
    assert len(operator) == len(dense)
    wide = np.asarray(operator, np.longdouble)
    assert wide.dtype == np.longdouble
    assert_identical(wide.astype(dtype), dense)
    assert_identical(np.add(np.asarray(operator), 1), dense + dtype.type(1))


@every_operator
def test_several_leading_axes(sm, dtype, rng, make):
    operator, dense = make(sm, rng, dtype, (2, 3))
    assert_identical(operator.toarray(), dense)
    v = rng.standard_normal((2, 3, operator.shape[-1])).astype(dtype)
    expected = (dense.astype(np.longdouble) @ v.astype(np.longdouble)[..., np.newaxis]).astype(
        dtype
    )
    agree(operator.matvec(v), expected[..., 0], dtype)
    agree(operator @ v[..., np.newaxis], expected, dtype)


def test_as_an_array_without_a_copy(sm, rng):
    operator, _ = jacobian(sm, rng)
    with pytest.raises(ValueError, match="without writing out its matrices"):
        operator.__array__(copy=False)
    assert operator.__array__(copy=True).shape == operator.shape


@every_operator
@every_lead
def test_sums_and_multiples(sm, dtype, rng, make, lead):
    """They multiply, and are transposed, as the arrays are."""
    A, a = make(sm, rng, dtype, lead)
    B, b = make(sm, rng, dtype, lead)
    a, b = a.astype(np.longdouble), b.astype(np.longdouble)
    v = rng.standard_normal((*lead, a.shape[-1])).astype(dtype)
    for operator, dense in [
        (A + B, a + b),
        (A - B, a - b),
        (2 * A, 2 * a),
        (A * np.float32(2), 2 * a),
        (A / 2, a / 2),
        (-A, -a),
        (A + 3 * (B - A / 4) + A, a + 3 * (b - a / 4) + a),
    ]:
        assert operator.shape == dense.shape and operator.dtype == dtype
        agree(operator.toarray(), dense.astype(dtype), dtype)
        agree(operator.T.toarray(), np.swapaxes(dense, -1, -2).astype(dtype), dtype)
        want = (dense @ v.astype(np.longdouble)[..., np.newaxis])[..., 0]
        agree(operator.matvec(v), want.astype(dtype), dtype)
        agree(operator @ v[..., np.newaxis], want[..., np.newaxis].astype(dtype), dtype)
        back = (np.swapaxes(dense, -1, -2) @ want[..., np.newaxis])[..., 0].astype(dtype)
        agree(operator.rmatvec(want.astype(dtype)), back, dtype)


@every_operator
def test_sums_with_arrays(sm, rng, make):
    A, a = make(sm, rng)
    other = rng.standard_normal(a.shape)
    assert_identical((A + other, other + A), (a + other, a + other))
    assert_identical((A - other, other - A), (a - other, other - a))
    assert_identical(A + 1, a + 1)


def test_sums_of_a_stack_and_a_single_matrix(sm, rng):
    A, a = jacobian(sm, rng, np.float32, (4,))
    B, b = jacobian(sm, rng)
    v = rng.standard_normal((4, K))
    total = A + B
    assert total.shape == (4, K, K) and total.dtype == np.float64
    agree(total.toarray(), a + b)
    agree(total.matvec(v), ((a + b) @ v[..., np.newaxis])[..., 0], np.float32)


def test_what_cannot_be_added_or_scaled(sm, rng):
    A, a = jacobian(sm, rng)
    L, _ = layer_jacobian(sm, rng)
    with pytest.raises(ValueError, match="cannot be added") as caught:
        A + L
    assert str(A.shape) in str(caught.value) and str(L.shape) in str(caught.value)
    for factor in (a, "2", None, 1j, [2.0]):
        with pytest.raises(TypeError):
            A * factor
        with pytest.raises(TypeError):
            factor * A
    with pytest.raises(ValueError, match="factor of an operator must be finite"):
        A * np.inf


def test_sums_in_scipy(sm, rng):
    linalg = pytest.importorskip("scipy.sparse.linalg")
    A, a = jacobian(sm, rng)
    damped = linalg.aslinearoperator(A + 0.5 * A)
    v = rng.standard_normal(K)
    agree(damped.matvec(v), 1.5 * a @ v)
    agree(damped.rmatvec(v), 1.5 * a @ v)


# ---- Products are those of the dense arrays ------------------------------------------------------

# the axes of the right operand before its last two; None: it has one axis only
RIGHT = pytest.mark.parametrize("right", [None, (), (1,), (4,), (3, 1), (3, 4)])


@every_operator
@every_lead
@RIGHT
@pytest.mark.parametrize("columns", [0, 1, 3])
def test_matmul_from_both_sides(sm, rng, make, lead, right, columns):
    """Shapes and values of np.matmul with the dense array, whatever is broadcast."""
    operator, dense = make(sm, rng, lead=lead)
    m, n = dense.shape[-2:]
    V = rng.standard_normal(n if right is None else (*right, n, columns))
    agree(operator @ V, dense @ V)
    G = rng.standard_normal(m if right is None else (*right, columns, m))
    agree(G @ operator, G @ dense)


@every_operator
@every_lead
def test_methods_of_linear_operators(sm, dtype, rng, make, lead):
    operator, dense = make(sm, rng, dtype, lead)
    m, n = dense.shape[-2:]
    wide = dense.astype(np.longdouble)
    assert operator.shape == dense.shape and operator.ndim == dense.ndim
    assert operator.dtype == dense.dtype == dtype
    assert_identical(operator.todense(), dense)
    np.testing.assert_array_equal(operator.T.todense(), np.swapaxes(dense, -1, -2))
    assert operator.T.shape == (*lead, n, m) and operator.T.T.shape == (*lead, m, n)
    v, g = rng.standard_normal((*lead, n)).astype(dtype), rng.standard_normal((*lead, m))
    V, G = rng.standard_normal((*lead, n, 3)), rng.standard_normal((*lead, m, 3)).astype(dtype)
    g, V = g.astype(dtype), V.astype(dtype)
    wide_T = np.swapaxes(wide, -1, -2)
    for product, matrix, operand in [
        (operator.matvec(v), wide, v[..., None]),
        (operator.T.matvec(g), wide_T, g[..., None]),
        (operator.rmatvec(g), wide_T, g[..., None]),
        (operator.matmat(V), wide, V),
        (operator.rmatmat(G), wide_T, G),
        (operator.T.rmatmat(V), wide, V),
    ]:
        expected = (matrix @ operand.astype(np.longdouble)).astype(dtype)
        agree(product, expected[..., 0] if product.ndim < expected.ndim else expected, dtype)


@every_operator
def test_vectors_of_a_batch_are_broadcast(sm, rng, make):
    operator, dense = make(sm, rng, lead=(4,))
    for lead in [(), (1,), (4,), (3, 1), (3, 4)]:
        v = rng.standard_normal((*lead, dense.shape[-1]))
        agree(operator.matvec(v), (dense @ v[..., None])[..., 0])


@pytest.mark.parametrize("k", [1, 2, 17, 100])
def test_products_are_those_of_softmax_jvp(sm, dtype, rng, k):
    """To the bit, so their accuracy is its accuracy."""
    s, v = OPERATIONS["softmax_jvp"].draw(rng, dtype, (4,), k).values()
    operator = sm.SoftmaxJacobian(s)
    expected = sm.softmax_jvp(s, v)
    assert_identical(operator.matvec(v), expected)
    assert_identical((operator @ v[..., None])[..., 0], expected)
    assert_identical(sm.SoftmaxJacobian(s[0]) @ v[0], expected[0])


def test_products_of_the_layer_are_exact_to_a_few_roundings(sm, dtype, rng):
    """16-bit dtypes are rounded once, from float32."""
    _, x = OPERATIONS["softmax_layer_jacobian"].draw(rng, dtype, (4,), K).values()
    s = (rng.multinomial(64, np.full(K, 1 / K), 4) / 64).astype(dtype)  # which sums to one, exactly
    v, g = (rng.standard_normal((4, n)).astype(dtype) for n in (K * INPUTS, K))
    operator = sm.SoftmaxLayerJacobian(s, x)
    last = 0.51 * truth.eps(dtype) if dtype.name in HALVES else 0
    inner = 8 * truth.eps(np.float32 if dtype.name in HALVES else dtype)

    def softmax_product(v):
        return s_ * (v - (s_ * v).sum(-1, keepdims=True))

    def sizes(v):
        return s_ * (v + (s_ * v).sum(-1, keepdims=True))

    s_, x_ = truth.mpf(s), truth.mpf(x)[:, None, :]
    by_class = truth.mpf(v).reshape(4, K, INPUTS)
    exact, size = softmax_product((by_class * x_).sum(-1)), sizes(abs(by_class * x_).sum(-1))
    bound = last * abs(exact) + inner * size
    truth.assert_within(operator.matvec(v), exact, bound.astype(float), "A v")

    exact = softmax_product(truth.mpf(g))[..., None] * x_
    size = sizes(abs(truth.mpf(g)))[..., None] * abs(x_)
    bound = (last * abs(exact) + inner * size).reshape(4, -1)
    exact = exact.reshape(4, -1)
    truth.assert_within(operator.rmatvec(g), exact, bound.astype(float), "A.T g")


@every_operator
@pytest.mark.parametrize("layout", layouts.INPUTS)
def test_layout_of_the_operand(sm, dtype, rng, make, layout):
    operator, _ = make(sm, rng, dtype, (4,))
    V = rng.standard_normal((4, operator.shape[-1], 3)).astype(dtype)
    laid_out = layouts.INPUTS[layout](V)
    before = laid_out.tobytes()
    agree(operator @ laid_out, operator @ V, dtype)
    assert laid_out.tobytes() == before


@pytest.mark.parametrize("layout", layouts.INPUTS)
def test_layout_of_what_the_operator_holds(sm, dtype, rng, layout):
    s, x = OPERATIONS["softmax_layer_jacobian"].draw(rng, dtype, (4,), K).values()
    laid_out = [layouts.INPUTS[layout](a) for a in (s, x)]
    v = np.ones(K, dtype)
    agree(sm.SoftmaxJacobian(laid_out[0]) @ v, sm.SoftmaxJacobian(s) @ v, dtype)
    got, expected = (sm.SoftmaxLayerJacobian(*pair).T @ v for pair in (laid_out, (s, x)))
    agree(got, expected, dtype)


@pytest.mark.parametrize("name", ["float32", *HALVES])
def test_dtypes_are_promoted(sm, rng, name):
    for make in (jacobian, layer_jacobian):
        operator, _ = make(sm, rng, dtype_named(name))
        n = operator.shape[-1]
        assert (operator @ np.ones(n)).dtype == np.float64
        assert (operator @ np.ones(n, int)).dtype == np.float64
        assert (operator @ np.ones(n, np.float32)).dtype == np.float32


@every_operator
def test_nothing_warns(sm, native_dtype, rng, make):
    operator, _ = make(sm, rng, native_dtype, (3,))
    v = np.full(operator.shape[-1], np.finfo(native_dtype).max)
    for value in (v, v * 0 + np.inf, v * 0 + np.nan):
        with np.errstate(all="raise"):
            assert (operator @ value).shape == operator.shape[:-1]


def test_operators_of_no_rows_and_no_classes(sm):
    for s in (np.ones((0, K)), np.ones((3, 0)), np.ones(0)):
        operator = sm.SoftmaxJacobian(s)
        V = np.ones((s.shape[-1], 2))
        assert_identical(operator @ V, operator.todense() @ V)
        operator = sm.SoftmaxLayerJacobian(s, np.ones((*s.shape[:-1], 2)))
        V = np.ones((s.shape[-1] * 2, 2))
        assert_identical(operator @ V, operator.todense() @ V)


def test_repr(sm):
    operator = sm.SoftmaxLayerJacobian(np.ones((2, 3), np.float32), np.ones((2, 4), np.float32))
    assert repr(operator) == "<SoftmaxLayerJacobian of shape (2, 3, 12) and dtype float32>"


@every_lead
def test_a_vector_for_each_row_is_the_product_of_softmax(sm, dtype, rng, lead):
    s, v = OPERATIONS["softmax_jvp"].draw(rng, dtype, lead, K).values()
    operator, expected = sm.SoftmaxJacobian(s), sm.softmax_jvp(s, v)
    assert_identical(operator.matvec(v), expected)
    assert_identical(operator.matvec(v.astype(v.dtype.newbyteorder())), expected)
    assert_identical(operator.matvec(np.repeat(v, 2, -1)[..., ::2]), expected)


# ---- SciPy takes them as they are ----------------------------------------------------------------


@every_operator
def test_aslinearoperator(sm, rng, make):
    linalg = pytest.importorskip("scipy.sparse.linalg")
    operator, dense = make(sm, rng)
    wrapped = linalg.aslinearoperator(operator)
    m, n = dense.shape
    assert wrapped.shape == dense.shape and wrapped.dtype == dense.dtype
    for V in (rng.standard_normal(n), rng.standard_normal((n, 1)), rng.standard_normal((n, 3))):
        agree(wrapped @ V, dense @ V)
    for G in (rng.standard_normal(m), rng.standard_normal((m, 1)), rng.standard_normal((m, 3))):
        agree(wrapped.H @ G, dense.T @ G)


def test_solvers(sm, rng):
    linalg = pytest.importorskip("scipy.sparse.linalg")
    s = sm.softmax(rng.standard_normal(200))
    operator, dense = sm.SoftmaxJacobian(s), sm.softmax_jacobian(s)
    rhs = dense @ rng.standard_normal(200)
    solution, failed = linalg.cg(operator, rhs, rtol=1e-12, maxiter=1000)
    assert not failed
    np.testing.assert_allclose(dense @ solution, rhs, rtol=0, atol=1e-13)
    largest = linalg.eigsh(operator, k=3, return_eigenvectors=False, v0=np.arange(200.0))
    np.testing.assert_allclose(np.sort(largest), np.linalg.eigvalsh(dense)[-3:], rtol=1e-10)
    A, _ = layer_jacobian(sm, rng)
    singular = linalg.svds(A, k=2, return_singular_vectors=False, v0=np.arange(K) + 1.0)
    exact = np.linalg.svd(A.todense(), compute_uv=False)
    np.testing.assert_allclose(np.sort(singular)[::-1], exact[:2], rtol=1e-10)


# ---- Bad input -----------------------------------------------------------------------------------

S, X = np.full((4, 3), 1 / 3), np.ones((4, 2))

BAD = [
    (lambda sm: sm.SoftmaxJacobian(1.0), ValueError, ("s", "()")),
    (lambda sm: sm.SoftmaxJacobian(S * 1j), TypeError, ("s", "complex128", "float64")),
    (lambda sm: sm.SoftmaxLayerJacobian(S, X[:3]), ValueError, ("x", "(3, 2)", "(4, 3)")),
    (lambda sm: sm.SoftmaxLayerJacobian(S, X[0]), ValueError, ("x", "(2,)", "(4, 3)")),
    (lambda sm: sm.SoftmaxLayerJacobian(S, X * 1j), TypeError, ("x", "complex128")),
    (lambda sm: sm.SoftmaxJacobian(S) @ np.ones(4), ValueError, ("v", "(4,)", "(4, 3, 3)")),
    (lambda sm: sm.SoftmaxJacobian(S) @ 2.0, ValueError, ("V", "()", "(..., 3, M)")),
    (lambda sm: sm.SoftmaxJacobian(S) @ np.ones((4, 3)), ValueError, ("V", "(..., 3, M)")),
    (lambda sm: sm.SoftmaxJacobian(S) @ np.ones((5, 3, 1)), ValueError, ("V", "(5, 3, 1)")),
    (lambda sm: np.ones((4, 2)) @ sm.SoftmaxJacobian(S), ValueError, ("(2, 4)", "(4, 3, 3)")),
    (lambda sm: sm.SoftmaxJacobian(S) @ (S.T * 1j), TypeError, ("V", "complex128")),
    (lambda sm: sm.SoftmaxJacobian(S) @ None, TypeError, ("V", "object")),
    (lambda sm: sm.SoftmaxJacobian(S).matvec(np.ones((5, 3))), ValueError, ("v", "(5, 3)")),
    (lambda sm: sm.SoftmaxJacobian(S).matvec(np.ones((3, 1))), ValueError, ("v", "(3, 1)")),
    (lambda sm: sm.SoftmaxJacobian(S).matmat(np.ones(3)), ValueError, ("V", "(3,)")),
    (lambda sm: sm.SoftmaxLayerJacobian(S, X) @ np.ones(3), ValueError, ("v", "(3,)", "6")),
    (lambda sm: sm.SoftmaxLayerJacobian(S, X).T @ np.ones(6), ValueError, ("v", "(6,)", "3")),
]


@pytest.mark.parametrize("call, error, parts", BAD, ids=range(len(BAD)))
def test_bad_input(sm, call, error, parts):
    with pytest.raises(error) as caught:
        call(sm)
    for part in parts:
        assert part in str(caught.value), f"{part!r} is not in {str(caught.value)!r}"
