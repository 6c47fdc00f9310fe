"""Clips with a spike, and clips of background."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.signal import find_peaks

from learnmm_esi.simulation import spikes as spikes_module
from learnmm_esi.simulation.jansen_rit import (
    JansenRitParameters,
)
from learnmm_esi.simulation.spike_extent import spike_extent
from learnmm_esi.simulation.spikes import (
    BACKGROUND_DEVIATION,
    background_clips,
    parted_clips,
    spike_clips,
)

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


def test_a_spike_reaches_from_mean_to_mean_over_its_trough():
    above = np.full(500, 0.5)
    above[[170, 190]] = 0.05, -0.1  # at the mean before the peak
    above[200], above[230] = 10.0, -0.02  # a crossing before the trough does not end it
    above[270], above[300], above[310] = -2.0, 0.4, 0.08
    assert spike_extent(above, 200) == slice(190, 311)
    above[310] = 0.5  # nothing is at the mean any more: 0.4 comes nearest
    assert spike_extent(above, 200) == slice(190, 301)
    assert spike_extent(above[:260], 200).stop == 251  # cut off before the trough
    with pytest.raises(IndexError, match="peak 500 is none of 500 samples"):
        spike_extent(above, 500)


def test_parted_clips_are_seconds_of_spikes_drawn_uniformly(monkeypatch):
    """Three spikes in one second and one in another; a close second peak is none of its own."""
    peaks = np.array([610, 760, 905, 1900, 1960])
    series = np.exp(-0.5 * ((np.arange(2550) - peaks[:, None]) / 8.0) ** 2).sum(axis=0)
    series = 2.0 + 10.0 * series + 0.01 * np.sin(np.arange(2550))

    def columns(generators, parameters):
        return np.stack([series] * len(generators))

    monkeypatch.setattr(spikes_module, "_series", columns)
    clips = parted_clips(0, range(400))
    assert clips.shape == (400, 2, 500)
    assert clips.dtype == np.float32
    whole = {start: series[start : start + 500] for start in (500, 1500)}
    counts = dict.fromkeys(whole, 0)
    for rest, spikes in clips:
        start = min(whole, key=lambda s: np.abs(rest + spikes - whole[s]).max())
        np.testing.assert_allclose(rest + spikes, whole[start], rtol=1e-6)
        assert (spikes[whole[start] > 3.0] > 0.0).all()
        assert np.ptp(rest[spikes != 0.0]) < 1e-6  # there, the column's mean
        counts[start] += 1
    # Three of four: a binomial deviation is 8.7, and five are allowed.
    assert abs(counts[500] - 300) < 44


def test_parted_clips_of_a_column_depend_on_seed_and_index_alone():
    clips = parted_clips(0, [5, 2])
    np.testing.assert_array_equal(parted_clips(0, [2])[0], clips[1])
    for clip in clips:
        peaks = find_peaks(clip.sum(axis=0), height=8.0)[0]
        assert len(peaks) >= 1
        assert (clip[1, peaks] > 0.0).all()


def test_background_stays_quiet():
    clips = background_clips(0, 10)
    assert clips.shape == (10, 500)
    np.testing.assert_allclose(clips.mean(axis=1), 0.0, atol=1e-5)
    # Ten clips of columns that decorrelate within a tenth of a second: some hundred numbers.
    assert clips.std() == pytest.approx(BACKGROUND_DEVIATION, rel=0.3)
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
