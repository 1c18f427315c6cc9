"""The Python code of each page on integrations runs, as one script, without a warning."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

PAGES = sorted((Path(__file__).parents[2] / "docs" / "integrations").glob("*.md"))


def code_of(page: Path) -> str:
    """Return the Python code of a page, its blocks in turn."""
    return "\n".join(re.findall(r"^```python\n(.*?)^```$", page.read_text(), re.M | re.S))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_code_of_a_page_runs(page: Path, tmp_path: Path) -> None:
    code = code_of(page)
    for name in set(re.findall(r"^\s*(?:import|from) (\w+)", code, re.M)):
        pytest.importorskip(name)
    script = tmp_path / "page.py"
    script.write_text(code)
    command = [sys.executable, str(script)]
    found = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert found.returncode == 0, found.stdout + found.stderr
