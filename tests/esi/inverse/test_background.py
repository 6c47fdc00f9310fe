"""Ongoing activity of the whole cortex: how strong it is, and that it is not taken for patches."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.distributions import MultivariateNormal

from learnmm_esi import EvidenceEnergy, mne_python_inverse
from learnmm_esi.inverse.background import background_variance
from learnmm_esi.simulation.ranges.courses import pink

MODES, PRICE = 12, math.log(100)


def drawn(seed, variance, samples, patches=1):
    """Samples of noise, patches and a background, and the covariance without a background."""
    generator = torch.Generator().manual_seed(seed)
    columns = 3 * torch.randn(MODES, patches, generator=generator, dtype=torch.float64)
    covariance = torch.eye(MODES, dtype=torch.float64) + columns @ columns.mT
    everywhere = torch.logspace(1, -4, MODES, dtype=torch.float64)
    whole = covariance + variance * torch.diag(everywhere)
    normal = torch.randn(MODES, samples, generator=generator, dtype=torch.float64)
    return covariance, everywhere, torch.linalg.cholesky(whole) @ normal


def evidence(covariance, everywhere, y, variance):
    """From the definition."""
    whole = covariance + variance * torch.diag(everywhere)
    zero = torch.zeros(MODES, dtype=torch.float64)
    return float(MultivariateNormal(zero, whole).log_prob(y.mT).sum())


@given(
    seed=st.integers(0, 999),
    variance=st.sampled_from([0.0, 1e-3, 0.1, 10.0, 1e4]),
    samples=st.integers(1, 40),
)
def test_no_variance_has_a_larger_evidence(seed, variance, samples):
    covariance, everywhere, y = drawn(seed, variance, samples)
    count = torch.tensor([samples])
    found = float(background_variance(covariance[None], everywhere, y[None], count, PRICE))
    nothing = evidence(covariance, everywhere, y, 0.0)
    most = float(y.square().sum() / samples / everywhere.sum())
    grid = [evidence(covariance, everywhere, y, most * t) for t in np.geomspace(1e-4, 1, 41)]
    if found:
        # Between two points of the finer grid, the evidence is flat to a thousandth.
        assert evidence(covariance, everywhere, y, found) > max(grid) - 1e-3 * samples * MODES
        assert evidence(covariance, everywhere, y, found) > nothing + PRICE - 1e-9 * abs(nothing)
        assert 0 < found <= most * (1 + 1e-12)
    else:
        assert max(grid) < nothing + PRICE + 1e-3 * samples * MODES


def test_a_background_is_told_and_none_is_made_up():
    for seed in range(20):
        covariance, everywhere, y = drawn(seed, 0.0, 10)
        count = torch.tensor([10])
        assert background_variance(covariance[None], everywhere, y[None], count, PRICE) == 0
        covariance, everywhere, y = drawn(seed, 10.0, 200)
        found = background_variance(covariance[None], everywhere, y[None], count * 20, PRICE)
        assert float(found) == pytest.approx(10, rel=0.3)


def ongoing(model, source, times, share, snr_db, seed):
    """One patch in slow activity of the whole cortex, and some noise of the electrodes."""
    rng = np.random.default_rng([seed, source])
    shape = 0.6 * model.neighbours[[source]].toarray()[0]
    shape[source] = 1.0
    y = np.outer(model.leadfield @ shape, np.hanning(times))
    cortex = pink(model.leadfield.shape[1], times, rng)
    brain = model.leadfield @ (model.neighbours @ cortex)
    noise = rng.standard_normal(y.shape)
    both = 0
    for part, power in ((brain, share), (noise, 1 - share)):
        part = part - part.mean(axis=0)
        both = both + math.sqrt(power) * part / np.linalg.norm(part)
    return y + 10 ** (-snr_db / 20) * np.linalg.norm(y) * both


def distances(model, sources, places):
    """From the strongest to the true ones, mm."""
    strongest = np.square(np.asarray(sources, dtype=float)).sum(axis=2).argmax(axis=1)
    return 1e3 * np.linalg.norm(model.positions[strongest] - model.positions[places], axis=1)


@pytest.fixture(scope="module")
def energy(fsaverage_model):
    return EvidenceEnergy(fsaverage_model)


@pytest.mark.parametrize(("times", "snr_db"), [(250, 0), (64, 5)])
def test_ongoing_activity_is_not_taken_for_patches(energy, fsaverage_model, times, snr_db):
    """As strong as the patch, it was: six patches, and 30 mm off where sLORETA was 15."""
    places = np.arange(100, 1000, 75)
    y = np.stack([ongoing(fsaverage_model, one, times, 0.8, snr_db, 1) for one in places])
    problem = energy.problem(y)
    assert problem.patches.asked.sum(1).double().mean() < 2.5
    if snr_db == 0:
        assert bool((problem.patches.background > 0).all())
    ours = distances(fsaverage_model, energy.reconstruct(y).sources, places)
    linear = distances(fsaverage_model, mne_python_inverse(fsaverage_model, y, "sLORETA"), places)
    assert ours.mean() < 0.7 * linear.mean()
