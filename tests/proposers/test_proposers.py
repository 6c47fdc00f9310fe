"""Learned components: dense references, units, and bases that keep the interval."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

import learnmm as lmm
from adversaries import Returning
from learnmm.proposers.base import scale_free
from learnmm.solve.projection import scaled_step

DTYPE = torch.float64


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=DTYPE)


@given(st.integers(0, 10**6), st.floats(1e-4, 10.0))
def test_damped_inverse_is_the_dense_one(seed: int, damping: float) -> None:
    matrix, gradient = normal(3, 5, seed=seed), normal(2, 5, 4, seed=seed + 1)
    relative = matrix / torch.linalg.matrix_norm(matrix, 2)
    dense = damping * torch.linalg.inv(damping * torch.eye(5, dtype=DTYPE) + relative.mT @ relative)
    found = lmm.DampedInverse(matrix, damping).to(DTYPE)(gradient)
    torch.testing.assert_close(found, dense @ gradient, rtol=1e-8, atol=1e-10)


def test_damping_is_learned_and_what_follows_from_the_matrix_is_not_stored() -> None:
    metric = lmm.DampedInverse(normal(3, 5))
    assert list(metric.state_dict()) == ["log_damping"]
    with pytest.raises(ValueError, match="damping must be positive and finite, got 0"):
        lmm.DampedInverse(normal(3, 5), 0)


@given(st.integers(0, 10**6), st.integers(1, 5))
def test_multipliers_in_a_basis_keep_the_interval(seed: int, rank: int) -> None:
    """``lower B^-1 <= P <= upper B^-1`` with ``P`` from columns of the identity, densely."""
    n = 5
    basis = torch.linalg.qr(normal(n, rank, seed=seed))[0]
    weights = normal(n, n, seed=seed + 1)
    vectors, values, _ = torch.linalg.svd(weights)
    curvature = lmm.LowRankCurvature(
        torch.full((n,), 0.3, dtype=DTYPE), values.expand(n, n).contiguous(), vectors
    )
    multipliers = 0.2 + torch.rand(
        1, rank + 1, generator=torch.Generator().manual_seed(seed), dtype=DTYPE
    )
    eye = torch.eye(n, dtype=DTYPE)
    proposal = scaled_step(curvature, eye, multipliers.expand(n, -1), basis)
    inverse = curvature.solve(eye)
    root = torch.linalg.cholesky(torch.linalg.inv(inverse))
    relative = torch.linalg.eigvalsh(root.mT @ proposal.step @ root)
    least, most = float(multipliers.min()), float(multipliers.max())
    assert float(relative.min()) >= least - 1e-9
    assert float(relative.max()) <= most + 1e-9
    torch.testing.assert_close(proposal.slope, proposal.step.diagonal(), rtol=1e-8, atol=1e-12)
    torch.testing.assert_close(
        proposal.bend,
        (proposal.step * curvature.apply(proposal.step)).sum(1),
        rtol=1e-8,
        atol=1e-12,
    )


def test_spectral_multipliers_of_one_are_the_majorants_own_step() -> None:
    class Ones(lmm.SpectralLSTM):
        def forward(self, features, state):
            multipliers, state = super().forward(features, state)
            return torch.ones_like(multipliers), state

    matrix, y, x0 = normal(4, 6), normal(3, 4, seed=1), normal(3, 6, seed=2)
    atom = lmm.least_squares(matrix, y)
    plain = lmm.minimize(atom, x0, settings=lmm.SolveSettings(max_iter=3, gtol=0.0))
    spectral = lmm.minimize(
        atom, x0, settings=lmm.SolveSettings(max_iter=3, gtol=0.0), proposer=Ones(matrix).to(DTYPE)
    )
    torch.testing.assert_close(spectral.x, plain.x)


def test_a_direction_is_taken_in_units_of_the_iterate() -> None:
    """``x - rms(x) d``, whatever the units of x and of the objective."""
    direction = normal(2, 6, seed=3)

    class Fixed(lmm.LearnedDirection):
        def init_state(self, x: Tensor) -> None:
            return None

        def forward(self, features: lmm.Features, state: None) -> tuple[Tensor, None]:
            return direction, None

    for unit in (1.0, 1e-6):
        x0 = unit * normal(2, 6, seed=4)
        optimizer = lmm.ProjectedMMOptimizer(
            lmm.Quadratic(0 * x0),
            proposer=Fixed(),
            settings=lmm.SolveSettings(safeguard=None, gtol=0.0),
        )
        state, _ = optimizer.step(optimizer.init(x0))
        size = x0.square().mean(1, keepdim=True).sqrt()
        torch.testing.assert_close(state.x, x0 - size * direction, rtol=1e-12, atol=0)


def test_unprojected_multiplies_the_scale_free_direction() -> None:
    gradient, x = normal(2, 6, seed=5), normal(2, 6, seed=6)
    multipliers = normal(2, 6, seed=7)
    metric = lmm.DampedInverse(normal(4, 6), 0.1).to(DTYPE)
    component = lmm.Unprojected(Returning(lambda features: (multipliers, None)), metric)
    step, _ = component(lmm.Features(x, scale_free(gradient)), None)
    torch.testing.assert_close(step, multipliers * scale_free(metric(gradient)))


def test_a_direction_that_climbs_is_refused_and_the_majorants_step_comes_next() -> None:
    atom, x0 = lmm.Quadratic(torch.zeros(2, 6, dtype=DTYPE)), normal(2, 6, seed=8)
    climbing = lmm.Unprojected(Returning(lambda features: (-torch.ones_like(features.x), None)))
    result = lmm.ProjectedMMOptimizer(
        atom, proposer=climbing, settings=lmm.SolveSettings(max_iter=2, gtol=0.0)
    ).minimize(x0, history=True)
    assert not result.history.accepted[0].any()
    assert result.history.learned[0].all()
    assert result.history.accepted[1].all()
    assert not result.history.learned[1].any()
    torch.testing.assert_close(result.x, torch.zeros_like(x0))
    assert not result.certificate.projected
    assert not result.certificate.learned.any()


def test_an_iterate_of_zero_has_no_unit_and_falls_back() -> None:
    target = normal(2, 6, seed=9)
    pushing = lmm.Unprojected(lmm.Constant(initial=0.5).to(DTYPE))
    result = lmm.minimize(
        lmm.Quadratic(target),
        torch.zeros(2, 6, dtype=DTYPE),
        proposer=pushing,
        settings=lmm.SolveSettings(max_iter=50),
    )
    torch.testing.assert_close(result.x, target, rtol=1e-4, atol=1e-5)
