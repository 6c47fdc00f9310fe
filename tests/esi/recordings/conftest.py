"""Six short recordings and their inverse, of the coarse head model."""

from __future__ import annotations

import mne
import numpy as np
import pytest

from eeg_recordings import FEW, SFREQ, save_untrained, simulated
from learnmm_esi.recordings.apply import MMInverse


@pytest.fixture(scope="session")
def model(coarse_model):
    return coarse_model


@pytest.fixture(scope="session")
def inverse(model):
    return MMInverse(model, FEW)


@pytest.fixture(scope="session")
def sensors(model):
    return simulated(model, 6)


@pytest.fixture
def evoked(model, sensors):
    evoked = mne.EvokedArray(sensors[0].copy(), model.info(SFREQ), tmin=-0.02, comment="left")
    return evoked.set_eeg_reference(projection=True, verbose="ERROR")


@pytest.fixture
def epochs(model, sensors):
    epochs = mne.EpochsArray(sensors.copy(), model.info(SFREQ), tmin=0.125, verbose="ERROR")
    return epochs.set_eeg_reference(projection=True, verbose="ERROR")


@pytest.fixture
def raw(model, sensors):
    raw = mne.io.RawArray(np.hstack(list(sensors)), model.info(SFREQ), verbose="ERROR")
    return raw.set_eeg_reference(projection=True, verbose="ERROR")


@pytest.fixture(scope="session")
def weights(model, tmp_path_factory):
    return save_untrained(tmp_path_factory.mktemp("weights") / "tiny.safetensors", model)


@pytest.fixture(scope="session")
def any_weights(model, tmp_path_factory):
    """Weights that serve any channels, lengths and rates."""
    path = tmp_path_factory.mktemp("weights") / "any.safetensors"
    return save_untrained(path, model, sfreq=None)
