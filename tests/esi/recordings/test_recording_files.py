"""Files of every kind on the command line: raw, epochs, the formats of amplifiers, and no files."""

from __future__ import annotations

import mne
import numpy as np
import pytest
from typer.testing import CliRunner

from eeg_files import write_brainvision, write_edf, write_eeglab
from eeg_learning import build
from learnmm_esi.cli import estimate_files
from learnmm_esi.cli.app import app
from learnmm_esi.networks.files import save_solver
from learnmm_esi.networks.method import Recordings
from learnmm_esi.recordings.apply import apply_mm
from learnmm_esi.recordings.files import read_recordings
from learnmm_esi.recordings.settings import InverseSettings
from learnmm_esi.simulation.erp import ERPSimulator

SFREQ, TIMES, STEPS = 64, 16, 2
FEW = InverseSettings(max_iter=STEPS)
NAMES = [
    "Fp1", "Fp2", "F7", "F3", "Fz", "F4", "F8", "T7", "C3", "Cz", "C4", "T8", "P7", "P3", "Pz",
    "P4", "P8", "O1", "O2",
]  # fmt: skip


@pytest.fixture(scope="module")
def forward(coarse_model, tmp_path_factory):
    path = tmp_path_factory.mktemp("head") / "head-fwd.fif"
    mne.write_forward_solution(path, coarse_model.forward(), verbose="ERROR")
    return path


@pytest.fixture(scope="module")
def sensors(coarse_model):
    """Eight recordings of 19 channels, average-referenced, in V."""
    simulator = ERPSimulator(coarse_model, seed=7, times=TIMES, sfreq=512.0, snr_db=10.0)
    rows = [coarse_model.channel_names.index(name) for name in NAMES]
    data = simulator.batch(range(8)).sensors[:, rows].astype(float)
    data -= data.mean(axis=1, keepdims=True)
    return 5e-5 * data / np.abs(data).max()


@pytest.fixture
def raw(sensors):
    raw = mne.io.RawArray(
        np.hstack(list(sensors)), mne.create_info(NAMES, SFREQ, "eeg"), verbose="ERROR"
    )
    return raw.set_eeg_reference(projection=True, verbose="ERROR")


@pytest.fixture
def epochs(sensors):
    events = np.stack([np.arange(8), np.zeros(8, int), np.tile([1, 2], 4)], axis=1)
    epochs = mne.EpochsArray(
        sensors.copy(), mne.create_info(NAMES, SFREQ, "eeg"), events, event_id={"left": 1, "b": 2},
        verbose="ERROR",
    )  # fmt: skip
    return epochs.set_eeg_reference(projection=True, verbose="ERROR")


@pytest.fixture
def run(forward, tmp_path):
    def run(file, *options, code=0):
        arguments = ["reconstruct", file, "--forward", forward, "--max-iter", STEPS, *options]
        arguments += ["--out", tmp_path / "out"]
        result = CliRunner().invoke(app, [str(argument) for argument in arguments])
        assert result.exit_code == code, result.output
        return " ".join(result.output.split())

    return run


def estimates(tmp_path):
    return sorted(path.name for path in (tmp_path / "out").iterdir())


def assert_same(one, other, share=1e-4):
    np.testing.assert_allclose(one, other, atol=share * np.abs(other).max(), rtol=0)


# ------------------------------------------------------------------------------------ raw


def test_a_raw_file_is_reconstructed_whole_or_in_part(run, raw, forward, tmp_path):
    raw.save(tmp_path / "subject_raw.fif", verbose="ERROR")
    output = run(tmp_path / "subject_raw.fif")
    assert "2 parts" in output
    assert "2 of 2 monotone" in output
    assert "1/1" in output
    assert estimates(tmp_path) == ["subject-mm-lh.stc", "subject-mm-rh.stc", "subject-mm.png"]
    stc = mne.read_source_estimate(tmp_path / "out" / "subject-mm")
    assert_same(stc.data, apply_mm(raw, forward, FEW).data)
    run(tmp_path / "subject_raw.fif", "--tmin", 0.5, "--tmax", 1.0, "--no-picture")
    part = mne.read_source_estimate(tmp_path / "out" / "subject-mm")
    assert_same(
        part.data,
        apply_mm(raw.copy().crop(0.5, 1.0), forward, FEW).data,
    )


def test_a_long_raw_file_is_refused_before_the_work(run, raw, tmp_path, monkeypatch):
    raw.save(tmp_path / "subject_raw.fif", verbose="ERROR")
    monkeypatch.setattr(estimate_files, "LARGEST", 60 * 64)
    output = run(tmp_path / "subject_raw.fif", code=1)
    assert "has 2 s, whose estimate would have 128 x 60 values; say which 1 s or less" in output
    run(tmp_path / "subject_raw.fif", "--tmax", 0.5, "--no-picture")


def test_a_picture_is_drawn_beside_samples_called_bad(run, raw, tmp_path):
    raw.set_annotations(mne.Annotations(0.4, 0.3, "BAD blink"))
    raw.save(tmp_path / "subject_raw.fif", verbose="ERROR")
    run(tmp_path / "subject_raw.fif")
    stc = mne.read_source_estimate(tmp_path / "out" / "subject-mm")
    assert 0 < np.isnan(stc.data[0]).mean() < 0.3
    assert (tmp_path / "out" / "subject-mm.png").stat().st_size > 10_000


# --------------------------------------------------------------------------------- epochs


def test_every_epoch_has_an_estimate(run, epochs, forward, tmp_path):
    epochs.drop([1], verbose="ERROR")
    epochs.save(tmp_path / "subject-epo.fif", verbose="ERROR")
    output = run(tmp_path / "subject-epo.fif")
    assert "7/7" in output
    assert "epoch 2: unguided start; energy" in output
    kept = [0, 2, 3, 4, 5, 6, 7]
    assert estimates(tmp_path) == [
        f"subject-epoch-{k}-mm-{side}.stc" for k in kept for side in ("lh", "rh")
    ]
    expected = apply_mm(epochs, forward, FEW)
    for k, one in zip(kept, expected, strict=True):
        stc = mne.read_source_estimate(tmp_path / "out" / f"subject-epoch-{k}-mm")
        assert_same(stc.data, one.data)


def test_epochs_are_chosen_and_averaged_by_condition(run, epochs, forward, tmp_path):
    epochs.save(tmp_path / "subject-epo.fif", verbose="ERROR")
    run(tmp_path / "subject-epo.fif", "--average", "--no-picture")
    assert estimates(tmp_path) == [
        f"subject-{name}-mm-{side}.stc" for name in ("b", "left") for side in ("lh", "rh")
    ]
    stc = mne.read_source_estimate(tmp_path / "out" / "subject-left-mm")
    assert_same(stc.data, apply_mm(epochs["left"].average(), forward, FEW).data)
    assert "4/4" in run(tmp_path / "subject-epo.fif", "--condition", "left")
    assert "no condition 'rest'; it has 0 'left', 1 'b'" in run(
        tmp_path / "subject-epo.fif", "--condition", "rest", code=1
    )


def test_epochs_that_were_all_rejected_are_an_error(run, epochs, tmp_path):
    epochs.save(tmp_path / "subject-epo.fif", verbose="ERROR")
    read = mne.read_epochs(tmp_path / "subject-epo.fif", verbose="ERROR")
    read.drop(range(8), verbose="ERROR").save(tmp_path / "none-epo.fif", verbose="ERROR")
    output = run(tmp_path / "none-epo.fif", code=1)
    assert "none-epo.fif has no epochs left: all of them were rejected" in output


# ---------------------------------------------------------------------- formats of amplifiers


@pytest.mark.parametrize("kind", ["edf", "bdf", "vhdr", "set"])
def test_raw_recordings_of_amplifiers_are_read(run, raw, forward, tmp_path, kind):
    path, data = tmp_path / f"subject.{kind}", raw.get_data()
    names = [f"EEG {name}-Ref" if kind == "edf" else name for name in NAMES]
    if kind == "vhdr":
        write_brainvision(path, data, names, SFREQ)
    elif kind == "set":
        write_eeglab(path, data, names, SFREQ)
    else:
        write_edf(path, data, names, SFREQ, bdf=kind == "bdf")
    options = ("--average-reference", "--tmax", 0.9, "--no-picture")
    run(path, *options)
    stc = mne.read_source_estimate(tmp_path / "out" / "subject-mm")
    expected = apply_mm(raw.copy().crop(0, 0.9), forward, FEW).data
    assert_same(stc.data, expected, share=0.01)  # 16 bits are 6 nV of 50 uV


def test_epochs_of_eeglab_are_read(run, sensors, tmp_path):
    path = tmp_path / "subject.set"
    write_eeglab(path, np.moveaxis(sensors, 0, 2), NAMES, SFREQ)
    (read,) = read_recordings(path)
    np.testing.assert_allclose(read.get_data(), sensors, atol=1e-12)
    assert "8/8" in run(path, "--average-reference")


# --------------------------------------------------------------------------------- no recordings


def test_what_is_no_recording_is_told_in_a_sentence(run, raw, forward, tmp_path):
    for name in ("notes.txt", "notes.edf", "notes.set", "notes.vhdr", "notes-ave.fif", "notes"):
        (tmp_path / name).write_text("not a recording")
        output = run(tmp_path / name, code=1)
        assert f"{name} holds no evoked responses, epochs or raw recording" in output
        assert "Traceback" not in output
    assert "MNE-Python calls it 'forward'" in run(forward, code=1)
    raw.save(tmp_path / "subject_raw.fif", verbose="ERROR")
    assert "no epochs, and nothing else can be averaged" in run(
        tmp_path / "subject_raw.fif", "--average", code=1
    )
    assert "which has no conditions: cut epochs" in run(
        tmp_path / "subject_raw.fif", "--condition", "left", code=1
    )
    (tmp_path / "short_raw.fif").write_bytes((tmp_path / "subject_raw.fif").read_bytes()[:3000])
    assert "Error" in run(tmp_path / "short_raw.fif", code=1)


# ----------------------------------------------------------------------------------- weights


@pytest.mark.parametrize("start", ["learned", "evidence"])
def test_weights_bring_their_own_head_model(
    coarse_model, head_models, tmp_path, monkeypatch, start
):
    monkeypatch.setenv("LEARNMM_CACHE", str(head_models))
    weights, file = tmp_path / "tiny.safetensors", tmp_path / "subject-ave.fif"
    solver = build(coarse_model, "mm-net", Recordings(TIMES), start=start, steps=2)
    save_solver(weights, solver, {"data": "erp", "training": {}}, {})
    data = ERPSimulator(coarse_model, seed=7, times=TIMES).sample(0).sensors.astype(float)
    evoked = mne.EvokedArray(data, coarse_model.info(512.0), comment="left")
    evoked.save(file, verbose="ERROR")
    options = ("--weights", weights, "--no-picture", "--out", tmp_path / "out")
    result = CliRunner().invoke(app, [str(a) for a in ("reconstruct", file, *options)])
    assert result.exit_code == 0, result.output
    stc = mne.read_source_estimate(tmp_path / "out" / "subject-left-mm")
    found = apply_mm(evoked, coarse_model, InverseSettings(weights=weights))
    assert found.comment == f"learnmm, {start} start"
    assert_same(stc.data, found.data)
    # What is asked for goes before: 994 sources are not what these weights serve.
    result = CliRunner().invoke(app, [str(a) for a in ("reconstruct", file, *options, "--ico", 3)])
    assert result.exit_code == 1
    assert "Error: " in result.output
