"""Samples of a filtered recording are not independent, and the solver knows."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.signal import butter, filtfilt

from learnmm_esi import EvidenceEnergy, mne_python_inverse
from learnmm_esi.inverse.noise import NoiseModes
from learnmm_esi.inverse.noise_spectrum import noise_spectrum, whitened_in_time

SFREQ = 500.0


def low_passed(noise, cut):
    """Noise ``(rows, times + 400)`` as a filter leaves it, without its ends."""
    if cut is None:
        return noise[:, 200:-200]
    return filtfilt(*butter(4, cut / (SFREQ / 2)), noise, axis=1)[:, 200:-200]


def recorded(model, source, times, snr_db, cut=None, seed=0):
    """One patch, and noise that was filtered or not."""
    generator = np.random.default_rng(seed)
    shape = 0.6 * model.neighbours[[source]].toarray()[0]
    shape[source] = 1.0
    y = np.outer(model.leadfield @ shape, np.hanning(times))
    noise = low_passed(generator.standard_normal((len(y), times + 400)), cut)
    noise = noise - noise.mean(axis=0)
    return y + noise * np.linalg.norm(y) / np.linalg.norm(noise) * 10 ** (-snr_db / 20)


def slow(model, times):
    """Activity of the whole cortex, without noise."""
    cortex = np.random.default_rng(0).standard_normal((model.leadfield.shape[1], times))
    return model.leadfield @ cortex.cumsum(axis=1).cumsum(axis=1)


def distance(model, sources, source):
    """From the strongest to the true one, mm."""
    strongest = np.square(sources.astype(float)).sum(axis=1).argmax()
    return 1e3 * np.linalg.norm(model.positions[strongest] - model.positions[source])


@pytest.fixture(scope="module")
def energy(fsaverage_model):
    return EvidenceEnergy(fsaverage_model)


@pytest.mark.parametrize(
    ("times", "snr_db", "cut"),
    [(250, 5, 30.0), (250, 0, 30.0), (250, 5, 100.0), (100, 5, 40.0), (500, 5, None)],
)
def test_filters_and_many_samples_do_not_lead_astray(energy, fsaverage_model, times, snr_db, cut):
    """Noise that seems to stand out is not explained by patches where nothing is."""
    ours, linear = [], []
    for number, source in enumerate((100, 300, 500, 700, 900)):
        y = recorded(fsaverage_model, source, times, snr_db, cut, seed=number)
        ours.append(distance(fsaverage_model, energy.reconstruct(y[None]).sources[0], source))
        found = mne_python_inverse(fsaverage_model, y[None], "sLORETA")[0]
        linear.append(distance(fsaverage_model, found, source))
    assert np.mean(ours) < 0.6 * np.mean(linear)
    assert np.median(ours) < 12


@pytest.mark.parametrize("cut", [None, 30.0, 100.0])
def test_the_noise_of_filtered_recordings_is_told(energy, fsaverage_model, cut):
    y = torch.from_numpy(recorded(fsaverage_model, 500, 250, 5, cut)[None])
    white = whitened_in_time(y, energy.modes)
    assert float(white.told.share) == pytest.approx(1 / (1 + 10**0.5), rel=0.15)
    assert (white.spectrum is None) == (cut is None)


@pytest.mark.parametrize("times", [1, 7, 15, 16, 50])
@pytest.mark.parametrize("snr_db", [-5, 5])
def test_white_noise_of_any_length_is_white(energy, fsaverage_model, times, snr_db):
    y = recorded(fsaverage_model, 500, times, snr_db)
    y = y if times > 1 else y + fsaverage_model.leadfield[:, [500]]
    seen = energy.modes.vectors.mT @ torch.from_numpy(y[None])
    assert noise_spectrum(seen, energy.modes) is None


@pytest.mark.parametrize("snr_db", [30, 40, 60])
def test_the_noise_of_clean_recordings_is_white(energy, fsaverage_model, snr_db):
    """Where a frequency is all signal, the limit on its ratio is no noise of it."""
    y = recorded(fsaverage_model, 500, 250, snr_db)
    seen = energy.modes.vectors.mT @ torch.from_numpy(y[None])
    assert noise_spectrum(seen, energy.modes) is None


def test_a_recording_without_noise_has_no_spectrum_of_it(energy, fsaverage_model):
    """Slow activity of the whole cortex is no noise of electrodes."""
    seen = energy.modes.vectors.mT @ torch.from_numpy(slow(fsaverage_model, 64)[None])
    assert noise_spectrum(seen, energy.modes) is None


def test_what_is_whitened_comes_back(fsaverage_model):
    modes = NoiseModes.of(fsaverage_model.leadfield)
    y = torch.from_numpy(recorded(fsaverage_model, 500, 250, 0, 100.0)[None])
    white = whitened_in_time(y, modes)
    assert white.spectrum is not None
    assert 0 < float(white.independent) < 250
    seen = modes.vectors.mT @ y
    # What a filter has cut is left out.
    assert float((white.restored(white.y) - seen).norm() / seen.norm()) < 0.05


@pytest.mark.parametrize("below", [5, 15, 25], ids="{} dB".format)
def test_the_hum_of_the_mains_is_noise_at_its_frequency(energy, fsaverage_model, below):
    """Strong hum is, and weak hum is no more than what a model does not know; neither is a patch.

    Patches that explained it were 65 mm off where it is a third of the signal's power, and 21 mm
    where it is a thirtieth.
    """
    ours = []
    for number, source in enumerate(range(60, 960, 100)):
        y = recorded(fsaverage_model, source, 250, 10, seed=number)
        hum = np.sin(2 * np.pi * 50 * np.arange(250) / SFREQ + number)
        hum = np.outer(np.random.default_rng(number).standard_normal(len(y)), hum)
        hum = hum - hum.mean(axis=0)
        y = y + hum * np.linalg.norm(y) / np.linalg.norm(hum) * 10 ** (-below / 20)
        ours.append(distance(fsaverage_model, energy.reconstruct(y[None]).sources[0], source))
    assert np.mean(ours) < 12


def test_each_recording_has_a_spectrum_of_its_own(energy, fsaverage_model):
    kinds = ((5, None), (0, 30.0), (5, 100.0))
    y = [recorded(fsaverage_model, 500, 120, db, cut) for db, cut in kinds]
    y = np.stack([*y, slow(fsaverage_model, 120)])
    together = energy.reconstruct(y).sources
    for alone, one in zip(y, together, strict=True):
        expected = energy.reconstruct(alone[None]).sources[0]
        np.testing.assert_allclose(one, expected, rtol=1e-4, atol=1e-6 * np.abs(expected).max())


def test_a_recording_that_is_silent_above_some_frequency_has_an_estimate(energy, fsaverage_model):
    """As one that was sampled up."""
    y = recorded(fsaverage_model, 500, 25, 5)
    y = np.fft.irfft(np.fft.rfft(y, axis=1), 200, axis=1)
    found = energy.reconstruct(y[None])
    assert np.isfinite(found.sources).all()
    assert distance(fsaverage_model, found.sources[0], 500) < 15
