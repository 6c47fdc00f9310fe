"""The learned quasi-Newton method: what its factors do, and that nothing depends on units."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

import learnmm as lmm
from draws import normal, seeded
from learnmm import checks
from learnmm.proposers.quasi_newton import LearnedQuasiNewton, Rule
from learnmm.proposers.quasi_newton.features import correction, decrease
from learnmm.proposers.quasi_newton.proposer import PRETRAINED, QuasiNewtonMemory
from learnmm.proposers.shortening import cubic
from learnmm_problems.mgh import MGHProblem

DTYPE = torch.float64


def rosenbrock(x: Tensor) -> Tensor:
    return (100 * (x[:, 1:] - x[:, :-1] ** 2) ** 2 + (1 - x[:, :-1]) ** 2).sum(1)


def drawn(seed: int, size: float = 0.3) -> Rule:
    """A rule with other weights than those of before training."""
    rule = Rule().to(DTYPE)
    for k, weights in enumerate(rule.parameters()):
        weights.data += size * normal(*weights.shape, seed=seed + k)
    return rule


def points(seed: int, count: int, batch: int = 3, n: int = 4) -> list[lmm.Point]:
    """A path through curved country, under a curvature that is no multiple of the identity."""
    curvature = lmm.curvature.DiagonalCurvature(normal(batch, n, seed=seed).exp())
    found, x = [], normal(batch, n, seed=seed + 1)
    for k in range(count):
        bent = x + torch.sin(x)
        found.append(lmm.Point(x, bent, curvature, (x.square() / 2 - x.cos()).sum(1)))
        x = x - 0.4 * bent + 0.1 * normal(batch, n, seed=seed + 2 + k)
    return found


def followed(proposer: lmm.Proposer, path: list[lmm.Point]) -> tuple[list[Tensor], object]:
    memory, steps = proposer.init_memory(path[0].x), []
    with torch.no_grad():
        for point in path:
            memory = proposer.observe(point, memory)
            steps.append(proposer.propose(point, memory).values)
    return steps, memory


# --- the step -----------------------------------------------------------------------------------


@given(seed=st.integers(0, 10**6), history=st.integers(1, 5))
def test_with_every_factor_one_it_is_limited_memory(seed: int, history: int) -> None:
    rule = Rule().to(DTYPE)
    # Keep the scale of the newest pair, and trust its secant alone.
    rule.keep.bias.data[2:] = torch.tensor([50.0, -50.0, -50.0], dtype=DTYPE)
    path = points(seed, 8)
    ours, _ = followed(LearnedQuasiNewton(rule, history), path)
    theirs, _ = followed(lmm.LimitedMemory(history), path)
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-12)


def dense(memory: QuasiNewtonMemory, point: lmm.Point, i: int) -> Tensor:
    """``H g`` of problem `i`, by updates of a matrix."""
    pairs, history = memory.pairs, memory.weights.shape[1]
    newest = int(pairs.newest[i])
    oldest_first = [(newest + 1 + k) % history for k in range(history)]
    ones = torch.ones_like(point.x)
    inverse = torch.diag(point.curvature.solve(ones)[i])
    y = pairs.changes[i, newest]
    inverse = inverse * memory.level[i].exp() * (y @ y) / (y @ inverse @ y)
    for k in oldest_first:
        s, y = pairs.moves[i, k], pairs.changes[i, k]
        if float(pairs.products[i, k]) > 0:
            keep = torch.eye(len(s), dtype=DTYPE) - torch.outer(y, s) / (s @ y)
            inverse = keep.mT @ inverse @ keep + memory.weights[i, k] * torch.outer(s, s) / (s @ y)
    return pairs.stretch[i] * inverse @ point.gradient[i]


@given(seed=st.integers(0, 10**6), history=st.integers(1, 5))
def test_factors_weigh_the_updates_of_a_matrix(seed: int, history: int) -> None:
    path = points(seed, 7)
    proposer = LearnedQuasiNewton(drawn(seed), history)
    steps, memory = followed(proposer, path)
    assert isinstance(memory, QuasiNewtonMemory)
    assert float((memory.weights - 1).abs().max()) > 0 or history == 1
    for i in range(3):
        expected = dense(memory, path[-1], i)
        factor = (steps[-1][i] @ expected) / (expected @ expected)
        assert 1 / 4 <= float(factor) <= 4
        torch.testing.assert_close(steps[-1][i], factor * expected, rtol=1e-8, atol=1e-12)


@settings(max_examples=8)
@given(seed=st.integers(0, 10**6), unit=st.floats(1e-6, 1e6), energy=st.floats(1e-6, 1e6))
def test_nothing_depends_on_units_or_the_order_of_unknowns(
    seed: int, unit: float, energy: float
) -> None:
    proposer = LearnedQuasiNewton(drawn(seed, 0.1))
    x0, order = normal(2, 5, seed=seed), torch.randperm(5, generator=seeded(seed))
    limits = lmm.SolveSettings(max_iter=12, gtol=0.0)
    back = order.argsort()
    plain = lmm.minimize(rosenbrock, x0, proposer=proposer, settings=limits)
    other = lmm.minimize(
        lambda z: energy * rosenbrock(z[:, back] / unit),
        unit * x0[:, order],
        proposer=proposer,
        settings=limits,
    )
    torch.testing.assert_close(other.x[:, back] / unit, plain.x, rtol=1e-5, atol=1e-6)


def test_it_obeys_the_laws_of_proposers() -> None:
    checks.assert_proposer(LearnedQuasiNewton(drawn(3)), normal(3, 6, seed=4), steps=6)
    checks.assert_proposer(LearnedQuasiNewton.pretrained(), normal(3, 2, 4, seed=4), steps=6)


def test_its_rule_learns_through_steps() -> None:
    proposer = LearnedQuasiNewton(Rule().to(DTYPE))
    start = normal(2, 4, seed=5)
    solver = lmm.UnrolledMM(lambda _: rosenbrock, proposer, start=lambda _: start, steps=6)
    solver(start).values[-1].sum().backward()
    for name, weights in proposer.named_parameters():
        assert weights.grad is not None, name
        assert bool(weights.grad.isfinite().all()), name
    assert float(proposer.rule.keep.weight.grad.abs().max()) > 0


# --- what it sees -------------------------------------------------------------------------------


def along(a: float, b: float, c: float) -> tuple[Tensor, tuple[Tensor, Tensor], float]:
    """Decrease, slopes and curvature at the end of a unit step on ``a t + b t^2 + c t^3``."""
    slopes = torch.tensor([a], dtype=DTYPE), torch.tensor([a + 2 * b + 3 * c], dtype=DTYPE)
    return torch.tensor([-(a + b + c)], dtype=DTYPE), slopes, 2 * b + 6 * c


@given(a=st.floats(-3, -0.1), b=st.floats(0.1, 3), c=st.floats(-0.05, 1), unit=st.floats(1e-3, 1e3))
def test_the_correction_is_the_curvature_of_the_cubic(
    a: float, b: float, c: float, unit: float
) -> None:
    drop, slopes, bend = along(unit * a, unit * b, unit * c)
    expected = max(0.1, min(10.0, bend / float(slopes[1] - slopes[0])))
    assert math.exp(float(correction(drop, slopes))) == pytest.approx(expected, rel=1e-6)


def test_without_positive_curvature_there_is_no_correction() -> None:
    drop, slopes, _ = along(-1.0, -1.0, 0.0)
    assert float(correction(drop, slopes)) == 0


def test_a_decrease_that_rounding_blurs_is_that_of_the_slopes() -> None:
    slopes = torch.tensor([-2.0, -2.0], dtype=DTYPE), torch.tensor([-1.0, -1.0], dtype=DTYPE)
    before = torch.tensor([3.0, 1e16], dtype=DTYPE)
    value = before - torch.tensor([1.0, 0.0], dtype=DTYPE)
    assert decrease(before, value, slopes).tolist() == [1.0, 1.5]
    assert decrease(before, None, slopes).tolist() == [1.5, 1.5]


def test_it_is_told_the_objective() -> None:
    seen: list[Tensor] = []

    class Watched(LearnedQuasiNewton):
        def observe(self, point: lmm.Point, memory: QuasiNewtonMemory) -> QuasiNewtonMemory:
            seen.append(point.value)
            return super().observe(point, memory)

    x0 = normal(2, 3, seed=6)
    early = lmm.SolveSettings(max_iter=20)  # before a problem has finished and leaves the batch
    result = lmm.minimize(rosenbrock, x0, proposer=Watched(Rule()), settings=early)
    assert torch.equal(seen[0], rosenbrock(x0))
    assert bool((torch.stack(seen).diff(dim=0) <= 0).all())
    assert bool((result.fun <= seen[-1]).all())


# --- how it starts, and what follows a refusal --------------------------------------------------


def test_a_start_costs_one_evaluation_and_no_product() -> None:
    class Once(torch.autograd.Function):
        """Squares that can be differentiated once."""

        @staticmethod
        def forward(ctx: object, x: Tensor) -> Tensor:
            ctx.save_for_backward(x)
            return x.square().sum(1)

        @staticmethod
        @torch.autograd.function.once_differentiable
        def backward(ctx: object, g: Tensor) -> Tensor:
            (x,) = ctx.saved_tensors
            return 2 * x * g[:, None]

    calls = []

    def fun(x: Tensor) -> Tensor:
        calls.append(x)
        return Once.apply(x)

    x0 = normal(2, 3, seed=7)
    optimizer = lmm.ProjectedMMOptimizer(fun, proposer=LearnedQuasiNewton(Rule()))
    with torch.no_grad():
        state = optimizer.init(x0)
    assert len(calls) == 1
    # The gradient is 2 x: a step as long as the iterate ends at the minimum.
    torch.testing.assert_close(state.proposal.step, x0)


@given(a=st.floats(-3, -0.1), b=st.floats(0.1, 3), c=st.floats(0.1, 3))
def test_a_refused_step_is_cut_to_the_minimum_of_the_cubic(a: float, b: float, c: float) -> None:
    drop, slopes, _ = along(a, b, c)
    least = (-b + math.sqrt(b * b - 3 * a * c)) / (3 * c)
    found = cubic(-slopes[0], drop, -slopes[1])
    assert float(found) == pytest.approx(max(0.01, min(0.9, least)), rel=1e-6)


@pytest.mark.parametrize(
    ("slope", "actual", "after", "factor"),
    [
        (1.0, -math.inf, 1.0, 0.1),
        (1.0, -1.0, math.nan, 0.1),
        (1.0, -1e9, -1e5, 0.01),
        (1.0, 2.0, 1.0, 0.9),  # downhill all along
    ],
)
def test_how_much_shorter(slope: float, actual: float, after: float, factor: float) -> None:
    found = cubic(*(torch.tensor([one], dtype=DTYPE) for one in (slope, actual, after)))
    assert float(found) == pytest.approx(factor)


# --- what is shipped ----------------------------------------------------------------------------


def test_what_is_shipped_is_small_and_descends() -> None:
    assert PRETRAINED.stat().st_size <= 200_000
    learned = LearnedQuasiNewton.pretrained()
    assert sum(p.numel() for p in learned.parameters()) == 64
    for function in ("rosenbrock", "powell-singular", "wood"):
        problem = MGHProblem(function).instance(1, dtype=DTYPE)
        result = lmm.minimize(problem.objective, problem.x0, proposer=learned)
        assert bool((result.fun - problem.optimum < 1e-8).all()), function
        assert bool(result.certificate.monotone.all()), function


def test_weights_are_stored_and_come_back(tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    proposer = LearnedQuasiNewton(drawn(8).float(), history=7)
    proposer.save(path, {"minutes": 1})
    again = LearnedQuasiNewton.load(path, history=3)
    assert again.history == 3
    for a, b in zip(proposer.parameters(), again.parameters(), strict=True):
        assert torch.equal(a, b)


def test_weights_of_something_else_are_refused(tmp_path: Path) -> None:
    from learnmm.storage import save_weights

    path = tmp_path / "weights.safetensors"
    save_weights(path, Rule(), {"proposer": "Another"})
    with pytest.raises(ValueError, match="another configuration"):
        LearnedQuasiNewton.load(path)


@pytest.mark.parametrize("history", [0, 2.5])
def test_a_history_is_a_positive_integer(history: int) -> None:
    with pytest.raises(ValueError, match="history must be an integer"):
        LearnedQuasiNewton(Rule(), history)
