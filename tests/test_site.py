"""The documentation site has all there is; `nox -s docs` builds it and checks its links."""

import json
import re
from pathlib import Path

import pytest

import smcore

DOCS = Path(__file__).parent.parent / "docs"
RESULTS = DOCS.parent / "benchmarks" / "results"

if not DOCS.exists():
    pytest.skip("not in a checkout", allow_module_level=True)


def test_reference_has_every_public_name():
    text = (DOCS / "reference/index.md").read_text(encoding="utf-8")
    blocks = re.findall(
        r"^\.\. autosummary::\n   :toctree: generated\n\n((?:   \w+\n)+)", text, re.M
    )
    names = " ".join(blocks).split() + re.findall(r"^\.\. py:data:: (\w+)$", text, re.M)
    assert sorted(names) == sorted(smcore.__all__)


def test_reference_has_every_adapter():
    package = DOCS.parent / "src" / "smcore"
    modules = {path.parent.name for path in package.glob("*/__init__.py")}
    modules |= {path.stem for path in package.glob("*.py")}
    text = (DOCS / "reference/adapters.md").read_text(encoding="utf-8")
    listed = re.findall(r"^generated/smcore\.(\w+)$", text, re.M)
    assert set(listed) == {name for name in modules if not name.startswith("_")}


def test_guide_and_readme_list_every_public_name():
    public = set(smcore.__all__) - {"__version__"}
    guide = (DOCS / "guide/functions.md").read_text(encoding="utf-8")
    assert set(re.findall(r"^\| `(\w+)\(", guide, re.M)) == public
    readme = (DOCS.parent / "README.md").read_text(encoding="utf-8")
    section = re.search(r"^## The functions\n(.*?)^###? ", readme, re.M | re.S)[1]
    assert set(re.findall(r"`(\w+)`[,| ]", "".join(re.findall(r"^\|.*", section, re.M)))) == public


def test_readme_is_short_and_shows_the_pictures():
    readme = (DOCS.parent / "README.md").read_text(encoding="utf-8")
    assert readme.count("\n") <= 200
    for picture in (DOCS / "pictures").glob("*.png"):
        assert f"(docs/pictures/{picture.name})" in readme


def test_every_page_is_in_a_table_of_contents():
    pages = {p.relative_to(DOCS).with_suffix("") for p in DOCS.glob("[!_]*/*.md")}
    pages |= {p.relative_to(DOCS).with_suffix("") for p in DOCS.glob("*.md")}
    listed = {Path("index")}
    for page in pages:
        text = (DOCS / page).with_suffix(".md").read_text(encoding="utf-8")
        for block in re.findall(r"^```\{toctree\}\n(.*?)^```", text, re.M | re.S):
            names = [line for line in block.split("\n") if line and not line.startswith(":")]
            listed |= {Path((DOCS / page).parent, name) for name in names}
    listed = {(DOCS / page).resolve() for page in listed}
    left = {page for page in pages if (DOCS / page).resolve() not in listed}
    assert {page for page in left if page.parent != Path("integrations")} <= {
        Path("integrations/index")
    }


def test_gallery_is_of_programs_with_a_title():
    programs = sorted((DOCS / "gallery").glob("plot_*.py"))
    assert len(programs) >= 10
    for program in programs:
        title, line = program.read_text(encoding="utf-8").split("\n")[1:3]
        assert len(line) >= len(title) and set(line) == {"="}, program.name


@pytest.mark.parametrize("file", sorted(RESULTS.glob("*.json")), ids=lambda file: file.stem)
def test_stored_results_are_whole(file):
    """Each is what benchmarks.compare wrote, on one thread, and says on what."""
    run = json.loads(file.read_text(encoding="utf-8"))
    assert run["threads"] == 1 and run["environment"]["processor"] and run["cells"]
    for cell in run["cells"]:
        ours = cell["times"]["smcore"]["min_ns"] / cell["elements"]
        assert ours == pytest.approx(cell["ns_per_element"])
        if cell["best_peer"]:
            best = cell["times"][cell["best_peer"]]["min_ns"] / cell["elements"]
            assert best / ours == pytest.approx(cell["ratio"])
