"""Which backend and which target: chosen, forced, and refused with the reason."""

from __future__ import annotations

import subprocess
import sys

import pytest

import smcore

NATIVE = smcore.backend() == "native"
needs_native = pytest.mark.skipif(not NATIVE, reason="the native backend is not in use")


def python(
    code: str, environment: dict[str, str], **forced: str
) -> subprocess.CompletedProcess[str]:
    """Run code in a new interpreter, warnings being errors."""
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        env={**environment, **forced},
        capture_output=True,
        text=True,
    )


def succeeds(result: subprocess.CompletedProcess[str]) -> str:
    assert (result.returncode, result.stderr) == (0, "")
    return result.stdout.strip()


def fails_to_import(result: subprocess.CompletedProcess[str], *parts: str) -> None:
    assert result.returncode == 1
    last = result.stderr.strip().splitlines()[-1]
    assert last.startswith("ImportError: ")
    for part in parts:
        assert part in last


WHICH = "import smcore; print(smcore.backend(), *smcore.targets())"
# as on a machine where nothing could be compiled
WITHOUT_CORE = "import sys; sys.modules['smcore._core'] = None; "


# ---- The backend ---------------------------------------------------------------------------------


def test_backend_is_one_of_two(sm):
    assert sm.backend() in ("native", "numpy")
    assert (sm.targets() == ()) == (sm.backend() == "numpy")


def test_numpy_backend_can_be_forced(environment):
    assert succeeds(python(WHICH, environment, SMCORE_BACKEND="numpy")) == "numpy"


@needs_native
def test_native_backend_can_be_forced(environment):
    expected = " ".join(["native", *smcore.targets()])
    assert succeeds(python(WHICH, environment, SMCORE_BACKEND="native")) == expected


@needs_native
def test_native_backend_is_the_default(environment):
    assert succeeds(python(WHICH, environment)).startswith("native ")
    assert succeeds(python(WHICH, environment, SMCORE_BACKEND="")).startswith("native ")


@pytest.mark.parametrize("name", ["fortran", "NUMPY", " numpy", "0"])
def test_unknown_backend_is_refused(environment, name):
    result = python(WHICH, environment, SMCORE_BACKEND=name)
    fails_to_import(result, "SMCORE_BACKEND", repr(name), "'native'", "'numpy'")


def test_native_backend_that_cannot_be_had_is_refused(environment):
    result = python(WITHOUT_CORE + WHICH, environment, SMCORE_BACKEND="native")
    fails_to_import(result, "SMCORE_BACKEND", "native", "_core", "'numpy'")


def test_numpy_backend_steps_in_without_a_word(environment):
    assert succeeds(python(WITHOUT_CORE + WHICH, environment)) == "numpy"


def test_show_config_says_why_numpy_stepped_in(environment):
    code = WITHOUT_CORE + "import smcore; smcore.show_config()"
    assert "_core" in succeeds(python(code, environment))


# ---- The target ----------------------------------------------------------------------------------


@pytest.mark.parametrize("backend", ["numpy", *["native"] * NATIVE])
def test_unknown_target_is_refused(environment, backend):
    result = python(WHICH, environment, SMCORE_BACKEND=backend, SMCORE_TARGET="mmx")
    fails_to_import(
        result, "SMCORE_TARGET", "'mmx'", *(smcore.targets() if backend == "native" else ["NumPy"])
    )


@needs_native
def test_real_target_is_refused_on_the_numpy_backend(environment):
    result = python(WHICH, environment, SMCORE_BACKEND="numpy", SMCORE_TARGET=smcore.targets()[0])
    fails_to_import(result, "SMCORE_TARGET", smcore.targets()[0], "NumPy")


def active() -> str:
    return smcore._backend.core.active_target()


@pytest.mark.parametrize("name", smcore.targets() or [None])
def test_target_can_be_forced(environment, name):
    if name is None:
        pytest.skip("no targets")
    code = "import smcore; smcore.show_config(); print(smcore._backend.core.active_target())"
    lines = succeeds(python(code, environment, SMCORE_TARGET=name)).splitlines()
    assert lines[-1] == name
    assert any(line.split() == ["target", name] for line in lines)


@needs_native
def test_best_target_is_the_default(environment):
    code = "import smcore; print(smcore._backend.core.active_target())"
    assert succeeds(python(code, environment)) == smcore.targets()[0]


@needs_native
def test_every_processor_has_a_scalar_target():
    assert smcore.targets()[-1] == "scalar"
    assert len(set(smcore.targets())) == len(smcore.targets())


@pytest.fixture
def restored():
    """Whatever the test chooses, the former target is chosen again."""
    if not NATIVE:
        pytest.skip("no targets")
    before = active()
    yield
    smcore.use_target(before)


def test_use_target_as_a_context_manager(restored):
    before = active()
    for name in smcore.targets():
        with smcore.use_target(name) as given:
            assert active() == given == name
            for inner in smcore.targets():
                with smcore.use_target(inner):
                    assert active() == inner
                assert active() == name
        assert active() == before


def test_use_target_restores_after_an_error(restored):
    before = active()
    with pytest.raises(ZeroDivisionError), smcore.use_target(smcore.targets()[-1]):
        raise ZeroDivisionError
    assert active() == before


def test_use_target_as_a_function(restored):
    for name in smcore.targets():
        smcore.use_target(name)
        assert active() == name


def test_refused_target_changes_nothing(restored):
    before = active()
    with pytest.raises(ValueError, match="mmx"):
        smcore.use_target("mmx")
    assert active() == before
    with pytest.raises(ValueError, match="mmx"):
        smcore._backend.core.set_target("mmx")
    assert active() == before


@needs_native
@pytest.mark.skipif("avx2" not in smcore.targets(), reason="only on x86 does scalar lack FMA")
def test_targets_compute_with_different_instructions(rng):
    """Tests parametrised over targets that are one and the same would say nothing."""
    x = rng.standard_normal((64, 1000)) * 10
    bits = set()
    for name in smcore.targets():
        with smcore.use_target(name):
            bits.add(smcore.softmax(x).tobytes())
    assert len(bits) > 1


# ---- show_config ---------------------------------------------------------------------------------


def test_show_config_prints_each_fact_on_a_line(sm, capsys):
    assert sm.show_config() is None
    out, err = capsys.readouterr()
    lines = dict(line.split(None, 1) for line in out.splitlines())
    assert err == ""
    assert lines["smcore"].startswith(sm.__version__)
    assert lines["backend"].startswith(sm.backend())
    assert lines["target"] == sm._backend.core.active_target()
    for name in sm.targets():
        assert name in lines["targets"]
    assert lines["threads"] == str(sm.get_num_threads())
    assert {"compiler", "NumPy", "Python"} <= lines.keys()
