"""Clips with a spike, and clips of background."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.signal import find_peaks

from learnmm_esi.simulation.jansen_rit import (
    JansenRitParameters,
)
from learnmm_esi.simulation.spikes import background_clips, spike_clips

NORMAL = JansenRitParameters()


@pytest.fixture(scope="module")
def spikes():
    return spike_clips(0, range(64))


def test_isolated_clips_have_one_spike_anywhere(spikes):
    assert spikes.shape == (64, 500)
    assert spikes.dtype == np.float32
    peaks = [find_peaks(clip, height=8.0)[0] for clip in spikes]
    assert all(len(p) == 1 for p in peaks)
    where = np.concatenate(peaks)
    assert where.min() < 100
    assert where.max() > 400
    assert 10.0 < np.median(spikes.max(axis=1)) < 13.0


def test_any_and_multiple_spikes():
    counts = {}
    for choice, number in (("any", 16), ("multiple", 3)):
        clips = spike_clips(1, range(number), choice)
        counts[choice] = [len(find_peaks(clip, height=8.0)[0]) for clip in clips]
    assert min(counts["any"]) == 1
    assert min(counts["multiple"]) == 2


def test_a_clip_depends_on_seed_and_index_alone(spikes):
    np.testing.assert_array_equal(spike_clips(0, [40, 3, 3]), spikes[[40, 3, 3]])
    assert not np.array_equal(spike_clips(1, [3])[0], spikes[3])


def test_background_stays_quiet():
    clips = background_clips(0, 10)
    assert clips.shape == (10, 500)
    np.testing.assert_allclose(clips.mean(axis=1), 0.0, atol=1e-5)
    assert 0.1 < clips.std() < 1.0
    assert np.abs(clips).max() < 4.0
    assert len(np.unique(clips[:, 0])) == 10


def test_columns_that_do_not_spike_are_an_error(monkeypatch):
    monkeypatch.setattr("learnmm_esi.simulation.spikes._ATTEMPTS", 1)
    with pytest.raises(RuntimeError, match="hardly spikes"):
        spike_clips(0, [0], parameters=NORMAL)


def test_misuse_is_named():
    with pytest.raises(ValueError, match="choice"):
        spike_clips(0, [0], "lonely")
    with pytest.raises(ValueError, match="negative"):
        spike_clips(0, [-1])
    with pytest.raises(ValueError, match="count"):
        background_clips(0, 0)
