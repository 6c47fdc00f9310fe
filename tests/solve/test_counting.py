"""Evaluations are counted, certificates add up, refusals and estimates leave their traces there."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

import learnmm as lmm
from adversaries import Counted, Curvatures, Hostile, Random
from quadratics import DATA


@pytest.mark.parametrize(
    "proposer", [None, Hostile(), Random()], ids=["plain", "hostile", "random"]
)
@pytest.mark.parametrize("projection", [lmm.Projection(), None], ids=["projected", "free"])
def test_a_step_evaluates_once(proposer, projection) -> None:
    atom = lmm.CosineDistance(DATA.target(4)) @ DATA.matrix()
    counted = Counted(atom)
    optimizer = lmm.ProjectedMMOptimizer(
        counted,
        majorant=atom.bound_at,
        proposer=proposer,
        settings=lmm.SolveSettings(projection=projection, gtol=0),
    )
    state = optimizer.init(DATA.point())
    assert counted.evaluations == 1
    for count in range(2, 12):
        state, _ = optimizer.step(state)
        assert counted.evaluations == count


def test_iterations_count_evaluations() -> None:
    atom = lmm.HalfQuadratic(DATA.target())
    counted = Counted(atom)
    result = lmm.minimize(counted, DATA.point(), majorant=atom.bound_at, proposer=Hostile())
    assert counted.evaluations == 1 + int(result.iterations.max())


def test_the_certificate_adds_up() -> None:
    optimizer = lmm.ProjectedMMOptimizer(
        lmm.HalfQuadratic(DATA.target(), "welsch"),
        proposer=Hostile(),
        settings=lmm.SolveSettings(projection=None, max_iter=30),
    )
    result = optimizer.minimize(DATA.point(), history=True)
    certificate, history = result.certificate, result.history
    assert history is not None
    assert torch.equal(certificate.accepted + certificate.rejected, result.iterations)
    assert torch.equal((history.accepted & history.proposed).sum(0), certificate.proposed)
    assert (certificate.proposed <= certificate.accepted).all()
    falls = torch.cat([result.initial_fun[None], history.value]).diff(dim=0)
    assert torch.equal(
        torch.where(history.accepted, falls, -torch.inf).amax(0), certificate.worst_increase
    )
    assert certificate.safeguarded
    assert not certificate.projected
    assert "every step verified" in str(certificate)


def test_the_failure_probability_adds_up() -> None:
    result = lmm.minimize(
        lambda x: (x**4).sum(1),
        torch.ones(2, 40, dtype=torch.float64),
        majorant=lmm.majorants.LanczosMajorant(lambda x: (x**4).sum(1), failure_probability=0.01),
        settings=lmm.SolveSettings(max_iter=3),
    )
    assert result.certificate.kind is lmm.Kind.PROBABLE
    torch.testing.assert_close(
        result.certificate.failure_probability,
        torch.full((2,), 0.03, dtype=torch.float64),
    )


def test_steps_are_cut_to_the_region() -> None:
    def majorant(x: Tensor, aux: Any = None) -> lmm.Bound:
        level = lmm.curvature.ScalarCurvature(torch.ones_like(x[:, 0]))
        return lmm.Bound(lmm.Kind.REGION, level, radius=torch.full_like(x[:, 0], 0.25))

    optimizer = lmm.ProjectedMMOptimizer(
        lambda x: (x * x).sum(1) / 2, majorant=majorant, settings=lmm.SolveSettings(gtol=1e-9)
    )
    x0 = torch.tensor([[3.0, 4.0], [0.1, 0.1]], dtype=torch.float64)
    result = optimizer.minimize(x0, history=True)
    assert result.history is not None
    assert result.history.step_norm.max() <= 0.25
    assert result.history.cut[:, 0].sum() == 19  # the twentieth step reaches the origin
    assert not result.history.cut[:, 1].any()
    assert result.iterations.tolist() == [20, 1]
    assert result.certificate.kind is lmm.Kind.REGION
    assert not result.certificate.violations.any()


def test_relaxation_makes_up_for_a_loose_estimate() -> None:
    target = DATA.target()

    def run(relaxation: lmm.Relaxation | None, kind: lmm.Kind) -> lmm.Result:
        return lmm.minimize(
            lambda x: ((x - target) ** 2).sum(1) / 2,
            DATA.point(),
            majorant=Curvatures(lambda x: torch.full_like(x[:, 0], 1e3), kind),
            proposer=None,
            settings=lmm.SolveSettings(relaxation=relaxation, max_iter=200),
        )

    with_it = run(lmm.Relaxation(), lmm.Kind.ESTIMATE)
    assert (with_it.iterations < 40).all()
    assert (with_it.certificate.relaxation_min < 0.01).all()
    for relaxation, kind in ((None, lmm.Kind.ESTIMATE), (lmm.Relaxation(), lmm.Kind.GLOBAL)):
        without = run(relaxation, kind)
        assert (without.iterations == 200).all()
        assert (without.certificate.relaxation_min == 1).all()
