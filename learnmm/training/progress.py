"""The progress bar of a training."""

from __future__ import annotations

import math
from types import TracebackType
from typing import Any

from learnmm.training.weights import Counters


class TrainingProgress:
    """Context manager; draws on stderr, or does nothing unless enabled.

    Raises
    ------
    ImportError
        If enabled without the extra ``progress``.
    """

    def __init__(self, steps: int, start: int, *, enabled: bool, name: str) -> None:
        self._bar: Any = None
        if not enabled:
            return
        try:
            from rich.console import Console
            from rich.progress import (
                BarColumn,
                MofNCompleteColumn,
                Progress,
                TextColumn,
                TimeRemainingColumn,
            )
        except ImportError as error:
            raise ImportError(
                "progress=True needs rich: pip install 'learnmm[progress]'"
            ) from error
        self._bar = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}"),
            console=Console(stderr=True),
            speed_estimate_period=300,
        )
        self._task = self._bar.add_task(name, total=steps, completed=start, note="")

    def __enter__(self) -> TrainingProgress:
        """Draw the bar."""
        if self._bar is not None:
            self._bar.start()
        return self

    def update(self, counters: Counters, loss: float) -> None:
        """Show the step, the loss of its batch and the best loss so far."""
        if self._bar is not None:
            note = f"loss {loss:.4g}"
            if math.isfinite(counters.best_loss):
                note += f", best {counters.best_loss:.4g} at {counters.best_step}"
            if counters.skipped:
                note += f", {counters.skipped} skipped"
            self._bar.update(self._task, completed=counters.step, note=note)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Leave the bar on screen."""
        if self._bar is not None:
            self._bar.stop()
