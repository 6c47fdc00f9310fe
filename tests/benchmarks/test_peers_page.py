"""The benchmark's page, its cache and its pictures; two problems from end to end."""

from __future__ import annotations

import json
import math
import sys
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from benchmarks.peers import __main__ as program
from benchmarks.peers import measure, page, profiles
from benchmarks.peers.batches import summarized, throughput
from benchmarks.peers.cache import Cache
from benchmarks.peers.recorder import Budget
from benchmarks.peers.references import least_value
from benchmarks.peers.solvers import BASELINE, IN_BATCHES, SOLVERS, Solver
from benchmarks.peers.suite import BATCHES, singles


@pytest.fixture
def no_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    """Trace and no more: steps that were compiled in earnest are those of test_peers_counts."""
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="eager"))


@pytest.mark.usefixtures("no_compiler")
def test_the_quick_mode_writes_a_page_and_goes_on_from_its_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "page.md"
    arguments = ["peers", "--quick", "--raw", str(tmp_path), "--output", str(output)]
    monkeypatch.setattr(sys, "argv", arguments)
    program.main()
    first = output.read_text()
    assert capsys.readouterr().out.strip() == first.strip()
    assert output.with_suffix(".png").stat().st_size > 10_000
    for solver in SOLVERS:
        assert f"| {solver.name} |" in first
    assert BASELINE in first
    lbfgs = next(line for line in first.splitlines() if line.startswith(f"| {BASELINE} |"))
    assert lbfgs.count("2 of 2") == 4  # solved to three tolerances, monotone
    assert "{" not in first
    raw = json.loads((tmp_path / "quick.json").read_text())
    hits = raw["runs"][f"{BASELINE} on mgh/rosenbrock"]["hits"]
    assert [hit[1] for hit in hits] == sorted(hit[1] for hit in hits)

    def again(*_: Any) -> None:
        raise AssertionError("measured twice")

    monkeypatch.setattr(program, "measured", again)
    monkeypatch.setattr(program, "summarized", again)
    monkeypatch.setattr(program, "step_cost", again)
    program.main()
    assert output.read_text() == first


def test_a_cache_goes_on_or_starts_anew(tmp_path: Path) -> None:
    path = tmp_path / "runs.json"
    cache = Cache(path, {"seconds": 1.0})
    assert "a" not in cache
    assert cache.get("a", lambda: [1, None]) == [1, None]
    assert "a" in cache
    assert Cache(path, {"seconds": 1.0}).get("a", lambda: pytest.fail("there is one")) == [1, None]
    assert Cache(path, {"seconds": 2.0}).get("a", lambda: "other") == "other"
    assert list(tmp_path.iterdir()) == [path]


def test_a_run_that_is_cut_off_leaves_what_it_has_measured(tmp_path: Path) -> None:
    path = tmp_path / "runs.json"
    cache = Cache(path, {})
    cache.get("a", lambda: 1)

    def cut() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cache.get("b", cut)
    assert Cache(path, {}).get("a", lambda: 2) == 1


def test_profiles_are_shares_within_a_factor() -> None:
    costs = {"a": [1.0, 4.0, math.inf, math.inf], "b": [2.0, 2.0, 3.0, math.inf]}
    cost = lambda solver, problem: costs[solver][int(problem)]  # noqa: E731
    found = {s: profiles.profile(s, ["a", "b"], ["0", "1", "2", "3"], cost) for s in costs}
    assert found["a"].tolist() == [1.0, 2.0, math.inf, math.inf]
    assert found["b"].tolist() == [1.0, 1.0, 2.0, math.inf]


def test_a_solver_that_raises_is_a_failure_of_its_own() -> None:
    def breaks(case: Any, recorder: Any) -> None:
        recorder.evaluated()
        raise ZeroDivisionError

    case = singles()["mgh/beale"]()
    (problem,) = measure.measured(Solver("broken", breaks), case, Budget(1.0, 10))
    assert problem["stop"] == "raised ZeroDivisionError"
    assert problem["hits"] == [None, None, None]


@pytest.mark.parametrize("family", BATCHES)
def test_problems_of_a_batch_are_the_problems_alone(family: str) -> None:
    case = BATCHES[family](6)
    together = case.objective(case.x0 + 0.1)
    for i in range(6):
        one = case.one(i)
        assert one.batch == 1
        torch.testing.assert_close(one.fun(case.x0[i] + 0.1), together[i])
        assert torch.equal(one.optimum, case.optimum[i : i + 1])


def test_batches_are_summed_up_by_solver(monkeypatch: pytest.MonkeyPatch) -> None:
    """Solvers of one problem are charged for all of the batch, others once."""
    case = BATCHES["rosenbrock"](64)
    times = iter(range(1, 200))

    def fixed(solver: Solver, case: Any, budget: Budget) -> list[dict[str, Any]]:
        problems = []
        for _ in range(case.batch):
            time = float(next(times))
            hits = [[time, 10, 1], [time, 20, 2] if time % 2 else None, None]
            problems.append({"hits": hits, "monotone": time > 1})
        return problems

    monkeypatch.setattr("benchmarks.peers.batches.measured", fixed)
    alone = summarized(Solver("one by one", lambda *_: None), case, Budget(1.0, 1))
    assert alone["measured"] == 32
    assert alone["solved"] == [1.0, 0.5, 0.0]
    assert alone["seconds"] == [2 * sum(range(1, 33)), 2 * sum(range(1, 33, 2)), None]
    assert alone["evaluations"] == [12, 24, None]
    assert alone["monotone"] == 31 / 32
    assert throughput(alone, 64, 1) == 32 / (2 * sum(range(1, 33, 2)))
    assert throughput(alone, 64, 2) is None
    together = summarized(Solver("at once", lambda *_: None, batched=True), case, Budget(1.0, 1))
    assert together["measured"] == 64
    assert together["seconds"] == [32 + 64, 32 + 63, None]


@pytest.mark.usefixtures("no_compiler")
def test_batches_are_solved() -> None:
    case = BATCHES["logistic-regression"](40)
    for solver in SOLVERS:
        if solver.name in IN_BATCHES:
            summary = summarized(solver, case, Budget(60.0, 300))
            assert summary["solved"][0] == 1.0
            assert summary["monotone"] == 1.0


@pytest.mark.parametrize("name", ["mgh/bard", "mgh/kowalik-osborne", "logistic-regression"])
def test_long_runs_find_the_published_minima(name: str) -> None:
    case = singles()[name]()
    assert case.optimum is not None
    assert least_value(case) == pytest.approx(float(case.optimum[0]), rel=1e-9)


def test_numbers_that_do_not_exist_are_dashes() -> None:
    assert [page.number(v) for v in (None, math.inf, 0.0123, 1.24, 12.4, 1234.0)] == [
        "–", "–", "0.012", "1.2", "12", "1234",
    ]  # fmt: skip


def test_lost_rows_stay() -> None:
    hit = [0.5, 10, 0]
    fine = {"hits": [hit] * 3, "monotone": True, "left": 0.0, "stop": "solved"}
    lost = {"hits": [hit, None, None], "monotone": False, "left": 0.1, "stop": "seconds"}
    both = {"p": fine, "q": fine}
    runs = {"mine": {"p": lost, "q": fine}, BASELINE: both, page.SCIPY: both}
    runs[page.DEFAULT] = {"p": fine, "q": {**fine, "hits": [[2.0, 10, 0]] * 3}}
    text = "\n".join(page.overview(runs))
    assert "| mine | 2 of 2 | 1 of 2 | 1 of 2 | 1 | 1 | 1 of 2 | 1 seconds |" in text
    assert page.lost(runs, ["mine"], ["p", "q"])[2:] == [
        "| p | mine | 1.0e-01 | too slow: the time limit |",
        "",
    ]
    results = {("family", 4): {BASELINE: _summary(2.0), "mine": _summary(0.05)}}
    costs = {
        "p": {"over autograd": 1.7, "over its parts": 1.2},
        "q": {"over autograd": 1.1, "over its parts": 1.0},
    }
    rows = page.goals(runs, ["mine"], results, costs)
    assert [row.count("**missed**") for row in rows[2:8]] == [1, 1, 0, 0, 0, 1]
    assert "learnmm minimize: 2.5 times" in rows[4]
    assert "family: 40 times, 100% and 100% solved" in rows[5]
    assert "1.40, from 1.10 to 1.70 times" in rows[6]
    assert "1 of 2, from 1.00 to 1.20 times (median 1.10)" in rows[7]
    results["family", 4]["mine"]["solved"] = [0.75] * 3
    assert "30 times, 75% and 100% solved | **missed**" in "\n".join(
        page.goals(runs, ["mine"], results, costs)
    )


def _summary(seconds: float) -> dict[str, Any]:
    return {
        "solved": [1.0] * 3,
        "seconds": [seconds] * 3,
        "evaluations": [10.0] * 3,
        "monotone": 1.0,
        "measured": 4,
    }


def test_every_family_of_jax_is_one_of_ours() -> None:
    source = (Path(program.__file__).with_name("jax_solvers.py")).read_text()
    assert all(f'"{family}": ' in source for family in BATCHES)
    assert np.isfinite(BATCHES["extended-powell"](2).x0.numpy()).all()
