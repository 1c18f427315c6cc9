"""The directive `benchmark-results`: the stored measurements as a table that can be sorted.

Each file of ``benchmarks/results`` is what ``python -m benchmarks.compare`` wrote on a processor.
The table is plain HTML; ``_static/benchmarks.js`` adds the controls.
"""

from __future__ import annotations

import json
from html import escape
from typing import Any

from docutils import nodes
from docutils.parsers.rst import Directive
from sphinx.application import Sphinx
from stored_runs import RESULTS, runs

COLUMNS = (
    ("processor", "text"),
    ("operation", "text"),
    ("shape", "number"),
    ("dtype", "text"),
    ("smcore, ns", "number"),
    ("peer", "text"),
    ("peer, ns", "number"),
    ("ratio", "number"),
)


def digits(value: float) -> str:
    """Three digits, without an exponent."""
    return f"{value:.0f}" if value >= 100 else f"{value:#.3g}"


def shape_of(cell: dict[str, Any]) -> str:
    """Return the shape, and what else is unusual about the operands."""
    notes = [" × ".join(map(str, cell["shape"]))]
    if cell["axis"] != -1:
        notes.append(f"axis {cell['axis']}")
    return ", ".join(notes + [word for word in ("strided", "out") if cell[word]])


def row(processor: str, cell: dict[str, Any]) -> str:
    """Return a cell of a run as a row of the table."""
    per_element = {
        name: times["min_ns"] / cell["elements"] for name, times in cell["times"].items()
    }
    best = cell["best_peer"]
    theirs = ["none", "", ""]
    if best is not None:
        theirs = [best, digits(per_element[best]), f"{cell['ratio']:.2f}"]
    data = escape(json.dumps({name: float(f"{t:.4g}") for name, t in per_element.items()}))
    shape = f'<td data-value="{cell["elements"]}">{shape_of(cell)}</td>'
    numbers = f'<td class="n">{digits(per_element["smcore"])}</td><td>{theirs[0]}</td>'
    numbers += "".join(f'<td class="n">{text}</td>' for text in theirs[1:])
    return (
        f'<tr data-times="{data}"><td>{escape(processor)}</td>'
        f"<td><code>{cell['op']}</code></td>{shape}<td>{cell['dtype']}</td>{numbers}</tr>"
    )


def table() -> str:
    """Return the whole table as HTML."""
    head = "".join(
        f'<th scope="col" data-kind="{kind}">{escape(name)}</th>' for name, kind in COLUMNS
    )
    rows = "\n".join(row(name, cell) for name, run in runs().items() for cell in run["cells"])
    caption = "Times in nanoseconds per element; the ratio is the peer's time over smcore's."
    return (
        '<div class="benchmark-results" id="results">\n<div class="benchmark-scroll" tabindex="0"'
        ' role="region" aria-label="Measured times">\n'
        f"<table>\n<caption>{caption}</caption>\n<thead><tr>{head}</tr></thead>\n"
        f"<tbody>\n{rows}\n</tbody>\n</table>\n</div>\n</div>\n"
    )


def machines() -> str:
    """Return what each run was made with, as HTML."""
    blocks = []
    for name, run in runs().items():
        facts = {**run["environment"], **{f"peer {k}": v for k, v in run["peers"].items()}}
        facts |= {f"warning {i}": text for i, text in enumerate(run["warnings"], 1)}
        lines = "".join(f"<dt>{escape(k)}</dt><dd>{escape(str(v))}</dd>" for k, v in facts.items())
        summary = f"{name}: card {run['card']}, {len(run['cells'])} cells, {run['threads']} thread"
        blocks.append(f"<details><summary>{escape(summary)}</summary><dl>{lines}</dl></details>")
    return '<div class="benchmark-machines">' + "\n".join(blocks) + "</div>"


class BenchmarkResults(Directive):
    """The table of all runs, or with the argument `machines` what they were made with."""

    optional_arguments = 1

    def run(self) -> list[nodes.Node]:
        """Make the HTML."""
        environment = self.state.document.settings.env
        for file in RESULTS.glob("*.json"):
            environment.note_dependency(str(file))
        html = machines() if self.arguments == ["machines"] else table()
        return [nodes.raw("", html, format="html")]


def add_script(
    app: Sphinx, page: str, template: str, context: dict[str, Any], tree: nodes.document | None
) -> None:
    """Give the page of results its script."""
    if page == "benchmark_results":
        app.add_js_file("benchmarks.js", loading_method="defer")


def setup(app: Sphinx) -> dict[str, bool]:
    """Tell Sphinx."""
    app.add_directive("benchmark-results", BenchmarkResults)
    app.connect("html-page-context", add_script)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
