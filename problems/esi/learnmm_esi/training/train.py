"""Train a method on simulated recordings."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from learnmm.training import FitResult, Record, fit
from learnmm_esi.head.model import HeadModel
from learnmm_esi.networks.method import Recordings
from learnmm_esi.networks.solver import SourceSolver
from learnmm_esi.simulation.data_sets import simulator
from learnmm_esi.simulation.simulator import PatchSimulator
from learnmm_esi.training.data import SimulatedRecordings
from learnmm_esi.training.losses import LOSSES
from learnmm_esi.training.presets import Preset
from learnmm_esi.training.pretrain import pretrain, require_learned_start, take_start


class Trained(NamedTuple):
    """A trained method; `start` is empty where none was learned."""

    solver: SourceSolver
    result: FitResult
    start: dict[str, Any]


class Simulated(NamedTuple):
    """The two sets of a training; the steps see windows of them, or the whole (None)."""

    training: PatchSimulator
    validation: PatchSimulator
    window: int | None

    def seen(self) -> Recordings:
        """What the recordings are like that the steps see."""
        return Recordings(self.window or self.training.times, self.training.sfreq)


def train(
    model: HeadModel,
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
    data : {"erp", "nmm"}
        Which simulator.
    preset : Preset
        What is trained, and how; from `presets.load_preset`.
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
        If there is no such data set, a checkpoint is of another run, a start is given to a method
        that learns none, or the preset says another length or rate than the recordings have.
    """
    if start is not None:
        require_learned_start(preset.method, start)
    simulated = simulate(model, data, preset)
    with torch.random.fork_rng(devices=[]):  # the first weights, too, follow from the settings
        torch.manual_seed(preset.training.seed)
        solver = SourceSolver(model, preset.method, simulated.seen())
    folder, known = Path(folder), {}
    if solver.energy.sharpener is not None:
        config = start_configuration(solver, data, preset)
        if start is not None:
            known = take_start(start, solver.energy, config)
        else:
            known = pretrain(
                solver.energy,
                simulated.training,
                simulated.validation,
                preset.start,
                folder / "start",
                config=config,
                progress=progress,
                resume=resume,
            )
    window = simulated.window
    result = fit(
        solver,
        SimulatedRecordings(simulated.training, window=window),
        LOSSES[preset.training.loss](solver),
        preset.fit,
        validation=SimulatedRecordings(simulated.validation, fresh=False, window=window),
        forward=schedule(preset),
        record=Record(
            folder,
            config={**solver.configuration(), "data": data, **preset.as_dict()},
            progress=progress and "steps",
            resume=resume,
        ),
    )
    return Trained(solver, result, known)


def simulate(model: HeadModel, data: str, preset: Preset) -> Simulated:
    """Return the simulators of training and validation; raise ValueError if a preset lies.

    Its length and rate are those that are simulated, where the simulator has a choice.
    """
    setting, asked = preset.training, preset.recordings.asked
    made = asked if data == "erp" else {}
    training = simulator(model, data, setting.seed, setting.train_size, **made)
    validation = simulator(model, data, setting.seed + 1, setting.validation_size, **made)
    for name, value in asked.items():
        if value != getattr(training, name):
            raise ValueError(
                f"the preset says {name} = {value}, and the recordings of {data} have "
                f"{getattr(training, name)}: leave it out"
            )
    longest = preset.recordings.window
    return Simulated(training, validation, longest if 0 < longest < training.times else None)


def start_configuration(solver: SourceSolver, data: str, preset: Preset) -> dict[str, Any]:
    """Return what a learned start depends on: neither the method nor the steps."""
    config, setting = solver.configuration(), preset.training
    shared = {name: config[name] for name in ("channels", "leadfield", "head")}
    return {**shared, "data": data, "seed": setting.seed, "train_size": setting.train_size}


def schedule(preset: Preset) -> Callable[[int], dict[str, Any]]:
    """Return the arguments of the solver's forward pass as training proceeds, step by step.

    They are the number of steps of a solve, drawn anew, and whether it is verified.
    """
    setting = preset.training

    def arguments(step: int) -> dict[str, Any]:
        progress = step / preset.fit.steps
        fewest, most = setting.horizons
        most = round(fewest + (most - fewest) * min(1.0, 2 * progress))
        drawn = np.random.default_rng([setting.seed, step]).integers(fewest, most + 1)
        return {"steps": int(drawn), "verified": progress >= setting.verified_from}

    return arguments
