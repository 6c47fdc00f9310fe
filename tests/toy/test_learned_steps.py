"""The script on learned steps: its pieces work together on one problem, in seconds."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
import torch

import learnmm as lmm

SCRIPT = Path(__file__).parents[2] / "examples" / "toy" / "learned_steps.py"
spec = importlib.util.spec_from_file_location("learned_steps", SCRIPT)
assert spec is not None
assert spec.loader is not None
script = importlib.util.module_from_spec(spec)
spec.loader.exec_module(script)

pytest.importorskip("lightning_fabric")


def test_the_suite_names_installed_problems() -> None:
    for name, entry in script.SUITE.items():
        assert entry.problem.name == name
        assert name in lmm.problems()
        assert isinstance(entry.network(), lmm.LearnedPreconditioner)


def test_one_problem_is_trained_and_compared() -> None:
    entry = script.SUITE["template-matching"]
    runs = script.compare(entry, training=10, batches=2, progress=False)
    assert list(runs) == list(script.METHODS)
    for run in runs.values():
        assert run.monotone == 1.0
        assert run.gaps[0] == 1
        assert (run.gaps.diff() <= 0).all()  # medians of falling sequences
        for gap, count in zip(script.GAPS, run.evaluations, strict=True):
            assert count is None or (run.gaps[count] <= gap < run.gaps[count - 1])
    for method in ("own steps", "one number", "learned"):  # the bound is GLOBAL
        assert runs[method].gaps[10] < 1
    # A global bound is up to four times the curvature here, and longer steps are learned at once.
    assert runs["one number"].gaps[10] < runs["own steps"].gaps[10]
    table = script.rows("template-matching", runs)
    assert len(table) == 4
    assert all(line.count("|") == 11 and "| 100% |" in line for line in table)


def test_training_changes_what_is_proposed() -> None:
    data = script.Instances(script.TEMPLATES, 2)
    number = lmm.Constant()
    script.train(number, data, 4, 0.1, False)
    assert float(number.multipliers.detach()) > 1.05


def test_gaps_are_measured_from_the_start_to_the_best() -> None:
    drawn = script.Drawn(script.TEMPLATES, 3, 0, torch.float64)
    first = drawn.objective(drawn.x0)
    gaps = drawn.gaps(torch.stack([first, (first + drawn.best) / 2, drawn.best]))
    expected = torch.tensor([[1.0], [0.5], [script.FLOOR]], dtype=torch.float64).expand(3, 3)
    torch.testing.assert_close(gaps, expected)
