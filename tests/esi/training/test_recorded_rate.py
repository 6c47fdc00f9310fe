"""One length and one rate: what a preset says is simulated, claimed by the weights and tested."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
from typer.testing import CliRunner

from eeg_learning import small
from fitting import flat
from learnmm_esi.cli.app import app
from learnmm_esi.head.from_file import read_head_model
from learnmm_esi.networks.files import load_solver
from learnmm_esi.networks.method import Recordings
from learnmm_esi.simulation.erp import ERPSimulator
from learnmm_esi.simulation.patches import PatchSettings
from learnmm_esi.training.evaluate import evaluate
from learnmm_esi.training.presets import Preset, RecordingSettings, TrainingSettings
from learnmm_esi.training.train import train


def preset(**recordings):
    few = flat(steps=2, batch_size=2, warmup=1, validate_every=2)
    training = TrainingSettings(horizons=(1, 2), train_size=4, validation_size=2)
    asked = RecordingSettings(**recordings)
    return Preset(small("mm-net", steps=2), recordings=asked, start=few, fit=few, training=training)


def losses(model, folder, **recordings):
    solver, result, _ = train(model, "erp", preset(**recordings), folder, progress=False)
    return solver.recordings, [row["loss"] for row in result.history if "loss" in row]


def test_the_rate_and_the_length_of_a_preset_are_simulated(coarse_model, tmp_path):
    seen, usual = losses(coarse_model, tmp_path / "a")
    assert seen == Recordings(64, 512.0)
    seen, slower = losses(coarse_model, tmp_path / "b", sfreq=250.0)
    assert seen == Recordings(64, 250.0)
    assert slower != usual  # other recordings, not only another claim
    seen, shorter = losses(coarse_model, tmp_path / "c", times=32)
    assert seen == Recordings(32, 512.0)
    assert shorter != usual
    seen, windows = losses(coarse_model, tmp_path / "d", times=128)
    assert seen.times == 64  # the preset's windows
    assert windows != usual


@pytest.mark.parametrize(
    ("recordings", "message"),
    [
        ({"sfreq": 250.0}, "says sfreq = 250.0, and the recordings of nmm have 500"),
        ({"times": 32}, "says times = 32, and the recordings of nmm have 500"),
    ],
)
def test_what_a_simulator_does_not_offer_is_refused(coarse_model, tmp_path, recordings, message):
    with pytest.raises(ValueError, match=message):
        train(coarse_model, "nmm", preset(**recordings), tmp_path, progress=False)


def test_a_bare_lead_field_is_trained_and_evaluated_from_the_command_line(coarse_model, tmp_path):
    """The path of a user who has arrays only: a file of them, weights, estimates in Python."""
    path = tmp_path / "mine.npz"
    np.savez(
        path,
        leadfield=coarse_model.leadfield,
        positions=coarse_model.positions,
        neighbours=coarse_model.neighbours.toarray(),
        channel_names=coarse_model.channel_names,
    )
    (tmp_path / "tiny.toml").write_text(
        "[method]\nhidden = 4\nsteps = 2\nprior = {width = 4}\n"
        "[recordings]\ntimes = 32\nsfreq = 250.0\n"
        "[start]\nsteps = 2\nadam = {warmup = 1}\nbatch_size = 2\n"
        "[fit]\nsteps = 2\nadam = {warmup = 1}\nbatch_size = 2\nvalidate_every = 2\n"
        "[training]\ntrain_size = 4\nvalidation_size = 2\nhorizons = [1, 2]\n"
    )

    def run(*arguments):
        result = CliRunner().invoke(app, [str(a) for a in arguments])
        assert result.exit_code == 0, result.output

    own = ("--forward", path)
    run("train", "mm-net", "--preset", tmp_path / "tiny.toml", *own, "--out", tmp_path / "run")
    weights = tmp_path / "run" / "weights.safetensors"
    run("evaluate", weights, *own, "--samples", 4, "--out", tmp_path / "found")
    model = read_head_model(path)
    solver = load_solver(weights, model)
    assert solver.recordings == Recordings(32, 250.0)
    test = ERPSimulator(
        model, seed=2, size=4, times=32, sfreq=250.0, patches=PatchSettings(distance="euclidean")
    )
    expected = evaluate(solver, test, 4, horizons=(2,)).summary()["steps"]["2"]
    (found,) = (tmp_path / "found").glob("*.json")
    summary = json.loads(found.read_text())["steps"]["2"]
    assert summary["psnr"] == pytest.approx(expected["psnr"], rel=1e-5)
    recordings = test.batch(range(2)).sensors
    assert solver.reconstruct(recordings).sources.shape == (2, 60, 32)
    other = dataclasses.replace(model, leadfield=model.leadfield[:, ::-1])
    with pytest.raises(ValueError, match="lead field"):
        load_solver(weights, other)
