"""What changes by rounding alone is no curvature: kinks, plains, and minima far away."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor

import draws
import learnmm as lmm
from learnmm.majorants import secant

DOUBLE = torch.float64
Function = Callable[[Tensor], Tensor]
PROPOSERS = (None, lmm.LimitedMemory())


normal = partial(draws.normal, dtype=torch.float32)


DATA = normal(10, seed=5, dtype=DOUBLE)
KINKS: dict[str, tuple[Function, Tensor]] = {
    "norm": (lambda x: (x[0] ** 2 + x[1] ** 2).sqrt(), torch.full((2,), 20.0, dtype=DOUBLE)),
    "rmse": (lambda x: (x - DATA).square().mean().sqrt(), torch.zeros(10, dtype=DOUBLE)),
    "far": (lambda x: (x - 3e5).square().sum().sqrt(), torch.zeros(3, dtype=DOUBLE)),
    "one": (lambda x: (x - 7.3).square().sum().sqrt(), torch.full((1,), 20.0, dtype=DOUBLE)),
    "fourth": (lambda x: (x - DATA).square().sum().pow(2).pow(0.25), torch.ones(10, dtype=DOUBLE)),
    "sum": (lambda x: x.square().sum(1).sqrt().sum(), normal(3, 2, seed=7, dtype=DOUBLE)),
}


@pytest.mark.parametrize("name", KINKS)
@pytest.mark.parametrize("units", [1e-15, 1.0, 1e15])
def test_minimization_ends_at_the_kink(name: str, units: float) -> None:
    """Along the gradient the Hessian vanishes: what is computed is the rounding of its terms."""
    fun, x0 = KINKS[name]
    single = x0.shape == (3, 2)
    result = lmm.minimize(
        (lambda x: units * fun(x[0])[None]) if single else (lambda x: units * fun(x)),
        x0[None] if single else x0,
        settings=lmm.SolveSettings(gtol=0.0, max_iter=400),
    )
    assert float(result.fun.sum()) < 1e-9 * float(result.initial_fun.sum())


@pytest.mark.parametrize("proposer", PROPOSERS)
@pytest.mark.parametrize("start", [30.0, 1e4, 1e7])
def test_a_valley_that_flattens_is_entered_from_afar(
    proposer: lmm.Proposer | None, start: float
) -> None:
    """``sqrt(1 + x^2)``: the curvature ``x^-3`` is true there, and no scale for a step."""

    def fun(x: Tensor) -> Tensor:
        return (1 + x.square()).sqrt().sum()

    x0 = torch.full((1,), start, dtype=DOUBLE)
    settings = lmm.SolveSettings(max_iter=300)
    result = lmm.minimize(fun, x0, proposer=proposer, settings=settings)
    assert float(result.fun) == pytest.approx(1.0, rel=1e-6)


def test_a_far_minimum_is_reached_in_one_step() -> None:
    """A curvature that small is confirmed by the value, at one evaluation, not refused."""
    for distance in (1e7, 1e20):
        result = lmm.minimize(
            lambda x, d=distance: (x / d - 1).square().sum(),
            torch.zeros(3, dtype=DOUBLE),
            settings=lmm.SolveSettings(gtol=0.0),
        )
        torch.testing.assert_close(result.x, torch.full((3,), distance, dtype=DOUBLE))
        assert int(result.iterations) <= 4


def test_own_steps_do_not_take_rounding_for_curvature() -> None:
    """Lanczos's bound is at least what makes a step `FAR` times as long as the iterate."""
    x = torch.tensor([[20.0], [-3.0]], dtype=DOUBLE)

    def fun(z: Tensor) -> Tensor:
        return z.square().sum(1).sqrt()

    for majorant in (lmm.majorants.LanczosMajorant(fun), lmm.majorants.PowerIterationMajorant(fun)):
        level = majorant(x).curvature.largest()
        torch.testing.assert_close(level, 1 / (secant.FAR * x[:, 0].abs()))


class Trembling(torch.autograd.Function):
    """A sum whose gradient differs by some units in the last place from point to point."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, units: float) -> Tensor:
        ctx.save_for_backward(x)
        ctx.units = units
        return x.sum()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        (x,) = ctx.saved_tensors
        units = ctx.units * (x != x.round()).to(x)
        return gradient * (1 + units * torch.finfo(x.dtype).eps), None


@pytest.mark.parametrize("units", [2.0, 1e5])
def test_changes_of_a_gradient_by_rounding_are_no_curvature(units: float) -> None:
    """A function and a closure step by the length of the iterate, unless there is more."""
    x0 = torch.tensor([3.0, 4.0], dtype=DOUBLE)
    rounding = units < 10
    objective = lmm.objective.CallableObjective(lambda x: Trembling.apply(x, units), single=True)
    start = lmm.majorants.SecantMajorant(objective).init_memory(
        x0[None], torch.ones(1, 2, dtype=DOUBLE)
    )
    assert (float(start) == pytest.approx(2**0.5 / 5)) is rounding
    x = torch.nn.Parameter(x0.clone())
    lmm.optim.ProjectedMM([x]).step(lambda: Trembling.apply(x, units))
    assert (float((x.detach() - x0).norm()) == pytest.approx(5.0)) is rounding


def test_closures_end_at_the_kink() -> None:
    x = torch.nn.Parameter(torch.tensor([20.0, 20.0], dtype=DOUBLE))
    for settings in ({}, {"history": 0}, {"curvature": "secant"}):
        with torch.no_grad():
            x.fill_(20.0)
        optimizer = lmm.optim.ProjectedMM([x], **settings)
        for _ in range(30):
            optimizer.step(lambda: (x * x).sum().sqrt())
        assert float((x.detach() * x.detach()).sum().sqrt()) < 1e-3


def test_large_gradients_do_not_overflow_in_products() -> None:
    """``|g|^2`` and ``H g`` are beyond float32; ``H g / |g|`` is not."""
    x = torch.zeros(1, 3)

    def fun(z: Tensor) -> Tensor:
        return 1e19 * (z - 1).square().sum(1)

    gradient = lmm.objective.CallableObjective(fun).evaluate(x).gradient
    start = lmm.majorants.SecantMajorant(fun).init_memory(x, 1e3 * gradient)
    torch.testing.assert_close(start, torch.tensor([2e19]))
    assert math.isfinite(float(secant.unit(gradient * 1e18)[1]))
