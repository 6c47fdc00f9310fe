"""The marginal likelihood of source variances: what it is, its bound, and its steps."""

from __future__ import annotations

import math

import pytest
import torch
from scipy.stats import multivariate_normal

import learnmm as lmm
from learnmm.checks import (
    assert_batch_independent,
    assert_descent,
    assert_gradient,
    assert_majorant,
    assert_unmodified,
)
from learnmm_esi.inverse.marginal import ConvexBounding, MarginalLikelihood

MODES, SOURCES, SAMPLES = 5, 12, 3
COUNT = torch.tensor([3, 2, 1, 3])


@pytest.fixture(scope="module")
def drawn():
    generator = torch.Generator().manual_seed(0)

    def normal(*shape):
        return torch.randn(shape, generator=generator, dtype=torch.float64)

    samples = 3 * normal(len(COUNT), MODES, SAMPLES)
    samples[torch.arange(SAMPLES)[None, None] >= COUNT[:, None, None].expand(-1, MODES, -1)] = 0.0
    return normal(MODES, SOURCES), samples, normal(len(COUNT), SOURCES)


@pytest.fixture(scope="module")
def objective(drawn):
    return MarginalLikelihood(drawn[0], drawn[1], COUNT)


def part(drawn, indices):
    return MarginalLikelihood(drawn[0], drawn[1][indices], COUNT[indices])


def covariance(matrix, x):
    return torch.eye(MODES, dtype=x.dtype) + (matrix * x**2) @ matrix.mT


def test_is_the_density_of_the_samples(drawn, objective):
    matrix, samples, x = drawn
    for value, y, one, count in zip(objective(x), samples, x, COUNT, strict=True):
        density = multivariate_normal(cov=covariance(matrix, one).numpy())
        expected = -2 * density.logpdf(y.mT[:count].numpy()).mean() - MODES * math.log(2 * math.pi)
        assert float(value) == pytest.approx(expected)
    assert bool((objective(x) >= 0).all())


def test_the_mean_is_that_of_sources_given_samples(drawn, objective):
    matrix, samples, x = drawn
    for mean, y, one in zip(objective.mean(x), samples, x, strict=True):
        gain = torch.diag(one**2) @ matrix.mT @ torch.linalg.inv(covariance(matrix, one))
        torch.testing.assert_close(mean, gain @ y)


def test_standardized_power_is_that_of_sloreta(drawn, objective):
    matrix, samples, _ = drawn
    alike = torch.full((len(samples), SOURCES), 0.7, dtype=matrix.dtype)
    kernel = matrix.mT @ torch.linalg.inv(covariance(matrix, alike[0]))
    expected = (kernel @ samples).square().sum(2) / COUNT[:, None]
    expected = expected / (kernel @ matrix).diagonal()
    torch.testing.assert_close(objective.standardized(alike), expected)


def test_laws_of_atoms_hold(drawn, objective):
    x = drawn[2]
    assert_gradient(objective, x)
    assert_unmodified(lmm.ProjectedMMOptimizer(objective), x)
    assert objective.bound(x).kind is lmm.Kind.GLOBAL
    for point in (x, 0.01 * x, 10 * x):
        assert_majorant(None, objective, point, points=40, search_steps=40)


def test_batches_in_parts_are_the_whole(drawn, objective, monkeypatch):
    x = drawn[2]
    whole = objective.evaluate(x), objective.mean(x), objective.power(x)
    monkeypatch.setattr("learnmm_esi.inverse.marginal.PART_VALUES", 3 * MODES * SOURCES)
    parts = objective.evaluate(x), objective.mean(x), objective.power(x)
    torch.testing.assert_close(whole, parts)
    torch.testing.assert_close(objective.power(x), objective.evaluate(x).aux[1])


def test_the_step_minimizes_a_separable_majorant(drawn, objective):
    """``w q^2 + x^2 / q^2`` per source, which lies above with the sources of this point."""
    x = drawn[2]
    proposer = ConvexBounding(objective)
    there = objective.evaluate(x)
    spread, power = there.aux
    bound = objective.bound_at(x, there.aux).curvature
    step = proposer.propose(lmm.Point(x, there.gradient, bound), None).values
    moments = x**4 * power
    torch.testing.assert_close((x - step) ** 4, moments / spread)
    assert bool((torch.sign(x - step) == torch.sign(x)).all())

    def above(q):
        return (spread * q**2 + moments / q**2).sum(1)

    generator = torch.Generator().manual_seed(1)
    for _ in range(50):
        q = x * torch.randn(x.shape, generator=generator, dtype=x.dtype).exp()
        assert bool((objective(q) - there.value <= above(q) - above(x) + 1e-9).all())
    assert bool((objective(x - step) <= there.value).all())


def test_deviations_of_zero_stay(drawn, objective):
    x = drawn[2].clone()
    x[:, ::3] = 0.0
    optimizer = lmm.ProjectedMMOptimizer(
        objective, proposer=ConvexBounding(objective), settings=lmm.SolveSettings(max_iter=5)
    )
    result = optimizer.minimize(x)
    assert bool((result.x[:, ::3] == 0).all())
    assert bool((result.fun < result.initial_fun).all())


@pytest.mark.parametrize("proposing", [True, False], ids=["convex bounding", "own steps"])
def test_every_step_descends_and_none_is_refused(drawn, objective, proposing):
    optimizer = lmm.ProjectedMMOptimizer(
        objective,
        proposer=ConvexBounding(objective) if proposing else None,
        settings=lmm.SolveSettings(max_iter=30),
    )
    assert_descent(optimizer, drawn[2], steps=30)
    certificate = optimizer.minimize(drawn[2]).certificate
    assert int(certificate.violations.sum()) == 0
    assert int(certificate.rejected.sum()) == 0


def test_recordings_do_not_influence_each_other(drawn):
    def make(indices):
        objective = part(drawn, list(indices))
        return lmm.ProjectedMMOptimizer(objective, proposer=ConvexBounding(objective)), drawn[2][
            list(indices)
        ]

    assert_batch_independent(make, len(COUNT))


def test_far_out_it_is_still_the_density(drawn, objective):
    """There ``C`` is not positive definite to rounding."""
    far = drawn[2].clone()
    far[:, 2] = 1e11
    values = objective(far)
    column = drawn[0][:, 2]
    more = drawn[2].clone()
    more[:, 2] = 1e5
    grown = 2 * math.log(1e6)  # all that changes: the one large eigenvalue
    assert bool((column.norm() > 0.1).all())
    torch.testing.assert_close(values, objective(more) + grown, rtol=1e-6, atol=0)


def test_misuse_is_named(drawn, objective):
    with pytest.raises(ValueError, match=r"deviations of shape \(4, 12\) and torch.float64, got"):
        objective.check(drawn[2][:, :3])
    with pytest.raises(ValueError, match="a tuple of 2 parts"):
        objective.bound_at(drawn[2], ())
