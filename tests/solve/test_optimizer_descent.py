"""Descent whatever proposes and whatever the bound; no rejection where the bound is proved."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

import learnmm as lmm
from adversaries import HOSTILE, Curvatures, Hostile, Random
from catalogue import ATOMS, PROBLEMS, PROPOSERS, AtomCase, Draw, ProblemCase
from learnmm.checks import assert_descent
from learnmm.solve.safeguard import rounding_slack

BATCH = 3
STEPS = 12

by_problem = pytest.mark.parametrize(
    "case", [case for case in PROBLEMS if not case.costly], ids=lambda case: case.label
)
by_atom = pytest.mark.parametrize("case", ATOMS, ids=lambda case: case.name)
by_dtype = pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
PROJECTIONS = [lmm.Projection(1e-3, 1.9998), None]
by_projection = pytest.mark.parametrize("projection", PROJECTIONS, ids=["projected", "free"])
kinds = st.tuples(st.sampled_from([torch.float64, torch.float32]), st.sampled_from(PROJECTIONS))
palettes = st.lists(st.sampled_from(HOSTILE) | st.floats(width=32), min_size=1, max_size=7)
seeds = st.integers(0, 2**20)


def brief(projection: lmm.Projection | None) -> lmm.SolveSettings:
    """A few steps, and no tolerance that ends them."""
    return lmm.SolveSettings(projection=projection, max_iter=STEPS, gtol=0)


def draw(case: ProblemCase, dtype: torch.dtype, seed: int = 0) -> lmm.Instance:
    return case.load().instance(BATCH, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def assert_result(result: lmm.Result, objective: lmm.Objective) -> None:
    """What every result promises, however it came about."""
    for tensor in (result.x, result.fun, result.gradient):
        assert torch.isfinite(tensor).all()
    assert (result.fun <= result.initial_fun).all()
    assert result.certificate.monotone.all()
    again = objective.evaluate(result.x)
    assert ((again.value - result.fun).abs() <= rounding_slack(result.initial_fun)).all()
    torch.testing.assert_close(again.gradient, result.gradient)


@by_problem
@settings(max_examples=5)
@given(kind=kinds, palette=palettes, stride=st.integers(0, 5), seed=seeds)
def test_no_problem_rises_under_hostile_multipliers(
    case: ProblemCase,
    kind: tuple[torch.dtype, lmm.Projection | None],
    palette: list[float],
    stride: int,
    seed: int,
) -> None:
    dtype, projection = kind
    drawn = draw(case, dtype, seed)
    optimizer = drawn.optimizer(
        proposer=Hostile(palette, stride),
        settings=brief(projection),
    )
    assert_descent(optimizer, drawn.x0, steps=STEPS)
    assert_result(optimizer.minimize(drawn.x0), optimizer.objective)


@by_atom
@settings(max_examples=6)
@given(kind=kinds, palette=palettes, stride=st.integers(0, 5), seed=seeds)
def test_no_atom_rises_under_hostile_multipliers(
    case: AtomCase,
    kind: tuple[torch.dtype, lmm.Projection | None],
    palette: list[float],
    stride: int,
    seed: int,
) -> None:
    dtype, projection = kind
    data = Draw(BATCH, dtype, seed)
    optimizer = lmm.ProjectedMMOptimizer(
        case.build(data),
        proposer=Hostile(palette, stride),
        settings=brief(projection),
    )
    assert_descent(optimizer, case.point(data), steps=STEPS)
    assert_result(optimizer.minimize(case.point(data)), optimizer.objective)


@by_problem
@by_dtype
def test_no_problem_rises_when_proposers_are_switched_at_random(
    case: ProblemCase, dtype: torch.dtype
) -> None:
    drawn = draw(case, dtype)
    optimizers = [
        drawn.optimizer(proposer=proposer, settings=brief(projection))
        for proposer in (Random(0), Random(1), lmm.proposers.Constant(initial=1.5), None)
        for projection in PROJECTIONS
    ]
    choice = torch.Generator().manual_seed(0)
    state = optimizers[0].init(drawn.x0)
    for _ in range(2 * STEPS):
        chosen = optimizers[int(torch.randint(len(optimizers), (), generator=choice))]
        following, info = chosen.step(state)
        assert (following.value <= state.value).all()
        assert torch.isfinite(following.x).all()
        assert torch.isfinite(following.gradient).all()
        assert torch.equal(
            (following.x != state.x).flatten(1).any(1) & ~info.accepted,
            torch.zeros(BATCH, dtype=torch.bool),
        )
        state = following


@pytest.mark.parametrize("case", PROPOSERS, ids=lambda case: case.name)
@by_dtype
@by_projection
def test_no_proposer_of_the_library_makes_it_rise(case, dtype, projection) -> None:
    data = Draw(BATCH, dtype)
    torch.manual_seed(0)
    proposer = case.build(dtype)
    whole = not isinstance(proposer, lmm.LearnedPreconditioner)
    optimizer = lmm.ProjectedMMOptimizer(
        lmm.HalfQuadratic(data.target(*case.shape), "welsch"),
        proposer=proposer,
        settings=brief(None if whole else projection),
    )
    assert_descent(optimizer, data.point(*case.shape), steps=STEPS)
    assert_result(optimizer.minimize(data.point(*case.shape)), optimizer.objective)


def assert_no_rejection(optimizer: lmm.ProjectedMMOptimizer, x0: Tensor) -> None:
    """Nothing is refused or above the majorant while the decrease exceeds rounding."""
    result = optimizer.minimize(x0, history=True)
    certificate, history = result.certificate, result.history
    assert certificate.kind is lmm.Kind.GLOBAL
    assert history is not None
    tried = torch.arange(len(history.value))[:, None] < result.iterations
    refused = tried & ~history.accepted
    # The last candidate of a problem may be refused because rounding hides its decrease.
    assert (refused.sum(0) <= (result.status == lmm.Status.PRECISION)).all()
    assert torch.equal(refused.sum(0), certificate.rejected)
    # Each step descends at least as far as the majorant says, up to the rounding of what is
    # computed: `rounding_slack` says how much that is, and the optimizer counts what exceeds it.
    assert not certificate.violations.any()
    assert not history.enlargements.any()


@pytest.mark.parametrize("case", [c for c in PROBLEMS if c.certain], ids=lambda case: case.label)
@pytest.mark.parametrize("seed", [0, 1])
def test_proved_bounds_are_never_refused_on_problems(case: ProblemCase, seed: int) -> None:
    drawn = draw(case, torch.float64, seed)
    assert_no_rejection(
        drawn.optimizer(settings=lmm.SolveSettings(max_iter=200, gtol=1e-7)), drawn.x0
    )


@pytest.mark.parametrize(
    "case", [c for c in ATOMS if c.kind is lmm.Kind.GLOBAL], ids=lambda case: case.name
)
@settings(max_examples=5)
@given(seed=seeds)
def test_proved_bounds_are_never_refused_on_atoms(case: AtomCase, seed: int) -> None:
    data = Draw(BATCH, torch.float64, seed)
    optimizer = lmm.ProjectedMMOptimizer(
        case.build(data), settings=lmm.SolveSettings(max_iter=60, gtol=1e-6)
    )
    assert_no_rejection(optimizer, case.point(data))


@pytest.mark.parametrize(
    "case", [c for c in ATOMS if c.kind is lmm.Kind.GLOBAL], ids=lambda case: case.name
)
@pytest.mark.parametrize("upper", [1.0, 1.9])
@settings(max_examples=3)
@given(palette=palettes, stride=st.integers(0, 5), seed=seeds)
def test_projected_multipliers_are_never_refused_under_a_proved_bound(
    case: AtomCase, upper: float, palette: list[float], stride: int, seed: int
) -> None:
    # The point of the projection: whatever is proposed, the descent lemma applies.
    data = Draw(BATCH, torch.float64, seed)
    optimizer = lmm.ProjectedMMOptimizer(
        case.build(data),
        proposer=Hostile(palette, stride),
        settings=lmm.SolveSettings(
            projection=lmm.Projection(upper=upper), max_iter=STEPS, gtol=1e-6
        ),
    )
    assert_no_rejection(optimizer, case.point(data))


@by_dtype
def test_multipliers_up_to_almost_two_are_accepted_under_a_proved_bound(dtype) -> None:
    data = Draw(BATCH, dtype)
    optimizer = lmm.ProjectedMMOptimizer(
        lmm.Logistic(torch.ones(BATCH, 5, dtype=dtype)),
        proposer=lmm.proposers.Constant(initial=1.9).to(dtype),
        settings=lmm.SolveSettings(projection=lmm.Projection(upper=1.9998), max_iter=20, gtol=0),
    )
    certificate = optimizer.minimize(data.point(5)).certificate
    assert not certificate.rejected.any()
    assert (certificate.proposed == 20).all()


def test_a_constant_given_as_a_float_is_not_rounded_down() -> None:
    # 0.7 is less in float32, the default dtype: a step of 1 / 0.7 would be above the majorant.
    x0 = torch.tensor([[1e3, -2e3]], dtype=torch.float64)
    optimizer = lmm.ProjectedMMOptimizer(
        lambda x: 0.35 * (x * x).sum(1) + 1e-3, majorant=lmm.majorants.LipschitzMajorant(0.7)
    )
    assert not optimizer.minimize(x0).certificate.violations.any()


def test_cancellation_in_the_objective_does_not_count_against_a_proved_bound() -> None:
    # 1/2 <x, H x> - <b, x> + c with optimum 0: near it, the terms are a thousand times the sum.
    data = Draw(1, torch.float32)
    curvature, linear = data.point(50).abs() + 0.1, data.target(50)
    constant = (linear**2 / curvature).sum(1) / 2

    def fun(x: Tensor) -> Tensor:
        return (curvature * x * x / 2 - linear * x).sum(1) + constant

    majorant = lmm.majorants.LipschitzMajorant(float(curvature.max()) * 1.01)
    # |f| alone says nothing of the rounding there; the caller, who sees the terms, can.
    noise = 16 * torch.finfo(torch.float32).eps * float(constant)
    safeguard = lmm.Safeguard(noise=noise)
    result = lmm.minimize(
        fun,
        torch.zeros(1, 50),
        majorant=majorant,
        settings=lmm.SolveSettings(gtol=0, safeguard=safeguard),
    )
    assert not result.certificate.violations.any()
    assert lmm.Status(int(result.status)) is lmm.Status.PRECISION


def too_small(drawn: lmm.Instance) -> Curvatures:
    """Claims `GLOBAL` with a hundredth of the curvature that the problem has."""
    return Curvatures(lambda x: torch.full_like(x[:, 0], 0.01))


@by_dtype
def test_a_wrong_majorant_descends_with_the_safeguard_and_is_exposed(dtype: torch.dtype) -> None:
    drawn = lmm.problem("quadratic").instance(
        BATCH, generator=torch.Generator().manual_seed(0), dtype=dtype
    )
    optimizer = drawn.optimizer(majorant=too_small(drawn), settings=lmm.SolveSettings(max_iter=60))
    assert_descent(optimizer, drawn.x0, steps=60)
    result = optimizer.minimize(drawn.x0)
    assert_result(result, optimizer.objective)
    assert result.certificate.kind is lmm.Kind.GLOBAL
    assert (result.certificate.violations > 0).all()
    assert (result.certificate.rejected > 0).all()
    assert (result.fun < 0.1 * result.initial_fun).all()


@by_dtype
def test_a_wrong_majorant_rises_without_the_safeguard(dtype: torch.dtype) -> None:
    drawn = lmm.problem("quadratic").instance(
        BATCH, generator=torch.Generator().manual_seed(0), dtype=dtype
    )
    optimizer = drawn.optimizer(
        majorant=too_small(drawn), settings=lmm.SolveSettings(safeguard=None, max_iter=5)
    )
    result = optimizer.minimize(drawn.x0)
    assert (result.fun > 10 * result.initial_fun).all()
    assert not result.certificate.monotone.any()
    assert not result.certificate.safeguarded
    assert (result.certificate.violations > 0).all()


class AtInfinity(lmm.Objective):
    """Falls everywhere, and is finite and flat where the iterate is infinite."""

    def evaluate(self, x: Tensor) -> lmm.Evaluation:
        beyond = torch.isinf(x).to(x)
        return lmm.Evaluation(-1e305 * beyond.sum(1), 1 - beyond)


def test_iterates_stay_finite_where_the_objective_is_finite_at_infinity() -> None:
    optimizer = lmm.ProjectedMMOptimizer(
        AtInfinity(),
        majorant=lmm.majorants.LipschitzMajorant(1.0),
        proposer=Hostile([1e308]),
        settings=lmm.SolveSettings(projection=None, max_iter=3),
    )
    x0 = torch.full((1, 1), -1e308, dtype=torch.float64)
    assert torch.isfinite(optimizer.minimize(x0).x).all()


@pytest.mark.parametrize("safeguard", [lmm.Safeguard(), None], ids=["safeguarded", "free"])
def test_iterates_keep_away_from_where_the_gradient_does_not_exist(safeguard) -> None:
    # The first step from 1 leads to 0: the value there is the smallest, the gradient infinite.
    result = lmm.minimize(
        lambda x: x.abs().sqrt().sum(1),
        torch.ones(2, 1),
        majorant=lmm.majorants.LipschitzMajorant(0.5),
        settings=lmm.SolveSettings(safeguard=safeguard, max_iter=10),
    )
    assert torch.isfinite(result.gradient).all()
    assert (result.x != 0).all()


@by_dtype
@by_projection
def test_not_even_a_rounding_error_upwards_is_accepted(dtype, projection) -> None:
    # Close to the minimizer values differ by rounding alone, in both directions.
    drawn = lmm.problem("logistic-regression").instance(
        8, generator=torch.Generator().manual_seed(0), dtype=dtype
    )
    optimizer = drawn.optimizer(
        proposer=Random(), settings=lmm.SolveSettings(projection=projection, gtol=0)
    )
    assert drawn.minimizer is not None
    assert_descent(optimizer, drawn.minimizer + 1e-4, steps=60)


def test_an_entry_of_vanishing_curvature_does_not_hold_up_the_others() -> None:
    # exp(-38^2 / 2) is subnormal: its inverse overflows, and its gradient is nothing.
    x0 = torch.tensor([[38.0, 0.5]], dtype=torch.float64)
    result = lmm.minimize(lmm.HalfQuadratic(torch.zeros_like(x0), "welsch"), x0)
    assert bool(result.success)
    assert abs(float(result.x[0, 1])) < 1e-4
