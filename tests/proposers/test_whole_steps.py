"""Whole steps: verified, shortened where they are refused, confined by nothing else."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

import learnmm as lmm
from adversaries import Returning
from draws import normal
from learnmm.proposers.shortening import parabola

DTYPE = torch.float64


class Fixed(lmm.Proposer):
    """The same step whatever it sees, tried as often as limited memory's."""

    trials = lmm.LimitedMemory.trials

    def __init__(self, step: Tensor) -> None:
        super().__init__()
        self.step = step
        self.asked = 0

    def propose(self, point: lmm.Point, memory: None) -> lmm.Step:
        self.asked += 1
        return lmm.Step(self.step)


class Secants(lmm.majorants.SecantMajorant):
    """Secants that start from 1."""

    def init_memory(self, x: Tensor, gradient: Tensor) -> Tensor:
        return torch.ones_like(x[:, 0])


# --- what is refused comes again, shorter -------------------------------------------------------


def test_a_refused_step_comes_again_shorter_and_then_the_own_step() -> None:
    """As often as the proposer says, which is asked once for all of them."""
    atom, x0 = lmm.Quadratic(torch.zeros(2, 6, dtype=DTYPE)), normal(2, 6, seed=8)
    climbing = Fixed(-x0)
    optimizer = lmm.ProjectedMMOptimizer(
        atom, proposer=climbing, settings=lmm.SolveSettings(max_iter=4, gtol=0.0)
    )
    result = optimizer.minimize(x0, history=True)
    history = result.history
    assert history.proposed[:3].all()
    assert not history.accepted[:3].any()
    factors = history.step_norm[1:3] / history.step_norm[:2]
    assert ((factors >= 0.1) & (factors <= 0.5)).all()
    assert not history.proposed[3].any()
    assert history.accepted[3].all()
    torch.testing.assert_close(result.x, torch.zeros_like(x0))
    assert climbing.asked == 1
    assert not result.certificate.projected
    assert not result.certificate.proposed.any()


def test_a_long_step_is_cut_to_the_minimum_of_the_parabola() -> None:
    """On a quadratic that is the minimum along the step: one refusal is enough."""
    x0 = normal(3, 5)
    atom = lmm.Quadratic(torch.zeros_like(x0))
    optimizer = lmm.ProjectedMMOptimizer(
        atom, proposer=Fixed(8 * x0), settings=lmm.SolveSettings(max_iter=2, gtol=0.0)
    )
    result = optimizer.minimize(x0, history=True)
    assert not result.history.accepted[0].any()
    assert result.history.accepted[1].all()
    torch.testing.assert_close(result.x, torch.zeros_like(x0), rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("slope", "actual", "factor"),
    [
        (1.0, -1.0, 0.25),  # f rose by as much as it should have fallen
        (1.0, -1e6, 0.1),
        (1.0, 0.99, 0.5),
        (1.0, 2.0, 0.5),  # concave along the step
        (-1.0, -2.0, 0.1),  # uphill
        (1.0, -torch.inf, 0.1),
        (1.0, torch.nan, 0.1),
        (torch.nan, torch.nan, 0.1),
    ],
)
def test_how_much_shorter(slope: float, actual: float, factor: float) -> None:
    found = parabola(torch.tensor([slope], dtype=DTYPE), torch.tensor([actual], dtype=DTYPE))
    assert float(found) == pytest.approx(factor)


def test_refusals_of_a_neighbour_shorten_nothing() -> None:
    x0 = normal(2, 5)
    step = torch.stack([x0[0], -x0[1]])  # the first is right, the second climbs
    optimizer = lmm.ProjectedMMOptimizer(
        lmm.Quadratic(torch.zeros_like(x0)),
        proposer=Fixed(step / 2),
        settings=lmm.SolveSettings(gtol=0.0),
    )
    state, info = optimizer.step(optimizer.init(x0))
    assert info.accepted.tolist() == [True, False]
    assert state.shortening.tolist() == [1.0, pytest.approx(0.1)]


def test_a_run_ends_where_only_steps_too_small_to_matter_are_taken() -> None:
    """At a kink with a gradient that leads astray: neither an endless run nor a success."""

    class Kink(lmm.Objective):
        def evaluate(self, x: Tensor) -> lmm.Evaluation:
            return lmm.Evaluation(1e6 + (x - x0).abs().sum(1), torch.full_like(x, 1e-3))

    x0 = normal(3, 4)
    majorant = Secants(lambda x: torch.ones_like(x).sum(1))
    settings = lmm.SolveSettings(gtol=0.0, max_iter=200)
    result = lmm.minimize(Kink(), x0, majorant=majorant, settings=settings)
    assert (result.status == lmm.Status.STALLED).all()
    assert (result.iterations < 60).all()
    assert result.certificate.monotone.all()


def test_only_iterates_are_observed_each_of_them_once() -> None:
    """What a problem of a batch is refused leaves no trace in its memory, nor do its neighbours."""

    class Logging(Fixed):
        """Remembers the last two iterates, and how many there were."""

        def init_memory(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
            return torch.zeros_like(x), torch.zeros_like(x), torch.zeros(len(x))

        def observe(self, point: lmm.Point, memory: Any) -> Any:
            last, _, count = memory
            return point.x, last, count + 1

    x0 = normal(2, 5)
    step = torch.stack([0.1 * x0[0], -x0[1]])  # the first descends, the second climbs
    optimizer = lmm.ProjectedMMOptimizer(
        lmm.Quadratic(torch.zeros_like(x0)),
        majorant=lmm.majorants.LipschitzMajorant(2.0),  # its step goes half of the way
        proposer=Logging(step),
        settings=lmm.SolveSettings(gtol=0.0),
    )
    state = optimizer.init(x0)
    seen = [[x0[i]] for i in range(2)]
    for _ in range(8):  # the second takes the majorant's step in the fourth and in the eighth
        before = state
        state, info = optimizer.step(before)
        for i in range(2):
            last, older, count = (part[i] for part in state.proposer_memory)
            assert int(count) == len(seen[i])
            assert torch.equal(last, seen[i][-1])
            assert torch.equal(older, seen[i][-2] if len(seen[i]) > 1 else 0 * x0[i])
            if bool(info.accepted[i]):
                seen[i].append(state.x[i])
    assert [len(iterates) for iterates in seen] == [9, 3]


# --- what confines a step ----------------------------------------------------------------------


@pytest.mark.parametrize("safeguard", [lmm.Safeguard(), None])
def test_a_step_may_leave_the_region_of_a_bound_where_it_is_verified(safeguard: Any) -> None:
    """Descent does not rest on the bound then, and beyond its region nothing can disprove it."""
    x0 = normal(3, 5)
    size = x0.norm(dim=1)
    length = torch.tensor([1.0, 1.0, 0.1], dtype=DTYPE)  # the last stays inside

    def bound(x: Tensor, aux: Any = None) -> lmm.Bound:  # too small by far, as beyond a region
        curvature = lmm.curvature.ScalarCurvature(torch.full_like(size, 0.1))
        return lmm.Bound(lmm.Kind.REGION, curvature, radius=size / 4)

    optimizer = lmm.ProjectedMMOptimizer(
        lambda x: (x * x).sum(1) / 2,
        majorant=bound,
        proposer=Fixed(length[:, None] * x0),
        settings=lmm.SolveSettings(safeguard=safeguard),
    )
    state, info = optimizer.step(optimizer.init(x0))
    if safeguard is None:
        assert info.cut.tolist() == [True, True, False]
        torch.testing.assert_close(info.step_norm, size * torch.tensor([0.25, 0.25, 0.1]).double())
    else:
        assert not info.cut.any()
        torch.testing.assert_close(info.step_norm, size * length)
        assert state.tally.violations.tolist() == [0, 0, 1]


def test_a_step_is_no_longer_than_its_reach_times_the_last_one() -> None:
    class Reaching(Fixed):
        reach = 3.0

    x0 = torch.full((2, 1), 10.0, dtype=DTYPE)
    step = torch.tensor([[1.0], [0.01]], dtype=DTYPE)
    optimizer = lmm.ProjectedMMOptimizer(
        lmm.Quadratic(torch.zeros_like(x0)), proposer=Reaching(step)
    )
    first, info = optimizer.step(optimizer.init(x0))
    assert info.step_norm.tolist() == [1.0, 0.01]  # the first is as long as it likes
    optimizer.proposer.step = 5 * step
    second, info = optimizer.step(first)
    torch.testing.assert_close(info.step_norm, 3 * step[:, 0])
    torch.testing.assert_close(second.x, first.x - 3 * step)


def test_a_step_is_in_the_units_of_the_iterate() -> None:
    """The candidate is ``x - d``, whatever the units of x and of the objective."""
    step = normal(2, 6, seed=3)
    for unit in (1.0, 1e-6):
        x0 = unit * normal(2, 6, seed=4)
        optimizer = lmm.ProjectedMMOptimizer(
            lmm.Quadratic(0 * x0),
            proposer=Fixed(unit * step),
            settings=lmm.SolveSettings(safeguard=None, gtol=0.0),
        )
        state, _ = optimizer.step(optimizer.init(x0))
        torch.testing.assert_close(state.x, x0 - unit * step, rtol=1e-12, atol=0)


@pytest.mark.parametrize(
    ("answer", "error", "message"),
    [
        (
            lmm.Step(torch.ones(2, 4)),
            ValueError,
            r"propose a tensor of the iterate's shape \(2, 3\), got \(2, 4\)",
        ),
        (lmm.Step(None), TypeError, "propose a floating-point tensor, got NoneType"),  # type: ignore[arg-type]
        (lmm.Step(torch.ones(2, 3).long()), TypeError, "propose a .* got torch.int64"),
        (torch.ones(2, 3), TypeError, "propose Multipliers or a Step, got Tensor"),
        (None, TypeError, "propose Multipliers or a Step, got NoneType"),
    ],
)
def test_what_is_no_step_for_the_iterate_is_refused_at_the_start(
    answer: Any, error: type[Exception], message: str
) -> None:
    optimizer = lmm.ProjectedMMOptimizer(
        lmm.Quadratic(torch.zeros(2, 3)), proposer=Returning(lambda point: answer)
    )
    with pytest.raises(error, match=f"Returning must {message}"):
        optimizer.init(torch.ones(2, 3))


def test_an_interval_that_whole_steps_would_drop_is_refused() -> None:
    x0 = normal(2, 3)
    message = r"Fixed proposes whole steps, which have no interval: leave it out, got Projection"
    for projection in (lmm.Projection(upper=1.5), lmm.Projection(lower=0.1)):
        optimizer = lmm.ProjectedMMOptimizer(
            lmm.Quadratic(0 * x0),
            proposer=Fixed(x0),
            settings=lmm.SolveSettings(projection=projection),
        )
        with pytest.raises(ValueError, match=message):
            optimizer.init(x0)
