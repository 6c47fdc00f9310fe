"""Channels by name: cleaned, counted, and left out where they are not known."""

from __future__ import annotations

import itertools

import mne
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eeg_recordings import ROWS, SENSORS, SFREQ
from learnmm_esi.recordings.channel_names import bipolar_pairs, references_of, sensor_rows
from learnmm_esi.recordings.channels import match_channels


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


def test_cleaned_names_change_nothing(model, inverse, sensors):
    info = model.info(SFREQ)
    expected = inverse.apply(mne.EvokedArray(sensors[0], info)).data
    for form in ("EEG {}-Ref", "EEG {}-LE", "{}."):
        named = mne.create_info([form.format(name) for name in info["ch_names"]], SFREQ, "eeg")
        got = inverse.apply(mne.EvokedArray(sensors[0], named)).data
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
    plain = mne.create_info(names, 100.0, "eeg")
    for info in (plain.copy().set_montage(montage), plain):
        if count > 32:
            with pytest.raises(ValueError, match="names of a BioSemi cap, in which A1, A2"):
                match_channels(info, SENSORS)
        with (
            pytest.warns(RuntimeWarning, match=rf"{count - 2 * (count == 32)} of {count} good"),
            pytest.raises(ValueError, match="at least 16 good EEG"),
        ):
            match_channels(info, SENSORS, "warn")
    # With a head model of the cap itself they are names like others.
    assert match_channels(info, names).rows.tolist() == list(range(count))


@pytest.mark.parametrize("count", [4, 8, 14, 15])
def test_few_channels_are_refused_with_the_number_and_the_reason(count):
    with pytest.raises(ValueError, match=rf"at least 16 .* got {count} .* a response from noise"):
        match_channels(mne.create_info(list(SENSORS[:count]), 100.0, "eeg"), SENSORS)
    match_channels(mne.create_info(list(SENSORS[:16]), 100.0, "eeg"), SENSORS)
