"""What runs is shown on standard error, drawn by rich where it is installed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from types import ModuleType, TracebackType
from typing import TYPE_CHECKING

from torch import Tensor

if TYPE_CHECKING:
    from rich.progress import Progress as Display
    from rich.progress import ProgressColumn

__all__ = ["Progress", "StageFactory", "stages"]

StageFactory = Callable[[str], AbstractContextManager[None]]

AVERAGED = 300.0  # seconds over which the speed is averaged: some steps also validate


class Progress:
    """A bar for steps whose number is known; does nothing unless enabled.

    Parameters
    ----------
    total : int
        Steps in all.
    enabled : bool
        Whether to draw.
    title : str
        What the bar is called.
    done : int
        Steps done before.

    Raises
    ------
    ImportError
        If enabled without the extra ``progress``.
    """

    def __init__(
        self, total: int, *, enabled: bool, title: str = "minimize", done: int = 0
    ) -> None:
        self._display: Display | None = None
        self._done = done
        if enabled:
            rich = _rich()
            self._display = _display(
                rich.TextColumn("{task.description}", markup=False),
                rich.BarColumn(),
                rich.MofNCompleteColumn(),
                rich.TimeElapsedColumn(),
                rich.TimeRemainingColumn(),
                rich.TextColumn("{task.fields[note]}", markup=False),
            )
            self._task = self._display.add_task(title, total=total, completed=done, note="")

    def __enter__(self) -> Progress:
        """Draw the bar."""
        if self._display is not None:
            self._display.start()
        return self

    def show(self, done: int, note: str) -> None:
        """Show how many steps are done, and a note beside them."""
        self._done = done
        if self._display is not None:
            self._display.update(self._task, completed=done, note=note)

    def update(self, value: Tensor, status: Tensor) -> None:
        """Advance by one step and show the mean objective and how many problems still run."""
        if self._display is not None:
            note = f"f = {float(value.mean()):.4g}, {int((status == 0).sum())} running"
            self.show(self._done + 1, note)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Leave the bar on screen."""
        if self._display is not None:
            self._display.stop()


@contextmanager
def stages(enabled: bool) -> Iterator[StageFactory]:
    """Yield ``stage``: ``with stage("name"): ...`` shows the name, and how long it takes.

    Parameters
    ----------
    enabled : bool
        Whether to draw.

    Raises
    ------
    ImportError
        If enabled without the extra ``progress``.
    """
    if not enabled:
        yield lambda name: nullcontext()
        return
    rich = _rich()
    spinner = rich.SpinnerColumn(finished_text="✓")
    name = rich.TextColumn("{task.description}", markup=False)
    with _display(spinner, name, rich.TimeElapsedColumn()) as view:

        @contextmanager
        def stage(title: str) -> Iterator[None]:
            task = view.add_task(title, total=1)
            yield
            view.update(task, completed=1)

        yield stage


def _display(*columns: ProgressColumn) -> Display:
    from rich.console import Console
    from rich.progress import Progress as Display

    return Display(*columns, console=Console(stderr=True), speed_estimate_period=AVERAGED)


def _rich() -> ModuleType:
    try:
        import rich.console
        import rich.progress
    except ImportError as error:
        raise ImportError("progress=True needs rich: pip install 'learnmm[progress]'") from error
    return rich.progress
