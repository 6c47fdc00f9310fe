"""What the paper's interval does to MM-Net as printed: how far ten confined steps can go.

Run with ``python examples/esi/printed.py WEIGHTS`` on weights of ``mm-net-a`` from noise, as
``equal_training.py`` trains them. On test recordings, from the noise of the paper: the trained
network in its interval (Eq. 13), every multiplier at the end of the interval, the majorant's own
steps, and limited memory, which learns nothing and is verified. Writes ``printed.md``.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import ablation  # registers the paper's own
import numpy as np
import torch
from rich.console import Console
from rich.progress import track
from table1_rows import markdown
from torch import Tensor

import learnmm as lmm
from learnmm.hardware import hardware
from learnmm.storage import load_notes, replacing
from learnmm_esi import ERPSimulator, Evaluator, SourceSolver, load_solver
from learnmm_esi.metrics import SourceMetrics
from learnmm_esi.simulation.samples import Sample

HERE = Path(__file__).parent
LOOKS = (0, 1, 3, 10, 30, 100, 300)
WITHIN = 10  # steps whose lengths are looked at
FACTORS = 2.0 ** torch.arange(0, 31)  # on a step
LONG = 3000  # steps to the least value
BATCH = 32
NETWORK, END = "the network, in the interval", "the end of the interval"

PAGE = """# What the printed interval allows

MM-Net as the paper prints it: multipliers within Eq. 13's interval of the uniform bound, the
paper's noise as the first iterate, its prior and loss, ten steps. {samples} test recordings of
event-related potentials; weights of {trained} steps of {batch} recordings, the best of
which by validation were those after {best}.

*Decrease*: how much of the energy between the first iterate and the least value found
({long} steps of limited memory) has gone, median over recordings. *Way*: distance from the first
iterate over that from there to where the least value was found. LE in mm, AUC times 100, PSNR in
dB.

{progress}

Single steps of the two that the interval confines. *Clipped*: multipliers that the interval
changed. *Allowed*: by what the step could have been multiplied, doubled again and again while that
lowers the energy, median and least over recordings.

{steps}

## Read

- The paper's row for ten steps is 3.92 mm, 99.90 and 38.74 dB: compare the rows after 10 steps.
  From one iterate no step in the interval is longer, entry by entry, than that to its end; over
  ten steps the network goes about as far.
- Steps are short for the bound's sake and not for descent's: see how much longer they could be.
- Limited memory, after 300 steps, shows what the energy itself asks for. It is no better there:
  the prior, trained through ten such steps, knows too little, and more steps do not help.
- So the printed interval, from noise and with this training, does not give Table I. What the
  paper's code does beyond what is printed, such as another scale of the bound, is not known.

`{command}`, {hardware}.
"""


class Ends(lmm.Proposer):
    """Every multiplier beyond the interval, which the projection takes to its upper end."""

    def propose(self, point: lmm.Point, memory: object) -> lmm.Multipliers:
        """Propose more than any interval allows."""
        return lmm.Multipliers(torch.full_like(point.x, 1e6))


class Run(NamedTuple):
    """Of one batch: by number of steps, and by step; the last two ``(B,)`` each."""

    iterates: dict[int, Tensor]
    clipped: list[Tensor]
    allowed: list[Tensor]


def follow(optimizer: lmm.ProjectedMMOptimizer, start: Tensor) -> Run:
    """Run to the last look, and see how much longer the first steps could be."""
    run = Run({0: start}, [], [])
    before, taken = start, 0

    def look(state: lmm.State, info: lmm.StepInfo) -> bool:
        nonlocal before, taken
        taken += 1
        if taken <= WITHIN:
            run.clipped.append(info.clipped)
            run.allowed.append(allowed(optimizer.objective, before, state.x))
        if taken in LOOKS:
            run.iterates[taken] = state.x
        before = state.x
        return False

    result = optimizer.minimize(start, callback=look)
    for step in LOOKS:  # all problems may have come to rest before
        run.iterates.setdefault(step, result.x)
    return run


def allowed(objective: lmm.Objective, x: Tensor, candidate: Tensor) -> Tensor:
    """Return the largest factor on a step, a power of two, up to which doubling it always pays."""
    step, value = candidate - x, objective(x)
    found = torch.zeros_like(value)
    falls = torch.ones_like(value, dtype=torch.bool)
    for factor in FACTORS.tolist():
        longer = objective(x + factor * step)
        falls &= longer < value
        found = torch.where(falls, factor, found)
        value = longer
    return found


def optimizers(solver: SourceSolver, energy: lmm.Atom) -> dict[str, lmm.ProjectedMMOptimizer]:
    """Everything that is compared, on one energy."""
    confined = replace(ablation.INTERVAL, max_iter=max(LOOKS))
    free = lmm.SolveSettings(max_iter=max(LOOKS))
    return {
        name: lmm.ProjectedMMOptimizer(energy, proposer=proposer, settings=settings)
        for name, proposer, settings in (
            (NETWORK, solver.proposer, confined),
            (END, Ends(), confined),
            ("the majorant's own steps", None, free),
            ("limited memory, verified", lmm.LimitedMemory(), free),
        )
    }


class Compared(NamedTuple):
    """One way to step on one batch: by number of steps, and of its single steps."""

    decrease: dict[int, Tensor]
    way: dict[int, Tensor]
    metrics: dict[int, SourceMetrics]
    clipped: list[Tensor]
    allowed: list[Tensor]


@torch.no_grad()
def compared(solver: SourceSolver, batch: Sample, compare: Evaluator) -> dict[str, Compared]:
    """Every way to step on one batch of recordings."""
    y = solver.energy.normalized(torch.from_numpy(batch.sensors))
    start, energy = solver.energy.start(y), solver.energy(y)
    least = lmm.minimize(
        energy, start, proposer=lmm.LimitedMemory(), settings=lmm.SolveSettings(max_iter=LONG)
    )
    first = energy(start)
    rows = {}
    for name, optimizer in optimizers(solver, energy).items():
        run = follow(optimizer, start)
        rows[name] = Compared(
            {k: (first - energy(x)) / (first - least.fun) for k, x in run.iterates.items()},
            {k: distance(x, start) / distance(least.x, start) for k, x in run.iterates.items()},
            {
                k: compare(batch.sources, x.double().numpy(), batch.seed_source)
                for k, x in run.iterates.items()
            },
            run.clipped,
            run.allowed,
        )
    return rows


def distance(x: Tensor, y: Tensor) -> Tensor:
    """Euclidean, per problem."""
    return (x - y).flatten(1).norm(dim=1)


def progress_table(parts: list[dict[str, Compared]]) -> str:
    """How far every way to step has come after every number of steps."""
    lines = []
    for name in parts[0]:
        for step in LOOKS:
            metrics = [part[name].metrics[step] for part in parts]
            decrease, way = (
                torch.cat([getattr(part[name], what)[step] for part in parts]).median().item()
                for what in ("decrease", "way")
            )
            means = [
                float(np.concatenate([getattr(m, what) for m in metrics]).mean())
                for what in ("localization_error", "auc", "psnr")
            ]
            lines.append(
                [
                    name,
                    *(str(step), percent(decrease), percent(way)),
                    *(f"{means[0]:.2f}", f"{100 * means[1]:.2f}", f"{means[2]:.2f}"),
                ]
            )
    return markdown(("steps of", "number", "decrease", "way", "LE", "AUC", "PSNR"), lines)


def steps_table(parts: list[dict[str, Compared]]) -> str:
    """The single steps within the interval."""
    lines = []
    for name in (NETWORK, END):
        for step in range(WITHIN):
            clipped, longer = (
                torch.cat([getattr(part[name], what)[step] for part in parts])
                for what in ("clipped", "allowed")
            )
            lines.append(
                [
                    name,
                    *(str(step + 1), percent(clipped.mean().item())),
                    *(f"{longer.median().item():,.0f}", f"{longer.min().item():,.0f}"),
                ]
            )
    return markdown(("steps of", "step", "clipped", "allowed, median", "allowed, least"), lines)


def percent(share: float) -> str:
    """Of a share, with three digits where it is small."""
    return f"{100 * share:.3g} %"


def main() -> None:
    """Read the options, print and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("weights", type=Path, help="of mm-net-a from noise")
    parser.add_argument("--samples", type=int, default=128)
    parser.add_argument("--seed", type=int, default=2, help="of the test set")
    parser.add_argument("--out", type=Path, default=HERE / "results")
    options = parser.parse_args()
    torch.set_num_threads(1)

    solver = load_solver(options.weights)
    simulator = ERPSimulator(solver.head, seed=options.seed)
    compare = Evaluator(solver.head, simulator.sfreq)
    firsts = range(0, options.samples, BATCH)
    parts = [
        compared(
            solver, simulator.batch(range(first, min(first + BATCH, options.samples))), compare
        )
        for first in track(firsts, "recordings", console=Console(stderr=True))
    ]
    notes = load_notes(options.weights)
    text = PAGE.format(
        samples=options.samples,
        trained=notes["steps"],
        batch=notes["batch_size"],
        best=notes["best_step"],
        long=LONG,
        progress=progress_table(parts),
        steps=steps_table(parts),
        command=f"python examples/esi/printed.py WEIGHTS --samples {options.samples}",
        hardware=hardware(),
    )
    options.out.mkdir(parents=True, exist_ok=True)
    with replacing(options.out / "printed.md") as beside:
        beside.write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
