"""How far a step goes: rates of parameter groups, warmup and decay, clipping."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from torch import nn

from fitting import (
    Line,
    Net,
    flat,
    train,
    train_line,
)
from learnmm import storage
from learnmm.training.checkpoint import CHECKPOINT


def moves(model: nn.Module) -> dict[str, float]:
    start = dict(Net().named_parameters())
    return {n: float((p - start[n]).detach().abs().max()) for n, p in model.named_parameters()}


def test_parameter_groups_have_rates_of_their_own() -> None:
    factors = {"first": 0.0, "last": 0.5, "last.bias": 2.0}
    _, model = train(steps=1, warmup=0, lr=1e-3, ema=None, clip=None, lr_factors=factors)
    # Adam's first step is the rate times the sign of the gradient.
    moved = moves(model)
    assert moved["first.weight"] == moved["first.bias"] == 0
    assert moved["norm.weight"] == pytest.approx(1e-3, rel=1e-2)
    assert moved["last.weight"] == pytest.approx(5e-4, rel=1e-2)
    assert moved["last.bias"] == pytest.approx(2e-3, rel=1e-2)


@pytest.mark.parametrize(
    ("factors", "unused"),
    [({"lst": 0.5}, "lst"), ({"first": 2, "first.": 3}, "first"), ({"first.weight.x": 1}, "x")],
)
def test_a_prefix_without_parameters_is_an_error(factors: dict[str, float], unused: str) -> None:
    with pytest.raises(ValueError, match=rf"no trainable parameter takes .*{unused}'\]; names are"):
        train(lr_factors=factors)


def test_frozen_parameters_stay() -> None:
    model = Net()
    model.first.requires_grad_(False)
    train(model=model, steps=3)
    moved = moves(model)
    assert moved["first.weight"] == 0 < moved["last.weight"]


def test_the_rate_rises_linearly_and_falls_as_a_cosine() -> None:
    chosen = flat(steps=111, lr=2.0, warmup=10, final_lr=0.1)
    rates = [chosen.rate(step) for step in range(111)]
    assert rates[:10] == pytest.approx([0.2 * (k + 1) for k in range(10)])
    assert rates[10] == 2.0
    assert rates[60] == pytest.approx(2.0 * (0.1 + 0.9 / 2))
    assert rates[110] == pytest.approx(0.2)
    assert rates[10:] == sorted(rates[10:], reverse=True)
    assert all(math.isfinite(r) for r in rates)
    assert flat(steps=1, warmup=0).rate(0) == 1e-3
    assert flat(steps=20).rate(19) == 1e-3


@pytest.mark.parametrize(("clip", "norm"), [(0.25, 0.25), (1e3, 3.0), (None, 3.0)])
def test_the_gradient_is_clipped(tmp_path: Path, clip: float | None, norm: float) -> None:
    result, _ = train_line(
        lambda output, batch: 3 * output.mean(), steps=1, clip=clip, folder=tmp_path
    )
    assert result.history[0]["gradient_norm"] == pytest.approx(3.0)
    tensors, _ = storage.read_tensors(tmp_path / "last.safetensors", CHECKPOINT, ())
    assert tensors["adam.exp_avg.weight"].item() == pytest.approx(0.1 * norm, rel=1e-5)


def test_gradients_of_before_do_not_count() -> None:
    line = Line()
    line.weight.grad = torch.tensor(1e3)
    result, _ = train_line(model=line, steps=1)
    assert result.history[0]["gradient_norm"] == pytest.approx(1.0)
