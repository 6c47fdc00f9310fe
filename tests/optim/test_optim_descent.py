"""No step of `optim.ProjectedMM` raises the loss; where none can lower it, nothing moves."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

import learnmm as lmm
from closures import (
    DOUBLE,
    alone,
    assert_left_as_it_was,
    bits,
    by_style,
    network,
    normal,
    one_element,
    parameter,
    rosenbrock,
    train,
    with_zero_grad,
)
from learnmm.optim.closure import flatten


@by_style
@pytest.mark.parametrize("dtype", [torch.float32, DOUBLE])
@pytest.mark.parametrize("max_iter", [1, 3])
@pytest.mark.parametrize("history", [0, 3])
def test_no_call_raises_the_loss(
    style: Any, dtype: torch.dtype, max_iter: int, history: int
) -> None:
    model, loss = network(dtype)
    optimizer = lmm.optim.ProjectedMM(
        model.parameters(), settings=lmm.SolveSettings(max_iter=max_iter), history=history
    )
    losses = train(optimizer, lambda: style(loss, optimizer), 25)
    losses.append(float(loss().detach()))
    assert all(b <= a for a, b in itertools.pairwise(losses))
    assert losses[-1] < 0.5 * losses[0]
    assert optimizer.last_result is not None
    certificate = optimizer.last_result.certificate
    assert certificate.monotone.all()
    assert int(certificate.accepted) == 25 * max_iter
    measured = history > 0 or style not in (alone, one_element)
    assert certificate.kind is (lmm.Kind.ESTIMATE if measured else lmm.Kind.PROBABLE)


@given(
    seed=st.integers(0, 1000),
    scale=st.sampled_from([1e-6, 1e-2, 1.0, 1e3, 1e6]),
    units=st.sampled_from([1e-3, 1.0, 1e3]),
    dtype=st.sampled_from([torch.float32, DOUBLE]),
    style=st.sampled_from([alone, with_zero_grad]),
    lr=st.sampled_from([1.0, 0.3]),
)
def test_descent_whatever_the_scale(
    seed: int, scale: float, units: float, dtype: torch.dtype, style: Any, lr: float
) -> None:
    """Nonconvex losses with jumps in curvature, in all units."""
    x = parameter(units * normal(5, seed=seed), dtype)
    matrix = normal(8, 5, seed=seed + 1, dtype=dtype)

    def loss() -> Tensor:
        r = matrix @ (x / units)
        return scale * (r.square().log1p().sum() + r[:4].prod() ** 2 + r.abs().sin().sum())

    optimizer = lmm.optim.ProjectedMM([x], lr=lr)
    losses = train(optimizer, lambda: style(loss, optimizer), 12)
    assert all(b <= a for a, b in itertools.pairwise([*losses, float(loss().detach())]))
    assert losses[-1] < losses[0]


def test_a_bound_that_is_not_relaxed_is_never_exceeded_on_a_quadratic() -> None:
    spectrum = torch.linspace(0.1, 5.0, 40, dtype=DOUBLE)
    x = parameter(normal(40))
    optimizer = lmm.optim.ProjectedMM([x], history=0, settings=lmm.SolveSettings(relaxation=None))
    for _ in range(30):
        optimizer.step(lambda: (spectrum * x * x).sum() / 2)
    assert optimizer.last_result is not None
    certificate = optimizer.last_result.certificate
    assert certificate.kind is lmm.Kind.PROBABLE
    assert int(certificate.violations) == int(certificate.rejected) == 0
    assert float(certificate.failure_probability) == pytest.approx(0.03)


@by_style
def test_a_quadratic_is_solved(style: Any) -> None:
    spectrum, target = torch.tensor([1.0, 3.0, 10.0], dtype=DOUBLE), normal(3)
    x = parameter(torch.zeros(3))
    optimizer = lmm.optim.ProjectedMM([x])
    train(optimizer, lambda: style(lambda: (spectrum * (x - target) ** 2).sum(), optimizer), 80)
    torch.testing.assert_close(x.detach(), target, rtol=0, atol=1e-6)


@pytest.mark.parametrize("style", [alone, with_zero_grad])
def test_losses_without_curvature_descend(style: Any) -> None:
    """The Hessian of a piecewise linear loss vanishes, and would be no scale for a step."""
    x, matrix = parameter(normal(4)), normal(9, 4, seed=1)
    optimizer = lmm.optim.ProjectedMM([x])
    losses = train(optimizer, lambda: style(lambda: (matrix @ x - 1).abs().sum(), optimizer), 40)
    assert all(b <= a for a, b in itertools.pairwise(losses))
    assert losses[-1] < 0.8 * losses[0]
    assert optimizer.last_result is not None
    assert optimizer.last_result.certificate.kind is lmm.Kind.ESTIMATE


def test_parameters_stay_bit_by_bit_if_no_trial_lowers_the_loss() -> None:
    x = parameter([0.1, -0.7, 1e-20])
    rising = itertools.count()
    before = bits([x])
    optimizer = lmm.optim.ProjectedMM([x])
    optimizer.step(lambda: rosenbrock(x) + 1e3 * next(rising))
    assert bits([x]) == before
    assert optimizer.last_result is not None
    assert int(optimizer.last_result.status) == lmm.Status.STALLED
    assert int(optimizer.last_result.certificate.accepted) == 0
    optimizer.step(lambda: rosenbrock(x))  # one bad call is not the end
    assert bits([x]) != before


@pytest.mark.parametrize("style", [alone, with_zero_grad])
@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_a_loss_that_is_not_finite_moves_nothing_and_raises_nothing(
    style: Any, value: float
) -> None:
    x = parameter([1.0, 2.0])
    before = bits([x])
    optimizer = lmm.optim.ProjectedMM([x])
    returned = optimizer.step(lambda: style(lambda: x.square().sum() * value, optimizer))
    assert not torch.isfinite(returned)
    assert bits([x]) == before
    assert optimizer.last_result is not None
    assert int(optimizer.last_result.status) == lmm.Status.NON_FINITE
    train(optimizer, lambda: style(lambda: x.square().sum(), optimizer), 3)
    assert bits([x]) != before


def test_steps_out_of_the_domain_are_shortened() -> None:
    x = parameter([0.5])
    optimizer = lmm.optim.ProjectedMM([x], curvature="secant")
    losses = train(optimizer, lambda: (100 * x - torch.log(x)).sum(), 20)
    assert all(b <= a for a, b in itertools.pairwise(losses))
    assert x.item() == pytest.approx(0.01, rel=1e-3)


@pytest.mark.parametrize("failing", [1, 2, 3])
@pytest.mark.parametrize("error", [AttributeError, KeyboardInterrupt])
def test_a_closure_that_raises_leaves_everything_as_it_was(
    failing: int, error: type[BaseException]
) -> None:
    model, loss = network()
    optimizer = lmm.optim.ProjectedMM(model.parameters(), settings=lmm.SolveSettings(max_iter=2))
    train(optimizer, loss, 3)
    assert_left_as_it_was(optimizer, model, loss, failing, error)


def test_a_vanishing_gradient_makes_no_step() -> None:
    x = parameter([0.0])
    optimizer = lmm.optim.ProjectedMM([x])
    optimizer.step(lambda: x.square().sum())
    assert optimizer.last_step is None
    assert optimizer.last_result is not None
    assert int(optimizer.last_result.status) == lmm.Status.GRADIENT
    y = parameter([1e-3])
    patient = lmm.optim.ProjectedMM([y], settings=lmm.SolveSettings(gtol=1e-2))
    patient.step(lambda: y.square().sum())
    assert y.item() == 1e-3


@pytest.mark.parametrize("style", [alone, with_zero_grad])
def test_each_minibatch_descends_and_is_counted(style: Any) -> None:
    model, _ = network()
    inputs, outputs = normal(60, 4, seed=1), normal(60, 1, seed=2)
    optimizer = lmm.optim.ProjectedMM(model.parameters())
    for k in range(12):
        rows = slice(5 * k, 5 * k + 5)
        loss = lambda rows=rows: (model(inputs[rows]) - outputs[rows]).square().mean()  # noqa: E731
        before = float(optimizer.step(lambda loss=loss: style(loss, optimizer)))  # type: ignore[misc]
        assert float(loss().detach()) <= before
    result = optimizer.last_result
    assert result is not None
    assert int(result.certificate.accepted) == 12
    assert result.certificate.safeguarded
    assert result.certificate.monotone.all()
    assert float(result.fun) <= float(result.initial_fun)
    assert torch.equal(result.x, flatten(list(model.parameters()))[0])
    assert int(result.status) == lmm.Status.RUNNING
    assert optimizer.last_step is not None
    assert bool(optimizer.last_step.accepted)
    assert float(optimizer.last_step.value) == float(result.fun)


def test_random_closures_are_found_out() -> None:
    x = parameter(normal(50))
    draw = lambda: (nn.functional.dropout(x, 0.5) ** 2).sum()  # noqa: E731
    optimizer = lmm.optim.ProjectedMM([x], settings=lmm.SolveSettings(check_deterministic=True))
    before = bits([x])
    with pytest.raises(RuntimeError, match=r"not deterministic: it returned [\d.]+ and then [\d.]"):
        optimizer.step(draw)
    assert bits([x]) == before
    optimizer.step(lambda: x.square().sum())
    lmm.optim.ProjectedMM([x]).step(draw)  # unless asked


def test_batch_statistics_are_deterministic() -> None:
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 1)).double()
    inputs = normal(8, 3)
    optimizer = lmm.optim.ProjectedMM(
        model.parameters(), settings=lmm.SolveSettings(check_deterministic=True)
    )
    losses = train(optimizer, lambda: model(inputs).square().sum(), 5)
    assert all(b <= a for a, b in itertools.pairwise(losses))
