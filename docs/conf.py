"""The site: pages in Markdown, the API from docstrings, the gallery from scripts."""

import os
import sys
from pathlib import Path

import torch

import learnmm

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))
os.environ.setdefault("MPLBACKEND", "Agg")

from committed import show  # noqa: E402 - once it can be found
from pictures import draw  # noqa: E402

project = "learnmm"
author = copyright = "The learnmm developers"
version = release = learnmm.__version__

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.doctest",
    "sphinx.ext.mathjax",
    "sphinx-mathjax-offline",  # formulas need no network
    "sphinx.ext.viewcode",
    "numpydoc",
    "sphinx_gallery.gen_gallery",
    "myst_parser",
    "sphinx_copybutton",
]

myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 3
templates_path = ["_templates"]
exclude_patterns = ["_build", "_templates"]

nitpicky = True  # what is linked to exists, but for bases and helpers that are not public
nitpick_ignore_regex = [
    ("py:.*", r"(abc|enum|mne|torch)\..*"),
    ("py:.*", r"learnmm\.nested|learnmm\.atoms\.separable\._Separable"),
    (
        "py:.*",
        r"learnmm_esi\.(simulation\.simulator\.PatchSimulator|inverse\.scaling\.OnLeadfield)",
    ),
    ("py:.*", "cosine_gradients|rounding_slack|load_notes"),
]
autosummary_generate = True
autosummary_ignore_module_all = False
autosummary_imported_members = True
autodoc_preserve_defaults = True  # `SolveSettings()`, and not everything in it
autodoc_typehints = "none"  # the sections of the docstrings say types, with shapes
autodoc_member_order = "bysource"
numpydoc_show_class_members = False
# Docstrings run with the tests; here it is what the pages show.
doctest_test_doctest_blocks = ""

sphinx_gallery_conf = {
    "examples_dirs": "../examples/gallery",
    "gallery_dirs": "gallery",
    "subsection_order": [
        f"../examples/gallery/{part}" for part in ("first", "inverse", "networks", "own", "eeg")
    ],
    "show_memory": False,
    "download_all_examples": False,
    "show_signature": False,
    "remove_config_comments": True,
}
suppress_warnings = ["config.cache"]  # of the gallery's settings

html_theme = "pydata_sphinx_theme"
html_title = "learnmm"
html_theme_options = {
    "show_prev_next": True,
    "navigation_with_keys": False,
    "secondary_sidebar_items": ["page-toc"],
    "show_nav_level": 1,
}
html_sidebars = {"*": []}  # pages without pages below them
html_static_path = ["_static"]
html_css_files = ["narrow.css"]
html_show_sourcelink = False
html_copy_source = False


def setup(app):
    """Make what pages show before they are read."""
    torch.manual_seed(0)
    show(HERE / "generated" / "committed")
    draw(HERE / "generated" / "pictures")
