"""Trainings that are quick to run: data, models, losses, and a crash at any step."""

from __future__ import annotations

import dataclasses
import json
import math
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import learnmm as lmm
from learnmm import storage
from learnmm.training.checkpoint import CHECKPOINT

SAMPLES, BATCH = 70, 16  # four batches per epoch, six samples left over


class Data:
    """Inputs and targets; the inputs carry noise that depends on index and epoch."""

    def __init__(self, samples: int = SAMPLES, noise: float = 0.1) -> None:
        generator = torch.Generator().manual_seed(3)
        mixing = torch.randn(5, 3, generator=generator)
        self.x = torch.randn(samples, 5, generator=generator)
        self.y = torch.tanh(self.x @ mixing)
        self.noise, self.epochs = noise, [0]

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        return self.x[index] + self.noise * math.sin(index + 10 * self.epochs[-1]), self.y[index]

    def set_epoch(self, epoch: int) -> None:
        self.epochs.append(epoch)


class Net(nn.Module):
    """Everything that has a state of its own: batch statistics, dropout, a tied weight."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(4)
        self.first = nn.Linear(5, 8)
        self.norm = nn.BatchNorm1d(8)
        self.drop = nn.Dropout(0.2)
        self.last = nn.Linear(8, 3)

    def forward(self, batch: tuple[Tensor, Tensor], scale: float = 1.0) -> Tensor:
        hidden = self.drop(self.norm(torch.tanh(self.first(batch[0]))))
        return scale * self.last(hidden)


class Line(nn.Module):
    """One parameter, whose trajectory is easy to follow."""

    def __init__(self, weight: float = 1.0) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(weight))
        self.seen: list[float] = []

    def forward(self, batch: Tensor) -> Tensor:
        if torch.is_grad_enabled():
            self.seen.append(self.weight.item())
        return self.weight * batch


def squares(output: Tensor, batch: tuple[Tensor, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
    error = output - batch[1]
    return error.square().mean(), {"absolute": error.abs().mean()}


def mean_of_output(output: Tensor, batch: Tensor) -> Tensor:
    return output.mean()


def flat(**chosen: Any) -> lmm.FitSettings:
    """Settings of a fit, those of Adam among them."""
    names = {field.name for field in dataclasses.fields(lmm.AdamSettings)}
    adam = {name: chosen.pop(name) for name in list(chosen) if name in names}
    return lmm.FitSettings(adam=lmm.AdamSettings(**adam), **chosen)


def settings(**changes: Any) -> lmm.FitSettings:
    chosen = {"steps": 26, "batch_size": BATCH, "lr": 1e-2, "ema": 0.9, "validate_every": 9}
    return flat(**{**chosen, "warmup": 3, **changes})


def train(
    folder: Path | None = None,
    loss: Any = squares,
    model: nn.Module | None = None,
    data: Any = None,
    **changes: Any,
) -> tuple[lmm.training.FitResult, nn.Module]:
    """Train `Net`; `changes` are of `fit` or its record where they have them, else of settings."""
    ours = {"validation": Data(21), "fabric": None}
    ours |= {"forward": lambda step: {"scale": 1 + 0.1 * (step % 3)}}
    ours |= {name: changes.pop(name) for name in list(changes) if name in ours}
    kept = {"config": {"a": (1, 2)}, "resume": True, "checkpoint_minutes": 0.0, "progress": False}
    kept |= {name: changes.pop(name) for name in list(changes) if name in kept}
    model = model or Net()
    data = data if data is not None else Data()
    record = lmm.Record(folder, **kept)  # type: ignore[arg-type]
    return lmm.fit(model, data, loss, settings(**changes), record=record, **ours), model  # type: ignore[arg-type]


def train_line(loss: Any = mean_of_output, **changes: Any) -> tuple[lmm.training.FitResult, Line]:
    plain = {"batch_size": 1, "ema": None, "forward": None, "validation": None, "warmup": 0}
    line = changes.pop("model", None) or Line()
    result, _ = train(loss=loss, model=line, data=torch.ones(4), **{**plain, **changes})
    return result, line


def numbers(result: lmm.training.FitResult) -> Any:
    """All of a result that must not depend on time and place."""
    rows = [{n: v for n, v in row.items() if n != "seconds"} for row in result.history]
    return rows, result.best_loss, result.best_step, result.steps, result.skipped


def same(one: nn.Module, other: nn.Module) -> bool:
    pairs = zip(one.state_dict().values(), other.state_dict().values(), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


def log(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]


class Broken(Exception):
    """Stands in for a crash: nothing of the run gets to act on it."""


def breaking(at: int, action: Callable[[], None]) -> Any:
    """Return the loss, with an action at training step `at`, counted from 1 in this process."""
    calls = 0

    def loss(output: Tensor, batch: tuple[Tensor, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        nonlocal calls
        calls += torch.is_grad_enabled()
        if calls == at and torch.is_grad_enabled():
            action()
        return squares(output, batch)

    return loss


def crash() -> None:
    raise Broken


def filled(folder: Path) -> nn.Module:
    model = Net()
    lmm.load_weights(folder / "best.safetensors", model)
    return model


def header(folder: Path) -> dict[str, Any]:
    return storage.read_tensors(folder / "last.safetensors", CHECKPOINT, ())[1]


def environment() -> dict[str, str]:
    """Surroundings of a process that runs a test file as a script."""
    return {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path)}
