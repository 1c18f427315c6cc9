"""Any strides, byte order, alignment, read-only memory, `out` over an input; inputs unchanged."""

from __future__ import annotations

import sys

import layouts
import numpy as np
import pytest
from cases import OPERATIONS, ROWWISE, WITH_OUT, assert_identical, every, results

pytestmark = pytest.mark.light_on("numpy", "best")


def bits(a):
    return a.tobytes()


def assert_same_values(operation, got, expected):
    """To the bit, but where a matrix product is in between: BLAS may sum in another order."""
    if operation.rowwise or operation.name in ("softmax_layer_jacobian", "linear_weight_jacobian"):
        assert_identical(got, expected)
        return
    for one, other in zip(results(got), results(expected), strict=True):
        assert one.dtype == other.dtype
        tolerance = {2: 4e-2, 4: 1e-5}.get(one.dtype.itemsize, 1e-13)
        np.testing.assert_allclose(
            one.astype(float), other.astype(float), rtol=tolerance, atol=tolerance
        )


# ---- Inputs --------------------------------------------------------------------------------------


@every(OPERATIONS)
@pytest.mark.parametrize("layout", layouts.INPUTS)
def test_layout_of_the_inputs(sm, dtype, rng, operation, layout):
    lead = (3, 4) if operation.rowwise else (4,)
    operands = operation.draw(rng, dtype, lead)
    laid_out = {name: layouts.INPUTS[layout](a) for name, a in operands.items()}
    before = {name: bits(a) for name, a in laid_out.items()}
    got = operation(sm, laid_out)
    assert_same_values(operation, got, operation(sm, operands))
    assert before == {name: bits(a) for name, a in laid_out.items()}, "an input changed"
    for result in results(got):
        assert result.dtype.isnative
        assert not any(np.may_share_memory(result, a) for a in laid_out.values())


@every(ROWWISE)
@pytest.mark.parametrize("layout", ["c_order", "fortran_order", "strided", "reversed"])
@pytest.mark.parametrize("axis", [0, 1, 2, -2])
def test_class_axis_anywhere_in_memory(sm, native_dtype, rng, operation, layout, axis):
    operands = operation.draw(rng, native_dtype, (3, 4), 17)
    expected = results(operation(sm, operands))
    full = operation.full(operands)
    moved = {
        name: layouts.INPUTS[layout](np.moveaxis(a, -1, axis) if name in full else a)
        for name, a in operands.items()
    }
    for got, value in zip(results(operation(sm, moved, axis=axis)), expected, strict=True):
        like_x = got.ndim == 3 and operation.like
        np.testing.assert_array_equal(got, np.moveaxis(value, -1, axis) if like_x else value)


@every(ROWWISE)
@pytest.mark.parametrize("shape", [(4, 1, 1), (1, 3, 1), (1, 1, 5), (1, 1, 1)])
def test_broadcast_views(sm, dtype, rng, operation, shape):
    """Strides of zero."""
    operands = {}
    for name, a in operation.draw(rng, dtype, (4, 3)).items():
        part = a[tuple(slice(None, n) for n in shape[: a.ndim])]
        operands[name] = np.broadcast_to(part, a.shape)
    copies = {name: a.copy() for name, a in operands.items()}
    assert_identical(operation(sm, operands), operation(sm, copies))


@every(OPERATIONS)
def test_read_only_memmap(sm, dtype, rng, operation, tmp_path):
    operands = operation.draw(rng, dtype)
    mapped = {name: layouts.memmap(a, tmp_path / name) for name, a in operands.items()}
    expected = operation(sm, operands)
    assert_same_values(operation, operation(sm, mapped), expected)


@every(ROWWISE)
def test_many_leading_axes(sm, native_dtype, rng, operation):
    """More axes than the kernels walk, in an order that cannot be merged."""
    operands = operation.draw(rng, native_dtype, (2, 3, 2, 3), 5)
    expected = operation(sm, {name: a.reshape(36, *a.shape[4:]) for name, a in operands.items()})
    scattered = {}
    for name, a in operands.items():
        space = np.zeros((3, 2, 3, 2, *[2 * n for n in a.shape[4:]]), a.dtype)
        view = space.transpose(1, 2, 3, 0, *range(4, space.ndim))[
            (..., *[slice(None, None, 2)] * (a.ndim - 4))
        ]
        view[...] = a
        scattered[name] = view
    got = results(operation(sm, scattered))
    assert_identical(tuple(r.reshape(36, *r.shape[4:]) for r in got), results(expected))


@pytest.mark.skipif(sys.platform == "win32", reason="pages are protected by mprotect")
@every({**ROWWISE, "softmax_layer_jacobian": OPERATIONS["softmax_layer_jacobian"]})
@pytest.mark.parametrize("at_end", [True, False])
def test_nothing_beyond_the_arrays_is_touched(sm, native_dtype, rng, operation, at_end):
    for lead, k in [((1,), 1), ((7,), 2), ((3,), 5), ((17,), 10), ((1,), 33), ((2,), 101)]:
        operands = operation.draw(rng, native_dtype, lead, k)
        expected = operation(sm, operands)
        operands = {name: layouts.guarded(a, at_end=at_end) for name, a in operands.items()}
        assert_identical(operation(sm, operands), expected)
        if operation.has_out:
            out = layouts.guarded(results(expected)[-1], at_end=at_end)
            assert_identical(operation(sm, operands, out=out), expected)


@pytest.mark.heavy
@pytest.mark.skipif(sys.platform == "win32", reason="pages are protected by mprotect")
@every({name: o for name, o in ROWWISE.items() if "jacobian" not in name})
@pytest.mark.parametrize("at_end", [True, False])
def test_nothing_beyond_reversed_rows_is_touched(sm, rng, operation, at_end):
    """Rows that are packed, of arrays that no cache holds: what is fetched ahead is inside, too."""
    operands = operation.draw(rng, np.float32, (30208,), 96)

    def guarded(a):
        return layouts.guarded(a[..., ::-1], at_end=at_end)[..., ::-1]

    with sm.set_num_threads(1):
        expected = operation(sm, operands)
        full = operation.full(operands)
        operands = {name: guarded(a) if name in full else a for name, a in operands.items()}
        assert_identical(operation(sm, operands), expected)
        if operation.like:
            out = guarded(results(expected)[-1])
            assert_identical(operation(sm, operands, out=out), expected)


@every(WITH_OUT)
@pytest.mark.parametrize("columns", [4, 8, 16, 32])
def test_columns_beside_the_output_are_not_touched(sm, native_dtype, rng, operation, columns):
    """Some of the columns of a matrix that is as wide as some vector has lanes."""
    if not (operation.rowwise and operation.like):
        pytest.skip("its output has no such columns")
    for used in range(1, columns):
        operands = operation.draw(rng, native_dtype, (used,), 17)
        expected = operation.buffer(operation(sm, operands))
        moved = {}
        for name, a in operands.items():
            if name in operation.full(operands):
                a = np.hstack([a.T, np.ones((17, columns - used), a.dtype)])[:, :used]
            moved[name] = a
        space = np.full((17, columns), 77, native_dtype)
        operation(sm, moved, axis=0, out=space[:, :used])
        assert (space[:, used:] == 77).all()
        np.testing.assert_array_equal(space[:, :used], expected.T)


@every(WITH_OUT)
@pytest.mark.parametrize("gap", [0, 3])
@pytest.mark.parametrize("k", [17, 70, 127, 200])
def test_gaps_between_the_rows_of_the_output_are_not_touched(
    sm, native_dtype, rng, operation, k, gap
):
    """Of more rows than any vector has lanes; what lies after the last one, as well."""
    if not (operation.rowwise and operation.like):
        pytest.skip("its output has no such rows")
    operands = operation.draw(rng, native_dtype, (37,), k)
    expected = results(operation(sm, operands))
    space = np.full((38, k + gap), 77, native_dtype)
    rows = space.reshape(-1)[: 37 * (k + gap)].reshape(37, k + gap)
    assert_identical(results(operation(sm, operands, out=rows[:, :k])), expected)
    assert (rows[:, k:] == 77).all() and (space[37] == 77).all()
    for name in operation.full(operands):  # the result in the place of an input
        rows[:, :k] = operands[name]
        got = operation(sm, {**operands, name: rows[:, :k]}, out=rows[:, :k])
        assert_identical(results(got), expected)
        assert (rows[:, k:] == 77).all() and (space[37] == 77).all()


def test_subclasses_and_other_array_likes(sm, rng):
    x = rng.standard_normal((3, 4))

    class Wrapped:
        def __array__(self, dtype=None, copy=None):
            return x

    class Marked(np.ndarray):
        pass

    for value in (x.tolist(), Wrapped(), memoryview(x), x.view(Marked)):
        got = sm.softmax(value)
        assert type(got) is np.ndarray
        assert_identical(got, sm.softmax(x))


def test_axes_merged_without_a_view(sm, native_dtype, rng):
    x = rng.standard_normal((4, 5, 6)).astype(native_dtype)
    expected = sm.softmax(x, (0, 2))
    for layout in layouts.INPUTS.values():
        assert_identical(sm.softmax(layout(x), (0, 2)), expected)
        out = np.empty_like(x)
        assert sm.softmax(layout(x), (0, 2), out=out) is out
        assert_identical(out, expected)


# ---- out -----------------------------------------------------------------------------------------


@every(WITH_OUT)
@pytest.mark.parametrize("layout", layouts.OUTPUTS)
def test_layout_of_out(sm, dtype, rng, operation, layout):
    """Written wherever it lies, returned itself; not a byte beside it is touched."""
    lead = (3, 4) if operation.rowwise else (4,)
    operands = operation.draw(rng, dtype, lead)
    expected = operation(sm, operands)
    buffer = results(expected)[-1]
    out = layouts.OUTPUTS[layout](np.full(buffer.shape, layouts.CANARY).astype(dtype))
    memory = layouts.owner_bytes(out)
    before = memory.copy()
    got = operation(sm, operands, out=out)
    assert (got[-1] if isinstance(got, tuple) else got) is out
    assert_same_values(operation, (*results(got)[:-1], out.astype(dtype)), expected)
    if dtype != np.longdouble:  # whose padding may hold anything
        out[...] = np.full(buffer.shape, layouts.CANARY).astype(dtype)
        np.testing.assert_array_equal(memory, before)


@every({name: o for name, o in WITH_OUT.items() if o.like})
@pytest.mark.parametrize(
    "layout", ["c_order", "fortran_order", "strided", "reversed", "unaligned", "byte_swapped"]
)
@pytest.mark.parametrize("axis", [-1, 0])
def test_out_may_be_an_input(sm, dtype, rng, operation, layout, axis):
    operands = operation.draw(rng, dtype, (3, 4), 17)
    full = operation.full(operands)
    operands = {
        name: np.moveaxis(a, -1, axis) if name in full else a for name, a in operands.items()
    }
    expected = operation(sm, operands, axis=axis)
    for name in operation.like:
        given = {**operands, name: layouts.INPUTS[layout](operands[name])}
        got = operation(sm, given, axis=axis, out=given[name])
        assert (got[-1] if isinstance(got, tuple) else got) is given[name]
        assert_identical(tuple(r.astype(r.dtype.newbyteorder("=")) for r in results(got)), expected)


@every({name: o for name, o in WITH_OUT.items() if o.like})
@pytest.mark.parametrize("shift", [(0, 1), (1, 0), (0, -1), (-1, 0), (1, 1), (2, -3)])
def test_out_may_overlap_an_input(sm, native_dtype, rng, operation, shift):
    """Shifted by some elements, before or behind."""
    operands = operation.draw(rng, native_dtype, (6,), 9)
    expected = operation(sm, operands)
    for name in operation.like:
        space = np.zeros((14, 17), native_dtype)
        source = space[4:10, 4:13]
        source[...] = operands[name]
        out = space[4 + shift[0] : 10 + shift[0], 4 + shift[1] : 13 + shift[1]]
        got = operation(sm, {**operands, name: source}, out=out)
        assert_identical((*results(got)[:-1], out), expected)


@pytest.mark.parametrize("order", ["C", "F"])
def test_out_may_overlap_the_weights_of_a_large_layer(sm, native_dtype, rng, order):
    """Also where the rows are multiplied in blocks."""
    n, d, k = 300, 300, 20
    memory = np.zeros((d, k), native_dtype, order)
    x, W = (rng.standard_normal(shape).astype(native_dtype) for shape in ((n, d), (d, k)))
    memory[...] = W / np.sqrt(d)
    expected = sm.softmax_layer(x, np.array(memory, order=order))
    found = sm.softmax_layer(x, memory, out=memory)
    np.testing.assert_allclose(found, expected, rtol=300 * np.finfo(native_dtype).eps)


@every({name: o for name, o in WITH_OUT.items() if o.like})
def test_out_may_be_an_input_transposed_or_reversed(sm, native_dtype, rng, operation):
    operands = operation.draw(rng, native_dtype, (7,), 7)
    expected = operation(sm, operands)
    for name in operation.like:
        for view in (
            lambda a: a.T,
            lambda a: a[::-1],
            lambda a: a[:, ::-1],
            lambda a: a[::-1, ::-1].T,
        ):
            source = operands[name].copy()
            got = operation(sm, {**operands, name: source}, out=view(source))
            assert_identical((*results(got)[:-1], view(source)), expected)


def test_out_overlapping_where_the_results_are_smaller_or_larger(sm, native_dtype, rng):
    space = rng.standard_normal((9, 9, 9)).astype(native_dtype)
    for offset in range(8):
        a = space.copy()
        x = a[:9, 0, :9]
        expected = sm.logsumexp(x.copy())
        assert_identical(sm.logsumexp(x, out=a[offset, 0]), expected)
        assert_identical(a[offset, 0], expected)
        a = space.copy()
        s = sm.softmax(space[0])
        a[offset] = s
        expected = sm.softmax_jacobian(s)
        assert_identical(sm.softmax_jacobian(a[offset], out=a), expected)
        assert_identical(a, expected)


def test_where_may_overlap_out(sm):
    """The mask is read before anything is written over it."""
    space = np.array([[0, 1, 2, 3], [3, 1, 0, 1]], np.float64)
    where = np.frombuffer(space.data, bool).reshape(2, 32)[:, ::8]  # bytes of the logits themselves
    x = np.ones((2, 4))
    expected = sm.softmax(x, where=where.copy())
    assert_identical(sm.softmax(x, where=where, out=space), expected)


SPACE = 128


@pytest.mark.parametrize(
    "name, arguments, keyword, shape",
    [
        ("softmax_vjp", {"s": (4, 5), "g": (5,)}, {}, (4, 5)),
        ("log_softmax_jvp", {"log_s": (4, 5), "v": (4, 1)}, {}, (4, 5)),
        ("logsumexp_vjp", {"x": (4, 5), "lse": (4,), "g": (4,)}, {}, (4, 5)),
        ("logsumexp", {"x": (4, 5)}, {"b": (4, 5)}, (4,)),
        ("logsumexp", {"x": (4, 5)}, {"b": (5,)}, (4,)),
        ("softmax_layer", {"x": (4, 3), "W": (3, 5), "b": (5,)}, {}, (4, 5)),
        ("softmax_layer_jacobian", {"s": (2, 3), "x": (2, 4)}, {}, (2, 3, 12)),
        ("cross_entropy_with_grad", {"x": (4, 5), "target": (4, 5)}, {}, (4, 5)),
        ("cross_entropy_with_grad", {"x": (4, 5), "target": (4, 5)}, {"weight": (5,)}, (4, 5)),
    ],
)
@pytest.mark.parametrize("shift", [0, 1, 3])
def test_out_may_overlap_any_argument(
    sm, native_dtype, rng, name, arguments, keyword, shape, shift
):
    """The other operands are read before they are overwritten, whatever their shapes."""
    values = {
        key: rng.random(size).astype(native_dtype) for key, size in (arguments | keyword).items()
    }
    positional = [values[key] for key in arguments]
    expected = getattr(sm, name)(*positional, **{key: values[key] for key in keyword})
    for key, value in values.items():
        space = np.zeros(SPACE, native_dtype)
        given = {**values, key: space[shift : shift + value.size].reshape(value.shape)}
        given[key][...] = value
        out = space[: np.prod(shape)].reshape(shape)
        keywords = {key: given[key] for key in keyword}
        got = getattr(sm, name)(*[given[key] for key in arguments], **keywords, out=out)
        *losses, _ = results(got)
        for one, other in zip(losses, results(expected), strict=False):
            # a mean: its sum in another order
            np.testing.assert_allclose(one, other, rtol=2 * np.finfo(native_dtype).eps, atol=0)
        assert_identical(out, results(expected)[-1])
        assert results(got)[-1] is out


def test_labels_may_overlap_out(sm, rng):
    x, target = rng.standard_normal((6, 5)), rng.integers(5, size=6)
    expected = sm.cross_entropy_with_grad(x, target)
    space = np.zeros(30)
    labels = space.view(np.int64)[3:9]
    labels[...] = target
    assert_identical(sm.cross_entropy_with_grad(x, labels, out=space.reshape(6, 5)), expected)


@pytest.mark.parametrize("name", ["softmax", "log_softmax"])
def test_where_with_out_in_place(sm, dtype, rng, name):
    x = rng.standard_normal((3, 9)).astype(dtype)
    where = rng.random((3, 9)) < 0.5
    x[~where] = np.nan
    expected = getattr(sm, name)(x, where=where)
    assert getattr(sm, name)(x, where=where, out=x) is x
    assert_identical(x, expected)


@every(WITH_OUT)
def test_out_of_a_single_row(sm, dtype, rng, operation):
    if operation.name in ("logsumexp",):
        operands = operation.draw(rng, dtype, ())
        out = np.empty((), dtype)
        assert operation(sm, operands, out=out) is out
        assert out == operation(sm, operands)
        return
    operands = operation.draw(rng, dtype, ())
    expected = operation(sm, operands)
    out = np.empty_like(results(expected)[-1])
    assert_identical(operation(sm, operands, out=out), expected)
    assert_identical(out, results(expected)[-1])


@pytest.mark.parametrize("keepdims", [False, True])
def test_out_of_logsumexp(sm, dtype, rng, keepdims):
    x = rng.standard_normal((3, 4, 5)).astype(dtype)
    for options in ({}, {"b": np.ones(5, dtype)}, {"return_sign": True}, {"where": x > -1}):
        expected = sm.logsumexp(x, 1, keepdims=keepdims, **options)
        out = np.empty((3, 1, 5) if keepdims else (3, 5), dtype)
        got = sm.logsumexp(x, 1, keepdims=keepdims, out=out, **options)
        assert (got[0] if "return_sign" in options else got) is out
        assert_identical(got, expected)


def test_out_subclass_is_returned_itself(sm, rng, tmp_path):
    x = rng.standard_normal((3, 4))
    out = np.memmap(tmp_path / "out", np.float64, "w+", shape=(3, 4))
    assert sm.softmax(x, out=out) is out
    assert_identical(np.asarray(out), sm.softmax(x))


# ---- Inputs besides the operands -----------------------------------------------------------------


@pytest.mark.parametrize("name", ["where", "b", "weight", "target", "soft target"])
def test_other_arguments_do_not_change(sm, rng, name):
    x = rng.standard_normal((3, 5))
    given = {
        "where": rng.random((3, 5)) < 0.5,
        "b": rng.standard_normal((3, 5)),
        "weight": rng.uniform(1, 2, 5),
        "target": np.array([0, -100, 2]),
        "soft target": rng.dirichlet(np.ones(5), 3),
    }[name]
    for layout in layouts.INPUTS.values():
        argument = layout(given)
        before = bits(argument)
        if name == "where":
            got = sm.softmax(x, where=argument), sm.logsumexp(x, where=argument)
            expected = sm.softmax(x, where=given), sm.logsumexp(x, where=given)
        elif name == "b":
            got, expected = sm.logsumexp(x, b=argument), sm.logsumexp(x, b=given)
        elif name == "weight":
            got = sm.cross_entropy_with_grad(x, [0, 1, 2], weight=argument)
            expected = sm.cross_entropy_with_grad(x, [0, 1, 2], weight=given)
        else:
            got = sm.cross_entropy_with_grad(x, argument)
            expected = sm.cross_entropy_with_grad(x, given)
        assert_identical(got, expected)
        assert bits(argument) == before
