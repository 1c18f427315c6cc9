"""What names the sources names what there is: links, drawings, words of the kernels, mutants."""

import re
import runpy
from pathlib import Path
from xml.etree import ElementTree

import pytest

ROOT = Path(__file__).parent.parent
KERNELS = ROOT / "docs" / "kernels.md"
PAGES = [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), ROOT / "csrc/README.md"]
PAGES.append(ROOT / "benchmarks/README.md")
IMAGES = sorted((ROOT / "docs" / "images").glob("*.svg"))

if not KERNELS.exists():
    pytest.skip("not in a checkout", allow_module_level=True)


def text_of(page):
    return page.read_text(encoding="utf-8")


def without_code(text):
    return re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)


def anchors_of(page):
    """Return the names that GitHub gives the headings of a page."""
    headings = re.findall(r"^#+ (.*)$", without_code(text_of(page)), re.MULTILINE)
    words = (re.sub(r"[^\w\- ]", "", heading.lower()) for heading in headings)
    return {word.replace(" ", "-") for word in words}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)\s]+)\)", without_code(text_of(page))):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        assert file.exists(), target
        assert not anchor or anchor in anchors_of(file), target


def test_drawings_are_current():
    assert runpy.run_path(str(ROOT / "docs/drawings.py"))["stale"]() == []


@pytest.mark.parametrize("path", IMAGES, ids=lambda path: path.stem)
def test_drawings_are_drawings(path):
    root = ElementTree.parse(path).getroot()
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    assert root.find("{*}title").text


def test_drawings_are_shown():
    shown = re.findall(r"\(images/(\w+\.svg)\)", text_of(KERNELS))
    assert sorted(shown) == [path.name for path in IMAGES]


@pytest.mark.parametrize("page", [KERNELS, ROOT / "csrc/README.md"], ids=["kernels", "csrc"])
def test_words_are_those_of_the_code(page):
    """Every name and file that these pages quote is in the kernels' sources."""
    sources = [path for path in (ROOT / "csrc").rglob("*") if path.suffix in {".c", ".h", ".def"}]
    sources.append(ROOT / "csrc/CMakeLists.txt")
    files = {str(path.relative_to(ROOT / "csrc")) for path in sources}
    words = set(re.findall(r"\w+", "".join(text_of(path) for path in sources)))
    for quoted in re.findall(r"`([^`\n]+)`", without_code(text_of(page))):
        if re.fullmatch(r"[\w/]+\.(c|h|def)", quoted):
            assert any(f"/{name}".endswith(f"/{quoted}") for name in files), quoted
        elif re.fullmatch(r"[A-Za-z]\w*[a-zA-Z0-9]", quoted):
            assert quoted in words, quoted


def test_mutants_fit_the_sources():
    """Each fault of tools/mutants.toml has its place, and but one."""
    assert runpy.run_path(str(ROOT / "tools/mutants.py"))["misfits"]() == []
