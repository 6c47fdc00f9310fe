"""Numerical exceptions at a candidate refuse it, for the problems that raise and no others."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

import learnmm as lmm
from learnmm.solve.raising import is_numerical

DTYPE = torch.float64
BATCH = 7
START = torch.linspace(1.0, 4.0, BATCH, dtype=DTYPE)[:, None] * torch.tensor([1.0, -2.0])
START = START.to(DTYPE)


class NotPSDError(RuntimeError):
    """As in libraries of Gaussian processes."""


def raising(error: type[BaseException]) -> Callable[[Tensor], object]:
    def fail(x: Tensor) -> None:
        raise error("trouble")

    return fail


def cholesky(x: Tensor) -> None:
    torch.linalg.cholesky(torch.diag(x - x))


def observe(x: Tensor) -> None:
    torch.distributions.Normal(0.0, torch.tensor(-1.0), validate_args=True)


NUMERICAL: dict[str, Callable[[Tensor], object]] = {
    "torch-linalg": cholesky,
    "numpy-linalg": lambda x: np.linalg.cholesky(np.zeros((2, 2))),
    "distribution": observe,
    "logarithm": lambda x: math.log(-1),
    "division": lambda x: 1 / 0,
    "overflow": lambda x: math.exp(1e4),
    "floating-point": raising(FloatingPointError),
    "not-psd": raising(NotPSDError),
    "domain": raising(lmm.objective.DomainError),
}
OTHERS = [TypeError, AttributeError, KeyError, IndexError, NameError, NotImplementedError,
          AssertionError, RecursionError, MemoryError, torch.OutOfMemoryError, OSError]  # fmt: skip


class Barrier:
    """``|x|^2 - log x_0``, least at ``x_0 = sqrt(1/2)``; fails where some problem of `holes` comes
    below one half, as too long a step does.
    """

    def __init__(self, fail: Callable[[Tensor], object], holes: set[int]) -> None:
        self.fail, self.holes, self.failures = fail, holes, 0

    def __call__(self, x: Tensor) -> Tensor:
        for i in self.holes:
            if bool(x.detach()[i, 0] <= 0.5):
                self.failures += 1
                self.fail(x[i])
        return (x**2).sum(1) - x[:, 0].clamp(min=1e-3).log()


LONG = lmm.majorants.LipschitzMajorant(0.4)
"""Too small by a factor of five: first steps go far beyond the minimum."""

EXACT = lmm.SolveSettings(gtol=1e-6)


@pytest.mark.parametrize("name", NUMERICAL)
@pytest.mark.parametrize("proposer", [None, lmm.LimitedMemory()], ids=["own", "memory"])
def test_a_numerical_exception_is_a_refused_candidate(
    name: str, proposer: lmm.Proposer | None
) -> None:
    fun = Barrier(NUMERICAL[name], {1, 4, 5})
    result = lmm.minimize(fun, START, majorant=LONG, proposer=proposer, settings=EXACT)
    assert fun.failures > 0
    assert result.success.all()
    assert result.certificate.monotone.all()
    # A gradient of 1e-6 is left, and the curvature there is 4.
    assert ((result.x[:, 0] - 0.5**0.5).abs() < 1e-6).all()
    assert (result.certificate.rejected[[1, 4, 5]] > 0).all()


@settings(max_examples=40)  # of 254
@given(holes=st.sets(st.integers(0, BATCH - 1), min_size=1), steps=st.booleans())
def test_the_others_take_the_steps_that_they_take_without(holes: set[int], steps: bool) -> None:
    """The same, to the bit, as under an objective that is NaN where this one raises."""

    def quiet(x: Tensor) -> Tensor:
        value = Barrier(cholesky, set())(x)
        border = torch.tensor([i in holes for i in range(BATCH)]) & (x[:, 0] <= 0.5)
        return torch.where(border, torch.nan, value)

    def solved(fun: Callable[[Tensor], Tensor]) -> lmm.Result:
        optimizer = lmm.ProjectedMMOptimizer(
            fun,
            majorant=LONG,
            proposer=lmm.LimitedMemory(4) if steps else None,
            settings=lmm.SolveSettings(max_iter=12, gtol=0.0),
        )
        return optimizer.minimize(START, history=True)

    loud, expected = solved(Barrier(cholesky, holes)), solved(quiet)
    assert torch.equal(loud.x, expected.x)
    assert torch.equal(loud.fun, expected.fun)
    assert torch.equal(loud.status, expected.status)
    assert loud.history is not None
    assert expected.history is not None
    assert torch.equal(loud.history.accepted, expected.history.accepted)


@pytest.mark.parametrize("error", OTHERS)
def test_other_exceptions_come_through(error: type[Exception]) -> None:
    assert not is_numerical(error())
    with pytest.raises(error):
        lmm.minimize(Barrier(raising(error), {2}), START, majorant=LONG)


def test_interruptions_come_through() -> None:
    with pytest.raises(KeyboardInterrupt):
        lmm.minimize(Barrier(raising(KeyboardInterrupt), {2}), START, majorant=LONG)


@pytest.mark.parametrize("name", NUMERICAL)
def test_at_the_start_it_is_the_callers(name: str) -> None:
    fun = Barrier(NUMERICAL[name], {3})
    with pytest.raises((ArithmeticError, ValueError, RuntimeError)) as caught:
        lmm.minimize(fun, START.clone().index_fill(0, torch.tensor(3), 0.1), majorant=LONG)
    assert "wrote" not in str(caught.value)


def test_one_problem_without_a_batch() -> None:
    fun = Barrier(cholesky, {0})
    result = lmm.minimize(lambda x: fun(x[None])[0], START[0], majorant=LONG, settings=EXACT)
    assert fun.failures > 0
    assert bool(result.success)
    assert result.x[0].item() == pytest.approx(0.5**0.5)


def test_data_of_a_batch_need_not_be_cut() -> None:
    """The objective holds data of all problems: it cannot be called for some of them."""
    target = torch.arange(float(BATCH), dtype=DTYPE)

    def fun(x: Tensor) -> Tensor:
        assert len(x) == BATCH
        if bool((x[2:4] < 0.5).any()):
            raise torch.linalg.LinAlgError("not positive definite")
        return (x[:, 0] - target).square() + x[:, 0].clamp(min=1e-3).reciprocal()

    result = lmm.minimize(fun, torch.full((BATCH, 1), 20.0, dtype=DTYPE), majorant=LONG)
    assert result.success.all()


def test_problems_that_raise_together_only_are_refused_together() -> None:
    def fun(x: Tensor) -> Tensor:
        if int((x < 3).sum()) > 1:
            raise ValueError("two are too many")
        return (x**2).sum(1)

    x0 = torch.full((2, 1), 4.0, dtype=DTYPE)
    majorant = lmm.majorants.LipschitzMajorant(
        2.0
    )  # the first step, to zero, and half of it go too far
    result = lmm.minimize(
        fun, x0, majorant=majorant, proposer=None, settings=lmm.SolveSettings(max_iter=2)
    )
    assert torch.equal(result.x, x0)
    assert (result.certificate.rejected == 2).all()
    assert "ValueError: two are too many" in result.message(1)


def test_the_message_says_what_was_raised_last() -> None:
    def fun(x: Tensor) -> Tensor:
        if not torch.equal(x[1], START[1]):
            raise torch.linalg.LinAlgError("the leading minor of order 3 is no minor matter")
        return (x**2).sum(1)

    result = lmm.minimize(fun, START, majorant=lmm.majorants.LipschitzMajorant(2.0))
    assert result.success[[0, 2, 3, 4, 5, 6]].all()
    assert result.status[1] == lmm.Status.STALLED
    assert "the objective raised LinAlgError: the leading minor of order 3" in result.message(1)
    assert "LinAlgError" in result.message(1 - BATCH)
    assert result.message(0) == lmm.Status(int(result.status[0])).message
    assert torch.equal(result.x[1], START[1])


def test_what_was_raised_on_the_way_is_no_message() -> None:
    fun = Barrier(cholesky, {1})
    result = lmm.minimize(fun, START, majorant=LONG, settings=EXACT)
    assert fun.failures > 0
    assert result.raised == {}


def test_without_a_safeguard_it_is_not_finite() -> None:
    fun = Barrier(cholesky, {1})
    settings = lmm.SolveSettings(safeguard=None, max_iter=1)
    result = lmm.minimize(fun, START, majorant=LONG, proposer=None, settings=settings)
    assert result.status[1] == lmm.Status.NON_FINITE
    assert "LinAlgError" in result.message(1)
    assert torch.equal(result.x[1], START[1])
    assert torch.isfinite(result.x).all()


def test_gradients_flow_past_what_raises() -> None:
    proposer = lmm.proposers.Constant(initial=0.9).double()

    def solve(fun: Callable[[Tensor], Tensor]) -> tuple[Tensor, Tensor]:
        majorant = lmm.majorants.LipschitzMajorant(1.5)
        optimizer = lmm.ProjectedMMOptimizer(fun, majorant=majorant, proposer=proposer)
        state = optimizer.init(START)
        for _ in range(4):
            state, _ = optimizer.step(state)
        loss = state.x.square().sum()
        return state.x.detach(), torch.autograd.grad(loss, proposer.multipliers)[0]

    def quiet(x: Tensor) -> Tensor:
        value = Barrier(cholesky, set())(x)
        border = (torch.arange(BATCH) == 1) & (x.detach()[:, 0] <= 0.5)
        return torch.where(border, torch.nan, value)

    (x, gradient), (expected, its) = solve(Barrier(cholesky, {1})), solve(quiet)
    assert torch.equal(x, expected)
    torch.testing.assert_close(gradient, its)
    assert bool(gradient != 0)


def test_a_compiled_run_tells_the_problems_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    """Inside of a graph nothing can be caught: the step is taken again outside."""
    # With backend="eager" an exception would leave torch.func inside of its gradient.
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="aot_eager"))

    def fun(x: Tensor) -> Tensor:
        # Positive definite as long as the first unknown is.
        factor = torch.linalg.cholesky(torch.diag_embed(torch.stack([x[:, 0], x[:, 0] + 1], 1)))
        return (x**2).sum(1) - 2 * torch.diagonal(factor, dim1=1, dim2=2).log().sum(1)

    optimizer = lmm.ProjectedMMOptimizer(
        fun, majorant=lmm.majorants.LipschitzMajorant(1.0), settings=lmm.SolveSettings(max_iter=60)
    )
    plain, fast = optimizer.minimize(START), optimizer.minimize(START, compiled=True)
    assert (plain.certificate.rejected > 0).any()
    assert torch.equal(fast.status, plain.status)
    torch.testing.assert_close(fast.x, plain.x)


def test_a_closure_that_raises_is_a_refused_step() -> None:
    x = torch.nn.Parameter(torch.tensor([4.0], dtype=DTYPE))
    failures = 0

    def closure() -> Tensor:
        nonlocal failures
        if x.item() <= 0.5:
            failures += 1
            raise torch.linalg.LinAlgError("not positive definite")
        return (x * x - x.clamp(min=1e-3).log()).sum()

    optimizer = lmm.optim.ProjectedMM([x], settings=lmm.SolveSettings(max_iter=40))
    losses = [float(optimizer.step(closure)) for _ in range(3)]
    assert failures > 0
    assert losses == sorted(losses, reverse=True)
    assert x.item() == pytest.approx(0.5**0.5)


def test_a_gaussian_process_is_fitted_past_its_failures() -> None:
    """gpytorch#370: hyperparameters for which the kernel matrix is not positive definite."""
    inputs = torch.linspace(0, 1, 30, dtype=DTYPE)
    outputs = torch.stack([torch.sin(6 * inputs), torch.cos(20 * inputs), inputs**3])
    failures = 0

    def evidence(x: Tensor) -> Tensor:
        nonlocal failures
        length, noise = x[:, 0].exp(), x[:, 1].exp()
        distance = (inputs[:, None] - inputs).square()
        kernel = torch.exp(-distance / (2 * length[:, None, None] ** 2))
        kernel = kernel + noise[:, None, None] * torch.eye(30, dtype=DTYPE)
        try:
            factor = torch.linalg.cholesky(kernel)
        except torch.linalg.LinAlgError:
            failures += 1
            raise
        fit = torch.linalg.solve_triangular(factor, outputs[:, :, None], upper=False)
        return fit.square().sum((1, 2)) / 2 + factor.diagonal(dim1=1, dim2=2).log().sum(1)

    x0 = torch.tensor([[-1.0, -2.0], [0.0, -1.0], [-2.0, 0.0]], dtype=DTYPE)
    result = lmm.minimize(evidence, x0, settings=lmm.SolveSettings(max_iter=200))
    assert failures > 0
    assert result.certificate.monotone.all()
    assert (result.fun < evidence(x0)).all()
