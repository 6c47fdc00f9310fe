"""What writes in place into what it is given reaches no iterate, or is refused at the start."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

import learnmm as lmm
from adversaries import Returning
from writers import (
    TARGET,
    X0,
    Buffered,
    LateWriter,
    Write,
    Writing,
    WritingAdaptive,
    WritingMajorant,
    add,
    by_write,
    quadratic,
)


def assert_true_to_itself(optimizer: lmm.ProjectedMMOptimizer) -> None:
    """Values are those of the iterates, and nothing of the caller is changed."""
    x0 = X0.clone()
    state = optimizer.init(x0)
    for _ in range(6):
        before = state.x.clone()
        following, _ = optimizer.step(state)
        assert torch.equal(state.x, before)
        assert (following.value <= state.value).all()
        torch.testing.assert_close(following.value, quadratic(following.x))
        state = following
    assert torch.equal(x0, X0)
    result = optimizer.minimize(x0, history=True)
    assert torch.equal(x0, X0)
    torch.testing.assert_close(result.fun, quadratic(result.x))
    assert result.certificate.monotone.all()
    assert (result.fun < quadratic(X0)).all()


@by_write
@pytest.mark.parametrize("at", ["point", "curvature", "memory", "proposing"])
@pytest.mark.parametrize("whole", [False, True], ids=["multipliers", "step"])
def test_proposers_do_not_reach_the_iterate(write: Write, at: str, whole: bool) -> None:
    proposer, few = Writing(write, at, whole=whole), lmm.SolveSettings(max_iter=20)
    assert_true_to_itself(lmm.ProjectedMMOptimizer(quadratic, proposer=proposer, settings=few))


def test_what_a_proposer_does_to_the_curvature_does_not_change_the_own_step() -> None:
    """Its steps climb, so all that is taken are the majorant's own: one, to the minimum."""

    def climb(point: lmm.Point) -> lmm.Step:
        point.curvature.value.mul_(1e-9)  # type: ignore[attr-defined]
        return lmm.Step(-point.gradient)

    majorant = WritingMajorant(add, "nowhere")
    optimizer = lmm.ProjectedMMOptimizer(quadratic, majorant=majorant, proposer=Returning(climb))
    result = optimizer.minimize(X0)
    torch.testing.assert_close(result.x, TARGET)
    assert result.certificate.violations.tolist() == [0, 0]


@by_write
def test_adaptive_majorants_do_not_reach_the_iterate(write: Write) -> None:
    majorant = WritingAdaptive(write, "observe")
    assert_true_to_itself(lmm.ProjectedMMOptimizer(quadratic, majorant=majorant))


@by_write
@pytest.mark.parametrize(
    ("parts", "who"),
    [
        (lambda write: {"proposer": Writing(write, "start")}, "proposer Writing"),
        (lambda write: {"majorant": WritingMajorant(write, "call")}, "majorant WritingMajorant"),
        (lambda write: {"majorant": WritingAdaptive(write, "start")}, "majorant WritingAdaptive"),
        (lambda write: {"majorant": WritingAdaptive(write, "gradient")}, "WritingAdaptive"),
        (lambda write: {"majorant": WritingAdaptive(write, "call")}, "majorant WritingAdaptive"),
    ],
)
def test_who_writes_at_the_start_is_refused(
    write: Write, parts: Callable[[Write], dict[str, Any]], who: str
) -> None:
    x0 = X0.clone()
    optimizer = lmm.ProjectedMMOptimizer(quadratic, **parts(write))
    for start in (optimizer.init, optimizer.minimize):
        with pytest.raises(RuntimeError, match=f"{who} wrote into a tensor that it was given"):
            start(x0)
        assert torch.equal(x0, X0)


@by_write
def test_an_objective_that_writes_is_refused(write: Write) -> None:
    """Either by torch, or since the values have changed."""

    def fun(x: Tensor) -> Tensor:
        write(x)
        return quadratic(x)

    x0, message = X0.clone(), "wrote into a tensor|in-place operation|data pointer"
    for start in (lmm.ProjectedMMOptimizer(fun).init, lambda x: lmm.minimize(fun, x)):
        with pytest.raises(RuntimeError, match=message):
            start(x0)
        assert torch.equal(x0, X0)
    with pytest.raises(RuntimeError, match=message):
        lmm.minimize(lambda x: fun(x[None]).sum(), x0[0])
    assert torch.equal(x0, X0)


def test_an_objective_that_writes_later_does_not_reach_the_iterate() -> None:
    start = X0.clamp(min=3.95)
    optimizer = lmm.ProjectedMMOptimizer(
        LateWriter(), majorant=lmm.majorants.LipschitzMajorant(2.5)
    )
    result = optimizer.minimize(start)
    torch.testing.assert_close(result.x, TARGET, atol=1e-4, rtol=0)
    torch.testing.assert_close(result.fun, quadratic(result.x))


def test_buffers_that_are_used_again_spoil_nothing() -> None:
    """The first candidate is refused: what belongs to the start must still be there."""
    optimizer = lmm.ProjectedMMOptimizer(Buffered(), majorant=lmm.majorants.LipschitzMajorant(0.5))
    state = optimizer.init(X0)
    following, info = optimizer.step(state)
    assert not info.accepted.any()
    assert torch.equal(following.x, X0)
    torch.testing.assert_close(following.value, quadratic(X0))
    torch.testing.assert_close(following.gradient, 2 * (X0 - TARGET))
    torch.testing.assert_close(following.aux["gradient"], 2 * (X0 - TARGET))


def test_the_start_belongs_to_the_caller() -> None:
    optimizer = lmm.ProjectedMMOptimizer(quadratic, proposer=lmm.LimitedMemory())
    x0 = X0.clone()
    state = optimizer.init(x0)
    x0.zero_()
    assert torch.equal(state.x, X0)
    torch.testing.assert_close(optimizer.step(state)[0].x, optimizer.step(optimizer.init(X0))[0].x)


@pytest.mark.parametrize("iterations", [0, 1, 5])
def test_results_share_no_memory(iterations: int) -> None:
    start = TARGET if iterations == 0 else X0
    result = lmm.minimize(quadratic, start, settings=lmm.SolveSettings(max_iter=max(1, iterations)))
    tensors = [result.x, result.fun, result.gradient, result.initial_fun, start]
    places = [tensor.untyped_storage().data_ptr() for tensor in tensors]
    assert len(set(places)) == len(places)


def test_a_callback_sees_copies() -> None:
    plain = lmm.ProjectedMMOptimizer(quadratic, proposer=lmm.LimitedMemory()).minimize(
        X0, history=True
    )

    def callback(state: lmm.State, info: lmm.StepInfo) -> None:
        for tensor in (*state, *info):
            if isinstance(tensor, Tensor):
                tensor.zero_()
        state.tally.accepted.zero_()
        state.proposer_memory.moves.zero_()

    result = lmm.ProjectedMMOptimizer(quadratic, proposer=lmm.LimitedMemory()).minimize(
        X0, callback=callback, history=True
    )
    assert torch.equal(result.x, plain.x)
    assert torch.equal(result.fun, plain.fun)
    assert torch.equal(result.certificate.accepted, plain.certificate.accepted)
    assert result.history is not None
    assert plain.history is not None
    assert torch.equal(result.history.value, plain.history.value)


# --- unrolled solves ---------------------------------------------------------------------------


@by_write
@pytest.mark.parametrize("who", ["start", "energy"])
def test_data_belong_to_the_caller(write: Write, who: str) -> None:
    def start(data: dict[str, Tensor]) -> Tensor:
        if who == "start":
            write(data["y"])
        return torch.zeros_like(data["y"])

    def energy(data: dict[str, Tensor]) -> lmm.Atom:
        if who == "energy":
            write(data["y"])
        return lmm.Quadratic(data["y"])

    solver = lmm.UnrolledMM(energy, lmm.proposers.Constant().double(), start=start, steps=2)
    with pytest.raises(RuntimeError, match=f"{who} wrote into a tensor that it was given"):
        solver({"y": TARGET.clone()})


def test_a_start_may_be_the_data() -> None:
    y = TARGET.clone()
    solver = lmm.UnrolledMM(
        lambda data: lmm.Quadratic(2 * data),
        lmm.proposers.Constant().double(),
        start=lambda data: data,
    )
    solved = solver(y)
    assert torch.equal(y, TARGET)
    torch.testing.assert_close(solved.x, 2 * TARGET)
