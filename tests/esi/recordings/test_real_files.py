"""Recordings as they come from files: complete, incomplete, mislabelled, and what is said then."""

from __future__ import annotations

import dataclasses
import warnings

import mne
import numpy as np
import pytest

from eeg_recordings import FEW, SFREQ, STEPS, TIMES, assert_same
from learnmm_esi.inverse.evidence import EvidenceEnergy
from learnmm_esi.recordings.apply import MMInverse, apply_mm
from learnmm_esi.recordings.preparation import MissingReferenceError
from learnmm_esi.recordings.raw_parts import RawSpan
from learnmm_esi.recordings.settings import SensorSettings


@pytest.fixture
def written(model, sensors, tmp_path):
    """Write one recording, changed first, and read it back."""

    def write(change=lambda evoked: evoked, reference=True):
        evoked = mne.EvokedArray(sensors[0].copy(), model.info(SFREQ), comment="left")
        if reference:
            evoked.set_eeg_reference(projection=True, verbose="ERROR")
        path = tmp_path / "recording-ave.fif"
        (change(evoked) or evoked).save(path, overwrite=True, verbose="ERROR")
        return mne.read_evokeds(path, 0, proj=False, verbose="ERROR")

    return write


@pytest.fixture(scope="session")
def expected(model, inverse, sensors):
    return inverse.apply(mne.EvokedArray(sensors[0], model.info(SFREQ))).data


# ----------------------------------------------------------------------- files of every kind


def test_an_evoked_file_and_an_estimate_file(inverse, written, expected, tmp_path):
    stc = inverse.apply(written())
    assert_same(stc.data, expected)
    stc.save(tmp_path / "estimate", verbose="ERROR")
    again = mne.read_source_estimate(tmp_path / "estimate", subject="fsaverage")
    np.testing.assert_array_equal(again.data, stc.data)
    assert again.tmin == pytest.approx(stc.tmin)
    assert again.tstep == pytest.approx(stc.tstep)
    for one, other in zip(again.vertices, stc.vertices, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("preload", [True, False])
def test_an_epochs_file_with_dropped_epochs(model, inverse, sensors, expected, tmp_path, preload):
    epochs = mne.EpochsArray(sensors.copy(), model.info(SFREQ), verbose="ERROR")
    epochs.set_eeg_reference(projection=True, verbose="ERROR")
    epochs.save(tmp_path / "recording-epo.fif", verbose="ERROR")
    read = mne.read_epochs(
        tmp_path / "recording-epo.fif", proj=False, preload=preload, verbose="ERROR"
    )
    read.drop([1], verbose="ERROR")
    estimates = inverse.apply(read, return_generator=True)
    estimates = list(estimates)
    assert len(estimates) == 5
    assert_same(estimates[0].data, expected)
    assert read.preload is preload


def test_epochs_of_a_raw_file_that_are_rejected_on_reading(model, inverse, sensors, tmp_path):
    data = np.hstack(sensors)
    data[4, 2 * TIMES + 3] = 0.01  # an artefact in the third epoch
    raw = mne.io.RawArray(data, model.info(SFREQ), verbose="ERROR")
    raw.set_eeg_reference(projection=True, verbose="ERROR")
    raw.save(tmp_path / "recording_raw.fif", verbose="ERROR")
    raw = mne.io.read_raw_fif(tmp_path / "recording_raw.fif", verbose="ERROR")
    events = np.array([[k * TIMES, 0, 1] for k in range(4)])
    epochs = mne.Epochs(
        raw,
        events,
        tmin=0,
        tmax=(TIMES - 1) / SFREQ,
        baseline=None,
        reject={"eeg": 5e-3},
        verbose="ERROR",
    )
    assert len(inverse.apply(epochs)) == 3
    assert not epochs.preload
    assert epochs.drop_log == ((), (), (), ())  # still to be found out by the owner


def test_a_raw_file_that_is_not_loaded(model, inverse, sensors, expected, tmp_path):
    raw = mne.io.RawArray(np.hstack(sensors), model.info(SFREQ), verbose="ERROR")
    raw.set_eeg_reference(projection=True, verbose="ERROR")
    raw.save(tmp_path / "recording_raw.fif", verbose="ERROR")
    read = mne.io.read_raw_fif(tmp_path / "recording_raw.fif", verbose="ERROR")
    stc = inverse.apply(read, span=RawSpan(buffer_size=TIMES))
    assert not read.preload
    assert stc.shape == (60, 6 * TIMES)
    assert_same(stc.data[:, :TIMES], expected)


def test_a_forward_file_in_place_of_the_model(model, written, tmp_path):
    path = tmp_path / "model-fwd.fif"
    mne.write_forward_solution(path, model.forward(), verbose="ERROR")
    smooth = dataclasses.replace(FEW, weight=1.0)  # chooses no places: what is near stays near
    expected = apply_mm(written(), model, smooth).data
    stc = MMInverse(path, smooth).apply(written())
    # Neighbours are found on the surface again, so the smoothness is nearly, not quite, the same.
    assert np.corrcoef(stc.data.ravel(), expected.ravel())[0, 1] > 0.95
    for one, other in zip(stc.vertices, model.vertices, strict=True):
        np.testing.assert_array_equal(one, other)
    forward = mne.read_forward_solution(path, verbose="ERROR")
    assert_same(apply_mm(written(), forward, smooth).data, stc.data)


def test_a_covariance_file_of_epochs(model, sensors, written, tmp_path):
    info = model.info(SFREQ)
    noise = 1e-6 * np.random.default_rng(0).standard_normal((40, 90, 20))
    epochs = mne.EpochsArray(noise, info, verbose="ERROR")
    epochs.set_eeg_reference(projection=True, verbose="ERROR")
    covariance = mne.compute_covariance(epochs, rank="info", verbose="ERROR")
    covariance.save(tmp_path / "noise-cov.fif", verbose="ERROR")
    stc, fit = apply_mm(
        written(),
        model,
        FEW,
        sensors=SensorSettings(noise_cov=tmp_path / "noise-cov.fif"),
        return_result=True,
    )
    assert fit.monotone
    assert np.isfinite(stc.data).all()
    few = mne.pick_channels_cov(covariance, exclude=["Cz", "Pz"])
    with pytest.raises(ValueError, match="the noise covariance lacks channels Cz, Pz of the rec"):
        apply_mm(written(), model, sensors=SensorSettings(noise_cov=few))


# ------------------------------------------------------------- channels missing, bad and renamed


def reference_without(model, sensors, left_out):
    """The array path on what is left of both sides, referenced to the average of what is left."""
    kept = [i for i, name in enumerate(model.channel_names) if name not in left_out]
    gain, data = model.leadfield[kept], sensors[:1, kept]
    left = dataclasses.replace(model, leadfield=gain - gain.mean(axis=0))
    energy = EvidenceEnergy(left)
    return energy.reconstruct(data - data.mean(axis=1, keepdims=True), max_iter=STEPS).sources[0]


def test_missing_and_bad_channels_are_left_out_on_both_sides(model, inverse, sensors, written):
    left_out = list(model.channel_names[:40])  # one end of the head: its mean is far from zero
    expected = reference_without(model, sensors, left_out)
    missing = written(lambda evoked: evoked.drop_channels(left_out))
    assert_same(inverse.apply(missing).data, expected)

    def spoil(evoked):
        evoked.info["bads"] = left_out
        evoked.data[evoked.ch_names.index(left_out[3])] = 17.0

    assert_same(inverse.apply(written(spoil)).data, expected)


def test_names_differ_in_case_and_by_the_older_names(inverse, written, expected):
    old = {"T7": "T3", "T8": "T4", "P7": "T5", "P8": "T6", "Fp1": "FP1", "Cz": "cz", "FCz": " FCZ "}
    renamed = written(lambda evoked: evoked.rename_channels(old))
    assert "T5" in renamed.ch_names
    assert_same(inverse.apply(renamed).data, expected)


def test_channels_of_other_types_are_ignored(model, inverse, written, expected):
    def add(evoked):
        info = mne.create_info(["EOG", "STI"], SFREQ, ["eog", "stim"])
        extra = mne.EvokedArray(np.full((2, TIMES), 3.0), info)
        return evoked.add_channels([extra], force_update_info=True)

    assert_same(inverse.apply(written(add)).data, expected)


def test_unknown_channels_are_named_or_left_out(model, sensors, inverse, written):
    rename = {"Cz": "E129", "O2": "E83"}
    evoked = written(lambda evoked: evoked.rename_channels(rename))
    message = r"no sensor named E129, E83 \(its sensors are Fp1, .*Rename these .*on_missing='warn'"
    with pytest.raises(ValueError, match=message):
        inverse.apply(evoked)
    lenient = MMInverse(model, FEW, sensors=SensorSettings(on_missing="warn"))
    with pytest.warns(RuntimeWarning, match=r"no sensor named E129, E83 .*: left out"):
        stc = lenient.apply(evoked)
    assert_same(stc.data, reference_without(model, sensors, ["Cz", "O2"]))
    silent = MMInverse(model, FEW, sensors=SensorSettings(on_missing="ignore"))
    np.testing.assert_array_equal(silent.apply(evoked).data, stc.data)


def test_two_channels_for_one_sensor_are_refused(inverse, written):
    evoked = written(lambda evoked: evoked.rename_channels({"Cz": "T3"}))
    with pytest.raises(ValueError, match=r"'(T7' and 'T3|T3' and 'T7)' are both sensor 'T7'"):
        inverse.apply(evoked)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda e: e.pick(["Cz", "Pz", "Fz", "Oz"]),
            r"at least 16 good EEG channels .* got 4 \(Fz",
        ),
        (lambda e: e.info.update(bads=e.ch_names), "all 90 EEG channels .* are marked as bad"),
        (
            lambda e: e.set_channel_types(dict.fromkeys(e.ch_names, "misc"), verbose="ERROR"),
            "no EEG channels, only misc; if some are EEG, say so with set_channel_types",
        ),
    ],
)
def test_too_few_channels_are_refused(inverse, written, change, message):
    def changed(evoked):
        change(evoked)

    evoked = written(changed, reference=False)
    with pytest.raises(ValueError, match=message):
        inverse.apply(evoked)


# ------------------------------------------------------------------------------- reference


def cz_referenced(evoked):
    evoked.data -= evoked.data[evoked.ch_names.index("Cz")]


def test_a_missing_reference_is_an_error_that_tells_how_to_set_it(inverse, written, expected):
    evoked = written(cz_referenced, reference=False)
    with pytest.raises(MissingReferenceError, match=r"set_eeg_reference\(projection=True\)"):
        inverse.apply(evoked)
    evoked.set_eeg_reference(projection=True, verbose="ERROR")
    assert_same(inverse.apply(evoked).data, expected)
    assert not evoked.info["projs"][0]["active"]  # applied on a copy
    assert not evoked.data[evoked.ch_names.index("Cz")].any()
    evoked.apply_proj(verbose="ERROR")
    assert_same(inverse.apply(evoked).data, expected)


def test_data_that_are_average_referenced_need_no_projector(inverse, written, expected):
    evoked = written(cz_referenced, reference=False)
    evoked.set_eeg_reference("average", projection=False, verbose="ERROR")
    assert_same(inverse.apply(evoked).data, expected)
    evoked.info["bads"] = ["Cz"]  # after referencing: the others have no mean of zero any more
    inverse.apply(evoked)


# ------------------------------------------------------------------------------ values and rates


def test_microvolts_are_refused(inverse, written):
    def scale(evoked):
        evoked.data *= 1e6

    with pytest.raises(ValueError, match=r"evoked 'left' has a root mean .* multiply them by 1e-6"):
        inverse.apply(written(scale))

    def vanish(evoked):
        evoked.data *= 1e-6

    with pytest.raises(ValueError, match="flat, or was scaled down more than once"):
        inverse.apply(written(vanish))


def test_a_flat_recording_is_refused(inverse, written):
    def flatten(evoked):
        evoked.data[:] = 2e-5

    with pytest.raises(ValueError, match="after average reference, less than any amplifier's"):
        inverse.apply(written(flatten))


def test_values_that_are_not_finite_are_named_unless_the_channel_is_bad(
    model, inverse, sensors, written
):
    def spoil(evoked):
        evoked.data[evoked.ch_names.index("Cz"), 3] = np.nan

    evoked = written(spoil)
    with pytest.raises(
        ValueError, match="evoked 'left' has values that are not finite in Cz: mark"
    ):
        inverse.apply(evoked)
    evoked.info["bads"] = ["Cz"]
    assert_same(inverse.apply(evoked).data, reference_without(model, sensors, ["Cz"]))


@pytest.mark.parametrize("silent", [["Cz"], ["Cz", "Pz"]])
def test_channels_that_do_not_vary_are_named_unless_they_are_bad(inverse, written, silent):
    def silence(evoked):
        for name in silent:
            evoked.data[evoked.ch_names.index(name)] = 1e-6

    evoked = written(silence)
    named = ", ".join(name for name in evoked.ch_names if name in silent)
    with pytest.warns(RuntimeWarning, match=rf"^{named} of evoked 'left' do(es)? not vary: unless"):
        inverse.apply(evoked)
    evoked.info["bads"] = silent
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=".* not vary")
        inverse.apply(evoked)


def test_a_complex_recording_is_refused(inverse, written):
    evoked = written()
    analytic = mne.EvokedArray(evoked.data * (1 + 1j), evoked.info)
    with pytest.raises(TypeError, match="is complex, and sources are estimated of real recordings"):
        inverse.apply(analytic)


def test_another_rate_is_as_good(inverse, written, expected):
    def hasten(evoked):
        with evoked.info._unlock():
            evoked.info["sfreq"] = 1024.0

    stc = inverse.apply(written(hasten))
    assert_same(stc.data, expected)
    assert stc.tstep == 1 / 1024
