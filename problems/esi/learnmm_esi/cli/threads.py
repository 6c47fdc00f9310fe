"""How many threads of the processor a command computes with."""

from __future__ import annotations

import os
from typing import Annotated

import typer

__all__ = ["Threads", "use_threads"]

Threads = Annotated[int | None, typer.Option(min=1, help="Of the processor. Default: all cores.")]


def use_threads(count: int | None) -> None:
    """Compute with so many threads; None leaves it to torch.

    Raises
    ------
    ValueError
        If there are not so many cores.
    """
    if count is None:
        return
    import torch

    cores = os.cpu_count() or 1
    if count > cores:
        raise ValueError(
            f"--threads must be at most the {cores} cores of this machine, got {count}"
        )
    torch.set_num_threads(count)
