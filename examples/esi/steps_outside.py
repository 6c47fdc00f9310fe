"""Whether steps that were trained from the evidence pay on recordings unlike those of training.

Run with ``python examples/esi/steps_outside.py WEIGHTS``, weights of ``equal_training.py`` from the
evidence. Other caps, noise, conductivity and numbers of patches, then patches and courses of other
shapes, beside the evidence alone and the weights that come with the library. Writes
``steps_outside.md``.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import mne
import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import Progress
from table1_rows import markdown

import learnmm as lmm
from learnmm.hardware import hardware
from learnmm.storage import replacing
from learnmm_esi import (
    ERPSimulator,
    EvidenceEnergy,
    HeadModel,
    HeadModelSettings,
    head_model_for,
    load_solver,
)
from learnmm_esi.metrics import SeveralEvaluator, SeveralMetrics
from learnmm_esi.networks.files import describe
from learnmm_esi.recordings.guided import GuidedInverse
from learnmm_esi.recordings.learned import SeeingInverse
from learnmm_esi.simulation.patches import PatchSettings
from learnmm_esi.simulation.ranges.caps import CapRange
from learnmm_esi.simulation.ranges.courses import CourseRange
from learnmm_esi.simulation.ranges.disturbances import NoiseRange
from learnmm_esi.simulation.ranges.heads import HeadRange, OtherHeads
from learnmm_esi.simulation.ranges.simulator import PatchRange, Ranges, RangeSimulator
from learnmm_esi.training.evaluate import comparison

SEED, SFREQ = 4711, 512.0
USUAL = HeadModelSettings(ico=3)
SKULL = USUAL.conductivity[1]  # S/m
HEADER = (
    "electrodes",
    "patches",
    "SNR, dB",
    "skull, S/m",
    *(f"{name}, {whose}" for name in ("LE", "AUC", "PSNR") for whose in ("evidence", "steps")),
    "LE, gained",
    "PSNR, gained",
    "LE, guided",
    "PSNR, guided",
    "LE, shipped",
    "PSNR, shipped",
    "accepted",
    "monotone",
)
TOLD = """# Steps from the evidence, outside of their training

Ten steps that were trained on potentials of one patch, at 5 dB, on the 90 electrodes of
[Table I](table1.md), for {minutes:g} minutes of one core. Here they are on other caps, in other
noise, on two patches, and on a head whose skull conducts as the row says and is taken to conduct
{usual:g} S/m. {samples} recordings a row; LE in mm, AUC times 100, PSNR in dB. *Gained* is what a
recording gains over the evidence alone, mean ± standard error: above zero is better.

*Shipped* are the weights that come with the library, which were trained on many caps, with steps of
their own from a learned start where that is accepted; the others' estimate is linear. *Guided* is
what the library does by default: that start says where patches are expected, the evidence decides.

{usual_table}

## Patches and courses of other shapes

Patches of up to five neighbours around their middle, falling off in many ways; deflections,
oscillations, spikes, neural masses, 10 to 100 samples; 64 electrodes of any cap, misplaced by 2 mm;
5 dB. EMD is the earth mover's distance in mm.

{ranges_table}

`{command}`, {hardware}, seed {seed}.
"""
SOLVERS = ("evidence", "steps", "guided")
OVER = ("patches", *(f"{name}, {of}" for name in ("LE", "EMD", "PSNR") for of in SOLVERS))


class Setting(NamedTuple):
    """What recordings are like."""

    montage: str
    patches: int = 1
    snr_db: float = 5.0
    skull: float = SKULL


SETTINGS = (
    Setting("biosemi32"),
    Setting("biosemi64"),
    Setting("biosemi128"),
    Setting("biosemi64", snr_db=-5.0),
    Setting("biosemi64", snr_db=15.0),
    Setting("biosemi64", skull=0.0066),
    Setting("biosemi64", patches=2),
    Setting("biosemi128", patches=2),
)


MOST_PATCHES = 3


@cache
def head(name: str, skull: float) -> HeadModel:
    """The template with the electrodes of a montage."""
    montage = mne.channels.make_standard_montage(name)
    info = mne.create_info(montage.ch_names, SFREQ, "eeg").set_montage(montage)
    brain, _, scalp = USUAL.conductivity
    return head_model_for(info, replace(USUAL, conductivity=(brain, skull, scalp)))


def row(weights: Path, setting: Setting, samples: int) -> list[str]:
    """What the evidence, the steps and the shipped weights make of recordings of a setting."""
    model, true = (head(setting.montage, skull) for skull in (SKULL, setting.skull))
    simulator = ERPSimulator(
        true,
        seed=SEED,
        size=samples,
        sfreq=SFREQ,
        snr_db=setting.snr_db,
        patches=PatchSettings(setting.patches),
    )
    batch = simulator.batch(range(samples))
    compare = comparison(model, simulator)
    solver = load_solver(weights, model, transfer=True)
    with torch.no_grad():
        plain = compare(batch, solver.energy.start(torch.from_numpy(batch.sensors)))
    solved = solver.reconstruct(batch.sensors)
    moved = compare(batch, solved.sources)
    seeing = SeeingInverse(lmm.load_pretrained("mm-net", model=model), model.leadfield)
    usual = seeing.reconstruct(batch.sensors)
    shipped = compare(batch, usual.sources)
    guided = compare(batch, GuidedInverse(seeing, model).reconstruct(batch.sensors).sources)
    assert solved.result is not None
    assert usual.refused is not None
    cells = [setting.montage, *(f"{told:g}" for told in setting[1:])]
    for name, scale in (("localization_error", 1), ("auc", 100), ("psnr", 1)):
        cells += [f"{scale * getattr(one, name).mean():.2f}" for one in (plain, moved)]
    return [
        *cells,
        gained(plain.localization_error - moved.localization_error),
        gained(moved.psnr - plain.psnr),
        f"{guided.localization_error.mean():.2f}",
        f"{guided.psnr.mean():.2f}",
        f"{shipped.localization_error.mean():.2f}",
        f"{shipped.psnr.mean():.2f}",
        f"{100 * (1 - usual.refused.mean()):.0f} %",
        f"{100 * solved.result.certificate.monotone.double().mean():.0f} %",
    ]


def over_ranges(weights: Path, patches: int, samples: int) -> list[str]:
    """What the evidence, the steps and the guided solver make of so many patches of any shape."""
    ranges = Ranges(
        caps=CapRange(electrodes=(64, 64), bad=0.0),
        heads=HeadRange(ico=USUAL.ico, others=OtherHeads(count=0), template=1.0, tilt=0.0),
        patches=PatchRange(counts=tuple(float(n == patches) for n in range(1, patches + 1))),
        courses=CourseRange(times=(10, 100), sfreq=(100.0, 500.0)),
        noise=NoiseRange(snr_db=(5.0, 5.0), background=(0.0, 0.0), channels=0.0, artefacts=0.0),
        together=min(8, samples),
    )
    found: dict[str, list[SeveralMetrics]] = {name: [] for name in SOLVERS}
    simulator = RangeSimulator(ranges, SEED, samples)
    for number in range(samples // ranges.together):
        group = simulator.group(number)
        compare = SeveralEvaluator(group.model)
        seeing = SeeingInverse(
            lmm.load_pretrained("mm-net", model=group.model), group.model.leadfield
        )
        for name, solver in {
            "evidence": EvidenceEnergy(group.model),
            "steps": load_solver(weights, group.model, transfer=True),
            "guided": GuidedInverse(seeing, group.model),
        }.items():
            estimate = solver.reconstruct(group.sensors).sources
            found[name].append(compare(group.sources, estimate, group.seed_sources))
    joined = [SeveralMetrics.concatenate(some) for some in found.values()]
    names = ("localization_error", "transport", "psnr")
    return [str(patches), *(f"{getattr(one, n).mean():.2f}" for n in names for one in joined)]


def gained(values: NDArray[np.float64]) -> str:
    """Mean with its standard error."""
    return f"{values.mean():+.2f} ± {values.std(ddof=1) / np.sqrt(len(values)):.2f}"


def main() -> None:
    """Read the options and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("weights", type=Path)
    parser.add_argument("--minutes", type=float, default=10.0, help="that they were trained for")
    parser.add_argument("--samples", type=int, default=64, help="recordings of each setting")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results")
    options = parser.parse_args()
    if (start := describe(options.weights)[0].method.start) != "evidence":
        raise SystemExit(f"Error: {options.weights} start from {start}, not the evidence")
    torch.set_num_threads(1)
    mne.set_log_level("ERROR")
    with Progress(console=Console(stderr=True)) as bar:
        rows = [
            row(options.weights, setting, options.samples)
            for setting in bar.track(SETTINGS, description="settings")
        ]
        others = [
            over_ranges(options.weights, patches, options.samples)
            for patches in bar.track(range(1, MOST_PATCHES + 1), description="other shapes")
        ]
    told: dict[str, Any] = {
        "usual_table": markdown(HEADER, rows),
        "ranges_table": markdown(OVER, others),
        "minutes": options.minutes,
        "usual": SKULL,
        "samples": options.samples,
        "command": f"python examples/esi/{Path(__file__).name} WEIGHTS --samples {options.samples}",
        "hardware": hardware(),
        "seed": SEED,
    }
    options.out.mkdir(parents=True, exist_ok=True)
    with replacing(options.out / "steps_outside.md") as path:
        path.write_text(TOLD.format(**told), encoding="utf-8")


if __name__ == "__main__":
    main()
