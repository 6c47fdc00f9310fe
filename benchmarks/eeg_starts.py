"""What the learned start of the shipped weights is worth, what steps add, and what is refused.

The first table has recordings as the paper's, but for what a row says: the localisation error over
all regions, AUC and PSNR of sLORETA (lambda2 = 1/25), of the linear estimate of the leading
components with the noise's own regularisation, of the solver that learns nothing, of the learned
start, and after steps that nobody judges. The second asks the verdict about recordings over the
ranges of training, and beyond them: how far learned and linear starts, and the solver that learns
nothing, are from the nearest true seed, over all and where it refuses.
Last, how well its facts tell learned starts that are the worse ones (area under the ROC curve of a
logistic regression on the first half of the recordings over ranges, measured on the second).

    python -m benchmarks.eeg_starts

prints all of it and writes ``benchmarks/results/eeg_starts.md``.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from benchmarks.pages import arguments, made_by, table, write
from learnmm_esi.inverse.classical import apply_kernel, inverse_kernel
from learnmm_esi.inverse.evidence import EvidenceEnergy
from learnmm_esi.metrics import Evaluator, SourceMetrics
from learnmm_esi.networks.energy import LearnedEnergy
from learnmm_esi.networks.files import load_solver
from learnmm_esi.networks.solver import SourceSolver
from learnmm_esi.networks.verdict import facts, linear_start
from learnmm_esi.recordings.learned import find_weights
from learnmm_esi.simulation.data_sets import load_protocol
from learnmm_esi.simulation.ranges.simulator import Group, PatchRange, Ranges, RangeSimulator
from learnmm_esi.training.judging import nearest_seed

SEED = 77
STEPS = (2, 8, 30)
WORSE = 1.1, 3.0  # a start is the worse one if it is farther off by a tenth and so many mm
TOGETHER = 16

console = Console(stderr=True)


def rows_of_starts(wide: Ranges, paper: Ranges) -> dict[str, Ranges]:
    """Recordings as the paper's, one thing changed."""

    def cap(count: int) -> Ranges:
        return replace(
            paper, caps=replace(wide.caps, electrodes=(count, count), bad=0.0, jitter=0.0)
        )

    def noise(**changes: Any) -> Ranges:
        return replace(cap(64), noise=replace(paper.noise, **changes))

    return {
        "the paper's own": paper,
        **{f"{count} electrodes": cap(count) for count in (19, 32, 64, 128, 256)},
        **{f"64, {snr:g} dB": noise(snr_db=(snr, snr)) for snr in (-5.0, 0.0, 10.0, 20.0)},
        "64, noise of the brain": noise(background=(1.0, 1.0)),
    }


def rows_of_verdict(wide: Ranges) -> dict[str, Ranges]:
    """Recordings over the ranges of training, and beyond them."""
    noise, heads = wide.noise, wide.heads
    return {
        "ranges of training": wide,
        "20 dB": replace(wide, noise=replace(noise, snr_db=(20.0, 20.0))),
        "focal, anywhere directed, 15 to 25 dB": replace(
            wide,
            patches=PatchRange(counts=(1.0,), hops=(0, 1)),
            noise=replace(noise, snr_db=(15.0, 25.0)),
            heads=replace(heads, tilt=3.0, known=1.0),
        ),
        "electrodes misplaced by 15 mm": replace(wide, caps=replace(wide.caps, jitter=0.015)),
        "mostly noise": replace(wide, noise=replace(noise, snr_db=(-25.0, -8.0))),
        "channels in another order": wide,
    }


@dataclass(frozen=True, eq=False)
class Judged:
    """Of recordings: facts, whether the start is accepted, and how far off estimates are, mm."""

    facts: NDArray[np.float64]
    accepted: NDArray[np.bool_]
    learned: NDArray[np.float64]
    linear: NDArray[np.float64]
    unlearned: NDArray[np.float64]

    def among(self, some: NDArray[np.bool_]) -> str:
        """Means of some recordings, for a cell."""
        apart = self.learned, self.linear, self.unlearned
        return " / ".join(f"{one[some].mean():.1f}" for one in apart) if some.any() else "–"


def groups(settings: Ranges, recordings: int, name: str) -> Any:
    """Simulated groups, with a bar."""
    simulator = RangeSimulator(
        replace(settings, together=TOGETHER), SEED, max(1, recordings // TOGETHER)
    )
    return track(simulator, name, console=console)


@torch.no_grad()
def start_cells(solver: SourceSolver, some: Any) -> list[str]:
    """One cell for each estimate."""
    energy, parts = solver.energy, []
    for group in some:
        solver.see(group.model.leadfield)
        seen = energy.look(torch.from_numpy(group.sensors))
        y = energy.normalized(group.sensors)
        assert energy.sharpener is not None
        estimates: list[Any] = [
            apply_kernel(inverse_kernel(group.model.leadfield), group.sensors),
            linear_start(energy.sight, seen).sum(),
            EvidenceEnergy(group.model).reconstruct(group.sensors).sources,
            energy.sharpener(energy.sight, seen).sum(),
        ]
        start = energy.start(y)
        estimates += [solver.optimizer(y, steps).minimize(start).x for steps in STEPS]
        judge = Evaluator(group.model, group.timing.sfreq)
        parts.append([judge(group.sources, x, group.seed_sources[:, 0]) for x in estimates])
    means = [SourceMetrics.concatenate(list(one)).summary() for one in zip(*parts, strict=True)]
    return [
        f"{m['localization_error_global']:.1f} / {100 * m['auc']:.1f} / {m['psnr']:.1f}"
        for m in means
    ]


@torch.no_grad()
def judged(energy: LearnedEnergy, some: Any, shuffled: bool) -> Judged:
    """Ask the verdict about recordings, their channels in another order or not."""
    parts = []
    for number, group in enumerate(some):
        sensors = group.sensors
        if shuffled:
            order = np.random.default_rng([SEED, number]).permutation(sensors.shape[1])
            sensors = sensors[:, order]
        energy.see(group.model.leadfield)
        seen = energy.look(torch.from_numpy(sensors))
        assert energy.sharpener is not None
        assert energy.verdict is not None
        answer, linear = energy.sharpener(energy.sight, seen), linear_start(energy.sight, seen)
        found = facts(energy.sight, seen, answer)
        sources = EvidenceEnergy(group.model).reconstruct(sensors).sources
        maps = answer.maps, linear.maps, torch.from_numpy(sources).movedim(2, 1)
        apart = [main_place(group, one) for one in maps]
        parts.append((found.double().numpy(), energy.verdict(found).numpy(), *apart))
    return Judged(*(np.concatenate(one) for one in zip(*parts, strict=True)))


def main_place(group: Group, maps: torch.Tensor) -> NDArray[np.float64]:
    """Distance of the strongest region of maps from the nearest true seed, mm."""
    return nearest_seed(group, maps.square().sum(1).argmax(1).numpy())


def verdict_row(name: str, found: Judged) -> str:
    """One line of the second table."""
    refused = ~found.accepted
    handed = np.where(found.accepted, found.learned, found.linear).mean()
    share, overall = f"{100 * refused.mean():.0f} %", found.among(refused | True)
    return f"| {name} | {share} | {overall} | {handed:.1f} | {found.among(refused)} |"


def told_apart(found: Judged) -> float:
    """Area under the ROC curve of telling worse starts by all facts."""
    worse = found.learned > WORSE[0] * found.linear + WORSE[1]
    half = len(worse) // 2
    spread = found.facts[:half].std(0)
    scaled = (found.facts - found.facts[:half].mean(0)) / np.where(spread > 0, spread, 1.0)
    model = LogisticRegression().fit(scaled[:half], worse[:half])
    return float(roc_auc_score(worse[half:], model.predict_proba(scaled[half:])[:, 1]))


def main() -> None:
    """Print both tables and write them down."""
    parser = arguments("eeg_starts", __doc__)
    parser.add_argument("--recordings", type=int, default=128, help="of a row")
    parser.add_argument("--judged", type=int, default=480, help="of a row of the verdict")
    settings = parser.parse_args()
    protocol = load_protocol("ranges")
    wide, (_, paper) = protocol.settings, protocol.also[0]
    assert isinstance(wide, Ranges)
    solver = load_solver(find_weights("mm-net"))
    starts = [
        f"| {name} | {' | '.join(start_cells(solver, groups(ranges, settings.recordings, name)))} |"
        for name, ranges in rows_of_starts(wide, paper).items()
    ]
    verdicts = {
        name: judged(solver.energy, groups(ranges, settings.judged, name), "order" in name)
        for name, ranges in rows_of_verdict(wide).items()
    }
    steps = [f"{count} steps" for count in STEPS]
    write(
        [
            "# Learned starts",
            "",
            f"{made_by('eeg_starts', SEED)}; weights `mm-net`.",
            "",
            f"One patch, {settings.recordings} recordings a row, on the template: localisation "
            "error over all regions in mm / AUC in per cent / PSNR in dB. Nothing is refused here.",
            "",
            *table(
                (
                    "recordings",
                    "sLORETA",
                    "linear start",
                    "nothing learned",
                    "learned start",
                    *steps,
                ),
                starts,
            ),
            f"What the verdict refuses of {settings.judged} recordings of any cap and head, and "
            "mean distances in mm of the strongest region from the nearest true seed: learned "
            "start / linear start / nothing learned.",
            "",
            *table(
                ("recordings", "refused", "all", "handed out", "among the refused"),
                (verdict_row(name, found) for name, found in verdicts.items()),
            ),
            "Area under the curve of telling the starts that are the worse ones by all six facts: "
            f"{told_apart(verdicts['ranges of training']):.2f}.",
        ],
        settings.output,
    )


if __name__ == "__main__":
    main()
