"""Directions: quasi-Newton steps against a dense reference, refusals, and secant curvature."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

import learnmm as lmm
from learnmm import checks
from learnmm.objective import CallableObjective
from learnmm.solve.safeguard import shorter
from learnmm_problems.mgh import MGHProblem

DTYPE = torch.float64


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=seeded(seed), dtype=DTYPE)


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def rosenbrock(x: Tensor) -> Tensor:
    return (100 * (x[:, 1:] - x[:, :-1] ** 2) ** 2 + (1 - x[:, :-1]) ** 2).sum(1)


class Fixed(lmm.Direction):
    """The same step whatever it sees, and no memory."""

    def __init__(self, step: Any) -> None:
        super().__init__()
        self.step = step

    def init_state(self, x: Tensor) -> None:
        return None

    def forward(self, point: lmm.Point, state: None) -> tuple[Any, None]:
        return self.step, None


class Secants(lmm.SecantMajorant):
    """Secants that start from 1."""

    def start(self, x: Tensor, gradient: Tensor) -> Tensor:
        return torch.ones_like(x[:, 0])


# --- limited memory ----------------------------------------------------------------------------


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
    memory, points, gradients = component.init_state(x), [], []
    for k in range(steps + 1):
        gradient = normal(batch, n, seed=seed + 10 + k)
        point = lmm.Point(x, gradient, lmm.DiagonalCurvature(diagonal))
        step, memory = component(point, memory)
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
    result = lmm.minimize(
        atom, x0, proposer=lmm.LimitedMemory(), settings=lmm.SolveSettings(max_iter=1)
    )
    torch.testing.assert_close(result.x, atom.target)
    assert result.certificate.kind is lmm.Kind.GLOBAL
    assert not result.certificate.projected


@given(st.integers(-6, 6), st.integers(-6, 6))
def test_units_change_nothing(length: int, energy: int) -> None:
    """Iterates scale with the unknowns and not at all with the objective."""
    unit, factor = 4.0**length, 4.0**energy  # exact in floating point

    def fun(x: Tensor) -> Tensor:
        return factor * rosenbrock(x / unit)

    x0 = normal(4, 3)
    plain, scaled = (
        lmm.minimize(f, start, settings=lmm.SolveSettings(max_iter=15, gtol=0.0))
        for f, start in ((rosenbrock, x0), (fun, unit * x0))
    )
    torch.testing.assert_close(scaled.x / unit, plain.x, rtol=1e-7, atol=1e-9)
    assert torch.equal(scaled.certificate.rejected, plain.certificate.rejected)


@pytest.mark.parametrize(
    "name", ["rosenbrock", "powell-badly-scaled", "meyer", "wood", "osborne-2"]
)
def test_hard_small_problems_are_solved_without_a_rise(name: str) -> None:
    drawn = MGHProblem(name).instance(3)
    result = lmm.minimize(
        drawn.objective, drawn.x0[:1], settings=lmm.SolveSettings(max_iter=1000, gtol=1e-8)
    )
    assert drawn.optimum is not None
    gap = (result.fun - drawn.optimum[:1]) / drawn.optimum[:1].clamp(min=1.0)
    assert (gap < 1e-6).all()
    assert result.certificate.monotone.all()


def test_a_valley_that_bends_down_is_left_quickly() -> None:
    """From there on no step sees positive curvature, and each is taken: they must not stay short.

    Starts on the ridge of the valley, with two pairs from the way down to it; seven hundred steps
    of one length without stretching.
    """
    x0 = MGHProblem("rosenbrock").instance(1024, generator=seeded(11)).x0[399:400]
    result = lmm.minimize(
        MGHProblem("rosenbrock").instance(1).objective, x0, settings=lmm.SolveSettings(gtol=1e-9)
    )
    assert result.success.all()
    assert int(result.iterations) < 200


def test_fewer_evaluations_than_the_majorants_own_steps() -> None:
    x0 = torch.tensor([[-1.2, 1.0, -1.2, 1.0]], dtype=DTYPE)
    fast = lmm.minimize(rosenbrock, x0)
    slow = lmm.minimize(rosenbrock, x0, proposer=None, settings=lmm.SolveSettings(max_iter=300))
    assert fast.success.all()
    assert float(fast.fun) < float(slow.fun)
    assert int(fast.iterations) < 100


def test_descent_holds_where_the_objective_breaks() -> None:
    def fun(x: Tensor) -> Tensor:  # NaN beyond the wall, and steep next to it
        return -torch.log(1 - x).sum(1) + (x + 3).square().sum(1)

    checks.assert_descent(
        lmm.ProjectedMMOptimizer(fun, proposer=lmm.LimitedMemory(3)), normal(5, 4) / 4
    )


def test_gradients_flow_through_the_steps() -> None:
    matrix = normal(3, 4).requires_grad_()
    x0 = normal(2, 4, seed=1)
    solver = lmm.UnrolledMM(
        lambda y: lmm.least_squares(matrix, y), lmm.LimitedMemory(2), steps=3, start=lambda y: x0
    )
    assert torch.autograd.gradcheck(
        lambda m: (
            lmm.UnrolledMM(
                lambda y: lmm.HalfQuadratic(y) @ lmm.MatrixMap(m, form="separable"),
                lmm.LimitedMemory(2),
                steps=2,  # a third comes after a refusal: how much shorter has no gradient
                start=lambda y: x0,
            )(normal(2, 3, seed=2)).x
        ),
        matrix,
    )
    solver(normal(2, 3, seed=2)).values[-1].sum().backward()
    assert torch.isfinite(matrix.grad).all()


def test_a_step_compiles_in_one_graph() -> None:
    optimizer = lmm.ProjectedMMOptimizer(rosenbrock, proposer=lmm.LimitedMemory(3))
    state = optimizer.init(normal(3, 4))
    compiled = torch.compile(optimizer.step, fullgraph=True, backend="eager")
    with torch.no_grad():
        for _ in range(4):
            expected, _ = optimizer.step(state)
            state, _ = compiled(state)
            torch.testing.assert_close(state.x, expected.x)


# --- refusals ----------------------------------------------------------------------------------


def test_a_refused_direction_comes_again_shorter_and_then_the_own_step() -> None:
    atom, x0 = lmm.Quadratic(torch.zeros(2, 6, dtype=DTYPE)), normal(2, 6, seed=8)
    climbing = Fixed(-x0)
    result = lmm.ProjectedMMOptimizer(
        atom, proposer=climbing, settings=lmm.SolveSettings(max_iter=4, gtol=0.0)
    ).minimize(x0, history=True)
    history = result.history
    assert history.learned[:3].all()
    assert not history.accepted[:3].any()
    factors = history.step_norm[1:3] / history.step_norm[:2]
    assert ((factors >= 0.1) & (factors <= 0.5)).all()
    assert not history.learned[3].any()
    assert history.accepted[3].all()
    torch.testing.assert_close(result.x, torch.zeros_like(x0))


def test_a_long_step_is_cut_to_the_minimum_of_the_parabola() -> None:
    """On a quadratic that is the minimum along the direction: one refusal is enough."""
    x0 = normal(3, 5)
    atom = lmm.Quadratic(torch.zeros_like(x0))
    result = lmm.ProjectedMMOptimizer(
        atom, proposer=Fixed(8 * x0), settings=lmm.SolveSettings(max_iter=2, gtol=0.0)
    ).minimize(x0, history=True)
    assert not result.history.accepted[0].any()
    assert result.history.accepted[1].all()
    torch.testing.assert_close(result.x, torch.zeros_like(x0), rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("slope", "actual", "factor"),
    [
        (1.0, -1.0, 0.25),  # f rose by as much as it should have fallen
        (1.0, -1e6, 0.1),
        (1.0, 0.99, 0.5),
        (1.0, 2.0, 0.5),  # concave along the step
        (-1.0, -2.0, 0.1),  # uphill
        (1.0, -torch.inf, 0.1),
        (1.0, torch.nan, 0.1),
        (torch.nan, torch.nan, 0.1),
    ],
)
def test_how_much_shorter(slope: float, actual: float, factor: float) -> None:
    found = shorter(torch.tensor([slope], dtype=DTYPE), torch.tensor([actual], dtype=DTYPE))
    assert float(found) == pytest.approx(factor)


@pytest.mark.parametrize("safeguard", [lmm.Safeguard(), None])
def test_a_direction_may_leave_the_region_of_a_bound_where_it_is_verified(safeguard: Any) -> None:
    """Descent does not rest on the bound then, and beyond its region nothing can disprove it."""
    x0 = normal(3, 5)
    size = x0.norm(dim=1)
    length = torch.tensor([1.0, 1.0, 0.1], dtype=DTYPE)  # the last stays inside

    def bound(x: Tensor, aux: Any = None) -> lmm.Bound:  # too small by far, as beyond a region
        curvature = lmm.ScalarCurvature(torch.full_like(size, 0.1))
        return lmm.Bound(lmm.Kind.REGION, curvature, radius=size / 4)

    optimizer = lmm.ProjectedMMOptimizer(
        lambda x: (x * x).sum(1) / 2,
        majorant=bound,
        proposer=Fixed(length[:, None] * x0),
        settings=lmm.SolveSettings(safeguard=safeguard),
    )
    state, info = optimizer.step(optimizer.init(x0))
    if safeguard is None:
        assert info.cut.tolist() == [True, True, False]
        torch.testing.assert_close(info.step_norm, size * torch.tensor([0.25, 0.25, 0.1]).double())
    else:
        assert not info.cut.any()
        torch.testing.assert_close(info.step_norm, size * length)
        assert state.tally.violations.tolist() == [0, 0, 1]


def test_refusals_of_a_neighbour_shorten_nothing() -> None:
    x0 = normal(2, 5)
    step = torch.stack([x0[0], -x0[1]])  # the first is right, the second climbs
    atom = lmm.Quadratic(torch.zeros_like(x0))
    optimizer = lmm.ProjectedMMOptimizer(
        atom, proposer=Fixed(step / 2), settings=lmm.SolveSettings(gtol=0.0)
    )
    state, info = optimizer.step(optimizer.init(x0))
    assert info.accepted.tolist() == [True, False]
    assert state.shortening.tolist() == [1.0, pytest.approx(0.1)]


def test_a_run_ends_where_only_steps_too_small_to_matter_are_taken() -> None:
    """At a kink with a gradient that leads astray: neither an endless run nor a success."""

    class Kink(lmm.Objective):
        def evaluate(self, x: Tensor) -> lmm.Evaluation:
            return lmm.Evaluation(1e6 + (x - x0).abs().sum(1), torch.full_like(x, 1e-3))

    x0 = normal(3, 4)
    majorant = Secants(lambda x: torch.ones_like(x).sum(1))
    result = lmm.minimize(
        Kink(), x0, majorant=majorant, settings=lmm.SolveSettings(gtol=0.0, max_iter=200)
    )
    assert (result.status == lmm.Status.STALLED).all()
    assert (result.iterations < 60).all()
    assert result.certificate.monotone.all()


@pytest.mark.parametrize(
    ("step", "error", "message"),
    [
        (torch.ones(2, 4), ValueError, r"Fixed must propose .* \(2, 3\), got \(2, 4\)"),
        (None, TypeError, "Fixed must propose a floating-point tensor, got NoneType"),
        (torch.ones(2, 3, dtype=torch.int64), TypeError, "got torch.int64"),
    ],
)
def test_steps_of_another_shape_or_dtype_are_refused(
    step: Any, error: type[Exception], message: str
) -> None:
    atom = lmm.Quadratic(torch.zeros(2, 3))
    with pytest.raises(error, match=message):
        lmm.minimize(atom, torch.ones(2, 3), proposer=Fixed(step))


@pytest.mark.parametrize("history", [0, -1, 2.0, None])
def test_history_is_a_positive_integer(history: Any) -> None:
    with pytest.raises(
        ValueError, match=f"history must be an integer of at least 1, got {history}"
    ):
        lmm.LimitedMemory(history)


@pytest.mark.parametrize("case", ["shape", "neighbours", "memory", "again"])
def test_the_checks_see_directions_that_break_the_laws(case: str) -> None:
    class Broken(lmm.LimitedMemory):
        def forward(self, point: lmm.Point, state: Any) -> tuple[Tensor, Any]:
            step, state = super().forward(point, state)
            if case == "shape":
                return step[:, :1], state
            if case == "neighbours":
                return step - step.mean(0), state
            if case == "again":
                return step, state._replace(stretch=2 * state.stretch)
            return step, (state,)

    with pytest.raises(checks.LawViolation):
        checks.assert_preconditioner(Broken(2), normal(3, 4))


# --- secants -----------------------------------------------------------------------------------


@given(seed=st.integers(0, 10**6), steps=st.integers(1, 12))
def test_a_secant_lies_within_the_spectrum_of_a_convex_quadratic(seed: int, steps: int) -> None:
    spectrum = normal(3, 5, seed=seed).exp()

    def fun(x: Tensor) -> Tensor:
        return (spectrum * x * x).sum(1) / 2

    optimizer = lmm.ProjectedMMOptimizer(
        fun, majorant=lmm.SecantMajorant(fun), settings=lmm.SolveSettings(gtol=0.0)
    )
    state = optimizer.init(normal(3, 5, seed=seed + 1))
    for _ in range(steps):
        level = optimizer.majorant(state.x, state.known).curvature.largest()
        assert (level <= spectrum.amax(1) * (1 + 1e-6)).all()
        assert (level >= spectrum.amin(1) * (1 - 1e-6)).all()
        state, info = optimizer.step(state)
        if bool((info.actual < 1e-12).any()):
            break


def test_the_first_secant_is_the_hessian_along_the_gradient() -> None:
    x = normal(3, 4)
    gradient = torch.func.grad(lambda z: rosenbrock(z).sum())(x)
    majorant = lmm.SecantMajorant(rosenbrock)
    for i in range(3):
        hessian = torch.func.hessian(lambda z: rosenbrock(z[None])[0])(x[i])
        expected = (hessian @ gradient[i]).norm() / gradient[i].norm()
        torch.testing.assert_close(majorant.start(x, gradient)[i], expected)
    bound = majorant(x)
    torch.testing.assert_close(bound.curvature.largest(), majorant.start(x, gradient))
    assert bound.kind is lmm.Kind.ESTIMATE
    assert isinstance(majorant, lmm.AdaptiveMajorant)
    assert not isinstance(lmm.LipschitzMajorant(1.0), lmm.AdaptiveMajorant)


def test_a_linear_objective_has_no_secant_and_a_step_as_long_as_the_iterate() -> None:
    slope = normal(2, 3)
    x0 = normal(2, 3, seed=1)
    result = lmm.minimize(lambda x: (slope * x).sum(1), x0, settings=lmm.SolveSettings(max_iter=1))
    torch.testing.assert_close((result.x - x0).norm(dim=1), x0.norm(dim=1))
    assert torch.isfinite(
        lmm.minimize(lambda x: (slope * x).sum(1), 0 * x0, settings=lmm.SolveSettings(max_iter=5)).x
    ).all()


def test_secants_follow_the_steps_within_limits() -> None:
    majorant, level = lmm.SecantMajorant(rosenbrock), torch.ones(5, dtype=DTYPE)
    move = torch.ones(5, 2, dtype=DTYPE)
    factor = torch.tensor([2.0, -3.0, 1e-9, 1e9, 0.0], dtype=DTYPE)
    found = majorant.follow(level, move, factor[:, None] * move)
    torch.testing.assert_close(found, torch.tensor([2.0, 3.0, 0.5, 1e3, 1.0], dtype=DTYPE))


def test_minimize_takes_limited_memory_unless_told_otherwise() -> None:
    """The same steps for a function, an objective of it and an atom, whoever gives the bound."""
    x0 = torch.tensor([[-1.2, 1.0], [2.0, 2.0]], dtype=DTYPE)
    atom = lmm.HalfQuadratic(normal(2, 3), "cauchy") @ normal(3, 2, seed=1)
    cases: tuple[tuple[Any, dict[str, Any], lmm.Kind], ...] = (
        (rosenbrock, {}, lmm.Kind.PROBABLE),
        (CallableObjective(rosenbrock), {}, lmm.Kind.PROBABLE),
        (atom, {}, lmm.Kind.GLOBAL),
        (rosenbrock, {"majorant": lmm.SecantMajorant(rosenbrock)}, lmm.Kind.ESTIMATE),
    )
    for fun, named, kind in cases:
        wanted = lmm.ProjectedMMOptimizer(
            fun, proposer=lmm.LimitedMemory(), settings=lmm.SolveSettings(max_iter=20), **named
        ).minimize(x0)
        found = lmm.minimize(fun, x0, settings=lmm.SolveSettings(max_iter=20), **named)
        assert torch.equal(found.x, wanted.x)
        assert found.certificate.directed.all()
        assert not found.certificate.learned.any()
        own = lmm.minimize(fun, x0, settings=lmm.SolveSettings(max_iter=20), proposer=None, **named)
        assert own.certificate.kind is kind
        assert not own.certificate.directed.any()
        assert not torch.equal(own.x, found.x)


def test_a_pair_too_small_to_divide_by_is_left_out() -> None:
    component, x = lmm.LimitedMemory(3), torch.zeros(2, 3, dtype=DTYPE)
    curvature = lmm.ScalarCurvature(torch.ones(2, dtype=DTYPE))
    memory = component.init_state(x)
    for _ in range(3):  # <s, y> is 2e-320 for the first problem, and its inverse infinite
        x = x + torch.tensor([[1e-160], [1.0]], dtype=DTYPE)
        step, memory = component(lmm.Point(x, 2 * x, curvature), memory)
        assert torch.isfinite(step).all()
        assert torch.isfinite(memory.inverse).all()
    assert (memory.products > 0).sum(1).tolist() == [0, 3]


def test_a_direction_seen_twice_from_one_point_is_the_same() -> None:
    """A refusal asks again: what limited memory knows is of points alone."""
    component = lmm.LimitedMemory(3)
    x, curvature = normal(4, 5), lmm.ScalarCurvature(torch.ones(4, dtype=DTYPE))
    memory = component.init_state(x)
    for k in range(6):
        gradient = normal(4, 5, seed=20 + k)
        point = lmm.Point(x, gradient, curvature)
        step, memory = component(point, memory)
        again, kept = component(point, memory)
        assert torch.equal(step, again)
        for before, after in zip(memory, kept, strict=True):
            assert torch.equal(before, after)
        x = x - step * 0.1 + 0.1 * normal(4, 5, seed=40 + k)
