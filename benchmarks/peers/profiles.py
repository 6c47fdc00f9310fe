"""Performance profiles: the share of problems that a solver solves within a factor of the best."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path

import matplotlib as mpl
import numpy as np

mpl.use("Agg")
from matplotlib import pyplot as plt

Cost = Callable[[str, str], float]


def profile(solver: str, solvers: Sequence[str], problems: Sequence[str], cost: Cost) -> np.ndarray:
    """Sorted ratios ``cost / best cost`` over the problems, infinite where nothing was solved.

    The share of entries up to ``r`` is the profile at ``r`` (Dolan & Moré 2002, Eq. 2.1).
    """
    ratios = []
    for problem in problems:
        best = min(cost(other, problem) for other in solvers)
        ratios.append(cost(solver, problem) / best if math.isfinite(best) else math.inf)
    return np.sort(ratios)


def draw(
    path: Path,
    panels: Sequence[tuple[str, Cost]],
    solvers: Sequence[str],
    ours: Sequence[str],
    problems: Sequence[str],
) -> None:
    """One panel per cost; our own solvers in thick lines."""
    figure, axes = plt.subplots(1, len(panels), figsize=(11, 4.6), sharey=True)
    for axis, (title, cost) in zip(axes, panels, strict=True):
        for k, solver in enumerate(solvers):
            ratios = profile(solver, solvers, problems, cost)
            finite = ratios[np.isfinite(ratios)]
            share = np.arange(1, len(finite) + 1) / len(problems)
            edge = 1e4
            axis.step(
                np.concatenate([[1.0], finite, [edge]]),
                np.concatenate([[0.0], share, share[-1:] if len(share) else [0.0]]),
                where="post",
                color=f"C{k % 10}",
                linestyle="-" if k < 10 else "--",
                linewidth=2.6 if solver in ours else 1.2,
                label=solver,
            )
        axis.set(xscale="log", xlim=(1, edge), ylim=(0, 1.02), title=title)
        axis.set_xlabel("factor over the best solver of a problem")
        axis.grid(alpha=0.3)
    axes[0].set_ylabel("share of problems solved")
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=4)
    figure.set_layout_engine("constrained")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)
    plt.close(figure)
