"""Closures, parameters and settings that cannot work are refused, and nothing has moved."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

import learnmm as lmm
from closures import (
    OnceDifferentiable,
    alone,
    bits,
    network,
    never_zeroed,
    normal,
    parameter,
    train,
    with_zero_grad,
)

X = torch.ones(2, requires_grad=True)


@pytest.mark.parametrize(
    ("dtype", "message"),
    [
        (torch.float16, "float32 or float64, .* got torch.float16"),
        (torch.bfloat16, "float32 or float64, .* got torch.bfloat16"),
    ],
)
def test_parameters_have_a_working_dtype(dtype: torch.dtype, message: str) -> None:
    with pytest.raises(TypeError, match=message):
        lmm.optim.ProjectedMM([torch.ones(2, dtype=dtype, requires_grad=True)])


def test_parameters_are_dense() -> None:
    with pytest.raises(TypeError, match=r"parameters must be dense, got torch\.sparse_coo"):
        lmm.optim.ProjectedMM([torch.eye(2).to_sparse().requires_grad_()])


def test_parameters_share_dtype_and_device() -> None:
    for other in (X.detach().double(), torch.ones(2, device="meta")):
        with pytest.raises(ValueError, match=r"one dtype and one device, got .*float32 on .*, "):
            lmm.optim.ProjectedMM([X, nn.Parameter(other)])
    optimizer = lmm.optim.ProjectedMM([X])
    with pytest.raises(ValueError, match="one dtype and one device"):
        optimizer.add_param_group({"params": [parameter([1.0])]})
    assert len(optimizer.param_groups) == 1


def test_parameters_that_changed_their_dtype_are_refused() -> None:
    model, loss = network()
    optimizer = lmm.optim.ProjectedMM(model.parameters())
    model.half()
    with pytest.raises(TypeError, match=r"got torch\.float16"):
        optimizer.step(loss)


def test_parameters_are_finite() -> None:
    x = parameter([1.0, torch.nan])
    with pytest.raises(ValueError, match="parameters have NaN or infinite entries"):
        lmm.optim.ProjectedMM([x]).step(lambda: x.square().sum())


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"lr": 1.5}, ValueError, r"must be in \[0, 1\], got 1.5"),
        ({"lr": -0.1}, ValueError, r"must be in \[0, 1\], got -0.1"),
        ({"lr": torch.nan}, ValueError, r"must be in \[0, 1\], got nan"),
        (
            {"curvature": "newton"},
            ValueError,
            "must be 'auto', 'hessian' or 'secant', got 'newton'",
        ),
        ({"history": -1}, ValueError, "history must be an integer of at least 0, got -1"),
        ({"history": 2.0}, ValueError, "history must be an integer of at least 0, got 2.0"),
        ({"settings": {"gtol": 0}}, TypeError, "settings must be SolveSettings, got dict"),
        ({"settings": None}, TypeError, "settings must be SolveSettings, got NoneType"),
        ({"momentum": 0.9}, TypeError, "unexpected keyword argument 'momentum'"),
    ],
)
def test_settings_that_cannot_work_are_refused(
    settings: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        lmm.optim.ProjectedMM([X], **settings)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"safeguard": None}, "verifies every step: safeguard must be a Safeguard, got None"),
        ({"rtol": 1e-6}, "does not stop by losses: leave rtol out, got 1e-06"),
        ({"atol": 0.5}, "does not stop by losses: leave atol out, got 0.5"),
        (
            {"projection": lmm.Projection(upper=1.5)},
            r"nothing to project: leave it out, got Projection\(lower=0.001, upper=1.5\)",
        ),
    ],
)
def test_settings_that_a_closure_cannot_follow_are_refused(
    settings: dict[str, Any], message: str
) -> None:
    solve = lmm.SolveSettings(**settings)
    lmm.minimize(lambda x: x.square().sum(), X, proposer=None, settings=solve)  # others can
    with pytest.raises(ValueError, match=f"ProjectedMM .*{message}"):
        lmm.optim.ProjectedMM([X], settings=solve)


@pytest.mark.parametrize("projection", [None, lmm.Projection()])
def test_settings_that_change_nothing_are_taken(projection: lmm.Projection | None) -> None:
    lmm.optim.ProjectedMM([X], settings=lmm.SolveSettings(projection=projection, rtol=0, atol=0))


@pytest.mark.parametrize("lr", ["fast", None, torch.ones(2), [0.1]])
def test_learning_rates_are_numbers(lr: Any) -> None:
    with pytest.raises(TypeError, match="lr must be a number, got "):
        lmm.optim.ProjectedMM([X], lr=lr)


@pytest.mark.parametrize("option", [{"weight_decay": 0.1}, {"maximize": True}])
def test_groups_do_not_change_the_loss(option: dict[str, Any]) -> None:
    (name,) = option
    with pytest.raises(ValueError, match=f"no {name}: put it in the loss"):
        lmm.optim.ProjectedMM([{"params": [X], **option}])
    lmm.optim.ProjectedMM([{"params": [X], name: 0, "initial_lr": 1.0}])  # switched off


@pytest.mark.parametrize("other", [torch.optim.Adam, torch.optim.LBFGS])
def test_states_of_other_optimizers_are_refused(other: Any) -> None:
    x = parameter([1.0, 2.0])
    theirs, ours = other([x]), lmm.optim.ProjectedMM([x], lr=0.5)
    loss = lambda: x.square().sum()  # noqa: E731
    theirs.step(lambda: with_zero_grad(loss, theirs))
    train(ours, loss, 1)
    before = ours.state_dict()
    with pytest.raises(ValueError, match=r"of another optimizer: ProjectedMM keeps no \w+, "):
        ours.load_state_dict(theirs.state_dict())
    assert ours.state_dict() == before
    assert ours.last_result is not None


def test_states_of_another_history_are_refused() -> None:
    x = parameter([1.0, 2.0])
    optimizer = lmm.optim.ProjectedMM([x], history=3)
    optimizer.step(lambda: x.square().sum())
    for other, kept in (
        (lmm.optim.ProjectedMM([x], history=2), 2),
        (lmm.optim.ProjectedMM([x], curvature="secant"), 0),
    ):
        with pytest.raises(ValueError, match=f"history=3, this optimizer has history={kept}"):
            other.load_state_dict(optimizer.state_dict())
        other.step(lambda: x.square().sum())
        with pytest.raises(ValueError, match=f"history={kept}, this optimizer has history=3"):
            optimizer.load_state_dict(other.state_dict())


def test_a_scheduler_beyond_one_is_refused() -> None:
    x = parameter([1.0])
    optimizer = lmm.optim.ProjectedMM([x])
    optimizer.param_groups[0]["lr"] = 3.0
    with pytest.raises(ValueError, match=r"factor on the step and must be in \[0, 1\], got 3.0"):
        optimizer.step(lambda: x.square().sum())


@pytest.mark.parametrize("closure", [None, 3.0])
def test_a_closure_is_needed(closure: Any) -> None:
    name = type(closure).__name__
    with pytest.raises(TypeError, match=f"needs a closure that returns the loss.*, got {name}"):
        lmm.optim.ProjectedMM([X]).step(closure)


@pytest.mark.parametrize(
    ("loss", "error", "message"),
    [
        (lambda x: None, TypeError, "loss as a tensor, got NoneType"),
        (lambda x: float(x.detach().sum()), TypeError, "loss as a tensor, got float"),
        (lambda x: x.square(), ValueError, r"scalar loss, got shape \(2,\)"),
        (lambda x: x.square()[:0], ValueError, r"scalar loss, got shape \(0,\)"),
        (lambda x: x.sum().half(), TypeError, "float32 or float64 loss, got torch.float16"),
        (lambda x: x.sum() * 1j, TypeError, "float32 or float64 loss, got torch.complex64"),
        (lambda x: x.sum().long(), TypeError, "float32 or float64 loss, got torch.int64"),
        (lambda x: x.detach().sum(), RuntimeError, "without a graph and left no gradients"),
        (lambda x: torch.zeros(()), RuntimeError, "without a graph and left no gradients"),
    ],
)
def test_a_closure_returns_a_differentiable_scalar(
    loss: Any, error: type[Exception], message: str
) -> None:
    x = parameter([1.0, 2.0], torch.float32)
    before = bits([x])
    with pytest.raises(error, match=message):
        lmm.optim.ProjectedMM([x]).step(lambda: loss(x))
    assert bits([x]) == before


def test_curvature_from_the_hessian_needs_the_graph() -> None:
    x = parameter([1.0, 2.0])
    optimizer = lmm.optim.ProjectedMM([x], curvature="hessian")
    with pytest.raises(RuntimeError, match="return the loss alone, or use curvature='secant'"):
        optimizer.step(lambda: never_zeroed(lambda: x.square().sum(), optimizer))


def test_a_loss_without_second_derivatives_says_what_to_do() -> None:
    x, y = parameter(normal(3, 2)), normal(4, 2, seed=1)
    loss = lambda: torch.cdist(x, y, p=3).square().sum()  # noqa: E731
    with pytest.raises(RuntimeError, match="not implemented") as caught:
        lmm.optim.ProjectedMM([x], curvature="hessian").step(loss)
    assert "curvature='secant'" in caught.value.__notes__[0]
    losses = train(lmm.optim.ProjectedMM([x], curvature="secant"), loss, 5)
    assert losses[-1] < 0.9 * losses[0]


def test_a_gradient_that_hides_its_curvature_is_not_taken_for_flat() -> None:
    x = parameter([1.0, 2.0])
    optimizer = lmm.optim.ProjectedMM([x], history=0)
    losses = train(optimizer, lambda: OnceDifferentiable.apply(x).sum(), 3)
    assert losses[-1] < 1e-6
    assert optimizer.last_result is not None
    assert optimizer.last_result.certificate.kind is lmm.Kind.ESTIMATE


@pytest.mark.parametrize("style", [alone, with_zero_grad])
def test_sparse_gradients_are_refused(style: Any) -> None:
    embedding = nn.Embedding(5, 2, sparse=True)
    optimizer = lmm.optim.ProjectedMM(embedding.parameters())
    loss = lambda: embedding(torch.tensor([1, 2])).sum()  # noqa: E731
    with pytest.raises(RuntimeError, match=r"dense gradients, got torch\.sparse_coo.*sparse=False"):
        optimizer.step(lambda: style(loss, optimizer))
