"""Problems with bounds: feasible at every point that is evaluated, monotone, and solved."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import scipy.optimize
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

import learnmm as lmm
from adversaries import Hostile
from draws import normal
from learnmm.checks import assert_batch_independent
from learnmm.proximal import Box, GroupL2, NonNegative, TotalVariation

DOUBLE = torch.float64
PROPOSERS = {
    "own steps": None,
    "limited memory": lmm.LimitedMemory(),
    "a matrix": lmm.proposers.DenseBFGS(),
    "multipliers": Hostile(),
}

each = pytest.mark.parametrize("proposer", PROPOSERS.values(), ids=PROPOSERS)


def rosenbrock(x: Tensor) -> Tensor:
    return (100 * (x[:, 1:] - x[:, :-1] ** 2) ** 2 + (1 - x[:, :-1]) ** 2).sum(1)


def least_squares(batch: int = 1, rows: int = 12, unknowns: int = 8) -> lmm.Atom:
    return lmm.least_squares(normal(rows, unknowns), normal(batch, rows, seed=1))


class Watched:
    """A function that keeps to its box, and remembers that it was asked."""

    def __init__(self, box: Box) -> None:
        self.box = box
        self.asked = 0

    def __call__(self, x: Tensor) -> Tensor:
        self.asked += 1
        lower, upper = self.box.limits(x)
        assert bool(((x >= lower) & (x <= upper)).all())
        return rosenbrock(x)


@each
@settings(max_examples=4)
@given(seed=st.integers(0, 10**6), single=st.booleans(), scale=st.sampled_from([1.0, 1e8, 1e-8]))
def test_nothing_is_evaluated_outside_and_values_only_fall(
    proposer: Any, seed: int, single: bool, scale: float
) -> None:
    lower = normal(3, 4, seed=seed) - 0.5
    box = Box(lower, lower + normal(3, 4, seed=seed + 1).abs())
    start = 2 * normal(3, 4, seed=seed + 2)
    if single:
        box, start = Box(box.lower[0], box.upper[0]), start[0]
    watched = Watched(box)

    def fun(x: Tensor) -> Tensor:
        return scale * (watched(x[None])[0] if single else watched(x))

    result = lmm.minimize(
        fun,
        start,
        bounds=(box.lower, box.upper),
        proposer=proposer,
        settings=lmm.SolveSettings(max_iter=10),
    )
    assert watched.asked > 0
    assert torch.equal(box.feasible(result.x), result.x)
    assert bool(result.certificate.monotone.all())
    assert bool((result.fun <= result.initial_fun).all())


def test_bounds_hold_where_logarithm_and_root_end() -> None:
    def fun(x: Tensor) -> Tensor:
        return (x.sqrt() - x.log() + 3 * x).sum(1)

    lower = torch.tensor([1e-12, 0.5, 0.01], dtype=DOUBLE)
    result = lmm.minimize(fun, torch.full((1, 3), 2.0, dtype=DOUBLE), bounds=(lower, None))
    free = 0.25  # 1 / (2 sqrt x) + 3 = 1 / x
    assert bool(result.success)
    assert result.x[0, 1] == 0.5
    assert torch.allclose(result.x[0, [0, 2]], torch.tensor(free, dtype=DOUBLE), atol=1e-5)


@each
def test_non_negative_least_squares_is_that_of_scipy(proposer: Any) -> None:
    energy = least_squares()
    settings = lmm.SolveSettings(max_iter=5000, gtol=1e-9)
    x0 = torch.ones(1, 8, dtype=DOUBLE)
    result = lmm.minimize(energy, x0, bounds=(0, None), proposer=proposer, settings=settings)
    expected, residual = scipy.optimize.nnls(normal(12, 8).numpy(), normal(1, 12, seed=1)[0])
    assert bool(result.success)
    assert result.certificate.kind is lmm.Kind.GLOBAL
    assert not bool(result.certificate.violations.any())
    assert torch.equal(result.x[0] == 0, torch.from_numpy(expected) == 0)
    assert float(result.fun) == pytest.approx(residual**2 / 2, rel=1e-12)


def test_own_steps_of_an_exact_diagonal_majorant_take_one_step() -> None:
    y = 3 * normal(4, 6)
    quadratic = lmm.Quadratic(y, torch.logspace(0, 6, 6, dtype=DOUBLE))
    result = lmm.minimize(quadratic, torch.zeros_like(y), bounds=(-1, 1), proposer=None)
    assert torch.allclose(result.x, y.clamp(-1, 1), rtol=1e-12, atol=1e-12)
    assert bool((result.certificate.accepted <= 2).all())  # the second mends rounding


def test_a_vertex_is_a_minimum() -> None:
    def fun(x: Tensor) -> Tensor:
        return x.sum(1) + x.square().sum(1) / 2

    result = lmm.minimize(fun, torch.ones(2, 3), bounds=(torch.tensor([0.0, 0.5, -0.25]), 2))
    assert result.x.tolist() == [[0.0, 0.5, -0.25]] * 2
    assert result.status.tolist() == [lmm.Status.GRADIENT] * 2
    assert result.gradient_norm.tolist() == [0.0] * 2
    again = lmm.minimize(fun, result.x, bounds=(torch.tensor([0.0, 0.5, -0.25]), 2))
    assert again.iterations.tolist() == [0, 0]
    assert bool(again.success.all())


def test_fixed_unknowns_stay_and_the_others_are_solved() -> None:
    fixed = torch.tensor([0.25, -torch.inf, -torch.inf], dtype=DOUBLE)
    upper = torch.tensor([0.25, torch.inf, torch.inf], dtype=DOUBLE)
    result = lmm.minimize(rosenbrock, torch.ones(1, 3, dtype=DOUBLE), bounds=(fixed, upper))
    rest = lmm.minimize(
        lambda z: rosenbrock(torch.cat([torch.full_like(z[:, :1], 0.25), z], 1)),
        torch.ones(1, 2, dtype=DOUBLE),
    )
    assert result.x[0, 0] == 0.25
    assert torch.allclose(result.x[:, 1:], rest.x, atol=1e-6)


def test_without_bounds_that_matter_the_solution_is_the_same() -> None:
    x0 = torch.full((2, 4), -1.0, dtype=DOUBLE)
    free = lmm.minimize(rosenbrock, x0)
    bounded = lmm.minimize(rosenbrock, x0, bounds=(-100, 100))
    assert bool(bounded.success.all())
    assert torch.allclose(bounded.x, free.x, atol=1e-6)


@settings(max_examples=2)
@given(x=st.integers(-30, 30), f=st.integers(-30, 30))
def test_units_change_nothing(x: int, f: int) -> None:
    unit, scale = 2.0**x, 2.0**f
    x0 = torch.full((1, 5), -0.9, dtype=DOUBLE)
    plain = lmm.minimize(rosenbrock, x0, bounds=(-1, 0.5))
    other = lmm.minimize(
        lambda z: scale * rosenbrock(z / unit), unit * x0, bounds=(-unit, 0.5 * unit)
    )
    assert torch.equal(other.iterations, plain.iterations)
    assert torch.equal(other.status, plain.status)
    assert torch.equal(other.x / unit, plain.x)


@each
def test_neighbours_change_nothing(proposer: Any) -> None:
    lower, y = -normal(4, 3, seed=5).abs(), normal(4, 6, seed=6)

    def build(rows: Any) -> tuple[lmm.ProjectedMMOptimizer, Tensor]:
        rows = torch.tensor(rows)
        optimizer = lmm.ProjectedMMOptimizer(
            lmm.least_squares(normal(6, 3), y[rows]),
            proposer=proposer,
            penalty=Box(lower, 0.1).restricted(rows, lower),
        )
        return optimizer, torch.zeros(len(rows), 3, dtype=DOUBLE)

    assert_batch_independent(build, 4, steps=8)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_starts_outside_are_moved_to_the_nearest_point(dtype: torch.dtype) -> None:
    seen = []
    x0 = torch.tensor([[5.0, -5.0, 0.1]], dtype=dtype)
    result = lmm.minimize(
        lambda x: (seen.append(x.detach().clone()), x.square().sum(1))[1], x0, bounds=(-1, 2)
    )
    assert seen[0].tolist() == [[2.0, -1.0, x0[0, 2].item()]]
    assert float(result.initial_fun) == pytest.approx(5.01)
    assert x0.tolist()[0][:2] == [5.0, -5.0]


def test_trees_and_arrays_have_bounds_like_them() -> None:
    def fun(x: dict[str, Tensor]) -> Tensor:
        assert bool((x["a"] >= 1).all())
        return (x["a"] + 1).square().sum() + (x["b"] - 3).square()

    x0 = {"a": np.zeros((2, 2)), "b": np.array(5.0)}
    bounds = ({"a": np.array([[1.0], [2.0]]), "b": None}, {"a": None, "b": 2})
    result = lmm.minimize(fun, x0, bounds=bounds)
    assert result.x["a"].tolist() == [[1.0, 1.0], [2.0, 2.0]]
    assert float(result.x["b"]) == 2.0
    with pytest.raises(ValueError, match=r"lower must be a number, .* tree .* got one of c"):
        lmm.minimize(fun, x0, bounds=({"c": 0.0}, None))
    with pytest.raises(ValueError, match=r"upper must broadcast to \(2, 2\), got shape \(3,\)"):
        lmm.minimize(fun, x0, bounds=(1, {"a": np.ones(3), "b": None}))
    with pytest.raises(TypeError, match="bounds are for real unknowns, got complex ones"):
        lmm.minimize(lambda z: z.abs().square().sum(), np.ones(2) * 1j, bounds=(0, 1))


def test_what_is_minimized_beside_the_objective_is_named_once() -> None:
    for penalty in (NonNegative(), GroupL2(), TotalVariation()):
        with pytest.raises(ValueError, match=f"got bounds beside {type(penalty).__name__}, whose"):
            lmm.minimize(rosenbrock, torch.ones(1, 2), bounds=(0, 1), penalty=penalty)
    with pytest.raises(TypeError, match="penalty must be a Penalty or None, got tuple"):
        lmm.minimize(rosenbrock, torch.ones(1, 2), bounds=(0, 1), penalty=(0, 1))  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="penalty must be a Penalty or None, got tuple"):
        lmm.minimize(rosenbrock, torch.ones(1, 2), penalty=(0, 1))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"bounds: lower must broadcast to \(1, 2\)"):
        lmm.minimize(rosenbrock, torch.ones(1, 2), bounds=(torch.zeros(3), 1))


def test_its_steps_are_one_graph() -> None:
    optimizer = lmm.ProjectedMMOptimizer(
        rosenbrock,
        majorant=lmm.majorants.LipschitzMajorant(1e3),
        proposer=lmm.LimitedMemory(3),
        penalty=Box(normal(3, 2).abs() - 3, 0.5),
    )
    compiled = torch.compile(optimizer.step, fullgraph=True, backend="eager")
    with torch.no_grad():
        state = other = optimizer.init(torch.full((3, 2), -1.0, dtype=DOUBLE))
        for _ in range(5):
            state, other = optimizer.step(state)[0], compiled(other)[0]
    assert torch.allclose(other.x, state.x, rtol=1e-9)


def test_a_first_curvature_is_measured_along_what_may_move() -> None:
    """Along the held unknown it is a million times larger."""

    def fun(x: Tensor) -> Tensor:
        return 1e6 * (x[:, 0] + 1).square() + (x[:, 1] - 2).square()

    result = lmm.minimize(fun, torch.zeros(1, 2, dtype=DOUBLE), bounds=(0, None))
    assert result.x.tolist() == [[0.0, 2.0]]
    assert int(result.iterations) <= 3
    assert math.isclose(float(result.fun), 1e6)


def test_bounds_of_each_problem_stay_its_own_when_others_have_left() -> None:
    """All but one start at a vertex; the bound of the last is that of no other."""
    upper = torch.full((6, 1), -1.0, dtype=DOUBLE)
    upper[5] = 0.5
    x0 = torch.full((6, 4), -1.0, dtype=DOUBLE)
    lower = torch.where(upper < 0, -1.0, -2.0)
    together = lmm.minimize(rosenbrock, x0, bounds=(lower, upper))
    alone = lmm.minimize(rosenbrock, x0[5:], bounds=(-2.0, 0.5))
    assert together.iterations.tolist() == [0] * 5 + alone.iterations.tolist()
    assert torch.equal(together.x[:5], x0[:5])
    assert torch.allclose(together.x[5], alone.x[0], rtol=1e-10)
