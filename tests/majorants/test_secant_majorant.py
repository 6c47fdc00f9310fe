"""Secants: curvature from the gradients of the steps already taken."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

import learnmm as lmm
from draws import normal

DTYPE = torch.float64


def rosenbrock(x: Tensor) -> Tensor:
    return (100 * (x[:, 1:] - x[:, :-1] ** 2) ** 2 + (1 - x[:, :-1]) ** 2).sum(1)


@given(seed=st.integers(0, 10**6), steps=st.integers(1, 12))
def test_a_secant_lies_within_the_spectrum_of_a_convex_quadratic(seed: int, steps: int) -> None:
    spectrum = normal(3, 5, seed=seed).exp()

    def fun(x: Tensor) -> Tensor:
        return (spectrum * x * x).sum(1) / 2

    optimizer = lmm.ProjectedMMOptimizer(
        fun, majorant=lmm.majorants.SecantMajorant(fun), settings=lmm.SolveSettings(gtol=0.0)
    )
    state = optimizer.init(normal(3, 5, seed=seed + 1))
    for _ in range(steps):
        level = optimizer.bound(state.x, state.aux, state.majorant_memory).curvature.largest()
        assert (level <= spectrum.amax(1) * (1 + 1e-6)).all()
        assert (level >= spectrum.amin(1) * (1 - 1e-6)).all()
        state, info = optimizer.step(state)
        if bool((info.actual < 1e-12).any()):
            break


def test_the_first_secant_is_the_hessian_along_the_gradient() -> None:
    x = normal(3, 4)
    gradient = torch.func.grad(lambda z: rosenbrock(z).sum())(x)
    majorant = lmm.majorants.SecantMajorant(rosenbrock)
    for i in range(3):
        hessian = torch.func.hessian(lambda z: rosenbrock(z[None])[0])(x[i])
        expected = (hessian @ gradient[i]).norm() / gradient[i].norm()
        torch.testing.assert_close(majorant.init_memory(x, gradient)[i], expected)
    bound = majorant(x)
    torch.testing.assert_close(bound.curvature.largest(), majorant.init_memory(x, gradient))
    assert bound.kind is lmm.Kind.ESTIMATE
    assert isinstance(majorant, lmm.majorants.AdaptiveMajorant)
    assert not isinstance(lmm.majorants.LipschitzMajorant(1.0), lmm.majorants.AdaptiveMajorant)


def test_a_linear_objective_has_no_secant_and_a_step_as_long_as_the_iterate() -> None:
    slope, x0 = normal(2, 3), normal(2, 3, seed=1)

    def linear(x: Tensor) -> Tensor:
        return (slope * x).sum(1)

    result = lmm.minimize(linear, x0, settings=lmm.SolveSettings(max_iter=1))
    torch.testing.assert_close((result.x - x0).norm(dim=1), x0.norm(dim=1))
    result = lmm.minimize(linear, 0 * x0, settings=lmm.SolveSettings(max_iter=5))
    assert torch.isfinite(result.x).all()


def test_secants_follow_the_steps_within_limits() -> None:
    majorant, level = lmm.majorants.SecantMajorant(rosenbrock), torch.ones(5, dtype=DTYPE)
    move = torch.ones(5, 2, dtype=DTYPE)
    factor = torch.tensor([2.0, -3.0, 1e-9, 1e9, 0.0], dtype=DTYPE)
    found = majorant.observe(move, factor[:, None] * move, level)
    torch.testing.assert_close(found, torch.tensor([2.0, 3.0, 0.5, 1e3, 1.0], dtype=DTYPE))


@pytest.mark.parametrize("power", [-100, -60, 0, 60])
def test_a_secant_has_the_scale_of_the_gradient(power: int) -> None:
    """Of recordings in SI units the squares of gradients are below any float32."""
    generator = torch.Generator().manual_seed(0)
    move, change = (torch.randn(2, 5, generator=generator) for _ in range(2))
    change = torch.where((move * change).sum(1, keepdim=True) > 0, change, -change)
    majorant, factor = lmm.majorants.SecantMajorant(lambda x: x.square().sum(1)), 2.0**power
    plain = majorant.observe(move, change, torch.ones(2))
    scaled = majorant.observe(move, factor * change, torch.full((2,), factor))
    torch.testing.assert_close(scaled, factor * plain, rtol=1e-6, atol=0)
