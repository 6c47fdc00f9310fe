"""A progress bar for long runs, drawn by rich where it is installed."""

from __future__ import annotations

from types import TracebackType
from typing import Any

from torch import Tensor


class Progress:
    """Context manager; does nothing unless enabled.

    Raises
    ------
    ImportError
        If enabled without the extra ``progress``.
    """

    def __init__(self, total: int, *, enabled: bool, title: str = "minimize") -> None:
        self.total = total
        self.title = title
        self._bar: Any = None
        if not enabled:
            return
        try:
            from rich.console import Console
            from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
            from rich.progress import Progress as RichProgress
        except ImportError as error:
            raise ImportError(
                "progress=True needs rich: pip install 'learnmm[progress]'"
            ) from error
        self._bar = RichProgress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.fields[note]}"),
            console=Console(stderr=True),
        )

    def __enter__(self) -> Progress:
        """Draw the empty bar."""
        if self._bar is not None:
            self._bar.start()
            self._task = self._bar.add_task(self.title, total=self.total, note="")
        return self

    def update(self, value: Tensor, status: Tensor) -> None:
        """Advance by one step and show the mean objective and how many problems still run."""
        if self._bar is not None:
            note = f"f = {float(value.mean()):.4g}, {int((status == 0).sum())} running"
            self._bar.update(self._task, advance=1, note=note)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Leave the finished bar on screen."""
        if self._bar is not None:
            self._bar.stop()
