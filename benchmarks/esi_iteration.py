"""What a certified step costs on the EEG energy, and how it compares with L-BFGS.

Two tables, from one run on 994 sources x 64 samples, batch 32, float32:

1. time of one optimizer step over time of value and gradient, and network passes per step;
2. time and evaluations until the whole batch has reached the energies at which torch's L-BFGS
   (strong Wolfe, one problem at a time) ends after 100 iterations.

``make bench`` prints them and writes ``benchmarks/results/esi_iteration.md``.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import NamedTuple

import torch
from rich.console import Console
from rich.progress import track
from torch import Tensor, nn

import learnmm as lmm
from benchmarks.pages import arguments, made_by, table, write
from benchmarks.timing import paired_times, ratio
from learnmm.objective import differentiate
from learnmm_esi.head.fsaverage import fsaverage_head_model
from learnmm_esi.head.settings import HeadModelSettings
from learnmm_esi.inverse.energy import SourceEnergy
from learnmm_esi.simulation.erp import ERPSimulator

SEED = 7
COSTS = ("prior", "step", "ms", "over autograd's value and gradient")
COSTS += ("over the atom's own closed form", "network passes")
RACES = ("prior", "bound", "steps", "mean energy", "L-BFGS s", "its evaluations per problem")
RACES += ("reached", "learnmm s", "its evaluations", "time ratio", "monotone")
Make = Callable[[Tensor], lmm.Atom]


class Baseline(NamedTuple):
    """Where L-BFGS ended, and what that cost."""

    energy: Tensor
    seconds: float
    evaluations: float


console = Console(stderr=True)


def autoencoder(model, steps: int) -> nn.Sequential:
    """Train the paper's autoencoder briefly on simulated sources: a prior that means something."""
    torch.manual_seed(SEED)
    network = nn.Sequential(
        nn.Conv1d(994, 128, 3, padding=1, bias=False), lmm.SoftReLU(),
        nn.Conv1d(128, 128, 3, padding=1, bias=False), lmm.SoftReLU(),
        nn.Conv1d(128, 994, 3, padding=1, bias=False),
    )  # fmt: skip
    simulator = ERPSimulator(model, seed=SEED)
    adam = torch.optim.Adam(network.parameters(), lr=1e-3)
    for step in track(range(steps), "training the autoencoder", console=console):
        x = torch.tensor(simulator.batch(range(32 * step, 32 * step + 32)).sources)
        x = x / x.abs().amax((1, 2), keepdim=True)
        loss = (1 - torch.cosine_similarity(x.flatten(1), network(x).flatten(1))).mean()
        adam.zero_grad()
        loss.backward()
        adam.step()
    return network.requires_grad_(False)


@torch.no_grad()
def step_cost(name: str, energy: lmm.Atom, x0: Tensor, network: nn.Module | None, repeats: int):
    """One row: what a step costs over value and gradient."""
    passes = 0

    def count(*_: object) -> None:
        nonlocal passes
        passes += 1

    handle = network[0].register_forward_hook(count) if network is not None else None
    rows = []
    for kind, proposer in (("own step", None), ("with multipliers", lmm.proposers.Constant())):
        optimizer = lmm.ProjectedMMOptimizer(energy, proposer=proposer)
        state, _ = optimizer.step(optimizer.init(x0))
        passes = 0
        optimizer.step(state)
        per_step = passes
        step, closed, autograd = paired_times(
            lambda optimizer=optimizer, state=state: optimizer.step(state),
            lambda state=state: energy.evaluate(state.x),
            lambda state=state: differentiate(energy.measure, state.x),
            repeats=repeats,
        )
        milliseconds = 1e3 * statistics.median(step)
        counted = str(per_step) if network is not None else "-"
        rows.append(
            f"| {name} | {kind} | {milliseconds:.0f} | {ratio(step, autograd):.2f} "
            f"| {ratio(step, closed):.2f} | {counted} |"
        )
    if handle is not None:
        handle.remove()
    return rows


def lbfgs(energy: lmm.Atom, x0: Tensor, iterations: int) -> tuple[float, int]:
    """Run torch's L-BFGS on one problem; final energy and evaluations."""
    x = x0.clone().requires_grad_()
    optimizer = torch.optim.LBFGS(
        [x], max_iter=iterations, max_eval=10 * iterations, line_search_fn="strong_wolfe",
        tolerance_grad=0, tolerance_change=0,
    )  # fmt: skip
    evaluations = 0

    def closure() -> Tensor:
        nonlocal evaluations
        evaluations += 1
        optimizer.zero_grad()
        value = energy(x).sum()
        value.backward()
        return value

    optimizer.step(closure)
    with torch.no_grad():
        return float(energy(x)), evaluations


def baseline(name: str, make: Make, y: Tensor, x0: Tensor, iterations: int) -> Baseline:
    """L-BFGS, problem by problem."""
    begin = time.perf_counter()
    ends = [
        lbfgs(make(y[i : i + 1]), x0[i : i + 1], iterations)
        for i in track(range(len(y)), f"L-BFGS, {name}", console=console)
    ]
    seconds = time.perf_counter() - begin
    energies, evaluations = zip(*ends, strict=True)
    return Baseline(torch.tensor(energies), seconds, statistics.mean(evaluations))


COMPONENTS = {"own": None, "limited memory": lmm.LimitedMemory()}


def race(
    name: str, kind: str, make: Make, y: Tensor, x0: Tensor, theirs: Baseline, steps: int
) -> str:
    """One row: the whole batch at once, until every problem is where L-BFGS ended."""
    optimizer = lmm.ProjectedMMOptimizer(
        make(y), proposer=COMPONENTS[kind], settings=lmm.SolveSettings(max_iter=steps, gtol=0)
    )
    reached = torch.zeros(len(y), dtype=torch.bool)

    def all_there(state: lmm.State, _: lmm.StepInfo) -> bool:
        reached.logical_or_(state.value <= theirs.energy)
        return bool(reached.all())

    begin = time.perf_counter()
    result = optimizer.minimize(x0, callback=all_there, progress=True)
    ours = time.perf_counter() - begin
    return (
        f"| {name} | {result.certificate.kind.name} | {kind} | {theirs.energy.mean():.4f} "
        f"| {theirs.seconds:.1f} | {theirs.evaluations:.0f} | {int(reached.sum())} of {len(y)} "
        f"| {ours:.1f} | {int(result.iterations.max())} | {ours / theirs.seconds:.3f} "
        f"| {int(result.certificate.monotone.sum())} of {len(y)} |"
    )


def main() -> None:
    """Print both tables and write them down."""
    parser = arguments("esi_iteration", __doc__)
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--training-steps", type=int, default=150)
    parser.add_argument("--lbfgs-iterations", type=int, default=100)
    parser.add_argument("--max-steps", type=int, default=300)
    parser.add_argument("--batch", type=int, default=32)
    settings = parser.parse_args()

    model = fsaverage_head_model(HeadModelSettings(ico=3), progress=True)
    recordings = ERPSimulator(model, seed=SEED + 1).batch(range(settings.batch))
    proved, verified = (SourceEnergy(model, bound=bound) for bound in ("global", "pointwise"))
    y = torch.tensor(recordings.sensors)
    y = y / torch.linalg.vector_norm(y, dim=(1, 2), keepdim=True)
    network = autoencoder(model, settings.training_steps)
    prior = lmm.AutoencoderPrior(network)
    x0 = torch.randn(settings.batch, 994, y.shape[2], generator=torch.Generator().manual_seed(SEED))

    def with_network(target: Tensor) -> lmm.Atom:
        return lmm.CosineDistance(target) @ proved.leadfield + prior

    costs = step_cost("smoother", proved(y), x0, None, settings.repeats)
    costs += step_cost("autoencoder", with_network(y), x0, network, settings.repeats)
    iterations, steps = settings.lbfgs_iterations, settings.max_steps
    smoother = baseline("smoother", proved, y, x0, iterations)
    learned = baseline("autoencoder", with_network, y, x0, iterations)
    entries = (
        ("smoother", proved, smoother),
        ("smoother", verified, smoother),
        ("autoencoder", with_network, learned),
    )
    races = [
        race(name, kind, make, y, x0, theirs, steps)
        for name, make, theirs in entries
        for kind in COMPONENTS
    ]
    write(
        [
            "# The EEG energy: cost of a step, and a race with L-BFGS",
            "",
            f"{made_by('esi_iteration', SEED)}; batch {settings.batch}, "
            "994 sources x 64 samples, float32, structured bounds. Times are medians of runs in "
            "turn; ratios are paired.",
            "",
            *table(COSTS, costs),
            f"Until the whole batch is where L-BFGS ends after {settings.lbfgs_iterations} "
            "iterations, from noise:",
            "",
            *table(RACES, races),
        ],
        settings.output,
    )


if __name__ == "__main__":
    main()
