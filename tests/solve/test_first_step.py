"""Steps that must not be too long: what was measured near says little of what is far."""

from __future__ import annotations

import itertools

import pytest
import torch

import learnmm as lmm
from adversaries import Returning
from cutest_like import PROBLEMS

DTYPE = torch.float64

SOLVED = sorted(set(PROBLEMS) - {"rat43", "maratos", "hatfldfl", "engval1", "cliff", "boxbod"})
"""Without those that have other minima or of which no least value is known to ten digits, and
without "boxbod", whose second step lands on a plain, as is told below."""


@pytest.mark.parametrize("name", SOLVED)
def test_small_problems_are_solved_by_default(name: str) -> None:
    problem = PROBLEMS[name]
    result = lmm.minimize(problem.fun, problem.x0())
    assert problem.left(result.fun) <= 1e-6, result
    assert result.success.all()
    assert result.certificate.monotone.all()


def test_limited_memory_finds_its_way_from_a_plain() -> None:
    """Where the matrix of BFGS takes the plain for the minimum: its gradient is 5e-7."""
    problem = PROBLEMS["boxbod"]
    found, lost = (
        lmm.minimize(problem.fun, problem.x0(), proposer=proposer)
        for proposer in (lmm.LimitedMemory(), lmm.proposers.DenseBFGS())
    )
    assert problem.left(found.fun) <= 1e-6
    assert bool(lost.success.all())
    assert bool(lost.certificate.monotone.all())


@pytest.mark.parametrize("name", ["eckerle4", "boxbod", "log-hairy"])
def test_no_step_is_longer_than_a_few_times_the_one_before(name: str) -> None:
    problem = PROBLEMS[name]
    proposer = lmm.LimitedMemory()
    optimizer = lmm.ProjectedMMOptimizer(problem.fun, proposer=proposer)
    history = optimizer.minimize(problem.x0(), history=True).history
    assert history is not None
    taken = history.step_norm[history.accepted]
    proposed = history.proposed[history.accepted]
    assert proposed[1:].any()
    assert (taken[1:] <= proposer.reach * taken[:-1] * (1 + 1e-12))[proposed[1:]].all()


class Far(Returning):
    """Ten times the gradient, within a reach."""

    trials = 3
    reach = lmm.LimitedMemory.reach

    def __init__(self) -> None:
        super().__init__(lambda point: lmm.Step(10 * point.gradient))


def test_a_refused_step_that_was_cut_comes_again_shorter() -> None:
    """Else the cut would propose the same candidate for every trial."""
    x0 = torch.tensor([[1.0, 1.0]], dtype=DTYPE)
    optimizer = lmm.ProjectedMMOptimizer(
        lambda x: (x**4).sum(1), proposer=Far(), majorant=lmm.majorants.LipschitzMajorant(12.0)
    )
    state = optimizer.init(x0)
    state = state._replace(reach=torch.tensor([50.0], dtype=DTYPE))
    lengths = []
    for _ in range(3):
        state, info = optimizer.step(state)
        if bool(info.accepted):
            break
        lengths.append(float(info.step_norm))
    assert lengths[0] == pytest.approx(50.0)
    assert all(0.1 - 1e-9 <= b / a <= 0.5 + 1e-9 for a, b in itertools.pairwise(lengths))
    assert len(lengths) > 1


def test_the_reach_of_a_neighbour_cuts_nothing() -> None:
    problem = PROBLEMS["boxbod"]
    x0 = torch.cat([problem.x0(), torch.tensor([[200.0, 0.5]], dtype=DTYPE)])
    together = lmm.minimize(problem.fun, x0)
    for i in range(2):
        alone = lmm.minimize(problem.fun, x0[i : i + 1])
        assert torch.equal(alone.iterations[0], together.iterations[i])
        torch.testing.assert_close(alone.x[0], together.x[i], rtol=1e-9, atol=0)
