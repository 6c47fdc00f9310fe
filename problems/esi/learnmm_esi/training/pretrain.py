"""Train what can learn before the steps do, a thousand recordings a second on one core."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from learnmm.storage import load_notes, load_weights
from learnmm.training import FitSettings, Record, fit
from learnmm_esi.networks.energy import LearnedEnergy, peak_one
from learnmm_esi.networks.method import Method
from learnmm_esi.networks.start import Components
from learnmm_esi.simulation.simulator import PatchSimulator
from learnmm_esi.training.data import FactoredRecordings
from learnmm_esi.training.losses import distance

AUTOENCODER_SHARE, WINDOW = 4, 16
"""The autoencoder costs the most: it sees one recording of so many, and so many samples of it."""


class Prepared(NamedTuple):
    """What a recording starts from, and what the autoencoder makes of it and of the truth.

    The last three are windows of some of the recordings, ``(b, sources, times)``.
    """

    start: Components
    from_start: Tensor
    from_truth: Tensor
    truth: Tensor


class Preparing(nn.Module):
    """The parts of an energy that can learn before there are steps: the start and the prior.

    Parameters
    ----------
    energy : LearnedEnergy
        With a learned start.
    """

    margin: int  # samples that see a window's ends

    def __init__(self, energy: LearnedEnergy) -> None:
        super().__init__()
        if energy.sharpener is None:
            raise ValueError(f"a start that is learned is needed, got {energy.initial!r}")
        self.sharpener = energy.sharpener
        self.autoencoder = energy.autoencoder
        self.normalized = energy.normalized
        layers = [layer for layer in energy.autoencoder if isinstance(layer, nn.Conv1d)]
        self.margin = sum(layer.kernel_size[0] // 2 for layer in layers)

    def forward(self, batch: Mapping[str, Tensor]) -> Prepared:
        """Start from every recording; show the autoencoder a window of every fourth."""
        with torch.autocast(batch["sensors"].device.type, enabled=False):
            start = self.sharpener.components(self.normalized(batch["sensors"]))
            few = slice(0, max(1, len(start.maps) // AUTOENCODER_SHARE))
            truth = batch["maps"][few].mT @ batch["courses"][few]
            peak = batch["courses"][few, 0].abs().argmax(1)
            window = self._window(peak, truth.shape[2])
            first = peak_one(Components(*(part[few] for part in start)).sum().detach())
            first, truth = (_cut(x, window) for x in (first, truth))
        margin = self._margin(first.shape[2])
        inside = slice(margin, first.shape[2] - margin)
        from_start, from_truth = (self.autoencoder(x)[..., inside].float() for x in (first, truth))
        return Prepared(start, from_start, from_truth, truth[..., inside])

    def _window(self, peak: Tensor, times: int) -> Tensor:
        """Samples around a peak, at random in training, ``(b, length)``."""
        length = min(times, WINDOW + 2 * self.margin)
        margin = self._margin(length)
        if self.training:
            before = torch.randint(margin, length - margin, peak.shape)
        else:
            before = torch.full(peak.shape, length // 2)
        begin = (peak - before.to(peak.device)).clamp(0, times - length)
        return begin[:, None] + torch.arange(length, device=peak.device)

    def _margin(self, length: int) -> int:
        """Samples to leave out at either end of a window; recordings can be very short."""
        return min(self.margin, (length - 1) // 2)


def preparation_loss(found: Prepared, batch: Mapping[str, Tensor]) -> Any:
    """``[1 - cos(x_0, x)] + 1/2 [1 - cos(Phi(x_0), x)] + 1/2 [1 - cos(Phi(x), x)]``.

    An autoencoder that maps the start and the truth to the truth makes the truth nearly a
    minimizer of its prior.
    """
    start = start_loss(found.start, batch)
    prior = distance(found.from_start, found.truth)
    truth = distance(found.from_truth, found.truth)
    return start + (prior + truth) / 2, {"start": start, "prior": prior, "truth": truth}


def start_loss(found: Components, batch: Mapping[str, Tensor]) -> Tensor:
    """Mean over the batch of ``1 - cos(x_0, x)``, from the factors of both.

    With ``x_0 = sum_r f_r v_r^T`` and ``x = sum_p w_p c_p^T`` it is ``<x_0, x> = sum_rp
    <f_r, w_p> <v_r, c_p>``: neither array is formed, whatever the number of samples.
    """
    truth = Components(batch["maps"], batch["courses"])
    square = _inner(found, found) * _inner(truth, truth)
    return (1 - _inner(found, truth) * torch.rsqrt(square.clamp(min=1e-12))).mean()


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
) -> dict[str, Any]:
    """Train start and prior of an energy; they get their best weights, and the start keeps them.

    Parameters
    ----------
    energy : LearnedEnergy
        With a learned start.
    training, validation : PatchSimulator
        Whole recordings are used, whatever the windows of the steps.
    settings : FitSettings
        How.
    folder : Path
        As in `learnmm.Record`; its ``best.safetensors`` serves `take_start`.
    config : Mapping
        Stored with the weights.
    progress, resume : bool
        As in `learnmm.Record`.

    Returns
    -------
    dict
        The notes of its weights: loss, step, seconds, settings.
    """
    model = Preparing(energy)
    fit(
        model,
        FactoredRecordings(training),
        preparation_loss,
        settings,
        validation=FactoredRecordings(validation, fresh=False),
        record=Record(
            folder,
            config={**config, "part": "start"},
            progress=progress and "start",
            resume=resume,
        ),
    )
    model.sharpener.requires_grad_(False)
    return load_notes(folder / "best.safetensors")


def take_start(path: Path, energy: LearnedEnergy, config: Mapping[str, Any]) -> dict[str, Any]:
    """Fill start and prior of an energy with weights of `pretrain`, and fix the start.

    Returns the notes of the weights.

    Raises
    ------
    ValueError
        If the file is no such start, or was trained on other data or another head model.
    """
    model = Preparing(energy)
    load_weights(path, model, expect={**config, "part": "start"})
    model.sharpener.requires_grad_(False)
    return load_notes(path)


def require_learned_start(method: Method, start: Path) -> None:
    """Raise a ValueError if a start is given to a method that learns none."""
    if method.start != "learned":
        raise ValueError(f"{method.name} with start={method.start!r} learns no start, got {start}")


def _cut(x: Tensor, window: Tensor) -> Tensor:
    """Samples ``window`` (B, length) of ``x`` (B, sources, times)."""
    return x.gather(2, window[:, None].expand(-1, x.shape[1], -1))


def _inner(a: Components, b: Components) -> Tensor:
    """Inner products of two arrays in factors, ``(B,)``."""
    return ((a.maps @ b.maps.mT) * (a.courses @ b.courses.mT)).sum((1, 2))
