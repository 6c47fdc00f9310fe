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
    """Comments ``% page.md: text`` say which text of a page of results is quoted."""
    text = (ROOT / "docs" / "choose.md").read_text()
    quoted = re.findall(r"^% (\w+\.md): (.+)$", text, flags=re.M)
    assert len(quoted) > 30
    pages = {name: (ROOT / "benchmarks" / "results" / name).read_text() for name, _ in quoted}
    assert [(name, row) for name, row in quoted if row not in pages[name]] == []
