"""Times of several tasks taken in turn, so that a drifting machine slows all of them alike."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable


def paired_times(*tasks: Callable[[], object], repeats: int) -> list[list[float]]:
    """Seconds of each task, one list of `repeats` per task, after one call that is not counted."""
    for task in tasks:
        task()
    times: list[list[float]] = [[] for _ in tasks]
    for _ in range(repeats):
        for task, record in zip(tasks, times, strict=True):
            begin = time.perf_counter()
            task()
            record.append(time.perf_counter() - begin)
    return times


def ratio(a: list[float], b: list[float]) -> float:
    """Median of the ratios, pair by pair."""
    return statistics.median(x / y for x, y in zip(a, b, strict=True))
