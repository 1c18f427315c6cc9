"""Write ``llms.txt``: what the site has, in one short file of Markdown, for language models."""

from __future__ import annotations

from pathlib import Path

from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx

INTRODUCTION = """\
# {project}

> {description} The package is imported as `smcore`.

Everything works along the last axis unless `axis` says otherwise. Every derivative takes what the
forward pass returned: a softmax, a log-softmax or a logsumexp. Losses take logits, not
probabilities.
"""


def first_sentence(app: Sphinx, page: str) -> str:
    """Return the first sentence of a page, or nothing; of a function, that of its docstring."""
    tree = app.env.get_doctree(page)
    within = addnodes.desc_content if "/generated/" in page else nodes.section
    texts = (p.astext() for p in tree.findall(nodes.paragraph) if isinstance(p.parent, within))
    return " ".join(next(texts, "").split()).split(". ")[0].rstrip(".:")


def entry(app: Sphinx, page: str) -> str:
    """Return the line of a page."""
    address = f"{app.config.documentation_address}/{page}.html"
    return f"- [{app.env.titles[page].astext()}]({address}): {first_sentence(app, page)}"


def below(app: Sphinx, page: str) -> list[str]:
    """Return all pages below one, in the order of the tables of contents."""
    children = app.env.toctree_includes.get(page, [])
    return [name for child in children for name in (child, *below(app, child))]


def write(app: Sphinx, error: Exception | None) -> None:
    """Write the file once the site has been built."""
    if error or app.builder.format != "html":
        return
    lines = [INTRODUCTION.format(project=app.config.project, description=app.config.description)]
    for section in app.env.toctree_includes[app.config.root_doc]:
        lines += [f"## {app.env.titles[section].astext()}", "", entry(app, section)]
        lines += [entry(app, page) for page in dict.fromkeys(below(app, section))]
        lines.append("")
    Path(app.outdir, "llms.txt").write_text("\n".join(lines), encoding="utf-8")


def setup(app: Sphinx) -> dict[str, bool]:
    """Tell Sphinx."""
    app.add_config_value("description", "", "env", str)
    app.add_config_value("documentation_address", "", "env", str)
    app.connect("build-finished", write)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
