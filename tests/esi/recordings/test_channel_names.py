"""Channels by name and place: cleaned, counted, and refused where names and places disagree."""

from __future__ import annotations

import itertools
import warnings

import mne
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from learnmm_esi.head.electrodes import electrode_info, electrode_names
from learnmm_esi.recordings.apply import MMInverse
from learnmm_esi.recordings.channel_names import bipolar_pairs, references_of, sensor_rows
from learnmm_esi.recordings.channels import match_channels
from learnmm_esi.recordings.plausibility import CrossValidation
from learnmm_esi.recordings.positions import check_positions, fit_positions
from learnmm_esi.recordings.settings import InverseSettings
from learnmm_esi.simulation.erp import ERPSimulator

SENSORS = electrode_names()
ROWS = {name: row for row, name in enumerate(SENSORS)}
TIMES = 16


def placed(names, montage, sfreq=100.0):
    return mne.create_info(list(names), sfreq, "eeg").set_montage(montage)


def standard(names=SENSORS):
    return mne.pick_info(electrode_info(100.0), [ROWS[name] for name in names])


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


# ------------------------------------------------------------------------------------ names


@pytest.mark.parametrize(
    ("name", "sensor"),
    [
        ("EEG Fp1-Ref", "Fp1"), ("EEG T3-LE", "T7"), ("Fc5.", "FC5"), ("Fcz.", "FCz"),
        ("C3..", "C3"), ("EEG FP2-REF", "Fp2"), ("EEG F7-A1", "F7"), ("O1-A1A2", "O1"),
        ("EEG Cz", "Cz"), ("EEG-Pz", "Pz"), ("EEG_O2_Ref", "O2"), ("POL T6", "P8"),
        ("Fp1 - Ref", "Fp1"), ("t5-le", "P7"), ("EEG A2-Ref", "A2"), ("CB1", "PO9"),
        ("cb2", "PO10"), ("eeg cb2-ref", "PO10"), ("P3-AVG", "P3"), ("FPZ", "Fpz"), (" Cz ", "Cz"),
    ],
)  # fmt: skip
def test_names_of_archives_are_known(name, sensor):
    assert sensor_rows([name, "Oz"], SENSORS) == [ROWS[sensor], ROWS["Oz"]]


@pytest.mark.parametrize(
    "name", ["Fp1-F7", "EEG F7-T3", "ECG", "EEG", "", "-Ref", "EEG ECG-Ref", "E12", "EEG 001", "X1"]
)
def test_other_names_are_unknown(name):
    assert sensor_rows([name, "Cz", "Fz-Ref"], SENSORS) == [-1, ROWS["Cz"], ROWS["Fz"]]


@settings(max_examples=50)
@given(st.lists(st.text(max_size=12), min_size=1, max_size=5))
def test_any_text_is_a_name(names):
    rows = sensor_rows(names, SENSORS)
    assert len(rows) == len(names)
    assert all(-1 <= row < len(SENSORS) for row in rows)


def test_the_exact_name_goes_before_an_alias():
    assert sensor_rows(["T3", "T7", "cb1"], ["T7", "T3", "PO9", "CB1"]) == [1, 0, 3]


def test_a_common_electrode_of_reference_is_no_bipolar_derivation():
    names = ["Fz-Cz", "Pz-Cz", "O1-Cz"]
    assert sensor_rows(names, SENSORS) == [ROWS["Fz"], ROWS["Pz"], ROWS["O1"]]
    assert bipolar_pairs(names, SENSORS) == []
    names = ["Fp1-F7", "F7-T3", "T3-T5"]
    assert sensor_rows(names, SENSORS) == [-1, -1, -1]
    assert bipolar_pairs(names, SENSORS) == names
    assert references_of(["EEG Fp1-LE", "Fp2-A1A2"]) == ["a1a2"]


def test_bipolar_and_mixed_references_are_told():
    names = [f"{one}-{other}" for one, other in itertools.pairwise(SENSORS)]
    info = mne.create_info(names, 100.0, "eeg")
    with pytest.raises(ValueError, match=r"Fp1-Fpz, .* are differences of two electrodes, which"):
        match_channels(info, SENSORS)
    names = [f"{name}-A{1 + k % 2}" for k, name in enumerate(SENSORS[:20])]
    with pytest.warns(RuntimeWarning, match=r"against different electrodes \(a1, a2\)"):
        match_channels(mne.create_info(names, 100.0, "eeg"), SENSORS)


def test_cleaned_names_change_nothing(coarse_model):
    sensors = ERPSimulator(coarse_model, seed=3, times=TIMES).sample(0).sensors.astype(float)
    inverse = MMInverse(coarse_model, InverseSettings(max_iter=2))
    info = coarse_model.info(512.0)
    expected = inverse.apply(mne.EvokedArray(sensors, info)).data
    for form in ("EEG {}-Ref", "EEG {}-LE", "{}."):
        named = mne.create_info([form.format(name) for name in info["ch_names"]], 512.0, "eeg")
        got = inverse.apply(mne.EvokedArray(sensors, named)).data
        np.testing.assert_array_equal(got, expected)


def test_an_unknown_name_is_an_error_with_the_line_to_mend_it():
    info = mne.create_info([*SENSORS[:20], "E129"], 100.0, "eeg")
    message = r"1 of 21 good EEG channels.*rename_channels\(\{'E129': SENSOR, \.\.\.\}\)"
    with pytest.raises(ValueError, match=message):
        match_channels(info, SENSORS)


@pytest.mark.parametrize("count", [32, 64, 128, 160, 256])
def test_letters_of_biosemi_caps_are_other_places(count):
    montage = mne.channels.make_standard_montage("biosemi256" if count == 256 else "biosemi160")
    names = [f"{letter}{k}" for letter in "ABCDEFGH" for k in range(1, 33)][:count]
    for info in (placed(names, montage), mne.create_info(names, 100.0, "eeg")):
        if count > 32:
            with pytest.raises(ValueError, match="names of a BioSemi cap, in which A1, A2"):
                match_channels(info, SENSORS)
        with (
            pytest.warns(RuntimeWarning, match=rf"{count - 2 * (count == 32)} of {count} good"),
            pytest.raises(ValueError, match="at least 16 good EEG"),
        ):
            match_channels(info, SENSORS, "warn")
    # With a head model of the cap itself they are names like others.
    assert match_channels(info, names).rows.tolist() == list(
        range(count)
    )  # a head model of its own


@pytest.mark.parametrize("count", [4, 8, 14, 15])
def test_few_channels_are_refused_with_the_number_and_the_reason(count):
    with pytest.raises(ValueError, match=rf"at least 16 .* got {count} .* a response from noise"):
        match_channels(mne.create_info(list(SENSORS[:count]), 100.0, "eeg"), SENSORS)
    match_channels(mne.create_info(list(SENSORS[:16]), 100.0, "eeg"), SENSORS)


# ---------------------------------------------------------------------------------- places


@pytest.mark.parametrize(
    "montage",
    ["colin27_1005", "fsaverage_1005", "spherical_1005", "biosemi64", "easycap-M1", "biosemi16"],
)
def test_montages_of_other_makers_agree(montage):
    made = mne.channels.make_standard_montage(montage)
    names = [n for n in made.ch_names if n in ROWS]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        compare(placed(names, made))


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


def test_a_recording_is_compared_when_it_is_applied(coarse_model):
    inverse = MMInverse(coarse_model, InverseSettings(max_iter=1))
    sensors = ERPSimulator(coarse_model, seed=3, times=TIMES).sample(0).sensors.astype(float)
    with pytest.raises(ValueError, match="names and positions"):
        inverse.apply(mne.EvokedArray(sensors, moved(standard(), lambda places: places[::-1])))
    with pytest.warns(RuntimeWarning, match="turned by 90 degrees"):
        inverse.apply(mne.EvokedArray(sensors, moved(standard(), turned(90))))


# ---------------------------------------------------------------------------- plausibility


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
def test_an_implausible_recording_is_told_with_its_estimate(coarse_model, kind):
    sample = ERPSimulator(coarse_model, seed=3, times=TIMES).sample(0).sensors.astype(float)
    names = mne.channels.make_standard_montage("biosemi64").ch_names
    data = sample[[ROWS[name] for name in names]]
    if kind == "noise":
        data = 1e-6 * np.random.default_rng(0).standard_normal(data.shape)
    else:
        data = data - np.roll(data, 1, axis=0)
    evoked = mne.EvokedArray(data - data.mean(axis=0), standard(names), comment="left")
    with pytest.warns(RuntimeWarning, match="topography of evoked 'left' is implausible"):
        MMInverse(coarse_model, InverseSettings(max_iter=1)).apply(evoked)
