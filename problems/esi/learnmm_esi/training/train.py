"""Train a method on simulated recordings."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch.utils.data import Dataset

from learnmm.training import FitResult, FitSettings, Record, fit
from learnmm_esi.head.model import HeadModel
from learnmm_esi.metrics import Evaluator
from learnmm_esi.networks.energy import PREPARED
from learnmm_esi.networks.method import Recordings
from learnmm_esi.networks.solver import SourceSolver
from learnmm_esi.simulation.data_sets import ERPSettings, load_protocol
from learnmm_esi.simulation.ranges.simulator import Ranges
from learnmm_esi.training.data import GroupedRecordings, SimulatedRecordings
from learnmm_esi.training.judging import judge
from learnmm_esi.training.losses import LOSSES, measured
from learnmm_esi.training.presets import Preset
from learnmm_esi.training.pretrain import pretrain, require_learned_start, take_start
from learnmm_esi.training.seen import Groups, OneHead


class Trained(NamedTuple):
    """A trained method; `start` is empty where none was learned."""

    solver: SourceSolver
    result: FitResult
    start: dict[str, Any]


TOGETHER = 32  # recordings of one head that the start sees at once
JUDGED = 4096  # recordings that the verdict on starts learns from


class Simulated(NamedTuple):
    """The sets of a training: what the start sees, what the steps see, and how that is."""

    training: Groups
    validation: Groups
    steps: Dataset[Any]
    validation_steps: Dataset[Any]
    judging: Groups
    recordings: Recordings
    fit: FitSettings


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

    With a start that is learned or from the evidence, the prior is trained first, and the learned
    start with it, in the subfolder ``start``; the steps then learn from there.

    Parameters
    ----------
    model : HeadModel
        What the recordings are simulated and reconstructed on.
    data : str
        "erp", "nmm", "nmm-two", "ranges", or a file: see `load_protocol`.
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
    simulated = simulate(model, data, preset, progress)
    data = load_protocol(data).name
    with torch.random.fork_rng(devices=[]):  # the first weights, too, follow from the settings
        torch.manual_seed(preset.training.seed)
        solver = SourceSolver(model, preset.method, simulated.recordings)
    folder, known = Path(folder), {}
    if solver.energy.initial in PREPARED:
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
    loss = LOSSES[preset.training.loss](solver)
    if simulated.recordings.sfreq is not None:  # of one head
        loss = measured(loss, Evaluator(model, simulated.recordings.sfreq))
    result = fit(
        solver,
        simulated.steps,
        loss,
        simulated.fit,
        validation=simulated.validation_steps,
        forward=schedule(preset),
        record=Record(
            folder,
            config={**solver.configuration(), "data": data, **preset.as_dict()},
            progress=progress and "steps",
            resume=resume,
        ),
    )
    if solver.energy.verdict is not None:
        judge(solver.energy, simulated.judging)
    solver.see(model.leadfield)  # the last recordings may have been of another head
    return Trained(solver, result, known)


def simulate(model: HeadModel, data: str, preset: Preset, progress: bool = False) -> Simulated:
    """Return the data of a training; raise ValueError if a preset lies.

    Its length and rate are those that are simulated, where the simulator has a choice. Heads that
    recordings over ranges come from are computed, and shown with `progress`.
    """
    setting, asked, window = preset.training, preset.recordings.asked, preset.recordings.window
    sizes = (setting.seed, setting.train_size), (setting.seed + 1, setting.validation_size)
    protocol = load_protocol(data).for_training()
    if isinstance(protocol.settings, Ranges):
        if asked:
            raise ValueError(
                f"the recordings of {data} are of many lengths and rates: leave "
                f"{', '.join(asked)} out of the preset"
            )
        if not preset.method.any_length:
            raise ValueError(
                f"the recordings of {data} are of many lengths, and {preset.method.name} has "
                "weights for one: train a method of any length"
            )
        longest = window or protocol.settings.courses.times[1]
        many, few = (protocol.groups(seed, n) for seed, n in sizes)
        many.prepare(progress)
        judging = protocol.groups(setting.seed + 3, min(JUDGED, setting.train_size))
        members = preset.fit.batch_size
        return Simulated(
            many,
            few,
            GroupedRecordings(many, members=members, window=longest),
            GroupedRecordings(few, fresh=False, members=members, window=longest),
            judging,
            Recordings(longest, None),
            replace(preset.fit, batch_size=1),  # group, of as many recordings
        )
    made = asked if isinstance(protocol.settings, ERPSettings) else {}
    training, validation = (protocol.simulator(model, seed, n, **made) for seed, n in sizes)
    count = min(JUDGED, setting.train_size)
    judging_of = protocol.simulator(model, setting.seed + 3, count, **made)
    for name, value in asked.items():
        if value != getattr(training, name):
            raise ValueError(
                f"the preset says {name} = {value}, and the recordings of {data} have "
                f"{getattr(training, name)}: leave it out"
            )
    cut = window if 0 < window < training.times else None
    return Simulated(
        OneHead(training, model, TOGETHER),
        OneHead(validation, model, TOGETHER),
        SimulatedRecordings(training, window=cut),
        SimulatedRecordings(validation, fresh=False, window=cut),
        OneHead(judging_of, model, TOGETHER),
        Recordings(cut or training.times, training.sfreq),
        preset.fit,
    )


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
