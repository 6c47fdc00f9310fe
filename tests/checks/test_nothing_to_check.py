"""A check that has nothing to check is refused: it would pass whatever it is given."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor

import learnmm as lmm
from learnmm import checks
from learnmm.curvature import ScalarCurvature
from learnmm.proximal import L1

X = torch.ones(2, 3, dtype=torch.float64)
TOO_SMALL = lmm.majorants.LipschitzMajorant(1e-3)
MAP = lmm.linear.MatrixMap(X)


def square(x: Tensor) -> Tensor:
    return x.square().flatten(1).sum(1)


def coupled(x: Tensor) -> Tensor:
    return square(x) * x.sum()


def optimizer() -> lmm.ProjectedMMOptimizer:
    return lmm.ProjectedMMOptimizer(square)


Check = Callable[[Tensor], Any]
FINITE: dict[str, Check] = {
    "majorant": lambda x: checks.assert_majorant(TOO_SMALL, square, x),
    "gradient": lambda x: checks.assert_gradient(square, x),
    "independent": lambda x: checks.assert_independent(coupled, x),
    "proposer": lambda x: checks.assert_proposer(lmm.LimitedMemory(), x),
    "descent": lambda x: checks.assert_descent(optimizer(), x),
    "unmodified": lambda x: checks.assert_unmodified(optimizer(), x),
    "penalty": lambda x: checks.assert_penalty(L1(), x, x),
    "rays": lambda x: checks.assert_rays(square, x),
}
OF_A_SHAPE: dict[str, Check] = {
    "adjoint": lambda x: checks.assert_adjoint(MAP, x),
    "dominates": lambda x: checks.assert_dominates(ScalarCurvature(X[:, 0]), MAP, x),
    "curvature": lambda x: checks.assert_curvature(ScalarCurvature(X[:, 0]), x),
    "interval": lambda x: checks.assert_interval(lmm.Projection(), ScalarCurvature(X[:, 0]), x),
}
ALL = FINITE | OF_A_SHAPE


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("x", [X[:0], X[:, :0]], ids=["no problem", "no unknown"])
def test_no_points(name: str, x: Tensor) -> None:
    with pytest.raises(ValueError, match=r"nothing is checked|empty"):
        ALL[name](x)


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("x", [[[1.0, 2.0]], X.long(), None], ids=["list", "integers", "none"])
def test_no_numbers(name: str, x: Any) -> None:
    with pytest.raises(TypeError, match=r"must be|must have|takes a tensor"):
        ALL[name](x)


@pytest.mark.parametrize("name", FINITE)
@pytest.mark.parametrize("number", [math.nan, math.inf])
def test_points_that_are_not_finite(name: str, number: float) -> None:
    """Neither all of them nor one: beside it the others would be checked, and it would pass."""
    for x in (number * X, torch.cat([X, number * X])):
        with pytest.raises(ValueError, match="NaN or infin"):
            FINITE[name](x)


def test_a_function_that_is_not_finite() -> None:
    for wrong in (lambda x: math.nan * square(x), lambda x: 1 / square(x - X)):
        with pytest.raises(ValueError, match="where f and its gradient are finite"):
            checks.assert_majorant(TOO_SMALL, wrong, X)


@pytest.mark.parametrize("name", ["independent", "proposer"])
def test_one_problem_depends_on_no_other(name: str) -> None:
    with pytest.raises(ValueError, match="at least 2 problems"):
        FINITE[name](X[:1])


@pytest.mark.parametrize("count", [0, -1, 2.5, math.nan, None, True, "3"])
def test_no_steps(count: Any) -> None:
    curvature, problem = ScalarCurvature(X[:, 0]), lmm.problem("quadratic")
    made: list[tuple[str, Callable[[], Any]]] = [
        ("points", lambda: checks.assert_majorant(TOO_SMALL, square, X, points=count)),
        ("steps", lambda: checks.assert_descent(optimizer(), X, steps=count)),
        ("steps", lambda: checks.assert_unmodified(optimizer(), X, steps=count)),
        ("steps", lambda: checks.assert_proposer(lmm.LimitedMemory(), X, steps=count)),
        ("steps", lambda: checks.assert_dominates(curvature, MAP, X, steps=count)),
        ("steps", lambda: checks.assert_problem(problem, steps=count)),
        ("batch", lambda: checks.assert_problem(problem, batch=count)),
    ]
    if count != 0:  # random points alone are a search
        made += [
            (
                "search_steps",
                partial(checks.assert_majorant, TOO_SMALL, square, X, search_steps=count),
            )
        ]
    for name, check in made:
        with pytest.raises(ValueError, match=f"{name} must be an integer of at least"):
            check()


@pytest.mark.parametrize("count", [1, 0, None, 2.5])
def test_a_batch_of_one_has_no_neighbours(count: Any) -> None:
    with pytest.raises(ValueError, match="batch must be an integer of at least 2"):
        checks.assert_batch_independent(lambda _: (optimizer(), X), count)
