"""Seconds on a device, which works on while the program goes on."""

from __future__ import annotations

import statistics
from collections.abc import Callable

import torch

from benchmarks.timing import paired_times


def waited(device: str) -> None:
    """Wait until a device has done what it was given."""
    if device != "cpu":
        torch.accelerator.synchronize()


def seconds(task: Callable[[], object], device: str, repeats: int) -> float:
    """Median of some calls, after one that is not counted."""

    def done() -> None:
        task()
        waited(device)

    return statistics.median(paired_times(done, repeats=repeats)[0])
