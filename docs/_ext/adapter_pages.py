"""Write the pages of the adapters' reference; one whose package is missing here says so."""

from __future__ import annotations

import importlib
from pathlib import Path

from sphinx.application import Sphinx

SHOWN = """
.. automodule:: {0}
   :members:
"""
MISSING = """
It is not shown: its package is not installed where this site was built. ``help({0})`` shows it
where it is.
"""


def write(app: Sphinx) -> None:
    """Write a page for each adapter, unless it is as it should be."""
    folder = Path(app.srcdir, "reference", "generated")
    folder.mkdir(exist_ok=True)
    for module in app.config.adapters:
        try:
            importlib.import_module(module)
        except ImportError:
            content = MISSING
        else:
            content = SHOWN
        text = f"{module}\n{'=' * len(module)}\n{content.format(module)}"
        page = folder / f"{module}.rst"
        if not page.exists() or page.read_text(encoding="utf-8") != text:
            page.write_text(text, encoding="utf-8")


def setup(app: Sphinx) -> dict[str, bool]:
    """Tell Sphinx."""
    app.add_config_value("adapters", [], "env", list)
    app.connect("builder-inited", write, priority=100)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
