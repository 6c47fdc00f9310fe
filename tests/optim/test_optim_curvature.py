"""Curvature of a closure as `optim.ProjectedMM` measures it: products, probes, secants, pairs."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch
from torch import Tensor

import learnmm as lmm
from closures import (
    DOUBLE,
    alone,
    graph_kept,
    network,
    never_zeroed,
    normal,
    parameter,
    rosenbrock,
    train,
    with_zero_grad,
    zeros_kept,
)
from learnmm.hessian import hessian_product
from learnmm.optim.closure import ClosureObjective, flatten


def test_closures_with_backward_take_the_same_steps() -> None:
    ends = []
    for style in (with_zero_grad, zeros_kept, never_zeroed, graph_kept):
        model, loss = network()
        optimizer = lmm.optim.ProjectedMM(model.parameters())
        train(optimizer, lambda style=style, o=optimizer, f=loss: style(f, o), 6)  # type: ignore[misc]
        ends.append(flatten(list(model.parameters())))
    assert all(torch.equal(ends[0], end) for end in ends)


def test_both_kinds_of_closure_take_the_same_secant_steps() -> None:
    ends = []
    for style in (alone, with_zero_grad):
        model, loss = network()
        optimizer = lmm.optim.ProjectedMM(model.parameters(), curvature="secant")
        train(optimizer, lambda style=style, o=optimizer, f=loss: style(f, o), 6)  # type: ignore[misc]
        ends.append(flatten(list(model.parameters())))
    torch.testing.assert_close(*ends, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("relaxation", [None, lmm.Relaxation()])
def test_it_takes_the_steps_of_the_library(relaxation: lmm.Relaxation | None) -> None:
    """With as many Lanczos steps as unknowns the bound does not depend on the start vector."""
    x = parameter([-1.2, 1.0, -0.5])
    batch = lambda z: torch.stack([rosenbrock(row) for row in z])  # noqa: E731
    plain = lmm.ProjectedMMOptimizer(batch, relaxation=relaxation, max_iter=60)
    result = plain.minimize(x.detach()[None].clone())
    optimizer = lmm.optim.ProjectedMM([x], history=0, relaxation=relaxation)
    for _ in range(int(result.certificate.accepted)):
        optimizer.step(lambda: rosenbrock(x))
    torch.testing.assert_close(x.detach(), result.x[0], rtol=1e-6, atol=1e-8)
    assert optimizer.last_result is not None
    mine = optimizer.last_result.certificate
    assert int(mine.accepted) == int(result.certificate.accepted)
    if relaxation is None:
        assert int(mine.rejected) == 0 == int(result.certificate.rejected)


def test_with_a_history_it_takes_the_steps_of_limited_memory() -> None:
    """From the first pair on, since the curvature before it is measured in another way."""
    x = parameter([-1.2, 1.0, -0.5])
    optimizer = lmm.optim.ProjectedMM([x], history=4)
    losses = train(optimizer, lambda: rosenbrock(x), 1)
    plain = lmm.ProjectedMMOptimizer(
        lambda z: torch.stack([rosenbrock(row) for row in z]), preconditioner=lmm.LimitedMemory(4)
    )
    state = plain.init(x.detach()[None].clone())
    pairs = optimizer.state_dict()["state"][0]["pairs"]
    names = ("moves", "changes", "inverse", "products")
    memory = state.memory._replace(
        gradient=state.gradient,
        newest=torch.tensor([pairs["newest"]]),
        **{name: pairs[name] for name in names},
    )
    state = state._replace(memory=memory)
    for _ in range(20):
        while not bool((state.trial == 0) & (state.tally.accepted == len(losses))):
            state, _ = plain.step(state)
        losses += train(optimizer, lambda: rosenbrock(x), 1)
        torch.testing.assert_close(x.detach(), state.x[0], rtol=1e-6, atol=1e-8)


def test_pairs_compare_a_minibatch_with_itself() -> None:
    """Losses of two curvatures in turn: every pair has seen one of them and no mixture."""
    x = parameter(normal(5))
    optimizer = lmm.optim.ProjectedMM([x], history=6)
    for k in range(12):
        curvature, target = (3.0, 7.0)[k % 2], normal(5, seed=k)
        optimizer.step(lambda c=curvature, t=target: c * (x - t).square().sum() / 2)  # type: ignore[misc]
    pairs = optimizer.state_dict()["state"][0]["pairs"]
    seen = pairs["changes"][0].norm(dim=1) / pairs["moves"][0].norm(dim=1)
    assert sorted(seen.tolist()) == pytest.approx([3.0] * 3 + [7.0] * 3)
    parallel = (pairs["changes"] * pairs["moves"]).sum(2) / pairs["moves"].square().sum(2)
    torch.testing.assert_close(parallel[0], seen)


def test_pairs_are_forgotten_when_other_parameters_move() -> None:
    x, y = parameter(normal(3)), parameter(normal(3, seed=1))
    optimizer = lmm.optim.ProjectedMM([{"params": [x]}, {"params": [y]}])
    loss = lambda: (x.square() * torch.tensor([1.0, 4.0, 9.0])).sum() + y.square().sum()  # noqa: E731
    train(optimizer, loss, 5)
    for moves, stays in ((x, y), (y, x)):  # as many as before, in the end, but others
        stays.requires_grad_(False)
        moves.requires_grad_()
        losses = train(optimizer, loss, 2)
        assert all(b <= a for a, b in itertools.pairwise(losses))
        pairs = optimizer.state_dict()["state"][0]["pairs"]
        assert pairs["moves"].shape == (1, 10, 3)
        assert int((pairs["products"] > 0).sum()) == 2


def test_products_of_the_graph_are_those_of_the_hessian() -> None:
    model, loss = network()
    parameters = list(model.parameters())
    objective = ClosureObjective(loss, parameters)
    x = flatten(parameters)
    objective.evaluate(x)
    names = [name for name, _ in model.named_parameters()]
    inputs, outputs = normal(30, 4, seed=10), normal(30, 1, seed=11)

    def functional(z: Tensor) -> Tensor:
        pieces = z[0].split([p.numel() for p in parameters])
        weights = {n: v.view_as(p) for n, v, p in zip(names, pieces, parameters, strict=True)}
        out = torch.func.functional_call(model, weights, (inputs,))
        return (out - outputs).square().mean()[None]

    assert objective.product is not None
    v = normal(*x.shape, seed=3)
    expected = hessian_product(functional, x)(v)
    torch.testing.assert_close(objective.product(v), expected, rtol=1e-10, atol=1e-12)


def test_the_probe_measures_the_curvature_along_the_gradient() -> None:
    x = parameter([3.0, 0.0])
    optimizer = lmm.optim.ProjectedMM([x], curvature="secant")
    optimizer.step(lambda: 50 * x[0] ** 2 + x[1] ** 2)
    torch.testing.assert_close(x.detach(), torch.zeros(2, dtype=DOUBLE), rtol=0, atol=1e-12)


def test_secants_are_the_larger_of_the_two_quotients() -> None:
    spectrum = torch.tensor([1.0, 10.0], dtype=DOUBLE)
    x = parameter([1.0, 1.0])
    optimizer = lmm.optim.ProjectedMM([x], curvature="secant")
    loss = lambda: (spectrum * x * x).sum() / 2  # noqa: E731
    optimizer.step(loss)
    before = x.detach().clone()
    optimizer.step(loss)
    moved = x.detach() - before
    change = spectrum * moved
    optimizer.step(loss)
    expected = change.square().sum() / (change * moved).sum()
    step = x.detach() - before - moved
    torch.testing.assert_close(step, -spectrum * (before + moved) / expected)


@pytest.mark.parametrize(
    ("style", "curvature", "history", "first"),
    [
        (alone, "auto", 0, 2),
        (alone, "auto", None, 3),
        (alone, "hessian", None, 2),
        (alone, "secant", None, 3),
        (with_zero_grad, "auto", 0, 3),
        (with_zero_grad, "auto", None, 3),
    ],
)
def test_a_step_calls_the_closure_twice(
    style: Any, curvature: Any, history: int | None, first: int
) -> None:
    """Once more for the probe before the first secant, and once more for every refusal."""
    x, calls = parameter(normal(3)), itertools.count()

    def loss() -> Tensor:
        next(calls)
        return x.square().sum() + x.abs().pow(3).sum() / 9

    optimizer = lmm.optim.ProjectedMM([x], curvature=curvature, history=history)
    seen = 0
    for expected in (first, 2, 2):
        optimizer.step(lambda: style(loss, optimizer))
        now = next(calls) - seen
        seen += now + 1
        assert optimizer.last_result is not None
        assert int(optimizer.last_result.certificate.rejected) == 0
        assert now == expected


def test_the_global_generator_is_left_alone() -> None:
    x = parameter(normal(40))
    before = torch.random.get_rng_state()
    train(lmm.optim.ProjectedMM([x]), lambda: rosenbrock(x), 3)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_the_generator_given_is_used() -> None:
    ends = []
    for seed in (1, 1, 2):
        x = parameter(normal(200))
        generator = torch.Generator().manual_seed(seed)
        optimizer = lmm.optim.ProjectedMM(
            [x], curvature="hessian", relaxation=None, generator=generator
        )
        optimizer.step(lambda x=x: rosenbrock(x))  # type: ignore[misc]
        ends.append(x.detach())
    assert torch.equal(ends[0], ends[1])
    assert not torch.equal(ends[0], ends[2])
