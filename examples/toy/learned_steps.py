"""What learning buys at equal guarantee: learned multipliers on instances never seen.

For every problem of the toy suite a small recurrent network is trained with `lmm.fit` to propose
multipliers, and so is a single number. Both are confined to the interval [0.001, 1.9998] of the
majorant's metric, and every step is verified, as are the majorant's own (multiplier 1).
Limited-memory steps, which nothing confines and which learn nothing, run beside. The functions of
Moré, Garbow and Hillstrom have one row here, and a table by ``learned_steps_mgh.py``.

``python examples/toy/learned_steps.py`` prints the table and writes
``examples/toy/results/learned_steps.md`` and ``learned_steps.png``.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib.pyplot as plt
import torch
from torch import Tensor
from torch.utils.data import Dataset

import learnmm as lmm
from learnmm.hardware import hardware
from learnmm_problems.image_deconvolution import ImageDeconvolutionProblem
from learnmm_problems.stencils import gaussian_blur, image_blur
from learnmm_problems.template_matching import quadrature_pairs

SEED = 11
BATCH, UNSEEN = 8, 16
BATCHES = 8
"""Batches of training instances; unseen ones come from seeds beyond theirs."""

HORIZON, STEPS, LONG = 12, 100, 300
"""Steps of a training solve, of an evaluation, and of the search for the best value."""

GAPS = (1e-1, 1e-2, 1e-3)
"""Shares of the initial distance to the best value."""

FLOOR = 1e-6
METHODS = ("own steps", "one number", "learned", "limited memory")


Network = Callable[[], lmm.LearnedPreconditioner]


class Entry(NamedTuple):
    """A problem, what learns on it, for how many steps, and in which precision."""

    problem: lmm.Problem
    network: Network
    training: int
    dtype: torch.dtype = torch.float32


def installed(
    name: str, training: int, network: Network = lmm.proposers.CoordinatewiseLSTM
) -> Entry:
    """Return an entry of a problem as it is installed."""
    return Entry(lmm.problem(name), network, training)


PHOTOGRAPHS = ImageDeconvolutionProblem(side=12, images="photographs", noise=0.02)
TEMPLATES = lmm.problem("template-matching")
# Networks see the singular coordinates of a map where all instances share one; where each batch
# draws its own, the same network serves every unknown.
SUITE: dict[str, Entry] = {
    "quadratic": installed("quadratic", 50),
    "logistic-regression": installed("logistic-regression", 50),
    "logistic-digits": installed("logistic-digits", 50),
    "softmax-regression": installed("softmax-regression", 50),
    "signal-deconvolution": installed(
        "signal-deconvolution",
        50,
        partial(lmm.proposers.SpectralLSTM, gaussian_blur(32, 1.5).float()),
    ),
    "image-deconvolution": Entry(
        PHOTOGRAPHS,
        partial(lmm.proposers.SpectralLSTM, image_blur(12, 12, PHOTOGRAPHS.blur).float()),
        40,
    ),
    "tomography": installed("tomography", 30),
    "cosine-regression": installed("cosine-regression", 50),
    "template-matching": Entry(
        TEMPLATES, partial(lmm.proposers.SpectralLSTM, quadrature_pairs(96, 8, 2).float()), 80
    ),
    "autoencoder-inverse": installed("autoencoder-inverse", 50),
    "matrix-factorisation": installed("matrix-factorisation", 30),
    "rosenbrock": installed("rosenbrock", 50),
    "mgh": installed("mgh", 50),
}


class Drawn:
    """A batch of instances, and the distance of each start from the best value known."""

    def __init__(self, problem: lmm.Problem, batch: int, seed: int, dtype: torch.dtype) -> None:
        exact, instance = (
            problem.instance(batch, generator=torch.Generator().manual_seed(seed), dtype=wanted)
            for wanted in (torch.float64, dtype)
        )
        self.objective, self.x0 = instance.objective, instance.x0
        # Where there are several minima, the least of all says little about one start.
        if exact.optimum is None or "other_minima" in exact.facts:
            rule = lmm.LimitedMemory(10)
            solver = exact.optimizer(
                proposer=rule, settings=lmm.SolveSettings(max_iter=LONG, gtol=1e-9)
            )
            self.best = solver.minimize(exact.x0).fun
        else:
            self.best = exact.optimum

    def gaps(self, values: Tensor) -> Tensor:
        """``(f_k - best) / (f_0 - best)``, ``(steps, B)``, for values from the start on."""
        above = values - self.best.to(values)
        return (above / above[:1]).clamp(min=FLOOR)


class Instances(Dataset[Drawn]):
    """Batches drawn once; one item is a whole batch, since its problems share a matrix."""

    def __init__(self, problem: lmm.Problem, batches: int, dtype: torch.dtype) -> None:
        seeds = range(SEED, SEED + batches)
        self.drawn = [Drawn(problem, BATCH, seed, dtype) for seed in seeds]

    def __len__(self) -> int:
        return len(self.drawn)

    def __getitem__(self, index: int) -> Drawn:
        return self.drawn[index]

    def collate(self, items: list[Drawn]) -> Drawn:
        """Return the only item."""
        return items[0]


def outer_loss(solved: lmm.unroll.Unrolled, drawn: Drawn) -> Tensor:
    """Mean logarithm of the gap over the steps: every step should gain."""
    return drawn.gaps(solved.values)[1:].log().mean()


def train(
    component: lmm.LearnedPreconditioner, data: Instances, steps: int, lr: float, progress: bool
) -> None:
    """Train in place, through a solve of fixed length."""
    solver = lmm.UnrolledMM(
        lambda drawn: drawn.objective,
        component,
        start=lambda drawn: drawn.x0,
        steps=HORIZON,
        settings=lmm.SolveSettings(projection=lmm.Projection(upper=1.9998)),
    )
    settings = lmm.FitSettings(
        steps=steps,
        batch_size=1,
        adam=lmm.AdamSettings(lr=lr, warmup=min(5, steps)),
        validate_every=max(1, steps // 4),
        seed=SEED,
    )
    lmm.fit(solver, data, outer_loss, settings, record=lmm.Record(progress=progress))


class Run(NamedTuple):
    """Median gap after every step, evaluations to the gaps, and what the certificate says."""

    gaps: Tensor
    evaluations: list[int | None]
    kind: str
    monotone: float
    refused: float


@torch.no_grad()
def evaluate(drawn: Drawn, component: Any) -> Run:
    """Solve unseen instances in float64. A step is one evaluation, refused or not."""
    whole = isinstance(component, lmm.LimitedMemory)
    optimizer = lmm.ProjectedMMOptimizer(
        drawn.objective,
        proposer=component,
        settings=lmm.SolveSettings(
            projection=None if whole else lmm.Projection(upper=1.9998), max_iter=STEPS, gtol=0.0
        ),
    )
    result = optimizer.minimize(drawn.x0, history=True)
    assert result.history is not None
    values = torch.cat([result.initial_fun[None], result.history.value])
    # Problems that have stopped at rounding keep their value.
    values = torch.cat([values, values[-1:].expand(STEPS + 1 - len(values), -1)])
    gaps = drawn.gaps(values).median(1).values
    reached = [(gaps <= gap).nonzero().flatten().tolist() for gap in GAPS]
    certificate = result.certificate
    return Run(
        gaps=gaps,
        evaluations=[steps[0] if steps else None for steps in reached],
        kind=certificate.kind.name,
        monotone=float(certificate.monotone.double().mean()),
        refused=float(certificate.rejected.sum() / result.iterations.sum().clamp(min=1)),
    )


def compare(entry: Entry, training: int, batches: int, progress: bool) -> dict[str, Run]:
    """Train both components on one problem, and run all methods on instances never seen."""
    torch.manual_seed(SEED)
    data = Instances(entry.problem, batches, entry.dtype)
    number, network = lmm.proposers.Constant(), entry.network()
    train(number, data, max(1, training // 3), 0.1, progress)
    train(network, data, training, 0.01, progress)
    unseen = Drawn(entry.problem, UNSEEN, SEED + 1000, torch.float64)
    rules = (None, number.double(), network.double(), lmm.LimitedMemory())
    return {method: evaluate(unseen, rule) for method, rule in zip(METHODS, rules, strict=True)}


def rows(name: str, runs: dict[str, Run]) -> list[str]:
    """Rows of the table for one problem."""
    lines = []
    for method, run in runs.items():
        gaps = " | ".join(f"{float(run.gaps[k]):.1e}" for k in (10, 30, 100))
        counts = " | ".join(f"> {STEPS}" if k is None else str(k) for k in run.evaluations)
        lines.append(
            f"| {name} | {method} | {run.kind} | {gaps} | {counts} | {run.monotone:.0%} "
            f"| {run.refused:.1%} |"
        )
    return lines


def picture(results: dict[str, dict[str, Run]], path: Path) -> None:
    """Median gap against evaluations, one panel per problem, and the legend in a spare one."""
    figure, axes = plt.subplots(-(-(len(results) + 1) // 4), 4, figsize=(13, 11), sharey=True)
    for axis, (name, runs) in zip(axes.flat, results.items(), strict=False):
        for method, run in runs.items():
            axis.semilogy(run.gaps, label=method, ls=":" if method == METHODS[-1] else "-")
        axis.set_title(name)
        axis.grid(alpha=0.3)
    for spare in axes.flat[len(results) :]:
        spare.axis("off")
    axes.flat[len(results)].legend(*axes.flat[0].get_legend_handles_labels(), loc="center")
    figure.supxlabel("evaluations of value and gradient")
    figure.supylabel("median gap, relative to the start")
    figure.tight_layout()
    figure.savefig(path, dpi=100)


def main() -> None:
    """Train, compare, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, default=Path("examples/toy/results"))
    output: Path = parser.parse_args().output
    results, lines = {}, []
    began = time.perf_counter()
    for name, entry in SUITE.items():
        results[name] = compare(entry, entry.training, BATCHES, progress=True)
        lines += rows(name, results[name])
        print("\n".join(rows(name, results[name])), flush=True)
    minutes = (time.perf_counter() - began) / 60
    head = [
        "# What learning buys at equal guarantee",
        "",
        f"`python examples/toy/learned_steps.py`, seed {SEED}, torch {torch.__version__}, "
        f"{hardware()}; {minutes:.1f} minutes in all, "
        f"training included. Training: {BATCHES} batches of {BATCH} instances, {HORIZON} steps, "
        f"float32. Evaluation: {UNSEEN} unseen instances, float64; of mgh, {UNSEEN - 1}, and the "
        "standard start, which every batch has.",
        "",
        "Gap: median of `(f_k - best) / (f_0 - best)`; 1e-06 means that or less. A step is one "
        "evaluation, refused or not. Own steps, one number and learned are confined to the "
        "majorant's interval and verified; limited memory is verified alone. Bounds below `REGION` "
        "are relaxed as far as steps allow; those by Lanczos (`PROBABLE`) cost Hessian-vector "
        "products, which are not counted.",
        "",
        "| problem | method | bound | gap after 10 | 30 | 100 | evaluations to 1e-1 | 1e-2 | 1e-3 "
        "| monotone | refused |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    output.mkdir(parents=True, exist_ok=True)
    tail = ["", "![Median gap against evaluations](learned_steps.png)", "", "[Why](notes.md)", ""]
    (output / "learned_steps.md").write_text("\n".join(head + lines + tail))
    picture(results, output / "learned_steps.png")


if __name__ == "__main__":
    main()
