"""Weights of a method on disk: with everything that is needed to use them, and no other way."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, NamedTuple

from learnmm.storage import check_fit, load_notes, load_weights, peek_weights, save_weights
from learnmm_esi.head.fsaverage import fsaverage_head_model
from learnmm_esi.head.model import HeadModel
from learnmm_esi.networks.configuration import Configuration
from learnmm_esi.networks.solver import SourceSolver, weight_layout


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
    known = Configuration.of(path, config)
    if model is not None:
        known.check_positions(model) if transfer else known.check_model(model)
        sources = model.leadfield.shape[1]
    elif known.head is not None:
        sources = known.head.sources
    else:
        raise ValueError(
            f"the weights of {path} were trained on a head model of somebody's own: give it too "
            "(on the command line, --forward)"
        )
    # Before a model is built: a file that lies about its sources is found out.
    check_fit(Path(path), layout, weight_layout(known.method, known.recordings, sources))
    if model is None:
        model = fsaverage_head_model(known.head, progress=True)
        known.check_model(model)
    solver = SourceSolver(model, known.method, known.recordings)
    load_weights(path, solver)
    return solver.eval()


class Description(NamedTuple):
    """What a file of weights says: of itself, and of how they came about."""

    config: Configuration
    notes: dict[str, Any]


def describe(path: str | os.PathLike[str]) -> Description:
    """Return configuration and notes of a file; raises as `load_solver`."""
    return Description(Configuration.of(path, load_weights(path)[1]), load_notes(path))
