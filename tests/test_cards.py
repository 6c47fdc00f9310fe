"""Weights that are shipped have a card beside them, whose numbers are those of committed pages."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "docs"))
import committed  # noqa: E402 - once it can be found

WEIGHTS = [
    weights
    for folder in ("learnmm", "problems")
    for weights in sorted((ROOT / folder).rglob("*.safetensors"))
]
RESULTS = [page for group in committed.RESULTS.values() for page in group]


@pytest.mark.parametrize("weights", WEIGHTS, ids=lambda p: p.stem)
def test_numbers_of_a_card_are_those_of_the_pages(weights: Path) -> None:
    """Comments ``<!-- page.md: text -->`` say where the numbers of its table are from."""
    assert weights.with_suffix(".md") in committed.WEIGHTS
    text = weights.with_suffix(".md").read_text("utf-8")
    quoted = re.findall(r"^<!-- ([\w-]+\.md): (.+) -->$", text, flags=re.M)
    results = {page.name: page.read_text("utf-8") for page in RESULTS}
    assert [(name, row) for name, row in quoted if row not in results[name]] == []
    measured = re.search(r"## Measured\n(.+?)\n## ", text, flags=re.S)
    assert measured
    rows = [line.strip("|").split("|") for line in measured[1].splitlines() if line[:1] == "|"][2:]
    assert len(rows) > 2
    for cells in rows:
        *numbers, page = (cell.strip() for cell in cells[1:])
        rest = " ".join(row for name, row in quoted if name == f"{page}.md")
        known = set(re.findall(r"-?\d+(?:\.\d+)?", rest))
        assert set(numbers) - {"–"} <= known, cells[0]
