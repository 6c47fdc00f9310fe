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

MODES, SOURCES, PLACES, SAMPLES = 5, 12, 2, 3
COUNT = torch.tensor([3, 2, 1, 3])


@pytest.fixture(scope="module")
def drawn():
    generator = torch.Generator().manual_seed(0)

    def normal(*shape):
        return torch.randn(shape, generator=generator, dtype=torch.float64)

    samples = 3 * normal(len(COUNT), MODES, SAMPLES)
    samples[torch.arange(SAMPLES)[None, None] >= COUNT[:, None, None].expand(-1, MODES, -1)] = 0.0
    matrix = normal(len(COUNT), MODES, SOURCES, PLACES)
    floor = 1 + normal(len(COUNT), MODES).square()
    return matrix, samples, floor, normal(len(COUNT), SOURCES)


@pytest.fixture(scope="module")
def objective(drawn):
    matrix, samples, floor, _ = drawn
    return MarginalLikelihood(matrix, samples, COUNT, floor)


def part(drawn, indices):
    matrix, samples, floor, _ = drawn
    return MarginalLikelihood(matrix[indices], samples[indices], COUNT[indices], floor[indices])


def covariance(matrix, floor, x):
    return torch.diag(floor) + torch.einsum("rnm,n,snm->rs", matrix, x**2, matrix)


def test_is_the_density_of_the_samples(drawn, objective):
    values = objective(drawn[-1])
    for value, count, matrix, y, floor, one in zip(values, COUNT, *drawn, strict=True):
        density = multivariate_normal(cov=covariance(matrix, floor, one).numpy())
        expected = -2 * density.logpdf(y.mT[:count].numpy()).mean() - MODES * math.log(2 * math.pi)
        assert float(value) == pytest.approx(expected)
    assert bool((values >= 0).all())


def test_the_mean_is_that_of_sources_given_samples(drawn, objective):
    means = objective.mean(drawn[-1])
    assert means.shape == (len(COUNT), SOURCES, PLACES, SAMPLES)
    for mean, matrix, y, floor, one in zip(means, *drawn, strict=True):
        inverse = torch.linalg.inv(covariance(matrix, floor, one))
        gain = one.square()[:, None, None] * matrix.movedim(0, 2) @ inverse
        torch.testing.assert_close(mean, gain @ y)


def test_laws_of_atoms_hold(drawn, objective):
    x = drawn[-1]
    assert_gradient(objective, x)
    assert_unmodified(lmm.ProjectedMMOptimizer(objective), x)
    assert objective.bound(x).kind is lmm.Kind.GLOBAL
    for point in (x, 0.01 * x, 10 * x):
        assert_majorant(None, objective, point, points=40, search_steps=40)


def test_power_alone_is_that_of_an_evaluation(drawn, objective):
    torch.testing.assert_close(objective.power(drawn[-1]), objective.evaluate(drawn[-1]).aux[1])


def test_the_step_minimizes_a_separable_majorant(drawn, objective):
    """``w q^2 + x^2 / q^2`` per source, which lies above with the sources of this point."""
    x = drawn[-1]
    proposer = ConvexBounding(objective)
    there = objective.evaluate(x)
    spread, power, _ = there.aux
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
    x = drawn[-1].clone()
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
    assert_descent(optimizer, drawn[-1], steps=30)
    certificate = optimizer.minimize(drawn[-1]).certificate
    assert int(certificate.violations.sum()) == 0
    assert int(certificate.rejected.sum()) == 0


def test_recordings_do_not_influence_each_other(drawn):
    def make(indices):
        objective = part(drawn, list(indices))
        return lmm.ProjectedMMOptimizer(objective, proposer=ConvexBounding(objective)), drawn[-1][
            list(indices)
        ]

    assert_batch_independent(make, len(COUNT))


def test_far_out_it_is_still_the_density(drawn, objective):
    """There ``C`` is not positive definite to rounding."""
    far = drawn[-1].clone()
    far[:, 2] = 1e11
    values = objective(far)
    columns = drawn[0][:, :, 2]
    more = drawn[-1].clone()
    more[:, 2] = 1e5
    grown = 2 * PLACES * math.log(1e6)  # all that changes: the large eigenvalues
    assert bool((torch.linalg.vector_norm(columns, dim=1) > 0.1).all())
    torch.testing.assert_close(values, objective(more) + grown, rtol=1e-6, atol=0)


def test_misuse_is_named(drawn, objective):
    with pytest.raises(ValueError, match=r"deviations of shape \(4, 12\) and torch.float64, got"):
        objective.check(drawn[-1][:, :3])
    with pytest.raises(ValueError, match="a tuple of 3 parts"):
        objective.bound_at(drawn[-1], ())
