"""Unprojected multipliers: units, dense references, and what is refused."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

import learnmm as lmm
from draws import normal
from learnmm.proposers.base import scale_free

DTYPE = torch.float64


def constant(multipliers: Tensor) -> lmm.proposers.Constant:
    """One multiplier per unknown, given."""
    proposer = lmm.proposers.Constant(tuple(multipliers.shape)).to(multipliers.dtype)
    proposer.load_state_dict({"multipliers": multipliers})
    return proposer


@given(st.integers(0, 10**6), st.floats(1e-4, 10.0))
def test_damped_inverse_is_the_dense_one(seed: int, damping: float) -> None:
    matrix, gradient = normal(3, 5, seed=seed), normal(2, 5, 4, seed=seed + 1)
    relative = matrix / torch.linalg.matrix_norm(matrix, 2)
    dense = damping * torch.linalg.inv(damping * torch.eye(5, dtype=DTYPE) + relative.mT @ relative)
    found = lmm.proposers.DampedInverse(matrix, damping).to(DTYPE)(gradient)
    torch.testing.assert_close(found, dense @ gradient, rtol=1e-8, atol=1e-10)


def test_damping_is_learned_and_what_follows_from_the_matrix_is_not_stored() -> None:
    metric = lmm.proposers.DampedInverse(normal(3, 5))
    assert list(metric.state_dict()) == ["log_damping"]
    with pytest.raises(ValueError, match="damping must be positive and finite, got 0"):
        lmm.proposers.DampedInverse(normal(3, 5), 0)
    with pytest.raises(ValueError, match="DampedInverse expects a matrix with an entry other"):
        lmm.proposers.DampedInverse(torch.zeros(3, 5))


@pytest.mark.parametrize("size", [1.0, 1e-6])
@pytest.mark.parametrize("energy", [1.0, 1e9])
def test_steps_are_multiples_of_the_scale_free_direction(size: float, energy: float) -> None:
    """``x - rms(x) m * M g / rms(M g)``, whatever the units of x and of the objective."""
    x0, target = size * normal(2, 6, seed=6), size * normal(2, 6, seed=5)
    multipliers = normal(6, seed=7)
    metric = lmm.proposers.DampedInverse(normal(4, 6), 0.1).to(DTYPE)
    optimizer = lmm.ProjectedMMOptimizer(
        energy * lmm.Quadratic(target),
        proposer=lmm.proposers.Unprojected(constant(multipliers), metric),
        settings=lmm.SolveSettings(safeguard=None, gtol=0.0),
    )
    with torch.no_grad():
        state, _ = optimizer.step(optimizer.init(x0))
        rms = x0.square().mean(1, keepdim=True).sqrt()
        expected = x0 - rms * multipliers * scale_free(metric(x0 - target))
    torch.testing.assert_close(state.x, expected, rtol=1e-10, atol=0)


def test_the_preconditioner_sees_the_direction_in_place_of_the_gradient() -> None:
    class Seeing(lmm.LearnedPreconditioner):
        """Remembers and proposes the gradients that it was shown."""

        def init_memory(self, x: Tensor) -> Tensor:
            return torch.zeros_like(x)

        def observe(self, point: lmm.Point, memory: Tensor) -> Tensor:
            return point.gradient

        def propose(self, point: lmm.Point, memory: Tensor) -> lmm.Multipliers:
            return lmm.Multipliers(memory - point.gradient)

    x, gradient = normal(2, 6), normal(2, 6, seed=1)
    proposer = lmm.proposers.Unprojected(
        Seeing(), lmm.proposers.DampedInverse(normal(4, 6), 0.1).to(DTYPE)
    )
    point = lmm.Point(x, gradient, lmm.curvature.ScalarCurvature(torch.ones(2, dtype=DTYPE)))
    with torch.no_grad():
        memory = proposer.observe(point, proposer.init_memory(x))
        step = proposer.propose(point, memory)
        assert proposer.metric is not None
        expected = scale_free(proposer.metric(scale_free(gradient)))
    torch.testing.assert_close(memory.inner, expected)
    torch.testing.assert_close(memory.direction, expected)
    assert not step.values.any()


def test_a_step_that_climbs_is_refused_and_the_majorants_step_comes_next() -> None:
    atom, x0 = lmm.Quadratic(torch.zeros(2, 6, dtype=DTYPE)), normal(2, 6, seed=8)
    optimizer = lmm.ProjectedMMOptimizer(
        atom,
        proposer=lmm.proposers.Unprojected(lmm.proposers.Constant(initial=-1.0)),
        settings=lmm.SolveSettings(max_iter=2, gtol=0.0),
    )
    result = optimizer.minimize(x0, history=True)
    assert not result.history.accepted[0].any()
    assert result.history.proposed[0].all()
    assert result.history.accepted[1].all()
    assert not result.history.proposed[1].any()
    torch.testing.assert_close(result.x, torch.zeros_like(x0))
    assert not result.certificate.projected
    assert not result.certificate.proposed.any()


def test_an_iterate_of_zero_has_no_unit_and_falls_back() -> None:
    target = normal(2, 6, seed=9)
    pushing = lmm.proposers.Unprojected(lmm.proposers.Constant(initial=0.5).to(DTYPE))
    settings = lmm.SolveSettings(max_iter=50)
    zero = torch.zeros_like(target)
    result = lmm.minimize(lmm.Quadratic(target), zero, proposer=pushing, settings=settings)
    torch.testing.assert_close(result.x, target, rtol=1e-4, atol=1e-5)


def test_multipliers_in_a_basis_are_refused_at_the_start() -> None:
    proposer = lmm.proposers.Unprojected(lmm.proposers.SpectralLSTM(normal(4, 6), 4).to(DTYPE))
    optimizer = lmm.ProjectedMMOptimizer(lmm.Quadratic(normal(2, 6)), proposer=proposer)
    message = "multiplies unknowns one by one, but SpectralLSTM proposes multipliers in a basis"
    with pytest.raises(ValueError, match=message):
        optimizer.init(normal(2, 6, seed=1))
