"""What is written in several files of the repository is the same in all of them."""

import re
import tomllib
from pathlib import Path

import pytest

import smcore

ROOT = Path(__file__).parent.parent
CITATION, RECIPE = ROOT / "CITATION.cff", ROOT / "conda" / "recipe.yaml"
CITING = ROOT / "docs" / "citing.md"

if not CITATION.exists():
    pytest.skip("not in a checkout", allow_module_level=True)


@pytest.fixture(scope="module")
def project():
    """The table [project] of pyproject.toml."""
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def test_versions_agree():
    for file, pattern in (
        (CITATION, r"^version: (\S+)$"),
        (RECIPE, r'^  version: "(\S+)"$'),
        (CITING, r"^  version = \{(\S+)\},$"),
    ):
        found = re.findall(pattern, file.read_text(encoding="utf-8"), re.MULTILINE)
        assert found == [smcore.__version__], file


def test_addresses_are_those_of_one_home(project):
    home = project["urls"]["Homepage"]
    assert all(address.startswith(home) for address in project["urls"].values())
    named = r"(?:repository-code|homepage|repository|documentation): (\S+)"
    entry = r"^@software\{[^@]*  url     = \{(\S+)\}"
    for file, pattern in ((CITATION, named), (RECIPE, named), (CITING, entry)):
        addresses = re.findall(pattern, file.read_text(encoding="utf-8"), re.MULTILINE)
        assert addresses and all(a.strip('"').startswith(home) for a in addresses), file


def test_the_recipe_of_conda_needs_what_the_package_needs(project):
    text = RECIPE.read_text(encoding="utf-8")
    run = re.search(r"^  run:\n((?:    - .*\n)+)", text, re.MULTILINE).group(1)
    needed = {re.sub(r"(>=)", r" \1", requirement) for requirement in project["dependencies"]}
    assert needed | {"python"} == set(re.findall(r"- (.*)", run))
