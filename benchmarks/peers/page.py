"""The page: what was measured, as tables with medians, ratios and everything that was lost."""

from __future__ import annotations

import math
import statistics
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from .. import pages
from .batches import Summary, throughput
from .recorder import NAMES, PRODUCT_WORK
from .solvers import BASELINE

Runs = dict[str, dict[str, dict[str, Any]]]
"""Solver, then problem, to what happened."""

Cost = Callable[[Sequence[float] | None], float]

MAIN = 1
"""The tolerance of comparisons: 1e-6."""

REASONS = {
    "seconds": "too slow: the time limit",
    "evaluations": "too slow: the limit of evaluations",
    "ended": "stopped by itself: in another minimum, or where no step lowered the objective",
}

GOAL_SPEED = 20
GOAL_STEP = 1.5  # over value and gradient
GOAL_PARTS = 1.15  # with the bound and its product
GOAL_SINGLE = 3
DEFAULT, SCIPY = "learnmm minimize", "SciPy L-BFGS-B"


def evaluations(hit: Sequence[float] | None) -> float:
    """Gradients, with the products that were taken; infinite if never reached."""
    return math.inf if hit is None else hit[1] + PRODUCT_WORK * hit[2]


def seconds(hit: Sequence[float] | None) -> float:
    """Wall time; infinite if never reached."""
    return math.inf if hit is None else hit[0]


def milliseconds(hit: Sequence[float] | None) -> float:
    """Wall time in thousandths."""
    return 1e3 * seconds(hit)


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Lines of a table."""
    return pages.table(head, map(pages.line, rows))


def number(value: float | None, digits: int = 2) -> str:
    """Some digits, or a dash for what was never reached."""
    if value is None or not math.isfinite(value):
        return "–"
    return f"{value:.{digits}g}" if value < 10 ** (digits - 1) else f"{value:.0f}"


def share(part: int, of: int) -> str:
    """``part of of``."""
    return f"{part} of {of}"


def overview(runs: Runs) -> list[str]:
    """One row per solver over all problems."""
    rows = []
    base = runs[BASELINE]
    for solver, found in runs.items():
        solved = [sum(r["hits"][k] is not None for r in found.values()) for k in range(3)]
        ratios = [number(ratio_of(cost, found, base)) for cost in (evaluations, seconds)]
        ends = Counter(r["stop"] for r in found.values() if r["stop"] != "solved")
        rows.append(
            [
                solver,
                *(share(count, len(found)) for count in solved),
                *ratios,
                share(sum(r["monotone"] for r in found.values()), len(found)),
                ", ".join(f"{n} {reason}" for reason, n in ends.most_common()) or "none",
            ]
        )
    head = ["solver", *(f"solved to {name}" for name in NAMES)]
    head += ["evaluations / LBFGS", "time / LBFGS", "monotone", "not solved to 1e-9 because"]
    return table(head, rows)


def ratio_of(cost: Cost, found: dict[str, Any], base: dict[str, Any]) -> float:
    """Median ratio of costs over the problems that both solve; infinite if there are none."""
    both = [
        (r["hits"][MAIN], base[name]["hits"][MAIN])
        for name, r in found.items()
        if r["hits"][MAIN] and base[name]["hits"][MAIN]
    ]
    return statistics.median(cost(a) / cost(b) for a, b in both) if both else math.inf


def lost(runs: Runs, ours: Sequence[str], problems: Sequence[str]) -> list[str]:
    """What the baseline solves and we do not: how close we came, and what stopped us."""
    rows = []
    for problem in problems:
        mine = {name: runs[name][problem] for name in ours}
        if runs[BASELINE][problem]["hits"][MAIN] and not any(
            r["hits"][MAIN] for r in mine.values()
        ):
            name = min(mine, key=lambda n: mine[n]["left"])
            closest = mine[name]
            reason = REASONS.get(closest["stop"], closest["stop"])
            rows.append([problem, name, f"{closest['left']:.1e}", reason])
    return table(["problem", "closest entry", "share of the gap left", "because"], rows)


def by_problem(runs: Runs, problems: Sequence[str], cost: Cost) -> list[str]:
    """What it cost to come within each tolerance, a row per problem."""
    rows = []
    for problem in problems:
        cells = [
            " ".join(number(cost(h), 3) for h in found[problem]["hits"]) if problem in found else ""
            for found in runs.values()
        ]
        rows.append([problem, *cells])
    return table(["problem", *runs], rows)


def batches(results: dict[tuple[str, int], dict[str, Summary]]) -> list[str]:
    """A row per family, size and solver."""
    rows = []
    for (family, size), found in results.items():
        base = throughput(found[BASELINE], size, MAIN)
        for solver, summary in found.items():
            speed = throughput(summary, size, MAIN)
            rows.append(
                [
                    family,
                    str(size),
                    solver,
                    " ".join(f"{100 * part:.0f}" for part in summary["solved"]),
                    " ".join(number(time) for time in summary["seconds"]),
                    number(summary["evaluations"][MAIN], 4),
                    "–" if speed is None or base is None else number(speed / base),
                    f"{100 * summary['monotone']:.0f}",
                ]
            )
    head = ["problems", "batch", "solver", "solved, %", "seconds", "evaluations", "speed / LBFGS"]
    return table([*head, "monotone, %"], rows)


def on_jax(results: dict[tuple[str, int], dict[str, Summary]]) -> str:
    """Whether JAX's solvers took part, and how long they compiled."""
    compiled = [
        summary["compilation"]
        for found in results.values()
        for summary in found.values()
        if "compilation" in summary
    ]
    if not compiled:
        return "JAX's solvers did not take part in this run; `make bench-jax` asks them too."
    return (
        "JAX's solvers run under `jax.vmap` and `jax.jit`, on the objectives written out again in "
        "JAX: these four families are the ones that translate in a line. Their times are without "
        f"compilation, which took {statistics.median(compiled):.1f} s (median) for every solver "
        "and size. They are stopped by evaluations alone: no clock reaches into a compiled loop."
    )


def steps(costs: dict[str, dict[str, Any]]) -> list[str]:
    """A row per problem with a bound in closed form."""
    rows = [
        [
            name,
            str(c["unknowns"]),
            str(c["batch"]),
            f"{c['milliseconds']:.2f}",
            f"{c['over autograd']:.2f}",
            f"{c['over closed form']:.2f}",
            f"{c['over its parts']:.2f}",
        ]
        for name, c in costs.items()
    ]
    head = ["problem", "unknowns", "batch", "ms", "over autograd's value and gradient"]
    head += ["over the atom's own", "over that, its bound and one product"]
    return table(head, rows)


def goals(
    runs: Runs,
    ours: Sequence[str],
    results: dict[tuple[str, int], dict[str, Summary]],
    costs: dict[str, dict[str, Any]],
) -> list[str]:
    """What we set out to reach, and where we are."""
    alone = [r["monotone"] for name in ours for r in runs[name].values()]
    batched = [found[n]["monotone"] for found in results.values() for n in ours if n in found]
    calm, total = sum(alone) + sum(s == 1 for s in batched), len(alone) + len(batched)
    solved = {
        name: sum(r["hits"][MAIN] is not None for r in found.values())
        for name, found in runs.items()
    }
    best = max(ours, key=lambda name: solved[name])
    rows = [
        [
            "monotone on every problem",
            f"{calm} of {total} runs and batches",
            verdict(calm == total),
        ],
        [
            "solve to 1e-6 as many as torch LBFGS",
            f"{best} {solved[best]}, LBFGS {solved[BASELINE]}",
            verdict(solved[best] >= solved[BASELINE]),
        ],
        _beside_scipy(runs),
        _at_once(ours, results),
        *_steps(costs),
    ]
    return table(["goal", "measured", ""], rows)


def _beside_scipy(runs: Runs) -> list[str]:
    """How long single problems take, over SciPy's time, where both solve."""
    names = [name for name in (DEFAULT, f"{DEFAULT}, compiled") if name in runs]
    taken = {name: ratio_of(seconds, runs[name], runs[SCIPY]) for name in names}
    return [
        f"single problems within {GOAL_SINGLE} times the time of {SCIPY}, in the median",
        "; ".join(f"{name}: {number(times)} times" for name, times in taken.items()),
        verdict(min(taken.values()) <= GOAL_SINGLE),
    ]


def _at_once(ours: Sequence[str], results: dict[tuple[str, int], dict[str, Summary]]) -> list[str]:
    """The fastest of ours on the largest batches, beside the baseline in turn."""
    largest = max(size for _, size in results)
    raced = []
    for (family, size), found in results.items():
        if size == largest:
            fastest = max(
                (name for name in ours if name in found),
                key=lambda name, f=found: throughput(f[name], largest, MAIN) or 0.0,
            )
            mine, base = (throughput(found[name], size, MAIN) for name in (fastest, BASELINE))
            speed = (mine or 0.0) / base if base else math.inf
            raced.append((family, speed, *(found[n]["solved"][MAIN] for n in (fastest, BASELINE))))
    return [
        f"{largest} problems at once: {GOAL_SPEED} times the speed of torch LBFGS in turn, "
        "and as many solved",
        "; ".join(
            f"{family}: {number(speed)} times, {mine:.0%} and {base:.0%} solved"
            for family, speed, mine, base in raced
        ),
        verdict(all(speed >= GOAL_SPEED and mine >= base for _, speed, mine, base in raced)),
    ]


def _steps(costs: dict[str, dict[str, Any]]) -> list[list[str]]:
    """What a step costs over what it cannot spare."""
    dear = [cost["over autograd"] for cost in costs.values()]
    parts = [cost["over its parts"] for cost in costs.values()]
    cheap = sum(times <= GOAL_PARTS for times in parts)
    return [
        [
            f"a verified step at most {GOAL_STEP:g} times value and gradient, in the median",
            f"{statistics.median(dear):.2f}, from {min(dear):.2f} to {max(dear):.2f} times",
            verdict(statistics.median(dear) <= GOAL_STEP),
        ],
        [
            f"at most {GOAL_PARTS:g} times value, gradient, bound and a product with its inverse",
            f"{cheap} of {len(costs)}, from {min(parts):.2f} to {max(parts):.2f} times (median "
            f"{statistics.median(parts):.2f})",
            verdict(cheap == len(costs)),
        ],
    ]


def verdict(reached: bool) -> str:
    """In a word."""
    return "reached" if reached else "**missed**"
