"""The fast path of the native backend does what the functions behind it do.

A public function with a fast path has the function itself as its `__wrapped__`. (On the NumPy
backend there is none, and a function is compared with itself.)
"""

from __future__ import annotations

import copy
import inspect
import sys

import numpy as np
import pytest
from cases import OPERATIONS, WITH_OUT, assert_identical, every, results
from test_memory import assert_same_values

import smcore
from smcore._backend import core

pytestmark = pytest.mark.light_on("best")


def both(sm, operation):
    """The public function, and the one behind its fast path."""
    function = getattr(sm, operation.name)
    return function, inspect.unwrap(function)


def outcome(function, *arguments, **keywords):
    """What it returns, or its error."""
    try:
        return function(*arguments, **keywords)
    except Exception as error:
        return type(error), str(error)


def assert_alike(operation, got, expected):
    """The same values or the same error; scalars are scalars, arrays arrays."""
    if isinstance(expected, tuple) and isinstance(expected[0], type):
        assert got == expected
        return
    if operation.name in ("cross_entropy", "cross_entropy_with_grad"):
        # a mean: its sum in another order
        for one, other in zip(results(got), results(expected), strict=True):
            assert one.dtype == other.dtype
            tolerance = 2 * np.finfo(one.dtype).eps
            np.testing.assert_allclose(one, other, rtol=tolerance, atol=0)
    else:
        assert_same_values(operation, got, expected)
    if not isinstance(expected, tuple):
        assert type(got) is type(expected)
        return
    assert len(got) == len(expected)
    for one, other in zip(got, expected, strict=True):
        assert_alike(operation, one, other)


PLAIN = [((), 1), ((), 5), ((), 300), ((1,), 4), ((4,), 1), ((3,), 10), ((200,), 17)]


def keywords_of(operation):
    """Those of the table, and none at all: a reduction, say, is a case for the function itself."""
    without = {k: v for k, v in operation.keywords.items() if k != "reduction"}
    return [operation.keywords] if without == operation.keywords else [operation.keywords, without]


def draw_all(operation, rng, dtype):
    for lead, k in PLAIN:
        yield operation.draw(rng, dtype, lead, operation.keywords.get("K", k))
    if operation.rowwise:
        yield operation.draw(rng, dtype, (2, 3, 2), 5)


ROLES = core._roles() if core.NAME == "native" else {}
"""What each argument of a function on the fast path is to it."""


def draw_by_role(operation, rng, dtype, lead=(3,), k=5):
    """Operands for all that the table has a role for: labels, then probabilities."""
    operands = operation.draw(rng, dtype, lead, k)
    table = ROLES[operation.name]
    if "weight" in table:
        operands["weight"] = rng.random(k).astype(dtype)
    if table.get("s") == "probabilities":
        operands["s"] = rng.dirichlet(np.ones(k), lead).astype(dtype)
    yield operands
    if table.get("target") == "target":
        yield operands | {"target": rng.dirichlet(np.ones(k), lead).astype(dtype)}


def pairs_are_tuples(operation, operands):
    return {
        name: tuple(a) if np.ndim(a) and "pair" in ROLES[operation.name].get(name, "") else a
        for name, a in operands.items()
    }


def takes_the_fast_path(function, **arguments):
    """Whether no Python function runs; and what the call returns, or its error."""
    entered = []

    def note(frame, event, _):
        if event == "call" and frame.f_code is not outcome.__code__:
            entered.append(frame.f_code.co_name)

    sys.setprofile(note)
    try:
        found = outcome(function, **arguments)
    finally:
        sys.setprofile(None)
    return not entered, found


# ---- Who takes it --------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ROLES)
def test_plain_calls_take_it(sm, native_dtype, rng, name):
    if sm.backend() == "numpy":
        pytest.skip("the NumPy backend has none")
    operation = OPERATIONS[name]
    for lead in ((), (3,)):
        for operands in draw_by_role(operation, rng, native_dtype, lead):
            arguments = pairs_are_tuples(operation, operands) | operation.keywords
            taken, found = takes_the_fast_path(getattr(sm, name), **arguments)
            assert taken, (lead, arguments)
            if operation.has_out:
                out = np.empty_like(operation.buffer(found))
                taken, _ = takes_the_fast_path(getattr(sm, name), **arguments, out=out)
                assert taken, (lead, arguments)


@pytest.mark.parametrize("name", [name for name in ROLES if "W" in ROLES[name]])
def test_weights_in_fortran_order_take_it(sm, native_dtype, rng, name):
    if sm.backend() == "numpy":
        pytest.skip("the NumPy backend has none")
    operation = OPERATIONS[name]
    function, general = both(sm, operation)
    for lead in ((), (3,)):
        for operands in draw_by_role(operation, rng, native_dtype, lead):
            arguments = operands | {"W": np.asfortranarray(operands["W"])}
            taken, found = takes_the_fast_path(function, **arguments)
            expected = outcome(general, **arguments)
            assert taken
            assert_alike(operation, found, expected)
            for one, other in zip(results(found), results(expected), strict=True):
                assert one.strides == other.strides


def other_arrays(a):
    """What may stand in the place of an array: some do as well, most do not."""
    return (
        a.copy(),
        np.asarray(a, order="F"),
        np.repeat(a, 2, axis=-1)[..., ::2] if a.ndim else a,
        a[::-1] if a.ndim else a,
        a[..., :-1] if a.ndim else a,
        a[np.newaxis],
        a.astype(np.float64 if a.dtype == np.float32 else np.float32),
        a.astype(a.dtype.newbyteorder()),
        a.astype(np.int16),
        a.reshape(-1)[0],
        float(a.reshape(-1)[0]),
        np.full_like(a, np.nan if a.dtype.kind == "f" else -100),
        None,
    )


OPTIONS = {
    "axis": (-1, 0, 1, None, (0,), (-1,), (0, 1), True, 7),
    "scale": (1.0, 0.5, -2.0, 0.0, np.inf, np.nan, 2, np.float32(3)),
    "keepdims": (False, True, 1),
    "reduction": ("mean", "sum", "none", "all", None),
    "label_smoothing": (0.0, 0.1, 1.0, 1.5, -0.1, np.nan, 0),
    "z_loss": (0.0, 0.5, -1.0, np.inf, 0),
    "return_lse": (False, True, 1),
    "wrt": ("XWb", "Wbx", "Wb", "x", "", ("W",), "bias", None, 1),
}


@pytest.mark.parametrize("name", ROLES)
def test_any_arguments(sm, native_dtype, rng, name):
    """Whatever is taken, the function takes, too, with the same result; and the same errors."""
    operation = OPERATIONS[name]
    function, general = both(sm, operation)
    taken = 0
    for _ in range(150):
        lead, k = [((), 5), ((1,), 5), ((6,), 1), ((3,), 10)][rng.integers(4)]
        drawn = list(draw_by_role(operation, rng, native_dtype, lead, k))
        arguments = drawn[rng.integers(len(drawn))]
        buffer = operation.buffer(outcome(general, **arguments, **operation.keywords))
        for parameter, a in arguments.items():
            if rng.random() < 0.1:
                others = other_arrays(a)
                arguments[parameter] = others[rng.integers(len(others))]
        arguments = pairs_are_tuples(operation, arguments)
        for parameter, role in ROLES[name].items():
            if role in OPTIONS and rng.random() < 0.2:
                arguments[parameter] = OPTIONS[role][rng.integers(len(OPTIONS[role]))]
        if operation.has_out and rng.random() < 0.3:
            arguments["out"] = np.empty_like(buffer)
        fast, got = takes_the_fast_path(function, **arguments)
        assert_alike(operation, got, outcome(general, **arguments))
        taken += fast
    assert taken > 10 or sm.backend() == "numpy"


# ---- Values --------------------------------------------------------------------------------------


@every(OPERATIONS)
def test_plain_calls(sm, native_dtype, rng, operation):
    function, general = both(sm, operation)
    for operands in draw_all(operation, rng, native_dtype):
        for keywords in keywords_of(operation):
            got = outcome(function, *operands.values(), **keywords)
            assert_alike(operation, got, outcome(general, *operands.values(), **keywords))
            by_name = outcome(function, **operands, **keywords)
            assert_alike(operation, by_name, got)


@every({name: o for name, o in OPERATIONS.items() if o.rowwise and "entropy" not in name})
def test_plain_calls_with_any_dtype(sm, dtype, rng, operation):
    function, general = both(sm, operation)
    for operands in draw_all(operation, rng, dtype):
        got = outcome(function, *operands.values())
        assert_alike(operation, got, outcome(general, *operands.values()))


ALONG_AN_AXIS = (
    "softmax",
    "log_softmax",
    "logsumexp",
    "softmax_vjp",
    "softmax_jvp",
    "log_softmax_vjp",
    "log_softmax_jvp",
)


def assert_same(got, expected):
    assert type(got) is type(expected)
    assert_identical(got, expected)
    if isinstance(got, np.ndarray):
        assert got.strides == expected.strides


SINGLE_AXES = (None, *range(-5, 5), np.int64(0), True, 2**70, 0.0)
SEVERAL_AXES = (
    (),
    (0,),
    (-1,),
    (0, 1),
    (1, 2),
    (-2, -1),
    (1, 0),
    (0, 2),
    (0, 0),
    (0, True),
    (0, 1, 2),
)


@every({name: OPERATIONS[name] for name in ALONG_AN_AXIS})
@pytest.mark.parametrize("shape", [(7,), (5, 1), (1, 5), (17, 20), (2, 3, 4), (3, 1, 4, 1), (2, 0)])
def test_axes(sm, dtype, rng, operation, shape):
    function, general = both(sm, operation)
    operands = operation.draw(rng, dtype, shape[:-1], shape[-1])
    for axis in SINGLE_AXES + SEVERAL_AXES:
        results_of = [outcome(f, **operands, axis=axis) for f in (function, general)]
        if isinstance(results_of[1], tuple):
            assert results_of[0] == results_of[1]  # the error
            continue
        assert_same(*results_of)
        if operation.has_out:
            out = np.empty_like(results_of[1])
            if isinstance(out, np.ndarray) and out.ndim:
                assert function(**operands, axis=axis, out=out) is out
                assert_identical(out, results_of[1])
        if operation.name == "logsumexp":
            for keepdims in (True, False, 1, np.True_):
                keywords = {"axis": axis, "keepdims": keepdims}
                got, expected = (f(**operands, **keywords) for f in (function, general))
                assert_same(got, expected)
                out = np.empty_like(expected)
                assert function(**operands, **keywords, out=out) is out
                assert_identical(out, np.asarray(expected))


@every({name: OPERATIONS[name] for name in ("softmax", "log_softmax")})
@pytest.mark.parametrize("scale", [0.5, -2.0, 0.0, 1e300, np.nan, np.inf, 2, np.float32(3), "1"])
def test_scales(sm, dtype, rng, operation, scale):
    function, general = both(sm, operation)
    x = operation.draw(rng, dtype, (3,), 10)["x"]
    got, expected = (outcome(f, x, scale=scale) for f in (function, general))
    if isinstance(expected, tuple):
        assert got == expected  # the error
    else:
        assert_same(got, expected)


SLICES = {
    "rows": lambda a: a[::2],
    "rows backwards": lambda a: a[::-1],
    "columns": lambda a: a[:, 3:9],
    "columns apart": lambda a: a[:, ::3],
    "transposed": lambda a: a.T,
    "all one": lambda a: np.broadcast_to(a[0], a.shape),
    "one row": lambda a: a[2:3, ::2],
    "one column": lambda a: a[:, 2:3],
}


@every({name: OPERATIONS[name] for name in ALONG_AN_AXIS if name.endswith("vp")})
@pytest.mark.parametrize("axis", [None, 0, 1, (0, 1), (1,)])
def test_a_slice_beside_a_plain_matrix(sm, dtype, rng, operation, axis):
    function, general = both(sm, operation)
    first, second = operation.draw(rng, dtype, (6,), 5).values()
    cut = np.repeat(second, 2, axis=1)[:, ::2]
    for operands in ((first, cut), (cut, first)):
        assert_same(function(*operands, axis=axis), general(*operands, axis=axis))


@every({name: OPERATIONS[name] for name in ALONG_AN_AXIS})
@pytest.mark.parametrize("cut", SLICES)
def test_slices(sm, dtype, rng, operation, cut):
    function, general = both(sm, operation)
    operands = operation.draw(rng, dtype, (33,), 20)
    operands = {name: SLICES[cut](a) for name, a in operands.items()}
    for axis in (0, 1, None):
        assert_same(*(f(**operands, axis=axis) for f in (function, general)))


@every(OPERATIONS)
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 3e38, 0.0])
def test_values_that_are_not_ordinary(sm, native_dtype, rng, operation, value):
    """Without a warning, too."""
    function, general = both(sm, operation)
    for operands in draw_all(operation, rng, native_dtype):
        for name, a in operands.items():
            if a.dtype.kind == "f" and a.ndim:
                changed = {**operands, name: a.copy()}
                changed[name][..., ::2] = value
                got, expected = (
                    outcome(f, *changed.values(), **operation.keywords) for f in (function, general)
                )
                for one, other in zip(results(got), results(expected), strict=True):
                    if one.dtype.kind == "f":
                        np.testing.assert_array_equal(np.isnan(one), np.isnan(other))


@every(OPERATIONS)
def test_optional_arguments_given_as_their_defaults(sm, native_dtype, rng, operation):
    function, general = both(sm, operation)
    operands = operation.draw(rng, native_dtype)
    defaults = {
        name: parameter.default
        for name, parameter in inspect.signature(function).parameters.items()
        if parameter.default is not parameter.empty and name not in operands
    }
    # equal, but other objects
    defaults = {
        name: float(str(value)) if type(value) is float else value
        for name, value in defaults.items()
    }
    expected = general(*operands.values(), **{**defaults, **operation.keywords})
    assert_same_values(
        operation, function(*operands.values(), **{**defaults, **operation.keywords}), expected
    )


@pytest.mark.parametrize("return_lse", [False, True, 0, 1])
@pytest.mark.parametrize("z_loss", [0.0, 0.5, 0, np.float64(0.5), -1.0, np.nan, "much"])
@pytest.mark.parametrize("name", [name for name in OPERATIONS if name.endswith(("py", "_grad"))])
def test_options_of_the_losses(sm, native_dtype, rng, name, z_loss, return_lse):
    operation = OPERATIONS[name]
    function, general = both(sm, operation)
    for lead in [(), (3,), (200,)]:
        operands = operation.draw(rng, native_dtype, lead)
        arguments = (*operands.values(),)
        got, expected = (
            outcome(f, *arguments, z_loss=z_loss, return_lse=return_lse)
            for f in (function, general)
        )
        assert_alike(operation, got, expected)


@pytest.mark.parametrize("reduction", ["sum", "none", "all", 1, np.str_("sum")])
@pytest.mark.parametrize("name", [name for name in OPERATIONS if name.endswith(("py", "_grad"))])
def test_reductions_of_the_losses(sm, native_dtype, rng, name, reduction):
    operation = OPERATIONS[name]
    function, general = both(sm, operation)
    for lead in [(), (3,), (200,), (2, 5)]:
        if lead == (2, 5) and "linear" in name:
            continue
        operands = operation.draw(rng, native_dtype, lead)
        got, expected = (
            outcome(f, *operands.values(), reduction=reduction, return_lse=True)
            for f in (function, general)
        )
        assert_alike(operation, got, expected)


@pytest.mark.parametrize("reduction", ["mean", "sum", "none", "all", 1, np.str_("sum")])
@pytest.mark.parametrize("target", ["none", "labels", "some", "ignored", "short", "soft", "wrong"])
@pytest.mark.parametrize("name", ["cross_entropy_hvp", "linear_cross_entropy_hvp"])
def test_options_of_the_hessians(sm, native_dtype, rng, name, target, reduction):
    operation = OPERATIONS[name]
    function, general = both(sm, operation)
    for lead in [(), (1,), (6,), (2000,)]:
        operands = operation.draw(rng, native_dtype, lead)
        labels = operands["target"]
        operands["target"] = {
            "none": None,
            "labels": labels,
            "some": np.where(np.arange(labels.size).reshape(lead) % 3 == 1, -100, labels),
            "ignored": np.full_like(labels, -100),
            "short": labels.astype(np.int16),
            "soft": np.eye(5, dtype=native_dtype)[labels],
            "wrong": labels + 5,
        }[target]
        got, expected = (outcome(f, **operands, reduction=reduction) for f in (function, general))
        assert_alike(operation, got, expected)


@pytest.mark.parametrize("dropped", ["b", "Vb"])
def test_bias_of_a_hessian(sm, native_dtype, rng, dropped):
    """Without it, it does not move; and what does not move may have one."""
    operation = OPERATIONS["linear_cross_entropy_hvp"]
    function, general = both(sm, operation)
    operands = operation.draw(rng, native_dtype)
    for given in (operands | {dropped: None}, operands | {"b": None, "Vb": None}):
        got, expected = (outcome(f, **given) for f in (function, general))
        assert_alike(operation, got, expected)


@pytest.mark.parametrize("name", ["softmax_layer", "linear_cross_entropy_with_grad"])
@pytest.mark.parametrize("bias", ["none", "plain", "wide", "scalar", "strided"])
def test_bias(sm, native_dtype, rng, name, bias):
    operation = OPERATIONS[name]
    function, general = both(sm, operation)
    operands = operation.draw(rng, native_dtype)
    b = operands.pop("b")
    b = {
        "none": None,
        "plain": b,
        "wide": b.astype(np.longdouble),
        "scalar": b[0],
        "strided": np.repeat(b, 2)[::2],
    }[bias]
    got = outcome(function, *operands.values(), b)
    assert_alike(operation, got, outcome(general, *operands.values(), b))


@pytest.mark.parametrize("given", [set(c) for c in ("", "W", "b", "x", "Wb", "Wx", "bx", "Wbx")])
def test_directions_of_a_layer(sm, native_dtype, rng, given):
    operation = OPERATIONS["softmax_layer_jvp"]
    function, general = both(sm, operation)
    for lead in [(), (1,), (5,)]:
        operands = operation.draw(rng, native_dtype, lead)
        for name in ("W", "b", "x"):
            if name not in given:
                operands["d" + name] = None
        expected = general(**operands)
        assert_same_values(operation, function(**operands), expected)


@pytest.mark.parametrize("lse", ["array", "kept", "scalar", "float", "other scalar"])
@pytest.mark.parametrize("g", ["array", "kept", "scalar", "float", "other scalar", "int"])
@pytest.mark.parametrize("lead", [(), (4,), (1,), (2, 3)])
def test_numbers_of_logsumexp_vjp(sm, native_dtype, rng, lse, g, lead):
    operation = OPERATIONS["logsumexp_vjp"]
    function, general = both(sm, operation)
    x, a, b = operation.draw(rng, native_dtype, lead).values()
    other = np.float64 if native_dtype == np.float32 else np.float32

    def form(array, kind):
        number = array.reshape(-1)[0]
        return {
            "array": array,
            "kept": array[..., np.newaxis],
            "scalar": number,
            "float": float(number),
            "other scalar": other(number),
            "int": 2,
        }[kind]

    arguments = dict(x=x, lse=form(a, lse), g=form(b, g))
    taken, found = takes_the_fast_path(function, **arguments)
    assert_alike(operation, found, outcome(general, **arguments))
    if {lse, g} <= {"array", "kept"}:
        assert taken or sm.backend() == "numpy"


EDGES = [0.0, -0.0, -np.inf, np.inf, np.nan, 3e38, -3e38, 1e-7, 88.0, -800.0, 1e-40]


@pytest.mark.parametrize("n", [1, 7, 8, 9, 256, 257, 1000])
def test_merged_pairs(sm, native_dtype, rng, n):
    """In tuples, of arrays and of scalars; the general way takes lists."""
    function, general = both(sm, OPERATIONS["logsumexp_merge"])
    drawn = rng.standard_normal((4, n)) * np.array([20, 1e-7, 20, 1e-7])[:, None]
    drawn[0, n // 2], drawn[2, -1] = rng.choice(EDGES, 2)
    p_m, p_s, q_m, q_s = drawn.astype(native_dtype)
    got, expected = (f((p_m, p_s), (q_m, q_s)) for f in (function, general))
    assert_identical(got, expected)
    assert_identical(function([p_m, p_s], (q_m, q_s)), expected)
    for i in (0, n // 2, n - 1):
        one = function((p_m[i], p_s[i]), (q_m[i], q_s[i]))
        assert_identical(one, (expected[0][i], expected[1][i]))
        assert all(type(member) is native_dtype.type for member in one)


def test_merged_edges(sm, numpy_smcore, native_dtype):
    """As the NumPy backend has them, within a rounding."""
    p_m, q_m = (a.reshape(-1).astype(native_dtype) for a in np.meshgrid(EDGES, EDGES))
    p_s, q_s = np.zeros_like(p_m), np.zeros_like(q_m)
    got, expected = (s.logsumexp_merge((p_m, p_s), (q_m, q_s)) for s in (sm, numpy_smcore))
    for one, other in zip(got, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=3e-7, atol=1e-7)


@pytest.mark.parametrize("lse", ["array", "kept", "scalar", "float", "other scalar", "wide"])
@pytest.mark.parametrize("value", [0.5, np.inf, -np.inf, np.nan])
@pytest.mark.parametrize("lead", [(), (4,), (2, 3)])
def test_numbers_of_softmax_from_lse(sm, native_dtype, rng, lse, value, lead):
    operation = OPERATIONS["softmax_from_lse"]
    function, general = both(sm, operation)
    x, a = operation.draw(rng, native_dtype, lead).values()
    a.reshape(-1)[-1] = value
    number = a.reshape(-1)[-1] + native_dtype.type(0.1)
    other = np.float64 if native_dtype == np.float32 else np.float32
    lse = {
        "array": a,
        "kept": a[..., np.newaxis],
        "scalar": number,
        "float": float(number) + 1e-9,
        "other scalar": other(number),
        "wide": a.astype(float) + 1e-9,
    }[lse]
    assert_alike(operation, outcome(function, x, lse), outcome(general, x, lse))


# ---- out -----------------------------------------------------------------------------------------


@pytest.mark.usual
@every(WITH_OUT)
def test_out(sm, native_dtype, rng, operation):
    """Filled and returned where it can be; the same error, and nothing written, where not."""
    function, general = both(sm, operation)
    for operands in draw_all(operation, rng, native_dtype):
        expected = operation.buffer(general(*operands.values(), **operation.keywords))
        shape, dtype = expected.shape, expected.dtype
        space = np.zeros((2, *shape), dtype)
        for out in [
            np.zeros(shape, dtype),
            np.zeros(shape, dtype, order="F"),
            space.reshape(*shape, 2)[..., 0] if shape else space[0],
            np.zeros((*shape, 1), dtype),
            np.zeros(shape, np.float16),
            np.zeros(shape, dtype.newbyteorder()),
            np.broadcast_to(dtype.type(0), shape),
            [],
        ]:
            before = np.array(out)
            got, error = (
                outcome(f, *operands.values(), **operation.keywords, out=out)
                for f in (function, general)
            )
            if isinstance(error, tuple) and isinstance(error[0], type):
                assert got == error
                np.testing.assert_array_equal(out, before)
            else:
                assert (got[-1] if isinstance(got, tuple) else got) is out
                assert_same_values(operation, out.astype(dtype), expected)


@pytest.mark.parametrize("shift", [-1, 0, 1])
@pytest.mark.parametrize("name", [n for n, table in ROLES.items() if "out" in table])
def test_out_over_an_operand(sm, native_dtype, rng, name, shift):
    """Over each that the table knows: at the same place, one element on, one element before."""
    operation = OPERATIONS[name]
    function, general = both(sm, operation)
    for operands in draw_by_role(operation, rng, native_dtype):
        expected = general(**operands, **operation.keywords)
        buffer = operation.buffer(expected)
        for parameter, a in operands.items():
            space = np.zeros(a.nbytes + buffer.nbytes + 128, np.uint8)
            at = np.ndarray(a.shape, a.dtype, space, 64)
            at[...] = a
            out = np.ndarray(buffer.shape, buffer.dtype, space, 64 + shift * buffer.itemsize)
            got = function(**{**operands, parameter: at}, **operation.keywords, out=out)
            assert (got[-1] if isinstance(got, tuple) else got) is out
            assert_alike(operation, got, expected)


# ---- Wrong calls ---------------------------------------------------------------------------------


@every(OPERATIONS)
def test_wrong_calls(sm, native_dtype, rng, operation):
    """The errors, and their words, are those of the function itself."""
    function, general = both(sm, operation)
    operands = operation.draw(rng, native_dtype)
    first, *others = operands
    values = list(operands.values())
    for arguments, keywords in [
        ((), {}),
        (values[:-1], {}),
        (values, {"colour": 1}),
        (values, {first: operands[first]}),
        ([*values, *[None] * 20], {}),
        (values, {"axis": 7}),
        (values, {"axis": True}),
        (values, {"out": 3}),
    ]:
        got, expected = (outcome(f, *arguments, **keywords) for f in (function, general))
        assert_alike(operation, got, expected)
    assert_alike(
        operation,
        outcome(function, *values[1:], **{first: values[0]}),
        outcome(general, *values[1:], **{first: values[0]}),
    )
    for name in (first, *others):
        for wrong in (None, "text", values[0][..., :0], values[0][np.newaxis], object()):
            changed = {**operands, name: wrong}
            got, expected = (
                outcome(f, *changed.values(), **operation.keywords) for f in (function, general)
            )
            assert_alike(operation, got, expected)


LOSSES = (
    "cross_entropy",
    "cross_entropy_with_grad",
    "linear_cross_entropy",
    "linear_cross_entropy_with_grad",
)

TARGETS = {
    "int8": lambda labels, soft: labels.astype(np.int8),
    "uint8": lambda labels, soft: labels.astype(np.uint8),
    "uint64": lambda labels, soft: labels.astype(np.uint64),
    "uint64 that would be -100": lambda labels, soft: (
        labels.astype(np.uint64) * 0 + np.uint64(2**64 - 100)
    ),
    "swapped": lambda labels, soft: labels.astype(labels.dtype.newbyteorder()),
    "strided": lambda labels, soft: np.repeat(labels, 2).reshape(*labels.shape, 2)[..., 0],
    "booleans": lambda labels, soft: labels > 0,
    "a list": lambda labels, soft: labels.tolist(),
    "some ignored": lambda labels, soft: np.where(labels % 2, labels, -100).astype(np.int16),
    "soft": lambda labels, soft: soft,
    "soft, wide": lambda labels, soft: soft.astype(np.longdouble),
    "soft, strided": lambda labels, soft: np.repeat(soft, 2, axis=-1)[..., ::2],
    "soft, short": lambda labels, soft: soft[..., :-1],
}


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 1.0, 0, np.float64(0.1), 1.5, np.nan, "much"])
@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("name", LOSSES)
def test_targets_and_smoothing(sm, native_dtype, rng, name, target, smoothing):
    operation = OPERATIONS[name]
    function, general = both(sm, operation)
    for lead, k in [((), 3), ((6,), 5), ((200,), 33), ((3,), 300)]:
        operands = operation.draw(rng, native_dtype, lead, k)
        soft = sm.softmax(rng.standard_normal((*lead, k)).astype(native_dtype))
        operands["target"] = TARGETS[target](operands["target"], soft)
        keywords = operation.keywords | {"label_smoothing": smoothing}
        got, expected = (outcome(f, **operands, **keywords) for f in (function, general))
        assert_alike(operation, got, expected)


WEIGHTS = {
    "plain": lambda w: w,
    "some 0": lambda w: np.where(np.arange(w.size) % 2, w, 0).astype(w.dtype),
    "all 0": lambda w: w * 0,
    "negative": lambda w: -w,
    "infinite": lambda w: np.where(np.arange(w.size) == 1, np.inf, w).astype(w.dtype),
    "wide": lambda w: w.astype(np.longdouble),
    "strided": lambda w: np.repeat(w, 2)[::2],
    "read-only": lambda w: read_only(w),
    "short": lambda w: w[:-1],
    "a list": lambda w: w.tolist(),
    "0-d": lambda w: w[0],
}


def read_only(a):
    a.setflags(write=False)
    return a


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("target", ["uint8", "some ignored", "soft"])
@pytest.mark.parametrize("weight", WEIGHTS)
@pytest.mark.parametrize("name", LOSSES)
def test_weights(sm, native_dtype, rng, name, weight, target, reduction):
    operation = OPERATIONS[name]
    function, general = both(sm, operation)
    for lead, k, smoothing in [((), 3, 0.0), ((6,), 5, 0.1), ((200,), 33, 0.0)]:
        operands = operation.draw(rng, native_dtype, lead, k)
        soft = sm.softmax(rng.standard_normal((*lead, k)).astype(native_dtype))
        operands["target"] = TARGETS[target](operands["target"], soft)
        operands["weight"] = WEIGHTS[weight](rng.random(k).astype(native_dtype))
        keywords = {"label_smoothing": smoothing, "reduction": reduction}
        got, expected = (outcome(f, **operands, **keywords) for f in (function, general))
        assert_alike(operation, got, expected)


@pytest.mark.parametrize("label", [-101, -1, 5, 2**40])
@pytest.mark.parametrize("name", ["cross_entropy_with_grad", "linear_cross_entropy_with_grad"])
def test_wrong_labels(sm, native_dtype, rng, name, label):
    operation = OPERATIONS[name]
    function, general = both(sm, operation)
    operands = operation.draw(rng, native_dtype)
    operands["target"][2] = label
    out = {"out": np.full((4, 5), 7, native_dtype)} if operation.has_out else {}
    error = outcome(function, *operands.values(), **out)
    assert error == outcome(general, *operands.values())
    assert error[0] is ValueError
    assert all((a == 7).all() for a in out.values())


# ---- What a function is --------------------------------------------------------------------------


@every(OPERATIONS)
def test_is_like_a_function(operation):
    function, general = both(smcore, operation)
    assert function.__name__ == operation.name and operation.name in repr(function)
    assert inspect.isroutine(function)
    assert inspect.signature(function) == inspect.signature(general)
    assert function.__doc__ == general.__doc__ and function.__module__ == general.__module__
    assert copy.deepcopy(function) is function

    class Holder:
        method = function

    assert Holder.method is function
    assert Holder().method.__self__.__class__ is Holder


def test_by_call(sm, rng):
    """What `map`, `apply` and a tuple of arguments come down to."""
    x = rng.standard_normal((3, 5))
    expected = sm.softmax(x)
    assert_identical(sm.softmax.__call__(x, axis=-1), expected)
    assert_identical(np.stack(list(map(sm.softmax, x))), expected)
    assert_identical(sm.softmax(*(x,), **{"out": None}), expected)
