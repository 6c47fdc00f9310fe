"""The site lists every public name, names tests that there are, and quotes pages as they are."""

from __future__ import annotations

import importlib
import re
from pathlib import Path
from types import ModuleType

import pytest

import learnmm as lmm

ROOT = Path(__file__).parents[1]
PAGES = sorted(set((ROOT / "docs" / "api").glob("*.rst")) - {ROOT / "docs" / "api" / "index.rst"})
SITE = sorted((ROOT / "docs").glob("*.md"))
RESULTS = sorted(ROOT.glob("*/results/*.md")) + sorted(ROOT.glob("examples/*/results/*.md"))
CARDS = sorted(
    p.with_suffix(".md") for d in ("learnmm", "problems") for p in (ROOT / d).rglob("*.safetensors")
)
COMMITTED = {page.name: page for page in [*RESULTS, *CARDS, *ROOT.glob("*.md")]}
LINKING = sorted({*SITE, *RESULTS, *ROOT.glob("*.md"), *ROOT.glob("problems/*/README.md")})
LISTED = re.compile(r"^   ([A-Za-z_]\w*)$", flags=re.M)


def listed(page: Path) -> tuple[str, list[str]]:
    """A page's module, and the names that it lists."""
    text = page.read_text()
    module = re.search(r"^\.\. module:: (\S+)$", text, flags=re.M)
    assert module, page
    return module[1], LISTED.findall(text)


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.stem)
def test_every_public_name_is_listed_once(page: Path) -> None:
    module, names = listed(page)
    public = set(importlib.import_module(module).__all__)
    pages = {listed(one)[0] for one in PAGES}
    if module == "learnmm":  # its modules have pages of their own
        public = {name for name in public if f"learnmm.{name}" not in pages}
    else:
        public -= set(lmm.__all__)
    assert len(names) == len(set(names))
    assert set(names) == public


def test_modules_that_are_public_have_a_page() -> None:
    shown = LISTED.findall((ROOT / "docs" / "api" / "index.rst").read_text())
    assert sorted(shown) == sorted(page.stem for page in PAGES)
    modules = {name for name in lmm.__all__ if isinstance(getattr(lmm, name), ModuleType)}
    assert {f"learnmm.{name}" for name in modules} <= {listed(page)[0] for page in PAGES}


def test_the_mathematics_names_tests_that_there_are() -> None:
    text = (ROOT / "docs" / "mathematics.md").read_text()
    files = set(re.findall(r"`(tests/[\w/]+\.py)`", text))
    tests = set(re.findall(r"`(test_\w+)`", text))
    assert len(files) > 10
    assert len(tests) > 30
    there = "".join(file.read_text() for file in (ROOT / "tests").rglob("test_*.py"))
    known = set(re.findall(r"^def (test_\w+)\(", there, flags=re.M))
    assert not {file for file in files if not (ROOT / file).exists()}
    assert not tests - known


def test_numbers_are_those_of_the_pages() -> None:
    """Comments ``% page.md: text``, or of HTML, say which text of a page of results is quoted."""
    quoted = [
        (page.stem, *found)
        for page in (*SITE, *RESULTS)
        for found in re.findall(
            r"^(?:%|<!--) ([\w-]+\.md): (.+?)(?: -->)?$", page.read_text("utf-8"), flags=re.M
        )
    ]
    pages = {"choose", "compared", "cost", "eeg", "large", "learning", "problems", "solving"}
    assert pages | {"learning_notes"} <= {q[0] for q in quoted}
    results = {page.name: page.read_text("utf-8") for page in RESULTS}
    assert [(page, name, row) for page, name, row in quoted if row not in results[name]] == []


def test_every_problem_that_is_installed_is_on_its_page() -> None:
    text = (ROOT / "docs" / "problems.md").read_text("utf-8")
    listed = re.findall(r"`([\w-]+)`", "".join(re.findall(r"^\| (`[^|]+) \|", text, flags=re.M)))
    assert sorted(listed) == sorted(lmm.problems())


def anchors(text: str) -> set[str]:
    """Headings, as links name them."""
    found = re.findall(r"^#+ (.+)$", re.sub(r"```.*?```", "", text, flags=re.S), flags=re.M)
    return {re.sub(r"[^\w -]", "", one.lower()).replace(" ", "-") for one in found}


def where(link: str, page: Path) -> Path:
    """The file in the repository that a link of a page leads to, on the site or beside it."""
    if link.startswith("gallery/"):
        name = Path(link).with_suffix("" if link.endswith("index.rst") else ".py")
        at = ROOT / "examples" / name
        return at.parent / "README.rst" if at.name == "index" else at
    if link in ("generated/committed/results.md", "generated/committed/weights.md"):
        return ROOT / "docs" / "committed.py"
    if link.startswith("generated/committed/"):
        return COMMITTED[Path(link).name]
    return page.parent / link


@pytest.mark.parametrize("page", LINKING, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(page: Path) -> None:
    text = re.sub(r"```(?!\{figure).*?```", "", page.read_text("utf-8"), flags=re.S)
    for link in re.findall(r"\]\((?!\w+:)([^)\s]+)\)", text):
        path, _, anchor = link.partition("#")
        target = where(path, page) if path else page
        assert target.exists(), f"{link}: {target} is not there"
        if anchor:
            assert anchor in anchors(target.read_text("utf-8")), f"{link}: no such heading"


def test_a_heading_is_named_as_links_name_it() -> None:
    assert anchors("# A solve\n```\n# no\n```\n## `x` of *two*, at 1e-3") == {
        "a-solve",
        "x-of-two-at-1e-3",
    }
