"""Weights of a method on disk: with everything that is needed to use them, and no other way."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from learnmm.storage import (
    check_fit,
    listed,
    load_notes,
    load_weights,
    peek_weights,
    save_weights,
    short,
    shown,
)
from learnmm_esi.head.fsaverage import fsaverage_head_model
from learnmm_esi.head.model import HeadModel, HeadModelSettings
from learnmm_esi.networks.settings import MethodSettings, is_number, settings_of
from learnmm_esi.networks.solver import SourceSolver, fingerprint, same_leadfield, weight_layout

NEAR = 10.0  # mm; sources stay in their region on another surface or boundary


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
        Use the weights on another head model with the same sources, in the same order: each may
        lie up to 10 mm from where it was in training. Steps are verified there as they are
        anywhere; how good the estimates are, only an evaluation tells.

    Returns
    -------
    SourceSolver

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it holds no weights of such a method, or weights for other channels or another lead
        field (with `transfer`, for other sources). All that can be known from the head of the file
        is checked before a model is built.
    """
    layout, config = peek_weights(path)
    known = _checked(path, config)
    if model is None and known.head is None:
        raise ValueError(
            f"the weights of {path} were trained on a head model of somebody's own: give it too "
            "(on the command line, --forward)"
        )
    if model is None:
        # Built below; a file that lies about its sources is found out before.
        sources = known.head.sources  # type: ignore[union-attr]
    else:
        sources = model.leadfield.shape[1]
        check_positions(path, known, model) if transfer else check_model(path, known, model)
    check_fit(Path(path), layout, weight_layout(known.settings, sources))
    if model is None:
        model = fsaverage_head_model(known.head, progress=True)
        check_model(path, known, model)
    solver = SourceSolver(model, known.settings)
    load_weights(path, solver)
    return solver.eval()


class Configuration(NamedTuple):
    """What a file says about its weights, checked."""

    settings: MethodSettings
    channels: list[str]
    leadfield: list[float]
    positions: NDArray[np.float64] | None  # millimetres; None in files of before they were stored
    head: HeadModelSettings | None


def _checked(path: str | os.PathLike[str], config: dict[str, Any]) -> Configuration:
    """Return the configuration of a file that anybody may have written; raise ValueError."""
    missing = {"settings", "channels", "leadfield", "head", "data"} - set(config)
    if missing:
        raise ValueError(
            f"{path} holds weights, but not those of a source-imaging method: its configuration "
            f"has no {', '.join(sorted(missing))}"
        )
    channels, leadfield, head = config["channels"], config["leadfield"], config["head"]
    places = config.get("positions")
    right = {
        "channels": _list_of(channels, lambda name: isinstance(name, str)),
        "leadfield": _list_of(leadfield, is_number),
        # It becomes part of the names of files.
        "data": isinstance(config["data"], str) and re.fullmatch(r"\w[\w.-]*", config["data"]),
        "positions": places is None
        or _list_of(places, lambda place: _list_of(place, is_number) and len(place) == 3),
    }
    if wrong := [name for name, good in right.items() if not good]:
        values = ", ".join(f"{name} = {short(config[name])}" for name in wrong)
        raise ValueError(f"{path} is damaged: its configuration has {values}")
    return Configuration(
        settings_of(MethodSettings, config["settings"], path, "settings"),
        channels,
        leadfield,
        None if places is None else np.array(places, dtype=np.float64).reshape(-1, 3),
        None if head is None else settings_of(HeadModelSettings, head, path, "head"),
    )


def _list_of(values: Any, right: Callable[[Any], bool]) -> bool:
    return isinstance(values, list) and all(map(right, values))


def check_positions(path: str | os.PathLike[str], known: Configuration, model: HeadModel) -> None:
    """Raise a ValueError unless a head model has the sources of the weights, in their order."""
    if known.positions is None:
        raise ValueError(
            f"the weights of {path} do not tell where their sources lie, so nothing tells whether "
            "they serve another head model: load them with their own and save them again"
        )
    there = 1e3 * np.asarray(model.positions)
    if there.shape != known.positions.shape:
        raise ValueError(
            f"the weights of {path} are for {len(known.positions)} sources, the head model has "
            f"{len(there)}. {ADVICE}"
        )
    apart = np.linalg.norm(there - known.positions, axis=1)
    if (far := int((apart > NEAR).sum())) > 0:
        raise ValueError(
            f"the weights of {path} are for other sources: {far} of {len(there)} lie more than "
            f"{NEAR:g} mm from where they were in training (source {int(apart.argmax())} by "
            f"{apart.max():.0f} mm), as they do in another order, space or frame. {ADVICE}"
        )


def check_model(path: str | os.PathLike[str], known: Configuration, model: HeadModel) -> None:
    """Raise a ValueError unless the weights were trained for this head model."""
    if list(model.channel_names) != known.channels:
        lacking = [name for name in known.channels if name not in model.channel_names]
        further = [name for name in model.channel_names if name not in known.channels]
        what = [f"it lacks {listed([shown(n) for n in lacking], ', ')}"] if lacking else []
        what += [f"it has {listed(further, ', ')} besides"] if further else []
        raise ValueError(
            f"the weights of {path} are for {len(known.channels)} channels, the head model has "
            f"{len(model.channel_names)}: {'; '.join(what) or 'their order differs'}. {ADVICE}"
        )
    if not same_leadfield(fingerprint(model.leadfield), known.leadfield):
        raise ValueError(
            f"the weights of {path} are for another lead field than the head model's"
            f"{_other_settings(known.head, model.settings)}. {ADVICE}"
        )


def _other_settings(trained: HeadModelSettings | None, given: HeadModelSettings | None) -> str:
    """Tell what head model the weights were trained on, where it is one of the library's."""
    if trained is None:
        return ""
    if given is None:
        return f": they were trained on the library's own, {trained}"
    mine, theirs = asdict(given), asdict(trained)
    differ = [name for name in theirs if mine[name] != theirs[name]]
    told = ", ".join(f"{name}={theirs[name]!r} in place of {mine[name]!r}" for name in differ)
    option = f" (on the command line, --ico {trained.ico})" if "ico" in differ else ""
    return f": they were trained with {told}{option}" if told else ""


HOW_TO_TRAIN = (
    "learnmm-esi train mm-net --data erp --forward yours-fwd.fif (of a bare lead field yours.npz, "
    "see read_head_model), about half an hour on one core"
)
ADVICE = f"Use the head model they were trained on, or train for yours: {HOW_TO_TRAIN}"


def describe(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Return configuration and notes of a file."""
    return {"config": load_weights(path)[1], "notes": load_notes(path)}
