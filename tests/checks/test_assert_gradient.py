"""The law of gradients: right ones pass, at any scale; wrong ones are found, down to the entry."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

import learnmm as lmm
from draws import normal
from learnmm.checks import LawViolation, assert_gradient

DOUBLE = torch.float64


MATRIX = normal(9, 6, seed=1)


def network(x: Tensor) -> Tensor:
    hidden = torch.tanh(x @ MATRIX.to(x).mT)
    return torch.relu(hidden @ MATRIX.to(x)).square().sum(1)


FUNCTIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "rosenbrock": lambda x: (100 * (x[:, 1:] - x[:, :-1] ** 2) ** 2 + (1 - x[:, :-1]) ** 2).sum(1),
    "network": network,
    "kinks": lambda x: (x @ MATRIX.to(x).mT - 1).abs().sum(1),
    "domain": lambda x: -(x.abs() + 1e-3).log().sum(1) + x.abs().sqrt().sum(1),
    "poles": lambda x: (1 / x).sum(1),
    "waves": lambda x: torch.cos(40 * x).sum(1),
    "offset": lambda x: 1e4 + x.square().sum(1),
    "root": lambda x: (x.square().sum(1) + 1e-6).sqrt(),
}


@pytest.mark.parametrize("name", FUNCTIONS)
@settings(max_examples=15)
@given(
    scale=st.sampled_from([1e-6, 1e-2, 1.0, 30.0, 1e3]),
    seed=st.integers(0, 2**16),
    dtype=st.sampled_from([DOUBLE, torch.float32]),
)
def test_right_gradients_pass(name: str, scale: float, seed: int, dtype: torch.dtype) -> None:
    assert_gradient(FUNCTIONS[name], scale * normal(2, 6, seed=seed, dtype=dtype))


class Wrong(torch.autograd.Function):
    """The identity, whose gradient is off by a factor in one entry."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, place: int, error: float) -> Tensor:
        ctx.place, ctx.error = place, error
        return x.clone()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        wrong = gradient.clone()
        wrong[..., ctx.place] *= 1 + ctx.error
        return wrong, None, None


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize(("dtype", "error"), [(DOUBLE, 1e-3), (torch.float32, 0.5)])
def test_a_wrong_entry_is_named(name: str, dtype: torch.dtype, error: float) -> None:
    if name == "offset" and dtype == torch.float32:
        error = 10.0  # of values near 1e4 float32 shows changes of 1e-3
    fun, x = FUNCTIONS[name], normal(3, 6, seed=5, dtype=dtype)
    with pytest.raises(LawViolation, match=r"gradient of problem \d: entry \(2,\) is .* influence"):
        assert_gradient(lambda z: fun(Wrong.apply(z, 2, error)), x)


@pytest.mark.parametrize("place", [0, 57, 199])
def test_a_wrong_entry_among_many_is_found_by_halving(place: int) -> None:
    x = normal(200, seed=2).reshape(4, 50)

    def fun(z: Tensor) -> Tensor:
        return torch.cosh(Wrong.apply(z.flatten(), place, 0.1)).sum()

    index = rf"entry \({place // 50}, {place % 50}\)"
    with pytest.raises(
        LawViolation, match=rf"problem 0: {index} is .* say [-0-9.e]+ \+- [0-9.e-]+$"
    ):
        assert_gradient(fun, x)
    assert_gradient(lambda z: torch.cosh(z).sum(), x)


def test_the_worst_entry_is_the_one_that_is_named() -> None:
    x = torch.tensor([[2.0, 1.0, 3.0]], dtype=DOUBLE)

    def fun(z: Tensor) -> Tensor:
        return Wrong.apply(Wrong.apply(z, 1, 0.5), 2, 0.5).square().sum(1)

    with pytest.raises(LawViolation, match=r"0: entry \(2,\) is 9, differences say 6 \+-"):
        assert_gradient(fun, x)


def test_dependence_that_is_left_out() -> None:
    x = normal(4)
    with pytest.raises(LawViolation, match="entry"):
        assert_gradient(lambda z: (z * z.detach()).sum(), x)
    with pytest.raises(ValueError, match="no graph back to x0"):
        assert_gradient(lambda z: (z.detach() ** 2).sum(), x)


def test_a_gradient_passed_straight_through_a_staircase() -> None:
    class Straight(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor) -> Tensor:
            return x.round()

        @staticmethod
        def backward(ctx: Any, gradient: Tensor) -> Tensor:
            return gradient

    with pytest.raises(LawViolation, match="differences say 0 "):
        assert_gradient(lambda z: Straight.apply(z).sum(), 3 * normal(5))


def test_coupled_problems_are_told_from_wrong_gradients() -> None:
    with pytest.raises(LawViolation, match="problems of the batch influence each other"):
        assert_gradient(lambda x: (x - x.mean(0)).square().sum(1), normal(3, 4))


def test_cancellation_is_excused_where_its_size_is_given() -> None:
    def fun(x: Tensor) -> Tensor:
        return (1e8 + x.square().sum(1)) - 1e8

    x = normal(3, 6) / 100
    with pytest.raises(LawViolation):
        assert_gradient(fun, x)
    assert_gradient(fun, x, noise=16 * 1e8 * torch.finfo(DOUBLE).eps)


@pytest.mark.parametrize("place", [None, 1])
def test_closures(place: int | None) -> None:
    weight = torch.nn.Parameter(normal(3, 2, seed=1))
    bias = torch.nn.Parameter(normal(3, seed=2))
    bias.grad = torch.ones_like(bias)
    before = weight.detach().clone()

    def loss() -> Tensor:
        shift = bias if place is None else Wrong.apply(bias, place, 0.01)
        return (weight @ normal(2, 5, seed=3) + shift[:, None]).square().mean()

    def with_backward() -> Tensor:
        value = loss()
        value.backward()
        return value

    for closure in (loss, with_backward):
        if place is None:
            assert_gradient(closure, [weight, bias])
        else:
            with pytest.raises(LawViolation, match=r"entry \(1,\) of parameter 1 is"):
                assert_gradient(closure, [weight, bias])
        assert torch.equal(weight, before)
        assert weight.grad is None
        assert torch.equal(bias.grad, torch.ones_like(bias))


def test_objectives_and_atoms() -> None:
    atom = lmm.HalfQuadratic(normal(2, 4), "cauchy") @ normal(4, 6, seed=1)
    assert_gradient(atom, normal(2, 6, seed=2))
    assert_gradient(lmm.objective.CallableObjective(network), normal(2, 6, seed=2))
    assert_gradient(lmm.CosineDistance(normal(2, 60)), normal(2, 60, seed=1))


def test_points_that_cannot_be_looked_at() -> None:
    with pytest.raises(LawViolation, match="value of problem 1 is not finite"):
        assert_gradient(lambda x: x.log().sum(1), torch.tensor([[1.0], [-1.0]]))
    with pytest.raises(LawViolation, match="gradient of problem 0 is not finite"):
        assert_gradient(lambda x: x.sqrt().sum(1), torch.zeros(1, 2))
    with pytest.raises(LawViolation, match="problem 0 has no finite values next to x"):
        assert_gradient(lambda x: torch.where(x == 1, x, torch.nan).sum(1), torch.ones(1, 2))
    with pytest.raises(TypeError, match="or for a closure its parameters"):
        assert_gradient(lambda: torch.zeros(()), [])
    with pytest.raises(ValueError, match="noise must be non-negative and finite, got -1"):
        assert_gradient(network, normal(2, 6), noise=-1.0)
    with pytest.raises(ValueError, match="NaN or infinite"):
        assert_gradient(network, normal(2, 6) * torch.nan)
