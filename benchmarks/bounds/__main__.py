"""Print the table, write ``benchmarks/results/bounds.md`` and draw the picture beside it.

For every atom and every bound it offers, along the iterates of a run on small problems in float64:
the ratio of bound to true curvature, ``1 / lambda_max(B^{-1/2} H B^{-1/2})``, with the Hessian
``H`` in full. One is a perfect bound, two a step half as long as it could be in the direction that
limits it; below one, ``B`` does not dominate ``H``. Then the steps until the gap to the best value
found has shrunk to a thousandth, as the bound stands and with relaxation.

``python -m benchmarks.bounds``
"""

from __future__ import annotations

from itertools import groupby
from pathlib import Path

import matplotlib
import torch
from rich.console import Console
from rich.progress import track

import learnmm as lmm

from ..pages import arguments, made_by, table, write
from .cases import BATCH, COMPOSITE, SEED, UNKNOWNS, Case, cases
from .measure import GAP, LOOK_AT, End, Run, ends, reached, run, until

matplotlib.use("Agg")
import matplotlib.pyplot as plt

CHOOSING = Path(__file__).with_name("choosing.md")
COLORS = {kind.name: f"C{kind}" for kind in lmm.Kind}
RATIOS = ("objective", "bound", "kind", "ratio, median", "worst", "steps", "steps, relaxed")
RATIOS += ("refused", "products per bound")
PROMISED = (lmm.Kind.GLOBAL, lmm.Kind.REGION, lmm.Kind.POINTWISE)
LONG_RUNS = ("global + scalar", "pointwise + scalar")


def rows(runs: list[Run]) -> list[str]:
    """Table rows of the runs of one objective, gaps measured from the best of all of them."""
    paths = [path for one in runs for path in (one.plain, one.relaxed) if path is not None]
    best = torch.stack([path[-1] for path in paths]).amin(0)
    return [
        f"| {one.case.objective} | {one.case.bound} | {one.kind.name} "
        f"| {float(one.ratios.median()):.3g} | {float(one.ratios.min()):.3g} "
        f"| {until(one.plain, best)} "
        f"| {'-' if one.relaxed is None else until(one.relaxed, best)} "
        f"| {one.refused:.1%} | {one.case.products or '-'} |"
        for one in runs
    ]


def end_rows(found: list[End]) -> list[str]:
    """Table rows of one case's long runs, gaps measured from the best of all `found`."""
    best = torch.stack([end.long for end in found]).amin(0)
    lines = []
    for end in found:
        short, long = (reached(value, end.start, best) for value in (end.short, end.long))
        lines.append(
            f"| {end.case.bound} | {'none' if end.shrink is None else end.shrink} "
            f"| {float(end.early.mean()):.3f} | {float(end.short.mean()):.4f} "
            f"| {int(short.sum())} of {BATCH} "
            f"| {float(end.long.mean()):.4f} | {int(long.sum())} of {BATCH} "
            f"| {int((end.resting & ~long).sum())} of {BATCH} "
            f"| {float(end.growth.median()):.3g} | {float(end.growth.max()):.3g} |"
        )
    return lines


def picture(runs: list[Run], path: Path) -> None:
    """Median and range of the ratios, a line per bound."""
    figure, axes = plt.subplots(figsize=(8, 0.19 * len(runs) + 1.2), layout="constrained")
    for index, one in enumerate(runs):
        low, middle, high = (float(one.ratios.quantile(q)) for q in (0, 0.5, 1))
        color = COLORS[one.kind.name]
        axes.plot([low, high], [index, index], color=color, lw=1.5, alpha=0.5)
        axes.plot(middle, index, "o", color=color, ms=4)
    names = [f"{one.case.objective}: {one.case.bound}" for one in runs]
    axes.set_yticks(range(len(runs)), names, fontsize=7)
    axes.set_ylim(len(runs) - 0.5, -0.5)
    axes.set_xscale("log")
    axes.axvline(1, color="k", lw=0.8)
    figure.supxlabel("bound / true curvature: range and median; 1 is perfect", fontsize=9)
    for name, color in COLORS.items():
        axes.plot([], [], "o-", color=color, label=name, ms=4)
    axes.legend(fontsize=7, loc="lower right")
    figure.savefig(path, dpi=150)
    plt.close(figure)


def region_sentence(runs: list[Run]) -> str:
    """How much the radius of `REGION` bounds costs."""
    return "; ".join(
        f"in {one.case.objective} the radius cuts {one.cut:.1%} of the bound's own steps"
        for one in runs
        if one.kind is lmm.Kind.REGION
    )


def main() -> None:
    """Measure, tabulate and draw."""
    parser = arguments("bounds", __doc__)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--many", type=int, default=5000, help="steps of the long runs")
    settings = parser.parse_args()
    torch.set_num_threads(1)

    console = Console(stderr=True)
    everything: list[Case] = list(cases())
    runs = [run(case, settings.steps) for case in track(everything, "bounds", console=console)]
    grouped = groupby(runs, key=lambda one: one.case.objective)
    lines = [row for _, group in grouped for row in rows(list(group))]
    least = min(float(one.ratios.min()) for one in runs if one.kind in PROMISED)
    refused = max(one.refused for one in runs if one.kind in (lmm.Kind.GLOBAL, lmm.Kind.REGION))
    composites = [c for c in everything if c.objective == COMPOSITE and c.bound in LONG_RUNS]
    found = [
        ends(case, settings.steps, settings.many)
        for case in track(composites, "long runs", console=console)
    ]
    head = ["bound", "shrink", "mean value after 20", f"after {settings.steps}", "within the gap"]
    head += [f"after {settings.many}", "within the gap", "at rest elsewhere"]
    head += ["growth, median", "largest"]
    write(
        [
            "# What the bounds are worth",
            "",
            f"{made_by('bounds', SEED)}; {BATCH} problems each, {UNKNOWNS} unknowns where nothing "
            f"else is natural, float64, {settings.steps} steps of the majorant.",
            "",
            "Ratio: bound over true curvature, `1 / lambda_max(B^(-1/2) H B^(-1/2))`, at iterates "
            f"{', '.join(map(str, LOOK_AT))} of the run without relaxation, where the Hessian "
            "bends up at all. Steps: until the gap to the best value found by any row of this "
            f"objective is {GAP:g} of the initial one, median over problems, refused steps "
            "included; in brackets the share of problems that get there. Relaxed: the same, where "
            "something is left to relax. Refused: share of the steps without relaxation, but for "
            "the last one of a problem that has reached the precision of its value. A step is one "
            "evaluation, and so many Hessian products. Only PROBABLE and ESTIMATE may fall below "
            "one; the least ratio of the other kinds is "
            f"1 {least - 1:+.0e}, and of GLOBAL and REGION bounds at most {refused:.1%} of the "
            "steps are refused.",
            "",
            *table(RATIOS, lines),
            f"Regions: {region_sentence(runs)}.",
            "",
            f"![Bound over true curvature]({settings.output.stem}.png)",
            "",
            "## Where relaxed runs end",
            "",
            f"{COMPOSITE}, by how far one step may shrink the factor (`Relaxation(shrink=)`, by "
            f"default 0.1). Within the gap: problems at most {GAP:g} of the initial gap above the "
            f"best value of any row of this bound after {settings.many} steps. At rest "
            "elsewhere: problems that are not, and whose value falls no further in its precision. "
            "Growth: largest length of an iterate over that of the start.",
            "",
            *table(head, (row for each in found for row in end_rows(each))),
            CHOOSING.read_text(),
        ],
        settings.output,
    )
    picture(runs, settings.output.with_suffix(".png"))


if __name__ == "__main__":
    main()
