"""The last state of a run, as one safetensors file."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from torch import Tensor

from learnmm.storage import check_fit, differences, read_tensors, write_tensors
from learnmm.training.weights import Counters, Weights, under

CHECKPOINT = "learnmm checkpoint"


def save_checkpoint(
    path: Path, weights: Weights, counters: Counters, run: Mapping[str, Any]
) -> None:
    """Write everything a run needs to go on, atomically.

    Parameters
    ----------
    path : Path
        The file.
    weights : Weights
        Model, moments, average and best state.
    counters : Counters
        Where the run stands.
    run : Mapping
        JSON that must be the same to go on: settings, configuration, number of samples.
    """
    numbers = asdict(counters)
    if math.isinf(counters.best_loss):  # JSON has no infinity
        numbers["best_loss"] = None
    write_tensors(path, weights.tensors(), CHECKPOINT, {"counters": numbers, "run": run})


def load_checkpoint(path: Path, weights: Weights, run: Mapping[str, Any]) -> Counters:
    """Take up a run where :func:`save_checkpoint` left it.

    Raises
    ------
    ValueError
        If the file is foreign or damaged, does not fit the model, or is of another run; nothing
        has been changed then.
    """
    tensors, header = read_tensors(path, CHECKPOINT, ("run", "counters"))
    if found := differences(_identity(header["run"]), _identity(run)):
        raise ValueError(
            f"{path} is of another run; choose another folder, or resume=False to start anew: "
            + "; ".join(found)
        )
    wanted = weights.tensors()
    _check(path, tensors, wanted)
    weights.load(tensors)
    numbers = header["counters"]
    if numbers["best_loss"] is None:
        numbers["best_loss"] = math.inf
    return Counters(**numbers)


def _identity(run: Mapping[str, Any]) -> dict[str, Any]:
    """Return what must not change when a run goes on: all but its number of steps."""
    settings = {name: value for name, value in run["settings"].items() if name != "steps"}
    return {**run, "settings": settings}


def _check(path: Path, tensors: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> None:
    """Compare names, shapes and dtypes; moments and best state may not exist yet."""
    for part in ("model.", "ema."):
        check_fit(path, under(part, tensors), under(part, wanted))
    if best := under("best.", tensors):
        check_fit(path, best, under("model.", wanted))
    model = under("model.", wanted)
    for moment in ("exp_avg.", "exp_avg_sq."):
        have = under(f"adam.{moment}", tensors)
        check_fit(path, have, {name: model[name] for name in have if name in model})
