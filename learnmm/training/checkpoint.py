"""The last state of a run, as one safetensors file."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from torch import Tensor

from learnmm.storage import check_fit, differences, listed, open_tensors, short, write_tensors
from learnmm.training.weights import MOMENTS, Counters, Weights, under

CHECKPOINT = "learnmm checkpoint"
MOST_STEPS = 2**53  # Adam counts its steps in floating point


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
    with open_tensors(path, CHECKPOINT, ("run", "counters")) as file:
        if found := differences(_identity(file.header["run"]), _identity(run)):
            raise ValueError(
                f"{path} is of another run; choose another folder, or resume=False to start anew: "
                + listed(found)
            )
        _check_layout(path, file.layout, weights)
        counters = _counters(path, file.header["counters"])
        tensors = file.tensors()
    if bool(under("best.", tensors)) != math.isfinite(counters.best_loss):
        raise ValueError(f"{path} is damaged: it has best weights or a best loss, not both")
    for name, step in under("adam.step.", tensors).items():
        if float(step) not in range(1, counters.updates + 1):
            raise ValueError(f"{path} is damaged: {name} was updated {float(step):g} times")
    weights.load(path, tensors)
    return counters


def _identity(run: Mapping[str, Any]) -> dict[str, Any]:
    """Return what must not change when a run goes on: all but its number of steps."""
    settings = run.get("settings")
    if isinstance(settings, Mapping):
        settings = {name: value for name, value in settings.items() if name != "steps"}
    return {**run, "settings": settings}


def _counters(path: Path, stored: Mapping[str, Any]) -> Counters:
    """Return the counters if a run can come to them."""
    kinds = {field.name: str(field.type) for field in fields(Counters)}
    if stored.keys() != kinds.keys():
        raise ValueError(
            f"{path} is damaged: its counters are {short(sorted(stored))}, expected {list(kinds)}"
        )
    numbers = dict(stored)
    if numbers["best_loss"] is None:
        numbers["best_loss"] = math.inf
    wrong = {name for name, kind in kinds.items() if type(numbers[name]).__name__ != kind}
    if not wrong:
        counters = Counters(**numbers)
        step, updates, skipped = counters.step, counters.updates, counters.skipped
        most = dict.fromkeys((name for name, kind in kinds.items() if kind == "int"), MOST_STEPS)
        most |= {"streak": skipped, "best_step": step, "window_count": updates}
        wrong = {name for name, limit in most.items() if not 0 <= numbers[name] <= limit}
        wrong |= {"step", "updates", "skipped"} if updates + skipped != step else set()
        wrong |= {"best_step"} if math.isinf(counters.best_loss) and counters.best_step else set()
        wrong |= {"seconds"} if counters.seconds < 0 else set()
        if not wrong:
            return counters
    found = ", ".join(f"{name} = {short(stored[name])}" for name in sorted(wrong))
    raise ValueError(f"{path} is damaged: no run comes to {found}")


def _check_layout(path: Path, layout: Mapping[str, Tensor], weights: Weights) -> None:
    """Compare names, shapes and dtypes; moments and best state may not exist yet."""
    wanted = weights.layout()
    check_fit(path, under("model.", layout), under("model.", wanted))
    for name in weights.parameters:
        moments = [f"adam.{moment}.{name}" for moment in MOMENTS]
        if layout.keys().isdisjoint(moments):
            for moment in moments:
                del wanted[moment]
    if not under("best.", layout):
        wanted = {name: tensor for name, tensor in wanted.items() if not name.startswith("best.")}
    check_fit(path, layout, wanted)
