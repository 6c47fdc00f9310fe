"""The command line: files in, files out, and errors that say what to do."""

from __future__ import annotations

import json
import subprocess
import sys
import time

import mne
import numpy as np
import pytest
from typer.testing import CliRunner

from learnmm_problems.esi.apply import apply_mm
from learnmm_problems.esi.cli import app
from learnmm_problems.esi.erp import ERPSimulator

TIMES = 16


@pytest.fixture
def run(head_models, monkeypatch):
    """Run a command; the models it asks for are those of the tests."""
    monkeypatch.setenv("LEARNMM_CACHE", str(head_models))

    def run(*arguments, code=0):
        result = CliRunner().invoke(app, [str(argument) for argument in arguments])
        assert result.exit_code == code, result.output
        return result.output

    return run


@pytest.fixture(scope="module")
def files(coarse_model, tmp_path_factory):
    """A forward solution, two conditions, and one more without a reference."""
    folder = tmp_path_factory.mktemp("files")
    mne.write_forward_solution(folder / "head-fwd.fif", coarse_model.forward(), verbose="ERROR")
    sensors = ERPSimulator(coarse_model, seed=1, times=TIMES).batch(range(2)).sensors
    evokeds = [
        mne.EvokedArray(data.astype(float), coarse_model.info(512.0), comment=comment)
        for comment, data in zip(("left hand", "right"), sensors, strict=True)
    ]
    for evoked in evokeds:
        evoked.set_eeg_reference(projection=True, verbose="ERROR")
    mne.write_evokeds(folder / "subject-ave.fif", evokeds, verbose="ERROR")
    raw = mne.EvokedArray(sensors[1] - sensors[1][10], coarse_model.info(512.0), comment="right")
    raw.save(folder / "plain-ave.fif", verbose="ERROR")
    return folder


def reconstruct(files, *arguments, file="subject-ave.fif"):
    forward = ("--forward", files / "head-fwd.fif", "--max-iter", 3)
    return ("reconstruct", files / file, *forward, *arguments)


# ------------------------------------------------------------------------------------------ help


def test_help_is_fast_because_it_imports_little():
    code = "import sys, learnmm_problems.esi.cli; print({'mne', 'torch'} & set(sys.modules))"
    begin = time.perf_counter()
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "set()"
    assert time.perf_counter() - begin < 5.0  # a fifth of a second on a quiet machine


@pytest.mark.parametrize("command", ["head-model", "simulate", "reconstruct", "train", "evaluate"])
def test_every_command_explains_itself(run, command):
    assert command in run("--help")
    assert "Usage" in run(command, "--help")


# ---------------------------------------------------------------------------------------- commands


def test_head_model_reports_and_writes(run, coarse_model, tmp_path):
    forward, picture = tmp_path / "model-fwd.fif", tmp_path / "model.png"
    output = run(
        *("head-model", "--ico", 2, "--sources", 60),
        *("--forward", forward, "--picture", picture),
    )
    assert "60 (30 left, 30 right)" in output
    assert picture.stat().st_size > 10_000
    gain = mne.read_forward_solution(forward, verbose="ERROR")["sol"]["data"]
    np.testing.assert_allclose(gain, coarse_model.leadfield, rtol=1e-4, atol=1e-2)


def test_simulate_writes_what_mne_reads(run, fsaverage_model, tmp_path):
    run("simulate", "erp", "--samples", 2, "--seed", 9, "--ico", 3, "--out", tmp_path)
    facts = json.loads((tmp_path / "samples.json").read_text())["samples"]
    assert [fact["file"] for fact in facts] == ["sample-00000-ave.fif", "sample-00001-ave.fif"]
    sample = ERPSimulator(fsaverage_model, seed=9).sample(1)
    evoked = mne.read_evokeds(tmp_path / "sample-00001-ave.fif", 0, proj=False, verbose="ERROR")
    np.testing.assert_allclose(evoked.data, sample.sensors, rtol=1e-4, atol=1e-12)
    assert evoked.info["sfreq"] == 512.0
    truth = mne.read_source_estimate(tmp_path / "sample-00001-truth")
    np.testing.assert_array_equal(truth.data, sample.sources)
    vertices = truth.vertices[0 if facts[1]["hemisphere"] == "lh" else 1]
    assert facts[1]["seed_vertex"] in vertices
    assert facts[1]["snr_db"] == 5.0


def test_reconstruct_writes_estimates_and_pictures(run, files, tmp_path):
    output = run(*reconstruct(files, "--condition", "left hand", "--out", tmp_path))
    assert "GLOBAL bound, monotone, 0 candidates above it" in output
    names = sorted(path.name for path in tmp_path.iterdir())
    stem = "subject-left-hand-mm"
    assert names == [f"{stem}-lh.stc", f"{stem}-rh.stc", f"{stem}.png"]
    evoked = mne.read_evokeds(files / "subject-ave.fif", 0, proj=False, verbose="ERROR")
    expected = apply_mm(evoked, files / "head-fwd.fif", max_iter=3)
    stc = mne.read_source_estimate(tmp_path / stem)
    np.testing.assert_array_equal(stc.data, expected.data)


def test_reconstruct_takes_all_conditions_and_prepares_them(run, files, tmp_path):
    options = ("--bads", "Fp1, Cz", "--tmin", 0.005, "--no-picture", "--out", tmp_path)
    output = run(*reconstruct(files, *options))
    assert output.count("energy") == 2
    assert len(list(tmp_path.iterdir())) == 4
    stc = mne.read_source_estimate(tmp_path / "subject-right-mm")
    assert stc.tmin > 0.004
    evoked = mne.read_evokeds(files / "subject-ave.fif", 1, proj=False, verbose="ERROR")
    evoked.info["bads"] = ["Cz", "Fp1"]
    expected = apply_mm(evoked.crop(0.005), files / "head-fwd.fif", max_iter=3)
    np.testing.assert_array_equal(stc.data, expected.data)


def test_a_missing_reference_is_asked_for_and_set(run, files, tmp_path):
    command = reconstruct(files, "--no-picture", "--out", tmp_path, file="plain-ave.fif")
    output = run(*command, code=1)
    assert "Error: source imaging needs an average reference" in output
    assert "here, with --average-reference" in output
    run(*command, "--average-reference")
    stc = mne.read_source_estimate(tmp_path / "plain-right-mm")
    evoked = mne.read_evokeds(files / "subject-ave.fif", 1, proj=False, verbose="ERROR")
    expected = apply_mm(evoked, files / "head-fwd.fif", max_iter=3).data
    np.testing.assert_allclose(stc.data, expected, atol=1e-4 * np.abs(expected).max(), rtol=0)


def test_reconstruct_expands_on_fsaverage(run, files, fsaverage_model, tmp_path):
    options = ("--ico", 3, "--max-iter", 1, "--condition", 0, "--expand", "--no-picture")
    run("reconstruct", files / "subject-ave.fif", *options, "--out", tmp_path)
    stc = mne.read_source_estimate(tmp_path / "subject-left-hand-mm")
    assert stc.shape == (20484, TIMES)


# ------------------------------------------------------------------------------------------ errors


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--condition", "rest"), "no condition 'rest'; it has 0 'left hand', 1 'right'"),
        (("--bads", "Q1"), "no channel named Q1"),
        (("--weight", "-1"), "weight and diffusion must be positive"),
        (("--tmin", "3"), "tmin"),
        (("--condition", "0", "--expand"), "no regions on fsaverage5"),
    ],
)
def test_errors_are_sentences(run, files, tmp_path, arguments, message):
    output = run(*reconstruct(files, "--out", tmp_path, *arguments), code=1)
    assert message in output
    assert "Error: " in output
    assert "Traceback" not in output


def test_a_file_of_another_kind_is_an_error(run, files, tmp_path):
    forward = files / "head-fwd.fif"
    assert "holds no evoked responses" in run("reconstruct", forward, code=1)
    text = tmp_path / "notes-ave.fif"
    text.write_text("not a recording")
    assert "notes-ave.fif holds no evoked" in run("reconstruct", text, code=1)
    assert "does not exist" in run("reconstruct", tmp_path / "none-ave.fif", code=2)


def test_warnings_are_sentences(run, files, tmp_path):
    evoked = mne.read_evokeds(files / "subject-ave.fif", 0, proj=False, verbose="ERROR")
    evoked.rename_channels({"Cz": "E129"})
    evoked.save(tmp_path / "renamed-ave.fif", verbose="ERROR")
    options = ("--forward", files / "head-fwd.fif", "--max-iter", 1, "--no-picture")
    command = ("reconstruct", tmp_path / "renamed-ave.fif", *options)
    assert "no sensor named E129" in run(*command, code=1)
    output = run(*command, "--on-missing", "warn")
    assert "Warning: the head model has no sensor named E129" in output


def test_a_traceback_is_shown_when_asked_for(files):
    arguments = [str(a) for a in reconstruct(files, "--bads", "Q1")]
    result = CliRunner().invoke(app, ["--traceback", *arguments])
    assert result.exit_code == 1
    assert isinstance(result.exception, ValueError)
