"""Runs end early: by patience, or where nothing is finite; their best weights are kept."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import learnmm as lmm
from fitting import (
    Line,
    log,
    numbers,
    train_line,
)
from learnmm import storage
from learnmm.training.checkpoint import CHECKPOINT


def scripted(values: list[float], seen: list[float]) -> Any:
    """Validate to the given values; note the weight each time."""
    rest = iter(values)

    def loss(output: Tensor, batch: Tensor) -> Tensor:
        if torch.is_grad_enabled():
            return output.mean()
        seen.append(output.item())
        return torch.tensor(next(rest))

    return loss


def stop_early(
    values: list[float], **changes: Any
) -> tuple[lmm.training.FitResult, Line, list[float]]:
    seen: list[float] = []
    chosen = {"steps": 12, "validate_every": 2, "validation": torch.ones(1), **changes}
    result, line = train_line(scripted(values, seen), **chosen)
    return result, line, seen


def test_patience_ends_and_the_best_weights_are_kept() -> None:
    result, line, seen = stop_early([5.0, 3.0, 4.0, 3.0, 1.0, 0.0], patience=2)
    assert (result.stopped_early, result.steps, result.best_step) == (True, 8, 4)
    assert result.best_loss == 3.0
    assert line.weight.item() == seen[1] != seen[3]


def test_a_better_loss_renews_patience() -> None:
    result, line, seen = stop_early([5.0, 6.0, 4.0, 5.0, 3.0, 9.0], patience=2)
    assert (result.stopped_early, result.steps, result.best_step) == (False, 12, 10)
    assert line.weight.item() == seen[4]


def test_without_patience_all_steps_are_done() -> None:
    result, _, _ = stop_early([1.0, 2.0, 3.0, 4.0, 5.0, 6.0])
    assert (result.stopped_early, result.steps, result.best_step) == (False, 12, 2)


def test_an_early_end_is_final(tmp_path: Path) -> None:
    values = [1.0, 2.0, 3.0]
    first, line, _ = stop_early(values, patience=2, folder=tmp_path)
    again, other, seen = stop_early([], patience=2, folder=tmp_path)
    assert numbers(again) == numbers(first)
    assert again.stopped_early
    assert line.weight.item() == other.weight.item()
    assert seen == []


def test_a_loss_that_is_not_finite_is_never_the_best() -> None:
    result, _, _ = stop_early([math.nan, 5.0, -math.inf, math.nan, 6.0, 7.0])
    assert (result.best_loss, result.best_step) == (5.0, 4)
    checks = [row["validation_loss"] for row in result.history if "validation_loss" in row]
    assert checks == [None, 5.0, None, None, 6.0, 7.0]


def test_no_finite_loss_at_all_is_an_error() -> None:
    with pytest.raises(FloatingPointError, match="no loss was finite in 12 steps"):
        stop_early([math.nan] * 6)


def spoiling(steps: set[int], by: str) -> Any:
    """Spoil the loss, its gradient, or both in some training steps, counted from 1."""
    calls = 0

    def loss(output: Tensor, batch: Tensor) -> Tensor:
        nonlocal calls
        calls += 1
        value = output.mean()
        if calls not in steps:
            return value
        spoilt = {"both": value * math.nan, "loss": value + math.inf}
        return spoilt.get(by, value + (value - value.detach()).sqrt())

    return loss


@pytest.mark.parametrize("by", ["both", "loss", "gradient"])
def test_steps_that_are_not_finite_are_skipped(by: str, tmp_path: Path) -> None:
    result, line = train_line(
        spoiling({2, 3, 6}, by), steps=8, validate_every=8, ema=0.5, folder=tmp_path
    )
    assert (result.skipped, result.steps) == (3, 8)
    weights = line.seen
    assert weights[1] == weights[2] == weights[3]  # steps 2 and 3 changed nothing
    assert weights[5] == weights[6]
    assert len(set(weights)) == 5
    rows = [row for row in result.history if "loss" in row]
    for name, spoilt in (("loss", by != "gradient"), ("gradient_norm", by != "loss")):
        missing = [row["step"] for row in rows if row[name] is None]
        assert missing == ([2, 3, 6] if spoilt else [])
    assert log(tmp_path) == list(result.history)
    tensors, about = storage.read_tensors(tmp_path / "last.safetensors", CHECKPOINT, ())
    assert tensors["adam.step.weight"] == about["counters"]["updates"] == 5
    good = [row["loss"] for row in rows if row["step"] not in {2, 3, 6}]
    assert result.history[-1]["training_loss"] == pytest.approx(sum(good) / 5)


def test_ten_in_a_row_end_the_run_with_the_best_weights(tmp_path: Path) -> None:
    spoilt = spoiling(set(range(5, 14)) | set(range(15, 40)), "both")
    message = r"not finite in 10 steps in a row, up to step 24.*best weights: of step 15"
    with pytest.raises(FloatingPointError, match=message):
        train_line(spoilt, steps=40, validate_every=3, folder=tmp_path, model=(line := Line()))
    other = Line()
    lmm.load_weights(tmp_path / "best.safetensors", other)
    assert line.weight.item() == other.weight.item() == line.seen[15]


def test_ten_from_the_start_leave_no_best_weights() -> None:
    with pytest.raises(FloatingPointError, match=r"up to step 10.*best weights: none so far"):
        train_line(spoiling(set(range(40)), "both"), steps=40)
