"""The noise of a recording is estimated from the recording and the lead field alone."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.stats import multivariate_normal

from learnmm_esi.inverse.noise import HIGHEST_SNR, LOWEST_SNR, NoiseModes, estimate_noise

BATCH = 60


@pytest.fixture(scope="module")
def modes(small_model):
    return NoiseModes.of(small_model.leadfield)


def drawn(modes, snr_db, times, batch=BATCH, seed=0):
    """Draws of the model: ``N(0, g K + H)``."""
    generator = torch.Generator().manual_seed(seed)
    deviation = (10 ** (snr_db / 10) * modes.values + 1).sqrt()
    shape = batch, len(deviation), times
    normal = torch.randn(shape, generator=generator, dtype=torch.float64)
    return modes.vectors @ (deviation[:, None] * normal)


def test_modes_are_those_of_the_lead_field(small_model, modes):
    gain = small_model.leadfield - small_model.leadfield.mean(axis=0)
    rank = len(gain) - 1
    assert modes.vectors.shape == (len(gain), rank)
    scaled = gain @ gain.T * rank / np.trace(gain @ gain.T)
    ours = (modes.vectors * modes.values) @ modes.vectors.mT
    np.testing.assert_allclose(ours.numpy(), scaled, atol=1e-12 * np.abs(scaled).max())
    identity = modes.vectors.mT @ modes.vectors
    np.testing.assert_allclose(identity.numpy(), np.eye(rank), atol=1e-12)
    assert float(modes.values.mean()) == pytest.approx(1.0)


@pytest.mark.parametrize("make", [np.float32, lambda v: torch.tensor(1e-6 * v), lambda v: v + 3.0])
def test_modes_know_neither_precision_nor_unit_nor_reference(small_model, modes, make):
    other = NoiseModes.of(make(small_model.leadfield))
    np.testing.assert_allclose(other.values.numpy(), modes.values.numpy(), rtol=1e-4)


def test_directions_that_projectors_remove_are_no_modes(small_model, modes):
    field = modes.vectors[:, 3].numpy()
    left = small_model.leadfield - np.outer(field, field @ small_model.leadfield)
    other = NoiseModes.of(left)
    assert other.vectors.shape[1] == modes.vectors.shape[1] - 1
    assert np.abs(field @ other.vectors.numpy()).max() < 1e-9


@pytest.mark.parametrize("times", [1, 5])
def test_is_the_mean_of_the_posterior(modes, times):
    """Against a sum over a grid of both unknowns, with the density of the whole recording."""
    y = drawn(modes, 5.0, times, batch=1)
    centred = (modes.vectors.mT @ y[0]).numpy()  # coordinates in which H is the identity
    gains = np.linspace(LOWEST_SNR, HIGHEST_SNR, 241) * math.log(10) / 10
    powers = np.linspace(-12, 12, 481)  # log s
    ratio = np.exp(gains)[:, None] * modes.values.numpy() + 1
    spread = np.exp(powers)[:, None] * ratio[:, None]  # (gains, powers, modes)
    energy = (centred**2).sum(1)
    log_p = -0.5 * (times * np.log(spread) + energy / spread).sum(2)
    weight = np.exp(log_p - log_p.max())
    mean = (weight.sum(1) * gains).sum() / weight.sum()
    found = estimate_noise(y, modes)
    assert -math.log(float(found.lambda2)) == pytest.approx(mean, abs=2e-3)


def test_the_dense_density_is_that_of_the_modes(modes):
    """What the test above sums is the normal density that the docstring names."""
    y = drawn(modes, 5.0, 1, batch=1)[0, :, 0].numpy()
    covariance = (modes.vectors * (3.0 * modes.values + 1)) @ modes.vectors.mT
    whole = multivariate_normal(cov=covariance.numpy(), allow_singular=True).logpdf(y)
    spread = (3.0 * modes.values + 1).numpy()
    parts = multivariate_normal(cov=np.diag(spread)).logpdf(modes.vectors.mT.numpy() @ y)
    assert whole == pytest.approx(parts)


@pytest.mark.parametrize("times", [20, 200])
@pytest.mark.parametrize("snr_db", [-10.0, 0.0, 5.0, 20.0])
def test_recovers_the_ratio_of_its_model(modes, snr_db, times):
    """Unbiased and as sharp as the Cramer-Rao bound: ``log g`` with the power ``s`` unknown."""
    gain = 10 ** (snr_db / 10)
    signal = gain * modes.values / (gain * modes.values + 1)
    information = times / 2 * float(((signal - signal.mean()) ** 2).sum())
    found = estimate_noise(drawn(modes, snr_db, times), modes)
    error = (-found.lambda2.log() - math.log(gain)) * math.sqrt(information)
    if information > 10:  # elsewhere the limits of the prior are in sight
        assert abs(float(error.mean())) < 4 / math.sqrt(BATCH) + 1 / math.sqrt(information)
        assert float(error.std()) < 1 + 4 / math.sqrt(2 * BATCH) + 1 / math.sqrt(information)
    expected = 1 / (1 + gain)
    assert float(found.share.mean()) == pytest.approx(expected, rel=0.15)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_knows_neither_unit_nor_sign_nor_order_of_samples(modes, dtype):
    y = drawn(modes, 5.0, 7, batch=4).to(dtype)
    one = estimate_noise(y, modes)
    assert {v.dtype for v in one} == {dtype}
    for other in (estimate_noise(2.0**-60 * y, modes), estimate_noise(-y, modes)):
        assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True))
    turned = estimate_noise(y.flip(2), modes)
    for a, b in zip(one, turned, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("times", [1, 3])
def test_recordings_do_not_influence_each_other(modes, times):
    y = drawn(modes, 5.0, times, batch=3)
    together = estimate_noise(y, modes)
    for i in range(3):
        alone = estimate_noise(y[i : i + 1], modes)
        for a, b in zip(together, alone, strict=True):
            torch.testing.assert_close(a[i : i + 1], b, rtol=1e-9, atol=1e-9)


def test_more_noise_is_more_noise(modes):
    """Also for one sample, where nothing but the spectrum of the modes tells."""
    signal, noise = drawn(modes, 60.0, 1), drawn(modes, -60.0, 1, seed=1)
    scale = float(signal.norm() / noise.norm())
    levels = [-15.0, -5.0, 5.0, 15.0, 25.0]
    found = [
        estimate_noise(signal + 10 ** (-level / 20) * scale * noise, modes) for level in levels
    ]
    means = [float(one.snr_db.mean()) for one in found]
    assert means == sorted(means)
    assert means[-1] - means[0] > 20


def test_limits_are_kept(modes):
    for snr_db in (-60.0, 90.0):
        found = estimate_noise(drawn(modes, snr_db, 50), modes)
        assert bool(((found.share > 0) & (found.share <= 1)).all())
        assert bool((found.snr_db >= LOWEST_SNR).all())
        db = -10 * found.lambda2.log10()
        assert bool(((db >= LOWEST_SNR - 1e-6) & (db <= HIGHEST_SNR + 1e-6)).all())
        expected = LOWEST_SNR if snr_db < 0 else HIGHEST_SNR
        assert abs(float(db.mean()) - expected) < 5


def test_misuse_is_named(modes):
    with pytest.raises(ValueError, match=r"estimate_noise: .* \(batch, 20, times\), got \(20, 3\)"):
        estimate_noise(torch.ones(20, 3), modes)
    with pytest.raises(ValueError, match=r"got \(1, 20, 0\)"):
        estimate_noise(torch.ones(1, 20, 0), modes)
    for bad in (torch.zeros(1, 20, 3), torch.full((1, 20, 3), torch.nan)):
        with pytest.raises(ValueError, match="finite and not zero"):
            estimate_noise(bad, modes)
    with pytest.raises(ValueError, match=r"NoiseModes: .* got shape \(4, 6\)"):
        NoiseModes.of(np.full((4, 6), np.nan))
    with pytest.raises(ValueError, match=r"NoiseModes: .* got shape \(3,\)"):
        NoiseModes.of(np.ones(3))
