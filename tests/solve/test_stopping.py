"""When a run ends, and what it says then."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

import learnmm as lmm
from cutest_like import PROBLEMS
from learnmm.solve.safeguard import rounding_slack
from learnmm.solve.status import Status
from learnmm_problems.mgh import MGHProblem

DTYPE = torch.float64
both_dtypes = pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)


def statuses(result: lmm.Result) -> list[Status]:
    return [Status(int(code)) for code in result.status.reshape(-1)]


def rosenbrock(x: Tensor) -> Tensor:
    return (100 * (x[:, 1:] - x[:, :-1] ** 2) ** 2 + (1 - x[:, :-1]) ** 2).sum(1)


def smooth(x: Tensor) -> Tensor:
    """Strictly convex, and above zero at its minimum.

    Of operations that round one way alone: the exponential of torch has another last bit for
    tensors that are laid out otherwise.
    """
    return (3 * x + (1 + (3 * x) ** 2).sqrt() + (x - 1) ** 2).sum(1)


# --- the default tolerance -------------------------------------------------------------------


@both_dtypes
def test_a_gradient_that_is_small_at_the_start_is_no_reason_to_stop(dtype: torch.dtype) -> None:
    result = lmm.minimize(lambda x: 1e-9 * ((x - 3) ** 4).sum(), torch.zeros(3, dtype=dtype))
    assert bool(result.success)
    assert int(result.iterations) > 0
    torch.testing.assert_close(result.x, torch.full((3,), 3.0, dtype=dtype), rtol=1e-3, atol=0)


@settings(max_examples=8)
@given(energy=st.integers(-30, 30), length=st.integers(-30, 30), start=st.integers(0, 10**6))
def test_the_end_does_not_depend_on_units(energy: int, length: int, start: int) -> None:
    """Not its place, not its reason: factors are powers of two, which round nothing."""
    factor, unit = 4.0**energy, 4.0**length
    x0 = torch.randn(3, 4, generator=torch.Generator().manual_seed(start), dtype=DTYPE)
    for fun in (rosenbrock, smooth):
        plain = lmm.minimize(fun, x0)
        scaled = lmm.minimize(lambda x, fun=fun: factor * fun(x / unit), unit * x0)
        assert torch.equal(plain.status, scaled.status)
        assert torch.equal(plain.iterations, scaled.iterations)
        assert torch.equal(plain.x, scaled.x / unit)


@both_dtypes
@pytest.mark.parametrize("factor", [1.0, 10.0, 100.0])
@pytest.mark.parametrize("name", ["rosenbrock", "wood"])
def test_a_far_start_does_not_make_the_tolerance_lax(
    name: str, factor: float, dtype: torch.dtype
) -> None:
    """Gradients at the start are up to 1e9 times those along the valley."""
    drawn = MGHProblem(name).instance(1, dtype=dtype)
    x0 = factor * drawn.x0
    result = lmm.minimize(drawn.objective, x0, settings=lmm.SolveSettings(max_iter=2000))
    if dtype == DTYPE:
        assert float(result.fun) <= 1e-10, result
    if bool(result.success):
        exact = result.x.double().requires_grad_()
        value = drawn.objective(exact)
        (gradient,) = torch.autograd.grad(value.sum(), exact)
        # What a step along the gradient could gain, by the curvature there.
        hessian = torch.func.hessian(lambda z: drawn.objective(z[None])[0])(exact[0].detach())
        gain = (gradient**2).sum() / 2 / torch.linalg.eigvalsh(hessian)[-1]
        slack = (
            rounding_slack(result.fun.double()) * torch.finfo(dtype).eps / torch.finfo(DTYPE).eps
        )
        reach = torch.finfo(dtype).eps * gradient.norm() * exact.norm()
        assert gain <= 1e-4 * (1 + value.detach()) + slack + reach


@both_dtypes
@pytest.mark.parametrize("gtol", [None, 0.0, 1e-12])
def test_a_start_at_the_end_of_another_run_succeeds_at_once(
    gtol: float | None, dtype: torch.dtype
) -> None:
    x0 = torch.randn(4, 3, generator=torch.Generator().manual_seed(1)).to(dtype)
    for fun in (smooth, rosenbrock):
        once = lmm.minimize(fun, x0, settings=lmm.SolveSettings(gtol=0.0))
        assert once.success.all(), once
        again = lmm.minimize(fun, once.x, settings=lmm.SolveSettings(gtol=gtol))
        assert again.success.all(), again
        assert (again.iterations <= 10).all()
        assert (again.fun <= once.fun).all()


@pytest.mark.parametrize("offset", [0.0, 1.0, -1.0])
def test_a_start_near_the_minimum_is_brought_to_it(offset: float) -> None:
    x0 = torch.full((1, 3), 0.3 + 1e-9, dtype=DTYPE)
    result = lmm.minimize(lambda x: ((x - 0.3) ** 2 * (1 + x * x)).sum(1) + offset, x0)
    assert result.success.all()
    assert (result.fun - offset).abs() < 1e-15


def test_a_tolerance_that_is_given_is_taken_as_it_is() -> None:
    x0 = torch.tensor([[-1.2, 1.0], [2.0, 2.0]], dtype=DTYPE)
    for gtol in (1.0, 1e-3, 1e-8):
        result = lmm.ProjectedMMOptimizer(
            rosenbrock, proposer=lmm.LimitedMemory(), settings=lmm.SolveSettings(gtol=gtol)
        ).minimize(x0, history=True)
        assert statuses(result) == [Status.GRADIENT] * 2
        assert (result.gradient.abs() <= gtol).all()
        last = result.history.gradient_norm[result.iterations - 2, range(2)]
        assert (last > gtol).all()


def test_neighbours_do_not_change_the_end() -> None:
    x0 = torch.tensor([[-1.2, 1.0], [1.0, 1.0], [200.0, -100.0], [1.0 + 1e-7, 1.0]], dtype=DTYPE)
    together = lmm.minimize(rosenbrock, x0, settings=lmm.SolveSettings(max_iter=400))
    for i in range(len(x0)):
        alone = lmm.minimize(rosenbrock, x0[i : i + 1], settings=lmm.SolveSettings(max_iter=400))
        assert int(alone.status) == int(together.status[i])
        assert int(alone.iterations) == int(together.iterations[i])


# --- precision -------------------------------------------------------------------------------


@both_dtypes
@pytest.mark.parametrize(
    "proposer", [lmm.LimitedMemory(), None, lmm.proposers.Constant(initial=0.9)]
)
def test_precision_is_claimed_where_nothing_is_left_and_soon(
    proposer: lmm.Proposer | None, dtype: torch.dtype
) -> None:
    x0 = torch.randn(5, 4, generator=torch.Generator().manual_seed(3)).to(dtype)
    result = lmm.minimize(
        smooth, x0, settings=lmm.SolveSettings(gtol=0.0, max_iter=400), proposer=proposer
    )
    assert set(statuses(result)) <= {Status.PRECISION, Status.GRADIENT}
    best = lmm.minimize(smooth, x0.double(), settings=lmm.SolveSettings(gtol=0.0)).fun
    assert (smooth(result.x.double()) - best <= 2 * rounding_slack(result.fun).double()).all()
    assert (result.certificate.rejected < 10).all()


def loose(level: float) -> lmm.Majorant:
    return lmm.majorants.LipschitzMajorant(level)


@pytest.mark.parametrize("proposer", [None, lmm.proposers.Constant(), lmm.LimitedMemory()])
@pytest.mark.parametrize("level", [1e10, 1e14])
def test_a_bound_that_is_far_too_large_is_no_reason_for_success(
    level: float, proposer: lmm.Proposer | None
) -> None:
    """Its own steps promise less than rounding from the first on; the gradients say otherwise."""
    x0 = torch.full((2, 3), 0.5, dtype=DTYPE)
    result = lmm.minimize(
        lambda x: 1 + ((x - 1) ** 2).sum(1) / 2,
        x0,
        majorant=loose(level),
        proposer=proposer,
        settings=lmm.SolveSettings(gtol=1e-8, max_iter=40),
    )
    good = (result.gradient.abs() <= 1e-6).all(1)
    assert torch.equal(result.success & good, result.success)
    if proposer is None:
        assert not result.success.any()


def test_a_bound_without_curvature_where_the_gradient_is_stalls() -> None:
    class Blind(lmm.curvature.ScalarCurvature):
        """The inverse of a singular operator leaves the last unknown alone."""

        def power(self, v: Tensor, exponent: float) -> Tensor:
            return super().power(v, exponent) * torch.tensor([1.0, 1.0, 0.0], dtype=v.dtype)

        def scaled(self, factor: Any) -> Blind:
            return Blind(self.value * factor)

    def bound(x: Tensor, aux: Any = None) -> lmm.Bound:
        return lmm.Bound(lmm.Kind.GLOBAL, Blind(torch.ones_like(x[:, 0])))

    target = torch.tensor([[0.0, 0.0, 1e-4]], dtype=DTYPE)
    for proposer in (None, lmm.LimitedMemory()):
        result = lmm.minimize(
            lambda x: 0.5 + ((x - target) ** 2).sum(1) / 2,
            torch.zeros(1, 3, dtype=DTYPE),
            majorant=bound,
            proposer=proposer,
            settings=lmm.SolveSettings(gtol=1e-5),
        )
        assert statuses(result) == [Status.STALLED]
        assert not result.success.any()
        assert int(result.iterations) < 5


@pytest.mark.parametrize("name", sorted(PROBLEMS))
def test_success_means_that_the_gradient_has_gone_or_rounding_hides_the_rest(name: str) -> None:
    """By the exact Newton decrement at the end, where the Hessian is positive definite."""
    problem = PROBLEMS[name]
    result = lmm.minimize(problem.fun, problem.x0(), settings=lmm.SolveSettings(max_iter=300))
    if not bool(result.success):
        return
    x = result.x[0]
    hessian = torch.func.hessian(lambda z: problem.fun(z[None])[0])(x)
    curvature, basis = torch.linalg.eigh(hessian)
    slopes = basis.mT @ result.gradient[0]
    bent = curvature > 1e-10 * curvature[-1]  # below that, its eigenvalues are rounding
    left = (slopes[bent] ** 2 / curvature[bent]).sum() / 2
    fallen = result.initial_fun - result.fun
    assert left <= 1e-6 * fallen + rounding_slack(result.fun)


# --- unbounded -------------------------------------------------------------------------------


@both_dtypes
@pytest.mark.parametrize(
    "fun",
    [
        lambda x: x.sum(),
        lambda x: 1e-6 * x.sum() - 7,
        lambda x: -(x * x).sum(),
        lambda x: (x**2 - x**4 - x).sum(),
        lambda x: -torch.log(x).sum(),
    ],
)
def test_an_objective_without_a_minimum_is_no_success(fun: Any, dtype: torch.dtype) -> None:
    result = lmm.minimize(fun, torch.ones(2, dtype=dtype))
    assert statuses(result) == [Status.UNBOUNDED]
    assert not bool(result.success)
    assert "without end" in result.message()
    assert torch.isfinite(result.x).all()
    assert torch.isfinite(result.fun)


def test_a_neighbour_without_a_minimum_changes_nothing() -> None:
    x0 = torch.tensor([[-1.2, 1.0], [1.0, 1.0]], dtype=DTYPE)

    def fun(x: Tensor) -> Tensor:
        return torch.where(torch.arange(len(x)) == 1, x.sum(1), rosenbrock(x))

    result = lmm.minimize(fun, x0)
    alone = lmm.minimize(rosenbrock, x0[:1])
    assert statuses(result) == [statuses(alone)[0], Status.UNBOUNDED]
    assert torch.equal(result.x[0], alone.x[0])


@both_dtypes
def test_low_values_and_large_iterates_are_not_unbounded(dtype: torch.dtype) -> None:
    x0 = torch.zeros(1, 2, dtype=dtype)
    deep = lmm.minimize(lambda x: ((x - 1) ** 2).sum(1) * 1e6 - 1e15, x0)
    wide = lmm.minimize(lambda x: ((x / 1e12 - 1) ** 2).sum(1), x0 + 1)
    for result in (deep, wide):
        assert result.success.all(), result


@pytest.mark.parametrize("start", [0.0, 1e18, 2e18, 5e18])
def test_a_minimum_far_away_is_one(start: float) -> None:
    """Number densities, in float32: as far out as an unbounded run is told by."""
    far = torch.full((1, 3), 1e18)
    result = lmm.minimize(lmm.Quadratic(far), torch.full((1, 3), start))
    assert statuses(result) == [Status.GRADIENT]
    torch.testing.assert_close(result.x, far)


@both_dtypes
def test_what_has_bounds_has_an_end(dtype: torch.dtype) -> None:
    x0 = torch.zeros(2, dtype=dtype)
    for penalty in (None, lmm.proximal.L1(0.1)):
        result = lmm.minimize(lambda x: x[0] - x[1], x0, bounds=(-1e30, 1e30), penalty=penalty)
        assert bool(result.success), result
        assert result.x.tolist() == x0.new_tensor([-1e30, 1e30]).tolist()
        half = lmm.minimize(lambda x: x[0] - x[1], x0, bounds=(-1e30, None), penalty=penalty)
        assert statuses(half) == [Status.UNBOUNDED]


# --- what is said ----------------------------------------------------------------------------


def test_a_run_without_a_step_says_so() -> None:
    result = lmm.minimize(lmm.Quadratic(torch.ones(2, 3)), torch.ones(2, 3))
    assert result.message(1) == f"No step was needed. {Status.GRADIENT.message}"
    assert result.certificate.kind is None
    assert str(result.certificate) == "No bound was used: no step was tried."
    assert "0 at the start" in str(result)


def test_an_estimate_is_not_called_a_promise() -> None:
    x0 = torch.tensor([[-1.2, 1.0]], dtype=DTYPE)
    estimated = str(lmm.minimize(rosenbrock, x0).certificate)
    assert estimated.startswith("ESTIMATE (no promise), every step verified. ")
    assert "above the estimate" in estimated
    assert "majorant" not in estimated
    proved = str(lmm.minimize(lmm.HalfQuadratic(x0), 3 * x0, proposer=None).certificate)
    assert proved.startswith("GLOBAL bound, every step verified. ")
    assert "0 above the majorant" in proved


def test_steps_are_counted_by_who_made_them() -> None:
    x0 = torch.tensor([[-1.2, 1.0], [2.0, 2.0]], dtype=DTYPE)
    brief = lmm.SolveSettings(max_iter=5)
    whole = lmm.minimize(rosenbrock, x0).certificate
    learned = lmm.minimize(
        rosenbrock, x0, proposer=lmm.proposers.Constant(initial=0.9), settings=brief
    ).certificate
    for certificate, name in ((whole, "BFGS"), (learned, "Constant")):
        assert (certificate.proposed > 0).all()
        assert (certificate.proposed <= certificate.accepted).all()
        assert certificate.proposer == name
        assert f"({int(certificate.proposed.sum())} of {name})" in str(certificate)
    assert learned.projected
    assert not whole.projected
    own = lmm.minimize(rosenbrock, x0, proposer=None, settings=brief).certificate
    assert not own.proposed.any()
    assert own.projected
    assert own.proposer is None
    assert "(" not in str(own).split(". ")[1]


class Deceitful(lmm.Objective):
    """The second problem has the sign of its gradient wrong."""

    def evaluate(self, x: Tensor) -> lmm.Evaluation:
        sign = torch.where(torch.arange(len(x)) == 1, -1.0, 1.0)[:, None].to(x)
        return lmm.Evaluation(1 + (x * x).sum(1), 2 * sign * x)


def test_many_refusals_come_with_a_hint() -> None:
    result = lmm.minimize(
        Deceitful(), torch.ones(2, 3, dtype=DTYPE), majorant=lmm.majorants.LipschitzMajorant(2.0)
    )
    assert statuses(result) == [Status.GRADIENT, Status.STALLED]
    assert result.certificate.mostly_refused.tolist() == [False, True]
    assert "checks.assert_gradient" in str(result.certificate)
    assert "checks.assert_gradient" in result.message(1)
    assert "checks.assert_gradient" not in result.message(0)


def test_a_healthy_run_has_no_hint() -> None:
    for name in ("eckerle4", "boxbod", "rat42"):
        problem = PROBLEMS[name]
        result = lmm.minimize(problem.fun, problem.x0(), settings=lmm.SolveSettings(gtol=0.0))
        assert not result.certificate.mostly_refused.any()


def test_a_loss_scaled_apart_from_its_gradient_comes_with_a_hint() -> None:
    x = torch.nn.Parameter(torch.ones(5, dtype=DTYPE))
    optimizer = lmm.optim.ProjectedMM([x])

    def closure() -> Tensor:
        loss = (x**4).sum() + (x[0] * x[1] - 2) ** 2
        (65536 * loss).backward()
        return loss.detach()

    for _ in range(24):
        optimizer.step(closure)
    assert optimizer.last_result is not None
    if int(optimizer.last_result.certificate.rejected) > 60:
        assert "Most candidates were refused" in str(optimizer.last_result.certificate)


def test_results_print_in_a_few_lines_whatever_their_size() -> None:
    x0 = torch.randn(200, 50, generator=torch.Generator().manual_seed(0))
    result = lmm.minimize(rosenbrock, x0, settings=lmm.SolveSettings(max_iter=30))
    for text in (str(result), repr(result)):
        assert len(text) < 1200
        assert "200 problems of shape (50,)" in text
        assert "tensor(" not in text
        assert str(result.certificate) in text
    counts = [int((result.status == s).sum()) for s in Status]
    for status, number in zip(Status, counts, strict=True):
        assert (f"{number} {status.name}: {status.message}" in str(result)) == (number > 0)
    one = lmm.minimize(lambda x: (x * x).sum(), torch.ones(3))
    assert str(one).startswith("1 problem of shape (3,)\n")
    assert "tensor(" not in repr(one.certificate)
