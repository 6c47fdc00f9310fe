"""Total variation: beside the dual solved by SciPy, closed forms, and a prox that is inexact."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pytest
import scipy.optimize
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

import learnmm as lmm
from draws import normal
from learnmm.checks import assert_batch_independent, assert_penalty
from learnmm.proximal import TotalVariation, total_variation

DOUBLE = torch.float64
IMAGE = (-2, -1)

KINDS = {
    "signal": ((7,), {}),
    "rows": ((3, 4), {}),
    "anisotropic": ((3, 4), {"dim": IMAGE, "isotropic": False}),
    "isotropic": ((3, 4), {"dim": IMAGE}),
    "volume": ((2, 3, 2), {"dim": (-3, -2, -1)}),
}
each = pytest.mark.parametrize(("shape", "of"), KINDS.values(), ids=KINDS)


@each
@settings(max_examples=2)
@given(
    seed=st.integers(0, 10**6),
    size=st.sampled_from([1e-3, 1.0, 1e3]),
    offset=st.sampled_from([0.0, 1e4]),
)
def test_it_keeps_the_laws_of_penalties(
    shape: Any, of: Any, seed: int, size: float, offset: float
) -> None:
    weight = normal(2, *[1] * len(shape), seed=seed).abs()
    x = size * (offset + normal(2, *shape, seed=seed + 1))
    assert_penalty(TotalVariation(weight, **of), x, size * normal(2, *shape, seed=seed + 2))


def matrix_of(penalty: TotalVariation, shape: Any) -> Tensor:
    """Differences as a matrix."""
    units = torch.eye(int(np.prod(shape)), dtype=DOUBLE).reshape(-1, *shape)
    return penalty.differences(units).flatten(1).T


@each
def test_differences_have_an_adjoint(shape: Any, of: Any) -> None:
    penalty = TotalVariation(**of)
    matrix = matrix_of(penalty, shape)
    p = normal(*penalty.differences(normal(1, *shape)).shape)
    p = p * matrix.any(1).reshape(p.shape)  # zero for the last along a dimension
    assert torch.allclose(penalty.adjoint(p).flatten(), matrix.T @ p.flatten(), atol=1e-14)


def reference(penalty: TotalVariation, v: Tensor, weights: Tensor) -> tuple[Tensor, float]:
    """A prox by the dual as SciPy solves it, and the gap that bounds how far it is off."""
    level, matrix = float(penalty.weight), matrix_of(penalty, v.shape[1:]).numpy()
    root = weights.flatten().sqrt().numpy()
    rows, target = (matrix / root).T, root * v.flatten().numpy()  # W^-1/2 D^T p -> W^1/2 v
    if penalty.isotropic:
        groups = len(matrix) // len(root)
        ball = {
            "type": "ineq",
            "fun": lambda p: level**2 - (p.reshape(groups, -1) ** 2).sum(0),
            "jac": lambda p: np.hstack([np.diag(-2 * one) for one in p.reshape(groups, -1)]),
        }
        p = scipy.optimize.minimize(
            lambda p: 0.5 * ((rows @ p - target) ** 2).sum(),
            np.zeros(len(matrix)),
            jac=lambda p: rows.T @ (rows @ p - target),
            constraints=ball,
            method="SLSQP",
            options={"ftol": 1e-15, "maxiter": 500},
        ).x
        # Where that stops hangs on the processor: projected gradients end it.
        step = 1 / np.linalg.norm(rows, 2) ** 2
        for _ in range(5000):
            p = p - step * (rows.T @ (rows @ p - target))
            size = np.linalg.norm(p.reshape(groups, -1), axis=0)
            p = p / np.tile(np.maximum(size / level, 1), groups)
    else:
        p = scipy.optimize.lsq_linear(rows, target, (-level, level), "bvls", tol=1e-15).x
    z = torch.tensor((target - rows @ p) / root).reshape(v.shape)
    return z, max(float(penalty.value(z)) - p @ matrix @ z.flatten().numpy(), 0.0)


@each
def test_its_prox_is_that_of_the_dual_by_scipy(shape: Any, of: Any) -> None:
    for seed, level in product(range(2), (0.1, 1.0)):
        penalty = TotalVariation(level, **of)
        x, gradient = normal(1, *shape, seed=seed), 3 * normal(1, *shape, seed=seed + 2)
        weights = normal(1, *shape, seed=seed + 4).exp()
        v = x - gradient / weights
        expected, gap = reference(penalty, v, weights)
        z = penalty.prox(v, weights)
        off = (2 * float(penalty.excess(v, z, weights))) ** 0.5 + (2 * gap) ** 0.5
        assert gap < 1e-7  # or it is no reference
        assert length(z - expected, weights) <= off
        # An own step is near enough, and falls by what its theory says.
        own = penalty.own(x, gradient, weights)
        step = length(x - own, weights)
        assert length(own - expected, weights) <= 0.1 * step + off
        fall = float((gradient * (x - own)).sum() + penalty.fall(x, own)) - step**2 / 2
        assert fall >= 0.4 * step**2
        # A coarse one is taken if it falls by 0.05 of that; from the minimum no more than the gap.
        coarse, rest = TotalVariation(level, **of, accuracy=0.5), weights * (expected - v)
        own = coarse.own(expected, rest, weights)
        assert length(expected - own, weights) <= (20 * gap) ** 0.5 + 1e-12


def length(step: Tensor, weights: Tensor) -> float:
    """In the metric of a prox."""
    return float((weights * step * step).sum().sqrt())


def test_closed_forms() -> None:
    two = torch.tensor([[0.0, 5.0]], dtype=DOUBLE)
    uneven = torch.tensor([[1.0, 4.0]], dtype=DOUBLE)
    for level, weights, expected in (
        (1.0, torch.ones_like(two), [1.0, 4.0]),
        (9.0, torch.ones_like(two), [2.5, 2.5]),
        (2.0, uneven, [2.0, 4.5]),
        (9.0, uneven, [4.0, 4.0]),
        (0.0, uneven, [0.0, 5.0]),
    ):
        penalty = TotalVariation(level)
        z = penalty.prox(two, weights)
        off = (2 * float(penalty.excess(two, z, weights))) ** 0.5
        assert length(z - torch.tensor([expected]), weights) <= off
    corner = torch.tensor([[[3.0, 0.0], [4.0, 0.0]]], dtype=DOUBLE)
    assert float(TotalVariation(2.0, IMAGE).value(corner)) == pytest.approx(2 * (10**0.5 + 4))
    split = TotalVariation(2.0, IMAGE, isotropic=False)
    assert float(split.value(corner)) == 2 * (3 + 1 + 4)


@each
def test_denoising_stops_by_itself(shape: Any, of: Any) -> None:
    dtype = torch.float32 if len(shape) == 2 else DOUBLE
    y = (1e3 + normal(3, *shape)).to(dtype)
    level = torch.tensor([0.1, 0.5, 50.0], dtype=dtype).reshape(3, *[1] * len(shape))
    penalty, one = TotalVariation(level, **of), torch.ones_like(y)
    least = []
    for i in range(3):
        alone, wide = TotalVariation(float(level[i]), **of), y[i : i + 1].double()
        z, gap = reference(alone, wide, one[:1].double())
        least.append(float((z - wide).square().sum() / 2 + alone.value(z)) - gap)
    for start in (torch.zeros_like(y), y):
        result = lmm.minimize(lmm.Quadratic(y), start, penalty=penalty)
        assert bool(result.success.all())
        assert int(result.certificate.rejected.sum()) == 0
        assert int(result.certificate.violations.sum()) == 0
        # x rests if F(x) - F(z) < 0.05 |x - z|^2 where F(z) is off by the excess: that is off by
        # less than 2 of it. A step that promises 1e-10 of F may be the last.
        off = 2 * penalty.excess(y, result.x, one).double() + 4e-10 * result.fun
        assert bool((result.fun.double() - torch.tensor(least) <= off).all())


@each
@pytest.mark.parametrize("dtype", [torch.float32, DOUBLE])
@pytest.mark.parametrize("weight", [1e2, 1e6, 1e12])
def test_a_weight_beyond_all_leaves_a_constant(
    shape: Any, of: Any, dtype: torch.dtype, weight: float
) -> None:
    """Rounded differences times the weight are no reason to rest elsewhere, nor to claim success"""
    penalty, y = TotalVariation(weight, **of), normal(3, *shape).to(dtype)
    mean = y.mean(penalty.dim, keepdim=True)
    least = (y - mean).square().flatten(1).sum(1) / 2
    off = 8 * y[0].numel() * torch.finfo(dtype).eps * least  # sums of squares, a mean in each
    for start in (torch.zeros_like(y), y, 10 * normal(3, *shape, seed=1).to(dtype)):
        result = lmm.minimize(lmm.Quadratic(y), start, penalty=penalty)
        assert bool(result.success.all())
        assert bool((penalty.value(result.x) == 0).all())
        assert bool((result.fun <= least + off).all())


def test_problems_are_independent() -> None:
    y, level = normal(4, 3, 4), torch.tensor([0.0, 0.1, 1.0, 10.0])[:, None, None]
    blur = normal(3, 3, seed=1)

    def build(rows: Tensor) -> Any:
        energy = lmm.Quadratic(y[rows]) @ blur
        penalty = TotalVariation(level[rows], IMAGE)
        return lmm.ProjectedMMOptimizer(energy, penalty=penalty), torch.zeros_like(y[rows])

    assert_batch_independent(build, 4, steps=6)


def test_a_dual_that_does_not_get_there_passes_nothing_for_a_minimum(monkeypatch: Any) -> None:
    x, gradient, weights = normal(2, 30), 100 * normal(2, 30, seed=1), torch.ones(2, 30)
    penalty = TotalVariation(100.0)  # a constant would be found at once
    exact = penalty.prox(x - gradient, weights)
    truth = (x - exact).norm(dim=1)
    monkeypatch.setattr(total_variation, "MOST", 20)
    for point in (x, exact):
        least = truth if point is x else 0 * truth
        told = penalty.residual(point, point - x + gradient, weights).norm(dim=1)
        assert bool((told > 0).all())
        assert bool((told >= least / 2).all())


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"dim": 1}, "dim counts from the last, as -1 does, got 1"),
        ({"dim": ()}, r"dim counts from the last, as -1 does, got \(\)"),
        ({"dim": (-1, -1)}, r"dim names a dimension twice, got \(-1, -1\)"),
        ({"accuracy": -1e-3}, r"accuracy must be in \[0, 1\), got -0.001"),
        ({"weight": -1.0}, "weight must be finite and not negative"),
    ],
)
def test_what_is_none(given: Any, message: str) -> None:
    with pytest.raises(ValueError, match=f"TotalVariation: {message}"):
        TotalVariation(**given)


def test_shapes_that_do_not_fit() -> None:
    with pytest.raises(ValueError, match=r"dim \(-2, -1\) is none of one problem, \(3, 4\)"):
        TotalVariation(1.0, IMAGE).check(normal(3, 4))
    with pytest.raises(ValueError, match=r"weight must broadcast to \(3, 1\), got shape \(4,\)"):
        TotalVariation(torch.ones(4)).check(normal(3, 4))


def test_it_is_neither_differentiated_nor_compiled() -> None:
    y = normal(1, 5)
    solver = lmm.ProjectedMMOptimizer(lmm.Quadratic(y), penalty=TotalVariation())
    with pytest.raises(TypeError, match="can neither be compiled nor differentiated"):
        solver.init(y.clone().requires_grad_())
    for compiled in (True, "loop"):
        with pytest.raises(ValueError, match=r"TotalVariation iterates .* compiled=False"):
            solver.minimize(y, compiled=compiled)  # type: ignore[arg-type]
