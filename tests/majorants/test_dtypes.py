"""Iterates keep their dtype, whatever a function computes in."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

import draws
import learnmm as lmm
from learnmm.hessian import hessian_product

DOUBLE = torch.float64
Function = Callable[[Tensor], Tensor]
PROPOSERS = (None, lmm.LimitedMemory())


normal = partial(draws.normal, dtype=torch.float32)


WIDE = normal(3, seed=4, dtype=DOUBLE)
PRECISIONS: dict[str, tuple[Function, torch.dtype]] = {
    "entries without a dimension": (
        lambda x: 0.5 * x[0] * x[1] + 2.0 * x[2] ** 2 + (x**2).sum(),
        torch.float32,
    ),
    "wider data": (lambda x: ((x - WIDE) ** 2).sum(), torch.float32),
    "narrower data": (lambda x: ((x - WIDE.float()) ** 2).sum(), DOUBLE),
    "wider weights": (lambda x: ((x.double() - WIDE) ** 4).sum() + x[0] * x[1], torch.float32),
}


@pytest.mark.parametrize("name", PRECISIONS)
@pytest.mark.parametrize("proposer", PROPOSERS)
def test_iterates_keep_their_precision(name: str, proposer: lmm.Proposer | None) -> None:
    fun, dtype = PRECISIONS[name]
    x0 = torch.ones(3, dtype=dtype)
    few = lmm.SolveSettings(max_iter=20)
    result = lmm.minimize(fun, x0, proposer=proposer, settings=few)
    assert bool(result.fun < result.initial_fun)
    assert result.x.dtype == result.gradient.dtype == dtype
    batched = lmm.objective.CallableObjective(fun, single=True)
    for route in ("auto", "forward", "reverse"):
        product = hessian_product(batched, x0[None], route)(x0[None])  # type: ignore[arg-type]
        assert product.dtype == dtype
        expected = hessian_product(batched, x0[None].double())(x0[None].double())
        torch.testing.assert_close(product.double(), expected, rtol=1e-5, atol=1e-5)
    for majorant in (
        lmm.majorants.SecantMajorant(batched),
        lmm.majorants.LanczosMajorant(batched),
        lmm.majorants.PowerIterationMajorant(batched),
    ):
        solver = lmm.ProjectedMMOptimizer(batched, majorant=majorant, settings=few)
        assert solver.minimize(x0[None]).x.dtype == dtype


@pytest.mark.parametrize("name", PRECISIONS)
@pytest.mark.parametrize(
    "settings", [{}, {"history": 0}, {"curvature": "hessian"}, {"curvature": "secant"}]
)
def test_parameters_keep_their_precision(name: str, settings: dict[str, Any]) -> None:
    fun, dtype = PRECISIONS[name]
    x = torch.nn.Parameter(torch.ones(3, dtype=dtype))
    optimizer = lmm.optim.ProjectedMM([x], settings=lmm.SolveSettings(max_iter=5), **settings)
    first = optimizer.step(lambda: fun(x))
    assert bool(optimizer.step(lambda: fun(x)) < first)
    assert x.dtype == dtype


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_inside_a_function(dtype: torch.dtype) -> None:
    weights = normal(4, 3).to(dtype)

    def fun(x: Tensor) -> Tensor:
        return (F.linear(x.to(dtype), weights).float() - 1).square().mean()

    result = lmm.minimize(fun, normal(3, seed=1), settings=lmm.SolveSettings(max_iter=20))
    assert bool(result.fun < 0.7 * result.initial_fun)
    assert result.x.dtype == torch.float32
