"""Train the learned start alone, before the steps: a thousand recordings a second on one core."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from learnmm.storage import load_notes, load_weights
from learnmm.training import FitResult, FitSettings, fit

from ..simulator import PatchSimulator
from .energy import LearnedEnergy
from .start import Components


class FactoredRecordings(Dataset[dict[str, Tensor]]):
    """Whole recordings whose sources are given by the factors of their patches.

    Parameters
    ----------
    simulator : PatchSimulator
        What simulates them, the same number of patches in each.
    fresh : bool
        Draw the noise anew in every epoch (training) or not (validation).
    """

    def __init__(self, simulator: PatchSimulator, *, fresh: bool = True) -> None:
        self.simulator = simulator
        self.fresh = fresh
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the noise."""
        self.epoch = epoch if self.fresh else 0

    def __len__(self) -> int:
        return len(self.simulator)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        patches, sensors, _ = self.simulator.factors(index, draw=self.epoch)
        # Amplitudes play no role, and in A m they are near the smallest float32.
        unit = max(abs(patch.waveform).max() for patch in patches)
        return {
            "sensors": torch.from_numpy(sensors),
            "maps": torch.stack([torch.from_numpy(p.weights).float() for p in patches]),
            "courses": torch.stack([torch.from_numpy(p.waveform / unit).float() for p in patches]),
        }


class Starting(nn.Module):
    """The start of an energy as a model of its own."""

    def __init__(self, energy: LearnedEnergy) -> None:
        super().__init__()
        if energy.sharpener is None:
            raise ValueError(f"a start that is learned is needed, got {energy.initial!r}")
        self.sharpener = energy.sharpener
        self.normalized = energy.normalized

    def forward(self, batch: Mapping[str, Tensor]) -> Components:
        """Return the start of every recording, in factors."""
        return self.sharpener.components(self.normalized(batch["sensors"]))


def start_loss(found: Components, batch: Mapping[str, Tensor]) -> Tensor:
    """Mean over the batch of ``1 - cos(x_0, x)``, from the factors of both.

    With ``x_0 = sum_r f_r v_r^T`` and ``x = sum_p w_p c_p^T`` it is ``<x_0, x> = sum_rp
    <f_r, w_p> <v_r, c_p>``: neither array is formed, whatever the number of samples.
    """
    inner = _inner(found, Components(batch["maps"], batch["courses"]))
    own = _inner(found, found)
    truth = _inner(*[Components(batch["maps"], batch["courses"])] * 2)
    return (1 - inner * torch.rsqrt((own * truth).clamp(min=1e-12))).mean()


def pretrain(
    energy: LearnedEnergy,
    training: PatchSimulator,
    validation: PatchSimulator,
    settings: FitSettings,
    folder: Path,
    *,
    config: Mapping[str, Any],
    progress: bool,
    resume: bool,
) -> FitResult:
    """Train the start of an energy and leave it with its best weights, no longer trainable.

    Parameters
    ----------
    energy : LearnedEnergy
        With a learned start.
    training, validation : PatchSimulator
        Whole recordings are used, whatever the windows of the steps.
    settings : FitSettings
        How.
    folder : Path
        As in `learnmm.training.fit`; its ``best.safetensors`` serves `take_start`.
    config : Mapping
        Stored with the weights.
    progress, resume : bool
        As in `learnmm.training.fit`.
    """
    model = Starting(energy)
    result = fit(
        model,
        FactoredRecordings(training),
        start_loss,
        settings,
        validation=FactoredRecordings(validation, fresh=False),
        folder=folder,
        config={**config, "part": "start"},
        progress=progress,
        resume=resume,
    )
    model.requires_grad_(False)
    return result


def take_start(path: Path, energy: LearnedEnergy, config: Mapping[str, Any]) -> dict[str, Any]:
    """Fill the start of an energy with weights of `pretrain`; return their notes.

    Raises
    ------
    ValueError
        If the file is no such start, or was trained on other data or another head model.
    """
    model = Starting(energy)
    load_weights(path, model, expect={**config, "part": "start"})
    model.requires_grad_(False)
    return load_notes(path)


def _inner(a: Components, b: Components) -> Tensor:
    """Inner products of two arrays in factors, ``(B,)``."""
    return ((a.maps @ b.maps.mT) * (a.courses @ b.courses.mT)).sum((1, 2))
