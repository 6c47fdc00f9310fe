"""Problems of a batch never influence each other, whatever happens to the neighbours.

Iterates agree to ``checks.TOLERANCE`` (1e-10 relative in float64): sums over another number of
rows may be formed in another order, which changes the last digits. Decisions (status, number of
iterations, what was accepted) agree exactly.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest
import torch
from torch import Tensor

import learnmm as lmm
from adversaries import Hostile
from catalogue import ATOMS, PROPOSERS, AtomCase, Draw, ProposerCase
from learnmm.checks import assert_batch_independent
from learnmm.checks.laws import require_equal
from learnmm.vectors import norm

BATCH = 4
KEPT = [0, 1, 3]  # neighbours of problem 2, which is interfered with
STEPS = 12
FACTOR = 1e6

by_atom = pytest.mark.parametrize("case", ATOMS, ids=lambda case: case.name)


def build(
    case: AtomCase, rows: Sequence[int], scales: dict[int, float] | None = None
) -> tuple[lmm.ProjectedMMOptimizer, Tensor]:
    """Those problems of the case, with multipliers that no bound expects."""
    draw = Draw(len(rows), torch.float64, rows=rows, scales=scales or {})
    optimizer = lmm.ProjectedMMOptimizer(
        case.build(draw), proposer=Hostile(), settings=lmm.SolveSettings(max_iter=STEPS, gtol=1e-9)
    )
    return optimizer, case.point(draw)


def trajectory(
    optimizer: lmm.ProjectedMMOptimizer, x0: Tensor, strict: bool = True
) -> tuple[lmm.Result, list[Tensor]]:
    torch.manual_seed(0)
    iterates = []
    result = optimizer.minimize(
        x0,
        callback=lambda state, info: iterates.append(state.x),
        history=True,
        strict=strict,
    )
    return result, iterates


def assert_same(
    undisturbed: tuple[lmm.Result, list[Tensor]],
    disturbed: tuple[lmm.Result, list[Tensor]],
    rows: Sequence[int] = tuple(KEPT),
    others: Sequence[int] = tuple(KEPT),
) -> None:
    """Problems `rows` of one run did the same as problems `others` of another."""
    (a, first), (b, second) = undisturbed, disturbed
    rows, others = list(rows), list(others)
    for k, (x, z) in enumerate(zip(first, second, strict=False)):
        require_equal(z[others], x[rows], norm(x[rows]), f"step {k} is the same")
    require_equal(b.x[others], a.x[rows], norm(a.x[rows]), "the result is the same")
    assert torch.equal(b.status[others], a.status[rows])
    assert torch.equal(b.iterations[others], a.iterations[rows])
    for count in ("accepted", "rejected", "proposed", "violations"):
        mine, theirs = getattr(a.certificate, count), getattr(b.certificate, count)
        assert torch.equal(theirs[others], mine[rows]), count


@by_atom
def test_alone_permuted_and_in_a_batch_are_the_same(case: AtomCase) -> None:
    assert_batch_independent(lambda rows: build(case, rows), BATCH, steps=8)


@by_atom
def test_results_alone_are_those_of_the_batch(case: AtomCase) -> None:
    together = trajectory(*build(case, range(BATCH)))
    for row in range(BATCH):
        assert_same(together, trajectory(*build(case, [row])), [row], [0])


@by_atom
@pytest.mark.parametrize("factor", [FACTOR, 1 / FACTOR])
def test_a_rescaled_neighbour_changes_nothing(case: AtomCase, factor: float) -> None:
    plain = trajectory(*build(case, range(BATCH)))
    assert_same(plain, trajectory(*build(case, range(BATCH), {2: factor})))


class Breaking(lmm.Objective):
    """Values, gradients and auxiliaries of problem 2 are NaN where ``broken(x)`` says."""

    def __init__(self, inner: lmm.Atom, broken: Callable[[Tensor], Tensor]) -> None:
        self.inner = inner
        self.broken = broken

    def evaluate(self, x: Tensor) -> lmm.Evaluation:
        value, gradient, aux = self.inner.evaluate(x)
        hit = self.broken(x) & (torch.arange(len(x)) == 2)

        def spoil(part: object) -> object:
            if isinstance(part, Tensor):
                mask = hit.reshape(-1, *([1] * (part.dim() - 1)))
                return torch.where(mask, torch.nan, part)
            if isinstance(part, tuple):
                spoilt = [spoil(one) for one in part]
                return type(part)(*spoilt) if hasattr(part, "_fields") else tuple(spoilt)
            return part

        value, gradient, aux = map(spoil, (value, gradient, aux))
        return lmm.Evaluation(value, gradient, aux)


def breaking(
    case: AtomCase, broken: Callable[[Tensor, Tensor], Tensor]
) -> tuple[lmm.ProjectedMMOptimizer, Tensor]:
    """The case with problem 2 broken where ``broken(x, x0)`` says."""
    draw = Draw(BATCH, torch.float64)
    atom, x0 = case.build(draw), case.point(draw)
    optimizer = lmm.ProjectedMMOptimizer(
        Breaking(atom, lambda x: broken(x, x0)),
        majorant=atom.bound,
        proposer=Hostile(),
        settings=lmm.SolveSettings(max_iter=4 * STEPS, gtol=1e-9),
    )
    return optimizer, x0


def never(x: Tensor, x0: Tensor) -> Tensor:
    return torch.zeros(len(x), dtype=torch.bool)


def everywhere(x: Tensor, x0: Tensor) -> Tensor:
    return torch.ones(len(x), dtype=torch.bool)


def off_start(x: Tensor, x0: Tensor) -> Tensor:
    return norm(x - x0) > 0


@by_atom
def test_a_neighbour_that_breaks_during_the_run_changes_nothing(case: AtomCase) -> None:
    broken = trajectory(*breaking(case, off_start))
    assert_same(trajectory(*breaking(case, never)), broken)
    assert lmm.Status(int(broken[0].status[2])) is lmm.Status.STALLED
    assert torch.equal(broken[0].x[2], breaking(case, never)[1][2])


@by_atom
def test_a_neighbour_that_cannot_start_changes_nothing(case: AtomCase) -> None:
    optimizer, x0 = breaking(case, everywhere)
    broken = trajectory(optimizer, x0, strict=False)
    assert_same(trajectory(*breaking(case, never)), broken)
    assert lmm.Status(int(broken[0].status[2])) is lmm.Status.NON_FINITE
    assert int(broken[0].iterations[2]) == 0
    assert torch.equal(broken[0].x[2], x0[2])


def test_a_neighbour_whose_image_vanishes_does_not_keep_the_others_from_starting() -> None:
    draw = Draw(BATCH, torch.float64)
    x0 = draw.point()
    x0[2] = 0
    optimizer = lmm.ProjectedMMOptimizer(lmm.CosineDistance(draw.target(4)) @ draw.matrix())
    result = optimizer.minimize(x0, strict=False)
    assert result.success[KEPT].all()
    assert lmm.Status(int(result.status[2])) is lmm.Status.NON_FINITE
    with pytest.raises(lmm.objective.DomainError, match="vanishes for problems"):
        optimizer.minimize(x0)


def with_lanczos(
    rows: Sequence[int], factor: float = 1.0
) -> tuple[lmm.ProjectedMMOptimizer, Tensor]:
    """The Rosenbrock valley from starts of its own for every problem."""
    fun = lmm.problem("rosenbrock").instance(1).objective
    # So many unknowns that the Ritz values depend on the start vector.
    x0 = Draw(len(rows), torch.float64, rows=rows, scales={2: factor}).point(40)
    majorant = lmm.majorants.LanczosMajorant(fun, generator=torch.Generator().manual_seed(0))
    return lmm.ProjectedMMOptimizer(
        fun, majorant=majorant, settings=lmm.SolveSettings(max_iter=STEPS)
    ), x0


def test_lanczos_is_independent_of_the_batch() -> None:
    assert_batch_independent(with_lanczos, BATCH, steps=6)
    plain = trajectory(*with_lanczos(range(BATCH)))
    assert_same(plain, trajectory(*with_lanczos(range(BATCH), 1e3)))
    assert_same(plain, trajectory(*with_lanczos([3])), [3], [0])


def test_lanczos_bears_a_neighbour_of_nan_curvature() -> None:
    def fun(x: Tensor, broken: int) -> Tensor:
        hit = (torch.arange(len(x)) == broken) & (x[:, 0] < 0.9)
        return torch.where(hit, torch.nan, 1.0) * ((1 + torch.arange(6)) * x**4).sum(1)

    x0 = torch.ones(BATCH, 6, dtype=torch.float64)
    runs = []
    for broken in (-1, 2):
        objective = lambda x, broken=broken: fun(x, broken)  # noqa: E731
        majorant = lmm.majorants.LanczosMajorant(
            objective, generator=torch.Generator().manual_seed(0)
        )
        optimizer = lmm.ProjectedMMOptimizer(
            objective, majorant=majorant, settings=lmm.SolveSettings(max_iter=40)
        )
        runs.append(trajectory(optimizer, x0))
    assert_same(*runs)
    assert torch.isfinite(runs[1][0].x).all()
    assert (runs[1][0].x[2, 0]) >= 0.9


@pytest.mark.parametrize("case", PROPOSERS, ids=lambda case: case.name)
def test_proposers_of_the_library_see_one_problem_at_a_time(case: ProposerCase) -> None:
    torch.manual_seed(0)
    proposer = case.build(torch.float64)

    def make(rows: Sequence[int], factor: float = 1.0) -> tuple[lmm.ProjectedMMOptimizer, Tensor]:
        draw = Draw(len(rows), torch.float64, rows=rows, scales={2: factor})
        atom = lmm.HalfQuadratic(draw.target(*case.shape), "cauchy")
        optimizer = lmm.ProjectedMMOptimizer(
            atom, proposer=proposer, settings=lmm.SolveSettings(max_iter=STEPS)
        )
        return optimizer, draw.point(*case.shape)

    assert_batch_independent(make, BATCH)
    plain = trajectory(*make(range(BATCH)))
    assert_same(plain, trajectory(*make(range(BATCH), FACTOR)))
