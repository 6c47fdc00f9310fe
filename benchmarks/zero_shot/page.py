"""The page: tables from what the recorder saw."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from typing import Any

from ..pages import line, table
from ..peers.recorder import PRODUCT_WORK
from .solvers import BASELINE, LEARNED, RATES

Run = dict[str, Any]
Runs = dict[str, dict[str, Run]]
"""Of every solver, by problem."""

STARTED = 1 + 2 * PRODUCT_WORK
"""Evaluations of limited memory before its first step, where it measures curvature at the start."""


def cost(run: Run, tolerance: int) -> float:
    """Evaluations, products included; infinite where the tolerance was not met."""
    hit = run["hits"][tolerance]
    return hit[1] + PRODUCT_WORK * hit[2] if hit else math.inf


def with_best_rates(runs: Runs, tolerance: int = 1) -> Runs:
    """Replace the rates of Adam and of gradient descent by the best of them for each problem."""
    found = {name: by for name, by in runs.items() if not name.startswith(("Adam", "gradient"))}
    for method in ("Adam", "gradient descent"):
        rates = [runs[f"{method}, {rate:g}"] for rate in RATES if f"{method}, {rate:g}" in runs]
        if rates:
            found[f"{method}, best of {len(rates)} rates"] = {
                problem: min(
                    (by[problem] for by in rates),
                    key=lambda run: (cost(run, tolerance), run["left"]),
                )
                for problem in rates[0]
            }
    return found


def of_family(runs: Runs, name: str) -> Runs:
    """Those on problems ``NAME/...``."""
    return {
        solver: {p: run for p, run in by.items() if p.split("/")[0] == name}
        for solver, by in runs.items()
    }


def quantiles(numbers: Sequence[float]) -> str:
    """Median, 90 % and worst; a dash where it was not solved."""
    ordered = sorted(numbers)
    chosen = (ordered[math.ceil(share * len(ordered)) - 1] for share in (0.5, 0.9, 1.0))
    return " / ".join("–" if math.isinf(one) else f"{one:.3g}" for one in chosen)


def ratios(runs: Runs, solver: str, tolerance: int, baseline: str = BASELINE) -> list[float]:
    """Evaluations over those of the baseline, on the problems that both solve."""
    pairs = [(cost(runs[solver][p], tolerance), cost(runs[baseline][p], tolerance)) for p in
             runs[solver]]  # fmt: skip
    return [a / b for a, b in pairs if math.isfinite(a) and math.isfinite(b)]


def overview(runs: Runs) -> list[str]:
    """A row per solver: what it solves, and at what cost."""
    head = ["solver", "solved to 1e-3", "to 1e-6", "evaluations to 1e-3", "evaluations to 1e-6",
            "over limited memory, 1e-3", "1e-6", "monotone"]  # fmt: skip
    rows = []
    for solver, by in runs.items():
        solved = [
            f"{sum(math.isfinite(cost(r, k)) for r in by.values())} of {len(by)}" for k in (0, 1)
        ]
        spent = [quantiles([cost(r, k) for r in by.values()]) for k in (0, 1)]
        over = [ratios(runs, solver, k) for k in (0, 1)]
        monotone = sum(r["monotone"] for r in by.values()) / len(by)
        medians = [f"{statistics.median(v):.2f}" if v else "–" for v in over]
        rows.append(line([solver, *solved, *spent, *medians, f"{100 * monotone:.0f} %"]))
    return table(head, rows)


def by_problem(runs: Runs, tolerance: int = 1) -> list[str]:
    """Evaluations of every solver on every problem."""
    names = list(runs)
    rows = []
    for problem in runs[BASELINE]:
        costs = [cost(runs[solver][problem], tolerance) for solver in names]
        told = ["–" if math.isinf(c) else f"{c:.0f}" for c in costs]
        best = [f"**{t}**" if c == min(costs) and t != "–" else t for t, c in
                zip(told, costs, strict=True)]  # fmt: skip
        rows.append(line([problem, *best]))
    return table(["problem", *names], rows)


def goals(suite: Runs, speeds: dict[str, list[float]], reference: str) -> list[str]:
    """What was to be reached."""
    speed = statistics.geometric_mean(speeds[LEARNED])
    plain = statistics.geometric_mean(speeds[reference])
    median = statistics.median(ratios(suite, LEARNED, 1))
    solved = [
        sum(math.isfinite(cost(r, 1)) for r in suite[name].values()) for name in (LEARNED, BASELINE)
    ]
    monotone = sum(r["monotone"] for r in suite[LEARNED].values())
    rows = [
        ("over BFGS as of Castera & Ochs on the five problems, above 2.71 / 1.89 = 1.43",
         f"{speed / plain:.2f} (over gradient descent: {speed:.2f} and {plain:.2f})",
         speed / plain > 2.71 / 1.89),
        ("at most 0.8 times the evaluations of limited memory on the suite (median, 1e-6)",
         f"{median:.2f}", median <= 0.8),
        ("solve as many", f"{solved[0]}, limited memory {solved[1]}", solved[0] >= solved[1]),
        ("monotone on every problem", f"{monotone} of {len(suite[LEARNED])}",
         monotone == len(suite[LEARNED])),
    ]  # fmt: skip
    marks = (line([a, b, "reached" if ok else "**missed**"]) for a, b, ok in rows)
    return table(["goal", "measured", ""], marks)
