"""`optim.ProjectedMM` behaves as optimizers of torch do: what it returns, groups, schedulers."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

import learnmm as lmm
from closures import (
    accumulated,
    alone,
    by_style,
    network,
    normal,
    parameter,
    rosenbrock,
    train,
    with_zero_grad,
)
from learnmm.optim.closure import flatten


@by_style
def test_the_loss_before_the_step_is_returned_detached(style: Any) -> None:
    model, loss = network()
    optimizer = lmm.optim.ProjectedMM(model.parameters())
    for _ in range(3):
        before = float(loss().detach())
        returned = optimizer.step(lambda: style(loss, optimizer))
        assert float(returned) == before
        assert returned.shape == ()
        assert not returned.requires_grad


@by_style
def test_afterwards_grad_is_the_gradient_there(style: Any) -> None:
    model, loss = network()
    optimizer = lmm.optim.ProjectedMM(model.parameters())
    for _ in range(2):
        optimizer.step(lambda: style(loss, optimizer))
    expected = torch.autograd.grad(loss(), list(model.parameters()))
    for p, gradient in zip(model.parameters(), expected, strict=True):
        assert p.grad is not None
        torch.testing.assert_close(p.grad, gradient, rtol=1e-12, atol=1e-14)
    result = optimizer.last_result
    assert result is not None
    optimizer.zero_grad(set_to_none=False)  # which must not reach into the result
    assert torch.equal(result.gradient, flatten(expected)[0]) or style is accumulated


@pytest.mark.parametrize("lr", [0.5, 0.01, torch.tensor(0.25)])
@pytest.mark.parametrize("style", [alone, with_zero_grad])
def test_the_learning_rate_is_a_factor_on_the_step(lr: Any, style: Any) -> None:
    moves = []
    for rate in (1.0, lr):
        x = parameter([0.3, -0.2])
        start = x.detach().clone()
        optimizer = lmm.optim.ProjectedMM([x], lr=rate)
        optimizer.step(lambda x=x, o=optimizer: style(lambda: rosenbrock(x), o))  # type: ignore[misc]
        moves.append(x.detach() - start)
    torch.testing.assert_close(moves[1], float(lr) * moves[0], rtol=1e-10, atol=0)


def test_relaxation_does_not_undo_the_learning_rate() -> None:
    """On a quadratic of one curvature the measured step solves it, and lr shortens just that."""
    x = parameter(normal(6))
    optimizer = lmm.optim.ProjectedMM([x], lr=0.1)
    losses = train(optimizer, lambda: 7 * x.square().sum(), 15)
    for a, b in itertools.pairwise(losses):
        assert b / a == pytest.approx(0.9**2, rel=1e-6)


def test_groups_have_learning_rates_of_their_own() -> None:
    x, y, z = (parameter(normal(2, seed=seed)) for seed in range(3))
    starts = [t.detach().clone() for t in (x, y, z)]
    groups = [{"params": [x]}, {"params": [y], "lr": 0.1}, {"params": [z], "lr": 0.0}]
    optimizer = lmm.optim.ProjectedMM(groups, settings=lmm.SolveSettings(relaxation=None))
    optimizer.step(lambda: 3 * (x.square().sum() + y.square().sum() + z.square().sum()))
    for t, start, share in zip((x, y, z), starts, (0.0, 0.9, 1.0), strict=True):
        torch.testing.assert_close(t.detach(), share * start, rtol=1e-9, atol=1e-12)
    assert z.grad is None


def test_groups_may_come_later() -> None:
    x, y = parameter([2.0]), parameter([3.0])
    optimizer = lmm.optim.ProjectedMM([x])
    loss = lambda: x.square().sum() + y.square().sum()  # noqa: E731
    optimizer.step(loss)
    optimizer.add_param_group({"params": [y]})
    losses = train(optimizer, loss, 5)
    assert y.abs().item() < 1e-6
    assert all(b <= a for a, b in itertools.pairwise(losses))


def test_a_learning_rate_of_zero_stops_everything() -> None:
    x = parameter([2.0])
    optimizer = lmm.optim.ProjectedMM([x], lr=0.0)
    assert float(optimizer.step(lambda: x.square().sum())) == 4.0
    assert x.item() == 2.0


SCHEDULERS: list[Callable[[torch.optim.Optimizer], Any]] = [
    lambda o: torch.optim.lr_scheduler.StepLR(o, 2, 0.5),
    lambda o: torch.optim.lr_scheduler.CosineAnnealingLR(o, 10),
    lambda o: torch.optim.lr_scheduler.LinearLR(o, 0.1, total_iters=5),
    lambda o: torch.optim.lr_scheduler.LinearLR(o, 0.1, total_iters=10),  # ends above 1 by rounding
    lambda o: torch.optim.lr_scheduler.CosineAnnealingLR(o, 3),  # that too
    lambda o: torch.optim.lr_scheduler.OneCycleLR(o, 1.0, total_steps=30, cycle_momentum=False),
    lambda o: torch.optim.lr_scheduler.LambdaLR(o, lambda k: 0.9**k),
]


@pytest.mark.parametrize("schedule", SCHEDULERS)
def test_schedulers_are_tolerated(schedule: Any) -> None:
    model, loss = network()
    optimizer = lmm.optim.ProjectedMM(model.parameters())
    scheduler = schedule(optimizer)
    losses = []
    for _ in range(12):
        losses.append(float(optimizer.step(loss)))
        scheduler.step()
    assert all(b <= a for a, b in itertools.pairwise(losses))
    assert losses[-1] < losses[0]


def test_a_scheduler_on_plateaus_is_tolerated() -> None:
    x = parameter([1.0])
    optimizer = lmm.optim.ProjectedMM([x])
    scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, factor=0.5, patience=0)
    for _ in range(6):
        scheduler.step(float(optimizer.step(lambda: x.square().sum() + 1)))
    assert optimizer.param_groups[0]["lr"] < 1


def test_parameters_of_all_shapes_move() -> None:
    shapes: list[tuple[int, ...]] = [(), (1,), (2, 3), (2, 1, 2)]
    parameters = [parameter(1 + normal(*shape).abs()) for shape in shapes]
    parameters.append(nn.Parameter((1 + normal(3, 4).abs()).mT))  # not contiguous
    optimizer = lmm.optim.ProjectedMM(parameters)
    loss = lambda: torch.stack([p.square().sum() for p in parameters]).sum()  # noqa: E731
    losses = train(optimizer, loss, 4)
    assert losses[-1] < 1e-9 * losses[0]


def test_frozen_and_unused_parameters_stay() -> None:
    x, frozen, unused = parameter([1.0, 2.0]), parameter([3.0]), parameter([4.0])
    frozen.requires_grad_(False)
    for style in (alone, with_zero_grad):
        optimizer = lmm.optim.ProjectedMM([frozen, x, unused])
        train(optimizer, lambda o=optimizer, s=style: s(lambda: (frozen * x).square().sum(), o), 3)  # type: ignore[misc]
    assert frozen.item() == 3.0
    assert unused.item() == 4.0
    assert float(x.detach().norm()) < 1e-3


def test_named_parameters_are_taken() -> None:
    model, loss = network()
    losses = train(lmm.optim.ProjectedMM(model.named_parameters()), loss, 3)
    assert losses[2] < losses[0]


def test_autocast_around_the_step_does_not_reach_the_loss() -> None:
    model, loss = network(torch.float32)
    optimizer = lmm.optim.ProjectedMM(model.parameters())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        losses = train(optimizer, loss, 10)
    assert all(b <= a for a, b in itertools.pairwise([*losses, float(loss().detach())]))


def test_no_grad_around_the_step_does_not_matter() -> None:
    x = parameter([1.0, 2.0])
    with torch.no_grad():
        losses = train(lmm.optim.ProjectedMM([x]), lambda: rosenbrock(x), 3)
    assert losses[2] < losses[0]
