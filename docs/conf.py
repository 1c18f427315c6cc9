"""The documentation site, made by Sphinx: `nox -s docs` builds it, offline."""

from __future__ import annotations

import importlib.util
import sys
import tomllib
from pathlib import Path

import smcore

DOCS = Path(__file__).parent
ROOT = DOCS.parent
sys.path.insert(0, str(DOCS / "_ext"))

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]

source_address = PROJECT["urls"]["Source"]
documentation_address = PROJECT["urls"]["Documentation"]
description = PROJECT["description"]
adapters = [f"smcore.{name}" for name in ("autograd", "dask", "jax", "numba", "sklearn", "torch")]

project = PROJECT["name"]
author = copyright = PROJECT["authors"][0]["name"]
version = release = smcore.__version__

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.mathjax",
    "numpydoc",
    "myst_parser",
    "sphinx_copybutton",
    "sphinx_design",
    "sphinx_gallery.gen_gallery",
    "adapter_pages",
    "benchmark_results",
    "llms",
    "names",
    "repository_pages",
]
root_doc = "index"
default_role = "name"
exclude_patterns = ["_*", "gallery", "**/GALLERY_HEADER.*"]
templates_path = ["_templates"]
nitpicky = True
nitpick_ignore = [("py:class", "optional"), ("py:class", "numpy.generic")]
suppress_warnings = ["config.cache"]  # of functions in the configuration of the gallery
pygments_style = "default"

# ---- Pages ----
myst_enable_extensions = ["attrs_inline", "colon_fence", "dollarmath"]
myst_heading_anchors = 4
copybutton_exclude = ".linenos, .gp, .go"
copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True

# ---- The reference ----
add_module_names = False
autodoc_typehints = "none"
autosummary_generate = True
numpydoc_show_class_members = False

# ---- The gallery: every example is executed, and must succeed ----
sphinx_gallery_conf = {
    "examples_dirs": "gallery",
    "gallery_dirs": "auto_gallery",
    "filename_pattern": r"plot_",
    "abort_on_example_error": True,
    "image_scrapers": ("matplotlib",),
    "matplotlib_animations": False,
    "min_reported_time": 0,
    "remove_config_comments": True,
    "show_memory": False,
    "show_signature": False,
    "write_computation_times": False,
    "within_subsection_order": "gallery_order.Order",
    "doc_module": ("smcore",),
    "reference_url": {"smcore": None},
    "backreferences_dir": "reference/backreferences",
    "reset_modules": ("matplotlib", "gallery_order.use_style"),
}

# ---- The look ----
html_theme = "pydata_sphinx_theme"
html_title = "smcore"
html_show_sourcelink = False
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_theme_options = {
    "logo": {"text": "smcore"},
    "header_links_before_dropdown": 7,
    "navbar_align": "left",
    "show_toc_level": 2,
    "navigation_with_keys": False,
    "pygments_light_style": "a11y-high-contrast-light",
    "pygments_dark_style": "a11y-high-contrast-dark",
    "footer_start": ["copyright"],
    "footer_end": ["sphinx-version"],
    "secondary_sidebar_items": ["page-toc"],
}
html_context = {"default_mode": "auto"}
html_sidebars = {"benchmark_results": [], "quickstart": []}


def _mathjax() -> Path:
    """Return the directory of MathJax, as the package sphinx-mathjax-offline has it."""
    spec = importlib.util.find_spec("sphinx-mathjax-offline")
    assert spec is not None and spec.origin is not None
    return Path(spec.origin).parent / "static"


html_static_path.append(str(_mathjax()))
mathjax_path = "mathjax/tex-chtml.js"
mathjax3_config = {"options": {"enableMenu": False}}
