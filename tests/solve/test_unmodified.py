"""The law of borrowed tensors: it names who writes, and nothing in the library does."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import learnmm as lmm
from catalogue import ATOMS, PROPOSERS, AtomCase, Draw, ProposerCase
from learnmm import checks
from writers import (
    DTYPE,
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

WRITERS: dict[str, Callable[[Write], Any]] = {
    "multipliers-point": lambda write: {"proposer": Writing(write, "point")},
    "multipliers-proposing": lambda write: {"proposer": Writing(write, "proposing")},
    "step-point": lambda write: {"proposer": Writing(write, "point", whole=True)},
    "step-proposing": lambda write: {"proposer": Writing(write, "proposing", whole=True)},
    "step-curvature": lambda write: {
        "proposer": Writing(write, "curvature", whole=True),
        "majorant": WritingMajorant(add, "nowhere"),
    },
    "majorant-call": lambda write: {"majorant": WritingMajorant(write, "call")},
    "adaptive-gradient": lambda write: {"majorant": WritingAdaptive(write, "gradient")},
    "adaptive-observe": lambda write: {"majorant": WritingAdaptive(write, "observe")},
    "adaptive-call": lambda write: {"majorant": WritingAdaptive(write, "call")},
}


@by_write
@pytest.mark.parametrize("name", WRITERS)
def test_the_law_names_who_writes(write: Write, name: str) -> None:
    parts = WRITERS[name](write)
    culprit = type(parts.get("proposer") or parts["majorant"]).__name__
    optimizer = lmm.ProjectedMMOptimizer(quadratic, **parts)
    with pytest.raises(checks.LawViolation, match=f"{culprit} does not write"):
        checks.assert_unmodified(optimizer, X0)


@by_write
@pytest.mark.parametrize("whole", [False, True], ids=["multipliers", "step"])
def test_a_memory_may_be_written_to_where_it_is_observed(write: Write, whole: bool) -> None:
    proposer = Writing(write, "memory", whole=whole)
    checks.assert_unmodified(lmm.ProjectedMMOptimizer(quadratic, proposer=proposer), X0)


def test_buffers_that_are_used_again_are_found() -> None:
    optimizer = lmm.ProjectedMMOptimizer(Buffered(), majorant=lmm.majorants.LipschitzMajorant(0.5))
    with pytest.raises(checks.LawViolation, match="objective Buffered, evaluated again, does not"):
        checks.assert_unmodified(optimizer, X0)


def test_other_laws_see_writes_too() -> None:
    with pytest.raises(checks.LawViolation, match="WritingMajorant does not write"):
        checks.assert_majorant(WritingMajorant(add, "call"), quadratic, X0)
    for place in ("start", "point", "curvature", "proposing"):
        with pytest.raises(checks.LawViolation, match="Writing does not write"):
            checks.assert_proposer(Writing(add, place), X0)
    checks.assert_proposer(Writing(add, "memory"), X0)
    with pytest.raises(checks.LawViolation, match="the objective LateWriter does not write"):
        checks.assert_majorant(lmm.majorants.LipschitzMajorant(2.0), LateWriter(), X0)


@pytest.mark.parametrize("case", ATOMS, ids=lambda case: case.name)
def test_no_atom_writes(case: AtomCase) -> None:
    data = Draw(3, DTYPE)
    optimizer = lmm.ProjectedMMOptimizer(case.build(data))
    checks.assert_unmodified(optimizer, case.point(data))


@pytest.mark.parametrize("case", PROPOSERS, ids=lambda case: case.name)
def test_no_proposer_writes(case: ProposerCase) -> None:
    data = Draw(3, DTYPE)
    atom = lmm.Quadratic(data.target(*case.shape))
    optimizer = lmm.ProjectedMMOptimizer(atom, proposer=case.build(DTYPE))
    checks.assert_unmodified(optimizer, data.point(*case.shape))


@pytest.mark.parametrize(
    "make",
    [
        lmm.majorants.SecantMajorant,
        lmm.majorants.LanczosMajorant,
        lmm.majorants.PowerIterationMajorant,
    ],
)
def test_no_majorant_writes(make: Any) -> None:
    optimizer = lmm.ProjectedMMOptimizer(quadratic, majorant=make(quadratic))
    checks.assert_unmodified(optimizer, X0)
