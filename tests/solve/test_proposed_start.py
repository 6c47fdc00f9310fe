"""Starts of a proposer: taken per problem where the objective is lower, else without a trace."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

import learnmm as lmm
from draws import normal
from learnmm import checks
from learnmm.proposers import Prepared

DTYPE = torch.float64


class Starting(lmm.Proposer):
    """Limited memory from a start of its own."""

    trials = lmm.LimitedMemory.trials
    reach = lmm.LimitedMemory.reach
    curvature_from_steps = True
    remembers_points = True

    def __init__(self, start: Tensor) -> None:
        super().__init__()
        self.start = start
        self.steps = lmm.LimitedMemory()

    def prepare(self, x: Tensor, gradient: Tensor) -> Prepared:
        return Prepared(self.steps.init_memory(x), self.start)

    def init_memory(self, x: Tensor) -> Any:
        return self.steps.init_memory(x)

    def observe(self, point: lmm.Point, memory: Any) -> Any:
        return self.steps.observe(point, memory)

    def propose(self, point: lmm.Point, memory: Any) -> lmm.Step:
        return self.steps.propose(point, memory)


def bowl(x: Tensor) -> Tensor:
    return (torch.arange(1, x.shape[1] + 1) * x**2).sum(1) / 2 + x.cosh().log().sum(1)


@settings(max_examples=25)
@given(seed=st.integers(0, 10**6))
def test_each_problem_takes_the_lower_one(seed: int) -> None:
    x0, start = normal(6, 4, seed=seed), normal(6, 4, seed=seed + 1)
    result = lmm.minimize(
        bowl, x0, proposer=Starting(start), settings=lmm.SolveSettings(max_iter=1)
    )
    assert torch.equal(result.certificate.started, bowl(start) < bowl(x0))
    assert torch.equal(result.initial_fun, bowl(x0))
    assert bool((result.fun <= torch.minimum(bowl(start), bowl(x0))).all())


@settings(max_examples=4)
@given(seed=st.integers(0, 10**6))
def test_a_start_that_is_not_taken_leaves_no_trace(seed: int) -> None:
    x0 = normal(4, 3, seed=seed)
    plain = lmm.minimize(bowl, x0, proposer=lmm.LimitedMemory())
    for bad in (2 * x0, x0, torch.full_like(x0, torch.nan), torch.full_like(x0, torch.inf)):
        result = lmm.minimize(bowl, x0, proposer=Starting(bad))
        assert torch.equal(result.x, plain.x)
        assert torch.equal(result.iterations, plain.iterations)
        assert not bool(result.certificate.started.any())


def test_a_start_where_the_objective_raises_or_is_not_finite_is_refused_alone() -> None:
    def fun(x: Tensor) -> Tensor:
        if bool((x > 10).any()):
            raise ArithmeticError("too far")
        return torch.where(x[:, 0] < -10, -torch.inf, bowl(x))

    x0 = torch.ones(3, 2, dtype=DTYPE)
    start = torch.tensor([[11.0, 0.0], [-11.0, 0.0], [0.1, 0.1]], dtype=DTYPE)
    result = lmm.minimize(fun, x0, proposer=Starting(start))
    assert result.certificate.started.tolist() == [False, False, True]
    assert bool(result.success.all())


def test_a_step_comes_from_the_start_and_tells_of_it() -> None:
    x0 = torch.ones(2, 3, dtype=DTYPE)
    result = lmm.minimize(bowl, x0, proposer=Starting(x0 / 10))
    assert "2 starts and" in str(result.certificate)
    checks.assert_descent(lmm.ProjectedMMOptimizer(bowl, proposer=Starting(x0 / 10)), x0, 10)


def test_gradients_reach_what_made_the_start() -> None:
    weight = torch.tensor(0.5, dtype=DTYPE, requires_grad=True)
    x0 = torch.ones(2, 3, dtype=DTYPE)
    optimizer = lmm.ProjectedMMOptimizer(bowl, proposer=Starting(weight * x0))
    state = optimizer.init(x0)
    state.value.sum().backward()
    expected = torch.autograd.grad(bowl(weight * x0).sum(), weight)[0]
    torch.testing.assert_close(weight.grad, expected)


@pytest.mark.parametrize("start", [torch.ones(2, 4, dtype=DTYPE), torch.ones(2, 3)])
def test_a_start_of_another_kind_is_an_error(start: Tensor) -> None:
    with pytest.raises(ValueError, match=r"Starting must start from a tensor of shape \(2, 3\)"):
        lmm.minimize(bowl, torch.ones(2, 3, dtype=DTYPE), proposer=Starting(start))
