"""Train a method on simulated recordings."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from learnmm.training import FitResult, Record, fit
from learnmm_esi.head.model import HeadModel
from learnmm_esi.networks.settings import MethodSettings
from learnmm_esi.networks.solver import SourceSolver
from learnmm_esi.simulation.data_sets import simulator
from learnmm_esi.training.data import SimulatedRecordings
from learnmm_esi.training.losses import LOSSES
from learnmm_esi.training.presets import Preset
from learnmm_esi.training.pretrain import pretrain, take_start

RECORDED = ("times", "sfreq")
"""Settings of a method that its recordings decide."""


class Trained(NamedTuple):
    """A trained method; `start` is empty where none was learned."""

    solver: SourceSolver
    result: FitResult
    start: dict[str, Any]


def train(
    model: HeadModel,
    method: str,
    data: str,
    preset: Preset,
    folder: str | Path,
    *,
    start: Path | None = None,
    progress: bool = True,
    resume: bool = True,
) -> Trained:
    """Train, or go on training where a run in this folder was stopped.

    A learned start is trained first, by itself, in the subfolder ``start``; the steps then learn
    from there.

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
    start : Path, optional
        ``start/best.safetensors`` of another training on the same data and head model, instead of
        training the start again.
    progress : bool
        Show progress and the time left.
    resume : bool
        Go on from a checkpoint in the folder.

    Returns
    -------
    Trained
        The solver with its best weights, what its training came to, and what is known of its
        start.

    Raises
    ------
    ValueError
        If there is no such method or data set, a checkpoint is of another run, a start is given to
        a method that learns none, or the preset says another length or rate than the recordings
        have.
    """
    setting = preset.training
    # The preset's length and rate are those that are simulated, where the simulator has a choice.
    asked = {name: preset.method[name] for name in RECORDED if name in preset.method}
    made = asked if data == "erp" else {}
    training = simulator(model, data, setting.seed, setting.train_size, **made)
    validation = simulator(model, data, setting.seed + 1, setting.validation_size, **made)
    window = setting.window if 0 < setting.window < training.times else None
    recorded = {"times": window or training.times, "sfreq": training.sfreq}
    for name, value in asked.items():
        if value not in (recorded[name], getattr(training, name)):
            raise ValueError(
                f"the preset says {name} = {value}, and the recordings of {data} have "
                f"{getattr(training, name)}"
                f"{f' in windows of {window}' if name == 'times' and window else ''}: leave it out"
            )
    settings = MethodSettings(method, **{**preset.method, **recorded})
    with torch.random.fork_rng(devices=[]):  # the first weights, too, follow from the settings
        torch.manual_seed(setting.seed)
        solver = SourceSolver(model, settings)

    def solve(step: int) -> dict[str, Any]:
        progress = step / preset.fit.steps
        fewest, most = setting.horizons
        most = round(fewest + (most - fewest) * min(1.0, 2 * progress))
        drawn = np.random.default_rng([setting.seed, step]).integers(fewest, most + 1)
        return {"steps": int(drawn), "verified": progress >= setting.verified_from}

    folder = Path(folder)
    known: dict[str, Any] = {}
    config = solver.configuration()
    if solver.energy.sharpener is not None:
        # What the start depends on: neither the method nor the steps.
        shared = {name: config[name] for name in ("channels", "leadfield", "head")}
        shared |= {"data": data, "seed": setting.seed, "train_size": setting.train_size}
        if start is not None:
            known = take_start(start, solver.energy, shared)
        else:
            known = pretrain(
                solver.energy,
                training,
                validation,
                preset.start,
                folder / "start",
                config=shared,
                progress=progress,
                resume=resume,
            )
    elif start is not None:
        raise ValueError(f"{method} with start={settings.start!r} learns no start, got {start}")
    result = fit(
        solver,
        SimulatedRecordings(training, window=window),
        LOSSES[setting.loss](solver),
        preset.fit,
        validation=SimulatedRecordings(validation, fresh=False, window=window),
        forward=solve,
        record=Record(
            folder,
            config={**config, "data": data, **preset.as_dict()},
            progress=progress and "steps",
            resume=resume,
        ),
    )
    return Trained(solver, result, known)
