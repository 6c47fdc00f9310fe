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
    assert CrossValidation(gain)(y) == pytest.approx(expected, rel=1e-10)
    assert CrossValidation(1e5 * gain)(1e-6 * y) == pytest.approx(expected, rel=1e-10)


def test_recordings_that_no_sources_make_are_told(fsaverage_model, recwarn):
    model = fsaverage_model
    rows = [ROWS[name] for name in mne.channels.make_standard_montage("biosemi32").ch_names]
    gain = model.leadfield[rows]
    predicted = CrossValidation(gain - gain.mean(axis=0))
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
