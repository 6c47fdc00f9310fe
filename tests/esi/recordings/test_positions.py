"""Channels by place: refused or told where positions are not those of the names."""

from __future__ import annotations

import warnings

import mne
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eeg_recordings import ROWS, SENSORS, standard
from learnmm_esi.head.electrodes import electrode_info
from learnmm_esi.recordings.channels import match_channels
from learnmm_esi.recordings.positions import check_positions, fit_positions


def moved(info, change):
    """Electrodes elsewhere; `change` takes and gives positions in metres."""
    info = info.copy()
    places = np.array([channel["loc"][:3] for channel in info["chs"]])
    for channel, place in zip(info["chs"], change(places), strict=True):
        channel["loc"][:3] = place
    return info


def compare(info):
    check_positions(info, match_channels(info, SENSORS), electrode_info(1.0))


def turned(degrees):
    angle = np.radians(degrees)
    turn = [[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]]
    return lambda places: places @ np.transpose(turn)


@pytest.mark.parametrize(
    "montage",
    ["colin27_1005", "fsaverage_1005", "spherical_1005", "biosemi64", "easycap-M1", "biosemi16"],
)
def test_montages_of_other_makers_agree(montage):
    made = mne.channels.make_standard_montage(montage)
    names = [n for n in made.ch_names if n in ROWS]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        compare(mne.create_info(names, 100.0, "eeg").set_montage(made))


@pytest.mark.parametrize("seed", range(5))
def test_names_at_other_places_are_refused(seed):
    order = np.random.default_rng(seed).permutation(len(SENSORS))
    with pytest.raises(ValueError, match=r"names and positions .* disagree: .* by \d+ mm, "):
        compare(moved(standard(), lambda places: places[order]))
    with pytest.raises(ValueError, match="disagree"):
        compare(moved(standard(), lambda places: places * [-1, 1, 1]))  # left for right


def test_two_names_exchanged_are_named():
    def exchange(places):
        places = places.copy()
        places[[ROWS["Fp1"], ROWS["O2"]]] = places[[ROWS["O2"], ROWS["Fp1"]]]
        return places

    with pytest.warns(RuntimeWarning, match=r"2 of 90 electrodes lie far .*(Fp1|O2) by 2\d\d mm"):
        compare(moved(standard(), exchange))


@pytest.mark.parametrize("degrees", [-90, 30, 45, 90, 180])
def test_turned_positions_are_told_with_their_angle(degrees):
    with pytest.warns(RuntimeWarning, match=f"turned by {abs(degrees)} degrees against the head"):
        compare(moved(standard(), turned(degrees)))


def test_millimetres_and_shifts_are_told():
    with pytest.warns(RuntimeWarning, match="1e\\+03 times as far apart"):
        compare(moved(standard(), lambda places: 1e3 * places))
    with pytest.warns(RuntimeWarning, match="shifted by 100 mm"):
        compare(moved(standard(), lambda places: places + np.array([0, 0.1, 0])))


@pytest.mark.parametrize("value", [0.0, np.nan])
def test_absent_positions_are_fine(value):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        compare(moved(standard(), lambda places: np.full_like(places, value)))
        compare(moved(standard(), lambda places: np.full_like(places, 0.05)))  # all at one place
        compare(mne.create_info(list(SENSORS), 100.0, "eeg"))


@given(st.integers(0, 2**32 - 1), st.floats(0.1, 10.0))
def test_a_similarity_is_found(seed, scale):
    rng = np.random.default_rng(seed)
    places = rng.standard_normal((20, 3))
    rotation = np.linalg.qr(rng.standard_normal((3, 3)))[0]
    rotation *= np.sign(np.linalg.det(rotation))
    shift = rng.standard_normal(3)
    fit = fit_positions(places, scale * places @ rotation.T + shift)
    # Rounding of about 60 products of size 10 * scale, through a 3 x 3 decomposition.
    assert fit.residuals.max() <= 1e-12 * scale + 1e-13
    assert fit.scale == pytest.approx(scale, rel=1e-12)
    # The cosine loses the digits of small angles: sqrt(eps).
    assert np.cos(np.radians(fit.angle)) == pytest.approx((np.trace(rotation) - 1) / 2, abs=1e-12)


def test_a_recording_is_compared_when_it_is_applied(inverse, sensors):
    with pytest.raises(ValueError, match="names and positions"):
        inverse.apply(mne.EvokedArray(sensors[0], moved(standard(), lambda places: places[::-1])))
    with pytest.warns(RuntimeWarning, match="turned by 90 degrees"):
        inverse.apply(mne.EvokedArray(sensors[0], moved(standard(), turned(90))))
