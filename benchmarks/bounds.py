"""What the bounds are worth: how far above the true curvature they lie, and what that costs.

For every atom and every bound it offers, along the iterates of a run on small problems in float64:
the ratio of bound to true curvature, ``1 / lambda_max(B^{-1/2} H B^{-1/2})``, with the Hessian
``H`` in full. One is a perfect bound, two a step half as long as it could be in the direction that
limits it; below one, ``B`` does not dominate ``H``. Then the steps until the gap to the best value
found has shrunk to a thousandth, as the bound stands and with relaxation.

``python benchmarks/bounds.py`` prints the table and writes ``benchmarks/results/bounds.md`` with a
picture beside it.
"""

from __future__ import annotations

import argparse
import platform
from collections.abc import Callable, Iterator
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

import matplotlib
import torch
from rich.console import Console
from rich.progress import track
from torch import Tensor, nn

import learnmm as lmm
from learnmm.checks.laws import dense

matplotlib.use("Agg")
import matplotlib.pyplot as plt

SEED = 7
BATCH, ROWS, UNKNOWNS, CLASSES = 16, 12, 24, 3
LOOK_AT = (0, 1, 2, 4, 8, 16, 32, 64)
GAP = 1e-3


class Case(NamedTuple):
    """An objective with one of its bounds; `products` are Hessian products per bound."""

    objective: str
    bound: str
    energy: lmm.Atom | Callable[[Tensor], Tensor]
    x0: Tensor
    majorant: lmm.Majorant | None = None
    products: int = 0


def normal(*shape: int, key: int) -> Tensor:
    generator = torch.Generator().manual_seed(100 * SEED + key)
    return torch.randn(shape, generator=generator, dtype=torch.float64)


def cases() -> Iterator[Case]:
    """Every atom, with every bound it offers."""
    matrix = normal(ROWS, UNKNOWNS, key=0) / UNKNOWNS**0.5
    tall = normal(3 * UNKNOWNS, UNKNOWNS, key=1) * 10 ** torch.linspace(-1, 0, UNKNOWNS).double()
    start = normal(BATCH, UNKNOWNS, key=2)
    y = normal(BATCH, ROWS, key=3)
    forms = ("structured", "separable", "uniform")

    for bound in ("global", "pointwise", "paper"):
        yield Case(
            "cosine", bound, lmm.CosineDistance(normal(BATCH, UNKNOWNS, key=4), bound), start
        )
    for bound, form in [*(("global", form) for form in forms), ("pointwise", "structured"),
                        ("paper", "structured"), ("paper", "uniform")]:  # fmt: skip
        energy = lmm.CosineDistance(y, bound) @ lmm.LinearMap(matrix, form=form)
        yield Case("cosine of A x", f"{bound}, {form}", energy, start)
    truth = normal(BATCH, UNKNOWNS, key=5)
    clean = truth @ tall.mT
    target = clean + 0.1 * normal(*clean.shape, key=6)
    for form in forms:
        energy = lmm.least_squares(lmm.LinearMap(tall, form=form), target)
        yield Case("least squares", form, energy, 0 * start)
    for loss in ("huber", "cauchy"):
        for form in forms:
            energy = lmm.HalfQuadratic(target, loss) @ lmm.LinearMap(tall, form=form)
            yield Case(f"{loss} of A x", form, energy, 0 * start)
    ridge = lmm.Quadratic(torch.zeros_like(start), 0.1)
    labels = clean.sign()
    for name, tight in (("tanh(z/2)/2z", True), ("1/4", False)):
        for form in forms[:2]:
            energy = lmm.Logistic(labels, tight) @ lmm.LinearMap(tall, form=form) + ridge
            yield Case("logistic, ridge", f"{name}, {form}", energy, 0 * start)
    scores = tall @ normal(BATCH, UNKNOWNS, CLASSES, key=7)
    classes = nn.functional.one_hot(scores.argmax(-1), CLASSES).double()
    flat = torch.zeros(BATCH, UNKNOWNS, CLASSES, dtype=torch.float64)
    for form in forms:
        energy = lmm.Softmax(classes) @ lmm.LinearMap(tall, form=form) + lmm.Quadratic(flat, 0.1)
        yield Case("softmax, ridge", f"Boehning, {form}", energy, flat)
    network = autoencoder()
    smoother = smoothing(UNKNOWNS)
    for bound in ("global", "scalar", "elementwise"):
        yield Case("autoencoder", bound, lmm.AutoencoderPrior(network, bound), start)
    for bound in ("global", "pointwise"):
        yield Case("smoother", bound, lmm.LinearSmootherPrior(smoother, bound), start)
    for data, bound in (("global", "global"), ("global", "scalar"), ("global", "elementwise"),
                        ("pointwise", "scalar")):  # fmt: skip
        energy = lmm.CosineDistance(y, data) @ matrix + lmm.AutoencoderPrior(network, bound)
        yield Case("cosine of A x + autoencoder", f"{data} + {bound}", energy, start)
    yield from measured("cosine of A x + autoencoder", energy, start)
    energy = lmm.Logistic(labels) @ tall + ridge
    yield from measured("logistic, ridge", energy, 0 * start)


def measured(name: str, energy: lmm.Atom, x0: Tensor) -> Iterator[Case]:
    """The same energy as a plain callable, its curvature measured by Hessian products."""
    fun = energy.__call__
    for steps in (5, 20):
        seeded = torch.Generator().manual_seed(SEED)
        for margin in (1.0, 1.1):
            majorant = lmm.PowerIterationMajorant(fun, steps, margin, generator=seeded)
            label = f"power iteration, {steps} products, margin {margin}"
            yield Case(name, label, fun, x0, majorant, steps)
    seeded = torch.Generator().manual_seed(SEED)
    majorant = lmm.LanczosMajorant(fun, generator=seeded)
    steps, _ = majorant.plan(x0[0].numel())
    yield Case(name, f"Lanczos, {steps} products", fun, x0, majorant, steps)


def autoencoder() -> nn.Sequential:
    """A network whose layers have norm one, so that its global bound means something."""
    wide = torch.linalg.qr(normal(UNKNOWNS, 8, key=8)).Q
    network = nn.Sequential(
        nn.Linear(UNKNOWNS, 8, dtype=torch.float64), nn.Tanh(),
        nn.Linear(8, UNKNOWNS, dtype=torch.float64),
    ).requires_grad_(False)  # fmt: skip
    network[0].weight.copy_(wide.mT)
    network[2].weight.copy_(wide)
    for index in (0, 2):
        network[index].bias.copy_(0.1 * normal(len(network[index].bias), key=9 + index))
    return network


def smoothing(n: int) -> Tensor:
    """Mean with the neighbours on a ring."""
    eye = torch.eye(n, dtype=torch.float64)
    return (eye.roll(1, 0) + eye.roll(-1, 0)) / 2


class Run(NamedTuple):
    """A case along its iterates."""

    case: Case
    kind: lmm.Kind
    ratios: Tensor  # bound over true curvature, flat, where the latter is positive
    plain: Tensor  # values of steps by the bound as it stands, (steps + 1, B)
    relaxed: Tensor


def bound_over_true(case: Case, bound: lmm.Bound, x: Tensor) -> Tensor:
    """``1 / lambda_max(B^{-1/2} H B^{-1/2})`` per problem, infinite where ``H`` bends down."""
    hessian = dense(lmm.hessian_product(case.energy, x), x)
    root = dense(lambda v: bound.curvature.power(v, -0.5), x)
    inner = root @ hessian @ root
    largest = torch.linalg.eigvalsh((inner + inner.mT) / 2)[:, -1]
    return torch.where(largest > 1e-12, 1 / largest, torch.inf)


@torch.no_grad()
def run(case: Case, steps: int) -> Run:
    """Ratios along the plain run; values with and without relaxation."""
    values, ratios, kind = [], [], lmm.Kind.GLOBAL
    for relaxation in (None, lmm.Relaxation()):
        optimizer = lmm.ProjectedMMOptimizer(
            case.energy, majorant=case.majorant, relaxation=relaxation, gtol=0
        )
        state = optimizer.init(case.x0)
        path = [state.value]
        for k in range(steps):
            if relaxation is None and k in LOOK_AT:
                bound = optimizer.majorant(state.x, state.aux)
                kind = bound.kind
                ratios.append(bound_over_true(case, bound, state.x))
            state, _ = optimizer.step(state)
            path.append(state.value)
        values.append(torch.stack(path))
    flat = torch.cat(ratios)
    return Run(case, kind, flat[torch.isfinite(flat)], *values)


def until(path: Tensor, best: Tensor) -> str:
    """Median over problems of the steps to the gap; with the share that got there, if not all."""
    there = path - best <= GAP * (path[0] - best)
    steps = torch.where(there.any(0), there.int().argmax(0), len(path))
    share = there.any(0).double().mean()
    median = int(steps.median())
    if median == len(path):
        return f"> {len(path) - 1} ({share:.0%})"
    return f"{median}" if share == 1 else f"{median} ({share:.0%})"


def rows(runs: list[Run]) -> list[str]:
    """Table rows of the runs of one objective, gaps measured from the best of all of them."""
    best = torch.stack([torch.minimum(r.plain[-1], r.relaxed[-1]) for r in runs]).amin(0)
    lines = []
    for case, kind, ratios, plain, relaxed in runs:
        proved = kind is lmm.Kind.GLOBAL
        lines.append(
            f"| {case.objective} | {case.bound} | {kind.name} | {float(ratios.median()):.3g} "
            f"| {float(ratios.min()):.3g} | {until(plain, best)} "
            f"| {'-' if proved else until(relaxed, best)} | {case.products or '-'} |"
        )
    return lines


def picture(runs: list[Run], path: Path) -> None:
    """Median and range of the ratios, a line per bound."""
    colors = {"GLOBAL": "C0", "POINTWISE": "C1", "PROBABLE": "C2", "ESTIMATE": "C3"}
    figure, axes = plt.subplots(figsize=(8, 0.19 * len(runs) + 1.2), layout="constrained")
    for index, one in enumerate(runs):
        low, middle, high = (float(one.ratios.quantile(q)) for q in (0, 0.5, 1))
        color = colors[one.kind.name]
        axes.plot([low, high], [index, index], color=color, lw=1.5, alpha=0.5)
        axes.plot(middle, index, "o", color=color, ms=4)
    names = [f"{one.case.objective}: {one.case.bound}" for one in runs]
    axes.set_yticks(range(len(runs)), names, fontsize=7)
    axes.invert_yaxis()
    axes.set_xscale("log")
    axes.axvline(1, color="k", lw=0.8)
    figure.supxlabel("bound / true curvature: range and median; 1 is perfect", fontsize=9)
    for name, color in colors.items():
        axes.plot([], [], "o-", color=color, label=name, ms=4)
    axes.legend(fontsize=7, loc="lower right")
    figure.savefig(path, dpi=150)


CHOOSING = Path(__file__).parent / "bounds_choosing.md"


def main() -> None:
    """Print the table, write it down and draw it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--output", type=Path, default=Path("benchmarks/results/bounds.md"))
    settings = parser.parse_args()
    torch.set_num_threads(1)

    console = Console(stderr=True)
    everything = sorted(cases(), key=lambda case: case.objective)
    runs = [run(case, settings.steps) for case in track(everything, "bounds", console=console)]
    table = [
        line
        for _, group in groupby(runs, key=lambda r: r.case.objective)
        for line in rows(list(group))
    ]
    promised = (lmm.Kind.GLOBAL, lmm.Kind.POINTWISE)
    least = min(float(one.ratios.min()) for one in runs if one.kind in promised)
    page = "\n".join(
        [
            "# What the bounds are worth",
            "",
            f"`python benchmarks/bounds.py`, seed {SEED}, torch {torch.__version__}, 1 thread, "
            f"{platform.machine()}; {BATCH} problems each, {UNKNOWNS} unknowns, float64, "
            f"{settings.steps} steps of the majorant.",
            "",
            "Ratio: bound over true curvature, `1 / lambda_max(B^(-1/2) H B^(-1/2))`, at iterates "
            f"{', '.join(map(str, LOOK_AT))} of the run without relaxation, where the Hessian "
            "bends up at all. Steps: until the gap to the best value found by any row of this "
            f"objective is {GAP:g} of the initial one, median over problems, refused steps "
            "included; in brackets the share of problems that get there. A step is one "
            "evaluation, and so many Hessian products. Only PROBABLE and ESTIMATE may fall "
            f"below one; the least ratio of GLOBAL and POINTWISE bounds is 1 {least - 1:+.0e}.",
            "",
            "| objective | bound | kind | ratio, median | worst | steps | steps, relaxed "
            "| products per bound |",
            "|---|---|---|---|---|---|---|---|",
            *table,
            "",
            f"![Bound over true curvature]({settings.output.stem}.png)",
            "",
            CHOOSING.read_text() if CHOOSING.exists() else "",
        ]
    )
    print(page)
    settings.output.parent.mkdir(parents=True, exist_ok=True)
    settings.output.write_text(page)
    picture(runs, settings.output.with_suffix(".png"))


if __name__ == "__main__":
    main()
