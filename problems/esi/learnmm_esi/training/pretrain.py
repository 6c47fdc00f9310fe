"""Train what can learn before the steps do, some hundred recordings a second on one core."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from learnmm.storage import load_notes, load_weights
from learnmm.training import FitSettings, Record, fit
from learnmm_esi.networks.energy import LearnedEnergy
from learnmm_esi.networks.method import Method
from learnmm_esi.training.preparation import Preparing, preparation_loss
from learnmm_esi.training.seen import Groups, SeenRecordings

__all__ = ["pretrain", "require_learned_start", "take_start"]

MANY = 1000  # groups, from where on another process simulates ahead


def pretrain(
    energy: LearnedEnergy,
    training: Groups,
    validation: Groups,
    settings: FitSettings,
    folder: Path,
    *,
    config: Mapping[str, Any],
    progress: bool,
    resume: bool,
) -> dict[str, Any]:
    """Train prior and start of an energy; they get their best weights, and the start keeps them.

    Parameters
    ----------
    energy : LearnedEnergy
        As `Preparing` takes it.
    training, validation : Groups
        Whole recordings are used, whatever the windows of the steps.
    settings : FitSettings
        How; its batches are of so many recordings, which whole groups make up.
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
    batch = min(max(1, settings.batch_size // training.together), len(training))
    fit(
        model,
        SeenRecordings(training, workers=1 if len(training) > MANY else 0),
        preparation_loss,
        replace(settings, batch_size=batch),
        validation=SeenRecordings(validation, fresh=False),
        record=Record(
            folder,
            config={**config, "part": "start"},
            progress=progress and "start",
            resume=resume,
        ),
    )
    energy.fix_start()
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
    energy.fix_start()
    return load_notes(path)


def require_learned_start(method: Method, start: Path) -> None:
    """Raise a ValueError if a start is given to a method that learns none."""
    if method.start != "learned":
        raise ValueError(f"{method.name} with start={method.start!r} learns no start, got {start}")
