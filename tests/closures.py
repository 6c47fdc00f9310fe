"""Closures in every style that people write, with losses to lower and networks to train."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import learnmm as lmm
from draws import normal

Loss = Callable[[], Tensor]
DOUBLE = torch.float64


def rosenbrock(x: Tensor) -> Tensor:
    return (100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2).sum()


class OnceDifferentiable(torch.autograd.Function):
    """A square that says it can be differentiated once, but only where that is noticed."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x * x

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return 2 * ctx.saved_tensors[0] * gradient


def parameter(values: Any, dtype: torch.dtype = DOUBLE) -> nn.Parameter:
    return nn.Parameter(torch.as_tensor(values, dtype=dtype))


def network(dtype: torch.dtype = DOUBLE) -> tuple[nn.Sequential, Loss]:
    """A small network with data to fit, the same on every call."""
    model = nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 1)).to(dtype)
    with torch.no_grad():
        for key, p in enumerate(model.parameters()):
            p.copy_(normal(*p.shape, seed=key, dtype=dtype) / 2)
    inputs, outputs = normal(30, 4, seed=10, dtype=dtype), normal(30, 1, seed=11, dtype=dtype)
    return model, lambda: (model(inputs) - outputs).square().mean()


def bits(parameters: Any) -> list[bytes]:
    return [p.detach().clone().numpy().tobytes() for p in parameters]


def train(optimizer: lmm.optim.ProjectedMM, closure: Loss, calls: int) -> list[float]:
    return [float(optimizer.step(closure)) for _ in range(calls)]


def alone(loss: Loss, optimizer: torch.optim.Optimizer) -> Tensor:
    return loss()


def with_zero_grad(loss: Loss, optimizer: torch.optim.Optimizer) -> Tensor:
    optimizer.zero_grad()
    value = loss()
    value.backward()
    return value


def zeros_kept(loss: Loss, optimizer: torch.optim.Optimizer) -> Tensor:
    optimizer.zero_grad(set_to_none=False)
    value = loss()
    value.backward()
    return value


def never_zeroed(loss: Loss, optimizer: torch.optim.Optimizer) -> Tensor:
    value = loss()
    value.backward()
    return value


def accumulated(loss: Loss, optimizer: torch.optim.Optimizer) -> Tensor:
    optimizer.zero_grad()
    parts = [0.25 * loss(), 0.75 * loss()]
    for part in parts:
        part.backward()
    return torch.stack(parts).sum()


def graph_kept(loss: Loss, optimizer: torch.optim.Optimizer) -> Tensor:
    optimizer.zero_grad()
    value = loss()
    value.backward(retain_graph=True)
    return value


def one_element(loss: Loss, optimizer: torch.optim.Optimizer) -> Tensor:
    return loss().reshape(1)


STYLES = [alone, one_element, with_zero_grad, zeros_kept, never_zeroed, accumulated, graph_kept]

by_style = pytest.mark.parametrize("style", STYLES, ids=lambda style: style.__name__)


def assert_left_as_it_was(
    optimizer: lmm.optim.ProjectedMM,
    model: nn.Module,
    loss: Loss,
    failing: int,
    error: type[BaseException],
) -> None:
    """A call whose closure raises at an evaluation changes nothing, and the error comes through."""
    before, saved = bits(model.parameters()), copy.deepcopy(optimizer.state_dict()["state"])
    calls = itertools.count(1)

    def closure() -> Tensor:
        if next(calls) == failing:
            raise error
        return loss()

    with pytest.raises(error):
        optimizer.step(closure)
    assert bits(model.parameters()) == before
    assert str(optimizer.state_dict()["state"]) == str(saved)
