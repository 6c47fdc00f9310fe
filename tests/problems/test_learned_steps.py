"""The scripts on learned steps: their pieces work together on one problem, in seconds."""

from __future__ import annotations

import importlib
import sys
from importlib.metadata import entry_points
from pathlib import Path

import pytest
import torch

import learnmm as lmm
from learnmm.registry import GROUP
from learnmm_problems.families import settings
from learnmm_problems.mgh import FUNCTIONS

SCRIPTS = Path(__file__).parents[2] / "examples" / "toy"
sys.path.insert(0, str(SCRIPTS))  # as Python does for a script, so that one finds the other
script = importlib.import_module("learned_steps")
every_function = importlib.import_module("learned_steps_mgh")
sys.path.remove(str(SCRIPTS))

pytest.importorskip("lightning_fabric")


def test_every_toy_problem_has_an_entry() -> None:
    toy = {e.name for e in entry_points(group=GROUP) if e.value.startswith("learnmm_problems.")}
    assert len(toy) > 1
    assert toy <= set(lmm.problems())
    # The script shows the problems that came first; all the others are families of the benchmarks.
    assert set(script.SUITE) < toy
    assert set(script.SUITE) | {chosen["problem"] for chosen in settings().values()} == toy


@pytest.mark.parametrize("name", script.SUITE)
def test_entries_draw_what_their_networks_take(name: str) -> None:
    entry = script.SUITE[name]
    assert entry.problem.name == name
    seeded = torch.Generator().manual_seed(0)
    drawn = entry.problem.instance(2, generator=seeded, dtype=torch.float32)
    network = entry.network()
    assert isinstance(network, lmm.LearnedPreconditioner)
    result = drawn.optimizer(proposer=network, settings=lmm.SolveSettings(max_iter=3)).minimize(
        drawn.x0
    )
    assert result.certificate.monotone.all()


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
    assert all(line.count("|") == 12 and "| 100% |" in line for line in table)


def test_training_changes_what_is_proposed() -> None:
    data = script.Instances(script.TEMPLATES, 2, torch.float32)
    number = lmm.proposers.Constant()
    script.train(number, data, 4, 0.1, False)
    assert float(number.multipliers.detach()) > 1.05


def test_gaps_are_measured_from_the_start_to_the_best() -> None:
    drawn = script.Drawn(script.TEMPLATES, 3, 0, torch.float64)
    first = drawn.objective(drawn.x0)
    gaps = drawn.gaps(torch.stack([first, (first + drawn.best) / 2, drawn.best]))
    expected = torch.tensor([[1.0], [0.5], [script.FLOOR]], dtype=torch.float64).expand(3, 3)
    torch.testing.assert_close(gaps, expected)


def test_where_there_are_other_minima_a_run_says_what_is_best() -> None:
    problem = every_function.entry("freudenstein-roth").problem
    drawn = script.Drawn(problem, 2, 0, torch.float64)
    known = torch.tensor(FUNCTIONS["freudenstein-roth"].facts["other_minima"]).double()
    torch.testing.assert_close(drawn.best, known.expand(2), rtol=1e-6, atol=0)


def test_rows_and_verdicts_of_every_function() -> None:
    def run(gap: float, monotone: float) -> script.Run:
        return script.Run(torch.full((101,), gap), [None] * 3, "PROBABLE", monotone, 0.25)

    four = (run(1e-2, 1.0), run(1e-2, 1.0), run(1e-3, 0.75), run(5e-2, 1.0))
    runs = dict(zip(script.METHODS, four, strict=True))
    line = every_function.row("beale", runs)
    assert line == "| 5 | beale | 1.0e-02 | 1.0e-02 | 1.0e-03 | 5.0e-02 | 75% | 25% | 25% |"
    results = {"beale": runs}
    for method, counts in (
        ("one number", "0, larger on 0, neither on 1"),
        ("learned", "1, larger on 0, neither on 0"),
        ("limited memory", "0, larger on 1, neither on 0"),
    ):
        assert every_function.verdict(results, method, "own steps").endswith(f"on {counts}.")
