"""The Python code of each page on integrations runs, as one script, without a warning."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

PAGES = sorted((Path(__file__).parents[2] / "docs" / "integrations").glob("*.md"))


def code_of(page: Path) -> str:
    """Return the Python code of a page, its blocks in turn."""
    return "\n".join(re.findall(r"^```python\n(.*?)^```$", page.read_text(), re.M | re.S))


def run(command: list[str], directory: Path) -> subprocess.CompletedProcess[str]:
    """Run a command in a directory of its own."""
    return subprocess.run(command, cwd=directory, capture_output=True, text=True, timeout=300)


def mpiexec(monkeypatch: pytest.MonkeyPatch, directory: Path) -> list[str]:
    """Return the command that starts two processes of MPI; skip the test if there is none."""
    mpi4py = pytest.importorskip("mpi4py")
    prefix = Path(mpi4py.__file__).parents[4]  # where a wheel of MPI has its programs, too
    found = shutil.which("mpiexec", path=f"{prefix / 'bin'}{os.pathsep}{os.environ['PATH']}")
    if found is None:
        pytest.skip("there is no mpiexec")
    for library in sorted((prefix / "lib").glob("libmpi.so.*"))[:1]:
        monkeypatch.setenv("MPI4PY_LIBMPI", str(library))
    command = [found, "-n", "2", sys.executable]
    size = run([*command, "-c", "from mpi4py.MPI import COMM_WORLD as c; print(c.size)"], directory)
    if size.stdout.count("2") != 2:  # each prints its line at any time
        pytest.skip(f"MPI does not start two processes: {size.stdout}{size.stderr}")
    return command


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_code_of_a_page_runs(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = code_of(page)
    names = set(re.findall(r"^\s*(?:import|from) (\w+)", code, re.M))
    for name in names:
        pytest.importorskip(name)
    script = tmp_path / "page.py"
    script.write_text(code)
    python = mpiexec(monkeypatch, tmp_path) if "mpi4py" in names else [sys.executable]
    found = run([*python, str(script)], tmp_path)
    assert found.returncode == 0, found.stdout + found.stderr
