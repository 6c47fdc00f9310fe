"""Dense BFGS: against a reference of one problem, and what the default takes."""

from __future__ import annotations

import functools
import itertools
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

import learnmm as lmm
from draws import normal
from learnmm import checks
from learnmm.curvature import Curvature, DiagonalCurvature, LowRankCurvature, ScalarCurvature
from learnmm.objective import CallableObjective
from learnmm.proposers import BFGS, DenseBFGS
from learnmm.proposers.bfgs import FEW
from learnmm_problems.mgh import MGHProblem

DTYPE = torch.float64
EPS = torch.finfo(DTYPE).eps


def rosenbrock(x: Tensor) -> Tensor:
    return (100 * (x[:, 1:] - x[:, :-1] ** 2) ** 2 + (1 - x[:, :-1]) ** 2).sum(1)


def reference(points: list[Tensor], gradients: list[Tensor], inverse: Tensor) -> Tensor:
    """``H g`` of one problem by products of matrices (Nocedal & Wright 2006, Eq. 6.17)."""
    pairs, stretch = 0, 1.0
    for (a, b), (ga, gb) in zip(
        itertools.pairwise(points), itertools.pairwise(gradients), strict=True
    ):
        s, y = b - a, gb - ga
        if not float(s @ y) > 0:
            stretch = 2 * stretch
            continue
        scale = (s @ y) / (y @ inverse @ y)
        inverse = inverse * (scale if pairs == 0 else scale.clamp(min=1.0))
        keep = torch.eye(len(s), dtype=DTYPE) - torch.outer(y, s) / (s @ y)
        inverse = keep.mT @ inverse @ keep + torch.outer(s, s) / (s @ y)
        pairs, stretch = pairs + 1, 1.0
    return stretch * inverse @ gradients[-1]


def operators(seed: int, batch: int, n: int) -> list[tuple[Curvature, Tensor]]:
    """Curvatures, each with its inverse ``(B, n, n)``."""
    entries, spectrum = normal(batch, n, seed=seed).exp(), normal(batch, 2, seed=seed + 1).exp()
    basis = torch.linalg.qr(normal(n, 2, seed=seed + 2)).Q
    eye = torch.eye(n, dtype=DTYPE)
    whole = entries[:, :1, None] * eye + (basis * spectrum[:, None]) @ basis.mT
    return [
        (ScalarCurvature(entries[:, 0]), eye / entries[:, :1, None]),
        (DiagonalCurvature(entries), torch.diag_embed(1 / entries)),
        (LowRankCurvature(entries[:, 0], spectrum, basis), torch.linalg.inv(whole)),
    ]


@settings(max_examples=20)
@given(seed=st.integers(0, 10**6), steps=st.integers(0, 6), which=st.integers(0, 2))
def test_updates_are_those_of_the_reference(seed: int, steps: int, which: int) -> None:
    """On paths that have seen positive and negative curvature, from every kind of operator."""
    n, batch = 4, 3
    curvature, inverse = operators(seed, batch, n)[which]
    proposer, x = DenseBFGS(), normal(batch, n, seed=seed + 3)
    memory, points, gradients = proposer.init_memory(x), [], []
    for k in range(steps + 1):
        gradient = normal(batch, n, seed=seed + 10 + k)
        point = lmm.Point(x, gradient, curvature)
        memory = proposer.observe(point, memory)
        step = proposer.propose(point, memory).values
        points.append(x)
        gradients.append(gradient)
        x = x + normal(batch, n, seed=seed + 100 + k)
    for i in range(batch):
        path = [p[i] for p in points], [g[i] for g in gradients]
        expected = reference(*path, inverse[i])
        # An update divides by <s, y>, which may be small: errors grow with the condition of H.
        error = (step[i] - expected).abs().max()
        condition = torch.linalg.cond(memory.matrix[i]) if memory.known[i] else 1.0
        assert float(error) <= 1e3 * n * EPS * float(condition * expected.norm())


@settings(max_examples=20)
@given(seed=st.integers(0, 10**6))
def test_on_a_face_the_step_is_that_of_the_rest(seed: int) -> None:
    """The unknowns that are held are left out of ``H^-1``, each problem's own; all may be."""
    batch, n = 4, 5
    factor, gradient = normal(batch, n, n, seed=seed), normal(batch, n, seed=seed + 1)
    matrix = factor @ factor.mT + torch.eye(n, dtype=DTYPE)
    free = normal(batch, n, seed=seed + 2) > 0
    memory = DenseBFGS().init_memory(gradient)
    memory = memory._replace(matrix=matrix, known=torch.ones(batch, dtype=torch.bool))
    point = lmm.Point(gradient, gradient * free, ScalarCurvature(memory.stretch), free=free)
    step = DenseBFGS().propose(point, memory).values
    for i in range(batch):
        rest = free[i]
        block = torch.linalg.inv(matrix[i])[rest][:, rest]
        expected = torch.linalg.solve(block, gradient[i][rest])
        norms = torch.linalg.matrix_norm(matrix[i], 2) * gradient[i].norm()
        bound = 1e2 * n * EPS * float(torch.linalg.cond(matrix[i]) * norms)
        assert float((step[i][rest] - expected).norm()) <= bound
        assert bool((step[i][~rest] == 0).all())


def test_on_a_face_it_is_one_graph() -> None:
    proposer, x = DenseBFGS(), normal(3, 4)
    memory = proposer.init_memory(x)._replace(
        matrix=torch.eye(4, dtype=DTYPE).repeat(3, 1, 1), known=x[:, 0] > -9
    )
    point = lmm.Point(x, x * (x > 0), ScalarCurvature(memory.stretch), free=x > 0)
    compiled = torch.compile(proposer.propose, fullgraph=True, backend="eager")
    assert torch.allclose(compiled(point, memory).values, x.clamp(min=0), rtol=1e-12)


@functools.cache
def in_units(length: int, energy: int, proposer: type[lmm.Proposer]) -> lmm.Result:
    """Steps on Rosenbrock's function with other units of the unknowns and of the value."""
    unit, factor = 4.0**length, 4.0**energy  # exact in floating point

    def fun(x: Tensor) -> Tensor:
        return factor * rosenbrock((x / unit).flatten(1))

    start = unit * normal(4, 3, 1)
    return lmm.minimize(
        fun, start, proposer=proposer(), settings=lmm.SolveSettings(max_iter=12, gtol=0.0)
    )


@settings(max_examples=8)
@given(st.integers(-6, 6), st.integers(-6, 6))
def test_units_change_nothing(length: int, energy: int) -> None:
    plain, scaled = in_units(0, 0, DenseBFGS), in_units(length, energy, DenseBFGS)
    torch.testing.assert_close(scaled.x / 4.0**length, plain.x, rtol=1e-7, atol=1e-9)
    assert torch.equal(scaled.certificate.rejected, plain.certificate.rejected)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_matrix_that_rounding_has_spoilt_is_begun_anew(dtype: torch.dtype) -> None:
    """An indefinite one never comes of updates; given one, the next pair replaces it."""
    x, proposer = normal(3, 4, seed=1).to(dtype), DenseBFGS()
    ones = ScalarCurvature(torch.ones(3, dtype=dtype))
    memory = proposer.init_memory(x)._replace(
        gradient=x, matrix=-torch.eye(4, dtype=dtype).repeat(3, 1, 1), known=torch.ones(3) > 0
    )
    point = lmm.Point(2 * x, 3 * x, ones)  # s = x, y = 2 x
    memory = proposer.observe(point, memory)
    torch.testing.assert_close(memory.matrix, torch.eye(4, dtype=dtype).expand(3, 4, 4) / 2)
    assert bool(((proposer.propose(point, memory).values * point.gradient).sum(1) > 0).all())


def test_pairs_next_to_underflow_leave_no_infinities() -> None:
    proposer, x = DenseBFGS(), torch.zeros(2, 3, dtype=DTYPE)
    memory = proposer.init_memory(x)
    for _ in range(3):  # <s, y> is 6e-320 for the first problem, and its inverse infinite
        x = x + torch.tensor([[1e-160], [1.0]], dtype=DTYPE)
        point = lmm.Point(x, 2 * x, ScalarCurvature(torch.ones(2, dtype=DTYPE)))
        memory = proposer.observe(point, memory)
        assert torch.isfinite(proposer.propose(point, memory).values).all()
    assert torch.isfinite(memory.matrix).all()


@pytest.mark.parametrize("name", ["powell-badly-scaled", "meyer", "wood"])
def test_hard_small_problems_are_solved_without_a_rise(name: str) -> None:
    drawn = MGHProblem(name).instance(2)
    exact = lmm.SolveSettings(max_iter=1000, gtol=1e-8)
    result = lmm.minimize(drawn.objective, drawn.x0, proposer=DenseBFGS(), settings=exact)
    assert drawn.optimum is not None
    gap = (result.fun[0] - drawn.optimum[0]) / drawn.optimum[0].clamp(min=1.0)
    assert float(gap) < 1e-6
    assert result.certificate.monotone.all()
    half = lmm.minimize(drawn.objective, drawn.x0.float(), proposer=DenseBFGS())
    assert half.certificate.monotone.all()


def test_descent_holds_where_the_objective_breaks() -> None:
    def fun(x: Tensor) -> Tensor:  # NaN beyond the wall, and steep next to it
        return -torch.log(1 - x).sum(1) + (x + 3).square().sum(1)

    checks.assert_descent(lmm.ProjectedMMOptimizer(fun, proposer=DenseBFGS()), normal(5, 4) / 4)


def test_a_quadratic_ends_in_few_steps() -> None:
    """Limited memory forgets; the matrix knows a quadratic once every direction was seen."""
    scales = torch.logspace(0, 3, 15, dtype=DTYPE)

    def fun(x: Tensor) -> Tensor:
        return (scales * x**2).sum(1) / 2

    x0 = normal(2, 15)
    few, many = (lmm.minimize(fun, x0, proposer=p) for p in (DenseBFGS(), lmm.LimitedMemory()))
    assert bool(few.success.all())
    assert bool((2 * few.iterations < many.iterations).all())


def test_a_quartic_ends_although_its_gradient_halves_for_ever() -> None:
    """BFGS goes to the minimum of a power at a steady rate, down to where numbers end."""
    weights = torch.arange(1.0, 9.0, dtype=DTYPE)
    result = lmm.minimize(lambda x: (weights * x**2).sum(1) ** 2, torch.ones(2, 8, dtype=DTYPE))
    assert bool(result.success.all())
    assert int(result.iterations.max()) < 200


def test_minimize_takes_bfgs_unless_told_otherwise() -> None:
    """The same steps for a function, an objective of it and an atom, whoever gives the bound."""
    x0 = torch.tensor([[-1.2, 1.0], [2.0, 2.0]], dtype=DTYPE)
    atom = lmm.HalfQuadratic(normal(2, 3), "cauchy") @ normal(3, 2, seed=1)
    cases: tuple[tuple[Any, dict[str, Any], lmm.Kind], ...] = (
        (rosenbrock, {}, lmm.Kind.PROBABLE),
        (CallableObjective(rosenbrock), {}, lmm.Kind.PROBABLE),
        (atom, {}, lmm.Kind.GLOBAL),
        (rosenbrock, {"majorant": lmm.majorants.SecantMajorant(rosenbrock)}, lmm.Kind.ESTIMATE),
    )
    for fun, named, kind in cases:
        named["settings"] = lmm.SolveSettings(max_iter=20)
        optimizer = lmm.ProjectedMMOptimizer(fun, proposer=DenseBFGS(), **named)
        found = lmm.minimize(fun, x0, **named)
        assert torch.equal(found.x, optimizer.minimize(x0).x)
        assert found.certificate.proposed.all()
        assert found.certificate.proposer == "BFGS"
        own = lmm.minimize(fun, x0, proposer=None, **named)
        assert own.certificate.kind is kind
        assert not own.certificate.proposed.any()
        assert own.certificate.proposer is None
        assert not torch.equal(own.x, found.x)


@pytest.mark.parametrize("unknowns", [FEW, FEW + 1])
def test_bfgs_takes_a_matrix_for_few_unknowns(unknowns: int) -> None:
    x0 = normal(2, unknowns) / 4
    limit = lmm.SolveSettings(max_iter=8)
    one = DenseBFGS() if unknowns == FEW else lmm.LimitedMemory()
    found, expected = (
        lmm.minimize(rosenbrock, x0, proposer=p, settings=limit) for p in (BFGS(), one)
    )
    assert torch.equal(found.x, expected.x)
