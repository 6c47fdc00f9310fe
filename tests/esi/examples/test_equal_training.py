"""Equal training: settings of every job are taken, and what was found once is not sought again."""

from __future__ import annotations

import time

import pytest

from learnmm_esi.training.presets import load_preset
from scripts import script

script("esi", "ablation")  # registers the paper's own
equal = script("esi", "equal_training")
gpu = script("esi", "table1_gpu")
JOBS = list(equal.jobs(["erp", "nmm-two"]))


def test_every_method_is_trained_on_every_data_set_from_both_starts() -> None:
    assert len(set(JOBS)) == len(JOBS)
    for data in ("erp", "nmm-two"):
        for start in equal.STARTS:
            assert {job.method for job in JOBS if job[1:] == (data, start)} >= set(equal.METHODS)


@pytest.mark.parametrize("job", JOBS, ids=lambda job: job.name)
@pytest.mark.parametrize("steps", [2, 700])
def test_its_settings_are_taken(job, steps, tmp_path) -> None:
    path = tmp_path / "equal.toml"
    path.write_text(equal.as_toml(job.preset(steps, 1e-3, 50)))
    preset = load_preset(path, job.method)
    assert preset.method.start == job.start
    assert (preset.fit.steps, preset.fit.adam.lr, preset.start.steps) == (steps, 1e-3, 50)
    assert (preset.recordings.window == 0) == (job.method in equal.FIXED and job.data != "erp")
    assert (preset.training.loss == "paper") == (job.method == equal.PRINTED)


def test_the_best_rate_of_the_search_is_taken_and_what_was_found_is_not_sought_again(
    tmp_path, monkeypatch
) -> None:
    (job,) = (job for job in JOBS if job == ("mm-net", "erp", "noise"))
    first = equal.Trainer(JOBS[0], tmp_path / JOBS[0].name)
    first.known("cost.json", lambda: {"seconds_per_step": 2.0})
    first.known("rates.json", lambda: {"losses": {"0.0003": 0.5, "0.001": 0.4, "0.003": 0.6}})
    trainer = equal.Trainer(job, tmp_path / job.name)
    runs = []
    monkeypatch.setattr(trainer, "_run", lambda name, preset: runs.append((name, preset)))
    trainer.train(minutes=45.0, search=5.0)
    ((name, preset),) = runs
    assert (name, preset["fit"]["steps"], preset["fit"]["adam"]["lr"]) == ("run", 1350, 1e-3)


@pytest.mark.parametrize("share", [1.0, 1e-4])
@pytest.mark.parametrize("job", [job for job in JOBS if job.start == "noise"], ids=str)
def test_the_papers_schedule_is_taken_for_every_method(job, share, tmp_path) -> None:
    path = tmp_path / "paper.toml"
    path.write_text(equal.as_toml(gpu.settings(job, share)))
    preset = load_preset(path, job.method)
    assert preset.fit.steps == round(share * 125_000)
    assert preset.fit.adam.lr_factors == {"unrolled.energy": 0.5}
    assert (preset.method.start, preset.training.loss) == ("noise", "paper")


def test_a_command_that_takes_too_long_is_interrupted() -> None:
    begin = time.monotonic()
    assert not gpu.run(["head-model", "--ico", "4", "--out", "nowhere.png"], begin)
    assert time.monotonic() - begin < gpu.GRACE
