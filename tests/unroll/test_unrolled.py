"""The solve as one differentiable pass: its steps, its gradients, and what masks them."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

import learnmm as lmm
from adversaries import Hostile
from unrolling import DTYPE, UNKNOWNS, Energy, data, loss_of, proposing


@pytest.mark.parametrize("name", ["multipliers", "spectral", "whole steps"])
@pytest.mark.parametrize("backward", ["unroll", "checkpoint"])
def test_gradients_are_those_of_finite_differences(name: str, backward: str) -> None:
    """Through the energy's own gradient, the bound and the mask of the safeguard."""
    energy = Energy()
    for weight in energy.network.parameters():
        weight.requires_grad_(False)  # layer norms count as constants, so these are tested apart
    solver = lmm.UnrolledMM(
        energy,
        proposing(name, energy),
        steps=4,
        backward=backward,
        settings=lmm.SolveSettings(relaxation=None),
    )
    y, x0 = data()
    loss = loss_of(solver(y, x0))
    parameters = [p for p in solver.parameters() if p.requires_grad]
    gradients = torch.autograd.grad(loss, parameters, allow_unused=True)
    generator = torch.Generator().manual_seed(3)
    for parameter, gradient in zip(parameters, gradients, strict=True):
        assert gradient is not None
        assert bool(torch.isfinite(gradient).all())
        direction = torch.randn(parameter.shape, generator=generator, dtype=DTYPE)
        values = []
        with torch.no_grad():
            for sign in (1.0, -1.0):
                parameter += sign * 1e-5 * direction
                values.append(loss_of(solver(y, x0)))
                parameter -= sign * 1e-5 * direction
        difference = (values[0] - values[1]) / 2e-5
        torch.testing.assert_close((gradient * direction).sum(), difference, rtol=1e-5, atol=1e-7)


def test_gradients_of_the_energys_network_are_those_of_finite_differences() -> None:
    """With steps that do not rest on layer norms: whole steps, none of them refused."""
    energy = Energy()
    settings = lmm.SolveSettings(safeguard=None)
    solver = lmm.UnrolledMM(energy, proposing("whole steps", energy), steps=3, settings=settings)
    y, x0 = data()
    weight = energy.network[0].weight
    (gradient,) = torch.autograd.grad(loss_of(solver(y, x0)), [weight])
    direction = torch.randn(weight.shape, generator=torch.Generator().manual_seed(4), dtype=DTYPE)
    with torch.no_grad():
        weight += 1e-5 * direction
        above = loss_of(solver(y, x0))
        weight -= 2e-5 * direction
        below = loss_of(solver(y, x0))
    torch.testing.assert_close(
        (gradient * direction).sum(), (above - below) / 2e-5, rtol=1e-6, atol=0
    )


def test_steps_are_the_optimizers_own() -> None:
    energy = Energy()
    solver = lmm.UnrolledMM(energy, proposing("whole steps", energy), steps=12)
    y, x0 = data()
    solved = solver(y, x0)
    result = solver.optimizer(y, settings=lmm.SolveSettings(max_iter=12)).minimize(x0, history=True)
    assert torch.equal(solved.x, result.x)
    assert torch.equal(solved.values[1:], result.history.value)
    assert torch.equal(solver.certificate(solved).accepted, result.certificate.accepted)
    assert torch.equal(solved.iterates[-1], solved.x)
    assert torch.equal(solved.iterates[0], x0)


def test_safeguard_holds_in_training_and_can_be_lifted_for_a_pass() -> None:
    energy = Energy()
    solver = lmm.UnrolledMM(energy, lmm.proposers.Unprojected(Hostile((-3.0, 3.0, 2.0))), steps=30)
    y, x0 = data()
    verified, free = solver(y, x0), solver(y, x0, verified=False)
    assert bool((verified.values.diff(dim=0) <= 0).all())
    assert bool(solver.certificate(verified).monotone.all())
    assert int(verified.steps.accepted.sum()) < verified.steps.accepted.numel()
    assert bool((free.values.diff(dim=0) > 0).any())
    assert solver.certificate(verified).safeguarded
    assert not solver.certificate(free).safeguarded
    assert "steps not verified" in str(solver.certificate(free))


@pytest.mark.parametrize("window", [1, 3])
def test_truncation_keeps_the_last_steps_and_the_values(window: int) -> None:
    energy = Energy()
    y, x0 = data()
    component = proposing("multipliers", energy)
    whole = lmm.UnrolledMM(energy, component, steps=8)(y, x0)
    truncated = lmm.UnrolledMM(
        energy, component, steps=8, backward=lmm.Backward("truncated", window=window)
    )(y, x0)
    torch.testing.assert_close(truncated.values, whole.values)
    assert len(truncated.iterates) == window + 1
    assert not truncated.iterates[0].requires_grad
    assert truncated.iterates[1].requires_grad
    # The same as starting the last steps from a constant, memory and relaxation included.
    (gradient,) = torch.autograd.grad(loss_of(truncated), [energy.log_weight])
    optimizer = lmm.UnrolledMM(energy, component).optimizer(y)
    with torch.no_grad():
        state = optimizer.init(x0)
        for _ in range(8 - window):
            state, _ = optimizer.step(state)
    for _ in range(window):
        state, _ = optimizer.step(state)
    expected = lmm.CosineDistance(torch.ones_like(state.x))(state.x).sum() + state.value.sum()
    torch.testing.assert_close(gradient, torch.autograd.grad(expected, [energy.log_weight])[0])


@pytest.mark.parametrize("backward", ["unroll", "checkpoint"])
def test_callables_unroll_too(backward: str) -> None:
    """Objectives by automatic differentiation, also where saved tensors are intercepted."""
    scale = nn.Parameter(torch.tensor(2.0, dtype=DTYPE))
    solver = lmm.UnrolledMM(
        lambda y: lambda x: (scale * (x - y) ** 4).sum(1) + ((x - y) ** 2).sum(1),
        lmm.proposers.Constant(initial=0.5).to(DTYPE),
        majorant=lambda x, aux: lmm.Bound(
            lmm.Kind.ESTIMATE, lmm.curvature.ScalarCurvature(50 * torch.ones(len(x), dtype=DTYPE))
        ),
        settings=lmm.SolveSettings(relaxation=None),
        steps=5,
        backward=backward,
    )
    y = torch.linspace(-1, 1, 6, dtype=DTYPE).reshape(2, 3)

    def run() -> Tensor:
        return solver(y, torch.zeros_like(y)).x.square().sum()

    (gradient,) = torch.autograd.grad(run(), [scale])
    with torch.no_grad():
        scale += 1e-5
        above = run()
        scale -= 2e-5
        below = run()
    torch.testing.assert_close(gradient, (above - below) / 2e-5, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("backward", ["unroll", "checkpoint"])
def test_a_refused_infinite_candidate_spoils_no_gradient(backward: str) -> None:
    """Its slope is infinite too, and a mask would make NaN of zero times that, for everybody."""

    def wall(x: Tensor) -> Tensor:
        return (x[:, 0] - 1) ** 2 + torch.exp((-1000 * x[:, 0]).clamp(min=0))

    def learned(*starts: float) -> Tensor:
        number = lmm.proposers.Constant(initial=1.9998).double()
        solver = lmm.UnrolledMM(
            lambda data: wall,
            number,
            start=lambda data: data,
            steps=1,
            backward=backward,
            majorant=lmm.majorants.LipschitzMajorant(2.0),
            settings=lmm.SolveSettings(projection=lmm.Projection(upper=1.9998)),
        )
        solved = solver(torch.tensor(starts, dtype=torch.float64)[:, None])
        solved.values[-1].sum().backward()
        return number.multipliers.grad

    # From 3 the step ends beyond the wall, at infinity; from 0.9 it does not.
    assert torch.equal(learned(3.0), torch.zeros(()))
    alone = learned(0.9)
    assert float(alone) != 0
    torch.testing.assert_close(learned(3.0, 0.9), alone)


def test_no_nan_where_nothing_is_left_to_do() -> None:
    """At a zero residual the square roots of the bounds have no slope; gradients stay finite."""
    energy = Energy()
    _, x0 = data()
    y = energy.matrix @ x0
    solver = lmm.UnrolledMM(
        lambda d: (
            lmm.CosineDistance(d) @ energy.matrix
            + energy.log_weight.exp()
            * lmm.LinearSmootherPrior(torch.eye(UNKNOWNS, dtype=DTYPE), "pointwise")
        ),
        proposing("multipliers", energy),
        steps=3,
    )
    x0 = x0.clone().requires_grad_()
    solved = solver(y, x0)
    assert float(solved.values[0].detach().max()) < 1e-15
    solved.x.sum().backward()
    assert bool(torch.isfinite(x0.grad).all())
    assert all(p.grad is None or bool(torch.isfinite(p.grad).all()) for p in solver.parameters())
