"""What the solver that learns nothing is worth on any cap, beside sLORETA and a fixed weight.

Caps are electrodes drawn from the 90 of the head model, by chance. For each cap, signal-to-noise
ratio and number of patches: the localisation error over all regions in mm, the AUC in per cent and
the PSNR in dB, means over the recordings, of sLORETA (lambda2 = 1/25), of the start alone, and
after so many steps of the one solve. The first table has the steps of a fixed weight beside them.

    python -m benchmarks.eeg_noise

prints both tables and writes ``benchmarks/results/eeg_noise.md``.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track

import learnmm as lmm
from benchmarks.pages import arguments, made_by, table, write
from learnmm_esi.head.fsaverage import fsaverage_head_model
from learnmm_esi.head.model import HeadModel
from learnmm_esi.head.settings import HeadModelSettings
from learnmm_esi.inverse.classical import apply_kernel, inverse_kernel
from learnmm_esi.inverse.energy import SourceEnergy
from learnmm_esi.inverse.evidence import EvidenceEnergy
from learnmm_esi.metrics import Evaluator
from learnmm_esi.simulation.erp import ERPSimulator
from learnmm_esi.simulation.patches import PatchSettings

SEED = 17
CAPS = (19, 32, 64, 90)
STEPS = (10, 30, 60, 100)
HARDER = ((-5.0, 1), (20.0, 1), (5.0, 2), (5.0, 3), (-5.0, 3), (20.0, 3))  # dB, patches
BATCH = 20

console = Console(stderr=True)


def cap(model: HeadModel, channels: int) -> HeadModel:
    """The head with some of its electrodes, referenced to their average."""
    chosen = np.random.default_rng([SEED, channels]).permutation(len(model.leadfield))
    leadfield = model.leadfield[np.sort(chosen[:channels])]
    return replace(model, leadfield=leadfield - leadfield.mean(axis=0))


def kept(optimizer: lmm.ProjectedMMOptimizer, start: torch.Tensor, steps: tuple[int, ...]) -> Any:
    """Iterates of one solve after so many steps."""
    iterates = [start]

    def keep(state: lmm.State, _: lmm.StepInfo) -> None:
        iterates.append(state.x.clone())

    optimizer.minimize(start, callback=keep)
    return [iterates[min(step, len(iterates) - 1)] for step in steps]


def from_noise(energy: EvidenceEnergy, y: NDArray[Any], steps: tuple[int, ...]) -> list[Any]:
    """Estimates after so many steps of the solver that takes its weight from the noise."""
    problem = energy.problem(y)
    optimizer = lmm.ProjectedMMOptimizer(
        problem.objective,
        proposer=problem.proposer,
        settings=lmm.SolveSettings(max_iter=max(steps), rtol=1e-5),
    )
    return [energy.sources(problem, x).numpy() for x in kept(optimizer, problem.start, steps)]


def fixed(energy: SourceEnergy, y: NDArray[Any], steps: tuple[int, ...]) -> list[Any]:
    """Estimates after so many steps of the smoothness prior with a fixed weight."""
    optimizer = lmm.ProjectedMMOptimizer(
        energy(y), settings=lmm.SolveSettings(max_iter=max(steps), rtol=1e-5)
    )
    return [x.numpy() for x in kept(optimizer, energy.start(y), steps)]


def cells(model: HeadModel, setting: tuple[float, int], count: int, methods: Any) -> list[str]:
    """One cell for sLORETA, and one for every estimate of the methods."""
    snr_db, patches = setting
    simulator = ERPSimulator(model, seed=SEED, snr_db=snr_db, patches=PatchSettings(patches))
    evaluate = Evaluator(model, simulator.sfreq)
    kernel = inverse_kernel(model.leadfield)
    sums: list[list[Any]] = []
    name = f"{len(model.leadfield)} channels, {snr_db:g} dB, {patches} patches"
    for first in track(range(0, count, BATCH), name, console=console):
        truth = simulator.batch(range(first, min(first + BATCH, count)))
        estimates = [apply_kernel(kernel, truth.sensors)]
        for method in methods:
            estimates += method(truth.sensors)
        judged = [evaluate(truth.sources, x, truth.seed_source) for x in estimates]
        sums = [[one] for one in judged] if not sums else [
            [*before, one] for before, one in zip(sums, judged, strict=True)
        ]  # fmt: skip
    means = [type(parts[0]).concatenate(parts).summary() for parts in sums]
    return [
        f"{m['localization_error_global']:.1f} / {100 * m['auc']:.1f} / {m['psnr']:.1f}"
        for m in means
    ]


def main() -> None:
    """Print both tables and write them down."""
    parser = arguments("eeg_noise", __doc__)
    parser.add_argument("--recordings", type=int, default=200)
    parser.add_argument("--harder", type=int, default=60, help="recordings of a further setting")
    settings = parser.parse_args()
    head = fsaverage_head_model(HeadModelSettings(ico=3), progress=True)
    first, second = [], []
    for channels in CAPS:
        model = cap(head, channels)
        evidence, smooth = EvidenceEnergy(model), SourceEnergy(model)
        easy = [
            lambda y, e=evidence: from_noise(e, y, (0, *STEPS)),
            lambda y, e=smooth: fixed(e, y, STEPS[:2]),
        ]
        row = cells(model, (5.0, 1), settings.recordings, easy)
        first.append(f"| {channels} | {' | '.join(row)} |")
        for setting in HARDER:
            hard = [lambda y, e=evidence: from_noise(e, y, (0, *STEPS[:2]))]
            row = cells(model, setting, settings.harder, hard)
            second.append(f"| {channels} | {setting[0]:g} | {setting[1]} | {' | '.join(row)} |")
    counted = [f"{step} steps" for step in STEPS]
    write(
        [
            "# The prior's weight from the noise",
            "",
            f"{made_by('eeg_noise', SEED)}; event-related potentials of cortical patches, 64 "
            "samples, random caps of the 90 electrodes. Every cell: localisation error over all "
            "regions in mm / AUC in per cent / PSNR in dB.",
            "",
            f"One patch, 5 dB, {settings.recordings} recordings:",
            "",
            *table(
                (
                    "channels",
                    "sLORETA",
                    "start",
                    *counted,
                    *(f"weight 1, {c}" for c in counted[:2]),
                ),
                first,
            ),
            f"Other settings, {settings.harder} recordings each; of several patches the first is "
            "the one that the place is judged by:",
            "",
            *table(("channels", "dB", "patches", "sLORETA", "start", *counted[:2]), second),
        ],
        settings.output,
    )


if __name__ == "__main__":
    main()
