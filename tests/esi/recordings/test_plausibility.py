"""Whether channels predict each other: of recordings, and not of noise."""

from __future__ import annotations

import mne
import numpy as np
import pytest

from eeg_recordings import ROWS, standard
from learnmm_esi.recordings.plausibility import CrossValidation
from learnmm_esi.simulation.erp import ERPSimulator


def test_channels_predict_each_other_as_leaving_each_out_does():
    rng = np.random.default_rng(0)
    gain = rng.standard_normal((9, 30))
    y = rng.standard_normal((9, 4))
    covariance = gain @ gain.T
    scale = 9 / np.trace(covariance)
    left_out = np.empty_like(y)
    for k in range(9):
        rest = np.arange(9) != k
        inverse = np.linalg.inv(scale * covariance[np.ix_(rest, rest)] + np.eye(8))
        left_out[k] = scale * covariance[k, rest] @ inverse @ y[rest]
    expected = 1 - np.sum((y - left_out) ** 2) / np.sum(y**2)
    assert CrossValidation(gain, np.eye(9))(y) == pytest.approx(expected, rel=1e-10)
    assert CrossValidation(1e5 * gain, np.eye(9))(1e-6 * y) == pytest.approx(expected, rel=1e-10)


def test_recordings_that_no_sources_make_are_told(fsaverage_model, recwarn):
    model = fsaverage_model
    rows = [ROWS[name] for name in mne.channels.make_standard_montage("biosemi32").ch_names]
    gain = model.leadfield[rows]
    predicted = CrossValidation(gain - gain.mean(axis=0), np.eye(32) - 1 / 32)
    rng = np.random.default_rng(0)

    def share(data):
        return predicted(data - data.mean(axis=0))

    for snr_db, least in ((5.0, 0.3), (0.0, 0.1)):
        batch = ERPSimulator(model, seed=1, snr_db=snr_db).batch(range(8)).sensors[:, rows]
        assert min(map(share, batch.astype(float))) > least
    assert max(share(rng.standard_normal((32, 64))) for _ in range(8)) < 0.05


@pytest.mark.parametrize("kind", ["noise", "bipolar"])
def test_an_implausible_recording_is_told_with_its_estimate(inverse, sensors, kind):
    names = mne.channels.make_standard_montage("biosemi64").ch_names
    data = sensors[0][[ROWS[name] for name in names]]
    if kind == "noise":
        data = 1e-6 * np.random.default_rng(0).standard_normal(data.shape)
    else:
        data = data - np.roll(data, 1, axis=0)
    evoked = mne.EvokedArray(data - data.mean(axis=0), standard(names), comment="left")
    with pytest.warns(RuntimeWarning, match="topography of evoked 'left' is implausible"):
        inverse.apply(evoked)


def with_noise_in(data, channel, seed):
    """A recording one of whose channels has noise as strong as all others together."""
    noise = np.random.default_rng(seed).standard_normal(data.shape[1])
    spoilt = data.copy()
    spoilt[channel] += noise * np.linalg.norm(data) / np.linalg.norm(noise)
    return spoilt - spoilt.mean(axis=0)


@pytest.mark.parametrize("whitened", [False, True])
def test_a_channel_unlike_all_others_is_found_and_no_other(fsaverage_model, whitened):
    """However the recording is whitened, and in every unit."""
    names = mne.channels.make_standard_montage("biosemi64").ch_names
    rows = [ROWS[name] for name in names]
    seen = np.eye(64) - 1 / 64
    if whitened:
        seen = np.diag(np.random.default_rng(1).uniform(0.5, 2.0, 64)) @ seen
    predicted = CrossValidation(seen @ fsaverage_model.leadfield[rows], seen)
    sensors = ERPSimulator(fsaverage_model, seed=1, snr_db=10.0).batch(range(16)).sensors
    for number, data in enumerate(sensors[:, rows].astype(float)):
        assert predicted.odd_one(1e-3 * seen @ data) is None
        assert predicted.odd_one(1e3 * seen @ with_noise_in(data, 4 * number, number)) == 4 * number


def test_sources_below_sparse_electrodes_are_hardly_ever_taken_for_a_noisy_channel(fsaverage_model):
    """Without noise: none of one source, and few of patches and of two."""
    rows = [ROWS[name] for name in mne.channels.make_standard_montage("biosemi16").ch_names]
    seen = np.eye(16) - 1 / 16
    gain = seen @ fsaverage_model.leadfield[rows]
    predicted = CrossValidation(gain, seen)
    patches = gain + 0.5 * gain @ fsaverage_model.neighbours.toarray()
    others = np.random.default_rng(0).permutation(patches.T).T
    for fields, share in ((gain, 0.0), (patches, 0.005), (patches + others, 0.005)):
        told = [predicted.odd_one(field[:, None]) for field in fields.T]
        assert sum(channel is not None for channel in told) <= share * len(told)


def test_a_noisy_channel_is_named_once_for_all_epochs(inverse, sensors):
    names = mne.channels.make_standard_montage("biosemi64").ch_names
    data = sensors[0][[ROWS[name] for name in names]]
    data = data - data.mean(axis=0)
    noisy = np.stack([with_noise_in(data, names.index("Cz"), seed) for seed in range(3)])
    epochs = mne.EpochsArray(np.stack([data, *noisy]), standard(names), verbose="ERROR")
    with pytest.warns(RuntimeWarning, match="^Cz of epoch 1 and 2 others is unlike") as told:
        inverse.apply(epochs)
    assert sum("is unlike" in str(one.message) for one in told) == 1
