"""Settings, arguments and losses that cannot work are refused, and nothing is written."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.utils.data import IterableDataset

import learnmm as lmm
from fitting import (
    Data,
    Net,
    settings,
    squares,
    train,
)


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"steps": 0}, ValueError, "steps must be at least 1, got 0"),
        ({"steps": 2.5}, TypeError, r"steps must be an integer, got 2\.5"),
        ({"steps": True}, TypeError, "steps must be an integer, got True"),
        ({"batch_size": 0}, ValueError, "batch_size must be at least 1, got 0"),
        ({"lr": 0.0}, ValueError, r"lr must be positive and finite, got 0\.0"),
        ({"lr": math.inf}, ValueError, "lr must be positive and finite, got inf"),
        ({"lr": "1e-3"}, TypeError, "lr must be a number, got '1e-3'"),
        ({"lr_factors": [1]}, TypeError, "lr_factors must be a mapping, got list"),
        ({"lr_factors": {"a": -1}}, ValueError, r"lr_factors\['a'\] must be at least 0.*got -1"),
        ({"warmup": -1}, ValueError, "warmup must be at least 0, got -1"),
        ({"warmup": 27}, ValueError, "warmup must be at most steps=26, got 27"),
        ({"final_lr": 1.1}, ValueError, r"final_lr must be in \[0, 1\], got 1\.1"),
        ({"clip": 0}, ValueError, "clip must be positive, or None, got 0"),
        ({"clip": math.nan}, ValueError, "clip must be positive, or None, got nan"),
        ({"ema": 1.0}, ValueError, r"ema must be in \(0, 1\), or None, got 1\.0"),
        (
            {"precision": "16-mixed"},
            ValueError,
            r"\('32-true', 'bf16-mixed', 'auto'\), got '16-mixed'",
        ),
        ({"validate_every": 0}, ValueError, "validate_every must be at least 1, got 0"),
        ({"patience": 0}, ValueError, "patience must be at least 1, got 0"),
        ({"adam": None}, TypeError, "adam must be AdamSettings, got NoneType"),
        ({"seed": -1}, ValueError, "seed must be at least 0, got -1"),
    ],
)
def test_settings_that_cannot_work(
    changes: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        settings(**changes) if "adam" not in changes else lmm.FitSettings(steps=3, **changes)


def test_settings_are_values() -> None:
    assert settings() == dataclasses.replace(settings(), seed=0)
    assert dataclasses.asdict(settings(lr_factors={"a": 2}))["adam"]["lr_factors"] == {"a": 2}


class Stream(IterableDataset[Any]):
    def __iter__(self) -> Iterator[Any]:
        yield 1.0

    def __len__(self) -> int:
        return 100


class Inf(Net):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("radius", torch.tensor(math.inf))


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"model": squares}, TypeError, r"model must be a torch\.nn\.Module, got function"),
        ({"model": nn.Identity()}, ValueError, "Identity has no trainable parameters"),
        ({"model": Inf()}, ValueError, "Inf starts with what is not finite: radius"),
        ({"loss": 1.0}, TypeError, "outer_loss must be callable, got float"),
        ({"data": Stream()}, TypeError, "data must be a map-style dataset.*got Stream"),
        ({"data": 5}, TypeError, "data must be a map-style dataset.*got int"),
        ({"data": Data(0)}, ValueError, "data is empty"),
        ({"data": Data(15)}, ValueError, "data has 15 samples, fewer than batch_size=16"),
        ({"validation": Data(0)}, ValueError, "validation is empty"),
        ({"config": {"a": {1}}}, TypeError, "config must be what JSON can say"),
        ({"fabric": 1}, TypeError, "fabric must be a Fabric, got int"),
        (
            {"fabric": Fabric(accelerator="cpu", devices=1, precision="bf16-mixed")},
            ValueError,
            "the settings say precision '32-true', the fabric 'bf16-mixed'",
        ),
        (
            {"fabric": Fabric(accelerator="cpu", devices=2, strategy="ddp")},
            RuntimeError,
            r"you must call `\.launch\(\)`",
        ),
    ],
)
def test_arguments_that_do_not_fit(
    tmp_path: Path, changes: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        train(tmp_path, **changes)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"checkpoint_minutes": -1}, ValueError, "checkpoint_minutes must be at least 0, got -1"),
        ({"checkpoint_minutes": None}, TypeError, "checkpoint_minutes must be a number, got None"),
        ({"config": {"a": {1}}}, TypeError, "config must be what JSON can say"),
        ({"resume": "no"}, TypeError, "resume must be True or False, got 'no'"),
        ({"progress": 1}, TypeError, "progress must be True, False or a name, got 1"),
    ],
)
def test_records_that_cannot_be_kept(
    changes: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        lmm.Record(**changes)


def test_a_record_is_asked_for(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="record must be a Record, got PosixPath"):
        lmm.fit(Net(), Data(), squares, settings(), record=tmp_path)  # type: ignore[arg-type]


def test_settings_are_asked_for() -> None:
    with pytest.raises(TypeError, match="settings must be FitSettings, got dict"):
        lmm.fit(Net(), Data(), squares, {"steps": 3})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("loss", "error", "message"),
    [
        (lambda o, b: 1.0, TypeError, "outer_loss must return a tensor, or .*, got float"),
        (lambda o, b: (o.mean(), 1), TypeError, r"got \(Tensor, int\)"),
        (lambda o, b: (o.mean(), {}, 1), TypeError, r"got \(Tensor, dict, int\)"),
        (lambda o, b: o, ValueError, r"the mean over the batch, got shape \(16, 3\)"),
        (lambda o, b: o.mean() > 0, ValueError, r"got shape \(\) and dtype torch\.bool"),
        (lambda o, b: o.detach().mean(), ValueError, "depends on no trainable parameter"),
        (lambda o, b: (o.mean(), {"lr": 1.0}), ValueError, r"may not name its scalars \['lr'\]"),
    ],
)
def test_losses_that_do_not_fit(loss: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        train(loss=loss)


def test_scalars_have_the_same_names_for_every_batch() -> None:
    def loss(output: Tensor, batch: Any) -> Any:
        return output.mean(), {"odd" if len(output) % 2 else "even": 1.0}

    with pytest.raises(ValueError, match=r"same scalars for every batch, got \['even'\] .*'odd'"):
        train(loss=loss)
