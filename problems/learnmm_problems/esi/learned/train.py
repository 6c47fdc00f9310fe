"""Train a method on simulated recordings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from learnmm.training import FitResult, fit

from ..erp import ERPSimulator
from ..headmodel import HeadModel
from ..nmm import NMMSimulator
from ..simulator import PatchSimulator
from .allocation import keep_freed_memory
from .data import SimulatedRecordings
from .losses import LOSSES
from .presets import DATA, Preset
from .settings import MethodSettings
from .solver import SourceSolver


def simulator(model: HeadModel, data: str, seed: int, size: int, **settings: Any) -> PatchSimulator:
    """Return the simulator of a data set, ``"erp"`` or ``"nmm"``.

    Patches fall off with the geodesic distance where the head model knows it.
    """
    if data not in DATA:
        raise ValueError(f"data must be one of {', '.join(DATA)}, got {data!r}")
    make = ERPSimulator if data == "erp" else NMMSimulator
    distance = "euclidean" if model.distances is None else "geodesic"
    return make(model, seed=seed, size=size, **{"distance": distance, **settings})


def train(
    model: HeadModel,
    method: str,
    data: str,
    preset: Preset,
    folder: str | Path,
    *,
    progress: bool = True,
    resume: bool = True,
) -> tuple[SourceSolver, FitResult]:
    """Train, or go on training where a run in this folder was stopped.

    Parameters
    ----------
    model : HeadModel
        What the recordings are simulated and reconstructed on.
    method : str
        One of `settings.METHODS`.
    data : {"erp", "nmm"}
        Which simulator.
    preset : Preset
        From `presets.load_preset`.
    folder : path
        For checkpoints, the best weights, the log and a plot of the losses.
    progress : bool
        Show progress and the time left.
    resume : bool
        Go on from a checkpoint in the folder.

    Returns
    -------
    SourceSolver
        With the best weights.
    FitResult
        Losses, steps and seconds.
    """
    keep_freed_memory()
    setting = preset.training
    training = simulator(model, data, setting.seed, setting.train_size)
    validation = simulator(model, data, setting.seed + 1, setting.validation_size)
    window = setting.window if 0 < setting.window < training.times else None
    settings = MethodSettings(
        method,
        **{"times": window or training.times, "sfreq": training.sfreq, **preset.method},
    )
    solver = SourceSolver(model, settings)

    def solve(step: int) -> dict[str, Any]:
        progress = step / preset.fit.steps
        fewest, most = setting.horizons
        most = round(fewest + (most - fewest) * min(1.0, 2 * progress))
        drawn = np.random.default_rng([setting.seed, step]).integers(fewest, most + 1)
        return {"steps": int(drawn), "verified": progress >= setting.verified_from}

    result = fit(
        solver,
        SimulatedRecordings(training, window=window),
        LOSSES[setting.loss](solver),
        preset.fit,
        validation=SimulatedRecordings(validation, fresh=False, window=window),
        folder=Path(folder),
        forward=solve,
        config={**solver.configuration(), "data": data, **preset.as_dict()},
        progress=progress,
        resume=resume,
    )
    return solver, result
