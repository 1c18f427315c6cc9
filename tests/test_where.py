"""`where`: a row has the entries that take part, and no others, whatever these hold.

The truth is that of the row with the other entries deleted, from its logits, by mpmath. It takes a
forward result that is rounded once, and sums that do not cancel: the bounds here are for that, and
not as narrow as those that `test_accuracy.py` has for the kernels.
"""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import truth
from cases import assert_identical, results

pytestmark = pytest.mark.light_on("numpy", "best")

N, K = 5, 7
ULPS = 16  # of the terms that a result is made of

POISON = (np.nan, np.inf, -np.inf, 3e38, 0.0)


@pytest.fixture(autouse=True)
def _digits():
    """As many as these moderate numbers need."""
    with truth.mpmath.workdps(60):
        yield


def mask_of(rng, shape=(N, K)):
    """Some entries of each row, of the first all, of the last one."""
    mask = rng.random(shape) < 0.6
    mask[..., 0, :] = True
    mask[..., -1, :] = np.arange(shape[-1]) == 2
    mask[..., 1] |= ~mask.any(axis=-1)
    return mask


def poisoned(a, mask, value):
    """A copy with that value where the mask is False."""
    with np.errstate(all="ignore"):
        return np.where(mask, a, np.asarray(value).astype(a.dtype))


# ---- Derivatives ---------------------------------------------------------------------------------

# For one row, of object arrays: the result, and the size of the terms that it is made of.


def softmax_product(x, g):
    s = truth.mp_softmax(x)
    return s * (g - (s * g).sum()), s * (abs(g) + (s * abs(g)).sum())


def log_softmax_vjp(x, g):
    s, size = truth.mp_softmax(x), 1 + abs(truth.mp_log_softmax(x))
    return g - s * g.sum(), abs(g) + s * size * abs(g).sum()


def log_softmax_jvp(x, v):
    s, size = truth.mp_softmax(x), 1 + abs(truth.mp_log_softmax(x))
    return v - (s * v).sum(), abs(v) + (s * size * abs(v)).sum()


def softmax_jacobian(x, g):
    s = truth.mp_softmax(x)
    return truth.mp_softmax_jacobian(s), truth.mp_eye(len(s)) * s + np.outer(s, s)


def log_softmax_jacobian(x, g):
    s, size = truth.mp_softmax(x), 1 + abs(truth.mp_log_softmax(x))
    return truth.mp_eye(len(s)) - s, truth.mp_eye(len(s)) * size + s * size


def logsumexp_vjp(x, g):
    s, lse = truth.mp_softmax(x), truth.mp_logsumexp(x)
    return s * g[0], s * abs(g[0]) * (1 + abs(lse))


def softmax_from_lse(x, g):
    s, lse = truth.mp_softmax(x), truth.mp_logsumexp(x)
    return s, s * (1 + abs(lse))


DERIVATIVES = {
    "softmax_vjp": ("softmax", softmax_product),
    "softmax_jvp": ("softmax", softmax_product),
    "log_softmax_vjp": ("log_softmax", log_softmax_vjp),
    "log_softmax_jvp": ("log_softmax", log_softmax_jvp),
    "softmax_jacobian": ("softmax", softmax_jacobian),
    "log_softmax_jacobian": ("log_softmax", log_softmax_jacobian),
    "logsumexp_vjp": ("logsumexp", logsumexp_vjp),
    "softmax_from_lse": ("logsumexp", softmax_from_lse),
}
LIKE_ROWS = [name for name in DERIVATIVES if not name.endswith("jacobian")]
every_derivative = pytest.mark.parametrize("name", DERIVATIVES)


def operands_of(sm, name, x, g, mask, poison, axis=-1):
    """What the function is given: the forward result, with that value where nothing takes part."""
    forward = getattr(sm, DERIVATIVES[name][0])(x, axis, where=mask)
    if name == "logsumexp_vjp":
        return poisoned(x, mask, poison), forward, g.take(0, axis)
    if name == "softmax_from_lse":
        return poisoned(x, mask, poison), forward
    vector = () if name.endswith("jacobian") else (poisoned(g, mask, poison),)
    return (poisoned(forward, mask, poison), *vector)


@truth.known
def expected(name, x, g, mask):
    """The truth and its bound, rows along the last axis; 0 for what takes no part."""
    shape = (*x.shape, x.shape[-1]) if name.endswith("jacobian") else x.shape
    value, bound = truth.mpf(np.zeros(shape)), np.zeros(shape)
    for i in np.ndindex(x.shape[:-1]):
        left = np.flatnonzero(mask[i])
        at = np.ix_(left, left) if name.endswith("jacobian") else left
        row = truth.mpf(g[i])[:1] if name == "logsumexp_vjp" else truth.mpf(g[i][left])
        found, size = DERIVATIVES[name][1](truth.mpf(x[i][left]), row)
        value[i][at], bound[i][at] = found, np.asarray(size, float)
    return value, bound


def judge(got, name, x, g, mask):
    value, bound = expected(name, x, g, mask)
    truth.assert_within(got, value, ULPS * truth.eps(got.dtype) * bound, name)
    left_out = ~mask
    if name.endswith("jacobian"):
        left_out = left_out[..., :, np.newaxis] | left_out[..., np.newaxis, :]
    assert_identical(got[left_out], np.zeros_like(got[left_out]))  # not even -0.0


@every_derivative
def test_derivatives_are_those_of_the_entries_left(sm, dtype, rng, name):
    x, g = rng.standard_normal((2, N, K)).astype(dtype)
    x[2, 1] += 5  # a confident row; its tail is no subnormal, not even in float16
    mask = mask_of(rng)
    want = None
    for poison in POISON:
        operands = operands_of(sm, name, x, g, mask, poison)
        kept = [np.array(a) for a in operands]
        with np.errstate(all="raise", under="ignore"):
            got = getattr(sm, name)(*operands, where=mask)
        assert_identical(operands, tuple(kept))
        if want is None:
            want = got
            judge(got, name, x, g, mask)
        assert_identical(got, want)
    assert want.dtype == dtype


@every_derivative
@pytest.mark.parametrize("k", [1, 2, 130, 1000])
def test_rows_of_other_lengths(sm, native_dtype, rng, name, k):
    if name.endswith("jacobian"):
        k = min(k, 19)
    x, g = (rng.standard_normal((2, 2, k)) * 3).astype(native_dtype)
    mask = mask_of(rng, (2, k)) if k > 2 else np.array([[True] * k, [False] * (k - 1) + [True]])
    got = getattr(sm, name)(*operands_of(sm, name, x, g, mask, np.nan), where=mask)
    judge(got, name, x, g, mask)


@every_derivative
@pytest.mark.parametrize("axis", [0, (0, 2), None])
def test_derivatives_along_other_axes(sm, native_dtype, rng, name, axis):
    """The same rows, lying elsewhere."""
    x, g = (rng.standard_normal((2, 3, 4, 2)) * 3).astype(native_dtype)
    mask = mask_of(rng, (3, 4, 2))
    mask[0, :, 0] = True
    if name == "logsumexp_vjp":
        operands = operands_of(sm, "softmax_from_lse", x, g, mask, np.nan, axis)
        operands = (*operands, g.dtype.type(2))
    else:
        operands = operands_of(sm, name, x, g, mask, np.nan, axis)
    got = getattr(sm, name)(*operands, axis, where=mask)

    axes = tuple(range(3)) if axis is None else axis if isinstance(axis, tuple) else (axis,)
    order = [*(i for i in range(3) if i not in axes), *axes]
    length = np.prod([x.shape[i] for i in axes])

    def by_row(a):
        a = a.transpose(order)
        return a.reshape(*a.shape[: 3 - len(axes)], length)

    if not name.endswith("jacobian"):
        got = by_row(got)
    if name == "logsumexp_vjp":
        g = np.full_like(g, 2)
    judge(got, name, by_row(x), by_row(g), by_row(mask))


@every_derivative
@pytest.mark.parametrize("shape", [(), (K,), (N, 1), (1, K)])
def test_masks_that_are_broadcast(sm, dtype, rng, name, shape):
    x, g = (rng.standard_normal((2, N, K)) * 3).astype(dtype)
    mask = np.asarray(rng.random(shape) < 0.5)
    full = np.broadcast_to(mask, (N, K))
    operands = operands_of(sm, name, x, g, full, np.nan)
    function = getattr(sm, name)
    assert_identical(function(*operands, where=mask), function(*operands, where=full.copy()))
    assert_identical(
        function(*operands, where=mask.tolist()), function(*operands, where=full.copy())
    )


@every_derivative
def test_where_that_leaves_all(sm, dtype, rng, name):
    """Nothing changes then; and nothing is left where it leaves none."""
    x, g = (rng.standard_normal((2, N, K)) * 3).astype(dtype)
    operands = operands_of(sm, name, x, g, np.True_, 0.0)
    function = getattr(sm, name)
    assert_identical(function(*operands, where=True), function(*operands))
    operands = operands_of(sm, name, x, g, np.False_, np.nan)
    got = function(*operands, where=False)
    assert_identical(got, np.zeros_like(got))


@pytest.mark.parametrize("name", LIKE_ROWS)
def test_out(sm, dtype, rng, name):
    """In place of an operand, apart, in another order, and of other bytes."""
    x, g = (rng.standard_normal((2, N, K)) * 3).astype(dtype)
    mask = mask_of(rng)
    operands = operands_of(sm, name, x, g, mask, np.nan)
    function = getattr(sm, name)
    want = function(*operands, where=mask)
    for out in (
        np.empty_like(want),
        np.empty((K, N), dtype).T,
        np.empty((N, 2 * K), dtype)[:, ::2],
    ):
        assert function(*operands, where=mask, out=out) is out
        assert_identical(out, want)
    for i, operand in enumerate(operands):
        if operand.shape == want.shape:
            given = [a.copy() for a in operands]
            assert function(*given, where=mask, out=given[i]) is given[i]
            assert_identical(given[i], want)
    if dtype.name != "bfloat16":
        swapped = np.empty(want.shape, dtype.newbyteorder())
        assert_identical(function(*operands, where=mask, out=swapped).astype(dtype), want)


@pytest.mark.parametrize("form", ["row", "batch", "number"])
def test_logsumexp_of_nothing_has_no_gradient(sm, dtype, form):
    """A row whose logsumexp is -inf, as without `where`, so with it; whatever the gradient."""
    x = np.full((2, K), -np.inf, dtype)
    x[1] = 0
    lse = sm.logsumexp(x)
    g = np.asarray([np.inf, 7], dtype)
    if form == "row":
        x, lse, g = x[0], lse[0], dtype.type(3)
    elif form == "number":
        x, lse, g = x[0, 0], lse[0], dtype.type(3)
    got = np.asarray(sm.logsumexp_vjp(x, lse, g))
    if form == "batch":
        np.testing.assert_allclose(got[1].astype(float), 1, rtol=4 * truth.eps(dtype))
        got = got[0]
    assert_identical(got, np.zeros_like(got))
    masked = sm.logsumexp_vjp(np.full_like(x, np.nan), lse, g, where=False)
    assert_identical(masked, np.zeros_like(masked))


def test_worked_example(sm):
    x, mask = np.array([0.0, 1.0, 100.0]), np.array([True, True, False])
    got = sm.logsumexp_vjp(x, sm.logsumexp(x, where=mask), 1.0, where=mask)
    np.testing.assert_allclose(got, [0.26894142, 0.73105858, 0], atol=1e-8)
    got = sm.log_softmax_vjp(sm.log_softmax(x, where=mask), np.ones(3), where=mask)
    np.testing.assert_allclose(got, [0.46211716, -0.46211716, 0], atol=1e-8)


@pytest.mark.parametrize("shape", [(N, K), (K,), ()])
def test_rows_in_parts(sm, dtype, rng, shape):
    """What is left out of the parts is left out of the whole."""
    x = (rng.standard_normal((N, K)) * 3).astype(dtype)
    mask = np.asarray(rng.random(shape) < 0.6)
    full = np.broadcast_to(mask, x.shape)
    for poison in POISON:
        given = poisoned(x, full, poison)
        parts = (
            sm.logsumexp_partial(given[:, part], where=full[:, part])
            for part in (slice(3), slice(3, K))
        )
        m, rest = sm.logsumexp_merge(*parts)
        s = sm.softmax_from_lse(given, m, rest=rest, where=mask)
        want = sm.softmax(given, where=mask)
        np.testing.assert_allclose(
            s.astype(float), want.astype(float), rtol=8 * truth.eps(dtype), atol=1e-7
        )
        assert_identical(s[~full], np.zeros_like(s[~full]))
        whole = sm.logsumexp_finalize(*sm.logsumexp_partial(given, where=mask))
        np.testing.assert_allclose(
            whole.astype(float),
            sm.logsumexp(given, where=mask).astype(float),
            rtol=8 * truth.eps(dtype),
        )


# ---- Operators -----------------------------------------------------------------------------------


@pytest.mark.parametrize("poison", POISON)
@pytest.mark.parametrize("shape", [(K,), (N, K)])
def test_operator(sm, dtype, rng, shape, poison):
    mask = rng.random(shape) < 0.6
    s = sm.softmax((rng.standard_normal(shape) * 3).astype(dtype), where=mask)
    s = poisoned(s, mask, poison)
    J = sm.SoftmaxJacobian(s, where=mask)
    dense = sm.softmax_jacobian(s, where=mask)
    assert_identical(J.todense(), dense)
    v = (rng.standard_normal(shape) * 3).astype(dtype)
    got = J.matvec(poisoned(v, mask, poison))
    assert_identical(got, sm.softmax_vjp(s, poisoned(v, mask, poison), where=mask))
    V = rng.standard_normal((*shape, 3)).astype(dtype)
    want = dense.astype(np.longdouble) @ V.astype(np.longdouble)
    given = np.swapaxes(poisoned(np.swapaxes(V, -1, -2), mask[..., np.newaxis, :], poison), -1, -2)
    tolerance = 40 * max(truth.eps(dtype), truth.eps(float))
    np.testing.assert_allclose((J @ given).astype(np.longdouble), want, rtol=0, atol=tolerance)
    np.testing.assert_allclose((J.T @ given).astype(np.longdouble), want, rtol=0, atol=tolerance)


# ---- Losses --------------------------------------------------------------------------------------

IGNORED = -100
TARGETS = ("labels", "ignoring", "soft")


def target_of(rng, dtype, kind, mask):
    """Labels of classes that take part, or probabilities."""
    if kind == "soft":
        return rng.dirichlet(np.ones(K), N).astype(dtype)
    labels = np.array([rng.choice(np.flatnonzero(row)) for row in mask])
    if kind == "ignoring":
        labels[::2] = IGNORED
    return labels


def shares_of(target, weight, smoothing, mask, i):
    """For a row with other classes deleted: the weight of each class in the loss; 0 if ignored."""
    left = np.flatnonzero(mask[i])
    if target.ndim == 2:
        q = truth.mpf(target[i][left])
    elif target[i] == IGNORED:
        return None
    else:
        q = truth.mpf(left == target[i])
    eps = truth.mpmath.mpf(smoothing)
    w = truth.mpf(np.ones(K) if weight is None else weight)[left]
    return w * (q * (1 - eps) + eps / len(left))


@truth.known
def definition(x, target, mask, weight, smoothing, z_loss, reduction):
    """Loss, gradient and logsumexp, from the rows with the other classes deleted."""
    z = truth.mpmath.mpf(z_loss)
    loss, gradient = truth.mpf(np.zeros(N)), truth.mpf(np.zeros((N, K)))
    lse = truth.mpf(np.zeros(N))
    for i in range(N):
        left = np.flatnonzero(mask[i])
        row, a = truth.mpf(x[i][left]), shares_of(target, weight, smoothing, mask, i)
        lse[i] = truth.mp_logsumexp(row)
        if a is not None:
            s = truth.mp_softmax(row)
            loss[i] = (a * (lse[i] - row)).sum() + z * lse[i] ** 2
            gradient[i][left] = (a.sum() + 2 * z * lse[i]) * s - a
    w = truth.mpf(np.ones(K) if weight is None else weight)
    counted = np.ones(N) if target.ndim == 2 else w[target.clip(0)] * (target != IGNORED)
    divisor = counted.sum() if reduction == "mean" else 1
    return loss if reduction == "none" else loss.sum() / divisor, gradient / divisor, lse


@pytest.mark.parametrize("kind", TARGETS)
@pytest.mark.parametrize(
    "weighted, smoothing, z_loss, reduction",
    [(False, 0.0, 0.0, "none"), (True, 0.25, 0.5, "mean"), (True, 1.0, 0.0, "sum")],
)
@pytest.mark.parametrize("poison", [np.nan, 3e38])
def test_losses(sm, dtype, rng, kind, weighted, smoothing, z_loss, reduction, poison):
    x = (rng.standard_normal((N, K)) * 3).astype(dtype)
    mask = mask_of(rng)
    target = target_of(rng, dtype, kind, mask)
    weight = rng.uniform(0.25, 2, K).astype(dtype) if weighted else None
    options = {
        "weight": weight,
        "label_smoothing": smoothing,
        "z_loss": z_loss,
        "reduction": reduction,
        "return_lse": True,
        "where": mask,
    }
    given = poisoned(target, mask, poison) if kind == "soft" else target
    given_x = poisoned(x, mask, poison)
    if kind == "ignoring":  # nor is what an ignored row holds
        given_x[0, mask[0]] = np.nan
    got = sm.cross_entropy_with_grad(given_x, given, **options)
    loss, gradient, lse = definition(x, target, mask, weight, smoothing, z_loss, reduction)
    bound = 40 * truth.eps(dtype) * (1 + float(abs(lse).max()) ** 2)
    truth.assert_within(got[0], loss, bound * np.maximum(1, np.asarray(abs(loss), float)), "loss")
    truth.assert_within(got[1], gradient, bound, "gradient")
    assert_identical(got[1][~mask], np.zeros_like(got[1][~mask]))
    rows = ~np.isnan(got[2])
    assert rows.sum() == N - (kind == "ignoring")
    truth.assert_within(got[2][rows], lse[rows], bound, "lse")
    assert_identical(sm.cross_entropy(given_x, given, **options), (got[0], got[2]))
    for x_as_out in (given_x.copy(), np.asfortranarray(given_x)):
        again = sm.cross_entropy_with_grad(x_as_out, given, **options, out=x_as_out)
        assert again[1] is x_as_out
        assert_identical(again, got)
    columns = {**options, "where": mask.T, "axis": 0}
    turned = sm.cross_entropy_with_grad(given_x.T, given.T, **columns)
    assert_identical((turned[0], turned[1].T, turned[2]), got)


@pytest.mark.parametrize("smoothing", [0.0, 0.25])
def test_loss_of_a_label_left_out(sm, dtype, rng, smoothing):
    """Infinite, as with a logit of -inf; its gradient is that of the classes left."""
    x = (rng.standard_normal((3, K)) * 3).astype(dtype)
    mask = np.ones((3, K), bool)
    mask[:2, 4] = False
    mask[1] = False  # and so are all
    options = {"label_smoothing": smoothing, "reduction": "none", "where": mask}
    loss, gradient = sm.cross_entropy_with_grad(x, [4, 4, 4], **options)
    assert np.isposinf(loss[:2]).all() and np.isfinite(loss[2])
    assert np.isfinite(gradient).all()
    assert_identical(gradient[~mask], np.zeros_like(gradient[~mask]))
    s = sm.softmax(x[0], where=mask[0]).astype(float)
    want = s if not smoothing else s - 0.25 / (K - 1) * mask[0]
    np.testing.assert_allclose(gradient[0].astype(float), want, atol=8 * truth.eps(dtype))
    alone = sm.cross_entropy(np.where(mask[0], x[0], -np.inf).astype(dtype), 4)
    assert np.isposinf(alone)
    # a class without weight adds nothing, though
    weight = np.arange(K) != 4
    losses = sm.cross_entropy(x, [4, 4, 4], weight=weight.astype(dtype), **options)
    assert np.isfinite(losses).all()


@pytest.mark.parametrize("z_loss", [0.0, 0.5])
def test_rows_without_classes(sm, dtype, z_loss):
    """Of labels, ignored ones and probabilities."""
    x = np.full((2, K), np.nan, dtype)
    options = {"where": False, "reduction": "none", "return_lse": True, "z_loss": z_loss}
    nothing = np.zeros_like(x)
    for target, losses in (
        ([0, -100], [np.inf, 0]),
        (nothing, [np.inf] * 2 if z_loss else [0, 0]),
    ):
        loss, gradient, lse = sm.cross_entropy_with_grad(x, target, **options)
        assert_identical(loss, np.array(losses, dtype))
        assert_identical(gradient, nothing)
        assert np.isneginf(lse).all()


def test_losses_of_large_batches(sm, native_dtype, rng, monkeypatch):
    """In blocks of rows: the same values."""
    x = rng.standard_normal((50, K)).astype(native_dtype)
    mask = rng.random((50, K)) < 0.6
    mask[:, 0] = True
    target = rng.dirichlet(np.ones(K), 50)
    options = {"where": mask, "reduction": "none", "label_smoothing": 0.1, "return_lse": True}
    whole = sm.cross_entropy_with_grad(x, target, **options)
    namespace = sm.cross_entropy.__wrapped__.__globals__
    monkeypatch.setitem(namespace, "_BLOCK", 3 * K)
    assert_identical(sm.cross_entropy_with_grad(x, target, **options), whole)


# ---- Hessians ------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [None, *TARGETS])
@pytest.mark.parametrize(
    "weighted, smoothing, reduction",
    [(False, 0.0, "none"), (True, 0.25, "mean"), (True, 1.0, "sum")],
)
def test_hessian(sm, dtype, rng, kind, weighted, smoothing, reduction):
    x, v = rng.standard_normal((2, N, K)).astype(dtype)
    mask = mask_of(rng)
    target = None if kind is None else target_of(rng, dtype, kind, mask)
    weight = rng.uniform(0.25, 2, K).astype(dtype) if weighted and kind else None
    options = {"weight": weight, "label_smoothing": smoothing, "reduction": reduction}
    got = None
    for poison in POISON:
        s = poisoned(sm.softmax(x, where=mask), mask, poison)
        given = poisoned(target, mask, poison) if kind == "soft" else target
        product = sm.cross_entropy_hvp(s, poisoned(v, mask, poison), given, where=mask, **options)
        got = product if got is None else got
        assert_identical(product, got)

    value, size = (a.copy() for a in expected("softmax_vjp", x, v, mask))
    w = truth.mpf(np.ones(K) if weight is None else weight)
    labels = np.argmax(mask, axis=-1) if target is None else target
    counted = np.ones(N) if labels.ndim == 2 else w[labels.clip(0)] * (labels != IGNORED)
    for i in range(N):
        a = shares_of(labels, weight, smoothing, mask, i)
        A = truth.mpmath.mpf(0) if a is None else a.sum()
        A = A / (counted.sum() if reduction == "mean" else 1)
        value[i], size[i] = value[i] * A, size[i] * float(A)
    truth.assert_within(got, value, ULPS * truth.eps(dtype) * size)
    assert_identical(got[~mask], np.zeros_like(got[~mask]))


# ---- Layers --------------------------------------------------------------------------------------


def layer(rng, dtype):
    """Inputs, weights and bias of a layer whose logits are small integers: exact in any dtype."""
    X, W = rng.integers(-2, 3, (N, 3)).astype(dtype), rng.integers(-2, 3, (3, K)).astype(dtype)
    return X, W, rng.integers(-2, 3, K).astype(dtype)


@pytest.mark.parametrize("kind", TARGETS)
@pytest.mark.parametrize("smoothing", [0.0, 0.25])
@pytest.mark.parametrize("block_bytes", [None, 1, 1 << 12])
def test_losses_of_a_layer(sm, dtype, rng, kind, smoothing, block_bytes):
    """Those of its logits, carried on; `where` may be one row for all."""
    X, W, b = layer(rng, dtype)
    for mask in (mask_of(rng), np.arange(K) % 3 > 0):
        full = np.broadcast_to(mask, (N, K))
        target = target_of(rng, dtype, kind, full)
        bias = np.where(mask, b, np.nan).astype(dtype) if mask.ndim == 1 else b
        options = {"label_smoothing": smoothing, "where": mask, "return_lse": True}
        got = sm.linear_cross_entropy_with_grad(
            X, W, target, bias, block_bytes=block_bytes, **options
        )
        z = (X.astype(float) @ W.astype(float) + b).astype(dtype)
        loss, dz, lse = sm.cross_entropy_with_grad(z, target, **options)
        dz, wide_X, wide_W = (a.astype(np.longdouble) for a in (dz, X, W))
        want = loss, dz @ wide_W.T, wide_X.T @ dz, dz.sum(0), lse
        for one, other in zip(results(got), want, strict=True):
            assert one.dtype == dtype
            np.testing.assert_allclose(
                one.astype(float), np.asarray(other, float), rtol=0, atol=60 * truth.eps(dtype)
            )
        alone = sm.linear_cross_entropy(X, W, target, bias, block_bytes=block_bytes, **options)
        assert_identical(alone, (got[0], got[2]))


@pytest.mark.parametrize("kind", [None, *TARGETS])
def test_hessian_of_a_layer(sm, dtype, rng, kind):
    X, W, b = layer(rng, dtype)
    V, Vb = (rng.standard_normal(shape).astype(dtype) for shape in ((2, 3, K), (2, K)))
    mask = mask_of(rng)
    target = None if kind is None else target_of(rng, dtype, kind, mask)
    options = {"label_smoothing": 0.25, "reduction": "sum", "where": mask}
    HW, Hb = sm.linear_cross_entropy_hvp(X, W, V, target, b, Vb, **options)
    wide = [a.astype(np.longdouble) for a in (X, W, b, V, Vb)]
    z = wide[0] @ wide[1] + wide[2]
    for i in range(2):
        v = wide[0] @ wide[3][i] + wide[4][i]
        d = sm.cross_entropy_hvp(sm.softmax(z, where=mask), v, target, **options)
        tolerance = {"rtol": 0, "atol": 200 * truth.eps(dtype)}
        np.testing.assert_allclose(HW[i].astype(d.dtype), wide[0].T @ d, **tolerance)
        np.testing.assert_allclose(Hb[i].astype(d.dtype), d.sum(0), **tolerance)


# ---- Flags ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [*DERIVATIVES, "labels", "smoothed", "soft", "hessian"])
@pytest.mark.parametrize("k", [3, 7, 130])
def test_no_flag_is_left(sm, native_dtype, rng, name, k):
    """Nothing was computed with what takes no part: a loop of NumPy around the call would tell."""
    x = rng.standard_normal((4, k)).astype(native_dtype)
    mask = rng.random((4, k)) < 0.5
    mask[0], mask[1] = False, True
    given, labels = poisoned(x, mask, np.nan), np.array([0, 1, 2, 1])
    loss = sm.cross_entropy_with_grad
    calls = {
        "labels": lambda: loss(given, labels, where=mask),
        "smoothed": lambda: loss(given, labels, where=mask, label_smoothing=0.1, reduction="sum"),
        "soft": lambda: loss(given, given, where=mask),
        "hessian": lambda: sm.cross_entropy_hvp(given, given, labels, where=mask),
    }
    if name in DERIVATIVES:
        operands = operands_of(sm, name, x, x, mask, np.nan)
        calls[name] = lambda: getattr(sm, name)(*operands, where=mask)
    loop = np.frompyfunc(lambda _: calls[name]() is None, 1, 1)
    with np.errstate(all="raise"):
        assert not loop(np.arange(2)).any()


# ---- What is refused -----------------------------------------------------------------------------

CALLS = {
    **{
        name: lambda sm, x, name=name, **k: getattr(sm, name)(
            *operands_of(sm, name, x, x, np.True_, 0.0), **k
        )
        for name in DERIVATIVES
    },
    "logsumexp_partial": lambda sm, x, **k: sm.logsumexp_partial(x, **k),
    "cross_entropy": lambda sm, x, **k: sm.cross_entropy(x, [0] * N, **k),
    "cross_entropy_with_grad": lambda sm, x, **k: sm.cross_entropy_with_grad(x, [0] * N, **k),
    "cross_entropy_hvp": lambda sm, x, **k: sm.cross_entropy_hvp(x, x, **k),
    "linear_cross_entropy": lambda sm, x, **k: sm.linear_cross_entropy(
        x[:, :3], x[:3], [0] * N, **k
    ),
    "linear_cross_entropy_with_grad": lambda sm, x, **k: sm.linear_cross_entropy_with_grad(
        x[:, :3], x[:3], [0] * N, **k
    ),
    "linear_cross_entropy_hvp": lambda sm, x, **k: sm.linear_cross_entropy_hvp(
        x[:, :3], x[:3], x[:3], **k
    ),
    "SoftmaxJacobian": lambda sm, x, **k: sm.SoftmaxJacobian(x, **k),
}
BAD = {
    "integers": (np.ones((N, K), int), TypeError, ("where", "int64", "bool")),
    "floats": (np.ones(K), TypeError, ("where", "float64", "bool")),
    "too short": (np.ones(K - 1, bool), ValueError, ("where", f"({K - 1},)", f"({N}, {K})")),
    "too many axes": (np.ones((1, N, K), bool), ValueError, ("where", f"(1, {N}, {K})")),
    "masked": (np.ma.ones(K, bool), TypeError, ("where", "masked", "filled(False)")),
}


@pytest.mark.parametrize("name, case", [*itertools.product(CALLS, BAD)])
def test_bad_where(sm, rng, name, case):
    where, error, parts = BAD[case]
    x = rng.random((N, K))
    with pytest.raises(error) as caught:
        CALLS[name](sm, x, where=where)
    assert all(part in str(caught.value) for part in parts), str(caught.value)
