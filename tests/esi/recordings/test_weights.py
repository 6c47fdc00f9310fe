"""Weights on recordings: of which length, on which head model, in which process."""

from __future__ import annotations

import copy
import dataclasses
import multiprocessing
import pickle
import warnings

import mne
import numpy as np
import pytest

from eeg_recordings import FEW, SFREQ, TIMES, save_untrained
from learnmm_esi.recordings.apply import MMInverse, apply_mm
from learnmm_esi.recordings.settings import InverseSettings


def test_an_inverse_is_pickled_and_copied(coarse_model, evoked, weights):
    for inverse in (
        MMInverse(coarse_model, FEW),
        MMInverse(coarse_model, InverseSettings(weights=weights)),
        MMInverse(coarse_model, InverseSettings(weights=weights, guided=True)),
    ):
        expected = inverse.apply(evoked).data
        for again in (pickle.loads(pickle.dumps(inverse)), copy.deepcopy(inverse)):
            np.testing.assert_array_equal(again.apply(evoked).data, expected)


def test_an_inverse_serves_other_processes(coarse_model, evoked, weights):
    inverse = MMInverse(coarse_model, InverseSettings(weights=weights))
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        (stc,) = pool.map(inverse.apply, [evoked])
    expected = inverse.apply(evoked).data
    np.testing.assert_allclose(stc.data, expected, atol=1e-4 * np.abs(expected).max())


def test_recordings_of_another_length_are_told(coarse_model, sensors, weights):
    inverse = MMInverse(coarse_model, InverseSettings(weights=weights))
    info = coarse_model.info(SFREQ)
    for times, told in ((7, True), (8, False), (32, False), (33, True)):
        evoked = mne.EvokedArray(np.hstack(list(sensors))[:, :times], info)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            inverse.apply(evoked)
        found = [str(one.message) for one in caught if "were trained on" in str(one.message)]
        found = [one for one in found if "of 16 samples (31 ms), this one has" in one]
        assert bool(found) == told, times
    epochs = mne.EpochsArray(np.concatenate([sensors] * 4, axis=2), info, verbose="ERROR")
    with pytest.warns(RuntimeWarning, match="of 16 samples .*, this one has 64"):
        inverse.apply(epochs)


def test_parts_of_a_raw_are_as_long_as_those_of_the_training(coarse_model, raw, weights):
    inverse = MMInverse(coarse_model, InverseSettings(weights=weights))
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=".*trained on recordings of.*")
        with pytest.warns(RuntimeWarning, match=r"\(and little of \d others\)"):  # once for all
            _, fits = inverse.apply(raw, return_result=True)
    assert len(fits) == 6


def test_short_rests_between_bad_samples_are_told(coarse_model, raw, weights):
    raw.set_annotations(mne.Annotations([3 / SFREQ, 40 / SFREQ], 10 / SFREQ, "BAD"))
    inverse = MMInverse(coarse_model, InverseSettings(weights=weights))
    with pytest.warns(RuntimeWarning, match="of 16 samples .*, this one has 3"):
        inverse.apply(raw)


def test_a_method_of_one_length_says_so(coarse_model, raw, evoked, tmp_path):
    path = save_untrained(tmp_path / "fixed.safetensors", coarse_model, "modgrad")
    inverse = MMInverse(coarse_model, InverseSettings(weights=path))
    assert inverse.apply(evoked).shape == (60, TIMES)
    with pytest.raises(ValueError, match=r"of 16 samples \(31 ms\) alone, this one has 10"):
        inverse.apply(evoked.copy().crop(*evoked.times[[0, 9]]))


def test_a_badly_explained_recording_is_told(coarse_model, evoked, weights):
    """Weights that learned nothing start anywhere."""
    inverse = MMInverse(coarse_model, InverseSettings(weights=weights))
    with pytest.warns(RuntimeWarning, match=r"explains \d+ % of evoked 'left': do not trust it"):
        _, fit = inverse.apply(evoked, return_result=True)
    assert fit.explained < 0.5


def test_weights_transfer_when_asked_to(coarse_model, evoked, weights):
    other = dataclasses.replace(
        coarse_model, leadfield=coarse_model.leadfield * (1 + 0.1 * np.sin(np.arange(60)))
    )
    with pytest.raises(ValueError, match="lead field"):
        MMInverse(other, InverseSettings(weights=weights))
    stc = apply_mm(evoked, other, InverseSettings(weights=weights, transfer=True))
    assert stc.shape == (60, TIMES)
