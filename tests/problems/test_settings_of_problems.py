"""Settings of problems: what is none is refused when it is given, by its name."""

from __future__ import annotations

import math
from dataclasses import fields
from typing import Any

import numpy as np
import pytest

import learnmm as lmm
from learnmm.registry import problems
from learnmm_problems.checked import CheckedProblem

PROBLEMS = [p for p in map(lmm.problem, problems()) if isinstance(p, CheckedProblem)]
NONE: dict[str, tuple[Any, ...]] = {
    "int": (0, -1, 2.5, "3", math.nan, True, None, math.inf),
    "int | None": (-1, 2.5, "3", math.nan, True),
    "float": (math.nan, math.inf, "3", None, True, -1e-3),
    "bool": (0, "yes", None),
}
SIGNED = {"angle", "offset"}
CASES = [
    pytest.param(problem, field.name, value, id=f"{problem.name}-{field.name}-{value}")
    for problem in PROBLEMS
    for field in fields(problem)  # type: ignore[arg-type]
    for value in NONE.get(str(field.type), ())
    if not (field.name in SIGNED and value == -1e-3)
]


@pytest.mark.parametrize(("problem", "name", "value"), CASES)
def test_what_is_no_setting_is_refused_by_name(problem: Any, name: str, value: Any) -> None:
    with pytest.raises(ValueError, match=f"{name}|has .* unknowns"):
        lmm.problem(problem.name, **{name: value})


@pytest.mark.parametrize("problem", PROBLEMS, ids=lambda problem: problem.name)
def test_numbers_of_numpy_are_settings(problem: Any) -> None:
    same = {
        field.name: np.asarray(getattr(problem, field.name))[()]
        for field in fields(problem)
        if isinstance(getattr(problem, field.name), int | float)
    }
    assert lmm.problem(problem.name, **same) == problem
    assert repr(lmm.problem(problem.name, **same)) == repr(problem)
