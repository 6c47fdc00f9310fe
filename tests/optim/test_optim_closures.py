"""What closures do to an optimizer: fail at a candidate, write, compute in another dtype."""

from __future__ import annotations

import itertools
import math
import threading
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import learnmm as lmm
from closures import (
    DOUBLE,
    alone,
    assert_left_as_it_was,
    bits,
    network,
    normal,
    parameter,
    rosenbrock,
    train,
    with_zero_grad,
)

by_style = pytest.mark.parametrize("style", [alone, with_zero_grad])


# --- exceptions at a candidate ---------------------------------------------------------------


def fail_by(kind: str) -> Any:
    """Fail as libraries do where numbers fail them."""
    negative = -torch.eye(2, dtype=DOUBLE)
    return {
        "cholesky": lambda: torch.linalg.cholesky(negative),
        "numpy": lambda: np.linalg.cholesky(negative.numpy()),
        "division": lambda: 1 / 0,
        "overflow": lambda: math.exp(1e4),
        "domain": lambda: math.log(-1.0),
        "distribution": lambda: torch.distributions.Normal(
            0.0, -torch.ones(()), validate_args=True
        ),
        "constant": lambda: torch.tensor(torch.inf, dtype=DOUBLE),
        "not a number": lambda: torch.tensor(torch.nan),
    }[kind]()


KINDS = [
    "cholesky",
    "numpy",
    "division",
    "overflow",
    "domain",
    "distribution",
    "constant",
    "not a number",
]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("curvature", ["auto", "hessian", "secant"])
@by_style
def test_numerical_exceptions_at_a_candidate_refuse_it(
    kind: str, curvature: Any, style: Any
) -> None:
    """The domain ends at 0.05; the minimizer, 0.01, lies beyond, so steps reach over its border."""
    if curvature == "hessian" and style is with_zero_grad:
        return
    x = parameter([0.5])
    failed = 0

    def loss() -> Tensor:
        nonlocal failed
        if float(x.detach()) < 0.05:
            failed += 1
            returned: Tensor = fail_by(kind)
            return returned
        return (100 * x - torch.log(x)).sum()

    def closure() -> Tensor:
        value = loss()
        if style is with_zero_grad and value.requires_grad:
            value.backward()
        return value

    optimizer = lmm.optim.ProjectedMM([x], curvature=curvature)
    losses = train(optimizer, closure, 12)
    assert failed > 0
    assert all(b <= a for a, b in itertools.pairwise(losses))
    assert 0.05 <= x.item() < 0.06
    assert optimizer.last_result is not None
    assert int(optimizer.last_result.certificate.rejected) > 0


@pytest.mark.parametrize("kind", KINDS[:6])
def test_at_the_start_they_are_the_users(kind: str) -> None:
    x = parameter([0.5])
    before = bits([x])
    with pytest.raises((ArithmeticError, ValueError, RuntimeError)) as caught:
        lmm.optim.ProjectedMM([x]).step(lambda: fail_by(kind))
    with pytest.raises(type(caught.value)):
        fail_by(kind)
    assert bits([x]) == before


@pytest.mark.parametrize("failing", [2, 3, 4])
@pytest.mark.parametrize("error", [KeyError, TypeError, NotImplementedError, KeyboardInterrupt])
def test_other_exceptions_come_through(failing: int, error: type[BaseException]) -> None:
    model, loss = network()
    optimizer = lmm.optim.ProjectedMM(
        model.parameters(), settings=lmm.SolveSettings(max_iter=3), curvature="hessian"
    )
    train(optimizer, loss, 2)
    assert_left_as_it_was(optimizer, model, loss, failing, error)


# --- writing into parameters -------------------------------------------------------------------


def clamped(x: nn.Parameter) -> None:
    with torch.no_grad():
        x.clamp_(min=0)


def clamped_behind_the_graph(x: nn.Parameter) -> None:
    x.data.clamp_(min=0)


def shrunk(x: nn.Parameter) -> None:
    with torch.no_grad():
        x.mul_(0.5)


def replaced(x: nn.Parameter) -> None:
    x.data = x.data + 1


def through_numpy(x: nn.Parameter) -> None:
    x.detach().numpy()[:] += 1


def narrowed(x: nn.Parameter) -> None:
    x.data = x.data.float()


WRITES = [clamped, clamped_behind_the_graph, shrunk, replaced, through_numpy, narrowed]


@pytest.mark.parametrize("write", WRITES, ids=lambda write: write.__name__)
@pytest.mark.parametrize("first", [1, 2, 3])
@by_style
def test_closures_that_write_into_parameters_raise(write: Any, first: int, style: Any) -> None:
    """At the start or later, and the parameters are as before the call."""
    x, other = parameter([-0.5, 0.3]), parameter([1.0])
    optimizer = lmm.optim.ProjectedMM([x, other])
    before, calls = bits([x, other]), itertools.count(1)

    def loss() -> Tensor:
        if next(calls) >= first:
            write(x)
        return (x + 1).square().sum() + other.square().sum()

    with pytest.raises(
        RuntimeError, match=r"wrote into a parameter of shape \(2,\): the loss that"
    ):
        optimizer.step(lambda: style(loss, optimizer))
    assert x.dtype == DOUBLE
    assert bits([x, other]) == before


def test_writes_that_change_nothing_are_none() -> None:
    x = parameter([0.5, 2.0])
    optimizer = lmm.optim.ProjectedMM([x])

    def closure() -> Tensor:
        clamped(x)
        return (x - 1).square().sum()

    losses = train(optimizer, closure, 4)
    assert losses[-1] < 1e-6


# --- wider values ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"history": 0},
        {"curvature": "secant"},
        {"settings": lmm.SolveSettings(max_iter=4)},
    ],
)
@by_style
def test_float32_parameters_with_a_float64_loss(settings: Any, style: Any) -> None:
    x, target = parameter(torch.zeros(3), torch.float32), normal(3)
    optimizer = lmm.optim.ProjectedMM([x], **settings)
    loss = lambda: ((x - target) ** 2).sum()  # noqa: E731
    losses = [optimizer.step(lambda: style(loss, optimizer)) for _ in range(20)]
    assert losses[0].dtype == DOUBLE
    assert all(b <= a for a, b in itertools.pairwise(losses))
    torch.testing.assert_close(x.detach(), target.float(), rtol=0, atol=1e-5)
    assert optimizer.last_result is not None
    assert optimizer.last_result.x.dtype == torch.float32
    saved = optimizer.state_dict()
    other = lmm.optim.ProjectedMM([x], **settings)
    other.load_state_dict(saved)
    other.step(lambda: style(loss, other))


def test_float64_parameters_with_a_float32_loss() -> None:
    x, target = parameter(torch.zeros(3)), normal(3).float()
    losses = train(lmm.optim.ProjectedMM([x]), lambda: ((x.float() - target) ** 2).sum(), 20)
    assert all(b <= a for a, b in itertools.pairwise(losses))
    assert losses[-1] < 1e-6 * losses[0]


# --- parameters --------------------------------------------------------------------------------


@pytest.mark.parametrize("shapes", [[(0,)], [(0, 3), (2, 0)]])
def test_parameters_without_entries_are_refused(shapes: list[tuple[int, ...]]) -> None:
    empty = [parameter(torch.zeros(shape)) for shape in shapes]
    with pytest.raises(ValueError, match=r"needs parameters with entries, got shapes \[\("):
        lmm.optim.ProjectedMM(empty)
    frozen = parameter([1.0]).requires_grad_(False)
    optimizer = lmm.optim.ProjectedMM([*empty, frozen])
    with pytest.raises(ValueError, match="needs parameters with entries, got shapes"):
        optimizer.step(lambda: empty[0].sum())


@by_style
def test_parameters_without_entries_among_others_do_no_harm(style: Any) -> None:
    x, empty = parameter([1.0, 2.0]), parameter(torch.zeros(0, 4))
    optimizer = lmm.optim.ProjectedMM(
        [empty, x, parameter(torch.zeros(0))], settings=lmm.SolveSettings(max_iter=3)
    )
    train(optimizer, lambda: style(lambda: x.square().sum() + empty.sum(), optimizer), 5)
    assert float(x.detach().norm()) < 1e-6


def test_no_parameters_are_refused() -> None:
    with pytest.raises(ValueError, match="empty parameter list"):
        lmm.optim.ProjectedMM([])


def test_parameters_that_are_all_frozen_are_refused() -> None:
    x, y = parameter([1.0]).requires_grad_(False), parameter([2.0]).requires_grad_(False)
    optimizer = lmm.optim.ProjectedMM([x, y])
    with pytest.raises(ValueError, match="none of the 2 parameters requires a gradient"):
        optimizer.step(lambda: x.square().sum())
    x.requires_grad_()
    optimizer.step(lambda: x.square().sum())
    assert x.abs().item() < 1e-6


def test_parameters_of_lazy_modules_wait_for_a_call() -> None:
    model = nn.LazyLinear(2)
    with pytest.raises(ValueError, match="lazy module has no shape yet: call the module once"):
        lmm.optim.ProjectedMM(model.parameters())


# --- the certificate, threads, the module ------------------------------------------------------


@pytest.mark.parametrize("settings", [{}, {"history": 0}, {"curvature": "secant"}])
def test_the_certificate_says_what_was_done(settings: Any) -> None:
    """No multipliers were proposed, so none were projected; as `minimize` says of such steps."""
    x = parameter(normal(3))
    optimizer = lmm.optim.ProjectedMM([x], **settings)
    train(optimizer, lambda: rosenbrock(x), 2)
    assert optimizer.last_result is not None
    certificate = optimizer.last_result.certificate
    assert not certificate.projected
    assert certificate.safeguarded


def test_threads_with_models_of_their_own_take_the_steps_of_one() -> None:
    def run(seed: int, ends: dict[int, list[bytes]]) -> None:
        x = parameter(normal(30, seed=seed))
        for settings in ({}, {"curvature": "hessian"}):
            train(lmm.optim.ProjectedMM([x], **settings), lambda: rosenbrock(x), 15)  # type: ignore[arg-type]
        ends[seed] = bits([x])

    apart: dict[int, list[bytes]] = {}
    together: dict[int, list[bytes]] = {}
    for seed in range(4):
        run(seed, apart)
    threads = [threading.Thread(target=run, args=(seed, together)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert together == apart


def test_the_module_can_be_imported_in_every_way() -> None:
    import learnmm.optim
    from learnmm.optim import ProjectedMM

    assert learnmm.optim.ProjectedMM is ProjectedMM is lmm.optim.ProjectedMM
