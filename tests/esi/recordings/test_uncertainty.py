"""The second estimate of an evoked response: where its main source may lie."""

from __future__ import annotations

import json
import pickle

import mne
import numpy as np
import pytest
from scipy import sparse

from eeg_recordings import SFREQ
from learnmm_esi.recordings.apply import MMInverse
from learnmm_esi.recordings.settings import InverseSettings
from learnmm_esi.recordings.uncertainty import BANDWIDTHS, _of_own
from scripts import EXAMPLES

pytestmark = pytest.mark.filterwarnings("ignore:the estimate explains", "ignore:the topography")


def size(stc: mne.SourceEstimate) -> int:
    return int((stc.data <= 0.9).sum())


@pytest.fixture(scope="module")
def found(inverse, model, sensors):
    evoked = mne.EvokedArray(sensors[0], model.info(SFREQ), tmin=-0.02)
    return inverse.uncertainty(evoked)


def test_it_is_one_sample_of_levels_on_the_sources(inverse, evoked, found):
    stc = inverse.apply(evoked)
    assert found.shape == (60, 1)
    assert ((found.data > 0) & (found.data <= 1)).all()
    for got, expected in zip(found.vertices, stc.vertices, strict=True):
        np.testing.assert_array_equal(got, expected)
    main = stc.data[np.square(stc.data).sum(axis=1).argmax()]
    assert found.tmin == pytest.approx(stc.times[np.abs(main).argmax()])
    assert found.subject == "fsaverage"


def test_the_region_holds_the_main_source(inverse, evoked, found):
    main = np.square(inverse.apply(evoked).data).sum(axis=1).argmax()
    assert found.data[main, 0] <= 0.9


def test_the_comment_says_level_radius_and_bandwidth(found):
    assert "the 90% region is level <= 0.9" in found.comment
    assert f"within {1e3 * found.radius:.0f} mm" in found.comment
    assert f"bandwidth {1e3 * BANDWIDTHS['unguided']:.1f} mm, 32 draws" in found.comment


def test_neither_scale_nor_other_random_numbers_play_a_role(inverse, evoked, found):
    before = evoked.data.copy()
    np.random.seed(1)  # noqa: NPY002 - the state that must not matter
    np.testing.assert_array_equal(inverse.uncertainty(evoked).data, found.data)
    np.testing.assert_array_equal(evoked.data, before)
    evoked.data *= 3
    again = pickle.loads(pickle.dumps(inverse)).uncertainty(evoked)
    np.testing.assert_allclose(again.data, found.data, atol=1e-6)
    noise = np.random.default_rng(0).standard_normal(before.shape)  # else all draws agree
    evoked.data = 4 * noise * np.linalg.norm(before) / np.linalg.norm(noise) + before
    first, other = (inverse.uncertainty(evoked, seed=seed).data for seed in (0, 1))
    assert not np.array_equal(first, other)


def test_more_noise_gives_a_larger_region(inverse, evoked):
    clean = inverse.model.leadfield @ inverse.apply(evoked).data.astype(float)
    noise = np.random.default_rng(0).standard_normal(clean.shape)
    noise -= noise.mean(axis=0)
    sizes = []
    for share in (0.01, 4.0, 8.0):
        evoked.data = clean + share * noise * np.linalg.norm(clean) / np.linalg.norm(noise)
        sizes.append(size(inverse.uncertainty(evoked)))
    assert sizes[0] < sizes[1] < sizes[2]


def test_weights_have_a_bandwidth_of_their_own(model, evoked, weights):
    inverse = MMInverse(model, InverseSettings(weights=weights))
    stc = inverse.uncertainty(evoked, draws=3)
    assert f"bandwidth {1e3 * BANDWIDTHS['learned']:.1f} mm, 3 draws" in stc.comment


def test_a_source_of_ones_own_has_the_lowest_level_of_its_regions():
    shares = sparse.csr_matrix([[2.0, 0.0, 1.0, 0.0], [0.0, 1.0, 1.0, 0.0]])
    np.testing.assert_array_equal(_of_own(shares, np.array([0.3, 0.2])), [0.3, 0.2, 0.2, 1.0])


def test_epochs_and_raw_are_refused(inverse, epochs, raw):
    for inst in (epochs, raw):
        with pytest.raises(TypeError, match=r"one mne\.Evoked: \w+ has other main sources"):
            inverse.uncertainty(inst)
    with pytest.raises(TypeError, match=r"one mne\.Evoked: got list"):
        inverse.uncertainty([])


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"draws": 0}, "draws must be a positive integer, at most 10000, got 0"),
        ({"draws": 2.0}, r"draws must be a positive integer, at most 10000, got 2\.0"),
        ({"seed": -1}, "seed must be an integer of 0 or more, at most"),
        ({"seed": None}, "seed must be an integer of 0 or more, at most .*, got None"),
    ],
)
def test_what_cannot_be_drawn_is_refused(inverse, evoked, wrong, told):
    with pytest.raises(ValueError, match=told):
        inverse.uncertainty(evoked, **wrong)


def test_progress_is_shown_when_asked_for(inverse, evoked, capsys):
    inverse.uncertainty(evoked, draws=2)
    assert capsys.readouterr().err == ""
    inverse.uncertainty(evoked, draws=2, progress=True)
    assert "2/2" in capsys.readouterr().err


def test_bandwidths_are_those_that_were_calibrated():
    content = json.loads((EXAMPLES / "esi" / "results" / "coverage.json").read_text("utf-8"))
    assert content["bandwidths"]
    assert {**BANDWIDTHS, **content["bandwidths"]} == BANDWIDTHS
