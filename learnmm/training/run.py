"""One training: its parts, its loop, and where it stands."""

from __future__ import annotations

import math
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.utils.data import Dataset

from learnmm.progress import Progress
from learnmm.storage import remove_leftovers, write_weights
from learnmm.training.checkpoint import load_checkpoint, save_checkpoint
from learnmm.training.launch import Interruption, agree, interruptible
from learnmm.training.lock import locked
from learnmm.training.log import CURVE, LOG, Log, Row
from learnmm.training.loss import OuterLoss, evaluate
from learnmm.training.record import Record
from learnmm.training.sampling import Batches, count, derive, loader, shares
from learnmm.training.settings import FitSettings
from learnmm.training.weights import Counters, Weights

if TYPE_CHECKING:
    from lightning_fabric import Fabric

LAST, BEST = "last.safetensors", "best.safetensors"
MOST_SKIPPED = 10  # steps in a row without a finite loss and gradient


class Run:
    """One training: its parts, and where it stands."""

    def __init__(
        self,
        model: nn.Module,
        data: Dataset[Any],
        outer_loss: OuterLoss,
        settings: FitSettings,
        *,
        validation: Dataset[Any] | None,
        forward: Callable[[int], Mapping[str, Any]] | None,
        record: Record,
        fabric: Fabric,
    ) -> None:
        self.settings, self.record, self.fabric = settings, record, fabric
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
        numbers = asdict(settings)
        self.identity = {"settings": numbers, "config": record.config, "samples": samples}
        self.folder = record.folder
        self.writes = fabric.is_global_zero and record.folder is not None
        self.model = model
        self.wrapped = fabric.setup_module(model)
        self.weights = Weights(model, settings.adam.lr_factors, settings.adam.ema)
        self.counters = Counters.at_start()

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the folder, in the one process that writes; all fail if that one does."""
        refused: Exception | None = None
        with ExitStack() as stack:
            if self.writes and self.folder is not None:
                try:
                    stack.enter_context(locked(self.folder))
                except Exception as error:
                    refused = error
            if agree(self.fabric, [float(refused is not None)])[0]:
                raise refused or RuntimeError(f"process 0 could not lock {self.folder}")
            yield

    def start(self) -> None:
        """Take up the checkpoint, or remove what an earlier run has left."""
        if self.folder is not None and self.record.resume and (self.folder / LAST).exists():
            self.counters = load_checkpoint(self.folder / LAST, self.weights, self.identity)
        self.log = Log(self.folder, self.counters.step)
        self.fabric.barrier()  # everybody has read before anybody writes
        if self.writes and self.folder is not None:
            for name in (LAST, BEST, LOG, CURVE):
                remove_leftovers(self.folder, name)  # the lock says that their writers are dead
            if not self.counters.step:
                for name in (LAST, BEST):
                    (self.folder / name).unlink(missing_ok=True)
            self._write_best()
            self.log.open()
        self.weights.adam.zero_grad()
        self.began = time.perf_counter() - self.counters.seconds

    def train(self) -> None:
        """Go on to the end, or to an interruption."""
        counters, settings, progress = self.counters, self.settings, self.record.progress
        batches = self.batches.since(counters.step)
        saved = time.perf_counter()
        bar = Progress(
            settings.steps,
            enabled=bool(progress) and self.fabric.is_global_zero,
            title=progress if isinstance(progress, str) else "fit",
            done=counters.step,
        )
        try:
            with interruptible() as interruption, bar:
                if counters.step >= settings.steps and not self.weights.best:
                    self.check()  # the run was made shorter than its first interval
                    self.save(best=True)
                while counters.step < settings.steps and not counters.stopped_early:
                    loss, stop = self.step(batches, interruption)
                    ended = counters.step == settings.steps
                    improved = False
                    if ended or counters.step % settings.validate_every == 0:
                        improved = self.check()
                        ended = ended or counters.stopped_early
                    bar.show(counters.step, counters.note(loss))
                    overdue = time.perf_counter() - saved >= 60 * self.record.checkpoint_minutes
                    if improved or ended or stop or overdue:
                        self.save(best=improved or ended)
                        saved = time.perf_counter()
                    if stop:
                        interruption.signal = interruption.signal or signal.SIGINT
                        return
            self.fabric.barrier()  # nobody goes on before the files are there
            if not self.weights.best:
                raise FloatingPointError(f"no loss was finite in {counters.step} steps")
        finally:
            if self.weights.best:
                self.model.load_state_dict(self.weights.best)
            self.log.close()

    def step(self, batches: Iterator[Any], interruption: Interruption) -> tuple[float, bool]:
        """Do one step; return its loss and whether any process wants to stop."""
        counters, settings, fabric = self.counters, self.settings, self.fabric
        torch.manual_seed(derive("step", settings.seed, counters.step, fabric.global_rank))
        batch = fabric.to_device(next(batches))
        keywords = self.forward(counters.step) if self.forward is not None else {}
        loss, scalars = evaluate(self.outer_loss, self.wrapped(batch, **keywords), batch)
        fabric.backward(loss)
        norm = self.weights.clip(settings.adam.clip)
        wants_to_stop = float(interruption.signal is not None)
        sums = agree(fabric, [wants_to_stop, float(loss.detach()), *scalars.values()])
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
            best = f"of step {counters.best_step}" if self.weights.best else "none so far"
            raise FloatingPointError(
                f"loss or gradient was not finite in {MOST_SKIPPED} steps in a row, up to step "
                f"{counters.step}: last loss {mean}, gradient norm {norm}; best weights: {best}"
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
            better = math.isfinite(value) and value < counters.best_loss
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
        names: list[str] | None = None
        totals: list[float] = []
        try:
            for batch, samples in zip(loader(data, batches), counts, strict=True):
                batch = fabric.to_device(batch)
                loss, scalars = evaluate(self.outer_loss, self.wrapped(batch), batch)
                values = [1.0, float(loss), *scalars.values()]
                if names is None:
                    names, totals = list(scalars), [0.0] * len(values)
                if names != list(scalars):
                    raise ValueError(
                        "outer_loss must name the same scalars for every batch, "
                        f"got {names} and {list(scalars)}"
                    )
                if samples:
                    totals = [t + samples * v for t, v in zip(totals, values, strict=True)]
        finally:
            for module in training:
                module.training = True
        total, *sums = agree(fabric, totals)
        mean, *means = (part / total for part in sums)
        return mean, dict(zip(names or [], means, strict=True))

    def save(self, *, best: bool) -> None:
        """Write the checkpoint, and the best weights if asked to."""
        self.counters.seconds = self._seconds()
        if self.writes and self.folder is not None:
            if best:
                self._write_best()
            save_checkpoint(self.folder / LAST, self.weights, self.counters, self.identity)

    def _write_best(self) -> None:
        if self.folder is None or not self.weights.best:
            return
        counters = self.counters
        notes = {
            "loss": counters.best_loss,
            "step": counters.best_step,
            "seconds": counters.seconds,
            "settings": asdict(self.settings),
        }
        write_weights(self.folder / BEST, self.weights.best, self.record.config, notes=notes)

    def _log(self, row: Row) -> None:
        self.log.add({"step": self.counters.step, **row, "seconds": self._seconds()})

    def _seconds(self) -> float:
        return time.perf_counter() - self.began
