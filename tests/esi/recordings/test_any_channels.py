"""Weights for any channels: recordings that lack some, in turns, each on its own lead field."""

from __future__ import annotations

import mne
import numpy as np

from eeg_recordings import SFREQ, assert_same
from learnmm_esi.recordings.apply import MMInverse
from learnmm_esi.recordings.settings import InverseSettings


def test_recordings_take_turns(model, evoked, epochs, any_weights, monkeypatch) -> None:
    monkeypatch.setattr("learnmm_esi.recordings.batches.BATCH_VALUES", 1)
    settings = InverseSettings(weights=any_weights)
    inverse = MMInverse(model, settings)
    fewer = evoked.copy().drop_channels(evoked.ch_names[::3])
    expected = [stc.data for stc in inverse.apply(epochs)]
    alone = MMInverse(model, settings).apply(fewer).data
    found = []
    for stc in inverse.apply(epochs, return_generator=True):
        found.append(stc.data)
        assert_same(inverse.apply(fewer).data, alone)
    for one, other in zip(found, expected, strict=True):
        assert_same(one, other)


def test_a_lead_field_is_decomposed_once_for_recordings_that_share_it(
    model, evoked, any_weights
) -> None:
    inverse = MMInverse(model, InverseSettings(weights=any_weights))
    first = inverse.apply(evoked)
    learned = inverse._engine.of(evoked.info).learned
    modes = learned.solver.energy.modes
    assert_same(inverse.apply(evoked).data, first.data)
    assert learned.solver.energy.modes is modes
    inverse.apply(evoked.copy().drop_channels(evoked.ch_names[:3]))
    assert learned.solver.energy.modes is not modes


def test_any_length_rate_and_projector_will_do(model, evoked, any_weights) -> None:
    inverse = MMInverse(model, InverseSettings(weights=any_weights))
    short = evoked.copy().crop(*evoked.times[[3, 3]])
    assert inverse.apply(short).shape == (60, 1)
    slow = mne.EvokedArray(evoked.data, model.info(SFREQ / 3), verbose="ERROR")
    slow.set_eeg_reference(projection=True, verbose="ERROR")
    assert_same(inverse.apply(slow).data, inverse.apply(evoked).data)
    weaker = evoked.copy()
    weaker.data *= 1e-2
    assert_same(100 * inverse.apply(weaker).data, inverse.apply(evoked).data)


def test_a_raw_is_cut_into_seconds(model, raw, any_weights) -> None:
    inverse = MMInverse(model, InverseSettings(weights=any_weights))
    stc, fits = inverse.apply(raw, return_result=True)
    assert len(fits) == 1
    assert np.isfinite(stc.data).all()
