"""Saved, loaded and copied, the optimizer takes the steps of an unbroken run."""

from __future__ import annotations

import copy
import io
import itertools
import math
import pickle
from typing import Any

import pytest
import torch
from torch import Tensor

import learnmm as lmm
from closures import (
    DOUBLE,
    STYLES,
    alone,
    bits,
    network,
    normal,
    parameter,
    rosenbrock,
    train,
    with_zero_grad,
)
from learnmm.solve import Certificate

by_style = pytest.mark.parametrize("style", STYLES, ids=lambda style: style.__name__)


@by_style
@pytest.mark.parametrize("dtype", [torch.float32, DOUBLE])
def test_a_resumed_run_takes_the_same_steps(style: Any, dtype: torch.dtype) -> None:
    model, loss = network(dtype)
    optimizer = lmm.optim.ProjectedMM(
        model.parameters(), lr=0.8, settings=lmm.SolveSettings(max_iter=2)
    )
    train(optimizer, lambda: style(loss, optimizer), 7)
    file = io.BytesIO()
    torch.save({"model": model.state_dict(), "optimizer": optimizer.state_dict()}, file)
    file.seek(0)
    saved = torch.load(file, weights_only=True)

    other, its_loss = network(dtype)
    resumed = lmm.optim.ProjectedMM(other.parameters(), settings=lmm.SolveSettings(max_iter=2))
    train(resumed, its_loss, 2)  # a past of its own, to be overwritten
    other.load_state_dict(saved["model"])
    resumed.load_state_dict(saved["optimizer"])
    assert resumed.last_result is None
    assert resumed.param_groups[0]["lr"] == 0.8
    for _ in range(6):
        mine = optimizer.step(lambda: style(loss, optimizer))
        its = resumed.step(lambda: style(its_loss, resumed))
        assert torch.equal(mine, its)
        assert bits(model.parameters()) == bits(other.parameters())
    assert optimizer.last_result is not None
    assert resumed.last_result is not None
    certificates = optimizer.last_result.certificate, resumed.last_result.certificate
    assert str(certificates[0]) == str(certificates[1])
    assert all(torch.equal(a, b) for a, b in zip(*map(vectors, certificates), strict=True))


def vectors(certificate: Certificate) -> list[Tensor]:
    return [value for value in vars(certificate).values() if isinstance(value, Tensor)]


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda pair: pickle.loads(pickle.dumps(pair))])
@pytest.mark.parametrize("style", [alone, with_zero_grad])
def test_copies_take_the_same_steps(copied: Any, style: Any) -> None:
    """`torch.optim.Optimizer` copies parameters and state, and forgets the settings."""
    x = parameter(normal(40))
    settings = lmm.SolveSettings(max_iter=2, gtol=1e-9, relaxation=lmm.Relaxation(margin=1.5))
    optimizer = lmm.optim.ProjectedMM([x], lr=0.7, settings=settings)
    train(optimizer, lambda: style(lambda: rosenbrock(x), optimizer), 3)
    y, other = copied((x, optimizer))
    assert y is not x
    assert other.settings == settings
    assert str(other.last_result.certificate) == str(optimizer.last_result.certificate)  # type: ignore[union-attr]
    for _ in range(3):
        mine = optimizer.step(lambda: style(lambda: rosenbrock(x), optimizer))
        its = other.step(lambda: style(lambda: rosenbrock(y), other))
        assert torch.equal(mine, its)
    assert bits([x]) == bits([y])


def test_a_run_with_groups_and_a_scheduler_resumes() -> None:
    def start() -> tuple[Any, Any, Any, Any]:
        model, loss = network()
        groups = [{"params": model[0].parameters(), "lr": 0.3}, {"params": model[2].parameters()}]
        optimizer = lmm.optim.ProjectedMM(groups)
        return model, optimizer, torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.9), loss

    def proceed(run: tuple[Any, Any, Any, Any], calls: int) -> list[Tensor]:
        losses = []
        for _ in range(calls):
            losses.append(run[1].step(run[3]))
            run[2].step()
        return losses

    unbroken, resumed = start(), start()
    proceed(unbroken, 4)
    saved = copy.deepcopy([part.state_dict() for part in unbroken[:3]])
    for part, state in zip(resumed[:3], saved, strict=True):
        part.load_state_dict(state)
    assert all(map(torch.equal, proceed(unbroken, 4), proceed(resumed, 4)))
    rates = [[group["lr"] for group in run[1].param_groups] for run in (unbroken, resumed)]
    assert rates[0] == rates[1] == pytest.approx([0.3 * 0.9**8, 0.9**8])


def test_states_before_the_first_step_can_be_saved() -> None:
    x, y = parameter([1.0, 2.0]), parameter([1.0, 2.0])
    optimizer = lmm.optim.ProjectedMM([y])
    optimizer.load_state_dict(lmm.optim.ProjectedMM([x]).state_dict())
    optimizer.step(lambda: rosenbrock(y))


# --- what is saved and what is shared ----------------------------------------------------------


def test_a_saved_state_is_not_changed_by_later_steps() -> None:
    """Also without a copy of it, and however often it was saved."""
    x = parameter(normal(6))
    optimizer = lmm.optim.ProjectedMM([x], history=3, settings=lmm.SolveSettings(max_iter=2))
    train(optimizer, lambda: rosenbrock(x), 4)
    point, saved = x.detach().clone(), optimizer.state_dict()
    kept = copy.deepcopy(saved)
    following = train(optimizer, lambda: rosenbrock(x), 5)
    assert str(saved) == str(kept)
    for state in (saved, kept):
        y = parameter(point.clone())
        other = lmm.optim.ProjectedMM([y], history=3, settings=lmm.SolveSettings(max_iter=2))
        other.load_state_dict(state)
        assert train(other, lambda y=y: rosenbrock(y), 5) == following  # type: ignore[misc]
        assert str(saved) == str(kept)


def test_optimizers_that_share_a_state_do_not_meet() -> None:
    x, y = parameter(normal(6)), parameter(normal(6))
    one = lmm.optim.ProjectedMM([x], history=2)
    train(one, lambda: rosenbrock(x), 3)
    other = lmm.optim.ProjectedMM([y], history=2)
    other.load_state_dict(one.state_dict())
    with torch.no_grad():
        y.copy_(x)
    train(other, lambda: y.square().sum(), 3)
    z = parameter(normal(6))
    fresh = lmm.optim.ProjectedMM([z], history=2)
    train(fresh, lambda: rosenbrock(z), 3)
    assert train(one, lambda: rosenbrock(x), 3) == train(fresh, lambda: rosenbrock(z), 3)


def test_the_ring_is_written_in_place() -> None:
    x = parameter(normal(6))
    optimizer = lmm.optim.ProjectedMM([x], history=3)
    train(optimizer, lambda: rosenbrock(x), 1)
    (memory,) = optimizer.state.values()
    rings = memory["pairs"]["moves"], memory["pairs"]["changes"]
    train(optimizer, lambda: rosenbrock(x), 4)
    assert memory["pairs"]["moves"] is rings[0]
    assert memory["pairs"]["changes"] is rings[1]


@pytest.mark.parametrize("failing", range(2, 8))
def test_a_call_that_fails_puts_back_the_pairs_it_has_overwritten(failing: int) -> None:
    """Without anybody holding a copy of the state."""
    x, y = parameter(normal(6)), parameter(normal(6))
    settings = lmm.SolveSettings(max_iter=6)
    optimizer = lmm.optim.ProjectedMM([x], history=2, settings=settings)
    undisturbed = lmm.optim.ProjectedMM([y], history=2, settings=settings)
    train(optimizer, lambda: rosenbrock(x), 2)
    train(undisturbed, lambda: rosenbrock(y), 2)
    calls = itertools.count(1)

    def closure() -> Tensor:
        if next(calls) == failing:
            raise KeyError
        return rosenbrock(x)

    with pytest.raises(KeyError):
        optimizer.step(closure)
    assert train(optimizer, lambda: rosenbrock(x), 3) == train(
        undisturbed, lambda: rosenbrock(y), 3
    )


@pytest.mark.parametrize("missing", ["pairs", "tally", "level", "moving", "generator"])
def test_damaged_states_are_refused_and_change_nothing(missing: str) -> None:
    x = parameter(normal(3))
    optimizer = lmm.optim.ProjectedMM([x])
    train(optimizer, lambda: rosenbrock(x), 2)
    saved = optimizer.state_dict()
    damaged = copy.deepcopy(saved)
    del damaged["state"][0][missing]
    with pytest.raises(ValueError, match=f"the state_dict lacks {missing}|history=0"):
        optimizer.load_state_dict(damaged)
    assert optimizer.state_dict() == saved


WRONG = [None, "x", math.nan, {}, [], torch.full((1, 10), math.nan), torch.zeros(2, 3)]


@pytest.mark.parametrize("wrong", WRONG, ids=str)
@pytest.mark.parametrize(
    "path",
    [
        ("level",), ("reach",), ("relaxation",), ("tally",), ("tally", "accepted"), ("moving",),
        ("generator",), ("pairs",), ("pairs", "moves"), ("pairs", "products"), ("pairs", "newest"),
        ("pairs", "stretch"),
    ],
    ids=".".join,
)  # fmt: skip
def test_a_state_of_something_else_is_a_value_error(path: tuple[str, ...], wrong: Any) -> None:
    x = parameter(normal(3))
    optimizer = lmm.optim.ProjectedMM([x])
    train(optimizer, lambda: rosenbrock(x), 2)
    saved = optimizer.state_dict()
    damaged = copy.deepcopy(saved)
    *outer, last = path
    inner = damaged["state"][0]
    for name in outer:
        inner = inner[name]
    inner[last] = wrong
    if path == ("level",) and wrong is None:  # as before the first step
        optimizer.load_state_dict(damaged)
        return
    with pytest.raises(ValueError, match="the state_dict"):
        optimizer.load_state_dict(damaged)
    assert optimizer.state_dict() == saved


def test_a_state_of_parameters_of_another_shape_is_refused() -> None:
    x, y = parameter(normal(3)), parameter(normal(5))
    optimizer, other = lmm.optim.ProjectedMM([x]), lmm.optim.ProjectedMM([y])
    train(optimizer, lambda: rosenbrock(x), 2)
    with pytest.raises(ValueError, match=r"a parameter of shape \(5,\) was"):
        other.load_state_dict(optimizer.state_dict())


def test_parameters_may_change_dtype_and_shape_between_calls() -> None:
    """What was learned of the others is left."""
    x = parameter(normal(4).float())
    optimizer = lmm.optim.ProjectedMM([x])
    train(optimizer, lambda: rosenbrock(x), 3)
    for data in (x.data.double(), normal(6)):
        x.data = data
        x.grad = None
        before = float(rosenbrock(x).detach())
        train(optimizer, lambda: rosenbrock(x), 3)
        assert float(rosenbrock(x).detach()) < before
