"""The entry to training, and what it returns."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.utils.data import Dataset

from learnmm.training.launch import check_fabric, default_fabric
from learnmm.training.log import Row
from learnmm.training.loss import OuterLoss
from learnmm.training.record import Record
from learnmm.training.run import BEST, Run
from learnmm.training.settings import FitSettings

if TYPE_CHECKING:
    from lightning_fabric import Fabric


@dataclass(frozen=True)
class FitResult:
    """What a training came to.

    Attributes
    ----------
    best_loss : float
        Smallest validation loss; without validation, smallest mean of the training losses between
        two checks.
    best_step : int
        Steps done when it was reached.
    steps : int
        Steps done in all.
    skipped : int
        Those of them whose loss or gradient was not finite.
    seconds : float
        Time spent training, over all resumes.
    stopped_early : bool
        Whether patience ended before the steps did.
    precision : str
        In which it was trained, ``"32-true"`` or ``"bf16-mixed"``.
    history : tuple of dict
        The rows of ``log.jsonl``: one per step, one per validation.
    path : Path or None
        ``best.safetensors``, for :func:`learnmm.load_weights`.
    """

    best_loss: float
    best_step: int
    steps: int
    skipped: int
    seconds: float
    stopped_early: bool
    precision: str
    history: tuple[Row, ...]
    path: Path | None


def fit(
    model: nn.Module,
    data: Dataset[Any],
    outer_loss: OuterLoss,
    settings: FitSettings,
    *,
    validation: Dataset[Any] | None = None,
    forward: Callable[[int], Mapping[str, Any]] | None = None,
    record: Record | None = None,
    fabric: Fabric | None = None,
) -> FitResult:
    """Train a model with Adam and leave it with its best weights.

    Every step calls ``model(batch, **forward(step))`` once and ``outer_loss(output, batch)`` once.
    What a step does depends on weights, moments, settings and its number alone: a run that was
    killed goes on from ``last.safetensors`` in its folder and ends with the numbers of an unbroken
    one: to the bit on the same processor, with the same versions and number of threads, where the
    kernels are deterministic, as those of CPUs are; elsewhere up to rounding. SIGINT and SIGTERM
    wait for the end of the step and leave a checkpoint. A step without a finite loss and gradient
    changes no parameters. However the training ends, the model has its best weights so far.

    Parameters
    ----------
    model : torch.nn.Module
        Moved to the device of the Fabric. Modules stay in the mode (train or eval) they are in;
        validation runs in eval mode.
    data : Dataset
        Map-style. ``data.set_epoch(epoch)`` is called if it exists, ``data.collate`` replaces
        torch's ``default_collate`` if it exists. Randomness inside it comes from torch's global
        generator, which is seeded at every step, or is a function of index and epoch.
    outer_loss : callable
        ``(output, batch) -> loss``, a scalar mean over the batch, or ``(loss, {name: scalar})``,
        whose scalars are logged.
    settings : FitSettings
        How.
    validation : Dataset, optional
        Its mean outer loss decides which weights are best; the model is called as ``model(batch)``.
        Without it, the mean training loss since the last check decides.
    forward : callable, optional
        Step number, from 0, -> keyword arguments of the model. A pure function.
    record : Record, optional
        What is kept in which folder, and what is shown. Default: nothing.
    fabric : Fabric, optional
        Launched, with one device or DDP. Default: one device of the best kind, or, under torchrun,
        all its processes.

    Returns
    -------
    FitResult
        Losses, counts and the history.

    Raises
    ------
    ImportError
        Without the extra ``train``.
    TypeError, ValueError
        If arguments do not fit each other, or a checkpoint is damaged or of another run.
    RuntimeError
        If another training writes to the folder.
    OSError
        If the folder cannot be written to, or the disk is full: the last checkpoint stays, and
        the run goes on from there when it is started again.
    FloatingPointError
        After ten steps in a row, or all validations, without a finite loss.

    Examples
    --------
    >>> import torch, learnmm as lmm
    >>> x = torch.linspace(-1, 1, 64)[:, None]
    >>> line = torch.nn.Linear(1, 1)
    >>> result = lmm.fit(
    ...     line,
    ...     x,  # a map-style dataset; here a batch is its own input
    ...     lambda output, batch: (output - 2 * batch).square().mean(),
    ...     lmm.FitSettings(steps=200, adam=lmm.AdamSettings(lr=0.1)),
    ... )
    >>> result.steps, round(line.weight.item(), 2)
    (200, 2.0)
    """
    if not isinstance(model, nn.Module):
        raise TypeError(f"model must be a torch.nn.Module, got {type(model).__name__}")
    if not callable(outer_loss):
        raise TypeError(f"outer_loss must be callable, got {type(outer_loss).__name__}")
    if not isinstance(settings, FitSettings):
        raise TypeError(f"settings must be FitSettings, got {type(settings).__name__}")
    record = Record() if record is None else record
    if not isinstance(record, Record):
        raise TypeError(f"record must be a Record, got {type(record).__name__}")
    if fabric is None:
        fabric = default_fabric(settings.precision)
    precision = check_fabric(fabric, settings.precision)
    devices = [fabric.device] if fabric.device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        run = Run(
            model,
            data,
            outer_loss,
            settings,
            validation=validation,
            forward=forward,
            record=record,
            fabric=fabric,
        )
        with run.locked():
            run.start()
            run.train()
    counters = run.counters
    return FitResult(
        best_loss=counters.best_loss,
        best_step=counters.best_step,
        steps=counters.step,
        skipped=counters.skipped,
        seconds=counters.seconds,
        stopped_early=counters.stopped_early,
        precision=precision,
        history=tuple(run.log.rows),
        path=record.folder / BEST if record.folder is not None else None,
    )
