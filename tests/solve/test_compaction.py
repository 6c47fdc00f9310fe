"""Finished problems leave the batch, and nothing else changes."""

from __future__ import annotations

from collections.abc import Callable
from unittest.mock import patch

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

import learnmm as lmm
from catalogue import ATOMS, AtomCase, Draw
from learnmm.checks.laws import require_equal
from learnmm.nested import tensors_of
from learnmm.solve import compaction
from learnmm.vectors import norm

DTYPE = torch.float64


def valley(x: Tensor) -> Tensor:
    return (100 * (x[:, 1:] - x[:, :-1] ** 2) ** 2 + (1 - x[:, :-1]) ** 2).sum(1)


def starts(batch: int, seed: int = 0, unknowns: int = 3) -> Tensor:
    """Some at the end of the valley, some close to it, some far away."""
    generator = torch.Generator().manual_seed(seed)
    away = 10 ** (8 * torch.rand(batch, 1, generator=generator, dtype=DTYPE) - 7)
    away[torch.rand(batch, generator=generator) < 0.2] = 0
    return 1 + away * torch.randn(batch, unknowns, generator=generator, dtype=DTYPE)


class Counting:
    """A function of a batch that counts the problems it is asked about."""

    def __init__(self, fun: Callable[[Tensor], Tensor]) -> None:
        self.fun, self.asked = fun, [0]
        self.asked.clear()

    def __call__(self, x: Tensor) -> Tensor:
        self.asked.append(len(x))
        return self.fun(x)


def minimized(
    objective: object, x0: Tensor, *, packed: bool, strict: bool = True, **how: object
) -> tuple[lmm.Result, list[lmm.State]]:
    """Result, and what a callback sees, if one is asked for."""
    seen: list[lmm.State] = []
    watched = how.pop("watched", False)
    optimizer = lmm.ProjectedMMOptimizer(objective, **{"proposer": lmm.LimitedMemory()} | how)
    callback = (lambda state, info: seen.append((state, info))) if watched else None
    with patch.object(compaction, "SHARE", compaction.SHARE if packed else 0.0):
        torch.manual_seed(0)
        result = optimizer.minimize(x0, history=True, strict=strict, callback=callback)
    return result, seen


def assert_same(one: lmm.Result, other: lmm.Result) -> None:
    """To the bit, for objectives whose sums do not depend on the number of problems."""
    assert one.raised == other.raised
    for a, b in ((vars(one), vars(other)), (vars(one.certificate), vars(other.certificate))):
        for name, value in a.items():
            for mine, its in zip(tensors_of(value), tensors_of(b[name]), strict=True):
                assert torch.equal(torch.nan_to_num(mine), torch.nan_to_num(its)), name
    assert (one.certificate.kind, one.certificate.projected) == (
        other.certificate.kind,
        other.certificate.projected,
    )


@settings(max_examples=6)
@given(
    batch=st.integers(1, 24),
    seed=st.integers(0, 1000),
    proposer=st.sampled_from([None, lmm.LimitedMemory(), lmm.LimitedMemory(3)]),
    limit=st.sampled_from([1, 7, 25]),
)
def test_a_run_is_the_one_in_which_nobody_leaves(
    batch: int, seed: int, proposer: lmm.Proposer | None, limit: int
) -> None:
    how = {"proposer": proposer, "settings": lmm.SolveSettings(max_iter=limit)}
    fun, x0 = Counting(valley), starts(batch, seed)
    assert_same(
        minimized(fun, x0, packed=True, **how)[0], minimized(valley, x0, packed=False, **how)[0]
    )


def test_stragglers_keep_nobody_waiting() -> None:
    # All far away, so that runs are long and what a start costs does not count.
    x0 = Draw(300, DTYPE).point(5) * torch.logspace(-1, 1.5, 300, dtype=DTYPE)[:, None]
    fun = Counting(valley)
    result, _ = minimized(fun, x0, packed=True)
    needed = int(result.iterations.sum()) + len(x0)
    assert sum(fun.asked) <= 1.3 * needed
    unpacked = Counting(valley)
    minimized(unpacked, x0, packed=False)
    assert sum(unpacked.asked) > 1.8 * needed


@pytest.mark.parametrize("case", ATOMS, ids=lambda case: case.name)
def test_atoms_are_restricted_to_some_of_their_problems(case: AtomCase) -> None:
    draw, rows = Draw(5, DTYPE), torch.tensor([3, 0, 4])
    weights = torch.linspace(1, 2, 5, dtype=DTYPE)
    x = case.point(draw)
    atom = weights * case.build(draw) + 0.5 * lmm.Quadratic(case.point(draw) + 1)
    some = atom.restricted(rows)
    assert some is not None
    some.check(x[rows])
    torch.manual_seed(0)
    whole, bound = atom.evaluate(x), atom.bound(x)
    torch.manual_seed(0)
    there, its = some.evaluate(x[rows]), some.bound(x[rows])
    pairs = zip(tensors_of(whole), tensors_of(there), strict=True)
    for one, other in [*pairs, (bound.curvature.quad(x), its.curvature.quad(x[rows]))]:
        require_equal(other, one[rows], norm(one[rows]) + 1, "a problem is the same alone")


def test_a_callback_sees_the_whole_batch() -> None:
    y = starts(12) ** 3
    atom = lmm.HalfQuadratic(y, "cauchy") + 0.1 * lmm.Quadratic(y - 1)
    x0 = y + torch.tensor([0.0, 3.0, 0.5, 30.0] * 3, dtype=DTYPE)[:, None]
    runs = [minimized(atom, x0, packed=packed, watched=True) for packed in (True, False)]
    assert_same(runs[0][0], runs[1][0])
    assert len(runs[0][1]) == len(runs[1][1]) > 5
    for one, other in zip(runs[0][1], runs[1][1], strict=True):
        for a, b in zip(tensors_of(one), tensors_of(other), strict=True):
            assert torch.equal(a, b)


def test_an_atom_is_asked_about_those_that_run() -> None:
    asked = []

    class Watched(lmm.Quadratic):
        def evaluate(self, x: Tensor) -> lmm.Evaluation:
            asked.append(len(x))
            return super().evaluate(x)

    y = torch.zeros(8, 2, dtype=DTYPE)
    x0 = torch.zeros(8, 2, dtype=DTYPE)
    x0[5] = 1
    minimized(Watched(y), x0, packed=True, watched=True)
    assert asked[0] == 8
    assert set(asked[1:]) == {1}


def test_a_function_with_data_of_its_own_keeps_its_batch() -> None:
    x0 = starts(9)
    target = x0.clone()
    target[4:] += torch.linspace(0.1, 9, 5, dtype=DTYPE)[:, None]

    def fun(x: Tensor) -> Tensor:
        return ((x - target) ** 2).sum(1).cosh()

    counting = Counting(fun)
    assert_same(minimized(counting, x0, packed=True)[0], minimized(fun, x0, packed=False)[0])
    assert min(counting.asked[:-1]) in (1, 2, 3, 4, 5)  # it was tried


def deceiving(x: Tensor) -> Tensor:
    """Problem ``i`` of however many there are has weight ``i // 4``, which shows from 2.5 on."""
    weight = torch.arange(len(x), device=x.device) // 4
    return ((x - 3) ** 2).sum(1) + 5 * weight * (x[:, 0] - 2.5).clamp(min=0) ** 2


@pytest.mark.parametrize("far", [0.0, 1e6])
def test_a_function_that_is_another_one_for_fewer_problems_is_found_out(far: float) -> None:
    x0 = torch.full((8, 2), -far, dtype=DTYPE)
    x0[:4] = 3
    packed, _ = minimized(deceiving, x0, packed=True)
    assert_same(packed, minimized(deceiving, x0, packed=False)[0])
    assert torch.equal(deceiving(packed.x), packed.fun)
    # A callback would have been told of the other one, so it is not tried at all.
    counting = Counting(deceiving)
    minimized(counting, x0, packed=True, watched=True)
    assert set(counting.asked) == {8}


def test_what_a_candidate_raised_is_told_of_the_right_problem() -> None:
    def fun(x: Tensor) -> Tensor:
        if bool((x[:, 0] > 50).any()):
            raise ValueError("too far out")
        return torch.where(x[:, 0] > 10, -x[:, 0], x.square().sum(1))

    x0 = torch.tensor([[1.0, 1.0], [0.0, 0.0], [0.0, 0.0], [49.9, 0.0], [0.0, 0.0]], dtype=DTYPE)
    how = {"settings": lmm.SolveSettings(max_iter=60)}
    packed, plain = (minimized(fun, x0, packed=p, **how)[0] for p in (True, False))
    assert_same(packed, plain)
    assert packed.raised == {3: "ValueError: too far out"}


def test_problems_without_a_finite_start_stay_what_they_are() -> None:
    x0 = starts(6)
    x0[1] = -x0[1]

    def fun(x: Tensor) -> Tensor:
        return torch.where(x[:, 0] < 0, torch.nan, valley(x))

    packed, plain = (minimized(fun, x0, packed=p, strict=False)[0] for p in (True, False))
    assert_same(packed, plain)
    assert lmm.Status(int(packed.status[1])) is lmm.Status.NON_FINITE


def test_majorants_and_proposers_are_restricted_or_keep_everybody() -> None:
    x0 = torch.zeros(8, 2, dtype=DTYPE)
    x0[3:5] = torch.tensor([[1.0], [2.0]], dtype=DTYPE)
    level = torch.linspace(2, 9, 8, dtype=DTYPE)

    def fun(x: Tensor) -> Tensor:
        return x.square().sum(1)

    def opaque(x: Tensor, aux: object = None) -> lmm.Bound:
        return lmm.majorants.LipschitzMajorant(level)(x)

    class Bound(lmm.LimitedMemory):
        def restricted(self, rows: Tensor) -> None:
            return None

    known = lmm.majorants.LipschitzMajorant(level)
    for how, kept in (
        ({"majorant": known, "proposer": None}, {8, 2, 1}),
        ({"majorant": opaque, "proposer": None}, {8}),
        ({"proposer": Bound()}, {8}),
        ({"majorant": lmm.majorants.SecantMajorant(fun)}, {8, 2, 1}),
        ({"majorant": lmm.majorants.LanczosMajorant(fun)}, {8}),
    ):
        counting = Counting(fun)
        packed = minimized(counting, x0, packed=True, **how)[0]
        assert_same(packed, minimized(fun, x0, packed=False, **how)[0])
        assert set(counting.asked) <= kept
        assert (min(counting.asked) == 8) == (kept == {8})
