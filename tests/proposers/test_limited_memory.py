"""Limited memory: quasi-Newton steps against a dense reference, and what they are good for."""

from __future__ import annotations

import functools
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

import learnmm as lmm
from draws import normal, seeded
from learnmm import checks
from learnmm_problems.mgh import MGHProblem

DTYPE = torch.float64
minimize = functools.partial(lmm.minimize, proposer=lmm.LimitedMemory())


def rosenbrock(x: Tensor) -> Tensor:
    return (100 * (x[:, 1:] - x[:, :-1] ** 2) ** 2 + (1 - x[:, :-1]) ** 2).sum(1)


def dense_bfgs(
    points: list[Tensor], gradients: list[Tensor], diagonal: Tensor, history: int
) -> Tensor:
    """``H g`` of one problem by updates of a matrix (Nocedal & Wright 2006, Eq. 7.16)."""
    pairs, stretch = [], 1.0
    for a, b, ga, gb in zip(points, points[1:], gradients, gradients[1:], strict=False):
        if float((b - a) @ (gb - ga)) > 0:
            pairs, stretch = [*pairs, (b - a, gb - ga)][-history:], 1.0
        else:
            stretch = 2 * stretch  # the longer there is no curvature, the longer the steps
    inverse = torch.diag(1 / diagonal)
    if pairs:
        s, y = pairs[-1]
        inverse = inverse * ((s @ y) / (y @ (y / diagonal)))
    for s, y in pairs:
        rate = 1 / (s @ y)
        keep = torch.eye(len(s), dtype=DTYPE) - rate * torch.outer(y, s)
        inverse = keep.mT @ inverse @ keep + rate * torch.outer(s, s)
    return stretch * inverse @ gradients[-1]


@given(seed=st.integers(0, 10**6), history=st.integers(1, 5), steps=st.integers(0, 7))
def test_the_two_loops_are_the_dense_update(seed: int, history: int, steps: int) -> None:
    """On paths that have seen positive and negative curvature."""
    n, batch = 4, 3
    diagonal = normal(batch, n, seed=seed).exp()
    component = lmm.LimitedMemory(history)
    x = normal(batch, n, seed=seed + 1)
    memory, points, gradients = component.init_memory(x), [], []
    for k in range(steps + 1):
        gradient = normal(batch, n, seed=seed + 10 + k)
        point = lmm.Point(x, gradient, lmm.curvature.DiagonalCurvature(diagonal))
        memory = component.observe(point, memory)
        step = component.propose(point, memory).values
        points.append(x)
        gradients.append(gradient)
        x = x + normal(batch, n, seed=seed + 100 + k)
    for i in range(batch):
        path = [p[i] for p in points], [g[i] for g in gradients]
        expected = dense_bfgs(*path, diagonal[i], history)
        torch.testing.assert_close(step[i], expected, rtol=1e-6, atol=1e-8)
    # H is positive definite, whatever curvature was seen.
    assert ((step * gradient).sum(1) > 0).all()


def test_the_first_step_is_the_majorants_own() -> None:
    atom, x0 = lmm.Quadratic(normal(3, 5), normal(3, 5, seed=1).exp()), normal(3, 5, seed=2)
    result = minimize(atom, x0, settings=lmm.SolveSettings(max_iter=1))
    torch.testing.assert_close(result.x, atom.target)
    assert result.certificate.kind is lmm.Kind.GLOBAL
    assert not result.certificate.projected


@functools.cache
def in_units(length: int, energy: int) -> lmm.Result:
    """Steps on Rosenbrock's function with other units of the unknowns and of the value."""
    unit, factor = 4.0**length, 4.0**energy  # exact in floating point

    def fun(x: Tensor) -> Tensor:
        return factor * rosenbrock(x / unit)

    return minimize(fun, unit * normal(4, 3), settings=lmm.SolveSettings(max_iter=15, gtol=0.0))


@settings(max_examples=40)  # of 169
@given(st.integers(-6, 6), st.integers(-6, 6))
def test_units_change_nothing(length: int, energy: int) -> None:
    """Iterates scale with the unknowns and not at all with the objective."""
    unit = 4.0**length
    plain, scaled = in_units(0, 0), in_units(length, energy)
    torch.testing.assert_close(scaled.x / unit, plain.x, rtol=1e-7, atol=1e-9)
    assert torch.equal(scaled.certificate.rejected, plain.certificate.rejected)


@pytest.mark.parametrize(
    "name", ["rosenbrock", "powell-badly-scaled", "meyer", "wood", "osborne-2"]
)
def test_hard_small_problems_are_solved_without_a_rise(name: str) -> None:
    drawn = MGHProblem(name).instance(3)
    exact = lmm.SolveSettings(max_iter=1000, gtol=1e-8)
    result = minimize(drawn.objective, drawn.x0[:1], settings=exact)
    assert drawn.optimum is not None
    gap = (result.fun - drawn.optimum[:1]) / drawn.optimum[:1].clamp(min=1.0)
    assert (gap < 1e-6).all()
    assert result.certificate.monotone.all()


def test_a_valley_that_bends_down_is_left_quickly() -> None:
    """From there on no step sees positive curvature, and each is taken: they must not stay short.

    Starts on the ridge of the valley, with two pairs from the way down to it; seven hundred steps
    of one length without stretching.
    """
    drawn = MGHProblem("rosenbrock").instance(1024, generator=seeded(11))
    x0 = drawn.x0[399:400]
    result = minimize(drawn.objective, x0, settings=lmm.SolveSettings(gtol=1e-9))
    assert result.success.all()
    assert int(result.iterations) < 200


def test_fewer_evaluations_than_the_majorants_own_steps() -> None:
    x0 = torch.tensor([[-1.2, 1.0, -1.2, 1.0]], dtype=DTYPE)
    fast = minimize(rosenbrock, x0)
    slow = lmm.minimize(rosenbrock, x0, proposer=None, settings=lmm.SolveSettings(max_iter=300))
    assert fast.success.all()
    assert float(fast.fun) < float(slow.fun)
    assert int(fast.iterations) < 100


def test_descent_holds_where_the_objective_breaks() -> None:
    def fun(x: Tensor) -> Tensor:  # NaN beyond the wall, and steep next to it
        return -torch.log(1 - x).sum(1) + (x + 3).square().sum(1)

    optimizer = lmm.ProjectedMMOptimizer(fun, proposer=lmm.LimitedMemory(3))
    checks.assert_descent(optimizer, normal(5, 4) / 4)


def test_gradients_flow_through_the_steps() -> None:
    x0, y = normal(2, 4, seed=1), normal(2, 3, seed=2)

    def solved(matrix: Tensor, steps: int) -> lmm.unroll.Unrolled:
        def energy(y: Tensor) -> lmm.Atom:
            return lmm.HalfQuadratic(y) @ lmm.linear.MatrixMap(matrix, form="separable")

        return lmm.UnrolledMM(energy, lmm.LimitedMemory(2), steps=steps, start=lambda y: x0)(y)

    matrix = normal(3, 4).requires_grad_()
    # A third comes after a refusal: how much shorter has no gradient.
    assert torch.autograd.gradcheck(lambda m: solved(m, 2).x, matrix)


def test_gradients_stay_finite_where_a_fit_is_exact() -> None:
    matrix, x0 = normal(3, 4).requires_grad_(), normal(2, 4, seed=1)
    solver = lmm.UnrolledMM(
        lambda y: lmm.least_squares(matrix, y), lmm.LimitedMemory(2), steps=3, start=lambda y: x0
    )
    solver(normal(2, 3, seed=2)).values[-1].sum().backward()
    assert torch.isfinite(matrix.grad).all()


@pytest.mark.parametrize("history", [0, -1, 2.0, None])
def test_history_is_a_positive_integer(history: Any) -> None:
    with pytest.raises(
        ValueError, match=f"history must be an integer of at least 1, got {history}"
    ):
        lmm.LimitedMemory(history)


def test_a_pair_too_small_to_divide_by_is_left_out() -> None:
    component, x = lmm.LimitedMemory(3), torch.zeros(2, 3, dtype=DTYPE)
    curvature = lmm.curvature.ScalarCurvature(torch.ones(2, dtype=DTYPE))
    memory = component.init_memory(x)
    for _ in range(3):  # <s, y> is 2e-320 for the first problem, and its inverse infinite
        x = x + torch.tensor([[1e-160], [1.0]], dtype=DTYPE)
        point = lmm.Point(x, 2 * x, curvature)
        memory = component.observe(point, memory)
        assert torch.isfinite(component.propose(point, memory).values).all()
        assert torch.isfinite(memory.inverse).all()
    assert (memory.products > 0).sum(1).tolist() == [0, 3]
