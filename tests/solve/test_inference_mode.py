"""In inference mode, which records no graph, a solve gives what it gives elsewhere."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import learnmm as lmm

torch.manual_seed(0)
A, Y = torch.randn(7, 4, dtype=torch.float64), torch.randn(3, 7, dtype=torch.float64)


def residual(x: Tensor) -> Tensor:
    return (x @ A.T - Y).square().sum(1)


SOLVES: dict[str, Callable[[Any], Tensor]] = {
    "atom": lambda x: lmm.minimize(lmm.least_squares(A, Y), x).fun,
    "own steps": lambda x: lmm.minimize(lmm.least_squares(A, Y), x, proposer=None).fun,
    "penalty": lambda x: lmm.minimize(lmm.least_squares(A, Y) + 0.1 * lmm.proximal.L1(), x).fun,
    "batch": lambda x: lmm.minimize(residual, x).fun,
    "one": lambda x: lmm.minimize(lambda z: residual(z.expand(3, 4)).sum(), x[0]).fun,
    "tree": lambda x: lmm.minimize(lambda z: residual(z["x"]), {"x": x}).fun,
    "products": lambda x: (
        lmm.minimize(residual, x, majorant=lmm.majorants.LanczosMajorant(residual)).fun
    ),
    "unrolled": lambda x: (
        lmm.UnrolledMM(
            lambda data: lmm.least_squares(A, data), start=lambda data: data @ A, steps=5
        )(Y).x
    ),
}


@pytest.mark.parametrize("name", SOLVES)
def test_a_solve_is_the_same(name: str) -> None:
    expected = SOLVES[name](torch.ones(3, 4, dtype=torch.float64))
    with torch.inference_mode():
        found = SOLVES[name](torch.ones(3, 4, dtype=torch.float64))
    torch.testing.assert_close(found, expected)


def test_data_made_there_serve_too() -> None:
    with torch.inference_mode():
        a, y = A * 1, Y * 1
        found = lmm.minimize(
            lambda x: ((x @ a.T - y) * y).square().sum(1), torch.ones(3, 4).double()
        )
    expected = lmm.minimize(
        lambda x: ((x @ A.T - Y) * Y).square().sum(1), torch.ones(3, 4).double()
    )
    torch.testing.assert_close(found.fun, expected.fun)


def test_a_network_is_frozen_as_under_no_grad() -> None:
    network = nn.Sequential(nn.Linear(4, 4), nn.Tanh()).double()

    def fun(x: Tensor) -> Tensor:
        return (network(x) - 0.1).square().sum(1)

    expected = lmm.minimize(fun, torch.ones(3, 4).double()).fun
    with torch.inference_mode():
        found = lmm.minimize(fun, torch.ones(3, 4).double()).fun
    torch.testing.assert_close(found, expected)
