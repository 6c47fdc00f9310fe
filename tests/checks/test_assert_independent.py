"""The law of independent problems: whoever sees another one is found, whichever it is."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

import learnmm as lmm
from learnmm.checks import LawViolation, assert_independent

SPREAD = torch.arange(1.0, 15.0, dtype=torch.float64).reshape(7, 2)


def mean_of_all(x: Tensor) -> Tensor:
    return ((x - x.mean(0)) ** 2).sum(1) + (x**2).sum(1)


def batch_norm(x: Tensor) -> Tensor:
    return (torch.nn.functional.batch_norm(x, None, None, training=True) ** 2 * x).sum(1)


def largest_of_all(x: Tensor) -> Tensor:
    size = (x**2).sum(1)
    return size + size.max()


def one_sees(i: int, j: int) -> Callable[[Tensor], Tensor]:
    """Only problem i sees another one, which is j."""

    def fun(x: Tensor) -> Tensor:
        seen = torch.zeros(len(x), dtype=x.dtype)
        seen[i] = 1
        return (x**2).sum(1) + seen * x[j].sum()

    return fun


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(
    ("fun", "who"),
    [
        (mean_of_all, r"\[0, 1, 2, 3, 4, 5, 6\]"),
        (batch_norm, r"\[0, 1, 2, 3, 4, 5, 6\]"),
        (largest_of_all, r"\[0, 1, 2, 3, 4, 5\]"),
        *((one_sees(i, j), rf"\[{i}\]") for i in range(7) for j in range(7) if i != j),
    ],
)
def test_coupled_problems_are_found(
    fun: Callable[[Tensor], Tensor], who: str, dtype: torch.dtype
) -> None:
    with pytest.raises(LawViolation, match=f"independent, but the values of problems {who} change"):
        assert_independent(fun, SPREAD.to(dtype))


def test_objectives_are_taken_too() -> None:
    with pytest.raises(LawViolation, match="independent"):
        assert_independent(lmm.objective.CallableObjective(mean_of_all), SPREAD)


def test_many_coupled_problems_are_not_all_listed() -> None:
    with pytest.raises(LawViolation, match=r"7, 8, 9\] \.\.\. change"):
        assert_independent(mean_of_all, torch.rand(30, 2))


@pytest.mark.parametrize("batch", [2, 3, 5, 8])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_independent_problems_pass(batch: int, dtype: torch.dtype) -> None:
    generator = torch.Generator().manual_seed(batch)
    x0 = 3 + torch.rand(batch, 4, generator=generator, dtype=torch.float64).to(dtype)
    target = torch.rand(batch, 6, generator=generator, dtype=torch.float64).to(dtype)
    matrix = torch.rand(6, 4, generator=generator, dtype=torch.float64).to(dtype)
    for objective in (
        lmm.CosineDistance(target) @ matrix,
        lambda x: x[:, 0].log() + (x**2).sum(1),
        lambda x: torch.where(x[:, 0] < 4, (x**2).sum(1), torch.nan),
    ):
        assert_independent(objective, x0)


def test_a_start_at_the_border_is_moved_less() -> None:
    """Beyond it the objective raises; problems still are told apart."""

    def fun(x: Tensor) -> Tensor:
        if bool(((x - 1).abs() > 1e-3).any()):
            raise ValueError("outside")
        return mean_of_all(x)

    x0 = torch.ones(3, 2, dtype=torch.float64) + 1e-4 * torch.eye(3, 2, dtype=torch.float64)
    with pytest.raises(LawViolation, match=r"problems \[0, 1, 2\] change"):
        assert_independent(fun, x0)


def test_errors_of_an_objective_stay_its_own() -> None:
    calls = iter([False, True])

    def fun(x: Tensor) -> Tensor:
        if next(calls):
            raise KeyError("mine")
        return (x**2).sum(1)

    with pytest.raises(KeyError, match="mine"):
        assert_independent(fun, SPREAD)


def test_the_start_is_left_alone() -> None:
    def fun(x: Tensor) -> Tensor:
        value = (x.clone() ** 2).sum(1)
        x.detach().zero_()
        return value

    x0 = SPREAD.clone()
    assert_independent(fun, x0)
    assert torch.equal(x0, SPREAD)
