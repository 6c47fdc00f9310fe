"""The page of the learned quasi-Newton method: problems, costs and speeds."""

from __future__ import annotations

import math

import pytest
import torch

from benchmarks.peers.measure import measured
from benchmarks.peers.recorder import Budget
from benchmarks.peers.solvers.base import Solver
from benchmarks.zero_shot import lasso, page, problems, solvers, speed
from learnmm import checks


def run(*hits: int | None, left: float = 0.0) -> page.Run:
    """A run with evaluations to each tolerance, and a product before the first."""
    told = [None if hit is None else [0.0, hit, 1] for hit in (*hits, None)]
    return {"hits": told, "monotone": True, "left": left}


def test_a_product_is_charged_as_two_evaluations() -> None:
    assert page.cost(run(5, None), 0) == 7
    assert math.isinf(page.cost(run(5, None), 1))


def test_of_many_rates_the_best_of_each_problem_is_told() -> None:
    runs = {f"Adam, {rate:g}": {"p": run(5, None, left=rate)} for rate in solvers.RATES}
    runs[f"Adam, {solvers.RATES[2]:g}"]["p"] = run(9, 12)
    runs[solvers.BASELINE] = {"p": run(3, 4)}
    found = page.with_best_rates(runs)
    assert set(found) == {solvers.BASELINE, f"Adam, best of {len(solvers.RATES)} rates"}
    assert page.cost(found[f"Adam, best of {len(solvers.RATES)} rates"]["p"], 1) == 14


def test_ratios_are_of_what_both_solve() -> None:
    runs = {
        "a": {"p": run(4, 10), "q": run(4, None)},
        solvers.BASELINE: {"p": run(4, 4), "q": run(4, 4)},
    }
    assert page.ratios(runs, "a", 1) == [2.0]


def test_quantiles_say_what_was_not_solved() -> None:
    assert page.quantiles([3.0, 1.0, math.inf, 2.0]) == "2 / – / –"


def test_speed_is_steps_of_descent_over_evaluations() -> None:
    levels = [4.0, 3.0, 2.0, 1.0]
    trace = [(1, 5.0), (4, 3.5), (6, 2.5), (10, 1.5)]
    expected = [11 / 4, 31 / 6, 101 / 10, 301 / speed.BUDGET.evaluations]
    assert speed.speed(trace, levels) == pytest.approx(expected)


@pytest.mark.parametrize("name", ["ridge, diabetes", "logistic, two clusters"])
def test_the_curvature_of_the_five_is_an_upper_bound(name: str) -> None:
    case, curvature, before = problems.five(name, 0)
    found = solvers.largest(case, before[0])
    assert found <= curvature * (1 + 1e-9)
    assert bool(case.objective(case.x0) < case.objective(before))


def test_their_bfgs_solves_a_ridge_regression() -> None:
    case, _, before = problems.five("ridge, diabetes", 0)
    trace = speed.traced(solvers.bfgs(before), case)
    x = case.x0[0]
    newton = torch.linalg.solve(torch.func.hessian(case.fun)(x), torch.func.grad(case.fun)(x))
    least, start = float(case.fun(x - newton)), float(case.fun(x))
    assert min(value for _, value in trace) - least <= 1e-6 * (start - least)


def test_open_l2o_problems_differ_and_descend() -> None:
    one, other = problems.lasso(5, 10, 0), problems.lasso(5, 10, 1)
    assert not torch.equal(one.x0, other.x0)
    waves = problems.rastrigin(2, 0)
    assert waves.optimum is not None
    assert bool(waves.objective(waves.x0) >= waves.optimum)
    found = measured(Solver("descent", solvers.descent(0.1)), waves, Budget(5.0, 30))
    assert found[0]["stop"] in ("evaluations", "solved")


def test_lasso_is_a_family_of_the_same_problems() -> None:
    """One after the other from one stream, each as it is alone."""
    family = lasso.OpenLasso(measurements=3, unknowns=6)
    checks.assert_problem(family)
    drawn = family.instance(2, generator=torch.Generator().manual_seed(problems.TEST_SEED))
    alone = problems.lasso(3, 6, 0)
    assert torch.equal(drawn.x0[:1], alone.x0)
    value = drawn.objective(drawn.x0)
    torch.testing.assert_close(value[:1], alone.objective(alone.x0))
    assert not torch.isclose(value[0], value[1])
    assert drawn.data is not None
    assert drawn.data.shape == (2, 6 * 7 // 2 + 6)
