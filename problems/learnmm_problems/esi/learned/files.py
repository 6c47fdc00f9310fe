"""Weights of a method on disk: with everything that is needed to use them, and no other way."""

from __future__ import annotations

import os
from typing import Any

from learnmm.storage import load_notes, load_weights, save_weights

from ..fsaverage import fsaverage_head_model
from ..headmodel import HeadModel, HeadModelSettings
from .settings import MethodSettings
from .solver import SourceSolver, fingerprint, same_leadfield


def save_solver(
    path: str | os.PathLike[str],
    solver: SourceSolver,
    training: dict[str, Any],
    notes: dict[str, Any],
    *,
    half: bool = True,
) -> None:
    """Write a solver's weights and configuration.

    Parameters
    ----------
    path : path
        The file, ``name.safetensors``.
    solver : SourceSolver
        As trained.
    training : dict
        What it was trained with: ``data``, ``training``.
    notes : dict
        What is known about it: seconds, steps, losses, hardware.
    half : bool
        Store float16; a few MB.
    """
    save_weights(path, solver, {**solver.configuration(), **training}, half=half, notes=notes)


def load_solver(
    path: str | os.PathLike[str], model: HeadModel | None = None, *, transfer: bool = False
) -> SourceSolver:
    """Build a method from a file of `save_solver` or of a training.

    Parameters
    ----------
    path : path
        The file.
    model : HeadModel, optional
        A model to check the file against. Default: the fsaverage model that it was trained on,
        if it was one.
    transfer : bool
        Use the weights on another head model with the same sources. Steps are verified there as
        they are anywhere; how good the estimates are, only an evaluation tells.

    Returns
    -------
    SourceSolver

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it holds no weights of such a method, or weights for other channels or another lead
        field.
    """
    _, config = load_weights(path)
    missing = {"settings", "channels", "leadfield", "head", "data"} - set(config)
    if missing:
        raise ValueError(
            f"{path} holds weights, but not those of a source-imaging method: its configuration "
            f"has no {', '.join(sorted(missing))}"
        )
    if model is None and config["head"] is None:
        raise ValueError(
            f"the weights of {path} were trained on a head model of somebody's own: give it too "
            "(on the command line, --forward)"
        )
    if model is None:
        model = fsaverage_head_model(HeadModelSettings(**config["head"]), progress=True)
    if not transfer:
        check_model(path, config, model)
    solver = SourceSolver(model, MethodSettings(**config["settings"]))
    load_weights(path, solver)
    return solver.eval()


def check_model(path: str | os.PathLike[str], config: dict[str, Any], model: HeadModel) -> None:
    """Raise a ValueError unless the weights were trained for this head model."""
    if list(model.channel_names) != config["channels"]:
        lacking = [name for name in config["channels"] if name not in model.channel_names]
        further = [name for name in model.channel_names if name not in config["channels"]]
        what = [f"it lacks {', '.join(lacking)}"] if lacking else []
        what += [f"it has {', '.join(further)} besides"] if further else []
        raise ValueError(
            f"the weights of {path} are for {len(config['channels'])} channels, the head model has "
            f"{len(model.channel_names)}: {'; '.join(what) or 'their order differs'}. {ADVICE}"
        )
    if not same_leadfield(fingerprint(model.leadfield), config["leadfield"]):
        raise ValueError(
            f"the weights of {path} are for another lead field than the head model's. {ADVICE}"
        )


HOW_TO_TRAIN = (
    "learnmm-esi train mm-net --data erp --forward yours-fwd.fif, about half an hour on one core"
)
ADVICE = f"Use the head model they were trained on, or train for yours: {HOW_TO_TRAIN}"


def describe(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Return configuration and notes of a file."""
    return {"config": load_weights(path)[1], "notes": load_notes(path)}
