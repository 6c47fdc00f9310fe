"""Iterates keep their dtype, values are never below float32, autocast reaches networks alone."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

import learnmm as lmm
from adversaries import Curvatures
from catalogue import ATOMS, PROPOSERS, AtomCase, Draw

MIXED = {
    "value": lambda x: (x.double() ** 2).sum(1),
    "curvature": lambda x: (x**2).sum(1),
}


@pytest.mark.parametrize("wide", MIXED)
def test_iterates_keep_their_dtype(wide: str) -> None:
    dtype = torch.float64 if wide == "curvature" else torch.float32
    majorant = Curvatures(lambda x: torch.full((2,), 4.0, dtype=dtype))
    seen = set()
    result = lmm.minimize(
        MIXED[wide],
        torch.ones(2, 3),
        majorant=majorant,
        proposer=lmm.proposers.Constant(initial=0.5),
        callback=lambda state, info: seen.add((state.x.dtype, state.gradient.dtype)),
    )
    assert seen == {(torch.float32, torch.float32)}
    assert result.x.dtype == torch.float32
    assert result.success.all()


def test_values_are_never_below_float32() -> None:
    result = lmm.minimize(
        lambda x: (x * x).sum(1).bfloat16(),
        torch.ones(2, 3),
        settings=lmm.SolveSettings(max_iter=3),
    )
    assert result.fun.dtype == torch.float32


@pytest.mark.parametrize("case", ATOMS, ids=lambda case: case.name)
def test_autocast_changes_nothing_in_the_loop(case: AtomCase) -> None:
    data = Draw(3, torch.float32)
    optimizer = lmm.ProjectedMMOptimizer(
        case.build(data), settings=lmm.SolveSettings(max_iter=5, gtol=0)
    )
    plain = optimizer.minimize(case.point(data))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        cast = optimizer.minimize(case.point(data))
    assert torch.equal(plain.x, cast.x)
    assert torch.equal(plain.fun, cast.fun)


MATRIX = Draw(3, torch.float32).matrix()


def fourth_powers(x: Tensor) -> Tensor:
    """With a product that autocast would round."""
    return ((x @ MATRIX.mT) ** 4).sum(1)


class Projecting:
    """An adaptive majorant that multiplies matrices wherever it is asked."""

    def init_memory(self, x: Tensor, gradient: Tensor) -> Tensor:
        return 10 + (gradient @ MATRIX.mT).square().sum(1).sqrt()

    def observe(self, move: Tensor, change: Tensor, memory: Tensor) -> Tensor:
        return memory + 10 * (move @ MATRIX.mT).square().sum(1)

    def __call__(self, x: Tensor, aux: Any = None, memory: Any = None) -> lmm.Bound:
        level = memory + (x @ MATRIX.mT).square().sum(1)
        return lmm.Bound(lmm.Kind.ESTIMATE, lmm.curvature.ScalarCurvature(level))


MAJORANTS = {
    "default": None,
    "lanczos": lmm.majorants.LanczosMajorant(fourth_powers),
    "secant": lmm.majorants.SecantMajorant(fourth_powers),
    "adaptive": Projecting(),
}


@pytest.mark.parametrize("name", MAJORANTS)
@pytest.mark.parametrize("proposer", [None, lmm.LimitedMemory()], ids=["own", "memory"])
def test_autocast_changes_no_bound(name: str, proposer: lmm.Proposer | None) -> None:
    """Neither at the start, nor along the steps, nor what an adaptive majorant remembers."""
    optimizer = lmm.ProjectedMMOptimizer(
        fourth_powers,
        majorant=MAJORANTS[name],
        proposer=proposer,
        settings=lmm.SolveSettings(max_iter=5, gtol=0),
    )
    x0 = Draw(3, torch.float32).point()
    torch.manual_seed(0)
    plain = optimizer.minimize(x0)
    torch.manual_seed(0)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        cast = optimizer.minimize(x0)
    assert torch.equal(plain.x, cast.x)
    assert torch.equal(plain.certificate.accepted, cast.certificate.accepted)


def test_autocast_reaches_the_proposer_alone() -> None:
    data = Draw(3, torch.float32)
    case = PROPOSERS[-1]
    torch.manual_seed(0)
    optimizer = lmm.ProjectedMMOptimizer(
        lmm.least_squares(data.matrix(), data.target(4, 3)),
        proposer=case.build(torch.float32),
        settings=lmm.SolveSettings(max_iter=5, gtol=0),
    )
    plain = optimizer.minimize(data.point(*case.shape))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        cast = optimizer.minimize(data.point(*case.shape))
    assert cast.x.dtype == torch.float32
    assert cast.certificate.monotone.all()
    assert not torch.equal(plain.x, cast.x)
