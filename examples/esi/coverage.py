"""Calibrate the regions of `MMInverse.uncertainty`, and measure how often they hold the truth.

Run with ``python examples/esi/coverage.py [WEIGHTS]``. Recordings with one patch over the ranges of
training, of another seed: on every other cap the smoothing is chosen so that 90 % regions hold the
patch's centre in 90 % of the recordings, on the others it is measured how many do. Writes
``coverage.md`` and ``.json``; the bandwidths belong into `learnmm_esi.recordings.uncertainty`.
"""

from __future__ import annotations

import argparse
import json
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import mne
import numpy as np
from rich.console import Console
from rich.progress import track
from rich.table import Table

from learnmm.hardware import hardware
from learnmm_esi.inverse.uncertainty import CREDIBLE, levels, main_sources, radius
from learnmm_esi.networks.files import describe
from learnmm_esi.recordings.engine import Engine
from learnmm_esi.recordings.learned import find_weights
from learnmm_esi.recordings.settings import InverseSettings, SensorSettings
from learnmm_esi.recordings.uncertainty import DRAWS, redrawn
from learnmm_esi.simulation.data_sets import load_protocol
from learnmm_esi.simulation.ranges.simulator import Group, RangeSimulator

RESULTS = Path(__file__).parent / "results"
TOGETHER = 8  # recordings of one cap
BANDWIDTHS = np.arange(4, 61) / 1e3  # metres, from which one is chosen
VOLT = 1e-5  # what simulated recordings are scaled to
CAPS, SNRS = (16, 32, 64, 128, 257), (-5, 0, 5, 10, 20)  # bounds of the rows
SOLVERS = ("unguided", "guided", "learned")  # without weights, guided by them, and theirs
COLUMNS = ("solver", "recordings", "n", "error", "coverage", "regions", "radius", "refused")


@dataclass(frozen=True)
class Case:
    """A recording: its cap and noise, its truth, and where the draws have their main source."""

    group: int
    electrodes: int
    snr_db: float
    truth: int
    estimate: int
    places: np.ndarray
    refused: bool


def cases(
    group: Group, number: int, positions: np.ndarray, settings: InverseSettings, draws: int
) -> list[Case]:
    """Reconstruct the recordings of a cap and their draws; regions lie where the template's do."""
    info = mne.create_info(list(group.model.channel_names), group.timing.sfreq, "eeg")
    model = replace(group.model, origin=info, positions=positions)
    engine = Engine(model, settings, SensorSettings())
    found = []
    for member, sensors in enumerate(group.sensors):
        evoked = mne.EvokedArray(VOLT * sensors.astype(float), info, verbose="ERROR")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # noisy recordings are meant here
            got = redrawn(engine, evoked, draws, seed=member, verbose="ERROR")
        found.append(
            Case(
                number,
                len(sensors),
                float(group.snr_db[member]),
                int(group.seed_sources[member, 0]),
                int(main_sources(got.sources[None])[0]),
                got.places,
                "refused" in got.start,
            )
        )
    return found


def levels_of_truth(some: Sequence[Case], positions: np.ndarray, bandwidth: float) -> np.ndarray:
    """Level at which the truth enters the region, of each recording."""
    return np.array([levels(positions, one.places, bandwidth)[one.truth] for one in some])


def calibrated(some: Sequence[Case], positions: np.ndarray) -> float:
    """Return the smallest bandwidth whose regions cover the truths of these recordings.

    Of n recordings ``ceil(0.9 (n + 1))`` are asked for: then a further one is covered in 90 % or
    more, whatever they are like (split conformal prediction).
    """
    wanted = min(len(some), int(np.ceil(CREDIBLE * (len(some) + 1))))
    for bandwidth in BANDWIDTHS:
        if (levels_of_truth(some, positions, bandwidth) <= CREDIBLE).sum() >= wanted:
            return float(bandwidth)
    raise SystemExit(f"no bandwidth up to {BANDWIDTHS[-1]} m covers {wanted} of {len(some)}")


def row(solver: str, name: str, some: Sequence[Case], positions, bandwidth: float) -> dict:
    """Measure regions of some recordings."""
    covered = levels_of_truth(some, positions, bandwidth) <= CREDIBLE
    sizes = [(levels(positions, one.places, bandwidth) <= CREDIBLE).sum() for one in some]
    radii = [radius(positions, one.places, bandwidth) for one in some]
    truth, estimate = (
        positions[[getattr(one, place) for one in some]] for place in ("truth", "estimate")
    )
    return {
        "solver": solver,
        "recordings": name,
        "n": len(some),
        "error_mm": float(1e3 * np.median(np.linalg.norm(truth - estimate, axis=1))),
        "coverage": float(covered.mean()),
        "standard_error": float(np.sqrt(CREDIBLE * (1 - CREDIBLE) / len(some))),
        "regions": float(np.median(sizes)),
        "radius_mm": float(1e3 * np.median(radii)),
        "refused": float(np.mean([one.refused for one in some])),
    }


def rows(solver: str, test: Sequence[Case], positions, bandwidth: float) -> list[dict]:
    """Measure all recordings, and those of every size of cap and ratio of signal to noise."""
    parts: list[tuple[str, Callable[[Case], bool]]] = [("all", lambda one: True)]
    for low, high in pairwise(CAPS):
        name = f"{low} to {high - 1} electrodes"
        parts.append((name, lambda one, low=low, high=high: low <= one.electrodes < high))
    for low, high in pairwise(SNRS):
        parts.append(
            (f"{low} to {high} dB", lambda one, low=low, high=high: low <= one.snr_db < high)
        )
    chosen = [(name, [one for one in test if which(one)]) for name, which in parts]
    return [row(solver, name, some, positions, bandwidth) for name, some in chosen if some]


def cells(one: dict) -> list[str]:
    """Format a row in the order of `COLUMNS`; what misses 90 % says so."""
    missed = " (misses 90 %)" if one["coverage"] < CREDIBLE else ""
    return [
        one["solver"],
        one["recordings"],
        str(one["n"]),
        f"{one['error_mm']:.0f}",
        f"{100 * one['coverage']:.0f} ± {100 * one['standard_error']:.0f} %{missed}",
        f"{one['regions']:.0f}",
        f"{one['radius_mm']:.0f}",
        f"{100 * one['refused']:.0f} %",
    ]


def page(measured: Sequence[dict], facts: dict[str, object], sources: int) -> str:
    """Write the rows and how they were made as a page."""
    lines = [list(COLUMNS), ["---"] * len(COLUMNS), *map(cells, measured)]
    table = "\n".join("| " + " | ".join(line) + " |" for line in lines)
    told = "\n".join(f"- {name}: {value}" for name, value in facts.items())
    return (
        "# Coverage of 90 % regions\n\nHow often the 90 % region of `MMInverse.uncertainty` holds "
        "the centre of the active patch, on caps that its bandwidth was not chosen on. Recordings "
        "with one patch over all caps, heads and noise of training, with another seed. Medians: "
        f"error of the estimate in mm, regions (of {sources}) in the 90 % region, radius in mm. "
        "*refused*: recordings whose learned start was. ± is the standard error of a share of 90 % "
        f"among so many.\n\n{table}\n\n{told}\n"
    )


def main() -> None:
    """Read the options, reconstruct, calibrate, measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("weights", nargs="?", default="mm-net")
    parser.add_argument("--caps", type=int, default=20, help=f"of {TOGETHER} recordings each")
    parser.add_argument("--times", type=int, default=8, help="longest recording, in samples")
    parser.add_argument("--solvers", nargs="+", default=SOLVERS, choices=SOLVERS)
    parser.add_argument("--draws", type=int, default=DRAWS, help="of each recording")
    parser.add_argument("--seed", type=int, default=9137, help="of the recordings")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder for the results")
    options = parser.parse_args()
    if options.caps < 4:  # two for each half
        parser.error("--caps must be at least 4")

    begin, used = time.perf_counter(), time.process_time()
    ranges = load_protocol("ranges").settings
    ranges = replace(
        ranges,
        patches=replace(ranges.patches, counts=(1.0,)),
        courses=replace(ranges.courses, times=(1, options.times)),
        together=TOGETHER,
    )
    simulator = RangeSimulator(ranges, options.seed, options.caps)
    positions = simulator.heads.template.head_model(
        simulator.heads.template.skin.vertices[:4], "abcd"
    ).positions
    solvers = {
        "unguided": InverseSettings(),
        "guided": InverseSettings(weights=options.weights, guided=True),
        "learned": InverseSettings(weights=options.weights),
    }
    solvers = {name: solvers[name] for name in options.solvers}
    found: dict[str, list[Case]] = {name: [] for name in solvers}
    console = Console()
    weights = find_weights(options.weights)
    for number in track(range(options.caps), "reconstructing", console=console):
        group = simulator[number]
        for name, settings in solvers.items():
            found[name] += cases(group, number, positions, settings, options.draws)

    measured, bandwidths = [], {}
    for name, some in found.items():
        first = [one for one in some if one.group % 2 == 0]
        bandwidths[name] = calibrated(first, positions)
        second = [one for one in some if one.group % 2]
        measured += rows(name, second, positions, bandwidths[name])
    table = Table(*COLUMNS)
    for one in measured:
        table.add_row(*cells(one))
    console.print(table)
    facts = {
        "command": f"python examples/esi/coverage.py {weights.stem} --caps {options.caps} "
        f"--times {options.times} --solvers {' '.join(solvers)} --draws {options.draws} "
        f"--seed {options.seed}",
        "bandwidths, m": ", ".join(f"{name} {value:g}" for name, value in bandwidths.items()),
        "training": describe(weights).notes,
        "hardware": hardware(),
        "time": f"{time.process_time() - used:.0f} s of one core, "
        f"{time.perf_counter() - begin:.0f} s in all",
    }
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "coverage.md").write_text(
        page(measured, facts, len(positions)), encoding="utf-8"
    )
    content = json.dumps({"bandwidths": bandwidths, "rows": measured, "facts": facts}, indent=1)
    (options.out / "coverage.json").write_text(content + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
