"""Show which stage of a long computation is running and how long each took."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager

__all__ = ["StageFactory", "stages"]

StageFactory = Callable[[str], AbstractContextManager[None]]


@contextlib.contextmanager
def stages(show: bool) -> Iterator[StageFactory]:
    """Yield ``stage``, to be used as ``with stage("name"): ...``.

    Parameters
    ----------
    show : bool
        Whether to print. Needs ``rich``, which the extra ``learnmm[progress]`` installs.

    Raises
    ------
    ImportError
        If `show` is set without rich.
    """
    if not show:
        yield lambda name: contextlib.nullcontext()
        return
    try:
        from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
    except ImportError as error:
        raise ImportError("progress=True needs rich: pip install 'learnmm[progress]'") from error

    columns = (SpinnerColumn(finished_text="✓"), TextColumn("{task.description}"))
    with Progress(*columns, TimeElapsedColumn()) as display:

        @contextlib.contextmanager
        def stage(name: str) -> Iterator[None]:
            task = display.add_task(name, total=1)
            yield
            display.update(task, completed=1)

        yield stage
