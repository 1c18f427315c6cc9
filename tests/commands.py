"""What the tests of the command line share: how an outcome is judged, and a table of flowers."""

from __future__ import annotations

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
