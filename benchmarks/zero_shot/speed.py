"""How many times faster than gradient descent, on the five problems of Castera & Ochs."""

from __future__ import annotations

import statistics
import warnings
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from ..peers.recorder import PRODUCT_WORK, Budget, Finished, Recorder
from ..peers.suite import Case
from .problems import FIVE, five
from .solvers import RATES, SOLVERS, bfgs, descent

CHECKPOINTS = (10, 30, 100, 300)
"""Steps of gradient descent whose values are to be reached; 300 is as far as their figures go."""

STEP = 0.995
"""Step of their gradient descent, in units of ``1 / L``."""

BUDGET = Budget(600.0, 600)
REFERENCE = "BFGS as of Castera & Ochs"
DESCENT = "gradient descent"


@dataclass
class Trace(Recorder):
    """A recorder that keeps ``(evaluations, value)`` of every iterate, and stops at a value."""

    goal: float = -np.inf
    trace: list[tuple[int, float]] = field(default_factory=list)

    def iterate(self, values: Any) -> None:
        """Note an iterate."""
        value = float(np.asarray(values).reshape(-1)[0])
        self.trace.append((self.gradients + PRODUCT_WORK * self.products, value))
        if value <= self.goal:
            raise Finished


def traced(
    run: Callable[[Case, Recorder], None], case: Case, goal: float = -np.inf
) -> list[tuple[int, float]]:
    """Evaluations and values along a run."""
    initial = case.objective(case.x0).detach().numpy()
    recorder = Trace(initial, initial - 1, BUDGET, goal=goal)
    torch.manual_seed(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with suppress(Finished):
            run(case, recorder)
    return recorder.trace


def speed(trace: list[tuple[int, float]], levels: list[float]) -> list[float]:
    """Steps of gradient descent over evaluations, per checkpoint; what never gets there is charged
    the whole budget.
    """
    found = []
    for steps, level in zip(CHECKPOINTS, levels, strict=True):
        spent = [evaluations for evaluations, value in trace if value <= level]
        found.append((steps + 1) / (spent[0] if spent else BUDGET.evaluations))
    return found


def speeds(name: str, seed: int) -> dict[str, list[float]]:
    """Of every solver on one problem, per checkpoint."""
    case, curvature, before = five(name, seed)
    slow = traced(descent(STEP, curvature), case)
    levels = [slow[min(k, len(slow) - 1)][1] for k in CHECKPOINTS]
    methods = {s.name: s.run for s in SOLVERS if not s.name.startswith(DESCENT)}
    methods[REFERENCE] = bfgs(before)
    found = {
        method: speed(traced(run, case, levels[-1]), levels) for method, run in methods.items()
    }
    adam = [found.pop(f"Adam, {rate:g}") for rate in RATES]
    best = max(adam, key=statistics.geometric_mean)
    return {DESCENT: [1.0] * len(CHECKPOINTS), **found, f"Adam, best of {len(RATES)} rates": best}


def problems(starts: int) -> list[tuple[str, int]]:
    """The five, from several starts."""
    return [(name, seed) for name in FIVE for seed in range(starts)]
