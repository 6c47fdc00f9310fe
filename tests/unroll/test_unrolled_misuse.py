"""Settings of a pass that cannot work are refused, when it is made or when it is called."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

import learnmm as lmm
from unrolling import Energy, data


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"backward": "reverse"}, ValueError, "backward must be .*, got 'reverse'"),
        ({"backward": "truncated"}, ValueError, "window goes with 'truncated', got 'truncated'"),
        ({"steps": 0}, ValueError, "steps must be an integer of at least 1, got 0"),
        ({"steps": 2.0}, ValueError, "steps must be an integer of at least 1, got 2.0"),
        ({"start": 3}, TypeError, "start must map data to iterates, got int"),
        ({"modules": [3]}, TypeError, "modules must be nn.Module, got int"),
        ({"settings": {"gtol": 0}}, TypeError, "settings must be SolveSettings, got dict"),
        (
            {"settings": lmm.SolveSettings(max_iter=3)},
            ValueError,
            "UnrolledMM takes steps= in place of max_iter=3",
        ),
        (
            {"proposer": nn.Linear(2, 2)},
            TypeError,
            "proposer must be a Proposer or None, got Linear",
        ),
        (
            {
                "backward": "checkpoint",
                "majorant": lmm.majorants.LanczosMajorant(torch.sum, generator=torch.Generator()),
            },
            ValueError,
            "must not draw from a generator of its own",
        ),
    ],
)
def test_misuse_is_refused_at_construction(
    options: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        lmm.UnrolledMM(Energy(), **options)


def test_an_energy_maps_data() -> None:
    with pytest.raises(TypeError, match="energy must map data to an objective, got int"):
        lmm.UnrolledMM(3)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"path": "reverse"}, ValueError, "backward must be .*, got 'reverse'"),
        ({"window": 3}, ValueError, "window goes with 'truncated', got 'unroll' and 3"),
        ({"path": "implicit", "window": 3}, ValueError, "got 'implicit' and 3"),
        ({"path": "truncated"}, ValueError, "got 'truncated' and None"),
        ({"path": "truncated", "window": 0}, ValueError, "window must be at least 1, got 0"),
        ({"keep_iterates": "last"}, TypeError, "keep_iterates must be True or False, got 'last'"),
    ],
)
def test_ways_back_that_there_are_not(
    options: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        lmm.Backward(**options)


def test_a_name_stands_for_a_way_back() -> None:
    assert lmm.UnrolledMM(Energy(), backward="checkpoint").backward == lmm.Backward("checkpoint")


def test_misuse_is_refused_at_the_call() -> None:
    solver = lmm.UnrolledMM(Energy())
    y, x0 = data()
    with pytest.raises(ValueError, match="give x0, or start="):
        solver(y)
    with pytest.raises(ValueError, match="steps must be an integer of at least 1, got -1"):
        solver(y, x0, steps=-1)


@pytest.mark.parametrize("given", [None, 1e-3])
def test_tolerances_end_nothing_unless_they_are_given(given: float | None) -> None:
    """A problem that has converged goes on with its batch."""
    solver = lmm.UnrolledMM(
        lambda y: lmm.Quadratic(y), steps=3, settings=lmm.SolveSettings(gtol=given)
    )
    y, _ = data()
    solved = solver(y, y + 1e-4)
    assert solver.settings.gtol == (given or 0.0)
    assert bool(solved.steps.accepted[0].any()) is (given is None)
