"""The command line: files in, files out, and errors that say what to do."""

from __future__ import annotations

import gzip
import json
import os
import shutil
import subprocess
import sys
import time

import mne
import numpy as np
import pytest
from typer.testing import CliRunner

import learnmm
import learnmm_esi
from learnmm_esi.cli.app import app
from learnmm_esi.cli.text import printable
from learnmm_esi.recordings.apply import apply_mm
from learnmm_esi.recordings.settings import InverseSettings
from learnmm_esi.simulation.erp import ERPSimulator

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


def reconstruct(folder, *arguments, file="subject-ave.fif", files=None):
    forward = ("--forward", (files or folder) / "head-fwd.fif", "--max-iter", 3)
    return ("reconstruct", folder / file, *forward, *arguments)


# ------------------------------------------------------------------------------------------ help


def test_help_is_fast_because_it_imports_little():
    code = "import sys, learnmm_esi.cli.app; print({'mne', 'torch'} & set(sys.modules))"
    begin = time.perf_counter()
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "set()"
    assert time.perf_counter() - begin < 5.0  # a fifth of a second on a quiet machine


COMMANDS = ["head-model", "simulate", "reconstruct", "train", "evaluate", "localize-mi"]


@pytest.mark.parametrize("command", COMMANDS)
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
    expected = apply_mm(evoked, files / "head-fwd.fif", InverseSettings(max_iter=3))
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
    expected = apply_mm(evoked.crop(0.005), files / "head-fwd.fif", InverseSettings(max_iter=3))
    np.testing.assert_array_equal(stc.data, expected.data)


def test_a_missing_reference_is_asked_for_and_set(run, files, tmp_path):
    command = reconstruct(files, "--no-picture", "--out", tmp_path, file="plain-ave.fif")
    output = run(*command, code=1)
    assert "Error: source imaging needs an average reference" in output
    assert "here, with --average-reference" in output
    run(*command, "--average-reference")
    stc = mne.read_source_estimate(tmp_path / "plain-right-mm")
    evoked = mne.read_evokeds(files / "subject-ave.fif", 1, proj=False, verbose="ERROR")
    expected = apply_mm(evoked, files / "head-fwd.fif", InverseSettings(max_iter=3)).data
    np.testing.assert_allclose(stc.data, expected, atol=1e-4 * np.abs(expected).max(), rtol=0)


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


@pytest.mark.parametrize("number", ["nan", "inf"])
def test_numbers_are_finite(run, files, number):
    assert "finite number" in run(*reconstruct(files, "--tmin", number), code=2)
    assert "finite number" in run("simulate", "erp", "--out", files, "--snr-db", number, code=2)


def test_a_span_wider_than_the_recording_is_warned_of(run, files, tmp_path):
    output = run(*reconstruct(files, "--tmin", "-5", "--no-picture", "--out", tmp_path))
    assert "the recording has 0 to 0.0292969 s only, of -5 to" in output


def test_there_are_no_more_threads_than_cores(run, files):
    weights = "mm-net"
    output = run("evaluate", weights, "--out", files, "--threads", 100000, code=1)
    assert "--threads must be at most the" in output


def test_the_version_is_told(run):
    own, core = learnmm_esi.__version__, learnmm.__version__
    assert run("--version") == f"learnmm-esi {own}, learnmm {core}\n"


def test_results_of_the_repository_are_no_commands(run):
    help_text = run("--help")
    assert "calibrate" not in help_text
    assert "table1" not in help_text


@pytest.mark.parametrize("comment", ["a\x1b]0;owned\x07b", "[/red] {x}", "$\\alpha$ $5 and $6"])
def test_text_of_a_file_is_neither_obeyed_nor_a_formula(run, files, tmp_path, comment):
    evoked = mne.read_evokeds(files / "subject-ave.fif", 0, proj=False, verbose="ERROR")
    evoked.comment = comment
    evoked.save(tmp_path / "odd-ave.fif", verbose="ERROR")
    output = run(*reconstruct(tmp_path, "--out", tmp_path / "out", file="odd-ave.fif", files=files))
    assert "\x1b" not in output
    assert "\x07" not in output
    assert printable(comment) in output
    assert len(list((tmp_path / "out").iterdir())) == 3
    assert printable(comment) in run(
        *reconstruct(tmp_path, "--condition", "none", file="odd-ave.fif", files=files), code=1
    ).replace("\\\\", "\\")


def test_names_that_numbers_would_repeat_lose_no_estimate(run, files, tmp_path):
    evoked = mne.read_evokeds(files / "subject-ave.fif", 0, proj=False, verbose="ERROR")
    twins = [evoked.copy() for _ in range(3)]
    for twin, comment in zip(twins, ("a", "a", "a-1"), strict=True):
        twin.comment = comment
    mne.write_evokeds(tmp_path / "odd-ave.fif", twins, verbose="ERROR")
    run(*reconstruct(tmp_path, "--out", tmp_path / "out", file="odd-ave.fif", files=files))
    assert len(list((tmp_path / "out").glob("*-lh.stc"))) == 3


@pytest.mark.skipif(sys.platform != "linux", reason="of file systems that take any byte")
def test_a_path_may_be_no_utf8(run, files, tmp_path):
    name = os.fsdecode(b"caf\xe9-ave.fif")
    shutil.copy(files / "subject-ave.fif", tmp_path / name)
    options = ("--condition", 0, "--out", tmp_path / "out")
    output = run(*reconstruct(tmp_path, *options, file=name, files=files))
    assert r"caf\udce9-left-hand-mm-lh.stc" in output
    assert len(list((tmp_path / "out").iterdir())) == 3


@pytest.mark.parametrize("option", ["--forward", "--noise-cov"])
def test_damaged_files_are_named(run, files, tmp_path, option):
    what = {"--forward": "forward solution", "--noise-cov": "noise covariance"}[option]
    text = tmp_path / "passwd"
    text.write_text("root:x:0:0:root:/root:/bin/bash\n" * 20)
    cut = tmp_path / "cut-fwd.fif.gz"
    cut.write_bytes(gzip.compress((files / "head-fwd.fif").read_bytes())[:20_000])
    for path in (text, cut):
        output = run(*reconstruct(files, option, path, "--out", tmp_path / "out"), code=1)
        assert f"{path} holds no {what} that can be read" in output


def test_what_is_wrong_is_said_before_a_head_is_built(run, files, monkeypatch, tmp_path):
    """With no head model in the cache, building one would take half a minute."""
    monkeypatch.setenv("LEARNMM_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("")
    (tmp_path / "bad.toml").write_text("[start]\nsteps = 3\nadam = {warmup = 4}\n")
    (tmp_path / "start.safetensors").write_text("")
    below = tmp_path / "file" / "below"
    recording = ("reconstruct", files / "subject-ave.fif", "--out", tmp_path / "o")
    for arguments, code, message in (
        (
            ("train", "mm-net", "--data", "x"),
            1,
            "is called 'x'; there are erp, nmm, nmm-two",
        ),
        (("train", "mm-nett"), 1, "method must be one of 4dvarnet, meta-curvature, "),
        (("train", "mm-net", "--preset", "bad.toml"), 1, "[start]: warmup must be at most steps=3"),
        (("train", "4dvarnet", "--start", "start.safetensors"), 1, "learns no start"),
        (("train", "mm-net", "--start", "bad.toml"), 1, "bad.toml is no complete safetensors file"),
        ((*recording, "--weights", "mm-net-meg"), 1, "no weights and no file are called"),
        ((*recording, "--noise-cov", "bad.toml"), 1, "holds no noise covariance"),
        ((*recording, "--condition", "rest"), 1, "no condition 'rest'"),
        ((*recording, "--forward", files / "head-fwd.fif", "--ico", 3), 1, "give one of them"),
        ((*recording, "--transfer"), 1, "transfer=True says how to use weights"),
        ((*recording, "--weight", -1), 1, "weight and diffusion must be positive"),
        (("train", "mm-net", "--out", "file"), 1, "file must be a folder, but is a file"),
        (("simulate", "erp", "--out", below), 1, "Not a directory"),
        (("simulate", "erp", "--out", "o", "--snr-db", "-1e308"), 1, "snr_db must be finite"),
        (("head-model", "--picture", "x.pgn"), 1, "picture's name must end with one of"),
        (("head-model", "--picture", "x"), 1, "picture's name must end with one of"),
        (("head-model", "--forward", below / "x-fwd.fif"), 1, "Not a directory"),
        (("head-model", "--conductivity", 330, 4, 330), 1, "in S/m), of 1e-05 to 100"),
        (("evaluate", "mm-net", "--out", "file"), 1, "file must be a folder, but is a file"),
        (("evaluate", "mm-net-meg"), 1, "no weights and no file are called 'mm-net-meg'"),
    ):
        output = " ".join(run(*arguments, code=code).split())
        assert message in output, output
    assert not (tmp_path / "cache").exists()


def test_shipped_weights_are_evaluated_by_name(run, fsaverage_model, tmp_path):
    arguments = ("--ico", 3, "--samples", 2, "--steps", 0, "--out", tmp_path)
    output = run("evaluate", "mm-net", *arguments)
    assert "…" not in output  # of eighty columns
    assert all(len(line) <= 80 for line in output.splitlines() if not line.startswith("Written"))
    for word in ("mm", "dB", "ms", "× 100", "global"):
        assert word in output
    content = json.loads((tmp_path / "mm-net-learned-ranges-on-erp.json").read_text())
    assert set(content["steps"]) == {"0", "2"}
    assert content["command"].endswith("--steps 0 --steps 2 --ico 3")
    assert f"would be taken: {100 * content['accepted']:.1f} %" in output
    both = ("--forward", tmp_path / "mm-net-learned-ranges-on-erp.json")
    assert "give one of them" in run("evaluate", "mm-net", *arguments, *both, code=1)
