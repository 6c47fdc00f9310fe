"""``minimize(..., compiled="loop")``: the whole run as one graph, with the results of the loop."""

from __future__ import annotations

import shutil
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor

import learnmm as lmm
from learnmm.solve import loop, shrinking, whole
from learnmm.solve.status import Status
from learnmm.solve.whole import Graph, Part

START = torch.tensor([[-1.2, 1.0], [0.5, -2.0], [1.0, 1.0], [2.0, 2.0]], dtype=torch.float64)


def valley(x: Tensor, height: Tensor, place: Tensor) -> Tensor:
    """A valley per problem; its end is at 1."""
    return height * (x[:, 1] - x[:, 0] ** 2) ** 2 + (place - x[:, 0]) ** 2


def data(first: float) -> tuple[Tensor, Tensor]:
    """Heights and places that share memory, as the columns of a table do."""
    table = torch.tensor([[first, 1.0], [10.0, 0.8], [50.0, 1.0], [30.0, 1.2]], dtype=torch.float64)
    return table[:, 0], table[:, 1]


def assert_same(one: lmm.Result, other: lmm.Result) -> None:
    """Up to rounding, which may end a run a step earlier."""
    torch.testing.assert_close(one.x, other.x, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(one.fun, other.fun, rtol=1e-9, atol=1e-9)
    assert torch.equal(one.success, other.success)
    assert one.certificate.kind == other.certificate.kind
    assert bool(one.certificate.monotone.all())
    for result in (one, other):
        tried = result.certificate.accepted + result.certificate.rejected
        assert torch.equal(tried, result.iterations)


def _without_inductor(compiled: Any, function: Any, **options: Any) -> Any:
    if "backend" not in options:
        options["backend"] = "eager"
        options.pop("options")
    return compiled(function, **options)


@pytest.mark.skipif(not shutil.which("g++"), reason="inductor compiles with g++, which is missing")
def test_a_function_is_compiled_once_for_all_its_data(monkeypatch: pytest.MonkeyPatch) -> None:
    one, other = data(100.0), data(3.0)
    minimize = partial(lmm.minimize, valley, START)
    expected = [minimize(args=args) for args in (one, other)]
    monkeypatch.setattr(loop, "_run", None)
    first = minimize(args=one, compiled="loop")
    assert first.compile_seconds > 0
    assert_same(first, expected[0])
    again = minimize(args=other, compiled="loop")
    assert again.compile_seconds == 0
    assert_same(again, expected[1])
    one[0].copy_(other[0])
    one[1].copy_(other[1])
    assert torch.equal(minimize(args=one, compiled="loop").x, again.x)


def test_an_atom_is_compiled_with_what_it_holds_and_for_those_that_still_run(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    matrix = torch.tensor([[1.0, 0.5], [0.0, 2.0], [1.0, 1.0]], dtype=torch.float64)
    targets = START.clamp(0.0, 3.0) @ matrix.mT  # three are there at the start
    targets[2] = torch.tensor([5.0, -2.0, 1.0])
    solve = partial(
        lmm.minimize, lmm.least_squares(matrix, targets), START, proposer=None, bounds=(0.0, 3.0)
    )
    expected = solve()
    monkeypatch.setattr(torch, "compile", partial(_without_inductor, torch.compile))
    monkeypatch.setattr(loop, "_run", None)
    monkeypatch.setattr(shrinking, "FEWEST", 2)
    sizes, called = [], Graph.__call__

    def noted(graph: Graph, solver: Any, state: Any, *numbers: int) -> Any:
        sizes.append((len(state.value), numbers[1]))
        part = called(graph, solver, state, *numbers)
        graph.seconds = 0.0  # no patience
        return part

    monkeypatch.setattr(Graph, "__call__", noted)
    assert_same(solve(compiled="loop"), expected)
    assert sizes == [(4, 1), (2, 0)]
    targets[2] += 1  # in place: nobody tells the graphs
    again = solve(compiled="loop")
    assert again.compile_seconds == 0
    assert sizes[2:] == [(4, 1), (2, 0)]
    monkeypatch.undo()
    assert_same(again, solve())


def test_a_function_that_cannot_be_compiled_is_named_with_the_cause() -> None:
    def branching(x: Tensor) -> Tensor:
        return x.square().sum(1) if x.sum() > 0 else x.abs().sum(1)

    cause = "data-dependent branching.* in branching.*compiled=False takes the same steps"
    with pytest.raises(RuntimeError, match=f"(?s)compiled='loop' needs an objective.*{cause}"):
        lmm.minimize(branching, START, proposer=None, compiled="loop")


@pytest.mark.parametrize("failed", ["a candidate raised", "another function"])
def test_a_compiled_loop_that_failed_is_run_step_by_step(
    monkeypatch: pytest.MonkeyPatch, failed: str
) -> None:
    def graph(self: Graph, solver: Any, state: Any, steps: int, least: int) -> Part:
        if failed == "a candidate raised":
            return Part(None, 0, 0.0, 1.0)
        ended = state.stopped(Status.GRADIENT)._replace(value=state.value - 1)
        return Part(ended, 1, 0.0, 1.0)

    monkeypatch.setattr(Graph, "__call__", graph)
    fun = lambda x: x.square().sum(1)  # noqa: E731 - a code object of its own
    result, expected = (lmm.minimize(fun, START, compiled=way) for way in ("loop", False))
    assert torch.equal(result.x, expected.x)
    assert torch.equal(result.iterations, expected.iterations)
    assert result.compile_seconds == 1


@pytest.mark.parametrize(
    "watching", [{"callback": lambda *_: None}, {"history": True}, {"progress": True}]
)
def test_a_compiled_loop_cannot_be_watched(watching: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="without a step that callback, history or progress could"):
        lmm.minimize(lambda x: x.square().sum(1), START, compiled="loop", **watching)


def test_there_are_three_ways_to_compile() -> None:
    with pytest.raises(TypeError, match="compiled must be True, False or 'loop', got 'whole'"):
        lmm.minimize(lambda x: x.square().sum(1), START, compiled="whole")  # type: ignore[typeddict-item]


def test_several_steps_between_looks_at_the_condition_change_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Some problems come to their end, the limit ends the others, in the middle of those steps."""
    solve = partial(lmm.minimize, valley, START, args=data(100.0))
    steps = sorted(solve().iterations.tolist())[-2] + 1
    steps += steps % 3 == 0
    monkeypatch.setattr(torch, "compile", partial(_without_inductor, torch.compile))
    monkeypatch.setattr(loop, "_run", None)
    results = []
    for every in ({}, {"cpu": 3}):
        monkeypatch.setattr(whole, "EVERY", every)
        monkeypatch.setattr(whole, "_graphs", {})
        results.append(solve(settings=lmm.SolveSettings(max_iter=steps), compiled="loop"))
    one, other = results
    assert int(one.iterations.max()) == steps > int(one.iterations.min())
    assert torch.equal(one.x, other.x)
    assert torch.equal(one.iterations, other.iterations)
    assert torch.equal(one.certificate.accepted, other.certificate.accepted)
