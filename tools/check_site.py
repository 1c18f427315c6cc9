"""Check a built site: every link leads somewhere, nothing is loaded from elsewhere.

    python tools/check_site.py build/docs/html

Every public name of smcore must have a page of its own, which the index of the search knows.
"""

from __future__ import annotations

import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import smcore

LOADED = {("script", "src"), ("img", "src"), ("link", "href"), ("source", "src")}
UNLOADED = {"canonical", "index", "search", "next", "prev", "author", "copyright"}


class Page(HTMLParser):
    """What a page links to, what it loads, and its anchors."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.loaded: list[str] = []
        self.anchors: set[str] = {"", "top"}
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note links and anchors."""
        found = dict(attrs)
        self.anchors |= {found.get("id") or "", found.get("name") or ""}
        if tag == "a" and found.get("href"):
            self.links.append(found["href"] or "")
        for attribute in ("src", "href"):
            loads = (tag, attribute) in LOADED and found.get("rel") not in UNLOADED
            if loads and found.get(attribute):
                self.loaded.append(found[attribute] or "")


def faults(site: Path) -> list[str]:
    """Return what is wrong, a line each."""
    pages = {
        path.resolve(): Page(path.read_text(encoding="utf-8"))
        for path in site.rglob("*.html")
        if "_static" not in path.parts
    }
    found = []
    for path, page in pages.items():
        name = path.relative_to(site.resolve())
        for address in page.links + page.loaded:
            parts = urlsplit(address)
            if parts.scheme or parts.netloc:
                if address in page.loaded and parts.scheme != "data":
                    found.append(f"{name}: loads {address}")
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            if not target.is_file():
                found.append(f"{name}: no file {address}")
            elif target in pages and unquote(parts.fragment) not in pages[target].anchors:
                found.append(f"{name}: no anchor {address}")
    return found + unfound(site)


def unfound(site: Path) -> list[str]:
    """Return the public names that have no page, or that the search does not find."""
    index = (site / "searchindex.js").read_text(encoding="utf-8")
    found = []
    for name in set(smcore.__all__) - {"__version__"}:
        if not (site / "reference" / "generated" / f"smcore.{name}.html").is_file():
            found.append(f"smcore.{name} has no page")
        if f'"reference/generated/smcore.{name}"' not in index:
            found.append(f"the search does not know smcore.{name}")
    return found


def main() -> int:
    """Print what is wrong; return 1 if anything is."""
    site = Path(sys.argv[1])
    found = faults(site)
    print("\n".join(found) or f"{len(list(site.rglob('*.html')))} pages are in order")
    return bool(found)


if __name__ == "__main__":
    raise SystemExit(main())
