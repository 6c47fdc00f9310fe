"""Processes that train one model together: one loss for all, or an error on every rank."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch import Tensor, nn

import learnmm as lmm
from closures import DOUBLE, normal
from processes import told_by_two

pytestmark = pytest.mark.skipif(not dist.is_available(), reason="torch without distributed")

INPUTS, TARGETS = normal(12, 3), normal(12, 1, seed=1)


def average(loss: Tensor) -> Tensor:
    mean = loss.detach().clone()
    dist.all_reduce(mean)
    return mean / dist.get_world_size()


def model_and_loss(rank: int) -> tuple[nn.Module, Callable[[nn.Module], Tensor]]:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1)).to(DOUBLE)
    mine = slice(6 * rank, 6 * rank + 6)
    return model, lambda m: (m(INPUTS[mine]) - TARGETS[mine]).square().mean()


def averaged(rank: int) -> str:
    """As the documentation says: descends on all data, as one process would."""
    model, loss = model_and_loss(rank)
    parallel = nn.parallel.DistributedDataParallel(model)
    optimizer = lmm.optim.ProjectedMM(parallel.parameters())

    def closure() -> Tensor:
        value = loss(parallel)
        value.backward()
        return average(value)

    losses = [float(optimizer.step(closure)) for _ in range(6)]
    alone, _ = model_and_loss(0)
    single = lmm.optim.ProjectedMM(alone.parameters(), curvature="auto")

    def whole() -> Tensor:
        value = (alone(INPUTS) - TARGETS).square().mean()
        value.backward()
        return value

    theirs = [float(single.step(whole)) for _ in range(6)]
    assert losses == pytest.approx(theirs, rel=1e-8)
    return "the same"


def local(rank: int) -> str:
    """Every rank its own loss."""
    model, loss = model_and_loss(rank)
    parallel = nn.parallel.DistributedDataParallel(model)
    before = [p.detach().clone() for p in model.parameters()]
    optimizer = lmm.optim.ProjectedMM(parallel.parameters())

    def closure() -> Tensor:
        value = loss(parallel)
        value.backward()
        return value

    try:
        for _ in range(300):
            optimizer.step(closure)
    except RuntimeError as error:
        assert all(map(torch.equal, before, model.parameters()))
        return str(error)
    return "nothing raised"


def later(rank: int) -> str:
    """Losses differ at a candidate only, where much that is raised would count as a refusal."""
    model, loss = model_and_loss(rank)
    parallel = nn.parallel.DistributedDataParallel(model)
    optimizer = lmm.optim.ProjectedMM(parallel.parameters())
    calls = 0

    def closure() -> Tensor:
        nonlocal calls
        calls += 1
        value = loss(parallel)
        value.backward()
        return average(value) + (rank if calls == 3 else 0)

    try:
        optimizer.step(closure)
    except RuntimeError as error:
        return str(error)
    return "nothing raised"


def without_backward(rank: int) -> str:
    model, loss = model_and_loss(rank)
    parallel = nn.parallel.DistributedDataParallel(model)
    try:
        lmm.optim.ProjectedMM(parallel.parameters()).step(lambda: loss(parallel))
    except RuntimeError as error:
        return str(error)
    return "nothing raised"


def one_alone(rank: int) -> str:
    """One rank may train for itself, whatever the others do."""
    model, loss = model_and_loss(rank)
    parallel = nn.parallel.DistributedDataParallel(model)
    inner = parallel.module
    if rank == 0:
        lmm.optim.ProjectedMM(inner.parameters()).step(lambda: loss(inner))
        off = lmm.optim.ProjectedMM(inner.parameters(), compare_ranks=False)
        off.step(lambda: loss(parallel.module))
    return "done"


def by_hand(rank: int) -> str:
    """Without DistributedDataParallel nobody knows who belongs together, unless told."""
    model, loss = model_and_loss(rank)
    lmm.optim.ProjectedMM(model.parameters()).step(lambda: loss(model))
    model, loss = model_and_loss(rank)
    optimizer = lmm.optim.ProjectedMM(model.parameters(), compare_ranks=True)
    try:
        optimizer.step(lambda: loss(model))
    except RuntimeError as error:
        return str(error)
    return "nothing raised"


CASES = {
    case.__name__: case for case in (averaged, local, later, without_backward, one_alone, by_hand)
}


@pytest.fixture(scope="module")
def told() -> dict[str, list[str]]:
    """What both processes said in every case."""
    return told_by_two(CASES)


def test_with_an_averaged_loss_two_processes_take_the_steps_of_one(told: Any) -> None:
    assert told["averaged"] == ["the same"] * 2


@pytest.mark.parametrize("case", ["local", "later", "by_hand"])
def test_different_losses_raise_on_all_ranks(told: Any, case: str) -> None:
    first, second = told[case]
    assert first == second
    assert "on rank 0, " in first
    assert "the same on every rank: average it in the closure, with torch.distributed" in first


def test_gradients_are_averaged_in_backward_alone(told: Any) -> None:
    assert all("the closure must call backward" in text for text in told["without_backward"])


def test_a_rank_may_train_alone(told: Any) -> None:
    assert told["one_alone"] == ["done"] * 2
