"""Pages that stand elsewhere in the repository, and links out of ``docs/``.

A page of one include, such as ``contributing.md``, becomes the file that it names.  Links are
written for a code host; here they are turned to the pages of this site, and to the sources where
there is no page.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from sphinx.application import Sphinx

INCLUDE = re.compile(r"^```\{include\} (\S+)\n```$", re.MULTILINE)
CODE = re.compile(r"(^```.*?^```)", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(([^)\s#:]+)(#[^)\s]*)?\)")


def included(app: Sphinx) -> dict[Path, Path]:
    """Return which files of the repository have a page here, and its path."""
    pages = {}
    for page in Path(app.srcdir).glob("*.md"):
        for target in INCLUDE.findall(page.read_text(encoding="utf-8")):
            pages[(page.parent / target).resolve()] = page
    return pages


def added(app: Sphinx, name: str) -> str:
    """Return what a page has here that a code host could not show."""
    if name == "integrations/index":
        pages = sorted(path.stem for path in Path(app.srcdir, "integrations").glob("*.md"))
        names = "\n".join(page for page in pages if page != "index")
        return f"\n```{{toctree}}\n:hidden:\n\n{names}\n```\n"
    return ""


def gallery_page(docs: Path, target: Path) -> Path:
    """Return the page that is made of the gallery's directory, or of a program in it."""
    if target == docs / "gallery":
        return docs / "auto_gallery" / "index.rst"
    if target.parent == docs / "gallery":
        return (docs / "auto_gallery" / target.name).with_suffix(".rst")
    return target


def turn_links(app: Sphinx, text: str, file: Path, page: Path) -> str:
    """Return the text of `file` with links as `page` must have them."""
    docs, root, pages = Path(app.srcdir), Path(app.srcdir).parent, included(app)

    def turned(link: re.Match[str]) -> str:
        target, anchor = (file.parent / link[1]).resolve(), link[2] or ""
        target = gallery_page(docs, pages.get(target, target))
        if target.is_relative_to(docs) and (target.is_file() or target.suffix == ".rst"):
            return f"]({os.path.relpath(target, page.parent)}{anchor})"
        return f"]({app.config.source_address}/{target.relative_to(root)}{anchor})"

    parts = CODE.split(text)  # with code at odd places; a blank line at its end is for doctest
    parts[::2] = [LINK.sub(turned, part) for part in parts[::2]]
    parts[1::2] = [part.replace("\n\n```", "\n```") for part in parts[1::2]]
    return "".join(parts)


def read(app: Sphinx, name: str, source: list[str]) -> None:
    """Include and turn links, as Sphinx reads a page."""
    page = Path(app.env.doc2path(name))
    if page.suffix != ".md":
        return

    def content(include: re.Match[str]) -> str:
        file = (page.parent / include[1]).resolve()
        return turn_links(app, file.read_text(encoding="utf-8"), file, page)

    text = source[0] + added(app, name)
    if INCLUDE.search(text):
        source[0] = INCLUDE.sub(content, text)
    else:
        source[0] = turn_links(app, text, page, page)


def setup(app: Sphinx) -> dict[str, bool]:
    """Tell Sphinx."""
    app.add_config_value("source_address", "", "env", str)
    app.connect("source-read", read)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
