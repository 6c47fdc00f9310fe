"""The laws of proposers: those that keep them pass, and every way to break one is caught."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

import learnmm as lmm
from adversaries import Random, Returning
from catalogue import PROPOSERS, Draw, ProposerCase
from draws import normal
from learnmm.checks import LawViolation, assert_proposer

DTYPE = torch.float64
SHAPE = (3, 4, 2)


class Counting(lmm.Proposer):
    """Remembers how many iterates it has seen, two numbers per problem, in place."""

    def init_memory(self, x: Tensor) -> Any:
        return torch.zeros(len(x), 2)

    def observe(self, point: lmm.Point, memory: Any) -> Any:
        memory += 1  # its own to write to
        return memory

    def propose(self, point: lmm.Point, memory: Any) -> Any:
        number = memory[:, 0].reshape(-1, *([1] * (point.x.dim() - 1)))
        return lmm.Multipliers(1 + point.scale_free.gradient.tanh() / (1 + number))


@pytest.mark.parametrize("case", PROPOSERS, ids=lambda case: case.name)
@pytest.mark.parametrize("dtype", [torch.float32, DTYPE])
def test_the_proposers_of_the_library_keep_the_laws(case: ProposerCase, dtype: torch.dtype) -> None:
    assert_proposer(case.build(dtype), Draw(3, dtype).point(*case.shape), steps=5)


def test_a_memory_may_be_written_to_by_who_observes() -> None:
    assert_proposer(Counting(), normal(*SHAPE))


# --- what is proposed --------------------------------------------------------------------------

BASIS = torch.linalg.qr(normal(4, 2))[0]
ONES = torch.ones(SHAPE, dtype=DTYPE)


@pytest.mark.parametrize(
    "values", [torch.nan, torch.inf, -1e300, 0.0, 1e-300], ids=lambda value: str(value)
)
@pytest.mark.parametrize("kind", [lmm.Multipliers, lmm.Step])
def test_values_are_free(kind: Any, values: float) -> None:
    assert_proposer(Returning(lambda point: kind(torch.full_like(point.x, values))), ONES)


@pytest.mark.parametrize("rest", [(), (2,), (2, 5)])
def test_a_basis_has_its_own_shape(rest: tuple[int, ...]) -> None:
    def answer(point: lmm.Point) -> lmm.Multipliers:
        return lmm.Multipliers(torch.ones(len(point.x), 3, *rest), BASIS)

    assert_proposer(Returning(answer), normal(3, 4, *rest))


@pytest.mark.parametrize(
    ("answer", "law"),
    [
        (lambda point: point.x, "are Multipliers or a Step, got Tensor at step 0"),
        (lambda point: None, "are Multipliers or a Step, got NoneType"),
        (lambda point: (point.x, None), "are Multipliers or a Step, got tuple"),
        (lambda point: lmm.Multipliers(point.x[:, :1]), r"shape \(3, 4, 2\), got \(3, 1, 2\)"),
        (lambda point: lmm.Step(point.x[:, :1]), r"shape \(3, 4, 2\), got \(3, 1, 2\)"),
        (lambda point: lmm.Step(point.x.long()), "in floating point, got torch.int64"),
        (lambda point: lmm.Multipliers(point.x > 0), "in floating point, got torch.bool"),
        (
            lambda point: lmm.Multipliers(point.x[:, :2], BASIS),  # none for what lies outside
            r"proposals have shape \(3, 3, 2\), got \(3, 2, 2\)",
        ),
        (
            lambda point: lmm.Multipliers(point.x[:, :3], 2 * BASIS),
            "a basis has orthonormal columns at step 0: .* off by 4.24",
        ),
        (
            lambda point: lmm.Multipliers(point.x[:, :3], BASIS[:3]),
            r"a basis has shape \(4, r\), got \(3, 2\)",
        ),
        (
            lambda point: lmm.Multipliers(point.x[:, :3], BASIS.expand(3, 4, 2)),
            r"a basis has shape \(4, r\), got \(3, 4, 2\)",
        ),
    ],
)
def test_what_is_no_proposal_is_caught(answer: Any, law: str) -> None:
    with pytest.raises(LawViolation, match=law):
        assert_proposer(Returning(answer), normal(*SHAPE))


# --- neighbours --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "answer",
    [
        lambda point: lmm.Multipliers(point.x / point.x.mean()),
        lambda point: lmm.Step(point.gradient - point.gradient.mean(0)),
        lambda point: lmm.Step(point.x.cumsum(0)),
        lambda point: lmm.Multipliers(
            point.x * torch.arange(len(point.x), dtype=DTYPE).reshape(-1, 1, 1)
        ),
    ],
    ids=["batch statistics", "centred", "order", "position"],
)
def test_whoever_looks_at_neighbours_is_caught(answer: Any) -> None:
    with pytest.raises(LawViolation, match="at step 0 do not depend on neighbours"):
        assert_proposer(Returning(answer), normal(*SHAPE))


def test_a_memory_that_mixes_is_caught_when_it_shows() -> None:
    class Mixing(Counting):
        def observe(self, point: lmm.Point, memory: Tensor) -> Tensor:
            return memory + point.x.mean() * (memory > 0) + 1

    with pytest.raises(LawViolation, match="at step 1 do not depend on neighbours"):
        assert_proposer(Mixing(), normal(*SHAPE))


def test_a_memory_outside_of_the_memory_is_caught() -> None:
    """Random draws count as one: another batch gets others."""

    class Private(lmm.Proposer):
        def __init__(self) -> None:
            super().__init__()
            self.seen = 0

        def observe(self, point: lmm.Point, memory: None) -> None:
            self.seen += 1

        def propose(self, point: lmm.Point, memory: None) -> lmm.Multipliers:
            return lmm.Multipliers(point.x / self.seen)

    for proposer in (Private(), Random()):
        with pytest.raises(LawViolation, match="do not depend on neighbours"):
            assert_proposer(proposer, normal(*SHAPE))


def test_neighbours_are_needed() -> None:
    with pytest.raises(ValueError, match="at least 2 problems"):
        assert_proposer(lmm.proposers.Constant(), normal(1, 3))


# --- memory ------------------------------------------------------------------------------------


class Remembering(Counting):
    """Starts from one memory and goes on with another."""

    def __init__(self, first: Any, then: Any) -> None:
        super().__init__()
        self.first, self.then = first, then

    def init_memory(self, x: Tensor) -> Any:
        return self.first(len(x))

    def observe(self, point: lmm.Point, memory: Any) -> Any:
        return self.then(memory)

    def propose(self, point: lmm.Point, memory: Any) -> lmm.Multipliers:
        return lmm.Multipliers(point.x)


@pytest.mark.parametrize(
    ("first", "then", "law"),
    [
        (lambda batch: torch.zeros(1), lambda m: m, r"batch of 3 first .* got shape \(1,\)"),
        (torch.zeros, lambda m: m.sum(), r"batch of 3 first .* got shape \(\)"),
        (torch.zeros, lambda m: (m, m), "keeps its structure.* at step 0: .* got tuple of"),
        (torch.zeros, lambda m: 1.0, "keeps its structure.* got float 1.0"),
        (torch.zeros, lambda m: None, "keeps its structure.* got None"),
        (torch.zeros, lambda m: m[:, None], "keeps its structure.* changed the shape"),
        (lambda batch: [], lambda m: [m.append(1.0), m][1], "keeps its structure.* list of 0"),
        (lambda batch: 0, lambda m: m + 1, "keeps its structure.* expected int 0, got int 1"),
        (lambda batch: {1, 2}, lambda m: m, "the memory must consist of .* got set"),
        (lambda batch: torch.eye(batch).to_sparse(), lambda m: m, "dense tensors"),
    ],
)
def test_a_memory_that_cannot_be_carried_on_is_caught(first: Any, then: Any, law: str) -> None:
    with pytest.raises(LawViolation, match=law):
        assert_proposer(Remembering(first, then), normal(*SHAPE))


# --- borrowed tensors, and proposing twice -----------------------------------------------------


class Writing(Counting):
    """Writes into something, somewhere."""

    def __init__(self, place: str, what: str) -> None:
        super().__init__()
        self.place, self.what = place, what

    def _write(self, place: str, point: lmm.Point, memory: Any) -> None:
        if place == self.place:
            borrowed = {"x": point.x, "gradient": point.gradient, "memory": memory}
            borrowed["curvature"] = point.curvature.value  # type: ignore[attr-defined]
            borrowed[self.what] += 1

    def init_memory(self, x: Tensor) -> Tensor:
        memory: Tensor = super().init_memory(x)
        if self.place == "init":
            x += 1
        return memory

    def observe(self, point: lmm.Point, memory: Tensor) -> Any:
        self._write("observe", point, memory)
        return super().observe(point, memory)

    def propose(self, point: lmm.Point, memory: Tensor) -> Any:
        self._write("propose", point, memory)
        return super().propose(point, memory)


@pytest.mark.parametrize(
    ("place", "what"),
    [
        ("init", "x"),
        ("observe", "x"),
        ("observe", "gradient"),
        ("observe", "curvature"),
        ("propose", "x"),
        ("propose", "gradient"),
        ("propose", "curvature"),
        ("propose", "memory"),
    ],
)
def test_whoever_writes_into_what_is_shown_is_caught(place: str, what: str) -> None:
    with pytest.raises(LawViolation, match="Writing does not write into what belongs to others"):
        assert_proposer(Writing(place, what), normal(*SHAPE))


def test_the_caller_keeps_what_was_given() -> None:
    x = normal(*SHAPE)
    before = x.clone()
    with pytest.raises(LawViolation):
        assert_proposer(Writing("init", "x"), x)
    assert torch.equal(x, before)


def test_whoever_proposes_something_else_the_second_time_is_caught() -> None:
    class Fickle(lmm.Proposer):
        calls = 0

        def propose(self, point: lmm.Point, memory: None) -> lmm.Step:
            self.calls += 1
            return lmm.Step(point.x * self.calls)

    with pytest.raises(LawViolation, match=r"to propose twice is to propose the same.* at step 0"):
        assert_proposer(Fickle(), normal(*SHAPE))


@pytest.mark.parametrize("honest", [True, False])
def test_who_says_to_remember_points_and_counts_looks_is_caught(honest: bool) -> None:
    class Counting(lmm.Proposer):
        remembers_points = not honest

        def init_memory(self, x: Tensor) -> Tensor:
            return torch.zeros_like(x[:, 0])

        def observe(self, point: lmm.Point, memory: Tensor) -> Tensor:
            return memory + 1

        def propose(self, point: lmm.Point, memory: Tensor) -> lmm.Step:
            return lmm.Step(point.gradient)

    if honest:
        assert_proposer(Counting(), normal(*SHAPE))
    else:
        with pytest.raises(LawViolation, match=r"a point seen again, not so at step 0"):
            assert_proposer(Counting(), normal(*SHAPE))
