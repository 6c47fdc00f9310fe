"""Sensor noise at an exact ratio."""

from __future__ import annotations

import math

import numpy as np
import pytest

from learnmm_esi.simulation.noise import add_sensor_noise, scale_to_snr


@pytest.mark.parametrize("snr_db", [-5.0, 0.0, 5.0, 20.0])
def test_noise_has_the_frobenius_ratio_asked_for(snr_db):
    generator = np.random.default_rng(0)
    signal = generator.standard_normal((6, 11))
    signal -= signal.mean(axis=0)
    noisy = add_sensor_noise(signal, snr_db, generator)
    ratio = 20 * np.log10(np.linalg.norm(signal) / np.linalg.norm(noisy - signal))
    assert ratio == pytest.approx(snr_db, abs=1e-10)
    np.testing.assert_allclose(noisy.mean(axis=0), 0.0, atol=1e-14)


def test_noise_is_white_within_the_average_reference():
    generator = np.random.default_rng(1)
    signal = np.ones((5, 20_000)) * np.array([[2.0], [-2.0], [1.0], [-1.0], [0.0]])
    noise = add_sensor_noise(signal, 0.0, generator) - signal
    covariance = np.cov(noise)
    centring = np.eye(5) - 0.2
    np.testing.assert_allclose(covariance, centring * np.trace(covariance) / 4, atol=0.05)


def test_no_noise_at_infinite_ratio():
    signal = np.array([[1.0, 2.0], [-1.0, -2.0]])
    assert (add_sensor_noise(signal, math.inf, np.random.default_rng(0)) == signal).all()


def test_misuse_is_named():
    with pytest.raises(ValueError, match="signal is zero"):
        scale_to_snr(np.ones(3), np.zeros(3), 5.0)
    with pytest.raises(ValueError, match="snr_db must be a number"):
        scale_to_snr(np.ones(3), np.ones(3), math.nan)
