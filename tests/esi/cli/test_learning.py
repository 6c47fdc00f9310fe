"""The commands train and evaluate, as a user would: to an estimate of a real file."""

from __future__ import annotations

import mne
import pytest
from typer.testing import CliRunner

from learnmm_esi.cli.app import app
from learnmm_esi.head.from_forward import head_model_from_forward
from learnmm_esi.recordings.apply import MMInverse
from learnmm_esi.recordings.settings import InverseSettings
from learnmm_esi.simulation.data_sets import simulator
from scripts import script


def test_train_evaluate_and_reconstruct_from_the_command_line(coarse_model, tmp_path) -> None:
    """On a head of one's own, with settings of one's own, to an estimate of a real file."""

    def run(*arguments, code: int = 0) -> str:
        result = CliRunner().invoke(app, [str(a) for a in arguments])
        assert result.exit_code == code, result.output
        return result.output

    mne.write_forward_solution(tmp_path / "own-fwd.fif", coarse_model.forward(), verbose="ERROR")
    (tmp_path / "tiny.toml").write_text(
        "[method]\nhidden = 4\nsteps = 3\nprior = {width = 4}\n"
        "[start]\nsteps = 2\nadam = {warmup = 1}\nbatch_size = 4\n"
        "[fit]\nsteps = 4\nadam = {warmup = 1}\nbatch_size = 2\nvalidate_every = 2\n"
        "[training]\ntrain_size = 8\nvalidation_size = 2\nhorizons = [2, 3]\n"
    )
    own = ["--forward", tmp_path / "own-fwd.fif"]
    out = run(
        "train", "mm-net", "--preset", tmp_path / "tiny.toml", *own, "--out", tmp_path / "run"
    )
    assert "4 steps" in out
    weights = tmp_path / "run" / "weights.safetensors"
    assert weights.is_file()
    evaluated = ["--samples", 4, "--steps", 3, "--steps", 6, "--out", tmp_path / "found"]
    run("evaluate", weights, *own, *evaluated)
    read_evaluations = script("esi", "evaluations").read_evaluations
    assert set(read_evaluations(tmp_path / "found")[0]["steps"]) == {"3", "6"}

    told = " ".join(run("evaluate", weights, "--ico", 3, "--out", tmp_path, code=1).split())
    assert "--ico is for weights trained on fsaverage" in told

    model = head_model_from_forward(tmp_path / "own-fwd.fif")
    sensors = simulator(model, "erp", 1, 1).sample(0).sensors
    evoked = mne.EvokedArray(sensors.astype(float), model.info(512.0), comment="left")
    evoked.set_eeg_reference(projection=True, verbose="ERROR").save(tmp_path / "x-ave.fif")
    run("reconstruct", tmp_path / "x-ave.fif", *own, "--weights", weights, "--no-picture")
    assert list(tmp_path.glob("x*lh.stc"))

    inverse = MMInverse(model, InverseSettings(weights=weights))
    stc, fit = inverse.apply(evoked, return_result=True)
    assert stc.data.shape == (len(model.positions), 64)
    assert fit.monotone
    assert len(fit.energies) <= 4
    slow = evoked.copy().resample(256, verbose="ERROR")
    with pytest.raises(ValueError, match=r"512 Hz, this one has 256 Hz: resample"):
        inverse.apply(slow)
    lacking = evoked.copy()
    lacking.info["bads"] = evoked.ch_names[:1]
    with pytest.raises(ValueError, match=rf"no good {evoked.ch_names[0]}\. Interpolate"):
        inverse.apply(lacking)
    with pytest.raises(FileNotFoundError, match="shipped with the library"):
        MMInverse(model, InverseSettings(weights="mm-net-meg"))
    assert "no weights and no file" in run(
        "reconstruct", tmp_path / "x-ave.fif", *own, "--weights", "nothing", code=1
    )
