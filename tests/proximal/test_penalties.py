"""Penalties: their laws, closed forms, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

import learnmm as lmm
from draws import normal
from learnmm.checks import LawViolation, assert_penalty
from learnmm.proximal import (
    L1,
    Box,
    GroupL2,
    NonNegative,
    Penalty,
    TotalVariation,
    Within,
    bounded,
)

X = normal(3, 4)

PENALTIES: dict[str, Penalty] = {
    "box": Box(-0.5, normal(4, seed=1).abs()),
    "box per problem": Box(-normal(3, 1, seed=2).abs(), None),
    "fixed": Box(torch.tensor([0.3, -torch.inf, 0.0, -1.0]), torch.tensor([0.3, 0.0, 0.0, 1.0])),
    "non-negative": NonNegative(),
    "l1": L1(0.7),
    "l1 per unknown": L1(torch.tensor([0.0, 0.1, 1.0, 10.0], dtype=torch.float64)),
    "l1 per problem": L1(normal(3, 1, seed=3).abs()),
    "l1 from zero on": Within(L1(0.7), NonNegative()),
    "l1 in a box": Within(L1(normal(3, 1, seed=3).abs()), Box(-0.5, normal(4, seed=1).abs())),
    "l1 apart from zero": Within(L1(0.7), Box(0.3, 1.0)),
    "group": GroupL2(1.5),
    "group per problem": GroupL2(normal(3, 1, seed=4).abs()),
}

each = pytest.mark.parametrize("name", PENALTIES)


@each
@settings(max_examples=8)
@given(seed=st.integers(0, 10**6), size=st.sampled_from([1e-3, 1.0, 1e3]))
def test_penalties_keep_their_laws(name: str, seed: int, size: float) -> None:
    penalty = PENALTIES[name]
    x = penalty.feasible(size * normal(3, 4, seed=seed) * (normal(3, 4, seed=seed + 1) > 0))
    assert_penalty(penalty, x, size * normal(3, 4, seed=seed + 2))


class Halved(L1):
    """Thresholds by half of what it should."""

    def prox(self, v: Tensor, weights: Tensor) -> Tensor:
        return super().prox(v, 2 * weights)


class Careless(Box):
    """Takes what points inward at a bound for held."""

    def steepest(self, x: Tensor, gradient: Tensor) -> Tensor:
        return -super().steepest(x, -gradient)


class Sloppy(L1):
    """Mistakes the difference of values for the value."""

    def fall(self, x: Tensor, z: Tensor) -> Tensor:
        return self.value(x)


class Forgetful(L1):
    """Gives all problems the weight of the first."""

    def restricted(self, rows: Tensor, x: Tensor) -> L1:
        return L1(self.weight[:1])


@pytest.mark.parametrize(
    ("wrong", "law"),
    [
        (Halved(1.0), "a prox minimizes"),
        (Careless(0.0, 2.0), "the residual is the steepest way"),
        (Sloppy(1.0), "the fall of a penalty is the difference"),
        (Forgetful(torch.tensor([[1.0], [2.0], [3.0]])), "problem 1 gets what it gets alone"),
    ],
)
def test_the_check_sees_what_is_wrong(wrong: Penalty, law: str) -> None:
    with pytest.raises(LawViolation, match=law):
        assert_penalty(wrong, wrong.feasible(X), normal(3, 4, seed=9))


def test_the_prox_of_a_group_shortens_it() -> None:
    v = torch.tensor([[3.0, 4.0]])
    assert torch.allclose(GroupL2(2.5).prox(v, torch.ones(1, 2)), v / 2)
    assert torch.equal(GroupL2(5.0).prox(v, torch.ones(1, 2)), torch.zeros(1, 2))


def test_norms_of_groups_neither_overflow_nor_vanish() -> None:
    for size in (1e-200, 1e200):
        v = size * torch.tensor([[3.0, 4.0]], dtype=torch.float64)
        assert torch.allclose(GroupL2(1.0).value(v), torch.tensor(5 * size, dtype=v.dtype))


@pytest.mark.parametrize(
    ("parts", "error", "message"),
    [
        ((0.0, torch.nan), ValueError, "bounds: upper must have no NaN, got nan"),
        ((1.0, 0.0), ValueError, "lower must be at most upper, .* got 1 and 0"),
        ((torch.inf, torch.inf), ValueError, "some number between them, got inf and inf"),
        ((torch.zeros(2), torch.ones(3)), ValueError, r"must broadcast, got shapes \(2,\) and"),
        (("0", 1.0), TypeError, "lower must be a number, a tensor or an array, got '0'"),
        ((torch.zeros(2, dtype=torch.int64), 1.0), TypeError, "floating-point numbers, got torch"),
    ],
)
def test_bounds_that_are_none(parts: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        bounded(parts)


@pytest.mark.parametrize("bounds", [3.0, (0.0,), [(0, 1), (0, 1), (0, 1)]])
def test_bounds_are_a_pair(bounds: Any) -> None:
    with pytest.raises(TypeError, match=r"bounds must be a pair \(lower, upper\), got"):
        bounded(bounds)


@pytest.mark.parametrize(
    ("weight", "error", "message"),
    [
        (-1.0, ValueError, "weight must be finite and not negative, got -1"),
        (torch.nan, ValueError, "weight must be finite"),
        ("1", TypeError, "weight must be a number, a tensor or an array, got '1'"),
        (True, TypeError, "weight must be a number"),
        (
            torch.ones(2, dtype=torch.int64),
            TypeError,
            "weight must be floating-point numbers",
        ),
    ],
)
@pytest.mark.parametrize("penalty", [L1, GroupL2])
def test_weights_that_are_none(
    penalty: Any, weight: Any, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=f"{penalty.__name__}: {message}"):
        penalty(weight)


@pytest.mark.parametrize(
    ("penalty", "message"),
    [
        (Box(torch.zeros(3)), r"bounds: lower must broadcast to \(3, 4\), got shape \(3,\)"),
        (Box(None, torch.zeros(2, 3, 4)), r"bounds: upper must broadcast to \(3, 4\)"),
        (L1(torch.ones(3)), r"L1: weight must broadcast to \(3, 4\), got shape \(3,\)"),
        (GroupL2(torch.ones(4)), r"GroupL2: weight must broadcast to \(3, 1\)"),
        (GroupL2(1.0, (-2, -1)), r"GroupL2: dim \(-2, -1\) is none of one problem, \(3, 4\)"),
    ],
)
def test_shapes_that_do_not_fit(penalty: Penalty, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        penalty.check(X)


def test_bounds_that_a_dtype_does_not_reach() -> None:
    with pytest.raises(ValueError, match="float32 has no number between lower and upper"):
        Box(1e300, None).check(X.float())


def test_groups_lie_along_dimensions_counted_from_the_last() -> None:
    with pytest.raises(ValueError, match="dim counts from the last, as -1 does, got 1"):
        GroupL2(1.0, 1)


@pytest.mark.parametrize(
    ("penalty", "shape"),
    [
        (TotalVariation(0.3), (5,)),
        (TotalVariation(0.3, (-2, -1)), (3, 4)),
        (GroupL2(0.3), (5,)),
        (GroupL2(0.3, (-2, -1)), (3, 4)),
        (Box(normal(5), 2.0), (5,)),
        (L1(normal(5).abs()), (5,)),
    ],
)
def test_one_problem_needs_no_dimension_of_a_batch(penalty: Any, shape: Any) -> None:
    y = normal(1, *shape, seed=2)
    batch = lmm.minimize(lambda x: (x - y).square().flatten(1).sum(1), 0 * y, penalty=penalty)
    alone = lmm.minimize(lambda x: (x - y[0]).square().sum(), 0 * y[0], penalty=penalty)
    assert torch.equal(alone.x, batch.x[0])
