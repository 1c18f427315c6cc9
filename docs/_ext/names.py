"""Names of smcore's functions become links, in single quotes of docstrings and code of pages."""

from __future__ import annotations

import contextlib
import importlib
import re
import sys
from typing import Any

from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx

import smcore

PUBLIC = set(smcore.__all__) - {"__version__"}
NAME = re.compile(r"(?:smcore\.)?(\w+)(?:\(.*\))?", re.DOTALL)
WORDS = {"backend", "targets"}  # of the language, too


def link_to(module: str, name: str, content: nodes.Node, page: str) -> addnodes.pending_xref:
    """Return a link to a public name, that of the module if it has one."""
    has = name in getattr(sys.modules.get(module), "__all__", ())
    target = f"{module if has else 'smcore'}.{name}"
    link = addnodes.pending_xref(
        "", content, refdomain="py", reftype="obj", reftarget=target, refdoc=page
    )
    link["refwarn"] = True
    return link


def name_role(
    role: str, raw: str, text: str, line: int, inliner: Any, *_: Any
) -> tuple[list[nodes.Node], list[nodes.Node]]:
    """Make what stands in single quotes: a link, code if it has a dot, or a word as it is."""
    environment = inliner.document.settings.env
    module = environment.ref_context.get("py:module") or "smcore"
    if text in PUBLIC or text in getattr(sys.modules.get(module), "__all__", ()):
        return [link_to(module, text, nodes.literal(raw, text), environment.docname)], []
    if "." in text:
        return [nodes.literal(raw, text)], []
    return [nodes.emphasis(raw, text)], []


def link_code(app: Sphinx, tree: nodes.document) -> None:
    """Turn code that names a function, alone or with arguments, into a link.

    On the page of an adapter that can be imported here it is the adapter's function.
    """
    page = app.env.docname
    module = page.replace("integrations/", "smcore.")
    if module in app.config.adapters:
        with contextlib.suppress(ImportError):
            importlib.import_module(module)
    for code in list(tree.findall(nodes.literal)):
        match = NAME.fullmatch(code.astext())
        inside = nodes.title | nodes.reference | addnodes.pending_xref
        parents = (code.parent, code.parent.parent)
        if match is None or any(isinstance(parent, inside) for parent in parents):
            continue
        bare = "(" not in code.astext() and match[1] in WORDS
        if match[1] in PUBLIC and not bare:
            code.replace_self(link_to(module, match[1], code.deepcopy(), page))


def skip(app: Sphinx, what: str, name: str, found: Any, skipped: bool, options: Any) -> bool | None:
    """Leave out what scikit-learn gives every estimator; its texts lead to its own site."""
    return True if re.fullmatch(r"set_\w+_request", name) else None


def setup(app: Sphinx) -> dict[str, bool]:
    """Tell Sphinx."""
    app.add_role("name", name_role)
    app.connect("autodoc-skip-member", skip)
    app.connect("doctree-read", link_code)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
