"""Learned methods small enough to learn in seconds, and what they learn from."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from fitting import flat
from learnmm_esi.head.from_leadfield import head_model_from_leadfield
from learnmm_esi.head.model import HeadModel
from learnmm_esi.networks.energy import PriorSettings
from learnmm_esi.networks.method import Method, Recordings
from learnmm_esi.networks.registry import method, method_class, methods
from learnmm_esi.networks.solver import SourceSolver
from learnmm_esi.simulation.erp import ERPSimulator
from learnmm_esi.simulation.patches import PatchSettings
from learnmm_esi.training.data import SimulatedRecordings
from learnmm_esi.training.presets import Preset, TrainingSettings
from learnmm_esi.training.seen import OneHead, SeenRecordings
from scripts import script

TIMES = 16
VARIANTS = script("esi", "ablation")
METHODS = tuple(methods())
"""The library's, and the variants, which are registered as anybody's would be."""
UNVERIFIED = tuple(name for name in METHODS if not method(name).verified)
FIXED_LENGTH = tuple(name for name in METHODS if not method_class(name).any_length)


def small_head(model: Any, rows: slice = slice(None)) -> HeadModel:
    """The sphere of the fixture `small_model`, eighty sources, with some of its channels."""
    leadfield = model.leadfield[rows]
    return head_model_from_leadfield(
        leadfield - leadfield.mean(axis=0),
        model.positions,
        model.neighbours,
        [f"E{i}" for i in range(len(model.leadfield))][rows],
        distances=model.distances,
    )


def small(name: str, **settings: Any) -> Method:
    """A method with few weights: `hidden` where it has that, `width` and others of the prior."""
    of_prior = {key for key in settings if key in PriorSettings.__dataclass_fields__}
    prior = PriorSettings(**{"width": 8, **{key: settings.pop(key) for key in of_prior}})
    has = method_class(name).__dataclass_fields__
    few = {"hidden": 6} if "hidden" in has else {}
    return method(name, prior=prior, **{"steps": 4, **few, **settings})


def build(
    head: HeadModel,
    name: str,
    trained: Recordings = Recordings(TIMES),  # noqa: B008 - frozen
    **settings: Any,
) -> SourceSolver:
    """An untrained solver; it starts from sLORETA unless told otherwise."""
    torch.manual_seed(0)
    return SourceSolver(head, small(name, **{"start": "sLORETA", **settings}), trained)


def recordings(head: HeadModel, count: int = 4) -> dict[str, Tensor]:
    """A batch as training sees it."""
    data = SimulatedRecordings(ERPSimulator(head, seed=3, times=TIMES))
    batch: dict[str, Tensor] = torch.utils.data.default_collate([data[i] for i in range(count)])
    return batch


def factored(
    head: HeadModel,
    patches: PatchSettings = PatchSettings(),  # noqa: B008 - frozen
    count: int = 6,
) -> dict[str, Tensor]:
    """A batch as the training of the start sees it."""
    made = ERPSimulator(head, seed=3, size=count, times=TIMES, patches=patches)
    data = SeenRecordings(OneHead(made, head, count))
    batch: dict[str, Tensor] = torch.utils.data.default_collate([data[0]])
    return batch


def preset(
    name: str = "mm-net", start: dict[str, Any] | None = None, size: int = 16, **fit: Any
) -> Preset:
    """A training of seconds, on so many recordings."""
    return Preset(
        method=small(name),
        start=flat(**{"steps": 2, "batch_size": 8, "warmup": 1, **(start or {})}),
        fit=flat(
            **{"steps": 8, "warmup": 1, "batch_size": 4, "validate_every": 4, "lr": 3e-3, **fit}
        ),
        training=TrainingSettings(horizons=(2, 4), train_size=size, validation_size=size // 4),
    )
