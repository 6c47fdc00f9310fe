"""The code of README and CONTRIBUTING runs as printed, block after block."""

from __future__ import annotations

import re
import warnings
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]


def run(page: str, count: int) -> dict[str, Any]:
    """Run the blocks of a page, one after another, and return what they have named."""
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / page).read_text(), flags=re.S)
    assert len(blocks) == count
    names: dict[str, Any] = {"__name__": page}
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)  # nothing that learns is hidden, say
        for block in blocks:
            exec(compile(block, page, "exec"), names)
    return names


def test_readme_runs_as_printed(capsys) -> None:
    names = run("README.md", 6)
    assert "every step verified" in capsys.readouterr().out
    assert set(names["network"].parameters()) <= set(names["solver"].parameters())


def test_what_contributing_adds_keeps_the_laws(capsys) -> None:
    run("CONTRIBUTING.md", 4)
    assert "too small by a factor" in capsys.readouterr().out


def test_every_file_that_a_page_names_is_there() -> None:
    for page in ROOT.glob("*.md"):
        links = re.findall(r"\]\(([^)#:\s]+)(?:#[^)]*)?\)", page.read_text())
        missing = [link for link in links if not (ROOT / link).exists()]
        assert not missing, f"{page.name} names {missing}"
