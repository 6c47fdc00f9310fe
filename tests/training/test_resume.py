"""A broken run ends as an unbroken one; no other run's checkpoint is taken up."""

from __future__ import annotations

import dataclasses
import io
import math
import os
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import learnmm as lmm
from fitting import (
    Broken,
    Data,
    Line,
    Net,
    breaking,
    crash,
    filled,
    header,
    log,
    numbers,
    same,
    settings,
    squares,
    train,
)
from learnmm import storage


@pytest.mark.parametrize("minutes", [0.0, 1e9])
@pytest.mark.parametrize("steps", [(1, 1, 2), (10, 2, 7), (14, 9)])
def test_crashes_change_nothing(
    tmp_path: Path,
    unbroken: tuple[lmm.training.FitResult, nn.Module],
    steps: tuple[int, ...],
    minutes: float,
) -> None:
    for at in steps:
        with pytest.raises(Broken):
            train(tmp_path, breaking(at, crash), checkpoint_minutes=minutes)
    result, model = train(tmp_path, checkpoint_minutes=minutes)
    assert numbers(result) == numbers(unbroken[0])
    assert log(tmp_path) == list(result.history)
    assert same(model, unbroken[1])
    assert same(model, filled(tmp_path))


def test_a_finished_run_is_not_run_again(tmp_path: Path) -> None:
    result, model = train(tmp_path)
    again, other = train(tmp_path, breaking(1, crash))
    assert again == dataclasses.replace(result, seconds=again.seconds)
    assert again.seconds == pytest.approx(result.seconds, abs=0.5)
    assert same(model, other)


def test_best_weights_are_those_of_the_checkpoint(tmp_path: Path) -> None:
    _, model = train(tmp_path)
    lmm.save_weights(tmp_path / "best.safetensors", Net(), {})  # of a later step, then a crash
    train(tmp_path)
    assert same(model, filled(tmp_path))


def test_resume_can_be_declined(
    tmp_path: Path, unbroken: tuple[lmm.training.FitResult, Any]
) -> None:
    with pytest.raises(Broken):
        train(tmp_path, breaking(14, crash), seed=1)
    with pytest.raises(Broken):
        train(tmp_path, breaking(1, crash), resume=False)
    assert {p.name for p in tmp_path.glob("*.safetensors")} == set()
    result, _ = train(tmp_path)
    assert numbers(result) == numbers(unbroken[0])
    assert log(tmp_path) == list(result.history)


def test_seconds_add_up_over_resumes(tmp_path: Path) -> None:
    with pytest.raises(Broken):
        train(tmp_path, breaking(20, crash), forward=lambda step: time.sleep(0.02) or {})
    before = header(tmp_path)["counters"]["seconds"]
    assert before > 19 * 0.02
    result, _ = train(tmp_path)
    assert result.seconds > before
    assert result.history[-1]["seconds"] > before
    assert header(tmp_path)["counters"]["seconds"] == pytest.approx(result.seconds, abs=0.5)


def test_a_checkpoint_is_due_by_the_clock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr("learnmm.training.run.time.perf_counter", lambda: now[0])
    saved: list[int] = []

    def watch(output: Tensor, batch: Any) -> Any:
        if (tmp_path / "last.safetensors").exists():
            saved.append(header(tmp_path)["counters"]["step"])
        now[0] += 60
        return squares(output, batch)

    train(tmp_path, watch, checkpoint_minutes=3, validate_every=26, validation=None, ema=None)
    assert sorted(set(saved)) == [3, 6, 9, 12, 15, 18, 21, 24]


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("stopped")
    with torch.random.fork_rng(), pytest.raises(Broken):
        train(folder, breaking(8, crash))
    return folder / "last.safetensors"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"config": {"a": [1, 3], "b": 0}},
            r"config\.a is \[1, 2\] in the file, expected \[1, 3\]",
        ),
        ({"config": {"a": [1, 2], "b": 0}}, r"config\.b is not in the file, expected 0"),
        ({"seed": 1}, r"settings\.seed is 0 in the file, expected 1"),
        ({"lr_factors": {"last": 0.5}}, r"settings\.adam\.lr_factors\.last is not in the file"),
        ({"ema": None}, r"settings\.adam\.ema is 0\.9 in the file, expected None"),
        ({"data": Data(71)}, r"samples\.data is 70 in the file, expected 71"),
        ({"validation": None}, r"samples\.validation is 21 in the file, not expected"),
        ({"model": Line()}, r"first\.weight is not in the module.*weight is missing"),
    ],
)
def test_another_run_is_not_resumed(
    tmp_path: Path, stopped: Path, changes: dict[str, Any], message: str
) -> None:
    (tmp_path / "last.safetensors").write_bytes(stopped.read_bytes())
    with pytest.raises(ValueError, match=message):
        train(tmp_path, **changes)
    assert (tmp_path / "last.safetensors").read_bytes() == stopped.read_bytes()


def test_a_run_may_be_made_longer(tmp_path: Path) -> None:
    train(tmp_path)
    result, _ = train(tmp_path, steps=30)
    rows = [row for row in result.history if "loss" in row]
    assert [row["step"] for row in rows] == list(range(1, 31))
    assert [row["lr"] for row in rows[:26]] == [settings().rate(k) for k in range(26)]
    assert [row["lr"] for row in rows[26:]] == [settings(steps=30).rate(k) for k in range(26, 30)]
    assert storage.load_notes(tmp_path / "best.safetensors")["settings"]["steps"] == 30


@pytest.mark.parametrize("at", [15, 5])
def test_a_run_may_be_made_shorter(tmp_path: Path, at: int) -> None:
    with pytest.raises(Broken):
        train(tmp_path, breaking(at, crash))
    result, model = train(tmp_path, breaking(1, crash), steps=4)
    assert (result.steps, result.best_step) == (at - 1, 9 if at == 15 else 4)
    assert math.isfinite(result.best_loss)
    assert same(model, filled(tmp_path))


def test_checkpoint_times_may_change(tmp_path: Path, stopped: Path) -> None:
    (tmp_path / "last.safetensors").write_bytes(stopped.read_bytes())
    assert train(tmp_path, checkpoint_minutes=7)[0].steps == 26


@pytest.mark.parametrize("kind", ["empty", "truncated", "pickle", "weights", "foreign"])
def test_damaged_checkpoints_are_refused(tmp_path: Path, stopped: Path, kind: str) -> None:
    path = tmp_path / "last.safetensors"
    weights = io.BytesIO()
    torch.save(Net().state_dict(), weights)
    content = stopped.read_bytes()
    path.write_bytes(
        {"empty": b"", "truncated": content[:-1], "pickle": weights.getvalue()}.get(kind, b"")
    )
    message = "no complete safetensors file"
    if kind == "weights":
        lmm.save_weights(path, Net(), {})
        message = "holds 'learnmm weights', version 1; expected 'learnmm checkpoint'"
    if kind == "foreign":
        from safetensors.torch import save_file

        save_file(storage.state_tensors(Net()), path)
        message = "not one of learnmm"
    before = path.read_bytes()
    with pytest.raises(ValueError, match=message):
        train(tmp_path)
    assert path.read_bytes() == before


def test_a_checkpoint_that_fails_leaves_the_one_before(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    unbroken: tuple[lmm.training.FitResult, nn.Module],
) -> None:
    replace, calls = os.replace, [0]

    def fail(source: Path, target: Path) -> None:
        calls[0] += Path(target).name == "last.safetensors"
        if calls[0] == 10:
            raise OSError("disk full")
        replace(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", fail)
        with pytest.raises(OSError, match="disk full"):
            train(tmp_path)
    assert header(tmp_path)["counters"]["step"] == 9
    result, model = train(tmp_path)
    assert numbers(result) == numbers(unbroken[0])
    assert same(model, unbroken[1])
