"""README is short, and the code of it and of pages of the site runs as printed."""

from __future__ import annotations

import re
import warnings
from pathlib import Path
from typing import Any

import torch

import learnmm as lmm

ROOT = Path(__file__).parents[1]


def run(page: str, count: int) -> dict[str, Any]:
    """Run the blocks of a page, one after another, and return what they have named."""
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / page).read_text("utf-8"), flags=re.S)
    assert len(blocks) == count
    names: dict[str, Any] = {"__name__": page}
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)  # nothing that learns is hidden, say
        for block in blocks:
            exec(compile(block, page, "exec"), names)
    return names


def test_readme_has_at_most_500_words() -> None:
    """What white space parts, as ``wc -w`` counts, code included."""
    assert len((ROOT / "README.md").read_text("utf-8").split()) <= 500


def test_readme_runs_and_shows_what_its_first_sentence_says(capsys) -> None:
    names = run("README.md", 2)
    certificate = names["wrong"].certificate
    assert certificate.kind is lmm.Kind.GLOBAL
    assert certificate.monotone.all()
    said = str(certificate)
    assert said in capsys.readouterr().out
    assert said in (ROOT / "README.md").read_text("utf-8")
    assert names["learned"].certificate.monotone.all()
    assert names["learned"].fun.mean() < names["own"].fun.mean()


def test_pages_of_the_site_run_as_printed(capsys) -> None:
    solving = run("docs/solving.md", 4)
    assert "every step verified" in capsys.readouterr().out
    assert solving["lasso"].certificate.monotone.all()
    learning = run("docs/learning.md", 1)
    assert set(learning["network"].parameters()) <= set(learning["solver"].parameters())


def test_what_extends_the_library_keeps_the_laws(capsys) -> None:
    names = run("docs/extend.md", 6)
    assert "too small by a factor" in capsys.readouterr().out
    far = lmm.Quadratic(3 * torch.ones(2, 5, dtype=torch.float64))
    x0 = torch.zeros(2, 5, dtype=torch.float64)
    nearest = lmm.minimize(far, x0, penalty=names["Ball"]()).x
    assert (nearest - 5**-0.5).abs().max() < 1e-6
