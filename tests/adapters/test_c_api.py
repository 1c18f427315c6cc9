"""The C API, called from modules compiled here: what C and Cython get is what Python returns."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from cases import dtype_named

import smcore

if smcore.backend() != "native":
    pytest.skip("the native backend is not in use", allow_module_level=True)
pytest.importorskip("Cython")
pytest.importorskip("setuptools")
if not any(map(shutil.which, ("cc", "gcc", "clang", "cl"))):
    pytest.skip("there is no C compiler", allow_module_level=True)
if not Path(sysconfig.get_path("include"), "Python.h").is_file():
    pytest.skip("the headers of Python are not installed", allow_module_level=True)

HERE = Path(__file__).parent
PAGE = HERE.parents[1] / "docs" / "integrations" / "c.md"
DTYPES = ("float32", "float64", "float16", "bfloat16")  # in the order of SMCORE_F32 and so on
N, K = 7, 37
SETUP = """
import smcore
from Cython.Build import cythonize
from setuptools import Extension, setup
in_c = Extension("calls_in_c", ["calls_in_c.c"], include_dirs=[INCLUDE])
setup(name="calls", ext_modules=[in_c, *cythonize(CYTHON)])
"""


def run(folder: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("SMCORE_")}
    command = [sys.executable, *arguments]
    return subprocess.run(
        command, cwd=folder, env={**kept, **variables}, capture_output=True, text=True, timeout=300
    )


def build(folder: Path) -> None:
    """As quickly as can be: without optimization."""
    flags = {} if os.name == "nt" else {"CFLAGS": "-O0"}
    found = run(folder, "setup.py", "--quiet", "build_ext", "--inplace", **flags)
    assert found.returncode == 0, found.stdout + found.stderr


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of modules that call every function."""
    folder = tmp_path_factory.mktemp("calls")
    for source in (HERE / "c_api").iterdir():
        shutil.copy(source, folder)
    setup = SETUP.replace("INCLUDE", "smcore.get_include()").replace("CYTHON", "'*.pyx'")
    (folder / "setup.py").write_text(setup)
    build(folder)
    return folder


def load(folder: Path, name: str) -> ModuleType:
    (path,) = (p for p in folder.glob(f"{name}.*") if p.suffix in (".so", ".pyd"))
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module", params=["calls_in_c", "calls_in_cython"])
def calls(request: pytest.FixtureRequest, built: Path) -> ModuleType:
    return load(built, request.param)


def plain(a):
    return np.ascontiguousarray(a)


def columns(a):
    return np.asfortranarray(a)


def sliced(a):
    wide = np.zeros((2 * a.shape[0], a.shape[1] + 3), a.dtype)
    wide[::2, 3:] = a
    return wide[::2, 3:]


def backwards(a):
    return plain(a[::-1, ::-1])[::-1, ::-1]


def repeated(a):
    return np.broadcast_to(a[:1], a.shape)


LAYOUTS = [plain, columns, sliced, backwards, repeated]


def rows(a) -> tuple[int, int, int]:
    """A pointer and two strides, in elements."""
    return (a.ctypes.data, *(stride // a.itemsize for stride in a.strides))


def values(a) -> int:
    return a.ctypes.data


def assert_bits(got, expected) -> None:
    assert got.dtype == expected.dtype
    assert got.tobytes() == expected.tobytes()


class Operands:
    """What all functions take, of one dtype, in one layout."""

    def __init__(self, dtype: str, layout) -> None:
        rng = np.random.default_rng(5)
        self.number, self.dtype = DTYPES.index(dtype), dtype_named(dtype)
        self.computed = np.dtype("float64" if dtype == "float64" else "float32")
        draw = rng.standard_normal((N, K)) * 4
        draw[2] = -np.inf, *draw[2, 1:]
        draw[3, 5] = 80
        self.x = layout(draw.astype(self.dtype))
        self.g = layout(rng.standard_normal((N, K)).astype(self.dtype))
        self.s = layout(smcore.softmax(self.x))
        self.log_s = layout(smcore.log_softmax(self.x))
        self.lse = smcore.logsumexp(self.x)
        self.h = rng.standard_normal(N).astype(self.dtype)
        self.labels = rng.integers(K, size=N)
        self.labels[4] = -100
        self.weight = rng.random(K).astype(self.computed)
        self.sample = rng.random(N).astype(self.computed)
        self.sample[1] = 0
        self.start = self.number, N, K
        self._layout = plain if layout is repeated else layout

    def out(self):
        return self._layout(np.full((N, K), 7, self.dtype))

    def by_row(self):
        return np.full(N, 7, self.computed)


@pytest.fixture(params=DTYPES)
def dtype_name(request: pytest.FixtureRequest) -> str:
    return request.param


# All layouts on the best target, and one on each of the others.
WAYS = [(layout, smcore.targets()[0]) for layout in LAYOUTS]
WAYS += [(plain, target) for target in smcore.targets()[1:]]


@pytest.fixture(params=WAYS, ids=lambda way: f"{way[0].__name__}-{way[1]}")
def o(request: pytest.FixtureRequest, dtype_name: str) -> Iterator[Operands]:
    layout, target = request.param
    with smcore.use_target(target):
        yield Operands(dtype_name, layout)


@pytest.mark.parametrize("name", ["softmax", "log_softmax"])
def test_softmax(calls, o, name):
    for scale in (1.0, -0.25):
        got, expected = o.out(), o.out()
        call = getattr(calls, f"{name}_rows")
        assert call(*o.start, *rows(o.x), *rows(got), scale) == 0
        assert_bits(got, getattr(smcore, name)(o.x, scale=scale, out=expected))


def test_in_place(calls, o):
    x = o.out()
    x[...] = o.x
    assert calls.softmax_rows(*o.start, *rows(x), *rows(x), 1.0) == 0
    assert_bits(x, smcore.softmax(o.x, out=o.out()))


def test_logsumexp(calls, o):
    got = np.empty(N, o.dtype)
    assert calls.logsumexp_rows(*o.start, *rows(o.x), values(got)) == 0
    assert_bits(got, smcore.logsumexp(o.x))


@pytest.mark.parametrize("name", ["softmax_vjp", "log_softmax_vjp", "log_softmax_jvp"])
def test_products(calls, o, name):
    s = o.s if name == "softmax_vjp" else o.log_s
    got, expected = o.out(), o.out()
    assert getattr(calls, f"{name}_rows")(*o.start, *rows(s), *rows(o.g), *rows(got)) == 0
    assert_bits(got, getattr(smcore, name)(s, o.g, out=expected))
    if name == "softmax_vjp":
        assert_bits(got, smcore.softmax_jvp(s, o.g, out=expected))


def test_logsumexp_vjp(calls, o):
    got, expected = o.out(), o.out()
    numbers = values(o.lse), values(o.h)
    assert calls.logsumexp_vjp_rows(*o.start, *rows(o.x), *numbers, *rows(got)) == 0
    assert_bits(got, smcore.logsumexp_vjp(o.x, o.lse, o.h, out=expected))


@pytest.mark.parametrize("kind", ["labels", "distributions"])
def test_cross_entropy(calls, o, kind):
    """With all that there is, then with as little as there can be."""
    x = np.where(np.isinf(o.x), -1, o.x) if kind == "distributions" else o.x
    target, t = (0, rows(o.s)) if kind == "distributions" else (values(o.labels), (0, 0, 0))
    grad, expected, loss, lse = o.out(), o.out(), o.by_row(), o.by_row()
    done = calls.cross_entropy_rows(
        *o.start, *rows(x), target, *t, values(o.weight), values(o.sample), 0.25, 0.5, 1.0,
        values(loss), values(lse), *rows(grad),
    )  # fmt: skip
    assert done == 0
    options = {"reduction": "none", "weight": o.weight, "sample_weight": o.sample}
    options.update(label_smoothing=0.25, z_loss=0.5)
    of = o.s if kind == "distributions" else o.labels
    found = smcore.cross_entropy_with_grad(x, of, return_lse=True, out=expected, **options)
    assert_bits(grad, expected)
    assert_bits(loss.astype(o.dtype), found[0])
    assert_bits(lse.astype(o.dtype), found[2])
    if o.dtype == o.computed:  # its last bit: of strided rows, Python sums otherwise
        total = calls.sum_values(o.number, N, values(loss))
        whole = smcore.cross_entropy(x, of, **{**options, "reduction": "sum"})
        assert total == pytest.approx(whole, rel=float(np.finfo(o.dtype).eps))
    bare = calls.cross_entropy_rows(
        *o.start, *rows(x), target, *t, 0, 0, 0.0, 0.0, 1.0, values(loss), 0, 0, 0, 0
    )
    assert bare == 0
    assert_bits(loss.astype(o.dtype), smcore.cross_entropy(x, of, reduction="none"))


def test_the_factor_is_that_of_a_mean(calls):
    o = Operands("float64", plain)
    grad, loss = o.out(), o.by_row()
    arguments = *rows(o.x), values(o.labels), 0, 0, 0, 0, 0, 0.0, 0.0, 1 / (N - 1)
    assert calls.cross_entropy_rows(*o.start, *arguments, values(loss), 0, *rows(grad)) == 0
    mean, expected = smcore.cross_entropy_with_grad(o.x, o.labels)
    assert_bits(grad, expected)
    assert calls.sum_values(1, N, values(loss)) / (N - 1) == mean


def test_what_is_refused(calls):
    """No such dtype, no classes, a label that is no class: nothing is written."""
    o = Operands("float32", plain)
    y, loss = o.out(), o.by_row()
    for start in ((4, N, K), (-1, N, K), (0, N, 0)):
        assert calls.softmax_rows(*start, *rows(o.x), *rows(y), 1.0) == -1
        assert calls.log_softmax_vjp_rows(*start, *rows(o.s), *rows(o.g), *rows(y)) == -1
        assert calls.logsumexp_rows(*start, *rows(o.x), values(loss)) == -1
    o.labels[-1] = K
    rest = 0, 0, 0, 0, 0, 0.0, 0.0, 1.0, values(loss), 0, *rows(y)
    assert calls.cross_entropy_rows(*o.start, *rows(o.x), values(o.labels), *rest) == -1
    assert (y == 7).all() and (loss == 7).all()
    assert np.isnan(calls.sum_values(2, N, values(loss)))


def test_no_rows_are_no_work(calls):
    assert calls.softmax_rows(0, 0, K, 0, 1, 1, 0, 1, 1, 1.0) == 0
    assert calls.cross_entropy_rows(0, 0, K, *[0] * 9, 0.0, 0.0, 1.0, 0, 0, 0, 0, 0) == 0
    assert calls.sum_values(0, 0, 0) == 0


def test_threads_call_at_once(calls):
    x = np.random.default_rng(3).standard_normal((400, 1000)).astype(np.float32)
    expected = smcore.softmax(x)

    def compute(_) -> bool:
        y = np.empty_like(x)
        calls.softmax_rows(0, *x.shape, *rows(x), *rows(y), 1.0)
        return y.tobytes() == expected.tobytes()

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(compute, range(40)))


@pytest.mark.parametrize("target", smcore.targets())
def test_no_flag_is_left(built, target):
    calls = load(built, "calls_in_c")
    for dtype in ("float32", "float64"):
        x = np.array([[0.0, -90, -103, -740, -744, -np.inf, 0]], dtype)
        y = np.empty_like(x)
        with smcore.use_target(target):
            assert calls.flags(DTYPES.index(dtype), *x.shape, *rows(x), *rows(y), 1.0) == 0


def test_dtypes_of_cython(built):
    found = load(built, "calls_in_cython").DTYPES
    assert found == {name: i for i, name in enumerate(DTYPES)}


# ---- Import --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["calls_in_c", "calls_in_cython"])
@pytest.mark.parametrize("backend", ["native", "numpy"])
def test_a_module_imports_smcore_itself(built, name, backend):
    code = f"import {name}; print({name}.softmax_rows(0, 0, 1, 0, 0, 0, 0, 0, 0, 1.0))"
    found = run(built, "-W", "error", "-c", code, SMCORE_BACKEND=backend)
    assert (found.returncode, found.stdout, found.stderr) == (0, "0\n", "")


IMPORTS = """
#include <Python.h>
#include <smcore.h>
static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, .m_name = "calls_in_c"};
PyMODINIT_FUNC PyInit_calls_in_c(void) {
  return smcore_import() == NULL ? NULL : PyModule_Create(&module);
}
"""


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("API_VERSION 1", "API_VERSION 2", r"version 2 .*installed has version 1.*a newer smcore"),
        ("API_VERSION 1", "API_VERSION 0", r"version 0 .*has version 1.*compile the module again"),
        ("} smcore_api;", "void *more; } smcore_api;", r"version 1 .*install a newer smcore"),
        ('"smcore._core"', '"smcore._no"', "without compiled kernels.*SMCORE_BUILD=c"),
    ],
)
def test_another_version_is_refused(tmp_path, old, new, message):
    header = Path(smcore.get_include(), "smcore.h").read_text()
    assert old in header
    (tmp_path / "smcore.h").write_text(header.replace(old, new))
    (tmp_path / "calls_in_c.c").write_text(IMPORTS)
    (tmp_path / "setup.py").write_text(SETUP.replace("INCLUDE", "'.'").replace("CYTHON", "[]"))
    build(tmp_path)
    found = run(tmp_path, "-c", "import calls_in_c")
    assert found.returncode == 1
    assert re.search(f"ImportError: .*{message}", found.stderr), found.stderr


def test_without_kernels_there_is_no_header(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(RuntimeError, match=r"without compiled kernels.*SMCORE_BUILD=c"):
        smcore.get_include()


# ---- The page ------------------------------------------------------------------------------------


def test_the_sources_on_the_page(tmp_path):
    """The module in C, that in Cython and what builds them, as they stand there."""
    blocks = re.findall(
        r"^```(?:c|cython|py)\n((?:/\*|#) (\S+).*?)^```$", PAGE.read_text(), re.M | re.S
    )
    assert {name for _, name in blocks} == {"in_c.c", "in_cython.pyx", "setup.py"}
    for source, name in blocks:
        (tmp_path / name).write_text(source)
    build(tmp_path)
    x = np.random.default_rng(1).standard_normal((5, 9)).astype(np.float32)
    in_c, in_cython = x[0].copy(), x.copy()
    load(tmp_path, "in_c").softmax(in_c)
    load(tmp_path, "in_cython").softmax(in_cython)
    assert_bits(in_c, smcore.softmax(x[0]))
    assert_bits(in_cython, smcore.softmax(x))
    with pytest.raises(TypeError, match="type float"):
        load(tmp_path, "in_c").softmax(x[0].astype(np.float64))
    with pytest.raises(ValueError, match="must have elements"):
        load(tmp_path, "in_c").softmax(x[0, :0])
