"""Seconds on a device, which works on while the program goes on."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import torch


def waited(device: str) -> None:
    """Wait until a device has done what it was given."""
    if device != "cpu":
        torch.accelerator.synchronize()


def seconds(task: Callable[[], object], device: str, repeats: int) -> float:
    """Median of some calls, after one that is not counted."""
    times = []
    for _ in range(1 + repeats):
        waited(device)
        begin = time.perf_counter()
        task()
        waited(device)
        times.append(time.perf_counter() - begin)
    return statistics.median(times[1:])
