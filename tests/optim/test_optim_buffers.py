"""Buffers of modules become those of evaluations that were taken, wherever the modules are."""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import learnmm as lmm
from closures import DOUBLE, normal, parameter
from learnmm.optim.reach import modules_within

INPUTS = normal(8, 3)
Make = Callable[[nn.Module, Callable[[nn.Module], Tensor]], Callable[[], Tensor]]


def normalised() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 1)).to(DOUBLE)


def buffers(model: nn.Module) -> list[Tensor]:
    return [buffer.clone() for buffer in model.buffers()]


class Loss:
    """Finite for the first evaluations, NaN with NaN in all statistics for some others."""

    def __init__(self, bad: set[int]) -> None:
        self.bad = bad
        self.calls = 0
        self.seen: list[list[Tensor]] = []

    def __call__(self, model: nn.Module) -> Tensor:
        self.calls += 1
        inputs = INPUTS * torch.nan if self.calls in self.bad else INPUTS
        loss = model(inputs).square().sum()
        self.seen.append([p.detach().clone() for p in model.parameters()])
        return loss


class Trainer:
    def __init__(self, model: nn.Module, loss: Callable[[nn.Module], Tensor]) -> None:
        self.model, self.loss = model, loss

    @property
    def network(self) -> nn.Module:
        return self.model

    def plainly(self) -> Tensor:
        return self.loss(self.model)

    def __call__(self) -> Tensor:
        return self.loss(self.network)

    def once_more(self) -> Tensor:
        return self.plainly()


def in_a_cell(model: nn.Module, loss: Any) -> Any:
    return lambda: loss(model)


def in_a_cell_of_a_cell(model: nn.Module, loss: Any) -> Any:
    inner = lambda: loss(model)  # noqa: E731
    return lambda: inner()


def in_a_nested_function(model: nn.Module, loss: Any) -> Any:
    def closure() -> Tensor:
        return torch.stack([loss(m) for m in (model,)]).sum()

    return closure


def in_a_list(model: nn.Module, loss: Any) -> Any:
    models = {"all": [(0, model)]}
    return lambda: loss(models["all"][0][1])


def in_a_default(model: nn.Module, loss: Any) -> Any:
    return lambda model=model: loss(model)


def in_a_keyword(model: nn.Module, loss: Any) -> Any:
    def closure(*, model: nn.Module = model) -> Tensor:
        return loss(model)

    return closure


def in_a_partial(model: nn.Module, loss: Any) -> Any:
    return functools.partial(loss, model)


def in_a_method(model: nn.Module, loss: Any) -> Any:
    return Trainer(model, loss).once_more


def in_a_callable(model: nn.Module, loss: Any) -> Any:
    return Trainer(model, loss)


def in_an_attribute(model: nn.Module, loss: Any) -> Any:
    trainer = Trainer(model, loss)
    return lambda: loss(trainer.network)


def in_a_cache(model: nn.Module, loss: Any) -> Any:
    return functools.wraps(loss.__call__)(lambda: loss(model))


def in_a_container(model: nn.Module, loss: Any) -> Any:
    outer = nn.ModuleDict({"inner": model})
    return lambda: loss(outer["inner"])


def in_a_global(model: nn.Module, loss: Any) -> Any:
    names: dict[str, Any] = {"model": model, "loss": loss}
    exec("def evaluate(): return loss(model)\ndef closure(): return evaluate()", names)
    return names["closure"]


PLACES: list[Make] = [
    in_a_cell,
    in_a_cell_of_a_cell,
    in_a_nested_function,
    in_a_list,
    in_a_default,
    in_a_keyword,
    in_a_partial,
    in_a_method,
    in_a_callable,
    in_an_attribute,
    in_a_cache,
    in_a_container,
    in_a_global,
]
everywhere = pytest.mark.parametrize("place", PLACES, ids=lambda place: place.__name__)


@everywhere
def test_a_refused_evaluation_leaves_no_trace(place: Make) -> None:
    """Statistics are those of a plain run over the points that were taken, and they alone."""
    model = normalised()
    start = copy.deepcopy(model)
    loss = Loss(bad={3, 4})  # 1 is the start, 2 the probe; then come candidates
    closure = place(model, loss)
    optimizer = lmm.optim.ProjectedMM(model.parameters())
    optimizer.step(closure)
    assert optimizer.last_result is not None
    assert int(optimizer.last_result.certificate.rejected) == 2
    assert int(optimizer.last_result.certificate.accepted) == 1
    assert loss.calls == 5
    for point in (loss.seen[0], loss.seen[4]):
        with torch.no_grad():
            for p, value in zip(start.parameters(), point, strict=True):
                p.copy_(value)
            start(INPUTS)
    assert all(map(torch.equal, model.buffers(), start.buffers()))
    assert int(model[1].num_batches_tracked) == 2  # type: ignore[arg-type, union-attr]


def test_a_call_that_takes_nothing_leaves_the_buffers_of_its_start() -> None:
    model = normalised()
    start = copy.deepcopy(model)
    start(INPUTS)
    optimizer = lmm.optim.ProjectedMM(model.parameters())
    loss = Loss(bad=set(range(2, 100)))
    optimizer.step(lambda: loss(model))
    assert optimizer.last_result is not None
    assert int(optimizer.last_result.certificate.accepted) == 0
    assert all(map(torch.equal, model.buffers(), start.buffers()))


def test_a_start_that_is_not_finite_leaves_the_buffers_before_it() -> None:
    model = normalised()
    before = buffers(model)
    loss = Loss(bad={1})
    lmm.optim.ProjectedMM(model.parameters()).step(lambda: loss(model))
    assert all(map(torch.equal, model.buffers(), before))


@pytest.mark.parametrize("failing", [1, 2, 3, 4])
def test_a_closure_that_raises_leaves_the_buffers_before_the_call(failing: int) -> None:
    model = normalised()
    loss = Loss(bad=set())
    optimizer = lmm.optim.ProjectedMM(model.parameters(), settings=lmm.SolveSettings(max_iter=3))
    before = buffers(model)

    def closure() -> Tensor:
        value = loss(model)
        if loss.calls == failing:
            raise KeyError
        return value

    with pytest.raises(KeyError):
        optimizer.step(closure)
    assert all(map(torch.equal, model.buffers(), before))


class Hidden:
    """A place that no code of the closure names."""

    registry: dict[str, nn.Module]


def test_modules_out_of_reach_can_be_named() -> None:
    for named in (True, False):
        model = normalised()
        key, holder = "mo" + "del", Hidden()
        setattr(holder, key, model)
        loss = Loss(bad={3})
        closure = lambda h=holder, k=key, f=loss: f(getattr(h, k))  # type: ignore[misc] # noqa: E731
        assert modules_within(closure) == []
        settings: dict[str, Any] = {"modules": model} if named else {}
        lmm.optim.ProjectedMM(model.parameters(), **settings).step(closure)
        assert all(bool(torch.isfinite(b).all()) for b in model.buffers()) == named


@pytest.mark.parametrize("modules", [[nn.ReLU(), 3.0], [None], "ab"])
def test_what_is_named_must_be_modules(modules: Any) -> None:
    with pytest.raises(
        TypeError, match=r"modules must be torch\.nn\.Module, got (float|NoneType|str)"
    ):
        lmm.optim.ProjectedMM([parameter([1.0])], modules=modules)


class Replacing(nn.Module):
    """Keeps its mean in a new tensor every time."""

    mean: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.weight = parameter([2.0, -1.0])
        self.register_buffer("mean", torch.zeros((), dtype=DOUBLE))
        self.register_buffer("calls", torch.zeros((), dtype=torch.int64))

    def forward(self, bad: bool) -> Tensor:
        loss = (self.weight * (torch.nan if bad else 1.0)).square().sum()
        self.mean = 0.9 * self.mean + 0.1 * loss.detach()
        self.calls += 1
        return loss


def test_buffers_that_are_replaced_are_restored_too() -> None:
    model, calls = Replacing(), iter(range(100))
    lmm.optim.ProjectedMM(model.parameters()).step(lambda: model(next(calls) == 2))
    assert int(model.calls) == 2
    assert bool(torch.isfinite(model.mean))


def test_buffers_of_a_frozen_part_are_restored() -> None:
    """A critic in training mode behind a generator sees what the refused generator made."""
    generator, critic = nn.Linear(3, 3).double(), normalised()
    loss = Loss(bad={3})
    optimizer = lmm.optim.ProjectedMM(generator.parameters())
    optimizer.step(lambda: loss(critic) + critic(generator(INPUTS)).square().sum())
    assert all(bool(torch.isfinite(b).all()) for b in critic.buffers())


def test_buffers_that_products_need_are_not_written_to() -> None:
    """In evaluation mode the statistics are part of the graph that curvature comes from."""
    model = normalised().eval()
    optimizer = lmm.optim.ProjectedMM(
        model.parameters(), curvature="hessian", settings=lmm.SolveSettings(max_iter=3)
    )
    optimizer.step(lambda: model(INPUTS).square().sum())
    assert optimizer.last_result is not None
    assert int(optimizer.last_result.certificate.accepted) == 3


def test_looking_for_modules_is_quick_and_runs_nothing() -> None:
    class Explosive:
        @property
        def model(self) -> nn.Module:
            raise AssertionError

    data = {k: torch.zeros(1) for k in range(5000)}
    many: list[Any] = [[k] for k in range(900)]
    explosive, module = Explosive(), nn.ReLU()
    function = lambda: (explosive.model, data, many, module)  # noqa: E731
    assert modules_within(function) in ([module], [])
    assert modules_within(lambda: module(data)) == [module]
    loop: list[Any] = [module]
    loop.append(loop)
    assert modules_within(lambda: loop) == [module]
