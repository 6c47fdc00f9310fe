"""Raw recordings: which samples are reconstructed, and in which parts."""

from __future__ import annotations

import mne
import numpy as np
import pytest

from eeg_recordings import SFREQ, TIMES
from learnmm_esi.recordings.raw_parts import RawSpan


@pytest.mark.parametrize("description", ["BAD_blink", "bad", "Bad segment"])
def test_samples_called_bad_are_left_out(inverse, raw, sensors, description):
    bad = slice(2 * TIMES, 3 * TIMES)
    raw.set_annotations(mne.Annotations(2 * TIMES / SFREQ, TIMES / SFREQ, description))
    raw._data[3, bad] = np.nan
    stc, fits = inverse.apply(raw, span=RawSpan(buffer_size=TIMES), return_result=True)
    assert len(fits) == 5
    assert stc.shape == (60, 6 * TIMES)
    good = np.ones(6 * TIMES, dtype=bool)
    good[bad] = False
    assert np.isnan(stc.data[:, ~good]).all()
    assert np.isfinite(stc.data[:, good]).all()
    # The rest is what it is without the bad samples.
    single = inverse.apply(mne.EvokedArray(sensors[4], raw.info)).data
    scale = np.abs(single).max()
    np.testing.assert_allclose(stc.data[:, 4 * TIMES : 5 * TIMES], single, atol=1e-4 * scale)
    with pytest.raises(ValueError, match="not finite"):
        inverse.apply(raw, span=RawSpan(reject_by_annotation=False))


def test_annotations_are_counted_as_mne_counts_them(inverse, raw):
    """With a measurement date, a first sample, a crop and spans that overlap or leave the data."""
    raw = mne.io.RawArray(raw.get_data(), raw.info, first_samp=1000, verbose="ERROR")
    raw.set_meas_date(1e9)
    onsets = raw.first_time + np.array([0.01, 0.02, 0.1, 0.17])
    spans = mne.Annotations(
        onsets, 0.02, ["bad a", "BAD b", "blink", "bad c"], raw.info["meas_date"]
    )
    raw.set_annotations(spans)
    raw.crop(tmin=4 / SFREQ)
    kept = raw.get_data(reject_by_annotation="omit", verbose="ERROR").shape[1]
    stc = inverse.apply(raw)
    assert np.isfinite(stc.data).all(axis=0).sum() == kept < raw.n_times
    part = inverse.apply(raw, span=RawSpan(start=8, stop=40))
    kept = raw.get_data(start=8, stop=40, reject_by_annotation="omit", verbose="ERROR").shape[1]
    assert np.isfinite(part.data).all(axis=0).sum() == kept < 32


def test_a_raw_that_is_bad_throughout_is_refused(inverse, raw):
    raw.set_annotations(mne.Annotations(0.0, 10.0, "BAD"))
    with pytest.raises(ValueError, match="annotations mark all samples from 4 to 95 as bad"):
        inverse.apply(raw, span=RawSpan(start=4))


def test_values_that_are_not_finite_still_stop_where_nobody_called_them_bad(inverse, raw):
    raw.set_annotations(mne.Annotations(0.0, 0.01, "BAD"))
    raw._data[3, 50] = np.inf
    with pytest.raises(ValueError, match=r"sample \d+ to \d+ has values .* not finite in AF9"):
        inverse.apply(raw)


@pytest.mark.parametrize("name", ["start", "stop", "buffer_size"])
@pytest.mark.parametrize("value", [0.1, 1.0, np.float64(16.0), "3", np.nan])
def test_seconds_are_no_samples(name, value):
    with pytest.raises(TypeError, match=rf"{name} counts samples, .*raw.time_as_index\("):
        RawSpan(**{name: value})


def test_any_integer_is_a_sample(inverse, raw):
    first = raw.time_as_index(0.05)[0]
    stc = inverse.apply(raw, span=RawSpan(start=first, stop=np.int32(first + 8)))
    assert stc.shape == (60, 8)
    assert stc.tmin == raw.times[first]
    assert inverse.apply(raw, span=RawSpan(start=-8)).shape == (60, 8)
