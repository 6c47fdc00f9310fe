"""Pages say what they were made with, and are printed as they are written."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from benchmarks import pages
from learnmm.hardware import hardware


def test_a_page_is_printed_as_it_is_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "new" / "page.md"
    pages.write(["# Title", "", *pages.table(["a", "b"], [pages.line(["1", "2"])])], output)
    written = output.read_text()
    assert written == "# Title\n\n| a | b |\n| --- | --- |\n| 1 | 2 |\n"
    assert capsys.readouterr().out.strip() == written.strip()


def test_a_page_says_what_it_was_made_with() -> None:
    made = f"`python -m benchmarks.large`, seed 5, torch {torch.__version__}, {hardware()}"
    assert pages.made_by("large", 5) == made


def test_pages_have_a_place_of_their_own() -> None:
    parser = pages.arguments("large", "What it does.")
    assert parser.parse_args([]).output == Path("benchmarks/results/large.md")
    assert parser.parse_args(["--output", "x.md"]).output == Path("x.md")
