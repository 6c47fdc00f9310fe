"""Estimates of regions, brought to every vertex of the cortex."""

from __future__ import annotations

import mne
import numpy as np
import pytest

from eeg_recordings import TIMES
from learnmm_esi.recordings.estimates import expand_estimate


def test_expanding_paints_every_vertex_of_fsaverage5(model, inverse, evoked):
    stc = inverse.apply(evoked)
    stc.data = 1 + np.abs(stc.data)  # an estimate may be silent in a whole half
    full = expand_estimate(stc, model)
    assert full.shape == (20484, TIMES)
    assert full.subject == "fsaverage"
    assert full.tmin == stc.tmin
    np.testing.assert_array_equal(
        full.data[model.regions >= 0], stc.data[model.regions[model.regions >= 0]]
    )
    assert not full.data[model.regions < 0].any()
    for half, sources in zip((full.lh_data, full.rh_data), model.vertices, strict=True):
        assert half.shape == (10242, TIMES)
        assert half[sources].any()
    elsewhere = mne.SourceEstimate(stc.data, [v + 1 for v in stc.vertices], 0, 1)
    with pytest.raises(ValueError, match="not lie on the sources of this head model"):
        expand_estimate(elsewhere, model)
