"""The plane of what can be tried: its coordinates have the inner products of the vectors."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

import learnmm as lmm
from closures import DOUBLE, normal, parameter, rosenbrock, train
from learnmm.optim.closure import ClosureObjective
from learnmm.optim.plane import Plane, inner


def plane_at(seed: int, *, weighted: bool, parallel: bool) -> tuple[Plane, Any]:
    """A plane, with the vectors that it stands for."""
    p = parameter(normal(6, seed=seed))
    objective = ClosureObjective(lambda: (p.sin() * normal(6, seed=seed + 1)).sum(), [p])
    x = p.detach().clone()[None]
    with torch.no_grad():
        there = objective.evaluate(x)
        metric = 1 + normal(1, 6, seed=seed + 2).abs() if weighted else None
        own = there.gradient if metric is None else there.gradient / metric
        d = 3 * own if parallel else normal(1, 6, seed=seed + 3)
        return Plane(objective, x, there, own, d, metric), (objective, x, metric, own, d)


@given(
    seed=st.integers(0, 1000),
    weighted=st.booleans(),
    parallel=st.booleans(),
    factor=st.floats(0.01, 2.0),
)
def test_coordinates_have_the_inner_products_of_the_vectors(
    seed: int, weighted: bool, parallel: bool, factor: float
) -> None:
    plane, (objective, x, metric, own, d) = plane_at(seed, weighted=weighted, parallel=parallel)
    gradient = plane.there.gradient
    m = torch.ones_like(x) if metric is None else metric
    along = torch.tensor([[plane.along, plane.across, 0.0]], dtype=DOUBLE)
    close = lambda a, b: torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-9)  # noqa: E731
    there = objective.last.gradient
    close((gradient * along).sum(), (there * d).sum())
    close((along * along).sum(), (m * d * d).sum())
    close((gradient * gradient).sum(), (there * own).sum())  # own steps, and their slope
    close(plane.start[0, 2], x.norm())
    for coordinates, vector in ((along, d), (gradient, own)):
        with torch.no_grad():
            value, slope, _ = plane.evaluate(plane.start - factor * coordinates)
        moved = x - factor * vector
        close(objective.at, moved)
        assert torch.equal(value, objective.last.value)
        close((slope * coordinates).sum(), (objective.last.gradient * vector).sum())
        close(torch.tensor(plane.before, dtype=DOUBLE), factor * (there * vector).sum())
        expected = factor * (objective.last.gradient * vector).sum()
        close(torch.tensor(plane.after, dtype=DOUBLE), expected)


def test_the_start_is_not_evaluated_again() -> None:
    plane, (objective, *_) = plane_at(0, weighted=True, parallel=False)
    objective.closure = lambda: pytest.fail("evaluated")
    assert plane.evaluate(plane.start.clone()) is plane.there


@pytest.mark.parametrize("size", [1e-30, 1e-19, 1.0, 1e18, 1e25])
def test_inner_products_of_the_ends_of_the_format(size: float) -> None:
    v = torch.full((7,), size, dtype=torch.float32)
    assert inner(v, v) == pytest.approx(7 * float(v[0]) ** 2, rel=1e-6)


@pytest.mark.parametrize("scale", [1e-8, 1e8])
@pytest.mark.parametrize("units", [1e-8, 1e8])
def test_float32_far_from_one_descends_as_near_it(scale: float, units: float) -> None:
    ends = []
    for s, u in ((1.0, 1.0), (scale, units)):
        x = parameter(u * torch.tensor([-1.2, 1.0, 0.5]), torch.float32)
        losses = train(lmm.optim.ProjectedMM([x]), lambda x=x, s=s, u=u: s * rosenbrock(x / u), 20)  # type: ignore[misc]
        ends.append(losses[-1] / losses[0])
    assert ends[1] < 0.1
    assert ends[0] < 0.1


def test_steps_with_rates_of_their_own_are_those_of_scaled_unknowns() -> None:
    """Rates ``r_i`` act as unknowns in units of ``sqrt(r_i)`` would, in own steps."""
    rates = (1.0, 0.25)
    x, y = parameter([1.0]), parameter([1.0])
    optimizer = lmm.optim.ProjectedMM(
        [{"params": [x]}, {"params": [y], "lr": rates[1]}],
        history=0,
        settings=lmm.SolveSettings(relaxation=None),
    )
    loss = lambda a, b: 2 * a.square().sum() + (2 * b).square().sum()  # noqa: E731
    start: tuple[Tensor, Tensor] = (x.detach().clone(), y.detach().clone())
    optimizer.step(lambda: loss(x, y))
    b = 8.0  # the largest curvature, and Lanczos is exact for two unknowns
    torch.testing.assert_close(x.detach(), start[0] - 4.0 / b)
    torch.testing.assert_close(y.detach(), start[1] - rates[1] * 8.0 / b)
