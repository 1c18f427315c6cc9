"""Products with the Jacobians, judged from the logits: a sure prediction keeps what it leaves.

Where the peak has all but 1e-17, its probability rounds to 1, and ``s * (g - sum(g * s))`` to 0 or
noise. Each product must be within 4 epsilon of its terms, with `g` relative to the peak
(docs/accuracy.md).
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator

import layouts
import numpy as np
import pytest
import truth
from cases import Array, dtype_named
from truth import Product, Within

LENGTHS = (1, 2, 3, 5, 8, 13, 16, 17, 31, 33, 48, 64, 65, 100, 128, 129, 200, 300)
LONG = (1000, 5000)
SCALES = (0.3, 3, 10, 40)

PRODUCTS: dict[str, tuple[str, Callable[[Array, Array], Product]]] = {
    "softmax_vjp": ("softmax", truth.softmax_product),
    "softmax_jvp": ("softmax", truth.softmax_product),
    "log_softmax_vjp": ("log_softmax", truth.log_softmax_vjp),
    "log_softmax_jvp": ("log_softmax", truth.log_softmax_jvp),
}
EVERY = pytest.mark.parametrize("name", PRODUCTS)


def operands(case: str, dtype: np.dtype) -> tuple[Array, Array]:
    """Logits and directions, one row of each for a row of the product."""
    kind, _, number = case.partition(" ")
    rng = np.random.default_rng(len(case))
    if kind == "pair":
        z = np.array([[37.43, 0], [0, 37.43], [40, 0], [0, 40], [17, 0], [0, 17], [0.4, 0]])
        z = np.repeat(z, 3, axis=0)
        g = np.tile([[1.0, 0], [11, 10], [-3, 7]], (7, 1))
    elif kind == "places":  # the peak at each place of a row
        k = int(number)
        z, g = rng.standard_normal((k, k)) + 25 * np.eye(k), rng.standard_normal((k, k)) + 10
    elif kind == "ties":  # of two places, of all, and all but; and two that have nearly all
        k = int(number)
        z, g = rng.standard_normal((5, k)), rng.standard_normal((5, k)) * 5
        z[0, [k // 3, k - 1]] = 30
        z[1] = 7
        z[2], z[2, k // 2] = 7, 6
        z[3, [0, k // 2]] = 8, 8.25
        z[4, [k // 2, 0]] = 20, 20.125
    else:
        k = int(number)
        rows = 2 if k < 1000 else 1
        z = np.concatenate([rng.standard_normal((rows, k)) * scale for scale in SCALES])
        g = rng.standard_normal(z.shape)
        if kind == "offset":
            g += 10
        elif kind == "hot":
            g = np.eye(k)[rng.integers(k, size=len(z))]
        elif kind == "outlier":
            g[:, k // 2] *= 1000
    return z.astype(dtype), g.astype(dtype)


CASES = (
    "pair",
    "places 17",
    "places 40",
    *(f"ties {k}" for k in (2, 9, 40, 150)),
    *(f"random {k}" for k in LENGTHS),
    *(pytest.param(f"random {k}", marks=pytest.mark.heavy) for k in LONG),
    *(f"offset {k}" for k in (1, 2, 5, 17, 64, 129)),
    *(f"hot {k}" for k in (2, 8, 33, 200)),
    *(f"outlier {k}" for k in (5, 33)),
)


def problem(name: str, case: str, dtype_name: str) -> tuple[Array, Array, Product, Within]:
    """The forward result, correctly rounded; a direction; and the truth of their product."""
    return solved(*PRODUCTS[name], case, dtype_name)


@functools.cache
def solved(
    forward: str, product: Callable[[Array, Array], Product], case: str, dtype_name: str
) -> tuple[Array, Array, Product, Within]:
    """The same, of both products of softmax, which are one."""
    dtype = dtype_named(dtype_name)
    z, g = operands(case, dtype)
    with truth.mpmath.workdps(160):  # no probability here is below 1e-110
        exact = (truth.mp_softmax if forward == "softmax" else truth.mp_log_softmax)(z)
        found = product(z, g)
        return truth.rounded(exact, dtype), g, found, found.within(dtype)


@EVERY
@pytest.mark.parametrize("case", CASES)
def test_products_keep_the_tail(sm, dtype, name, case):
    s, g, _, within = problem(name, case, dtype.name)
    for layout, got in results(getattr(sm, name), s, g):
        assert got.dtype == dtype
        within.check(got, f"{name}, {layout}")


def results(function: Callable[..., Array], s: Array, g: Array) -> Iterator[tuple[str, Array]]:
    """The products of all rows, laid out in memory in different ways."""
    yield "rows", function(s, g)
    yield "many rows", function(np.tile(s, (40, 1)), np.tile(g, (40, 1)))[-len(s) :]
    yield "a row alone", np.stack([function(*row) for row in zip(s, g, strict=True)])
    yield "columns", function(*(np.asfortranarray(a) for a in (s, g)))
    columns = [np.ascontiguousarray(np.tile(a, (40, 1)).T) for a in (s, g)]
    yield "many columns", function(*columns, axis=0).T[: len(s)]
    yield "gaps", function(layouts.strided(s), layouts.strided(g))
    yield "backwards", function(layouts.reversed_(s), layouts.reversed_(g))
    for place in range(2):
        copies = [s.copy(), g.copy()]
        yield "in place", function(*copies, out=copies[place])


@EVERY
@pytest.mark.parametrize(
    "k", [2, 9, *(pytest.param(k, marks=pytest.mark.heavy) for k in (40, 150))]
)
def test_products_are_those_of_the_matrix(sm, dtype, name, k):
    """With the matrix of `softmax_jacobian`, whose diagonal keeps the tail too."""
    s, g, product, _ = problem(name, f"places {k}" if k in (17, 40) else f"ties {k}", dtype.name)
    forward = PRODUCTS[name][0]
    matrix = truth.mpf(getattr(sm, f"{forward}_jacobian")(s))
    if name.endswith("vjp"):
        matrix = matrix.swapaxes(-1, -2)
    if name == "softmax_jvp" or name == "softmax_vjp":  # a constant changes nothing
        g = g - g[np.arange(len(g)), np.argmax(s, axis=-1)][:, np.newaxis]
    terms = matrix * truth.mpf(g)[:, np.newaxis, :]
    by_matrix = terms.sum(-1)
    got = truth.mpf(getattr(sm, name)(s, g))
    smallest, size = truth.mpmath.ldexp(1, truth.format_of(dtype).lowest), abs(truth.mpf(g))
    by_terms = 4 * truth.eps(dtype) * abs(terms).sum(-1)
    by_terms += smallest * size.sum(-1, keepdims=True)
    assert (abs(got - by_matrix) <= product.bound(dtype) + by_terms).all()


@pytest.mark.parametrize("case", ["pair", "places 40", "random 17", "offset 33", "ties 9"])
def test_products_of_softmax_sum_to_zero(sm, dtype, case):
    s, g, product, _ = problem("softmax_vjp", case, dtype.name)
    total = abs(truth.mpf(sm.softmax_vjp(s, g)).sum(-1))
    assert (total <= product.bound(dtype).sum(-1)).all()


@pytest.mark.parametrize("name", ["float32", "float64"])
@pytest.mark.parametrize("place", [0, 70_000, 139_999])
def test_parts_of_a_long_row_know_of_the_peak(sm, name, place):
    """Threads share the row: the peak is in one of their parts."""
    dtype, k = dtype_named(name), 140_000
    rng = np.random.default_rng(place)
    z = rng.standard_normal(k)
    z[place] = 60
    g = (rng.standard_normal(k) + 10).astype(dtype)
    e = np.exp((z - 60).astype(np.longdouble))
    tail, h = e.copy(), g.astype(np.longdouble) - np.longdouble(g[place])
    tail[place] = 0
    s = e / (1 + tail.sum())
    mean, spread = (s * h).sum(), (s * abs(h)).sum()
    for threads in (1, 2):
        with sm.set_num_threads(threads):
            got = sm.softmax_vjp(s.astype(dtype), g)
            error = abs(got - s * (h - mean))
            assert (error <= 4 * truth.eps(dtype) * s * (abs(h) + spread)).all()

            log_s = (z - 60 - np.log1p(tail.sum())).astype(dtype)
            log_s[place] = -np.log1p(tail.sum())
            size = abs(h) + spread * 100
            got = sm.log_softmax_jvp(log_s, g)
            assert (abs(got - (h - mean)) <= 4 * truth.eps(dtype) * size).all()
            got = sm.log_softmax_vjp(log_s, g)[place]
            rest = np.delete(g, place).astype(np.longdouble)
            exact = g[place] * (1 - s[place]) - s[place] * rest.sum()
            assert abs(got - exact) <= 4 * truth.eps(dtype) * abs(rest).sum()


# ---- All that is made of these products ----------------------------------------------------------

CONFIDENT = ("pair", "places 17", "offset 33")


@pytest.mark.parametrize("case", CONFIDENT)
def test_operator(sm, dtype, case):
    s, g, _, within = problem("softmax_vjp", case, dtype.name)
    J = sm.SoftmaxJacobian(s)
    within.check(J.matvec(g), "matvec")
    within.check((J @ g[..., np.newaxis])[..., 0], "@")
    within.check((g[..., np.newaxis, :] @ J.T)[..., 0, :], "from the left")


@pytest.mark.parametrize("case", CONFIDENT)
def test_layer(sm, dtype, case):
    """One input of 1 and weights of 1 add nothing of their own."""
    s, g, _, within = problem("softmax_vjp", case, dtype.name)
    one, weights = np.ones(1, dtype), np.ones((1, s.shape[1]), dtype)
    A = sm.SoftmaxLayerJacobian(s, np.ones((len(s), 1), dtype))
    within.check(A.matvec(g), "operator")
    within.check(A.T.matvec(g), "its transpose")
    for i, (row, direction) in enumerate(zip(s, g, strict=True)):
        dW, db, _ = sm.softmax_layer_vjp(row, one, weights, direction)
        within[i].check(db, "by the bias")
        within[i].check(dW[0], "by the weights")
        for moved in ({"db": direction}, {"dW": direction[np.newaxis]}):
            within[i].check(sm.softmax_layer_jvp(row, one, weights, **moved), f"along {moved}")


@pytest.mark.parametrize("case", CONFIDENT)
def test_hessians(sm, dtype, case):
    s, v, product, within = problem("softmax_vjp", case, dtype.name)
    within.check(sm.cross_entropy_hvp(s, v, reduction="sum"), "of the logits")
    z, _ = operands(case, dtype)
    # 3 ulp of softmax itself come on top
    wider = Product(product.value, 2 * product.size, 4 * product.subnormal).within(dtype)
    got = [
        sm.linear_cross_entropy_hvp(
            np.ones((1, 1), dtype), row[np.newaxis], direction[np.newaxis], reduction="sum"
        )[0][0]
        for row, direction in zip(z, v, strict=True)
    ]
    wider.check(np.stack(got), "of the layer")


@EVERY
@pytest.mark.parametrize("worst", [-1.0, np.nan, np.inf, -np.inf, 0.0])
def test_what_is_no_softmax_is_not_read_beyond(sm, native_dtype, name, worst):
    """No place of a peak leads outside of its row, whatever the row holds."""
    for k in (1, 2, 5, 9, 16, 17, 40, 70, 130, 300):
        for rows in (1, 5, 40):
            s = layouts.guarded(np.full((rows, k), worst, native_dtype), at_end=True)
            g = layouts.guarded(np.ones((rows, k), native_dtype), at_end=True)
            assert getattr(sm, name)(s, g).shape == s.shape
            assert getattr(sm, name)(s, g, axis=0).shape == s.shape
