"""What the tests of the command line share: how an outcome is judged, flowers, damaged files."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np


class Outcome:
    """Exit status and output of a command."""

    def __init__(self, status, captured):
        self.status, self.out, self.err = status, captured.out, captured.err


def succeeds(outcome: Outcome) -> str:
    assert (outcome.status, outcome.err) == (0, "")
    return outcome.out


def refuses(outcome: Outcome, *parts: str) -> None:
    """Exit status 2, nothing printed but one line on stderr, which names the place."""
    assert outcome.status == 2
    assert outcome.out == ""
    assert outcome.err.count("\n") == 1 and outcome.err.endswith("\n")
    for part in ("error", *parts):
        assert part in outcome.err


def files(directory: Path) -> set[str]:
    return {str(path.relative_to(directory)) for path in directory.rglob("*")}


def flowers(n: int = 60) -> tuple[list[str], np.ndarray, np.ndarray]:
    """Three classes, easily told apart."""
    rng = np.random.default_rng(0)
    y = np.arange(n) % 3
    X = rng.standard_normal((n, 2)) * 0.3 + np.array([[0, 0], [3, 0], [0, 3]])[y]
    return ["rose", "lily", "iris"], X, y


def write_csv(
    path: Path, lines: dict[int, str] | None = None, header: str = "width,species,height"
) -> None:
    """The flowers as a file; `lines` replaces some of its lines."""
    names, X, y = flowers()
    text = [header, *(f"{w:.3f},{names[c]},{h:.3f}" for (w, h), c in zip(X, y, strict=True))]
    for number, line in (lines or {}).items():
        text[number - 1] = line
    path.write_text("\n".join(text) + "\n")


PEOPLE = """\
Id,Class,Name,Sex,Age,Alone,Port,Lived
1,1,"Braund, Mr. Owen",male,22,TRUE,S,no
2,3,"Cumings, Mrs. John",female,,FALSE,NA,yes
3,3,"Heikkinen, Miss. Laina",female,26,TRUE,S,yes
4,1,"Futrelle, Mrs. Jacques",female,35,FALSE,S,yes
5,3,"Allen, Mr. William",male,35,TRUE,Q,no
6,2,"Moran, Mr. James",male,?,true,S,no
"""


DAMAGED = {
    "larger than the memory": "{'descr': '<f8', 'fortran_order': False, 'shape': (2**46,), }",
    "larger than addresses": "{'descr': '<f8', 'fortran_order': False, 'shape': (2**62, 9), }",
    "a negative length": "{'descr': '<f8', 'fortran_order': False, 'shape': (-5,), }",
    "no such dtype": "{'descr': 'what', 'fortran_order': False, 'shape': (5,), }",
    "cut off": "{'descr': '<f8', 'fortran_order': False, 'shape': (5,), }",
    "half a header": "{'descr': (",
}


def write_damaged(path: Path, header: str) -> None:
    """Write an archive of arrays W, X and y with that header, and four bytes of data."""
    for power in (46, 62):
        header = header.replace(f"2**{power}", str(2**power))
    line = header.ljust(117).encode() + b"\n"
    content = b"\x93NUMPY\x01\x00" + len(line).to_bytes(2, "little") + line + b"1234"
    with zipfile.ZipFile(path, "w") as archive:
        for name in "WXy":
            archive.writestr(f"{name}.npy", content)
