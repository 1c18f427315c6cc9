"""Names and signatures of the public functions, and of the backends, which must not drift apart."""

from __future__ import annotations

import ast
import importlib
import importlib.metadata
import importlib.resources
import inspect
import pickle
import pydoc
import subprocess
import sys
import typing
from types import ModuleType

import numpy as np
import pytest
import typing_cases
from cases import CONFIGURATION, KERNELS, OPERATIONS, OPERATORS, assert_identical, every

import smcore

pytestmark = pytest.mark.light_on("numpy", "best")

REDUCED = (
    "*, where=None, weight=None, sample_weight=None, ignore_index=-100, reduction='mean', "
    "label_smoothing=0.0"
)
LOSS = REDUCED + ", z_loss=0.0, return_lse=False"
SIGNATURES = {
    "softmax": "x, axis=-1, *, where=None, scale=1.0, dtype=None, out=None",
    "log_softmax": "x, axis=-1, *, where=None, scale=1.0, dtype=None, out=None",
    "logsumexp": "x, axis=-1, *, b=None, where=None, keepdims=False, return_sign=False, "
    "dtype=None, out=None",
    "softmax_jacobian": "s, axis=-1, *, where=None, out=None",
    "softmax_vjp": "s, g, axis=-1, *, where=None, out=None",
    "softmax_jvp": "s, v, axis=-1, *, where=None, out=None",
    "log_softmax_jacobian": "log_s, axis=-1, *, where=None, out=None",
    "log_softmax_vjp": "log_s, g, axis=-1, *, where=None, out=None",
    "log_softmax_jvp": "log_s, v, axis=-1, *, where=None, out=None",
    "logsumexp_vjp": "x, lse, g, axis=-1, *, where=None, out=None",
    "SoftmaxJacobian": "s, *, where=None",
    "SoftmaxLayerJacobian": "s, x",
    "softmax_layer": "x, W, b=None, *, out=None",
    "linear_weight_jacobian": "x, K",
    "softmax_layer_jacobian": "s, x, *, out=None",
    "softmax_layer_vjp": "s, x, W, g, *, wrt='Wbx'",
    "softmax_layer_jvp": "s, x, W, dW=None, db=None, dx=None",
    "cross_entropy": "x, target, " + LOSS.replace("*, ", "*, axis=-1, "),
    "cross_entropy_with_grad": "x, target, " + LOSS.replace("*, ", "*, axis=-1, ") + ", out=None",
    "cross_entropy_hvp": "s, v, target=None, "
    + REDUCED.replace("*, ", "*, axis=-1, ")
    + ", out=None",
    "linear_cross_entropy_hvp": "X, W, V, target=None, b=None, Vb=None, " + REDUCED + ", s=None",
    "linear_cross_entropy": "X, W, target, b=None, " + LOSS + ", block_bytes=None",
    "linear_cross_entropy_with_grad": "X, W, target, b=None, "
    + LOSS
    + ", block_bytes=None, wrt='XWb'",
    "logsumexp_partial": "x, axis=-1, *, where=None",
    "logsumexp_merge": "p, q",
    "logsumexp_finalize": "m, s",
    "softmax_from_lse": "x, lse, axis=-1, *, where=None, rest=None, out=None",
    "backend": "",
    "targets": "",
    "use_target": "name",
    "set_num_threads": "n",
    "get_include": "",
    "get_num_threads": "",
    "show_config": "",
}


def parameters(function) -> str:
    """The parameters as they are written in a call, without annotations."""
    signature = inspect.signature(function)
    plain = [p.replace(annotation=p.empty) for p in signature.parameters.values()]
    return str(inspect.Signature(plain)).strip("()").replace(", /", "")


# ---- The public functions ------------------------------------------------------------------------


def test_every_public_name_has_a_row_in_the_tables():
    """A function without a row is a function without a test."""
    public = OPERATIONS.keys() | OPERATORS | CONFIGURATION
    assert set(smcore.__all__) == public | {"__version__"}
    assert set(SIGNATURES) == public
    assert list(smcore.__all__) == sorted(smcore.__all__)


def test_nothing_else_is_public():
    public = {
        name
        for name, value in vars(smcore).items()
        if not name.startswith("_") and not isinstance(value, ModuleType)
    }
    assert public == set(smcore.__all__) - {"__version__"}


@pytest.mark.parametrize("name", SIGNATURES)
def test_signature(sm, name):
    assert parameters(getattr(sm, name)) == SIGNATURES[name]


@every(OPERATIONS)
def test_has_out_where_the_table_says_so(sm, operation):
    assert ("out" in inspect.signature(getattr(sm, operation.name)).parameters) == operation.has_out


@pytest.mark.parametrize("name", SIGNATURES)
def test_docstring(sm, name):
    """Numpydoc sections, an example, and every parameter described, on fast paths too."""
    function = getattr(sm, name)
    doc = inspect.getdoc(function)
    assert function.__name__ == name and doc and doc.splitlines()[0].endswith(".")
    assert "Examples\n--------" in doc and ">>> " in doc
    names = list(inspect.signature(function).parameters)
    assert not names or "Parameters\n----------" in doc
    for parameter in names:
        assert any(
            line.partition(" : ")[0].replace(" ", "").split(",").count(parameter)
            for line in doc.splitlines()
        ), parameter


@pytest.mark.parametrize("name", ["softmax", "log_softmax", "logsumexp"])
def test_docstring_tells_the_other_default_of_scipy_at_once(sm, name):
    assert "scipy" in "\n".join(inspect.getdoc(getattr(sm, name)).splitlines()[:5])


@every(OPERATIONS)
def test_operands_by_position_or_by_name(sm, rng, operation):
    operands = operation.draw(rng)
    by_name = getattr(sm, operation.name)(**operands, **operation.keywords)
    assert_identical(by_name, operation(sm, operands))


@pytest.mark.parametrize("name", SIGNATURES)
def test_functions_can_be_sent_to_another_process(name):
    function = getattr(smcore, name)
    assert pickle.loads(pickle.dumps(function)) is function


@every(OPERATIONS)
def test_functions_can_be_looked_at(sm, operation):
    """As what they are: by `inspect`, by `help` and by those that show types."""
    function = getattr(sm, operation.name)
    assert inspect.isfunction(function) and inspect.isroutine(function) and callable(function)
    signature = inspect.signature(function)
    found = inspect.getfullargspec(function)
    assert [*found.args, *found.kwonlyargs] == list(signature.parameters)
    assert found.varargs is None and found.varkw is None
    given = {**dict(zip(found.args[::-1], (found.defaults or ())[::-1], strict=False))}
    given.update(found.kwonlydefaults or {})
    assert given == {n: p.default for n, p in signature.parameters.items() if p.default != p.empty}
    assert typing.get_type_hints(function).keys() == {*signature.parameters, "return"}
    assert inspect.getdoc(function) == inspect.cleandoc(inspect.unwrap(function).__doc__)
    page = pydoc.render_doc(function, renderer=pydoc.plaintext)
    assert page.startswith(f"Python Library Documentation: function {operation.name} in module")
    assert f"{operation.name}(" in page and function.__doc__.splitlines()[0] in page
    assert f"def {operation.name}(" in inspect.getsource(function)


def test_what_the_annotations_accept_is_accepted():
    """The types themselves are for mypy and pyright, which the linters run."""
    typing_cases.run()


@pytest.mark.parametrize("kind", [np.int8, np.int64, np.uint16])
def test_numbers_of_numpy(sm, rng, kind):
    """As an axis, a label to ignore, a count, a factor: what Python's own number gives."""
    x, y, one = rng.standard_normal((3, 4)), np.array([1, 0, 3]), kind(1)
    for function in (sm.softmax, sm.logsumexp, sm.softmax_jacobian):
        assert_identical(function(x, one), function(x, 1))
        assert_identical(function(x, (kind(0), one)), function(x, (0, 1)))
    loss = sm.cross_entropy_with_grad
    given = {"axis": one, "ignore_index": one, "label_smoothing": np.float32(0.5), "z_loss": one}
    plain = {"axis": 1, "ignore_index": 1, "label_smoothing": 0.5, "z_loss": 1.0}
    assert_identical(loss(x, y, **given), loss(x, y, **plain))
    assert_identical(sm.softmax(x, scale=np.float16(0.5)), sm.softmax(x, scale=0.5))
    assert_identical(sm.softmax(x, scale=one), sm.softmax(x, scale=1))
    layer = sm.linear_cross_entropy
    assert_identical(layer(x, x.T, y % 3, block_bytes=kind(9)), layer(x, x.T, y % 3, block_bytes=9))
    assert_identical(sm.linear_weight_jacobian(x, kind(2)), sm.linear_weight_jacobian(x, 2))
    with sm.set_num_threads(one):
        assert sm.get_num_threads() == 1


def test_version():
    assert smcore.__version__.count(".") == 2
    try:
        installed = importlib.metadata.version("softmax-core")
    except importlib.metadata.PackageNotFoundError:
        pytest.skip("the distribution is not installed: the package is imported from a folder")
    assert smcore.__version__ == installed


def test_is_typed():
    assert importlib.resources.files("smcore").joinpath("py.typed").is_file()


def test_import_needs_numpy_alone(environment):
    code = """
import sys, numpy
before = set(sys.modules)
import smcore
new = {name.partition(".")[0] for name in set(sys.modules) - before} - {"smcore", "numpy"}
# an editable install brings its own finder; extension modules of Cython register their runtime
new = {name for name in new if not name.startswith(("_cython", "cython", "_editable"))}
print(*sorted(new - set(sys.stdlib_module_names)))
"""
    result = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], env=environment, capture_output=True, text=True
    )
    assert (result.returncode, result.stdout.strip(), result.stderr) == (0, "", "")


# ---- The backends --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def reference(numpy_smcore: ModuleType) -> ModuleType:
    """The NumPy backend's module."""
    return numpy_smcore._backend.core


def exported(module: ModuleType) -> dict[str, object]:
    return {
        name: value
        for name, value in vars(module).items()
        if name in module.__all__ or (not hasattr(module, "__all__") and not name.startswith("_"))
    }


@pytest.fixture(scope="module")
def native() -> ModuleType:
    """The native backend's module."""
    if smcore.backend() != "native":
        pytest.skip("the native backend is not in use")
    return smcore._backend.core


INTERFACE = {
    "NAME",
    "targets",
    "active_target",
    "set_target",
    "compiler",
    "set_num_threads",
    "get_num_threads",
    "fast_path",
}


def test_every_kernel_has_a_row_in_the_table(reference):
    assert set(reference.__all__) == KERNELS.keys() | INTERFACE


def test_backends_export_the_same_names(reference, native):
    assert [name for name in reference.__all__ if not hasattr(native, name)] == []
    functions = {
        name
        for name, value in vars(native).items()
        if callable(value) and not name.startswith("_") and not isinstance(value, type)
    }
    own = {
        name
        for name in functions
        if getattr(getattr(native, name), "__module__", None) == native.__name__
    }
    assert own <= set(reference.__all__), "the native backend exports what the NumPy one does not"


@pytest.mark.parametrize("name", sorted(KERNELS.keys() | INTERFACE - {"NAME"}))
def test_backends_have_the_same_signatures(reference, native, name):
    names = [
        list(inspect.signature(getattr(module, name)).parameters) for module in (reference, native)
    ]
    assert names[0] == names[1]


def test_stub_of_the_native_backend_matches_the_reference(reference):
    stub = importlib.resources.files("smcore").joinpath("_core.pyi")
    if not stub.is_file():
        pytest.skip("a pure build brings no stub of the native backend")
    functions = {
        node.name: node
        for node in ast.parse(stub.read_text()).body
        if isinstance(node, ast.FunctionDef)
    }
    assert KERNELS.keys() | INTERFACE - {"NAME"} <= functions.keys()
    for name in KERNELS.keys() | INTERFACE - {"NAME"}:
        arguments = functions[name].args
        names = [
            argument.arg
            for argument in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs)
        ]
        assert names == list(inspect.signature(getattr(reference, name)).parameters), name


def record_calls(monkeypatch, module: ModuleType, kernel: str) -> list[str]:
    """Put a spy in the place of a kernel."""
    calls, original = [], getattr(module, kernel)

    def spy(*arguments):
        calls.append(kernel)
        return original(*arguments)

    monkeypatch.setattr(module, kernel, spy)
    return calls


@pytest.mark.parametrize("kernel", KERNELS)
def test_public_function_reaches_its_kernel(numpy_smcore, reference, monkeypatch, rng, kernel):
    """So whoever tests the public functions tests every kernel."""
    calls = record_calls(monkeypatch, reference, kernel)
    operation = OPERATIONS[KERNELS[kernel]]
    operation(numpy_smcore, operation.draw(rng))
    assert calls


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.usefixtures("native")
def test_longdouble_is_served_by_numpy(monkeypatch, rng, kernel):
    module = importlib.import_module("smcore._reference")
    calls = record_calls(monkeypatch, module, kernel)
    operation = OPERATIONS[KERNELS[kernel]]
    operation(smcore, operation.draw(rng, np.longdouble))
    assert calls
