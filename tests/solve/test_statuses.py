"""Why a problem stopped: each status is reached where it should be, and by that problem alone."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

import learnmm as lmm
from adversaries import Curvatures
from quadratics import DATA, Status, quadratic, statuses


def test_running_is_the_status_between_steps() -> None:
    optimizer, x0 = quadratic()
    state, _ = optimizer.step(optimizer.init(x0))
    assert (state.status == Status.RUNNING).all()


def test_gradient_is_reached() -> None:
    optimizer, x0 = quadratic(gtol=1e-3)
    result = optimizer.minimize(x0, history=True)
    assert statuses(result) == [Status.GRADIENT] * 3
    assert (result.gradient.abs() <= 1e-3).all()
    assert result.history is not None
    before = result.history.gradient_norm[result.iterations - 2, range(3)]
    assert (before > 1e-3).all()
    assert result.success.all()


def test_gradient_at_the_start_takes_no_step() -> None:
    result = lmm.minimize(lmm.Quadratic(DATA.target()), DATA.target())
    assert statuses(result) == [Status.GRADIENT] * 3
    assert not result.iterations.any()


@pytest.mark.parametrize(("rtol", "atol"), [(1e-2, 0.0), (0.0, 1e-2), (1e-3, 1e-3)])
def test_decrease_stops_at_the_first_small_one(rtol: float, atol: float) -> None:
    optimizer, x0 = quadratic(rtol=rtol, atol=atol, gtol=0)
    result = optimizer.minimize(x0, history=True)
    history = result.history
    assert history is not None
    assert statuses(result) == [Status.DECREASE] * 3
    before = torch.cat([result.initial_fun[None], history.value[:-1]])
    small = before - history.value <= atol + rtol * before.abs()
    assert torch.equal(small.int().argmax(0) + 1, result.iterations)
    assert result.success.all()


@pytest.mark.parametrize(
    "proposer", [None, lmm.proposers.Constant(initial=0.9)], ids=["plain", "learned"]
)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
def test_precision_is_reached_where_the_objective_cannot_fall(proposer, dtype) -> None:
    drawn = lmm.problem("logistic-regression").instance(
        3, generator=torch.Generator().manual_seed(0), dtype=dtype
    )
    result = drawn.optimizer(
        proposer=proposer, settings=lmm.SolveSettings(gtol=0, max_iter=3000)
    ).minimize(drawn.x0)
    assert statuses(result) == [Status.PRECISION] * 3
    assert result.success.all()


def test_max_iter_is_reached() -> None:
    optimizer, x0 = quadratic(max_iter=4, gtol=0)
    result = optimizer.minimize(x0)
    assert statuses(result) == [Status.MAX_ITER] * 3
    assert (result.iterations == 4).all()
    assert not result.success.any()


def test_stalled_where_no_step_descends() -> None:
    # The sign of the gradient is wrong.
    class Deceitful(lmm.Objective):
        def evaluate(self, x: Tensor) -> lmm.Evaluation:
            return lmm.Evaluation((x * x).sum(1), -2 * x)

    guard = lmm.Safeguard(trials=5)
    x0 = DATA.point()
    for proposer, tries in ((None, 1 + 5), (lmm.proposers.Constant(), 1 + 1 + 5)):
        result = lmm.minimize(
            Deceitful(),
            x0,
            majorant=lmm.majorants.LipschitzMajorant(2.0),
            settings=lmm.SolveSettings(safeguard=guard),
            proposer=proposer,
        )
        assert statuses(result) == [Status.STALLED] * 3
        assert (result.iterations == tries).all()
        assert (result.certificate.rejected == tries).all()
        assert torch.equal(result.x, x0)
        assert not result.success.any()


@pytest.mark.parametrize("broken", [torch.nan, torch.inf, 0.0, -1.0])
def test_bad_bound_stops_the_problem_alone(broken: float) -> None:
    def level(x: Tensor) -> Tensor:
        late = (torch.arange(3) == 1) & (x[:, 0] < 0.5)
        return torch.where(late, broken, 4.0)

    result = lmm.minimize(
        lambda x: (x * x).sum(1),
        torch.ones(3, 2),
        majorant=Curvatures(level),
        proposer=None,
        settings=lmm.SolveSettings(gtol=1e-4),
    )
    assert statuses(result) == [Status.GRADIENT, Status.BAD_BOUND, Status.GRADIENT]
    assert torch.isfinite(result.x).all()


def test_bad_bound_at_the_start_freezes_the_problem_unless_strict() -> None:
    majorant = Curvatures(lambda x: torch.tensor([4.0, torch.nan, 4.0]))
    result = lmm.ProjectedMMOptimizer(
        lambda x: (x * x).sum(1), proposer=lmm.LimitedMemory(), majorant=majorant
    ).minimize(torch.ones(3, 2), strict=False)
    assert statuses(result)[1] is Status.BAD_BOUND
    assert torch.equal(result.x[1], torch.ones(2))


def test_non_finite_without_a_safeguard() -> None:
    result = lmm.minimize(
        lambda x: torch.where(x < 0.5, torch.nan, x * x).sum(1),
        torch.ones(1, 2),
        majorant=lmm.majorants.LipschitzMajorant(1.0),
        settings=lmm.SolveSettings(safeguard=None),
    )
    assert statuses(result) == [Status.NON_FINITE]
    assert torch.isfinite(result.x).all()


def test_non_finite_candidates_are_retried_with_the_safeguard() -> None:
    # log has no value beyond the barrier that the first steps jump.
    result = lmm.minimize(
        lambda x: (x - torch.log(x)).sum(1),
        torch.full((1, 2), 0.1),
        majorant=lmm.majorants.LipschitzMajorant(1e-1),
        settings=lmm.SolveSettings(gtol=1e-3),
    )
    assert result.success.all()
    torch.testing.assert_close(result.x, torch.ones(1, 2), atol=1e-2, rtol=0)


def test_stopped_by_the_callback() -> None:
    optimizer, x0 = quadratic(gtol=0)
    seen = []

    def callback(state: lmm.State, info: lmm.StepInfo) -> bool:
        seen.append(info.value)
        return len(seen) == 3

    result = optimizer.minimize(x0, callback=callback)
    assert statuses(result) == [Status.STOPPED] * 3
    assert (result.iterations == 3).all()
    assert torch.equal(seen[-1], result.fun)


def test_a_callback_that_returns_nothing_goes_on() -> None:
    optimizer, x0 = quadratic(max_iter=5, gtol=0)
    assert (optimizer.minimize(x0, callback=lambda state, info: None).iterations == 5).all()


@pytest.mark.parametrize("status", list(Status))
def test_every_status_has_a_sentence(status: Status) -> None:
    assert status.message[0].isupper()
    assert status.message.endswith(".")


def test_results_say_why_each_problem_stopped() -> None:
    result = lmm.minimize(
        lambda x: (x * x).sum(1),
        torch.tensor([[0.0], [1.0]]),
        majorant=lmm.majorants.LipschitzMajorant(9.0),
        settings=lmm.SolveSettings(max_iter=1),
    )
    assert result.message(0) == f"No step was needed. {Status.GRADIENT.message}"
    assert result.message(1) == Status.MAX_ITER.message
    assert result.success.tolist() == [True, False]
