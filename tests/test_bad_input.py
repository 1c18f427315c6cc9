"""Every kind of bad input: an exception that names the argument, what was found, what is allowed.

Nothing is written to `out` then. The fast paths for ordinary calls must refuse the same things in
the same words, so every case runs on every implementation.
"""

from __future__ import annotations

import inspect
import re
from typing import Any

import numpy as np
import pytest
from cases import OPERATIONS, ROWWISE, WITH_OUT, every, results

pytestmark = pytest.mark.light_on("numpy", "best")


def refused(
    error: type[Exception], parts: tuple[str, ...], call: Any, *args: Any, **keywords: Any
) -> None:
    """The call raises that error, and every part stands in its message."""
    with pytest.raises(error) as caught:
        call(*args, **keywords)
    for part in parts:
        assert part in str(caught.value), f"{part!r} is not in {str(caught.value)!r}"


# ---- Operands of the wrong kind ------------------------------------------------------------------


NOT_REAL = {
    "complex64": lambda shape: np.ones(shape, np.complex64),
    "complex128": lambda shape: np.ones(shape, complex),
    "object": lambda shape: np.full(shape, 1, object),
    "U1": lambda shape: np.full(shape, "1"),
    "|S1": lambda shape: np.full(shape, b"1"),
    "datetime64[D]": lambda shape: np.full(shape, np.datetime64("2020-01-01")),
    "timedelta64[s]": lambda shape: np.full(shape, np.timedelta64(1, "s")),
    "record": lambda shape: np.zeros(shape, [("a", float)]),
}


@every(OPERATIONS)
@pytest.mark.parametrize("found", NOT_REAL)
def test_operands_that_are_not_real(sm, rng, operation, found):
    operands = operation.draw(rng)
    for name, a in operands.items():
        allowed = "integer" if name == "target" else "float64"
        bad = NOT_REAL[found](a.shape)
        told = (name, str(bad.dtype), allowed)
        if found == "object" and name != "target":
            told += ("; pass np.asarray(", ", dtype=float)")
        refused(TypeError, told, operation, sm, {**operands, name: bad})


@every(OPERATIONS)
def test_none_for_an_operand(sm, rng, operation):
    operands = operation.draw(rng)
    for name in operands:
        optional = ("b", "dW", "db", "dx", "Vb", *["target"] * operation.name.endswith("_hvp"))
        if name not in optional:
            refused(TypeError, (name,), operation, sm, {**operands, name: None})


@every(OPERATIONS)
def test_arguments_missing_or_unknown(sm, rng, operation):
    operands = operation.draw(rng)
    first = dict([next(iter(operands.items()))])
    function = getattr(sm, operation.name)
    with pytest.raises(TypeError):
        function()
    if len(operands) > 1:
        with pytest.raises(TypeError):
            operation(sm, first)
    with pytest.raises(TypeError, match="nonsense"):
        operation(sm, operands, nonsense=1)
    with pytest.raises(TypeError):
        function(*operands.values(), *range(8))


FIRST = {
    "x": "the first argument is x",
    "X": "the first argument is X",
    "s": "the first argument is s, what softmax returned",
    "log_s": "the first argument is log_s, what log_softmax returned",
}
# names of other libraries: what is said of them where the function has what they mean
ELSEWHERE = {
    "dim": {"axis": "use axis"},
    "keepdim": {"keepdims": "use keepdims"},
    "mask": {"where": "use where, which is True for the entries that take part"},
    "temperature": {"scale": "use scale=1/temperature"},
    "a": FIRST,
    "input": FIRST,
    "logits": FIRST,
    "labels": {"target": "use target"},
    "class_weight": {"weight": "use weight"},
    "bias": {"b": "use b"},
}


@every(OPERATIONS)
@pytest.mark.parametrize("other", ELSEWHERE)
def test_names_of_other_libraries(sm, rng, operation, other):
    """Beside all that is needed, and in the place of what is meant."""
    operands = operation.draw(rng)
    parameters = list(inspect.signature(getattr(sm, operation.name)).parameters)
    if ELSEWHERE[other] is FIRST:
        parameters = parameters[:1]
    hint = next((ELSEWHERE[other][name] for name in parameters if name in ELSEWHERE[other]), None)
    error = f"{operation.name}() got an unexpected keyword argument {other!r}"
    for given in (operands, dict(list(operands.items())[1:])):
        with pytest.raises(TypeError) as caught:
            getattr(sm, operation.name)(**given, **{other: 1})
        if hint:
            assert str(caught.value) == f"{error}; {hint}"
        else:
            assert str(caught.value).startswith(error) and ";" not in str(caught.value)


def test_errors_of_another_origin_keep_their_words(sm):
    """An argument that is refused for what it is, beside keywords that are right."""
    with pytest.raises(TypeError, match="scale must be a real number; found dict"):
        sm.softmax(X, scale={})
    with pytest.raises(TypeError, match="multiple values for argument 'x'"):
        sm.softmax(X, x=X)


# ---- axis ----------------------------------------------------------------------------------------


AXES = {
    "too large": (2, np.exceptions.AxisError, ("axis 2", "dimension 2")),
    "too small": (-3, np.exceptions.AxisError, ("axis -3", "dimension 2")),
    "huge": (2**70, (np.exceptions.AxisError, OverflowError), ()),
    "float": (1.0, TypeError, ("axis", "1.0", "integer")),
    "text": ("0", TypeError, ("axis", "'0'", "integer")),
    "array": (np.zeros(2), TypeError, ("axis", "integer")),
}
SEVERAL = {
    "twice": ((0, 0), ValueError, ("axis", "(0, 0)")),
    "twice, once from the end": ((1, -1), ValueError, ("axis", "(1, -1)")),
    "one too large": ((0, 2), np.exceptions.AxisError, ("axis 2", "dimension 2")),
    "one float": ((0, 1.5), TypeError, ("axis", "1.5")),
}


@every(ROWWISE)
@pytest.mark.parametrize("case", AXES)
def test_bad_axis(sm, rng, operation, case):
    axis, error, parts = AXES[case]
    refused(error, parts, operation, sm, operation.draw(rng), axis=axis)


@pytest.mark.parametrize("name", ["softmax", "log_softmax", "logsumexp"])
@pytest.mark.parametrize("case", SEVERAL)
def test_bad_axes(sm, rng, name, case):
    axis, error, parts = SEVERAL[case]
    refused(error, parts, getattr(sm, name), rng.standard_normal((3, 4)), axis)


@pytest.mark.parametrize("name", ["softmax", "log_softmax", "logsumexp"])
@pytest.mark.parametrize("axis", [1, -2, (0, 1)])
def test_bad_axis_without_dimensions(sm, name, axis):
    with pytest.raises(ValueError, match="axis"):
        getattr(sm, name)(1.0, axis)


# ---- out -----------------------------------------------------------------------------------------


def self_overlapping(a):
    return np.lib.stride_tricks.as_strided(np.zeros(a.size, a.dtype), a.shape, (0,) * a.ndim)


def read_only(a):
    a = np.zeros_like(a)
    a.flags.writeable = False
    return a


OUTS = {
    "list": (lambda a: a.tolist(), TypeError, ("out", "list", "ndarray")),
    "text": (lambda a: "out", TypeError, ("out", "str", "ndarray")),
    "narrower": (
        lambda a: np.full(a.shape, 7, np.float32),
        TypeError,
        ("out", "float32", "float64"),
    ),
    "complex": (lambda a: np.full(a.shape, 7j), TypeError, ("out", "complex128", "float64")),
    "integer": (lambda a: np.full(a.shape, 7), TypeError, ("out", "int", "float64")),
    "too many rows": (
        lambda a: np.full((a.shape[0] + 1, *a.shape[1:]), 7.0),
        ValueError,
        ("out", "(5", "(4"),
    ),
    "one axis more": (lambda a: np.full((1, *a.shape), 7.0), ValueError, ("out", "(1, 4", "(4")),
    "would broadcast": (lambda a: np.full((1, *a.shape[1:]), 7.0), ValueError, ("out", "(1", "(4")),
    "read-only": (read_only, ValueError, ("out", "read-only")),
    "overlaps itself": (self_overlapping, ValueError, ("out", "overlap")),
}


@every(WITH_OUT)
@pytest.mark.parametrize("case", OUTS)
def test_bad_out(sm, rng, operation, case):
    make, error, parts = OUTS[case]
    operands = operation.draw(rng)
    out = make(results(operation(sm, operands))[-1])
    before = np.array(out)
    refused(error, parts, operation, sm, operands, out=out)
    np.testing.assert_array_equal(out, before)


# ---- Every argument ------------------------------------------------------------------------------
# the function, operands, keywords, the error, and what its message says

X = np.array([[0.0, 1, 2], [3, 4, 5]])  # logits: two rows of three classes
S = np.full((2, 3), 1 / 3)
Y = np.array([0, 2])
LAYER_X = np.ones((2, 4))
LAYER_W = np.ones((4, 3))
NAN, INF = float("nan"), float("inf")

BAD_ARGUMENTS = [
    # where
    ("softmax", (X,), dict(where=[1, 0, 1]), TypeError, ("where", "int", "bool")),
    ("softmax", (X,), dict(where="yes"), TypeError, ("where", "bool")),
    ("softmax", (X,), dict(where=np.ones(2, bool)), ValueError, ("where", "(2,)", "(2, 3)")),
    (
        "log_softmax",
        (X,),
        dict(where=np.ones((3, 3), bool)),
        ValueError,
        ("where", "(3, 3)", "(2, 3)"),
    ),
    (
        "log_softmax",
        (X[0],),
        dict(where=np.ones((2, 3), bool)),
        ValueError,
        ("where", "(2, 3)", "(3,)"),
    ),
    ("logsumexp", (X,), dict(where=np.ones(4, bool)), ValueError, ("where", "(4,)", "(2, 3)")),
    ("logsumexp", (X,), dict(where=X), TypeError, ("where", "float64", "bool")),
    # scale
    ("softmax", (X,), dict(scale=NAN), ValueError, ("scale", "nan", "finite")),
    ("softmax", (X,), dict(scale=INF), ValueError, ("scale", "inf", "finite")),
    ("log_softmax", (X,), dict(scale=-INF), ValueError, ("scale", "-inf", "finite")),
    ("softmax", (X,), dict(scale="2"), TypeError, ("scale", "str", "real")),
    ("softmax", (X,), dict(scale=1j), TypeError, ("scale", "complex", "real")),
    ("log_softmax", (X,), dict(scale=None), TypeError, ("scale", "None", "real")),
    ("log_softmax", (X,), dict(scale=["a"]), TypeError, ("scale", "<U1", "integers")),
    # dtype
    ("softmax", (X,), dict(dtype=np.int64), TypeError, ("dtype", "int64", "float32")),
    ("softmax", (X,), dict(dtype=complex), TypeError, ("dtype", "complex128", "float32")),
    ("log_softmax", (X,), dict(dtype=bool), TypeError, ("dtype", "bool", "float32")),
    ("logsumexp", (X,), dict(dtype="U3"), TypeError, ("dtype", "U3", "float32")),
    ("logsumexp", (X,), dict(dtype="nonsense"), TypeError, ("nonsense",)),
    # b
    ("logsumexp", (X,), dict(b=np.ones(2)), ValueError, ("b", "(2,)", "(2, 3)")),
    ("logsumexp", (X,), dict(b=1j), TypeError, ("b", "complex128", "float64")),
    ("logsumexp", (X,), dict(b="1"), TypeError, ("b", "U1", "float64")),
    # operands that do not fit each other
    ("softmax_vjp", (S, np.ones(2)), {}, ValueError, ("g", "(2,)", "(2, 3)")),
    ("softmax_vjp", (S, np.ones((3, 2, 3))), {}, ValueError, ("g", "(3, 2, 3)", "(2, 3)")),
    ("softmax_jvp", (S, np.ones(4)), {}, ValueError, ("v", "(4,)", "(2, 3)")),
    ("log_softmax_vjp", (S, np.ones(2)), {}, ValueError, ("g", "(2,)", "(2, 3)")),
    ("log_softmax_jvp", (S, np.ones((2, 1, 3))), {}, ValueError, ("v", "(2, 1, 3)", "(2, 3)")),
    ("logsumexp_vjp", (X, np.ones(3), np.ones(2)), {}, ValueError, ("lse", "(3,)", "(2,)")),
    ("logsumexp_vjp", (X, np.ones(2), np.ones(3)), {}, ValueError, ("g", "(3,)", "(2,)")),
    ("logsumexp_vjp", (X, np.ones(2), np.ones((2, 3))), {}, ValueError, ("g", "(2, 3)", "(2,)")),
    # the layer
    ("softmax_layer", (1.0, LAYER_W), {}, ValueError, ("x", "()")),
    ("softmax_layer", (LAYER_X, LAYER_W.T), {}, ValueError, ("W", "(3, 4)", "4")),
    ("softmax_layer", (LAYER_X, np.ones(4)), {}, ValueError, ("W", "(4,)")),
    ("softmax_layer", (LAYER_X, np.ones((4, 3, 1))), {}, ValueError, ("W", "(4, 3, 1)")),
    ("softmax_layer", (LAYER_X, LAYER_W, np.ones(4)), {}, ValueError, ("b", "(4,)", "(3,)")),
    ("softmax_layer", (LAYER_X, LAYER_W, np.ones((2, 3))), {}, ValueError, ("b", "(2, 3)", "(3,)")),
    ("softmax_layer", (LAYER_X, LAYER_W, 1.0), {}, ValueError, ("b", "()", "(3,)")),
    ("linear_weight_jacobian", (LAYER_X, 2.5), {}, TypeError, ("K", "2.5", "integer")),
    ("linear_weight_jacobian", (LAYER_X, "3"), {}, TypeError, ("K", "'3'", "integer")),
    ("linear_weight_jacobian", (LAYER_X, -1), {}, ValueError, ("K", "-1")),
    ("linear_weight_jacobian", (1.0, 3), {}, ValueError, ("x", "()")),
    (
        "softmax_layer_jacobian",
        (S, np.ones((3, 4))),
        {},
        ValueError,
        ("x", "(3, 4)", "s", "(2, 3)"),
    ),
    ("softmax_layer_jacobian", (S[0], LAYER_X), {}, ValueError, ("x", "(2, 4)", "s", "(3,)")),
    ("softmax_layer_jacobian", (S, LAYER_X[0]), {}, ValueError, ("x", "(4,)", "s", "(2, 3)")),
    ("softmax_layer_vjp", (S, LAYER_X, LAYER_W.T, S), {}, ValueError, ("W", "(3, 4)", "4")),
    ("softmax_layer_vjp", (S[:1], LAYER_X, LAYER_W, S), {}, ValueError, ("s", "(1, 3)", "(2, 3)")),
    (
        "softmax_layer_vjp",
        (S, LAYER_X, LAYER_W, np.ones(2)),
        {},
        ValueError,
        ("g", "(2,)", "(2, 3)"),
    ),
    (
        "softmax_layer_jvp",
        (S, LAYER_X, LAYER_W),
        dict(dW=LAYER_W.T),
        ValueError,
        ("dW", "(3, 4)", "(4, 3)"),
    ),
    (
        "softmax_layer_jvp",
        (S, LAYER_X, LAYER_W),
        dict(db=np.ones(2)),
        ValueError,
        ("db", "(2,)", "(3,)"),
    ),
    (
        "softmax_layer_jvp",
        (S, LAYER_X, LAYER_W),
        dict(dx=np.ones(3)),
        ValueError,
        ("dx", "(3,)", "(2, 4)"),
    ),
    ("softmax_layer_jvp", (S[0], LAYER_X, LAYER_W), {}, ValueError, ("s", "(3,)", "(2, 3)")),
    ("linear_cross_entropy", (1.0, LAYER_W, Y), {}, ValueError, ("X", "()")),
    ("linear_cross_entropy", (LAYER_X, LAYER_W.T, Y), {}, ValueError, ("W", "(3, 4)", "4")),
    (
        "linear_cross_entropy",
        (LAYER_X, LAYER_W, Y, np.ones(4)),
        {},
        ValueError,
        ("b", "(4,)", "(3,)"),
    ),
    ("linear_cross_entropy", (LAYER_X, LAYER_W[:, :0], Y), {}, ValueError, ("class", "0")),
    ("cross_entropy", (X[:, :0], Y), {}, ValueError, ("class", "0")),
]


@pytest.mark.parametrize(
    "name, args, keywords, error, parts",
    BAD_ARGUMENTS,
    ids=[f"{name}-{' '.join(parts)}" for name, *_, parts in BAD_ARGUMENTS],
)
def test_bad_argument(sm, name, args, keywords, error, parts):
    out = {}
    if OPERATIONS[name].has_out and "out" not in keywords:
        out["out"] = np.full((2, 3), 7.0)
    before = [np.array(a) for a in args]
    refused(error, parts, getattr(sm, name), *args, **keywords)
    if out:  # right or wrong for the result, it must not be written
        with pytest.raises((TypeError, ValueError)):
            getattr(sm, name)(*args, **keywords, **out)
        assert (out["out"] == 7).all()
    for a, b in zip(args, before, strict=True):
        np.testing.assert_array_equal(a, b)


# what is refused by all the four losses: target, options, and the message
BAD_LOSSES = [
    ([0, 3], {}, ValueError, ("target", "3", "0 to 2", "-100", "1")),
    ([0, -1], {}, ValueError, ("target", "-1", "0 to 2", "-100")),
    ([-99, 0], {}, ValueError, ("target", "-99", "0 to 2")),
    ([-100, 0], dict(ignore_index=7), ValueError, ("target", "-100", "0 to 2", "7")),
    (np.array([0, 2**64 - 1], np.uint64), {}, ValueError, ("target", str(2**64 - 1), "0 to 2")),
    (np.array([0, 200], np.uint8), dict(ignore_index=-56), ValueError, ("target", "200", "0 to 2")),
    (
        np.array([0, -128], np.int8),
        dict(ignore_index=128),
        ValueError,
        ("target", "-128", "0 to 2"),
    ),
    (np.array([-(2**63), 0]), {}, ValueError, ("target", str(-(2**63)), "0 to 2")),
    ([0], {}, ValueError, ("target", "(1,)", "(2,)")),
    ([0, 1, 2], {}, ValueError, ("target", "(3,)", "(2,)")),
    ([[0, 1, 2], [0, 1, 2]], {}, ValueError, ("target", "(2, 3)", "(2,)")),
    (0, {}, ValueError, ("target", "()", "(2,)")),
    ([0.0, 1.0], {}, ValueError, ("target", "(2,)", "(2, 3)", "target.astype(int)")),
    ([[0.0], [2.0]], {}, ValueError, ("target", "(2, 1)", "target.astype(int).reshape((2,))")),
    ([[0], [2]], {}, ValueError, ("target", "(2, 1)", "(2,)", "pass target.reshape((2,))")),
    (
        [[1, 0, 0], [0, 0, 1]],
        {},
        ValueError,
        ("target", "(2, 3)", "target.astype(float)", "target.argmax(axis)"),
    ),
    ([[True, False, False]] * 2, {}, TypeError, ("target", "bool", "target.astype(float)")),
    (np.ones((3, 3)), {}, ValueError, ("target", "(3, 3)", "(2, 3)")),
    (np.ones((2, 4)), {}, ValueError, ("target", "(2, 4)", "(2, 3)")),
    (np.ones((1, 3)), {}, ValueError, ("target", "(1, 3)", "(2, 3)")),
    ([True, False], {}, TypeError, ("target", "bool", "integer", "target.astype(int)")),
    (["0", "1"], {}, TypeError, ("target", "U1", "integer")),
    ([0j, 1j], {}, TypeError, ("target", "complex128", "integer")),
    (None, {}, TypeError, ("target", "integer")),
    (
        Y,
        dict(reduction="average"),
        ValueError,
        ("reduction", "'average'", "'mean'", "'sum'", "'none'"),
    ),
    (Y, dict(reduction=None), ValueError, ("reduction", "None", "'mean'", "'sum'", "'none'")),
    (Y, dict(reduction="MEAN"), ValueError, ("reduction", "'MEAN'", "'mean'")),
    (Y, dict(label_smoothing=-0.1), ValueError, ("label_smoothing", "-0.1", "[0, 1]")),
    (Y, dict(label_smoothing=1.001), ValueError, ("label_smoothing", "1.001", "[0, 1]")),
    (Y, dict(label_smoothing=NAN), ValueError, ("label_smoothing", "nan")),
    (Y, dict(label_smoothing=INF), ValueError, ("label_smoothing", "inf")),
    (Y, dict(label_smoothing="0.1"), TypeError, ("label_smoothing", "str", "real")),
    (Y, dict(label_smoothing=None), TypeError, ("label_smoothing", "None", "real")),
    (Y, dict(z_loss=-0.1), ValueError, ("z_loss", "-0.1", "at least 0")),
    (Y, dict(z_loss=NAN), ValueError, ("z_loss", "nan", "finite")),
    (Y, dict(z_loss=INF), ValueError, ("z_loss", "inf", "finite")),
    (Y, dict(z_loss="0.1"), TypeError, ("z_loss", "str", "real")),
    (Y, dict(ignore_index=1.5), TypeError, ("ignore_index", "1.5", "integer")),
    (Y, dict(ignore_index=-100.0), TypeError, ("ignore_index", "-100.0", "integer")),
    (Y, dict(ignore_index=np.array([0, 1])), TypeError, ("ignore_index", "[0, 1]", "integer")),
    (Y, dict(ignore_index=None), TypeError, ("ignore_index", "None", "integer")),
    (Y, dict(ignore_index="0"), TypeError, ("ignore_index", "'0'", "integer")),
    (Y, dict(weight=np.ones(2)), ValueError, ("weight", "(2,)", "(3,)")),
    (Y, dict(weight=np.ones((1, 3))), ValueError, ("weight", "(1, 3)", "(3,)")),
    (Y, dict(weight=1.0), ValueError, ("weight", "()", "(3,)")),
    (Y, dict(weight=[1, NAN, 1]), ValueError, ("weight", "nan", "finite")),
    (Y, dict(weight=[1, 1, INF]), ValueError, ("weight", "inf", "finite")),
    (Y, dict(weight=["1", "1", "1"]), TypeError, ("weight", "U1", "float64")),
    (Y, dict(weight=np.ones(3, complex)), TypeError, ("weight", "complex128", "float64")),
    (Y, dict(sample_weight=[1, -1]), ValueError, ("sample_weight", "-1.0", "at least 0")),
    (Y, dict(sample_weight=-2), ValueError, ("sample_weight", "-2.0", "at least 0")),
    (Y, dict(sample_weight=[1, NAN]), ValueError, ("sample_weight", "nan", "finite")),
    (Y, dict(sample_weight=[INF, 1]), ValueError, ("sample_weight", "inf", "finite")),
    (Y, dict(sample_weight=NAN), ValueError, ("sample_weight", "nan", "finite")),
    (Y, dict(sample_weight=[1, 1, 1]), ValueError, ("sample_weight", "(3,)", "(2,)")),
    (Y, dict(sample_weight=np.ones((2, 3))), ValueError, ("sample_weight", "(2, 3)", "(2,)")),
    (Y, dict(sample_weight=["1", "1"]), TypeError, ("sample_weight", "U1", "float64")),
    (Y, dict(sample_weight="1"), TypeError, ("sample_weight", "str", "real")),
]


@pytest.mark.parametrize("with_grad", [False, True])
@pytest.mark.parametrize("linear", [False, True])
@pytest.mark.parametrize(
    "target, options, error, parts",
    BAD_LOSSES,
    ids=[" ".join(parts) for *_, parts in BAD_LOSSES],
)
def test_bad_loss(sm, linear, with_grad, target, options, error, parts):
    name = "linear_" * linear + "cross_entropy" + "_with_grad" * with_grad
    operands = (LAYER_X, LAYER_W) if linear else (X,)
    refused(error, parts, getattr(sm, name), *operands, target, **options)
    if name == "cross_entropy_with_grad":
        out = np.full((2, 3), 7.0)
        refused(error, parts, sm.cross_entropy_with_grad, X, target, **options, out=out)
        assert (out == 7).all()


@pytest.mark.parametrize("target", [[0.5, 1.0], [NAN, 1.0], [1, 2, 0], np.ones((2, 4), int)])
def test_targets_without_a_remedy(sm, target):
    """No advice that would not do."""
    with pytest.raises(ValueError, match="target") as caught:
        sm.cross_entropy(X, target)
    assert "pass" not in str(caught.value)


@pytest.mark.parametrize(
    "target", [[0.0, 2.0], [[0.0], [2.0]], [[0], [2]], [[1, 0, 0], [0, 0, 1]], [[1, 0, 0]] * 2]
)
def test_remedies_for_targets(sm, target):
    """What the message says to pass is accepted."""
    target = np.array(target)
    with pytest.raises(ValueError, match="target") as caught:
        sm.cross_entropy(X, target)
    for found in re.findall(r"target\.[^;,]*\)(?:\.reshape\(\(2,\)\))?", str(caught.value)):
        remedied = eval(found, {"target": target, "axis": -1})
        assert np.isfinite(sm.cross_entropy(X, remedied)), found


@pytest.mark.parametrize("swapped", [(np.zeros(3), Y), (np.zeros(3, np.float32), Y.tolist())])
def test_labels_and_bias_in_each_others_place(sm, swapped):
    parts = ("target", "b", "each other's place", "(3,)", "(2,)")
    for name in ("linear_cross_entropy", "linear_cross_entropy_with_grad"):
        refused(ValueError, parts, getattr(sm, name), LAYER_X, LAYER_W, *swapped)
    hvp = sm.linear_cross_entropy_hvp
    refused(ValueError, parts, hvp, LAYER_X, LAYER_W, LAYER_W, *swapped)
    parts = ("target", "b", "each other's place", "(3,)", "()")
    bias, _ = swapped
    refused(ValueError, parts, sm.linear_cross_entropy, LAYER_X[0], LAYER_W, bias, 1)
    # a bias of integers beside probabilities is in order
    soft = np.full(3, 1 / 3)
    assert np.isfinite(sm.linear_cross_entropy(LAYER_X[0], LAYER_W, soft, np.arange(3)))


@pytest.mark.parametrize("with_grad", [False, True])
@pytest.mark.parametrize(
    "block_bytes, error, parts",
    [
        (0, ValueError, ("block_bytes", "at least 1", "0")),
        (-5, ValueError, ("block_bytes", "at least 1", "-5")),
        (1e6, TypeError, ("block_bytes", "integer", "1000000.0")),
        ("64 MiB", TypeError, ("block_bytes", "integer", "'64 MiB'")),
    ],
)
def test_bad_block_bytes(sm, with_grad, block_bytes, error, parts):
    function = getattr(sm, "linear_cross_entropy" + "_with_grad" * with_grad)
    refused(error, parts, function, LAYER_X, LAYER_W, Y, block_bytes=block_bytes)


@pytest.mark.parametrize("row", [0, 1, 16, 999])
def test_bad_label_deep_in_a_batch(sm, native_dtype, row):
    """Found wherever it is, before any loss or gradient is computed."""
    x = np.zeros((1000, 10), native_dtype)
    target = np.zeros(1000, np.int64)
    target[row] = 10
    out = np.full_like(x, 7)
    parts = ("target", "10", "0 to 9", str(row))
    refused(ValueError, parts, sm.cross_entropy_with_grad, x, target, out=out)
    assert (out == 7).all()
    refused(ValueError, parts, sm.cross_entropy_with_grad, x, target, out=x)
    assert (x == 0).all()


# ---- Configuration -------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["mmx", "", "AVX2", "numpy"])
def test_bad_target(sm, name):
    parts = (repr(name), *map(repr, sm.targets()))
    refused(ValueError, parts, sm.use_target, name)


def test_bad_target_of_another_type(sm):
    with pytest.raises((TypeError, ValueError)):
        sm.use_target(None)
