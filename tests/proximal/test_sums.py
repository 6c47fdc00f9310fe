"""An objective and a penalty, added as they are written."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import learnmm as lmm
from draws import normal
from learnmm.proximal import L1, Box, GroupL2, NonNegative, Penalty, TotalVariation, Within

FIT = lmm.least_squares(normal(12, 8), normal(2, 12, seed=1))
RIDGE = 0.5 * lmm.Quadratic(torch.zeros(2, 8, dtype=torch.float64))
START = torch.zeros(2, 8, dtype=torch.float64)


def test_a_sum_is_minimized_as_both_are() -> None:
    expected = lmm.minimize(FIT + RIDGE, START, penalty=L1(0.6))
    for energy in (
        FIT + RIDGE + 0.3 * L1(2.0),
        L1(0.6) + FIT + RIDGE,
        RIDGE + (FIT + L1(0.2) * 3),
    ):
        assert torch.allclose(energy(expected.x), expected.fun, rtol=1e-14)
        for found in (
            lmm.minimize(energy, START),
            lmm.ProjectedMMOptimizer(energy, proposer=lmm.LimitedMemory()).minimize(START),
        ):
            assert torch.allclose(found.fun, expected.fun, rtol=1e-9)
            assert bool(found.success.all())


def test_bounds_come_on_top() -> None:
    found = lmm.minimize(FIT + L1(0.6), START, bounds=(0, None))
    # On non-negative unknowns the norm is linear.
    lifted = lmm.minimize(lambda x: FIT(x) + 0.6 * x.sum(1), START, bounds=(0, None))
    assert bool((found.x >= 0).all())
    assert torch.allclose(found.fun, lifted.fun, rtol=1e-9)


@pytest.mark.parametrize(
    "penalty",
    [L1(2.0), GroupL2(2.0), TotalVariation(2.0, accuracy=1e-3), Within(L1(2.0), Box(-9.0, 9.0))],
)
def test_a_penalty_times_a_number(penalty: Penalty) -> None:
    x = normal(2, 8)
    assert torch.allclose((0.25 * penalty).value(x), 0.25 * penalty.value(x), rtol=1e-14)
    assert not (penalty * 0).value(x).any()
    kept = {k: v for k, v in vars(penalty).items() if k not in ("weight", "penalty", "box")}
    assert {k: v for k, v in vars(3 * penalty).items() if k in kept} == kept


def test_bounds_times_a_number_are_bounds() -> None:
    assert isinstance(0 * NonNegative(), NonNegative)


@pytest.mark.parametrize(
    ("wrong", "error", "message"),
    [
        (lambda: FIT + L1() + L1(), TypeError, "takes one penalty, .* sum of L1 and Penalized"),
        (lambda: L1() + NonNegative(), TypeError, "takes one penalty, .* sum of L1 and NonNeg"),
        (lambda: lmm.minimize(FIT + L1(), START, penalty=L1()), ValueError, "and takes one: got"),
        (lambda: -1 * L1(), ValueError, "factor of a penalty must be finite and not neg.* got -1"),
        (lambda: float("nan") * L1(), ValueError, "factor of a penalty must be finite"),
        (lambda: torch.ones(2) * L1(), TypeError, "unsupported operand"),
        (lambda: L1() + 3, TypeError, "unsupported operand"),
    ],
)
def test_what_is_no_sum(wrong: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        wrong()


def test_gradients_flow_through_steps_with_a_penalty() -> None:
    y = normal(2, 12, seed=1)
    matrix = normal(12, 8)

    def last(y: Any) -> Any:
        solver = lmm.UnrolledMM(lambda y: lmm.least_squares(matrix, y) + 3.0 * L1(), steps=4)
        return solver(y, START).x

    assert torch.autograd.gradcheck(last, y.clone().requires_grad_())
    assert int((last(y) == 0).sum()) > 0
    solver = lmm.UnrolledMM(lambda y: FIT + L1(), steps=2, backward="implicit")
    with pytest.raises(ValueError, match=r"vanishing gradient, which a penalty does not .* got L1"):
        solver(y, START)
