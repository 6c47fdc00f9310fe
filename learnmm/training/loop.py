"""The training loop."""

from __future__ import annotations

import math
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.utils.data import Dataset

from learnmm.storage import as_json, write_weights
from learnmm.training.checkpoint import load_checkpoint, save_checkpoint
from learnmm.training.launch import agree, check_fabric, default_fabric, interruptible
from learnmm.training.log import Log, Row
from learnmm.training.loss import OuterLoss, evaluate
from learnmm.training.progress import TrainingProgress
from learnmm.training.sampling import Batches, count, derive, loader, shares
from learnmm.training.settings import FitSettings
from learnmm.training.weights import Counters, Weights

if TYPE_CHECKING:
    from lightning_fabric import Fabric

LAST, BEST = "last.safetensors", "best.safetensors"
MOST_SKIPPED = 10  # steps in a row without a finite loss and gradient


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
    history: tuple[Row, ...]
    path: Path | None


def fit(
    model: nn.Module,
    data: Dataset[Any],
    outer_loss: OuterLoss,
    settings: FitSettings,
    *,
    validation: Dataset[Any] | None = None,
    folder: Path | None = None,
    forward: Callable[[int], Mapping[str, Any]] | None = None,
    config: Mapping[str, Any] | None = None,
    fabric: Fabric | None = None,
    progress: bool = True,
    resume: bool = True,
) -> FitResult:
    """Train a model with Adam and leave it with its best weights.

    Every step calls ``model(batch, **forward(step))`` once and ``outer_loss(output, batch)`` once.
    What a step does depends on the weights, the settings and its number alone: a run that was
    killed goes on from ``folder/last.safetensors`` and ends with the numbers of an unbroken one.

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
    folder : Path, optional
        For ``best.safetensors``, ``last.safetensors``, ``log.jsonl`` and ``curve.png``.
    forward : callable, optional
        Step number, from 0, -> keyword arguments of the model. A pure function.
    config : Mapping, optional
        What JSON can say; stored with the weights, and compared on resume.
    fabric : Fabric, optional
        Launched, with one device or DDP. Default: one device of the best kind, or, under torchrun,
        all its processes.
    progress : bool
        Draw a bar on stderr.
    resume : bool
        Go on from a checkpoint in the folder; False removes it.

    Returns
    -------
    FitResult
        Losses, counts and the history.

    Raises
    ------
    ImportError
        Without the extra ``train``.
    TypeError, ValueError
        If arguments do not fit each other, or a checkpoint is of another run.
    FloatingPointError
        After ten steps in a row, or all validations, without a finite loss. The model has its
        best weights so far.
    """
    if not isinstance(model, nn.Module):
        raise TypeError(f"model must be a torch.nn.Module, got {type(model).__name__}")
    if not callable(outer_loss):
        raise TypeError(f"outer_loss must be callable, got {type(outer_loss).__name__}")
    if not isinstance(settings, FitSettings):
        raise TypeError(f"settings must be FitSettings, got {type(settings).__name__}")
    config = as_json(config or {}, "config")
    if fabric is None:
        fabric = default_fabric(settings.precision)
    devices = [fabric.device] if fabric.device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        run = _Run(model, data, outer_loss, settings, validation, folder, forward, config, fabric)
        run.start(resume)
        run.train(progress)
        return run.result()


class _Run:
    """One training: its parts, and where it stands."""

    def __init__(
        self,
        model: nn.Module,
        data: Dataset[Any],
        outer_loss: OuterLoss,
        settings: FitSettings,
        validation: Dataset[Any] | None,
        folder: Path | None,
        forward: Callable[[int], Mapping[str, Any]] | None,
        config: dict[str, Any],
        fabric: Fabric,
    ) -> None:
        check_fabric(fabric, settings.precision)
        self.settings, self.fabric, self.config = settings, fabric, config
        self.outer_loss, self.validation, self.forward = outer_loss, validation, forward
        self.batches = Batches(
            data,
            settings.batch_size,
            seed=settings.seed,
            rank=fabric.global_rank,
            world_size=fabric.world_size,
        )
        samples = {"data": self.batches.samples}
        if validation is not None:
            samples["validation"] = count(validation, "validation")
        self.identity = {"settings": settings.numbers(), "config": config, "samples": samples}
        self.folder = Path(folder) if folder is not None else None
        self.writes = fabric.is_global_zero and folder is not None
        self.model = model
        self.wrapped = fabric.setup_module(model)
        self.weights = Weights(model, settings.lr_factors, settings.ema)
        self.counters = Counters()

    def start(self, resume: bool) -> None:
        """Take up the checkpoint, or remove what an earlier run has left."""
        if self.folder is not None and resume and (self.folder / LAST).exists():
            self.counters = load_checkpoint(self.folder / LAST, self.weights, self.identity)
        self.fabric.barrier()  # everybody has read before anybody writes
        if self.writes and self.folder is not None:
            if self.counters.step == 0:
                (self.folder / LAST).unlink(missing_ok=True)
                (self.folder / BEST).unlink(missing_ok=True)
            else:
                self._write_best()
        self.log = Log(self.folder if self.writes else None, self.counters.step)
        self.began = time.perf_counter() - self.counters.seconds

    def train(self, progress: bool) -> None:
        """Go on to the end, or to an interruption."""
        counters, settings = self.counters, self.settings
        batches = self.batches.since(counters.step)
        saved = time.perf_counter()
        bar = TrainingProgress(
            settings.steps, counters.step, enabled=progress and self.fabric.is_global_zero
        )
        try:
            with bar, interruptible() as interruption:
                while counters.step < settings.steps and not counters.stopped_early:
                    loss, stop = self.step(batches, interruption.signal is not None)
                    ended = counters.step == settings.steps
                    improved = False
                    if ended or counters.step % settings.validate_every == 0:
                        improved = self.check()
                        ended = ended or counters.stopped_early
                    bar.update(counters, loss)
                    overdue = time.perf_counter() - saved >= 60 * settings.checkpoint_minutes
                    if improved or ended or stop or overdue:
                        self.save(best=improved or ended)
                        saved = time.perf_counter()
                    if stop:
                        interruption.signal = interruption.signal or signal.SIGINT
                        return
            self._require_best("no validation had a finite loss")
        finally:
            self.log.close()
            if self.weights.best:
                self.model.load_state_dict(self.weights.best)

    def step(self, batches: Iterator[Any], wants_to_stop: bool) -> tuple[float, bool]:
        """Do one step; return its loss and whether any process wants to stop."""
        counters, settings, fabric = self.counters, self.settings, self.fabric
        torch.manual_seed(derive("step", settings.seed, counters.step, fabric.global_rank))
        batch = fabric.to_device(next(batches))
        keywords = self.forward(counters.step) if self.forward is not None else {}
        loss, scalars = evaluate(self.outer_loss, self.wrapped(batch, **keywords), batch)
        fabric.backward(loss)
        norm = self.weights.clip(settings.clip)
        sums = agree(fabric, [float(wants_to_stop), float(loss.detach()), *scalars.values()])
        mean, *means = (total / fabric.world_size for total in sums[1:])
        named = dict(zip(scalars, means, strict=True))
        rate = settings.rate(counters.step)

        finite = math.isfinite(mean) and math.isfinite(norm)
        if finite:
            counters.updates += 1
            counters.streak = 0
            counters.window_sum += mean
            counters.window_count += 1
            self.weights.update(rate, counters.updates)
        else:
            counters.skipped += 1
            counters.streak += 1
        self.weights.adam.zero_grad()
        counters.step += 1
        self._log({"loss": mean, "lr": rate, "gradient_norm": norm, **named})
        if counters.streak == MOST_SKIPPED:
            raise FloatingPointError(
                f"loss or gradient was not finite in {MOST_SKIPPED} steps in a row, up to step "
                f"{counters.step}; last loss {mean}, last gradient norm {norm}; {self._kept()}"
            )
        return mean, sums[0] > 0

    def check(self) -> bool:
        """Compare with the best loss so far; return whether this one is better."""
        counters, average = self.counters, self.weights.average
        with average.swapped_in() if average is not None else nullcontext():
            if self.validation is not None:
                value, scalars = self.validate(self.validation)
                row = {"validation_loss": value}
                row |= {f"validation_{name}": scalar for name, scalar in scalars.items()}
            else:
                value = counters.window_sum / max(1, counters.window_count)
                value = value if counters.window_count else math.nan
                row = {"training_loss": value}
            better = value < counters.best_loss
            if better:
                self.weights.keep()
        counters.window_sum, counters.window_count = 0.0, 0
        counters.waited = 0 if better else counters.waited + 1
        if better:
            counters.best_loss, counters.best_step = value, counters.step
        patience = self.settings.patience
        counters.stopped_early = (
            patience is not None
            and counters.waited >= patience
            and counters.step < self.settings.steps
        )
        self._log(row)
        self.log.draw()
        return better

    @torch.no_grad()
    def validate(self, data: Dataset[Any]) -> tuple[float, dict[str, float]]:
        """Return the mean loss and scalars over a dataset, in eval mode."""
        fabric, settings = self.fabric, self.settings
        rank, world = fabric.global_rank, fabric.world_size
        torch.manual_seed(derive("validation", settings.seed, rank))
        batches, counts = shares(len(data), settings.batch_size, rank, world)  # type: ignore[arg-type]
        training = [module for module in self.model.modules() if module.training]
        self.model.eval()
        names: list[str] = []
        totals: list[float] = []
        try:
            for batch, samples in zip(loader(data, batches), counts, strict=True):
                batch = fabric.to_device(batch)
                loss, scalars = evaluate(self.outer_loss, self.wrapped(batch), batch)
                values = [1.0, float(loss.detach()), *scalars.values()]
                names, totals = list(scalars), totals or [0.0] * len(values)
                if samples:
                    totals = [t + samples * v for t, v in zip(totals, values, strict=True)]
        finally:
            for module in training:
                module.training = True
        total, *sums = agree(fabric, totals)
        mean, *means = (part / total for part in sums)
        return mean, dict(zip(names, means, strict=True))

    def save(self, *, best: bool) -> None:
        """Write the checkpoint, and the best weights if asked to."""
        self.counters.seconds = self._seconds()
        self.log.flush()
        if self.writes and self.folder is not None:
            if best:
                self._write_best()
            save_checkpoint(self.folder / LAST, self.weights, self.counters, self.identity)

    def result(self) -> FitResult:
        """Sum up."""
        counters = self.counters
        return FitResult(
            best_loss=counters.best_loss,
            best_step=counters.best_step,
            steps=counters.step,
            skipped=counters.skipped,
            seconds=counters.seconds,
            stopped_early=counters.stopped_early,
            history=tuple(self.log.rows),
            path=self.folder / BEST if self.folder is not None else None,
        )

    def _write_best(self) -> None:
        if self.folder is None or not self.weights.best:
            return
        counters = self.counters
        notes = {
            "loss": counters.best_loss,
            "step": counters.best_step,
            "seconds": counters.seconds,
            "settings": self.settings.numbers(),
        }
        write_weights(self.folder / BEST, self.weights.best, self.config, notes=notes)

    def _log(self, row: Row) -> None:
        self.log.add({"step": self.counters.step, **row, "seconds": self._seconds()})

    def _seconds(self) -> float:
        return time.perf_counter() - self.began

    def _kept(self) -> str:
        counters = self.counters
        if not self.weights.best:
            return "there are no best weights yet"
        return f"the model has its best weights, of step {counters.best_step}"

    def _require_best(self, reason: str) -> None:
        if not self.weights.best:
            raise FloatingPointError(f"{reason} in {self.counters.step} steps")
