"""Training: it lowers the loss, can be resumed and repeated, and learns the start first."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from eeg_learning import Preset, preset, small
from learnmm_esi.training.train import train


def with_start(name: str = "mm-net") -> Preset:
    """Few steps, after a start that learns something."""
    start = {"steps": 30, "batch_size": 16, "lr": 3e-3, "warmup": 2}
    return preset(name, start=start, size=32, steps=2)


def test_training_lowers_the_loss_and_resumes(head, tmp_path) -> None:
    whole, result, _ = train(head, "erp", preset(), tmp_path / "a", progress=False)
    losses = [row["loss"] for row in result.history if "loss" in row]
    assert np.mean(losses[-2:]) < np.mean(losses[:2])
    seen = [row for row in result.history if "validation_loss" in row]
    assert seen
    assert all(row["validation_LE"] > 0 and 0 < row["validation_AUC"] <= 100 for row in seen)
    train(head, "erp", preset(steps=4), tmp_path / "b", progress=False)
    again, longer, _ = train(head, "erp", preset(), tmp_path / "b", progress=False)
    assert longer.steps == 8
    assert [row["step"] for row in longer.history if "loss" in row] == list(range(1, 9))
    assert again.method == whole.method
    with pytest.raises(ValueError, match="another run"):
        train(head, "erp", preset(lr=1e-3), tmp_path / "b", progress=False)


def test_the_start_is_trained_first_and_then_left_alone(head, tmp_path) -> None:
    solver, result, known = train(head, "erp", with_start(), tmp_path / "a", progress=False)
    assert known["step"] > 0
    assert known["loss"] < 1.6, "untrained networks have about 2.3"
    assert result.steps == 2
    sharpener = solver.energy.sharpener
    assert sharpener is not None
    assert not any(p.requires_grad for p in sharpener.parameters())

    first = tmp_path / "a" / "start" / "best.safetensors"
    again, _, taken = train(
        head, "erp", with_start("r-mm-net"), tmp_path / "b", start=first, progress=False
    )
    assert taken["step"] == known["step"]
    assert not (tmp_path / "b" / "start").exists()
    for name, value in sharpener.state_dict().items():
        torch.testing.assert_close(again.energy.sharpener.state_dict()[name], value)


def test_the_prior_of_steps_from_the_evidence_is_trained_first(head, tmp_path) -> None:
    start = replace(with_start().start, validate_every=10)
    made = replace(with_start(), method=small("mm-net", start="evidence"), start=start)
    solver, result, known = train(head, "erp", made, tmp_path, progress=False)
    assert known["step"] > 0
    assert result.steps == 2
    log = (tmp_path / "start" / "log.jsonl").read_text().splitlines()
    seen = [row for row in map(json.loads, log) if "validation_prior" in row]
    assert seen[-1]["validation_truth"] < seen[0]["validation_truth"]
    assert seen[-1]["validation_start"] == seen[0]["validation_start"], "which nothing can change"
    assert all(p.requires_grad for p in solver.energy.autoencoder.parameters())


def test_a_training_can_be_repeated(head, tmp_path) -> None:
    """First weights included, whatever was drawn from the global generator before."""
    losses = []
    for name in ("a", "b"):
        torch.rand(len(losses) + 1)
        _, result, _ = train(head, "erp", with_start(), tmp_path / name, progress=False)
        losses.append([row["loss"] for row in result.history if "loss" in row])
    assert losses[0] == losses[1]


def test_a_start_of_other_data_or_for_a_method_without_one_is_refused(head, tmp_path) -> None:
    train(head, "erp", with_start(), tmp_path / "a", progress=False)
    first = tmp_path / "a" / "start" / "best.safetensors"
    other = replace(with_start(), training=replace(with_start().training, seed=7))
    with pytest.raises(ValueError, match=r"another configuration: .*seed"):
        train(head, "erp", other, tmp_path / "b", start=first, progress=False)
    linear = replace(with_start(), method=small("mm-net", start="sLORETA"))
    with pytest.raises(ValueError, match="learns no start"):
        train(head, "erp", linear, tmp_path / "c", start=first, progress=False)
