"""Optimizers, states and results can be pickled and copied, and go on with the same steps."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor

import learnmm as lmm
from catalogue import ATOMS, PROPOSERS, AtomCase, Draw, ProposerCase
from learnmm.nested import tensors_of

DATA = Draw(2, torch.float64)
BRIEF = lmm.SolveSettings(max_iter=4)


def pickled(thing: Any) -> Any:
    return pickle.loads(pickle.dumps(thing))


by_copy = pytest.mark.parametrize("copied", [pickled, copy.deepcopy, copy.copy])
Copy = Callable[[Any], Any]


def valley(x: Tensor) -> Tensor:
    return 10 * (x[:, 1:] - x[:, :-1] ** 2).square().sum(1) + (1 - x).square().sum(1)


def alone(x: Tensor) -> Tensor:
    return valley(x[None])[0]


def assert_goes_on(optimizer: lmm.ProjectedMMOptimizer, x0: Tensor, copied: Copy) -> None:
    """Fresh, and after a run that has kept what it computed."""
    for _ in range(2):
        other = copied(optimizer)
        torch.manual_seed(0)
        result = optimizer.minimize(x0, history=True)
        torch.manual_seed(0)
        again = other.minimize(x0, history=True)
        assert torch.equal(again.x, result.x)
        assert torch.equal(again.history.accepted, result.history.accepted)
    twin = copied(result)
    assert torch.equal(twin.x, result.x)
    assert str(twin.certificate) == str(result.certificate)
    assert twin.message() == result.message()


@by_copy
@pytest.mark.parametrize(
    "case", [case for case in ATOMS if case.name != "huber-products"], ids=lambda case: case.name
)
def test_atoms(case: AtomCase, copied: Copy) -> None:
    """All but the one whose products are lambdas of the test."""
    optimizer = lmm.ProjectedMMOptimizer(case.build(DATA), settings=BRIEF)
    assert_goes_on(optimizer, case.point(DATA), copied)
    state = optimizer.init(case.point(DATA))
    for mine, its in zip(tensors_of(state), tensors_of(copied(state)), strict=True):
        assert torch.equal(mine, its)


@by_copy
@pytest.mark.parametrize("case", PROPOSERS, ids=lambda case: case.name)
def test_proposers(case: ProposerCase, copied: Copy) -> None:
    torch.manual_seed(0)
    atom = lmm.HalfQuadratic(DATA.target(*case.shape), "cauchy")
    optimizer = lmm.ProjectedMMOptimizer(atom, proposer=case.build(torch.float64), settings=BRIEF)
    assert_goes_on(optimizer, DATA.point(*case.shape), copied)


@by_copy
@pytest.mark.parametrize("fun", [valley, alone])
@pytest.mark.parametrize(
    "majorant", [lmm.majorants.LanczosMajorant, lmm.majorants.SecantMajorant, None]
)
def test_functions(fun: Any, majorant: Any, copied: Copy) -> None:
    x0 = DATA.point() if fun is valley else DATA.point()[0]
    given = None if majorant is None else majorant(valley)
    optimizer = lmm.ProjectedMMOptimizer(fun, majorant=given, settings=BRIEF)
    assert_goes_on(optimizer, x0, copied)


@pytest.mark.parametrize(("fun", "copied"), [(valley, pickled), (alone, copy.deepcopy)])
def test_optimizers_that_have_compiled(
    fun: Any, copied: Copy, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.compiler.reset()
    x0 = DATA.point() if fun is valley else DATA.point()[0]
    optimizer = lmm.ProjectedMMOptimizer(
        fun,
        majorant=lmm.majorants.LipschitzMajorant(300.0),
        proposer=lmm.LimitedMemory(2),
        settings=BRIEF,
    )
    with monkeypatch.context() as patched:
        patched.setattr(torch, "compile", partial(torch.compile, backend="eager"))
        result = optimizer.minimize(x0, compiled=True)
        again = copied(optimizer).minimize(x0, compiled=True)
    assert torch.equal(again.x, result.x)


@by_copy
def test_unrolled_solvers(copied: Copy) -> None:
    solver = lmm.UnrolledMM(lmm.Quadratic, lmm.proposers.CoordinatewiseLSTM(3).double(), steps=3)
    y, x0 = DATA.target(), DATA.point()
    assert torch.equal(copied(solver)(y, x0).x, solver(y, x0).x)


def test_a_deep_copy_shares_nothing_that_is_sparse() -> None:
    matrix = torch.eye(3, dtype=torch.float64).to_sparse_csr()
    linear = lmm.linear.MatrixMap(matrix, form="separable")
    twin = copy.deepcopy(linear)
    twin.matrix.values().zero_()
    assert linear.matrix.values().tolist() == [1, 1, 1]
