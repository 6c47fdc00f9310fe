"""Many problems of a kind: solved as one batch, or one after the other."""

from __future__ import annotations

import statistics
from typing import Any

import numpy as np

from .measure import measured
from .recorder import PRODUCT_WORK, TOLERANCES, Budget
from .solvers import Solver
from .suite import Case

SAMPLE = 32
"""Problems of a batch that solvers without batches are timed on; the rest is multiplied up."""

Summary = dict[str, Any]


def summarized(solver: Solver, case: Case, budget: Budget) -> Summary:
    """Solve a batch, or a sample of it problem by problem."""
    if solver.batched:
        problems, scale = measured(solver, case, budget), 1.0
    else:
        chosen = np.linspace(0, case.batch - 1, min(case.batch, SAMPLE)).astype(int)
        problems = [measured(solver, case.one(int(i)), budget)[0] for i in chosen]
        scale = case.batch / len(chosen)
    rows = [[p["hits"][k] for p in problems if p["hits"][k]] for k in range(len(TOLERANCES))]
    together = max if solver.batched else sum
    return {
        "solved": [len(hits) / len(problems) for hits in rows],
        # Until the last of those that it solves is solved.
        "seconds": [scale * together(h[0] for h in hits) if hits else None for hits in rows],
        "evaluations": [
            statistics.median(h[1] + PRODUCT_WORK * h[2] for h in hits) if hits else None
            for hits in rows
        ],
        "monotone": sum(p["monotone"] for p in problems) / len(problems),
        "measured": len(problems),
    }


def throughput(summary: Summary, size: int, tolerance: int) -> float | None:
    """Problems solved per second."""
    seconds = summary["seconds"][tolerance]
    return None if seconds is None else summary["solved"][tolerance] * size / seconds
