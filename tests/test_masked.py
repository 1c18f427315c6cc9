"""Masked arrays are refused by name: their mask would be lost without a word."""

from __future__ import annotations

import numpy as np
import pytest
from cases import OPERATIONS, WITH_OUT, every, results

pytestmark = pytest.mark.light_on("numpy", "best")

MASKS = {
    "some": lambda a: np.arange(a.size).reshape(a.shape) % 2 == 0,
    "none": lambda a: np.zeros(a.shape, bool),
    "no mask": lambda a: np.ma.nomask,
}


def masked(a, kind):
    return np.ma.MaskedArray(a, MASKS[kind](np.asarray(a)))


def refused(call, name, *arguments, **keywords):
    with pytest.raises(TypeError) as caught:
        call(*arguments, **keywords)
    message = str(caught.value)
    assert message.startswith(name) and "masked array" in message and "MaskedArray" in message
    assert f"{name}.data" in message or f"{name}.filled" in message


@every(OPERATIONS)
@pytest.mark.parametrize("kind", MASKS)
def test_every_operand(sm, native_dtype, rng, operation, kind):
    """On the fast path too; nothing is written then."""
    operands = operation.draw(rng, native_dtype)
    wanted = operation.buffer(operation(sm, operands))
    for name, a in operands.items():
        given = {**operands, name: masked(a, kind)}
        told = f"{name}[0]" if operation.name == "logsumexp_merge" else name
        if operation.name == "logsumexp_merge":
            given[name] = (masked(a[0], kind), a[1])
        refused(operation, told, sm, given)
        if operation.has_out:
            out = np.full_like(wanted, 7)
            refused(operation, told, sm, given, out=out)
            assert (out == 7).all()


@every(WITH_OUT)
@pytest.mark.parametrize("kind", MASKS)
def test_out(sm, native_dtype, rng, operation, kind):
    operands = operation.draw(rng, native_dtype)
    out = masked(np.full_like(operation.buffer(operation(sm, operands)), 7), kind)
    refused(operation, "out", sm, operands, out=out)
    assert (out.data == 7).all()


@pytest.mark.parametrize("kind", MASKS)
def test_other_arguments(sm, rng, kind):
    x, y = rng.standard_normal((4, 5)), rng.integers(5, size=4)
    where, one_each = masked(np.ones((4, 5), bool), kind), masked(np.ones(5), kind)
    soft = masked(np.full((4, 5), 0.2), kind)
    for name in ("softmax", "log_softmax", "logsumexp"):
        refused(getattr(sm, name), "where", x, where=where)
    refused(sm.logsumexp, "b", x, b=one_each)
    refused(sm.softmax_vjp, "where", x, x, where=where)
    for function in (sm.cross_entropy, sm.cross_entropy_with_grad):
        refused(function, "target", x, soft)
        refused(function, "weight", x, y, weight=one_each)
        refused(function, "where", x, y, where=where)
    refused(sm.softmax_from_lse, "rest", x, y, rest=masked(np.zeros(4), kind))
    refused(sm.SoftmaxJacobian, "s", masked(x, kind))
    refused(sm.SoftmaxLayerJacobian, "x", x, masked(x, kind))
    J = sm.SoftmaxJacobian(sm.softmax(x[0]))
    refused(J.matvec, "v", one_each)
    refused(J.__matmul__, "V", one_each)


def test_rows_in_a_list(sm, rng):
    x = rng.standard_normal((2, 5))
    for kind in (list, tuple):
        refused(sm.softmax, "x[1]", kind([x[0], masked(x[1], "some")]))
        refused(sm.softmax_vjp, "g[0]", x, kind([masked(x[0], "none"), x[1]]))


def test_the_remedy(sm, rng):
    """What the message says to do does it: also where no entry is masked, and `mask` is False."""
    data = rng.standard_normal((3, 4))
    for mask in (data > 0.5, False, np.ma.nomask):
        x = np.ma.MaskedArray(data, mask)
        with pytest.raises(TypeError, match=r"where=~x\.mask"):
            sm.softmax(x)
        s = sm.softmax(x.data, where=~x.mask)
        np.testing.assert_allclose(s.sum(-1), 1)
        assert (s[np.ma.getmaskarray(x)] == 0).all()


def test_other_subclasses_are_accepted(sm, rng):
    class Mine(np.ndarray):
        pass

    x = rng.standard_normal((3, 4))
    np.testing.assert_array_equal(sm.softmax(x.view(Mine)), sm.softmax(x))
    assert results(sm.softmax(x.view(Mine)))[0].shape == x.shape
