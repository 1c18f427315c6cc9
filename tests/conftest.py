"""Everything runs on every implementation and every dtype.

`sm` is the package on one implementation after the other: the NumPy backend, then each target that
this processor can run. Nothing inside the package is patched for it. When the native backend is the
one in use, the NumPy one is a second copy of the package, imported under ``SMCORE_BACKEND=numpy``.
"""

from __future__ import annotations

import importlib
import os
import runpy
import sys
from collections.abc import Iterator
from types import ModuleType

import cases
import numpy as np
import pytest
from commands import Outcome
from hypothesis import settings

import smcore

# examples are drawn the same way on every run and machine: a failure is always the change's doing
settings.register_profile("smcore", deadline=None, database=None, derandomize=True, max_examples=60)
settings.load_profile("smcore")

IMPLEMENTATIONS = ("numpy", *smcore.targets())
BEST, OTHERS = smcore.targets()[:1], smcore.targets()[1:]


@pytest.hookimpl(tryfirst=True)  # before pytest looks at the marks
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out longdouble on the targets: there, too, NumPy serves it (see `test_api.py`).

    A test marked `light_on` some implementations becomes `heavy` on the others.
    """

    def parameter(item: pytest.Item, name: str) -> object:
        return item.callspec.params.get(name) if hasattr(item, "callspec") else None

    def is_redundant(item: pytest.Item) -> bool:
        return parameter(item, "dtype") == "longdouble" and parameter(item, "sm") in OTHERS + BEST

    redundant = [item for item in items if is_redundant(item)]
    config.hook.pytest_deselected(items=redundant)
    items[:] = [item for item in items if not is_redundant(item)]
    for item in items:
        light_on = item.get_closest_marker("light_on")
        name = parameter(item, "sm") or parameter(item, "native")
        if light_on and name and ("best" if name in BEST else name) not in light_on.args:
            item.add_marker("heavy")


def numpy_copy() -> ModuleType:
    """The package once more, on the NumPy backend, beside the one already imported."""

    def ours(modules: dict[str, ModuleType]) -> dict[str, ModuleType]:
        return {name: m for name, m in modules.items() if name.partition(".")[0] == "smcore"}

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SMCORE_BACKEND", "numpy")
        patch.delenv("SMCORE_TARGET", raising=False)
        kept = ours(sys.modules)
        try:
            for name in kept:
                del sys.modules[name]
            return importlib.import_module("smcore")
        finally:
            for name in ours(sys.modules):
                del sys.modules[name]
            sys.modules.update(kept)


@pytest.fixture(scope="session")
def numpy_smcore() -> ModuleType:
    """The package on the NumPy backend."""
    return smcore if smcore.backend() == "numpy" else numpy_copy()


@pytest.fixture(scope="module", params=IMPLEMENTATIONS)
def sm(request: pytest.FixtureRequest, numpy_smcore: ModuleType) -> Iterator[ModuleType]:
    """The package on one implementation: ``numpy``, or a native target."""
    if request.param == "numpy":
        yield numpy_smcore
    else:
        with smcore.use_target(request.param):
            yield smcore


@pytest.fixture(params=cases.DTYPES)
def dtype(request: pytest.FixtureRequest) -> np.dtype:
    """Each dtype the package computes in or returns."""
    return cases.dtype_named(request.param)


@pytest.fixture(params=("float32", "float64"))
def native_dtype(request: pytest.FixtureRequest) -> np.dtype:
    """The two dtypes the kernels are written for."""
    return np.dtype(request.param)


@pytest.fixture
def rng() -> np.random.Generator:
    """A generator that starts alike in every test."""
    return np.random.default_rng(20240607)


@pytest.fixture
def environment() -> dict[str, str]:
    """What a child process needs to import the same package, wherever it runs; nothing forced."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("SMCORE_")}
    if "PYTHONPATH" in kept:
        paths = kept["PYTHONPATH"].split(os.pathsep)
        kept["PYTHONPATH"] = os.pathsep.join(map(os.path.abspath, filter(None, paths)))
    return kept


@pytest.fixture
def run(monkeypatch, tmp_path, capsys):
    """Run ``python -m smcore`` with these arguments in an empty directory."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str) -> Outcome:
        monkeypatch.setattr(sys, "argv", ["smcore", *map(str, arguments)])
        with pytest.raises(SystemExit) as stop:
            runpy.run_module("smcore", run_name="__main__", alter_sys=True)
        return Outcome(stop.value.code or 0, capsys.readouterr())

    return run


@pytest.fixture
def demo():
    """The packages that training needs beyond NumPy."""
    for name in ("sklearn", "matplotlib", "rich"):
        pytest.importorskip(name)
