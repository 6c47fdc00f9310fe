"""Equal training: settings of every job are taken, and what was found once is not sought again."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from types import SimpleNamespace

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
    first = equal.Trainer(job._replace(start=equal.STARTS[0]), tmp_path / "first", tmp_path)
    first.known("cost", lambda: {"seconds_per_step": 2.0})
    first.known("rates", lambda: {"losses": {"0.0003": 0.5, "0.001": 0.4, "0.003": 0.6}})
    trainer = equal.Trainer(job, tmp_path / job.name, tmp_path)
    runs = []

    def run(name, preset) -> None:
        runs.append((name, preset))
        (trainer.folder / name).mkdir(parents=True)
        looks = [{"step": 7, **dict.fromkeys(map("validation_{}".format, equal.SAID), 0.5)}]
        lines = [json.dumps(row) for row in [{"step": 7}, *looks]]
        (trainer.folder / name / "log.jsonl").write_text("\n".join(lines))

    monkeypatch.setattr(trainer, "_run", run)
    trainer.train(minutes=45.0, search=5.0)
    ((name, preset),) = runs
    assert (name, preset["fit"]["steps"], preset["fit"]["adam"]["lr"]) == ("run", 1350, 1e-3)
    course = trainer.said("course")
    assert (course["minutes"], course["rate"], course["steps"]) == (45.0, 1e-3, 1350)
    assert course["validations"] == [{"recordings": 112, **dict.fromkeys(equal.SAID, 0.5)}]
    with pytest.raises(SystemExit, match="45 minutes, and 10 are asked for"):
        trainer.train(minutes=10.0, search=5.0)


def test_what_is_on_record_is_not_done_again(tmp_path) -> None:
    parser = {"data": ["erp", "nmm-two"], "tested": [], "samples": (4, 3), "far": (2, 1)}
    options = SimpleNamespace(evaluations=tmp_path, **parser)
    (job,) = (job for job in JOBS if job == ("4dvarnet", "erp", "noise"))
    assert [look.data for look in equal.lacking(job, options)] == ["erp", "nmm-two"]
    (tmp_path / f"{job.name}-on-erp.json").write_text('{"samples": 4}')
    (tmp_path / f"{job.name}-on-nmm-two.json").write_text('{"samples": 2}')  # fewer than asked for
    assert [look.data for look in equal.lacking(job, options)] == ["nmm-two"]
    fixed = job._replace(method="modgrad", start="sLORETA")
    first, far = equal.lacking(fixed, options)
    assert (first.data, far.steps, far.folder.name) == ("erp", (0, 30, 100, 300), "horizons")


def test_only_starts_that_are_asked_for_are_missing_from_the_record(tmp_path) -> None:
    options = SimpleNamespace(
        evaluations=tmp_path, data=["erp"], tested=["erp"], starts=["noise"], samples=(2, 2)
    )
    lacking = gpu.missing("erp", options)
    assert {job.start for job in lacking} == {"noise"}
    assert len(lacking) == len(equal.METHODS) + 1
    for job in lacking:
        (tmp_path / f"{job.name}-on-erp.json").write_text('{"samples": 2}')
    assert not gpu.missing("erp", options)


def test_a_step_may_see_several_times_the_recordings() -> None:
    for job in JOBS:
        plain, more = (job.preset(7, 1e-3, times=times)["fit"] for times in (1, 4))
        assert more["batch_size"] == 4 * plain["batch_size"]
        assert more["steps"] == plain["steps"]


def test_methods_that_learn_the_same_start_have_the_same_minutes_for_it(
    tmp_path, monkeypatch
) -> None:
    steps = []
    for method in equal.LEARNED:
        trainer = equal.Trainer(equal.Job(method, "erp", "learned"), tmp_path / "x", tmp_path)
        for name in ("cost", "start-cost"):
            of = equal.Job(method if name == "cost" else "mm-net", "erp", "learned")
            if name == "cost":
                of = of._replace(start=equal.STARTS[0])
            equal.Trainer(of, tmp_path / "y", tmp_path).known(name, lambda: {"seconds_per_step": 1})
        linear = equal.Trainer(equal.Job(method, "erp", equal.STARTS[0]), tmp_path / "y", tmp_path)
        linear.known("rates", lambda: {"losses": {"0.001": 0.4}})
        monkeypatch.setattr(
            trainer, "_run", lambda _, preset: steps.append(preset["start"]["steps"])
        )
        monkeypatch.setattr(trainer, "_course", lambda *_: {})
        trainer.train(minutes=10.0, search=1.0)
    assert steps == [360, 360]


COMMAND = """
import signal, sys, time
def stop(*_):
    time.sleep(1)  # as a step takes
    open("checkpoint", "w").close()
    sys.exit(130)
signal.signal(signal.SIGINT, stop)
open("ready", "w").close()
time.sleep(60)
"""


def test_costs_and_rates_of_another_length_are_taken_and_its_courses_are_not(tmp_path) -> None:
    job = equal.Job("mm-net", "erp", "noise")
    other = equal.Trainer(job, tmp_path / "x", tmp_path / "short")
    trainer = equal.Trainer(job, tmp_path / "y", tmp_path / "long", 1, tmp_path / "short")
    for name in ("cost", "rates", "course"):
        other.known(name, lambda: {"found": "there"})
    assert trainer.said("cost") == trainer.said("rates") == {"found": "there"}
    assert trainer.said("course") is None
    trainer.known("course", lambda: {"found": "here"})
    assert trainer.said("course") == {"found": "here"}
    beside = trainer.beside(job._replace(start="sLORETA"))
    assert beside.measured == trainer.measured


def test_an_interruption_waits_for_the_checkpoint_of_a_training(tmp_path) -> None:
    """A key press reaches the script and its command at once; the command has the last word."""
    (tmp_path / "ablation.py").write_text(COMMAND)
    call = f"import equal_training as e; e.HERE = e.Path({str(tmp_path)!r}); e._learnmm_esi()"
    process = subprocess.Popen(
        [sys.executable, "-c", call],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(equal.HERE), *sys.path])},
        start_new_session=True,
    )
    begin = time.monotonic()
    while not (tmp_path / "ready").is_file() and time.monotonic() - begin < 60:
        time.sleep(0.1)
    os.killpg(process.pid, signal.SIGINT)
    assert process.wait(60) == equal.INTERRUPTED
    assert (tmp_path / "checkpoint").is_file()
