"""The four data sets that invertmeeg's benchmark names, on the library's head."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import mne
import numpy as np

from learnmm_esi.simulation.ranges.caps import CapRange
from learnmm_esi.simulation.ranges.courses import CourseRange
from learnmm_esi.simulation.ranges.disturbances import NoiseRange
from learnmm_esi.simulation.ranges.heads import HeadRange
from learnmm_esi.simulation.ranges.simulator import Group, PatchRange, Ranges, RangeSimulator

SFREQ = 250.0


@dataclass(frozen=True)
class DataSet:
    """Numbers of patches, radii in edges and signal-to-noise ratios in dB, least and most."""

    patches: tuple[int, int]
    hops: tuple[int, int]
    snr_db: tuple[float, float]


DATA_SETS = {
    "focal": DataSet((1, 1), (0, 0), (3.0, 5.0)),
    "several focal": DataSet((2, 4), (0, 0), (1.0, 3.0)),
    "extended": DataSet((2, 4), (1, 3), (1.0, 3.0)),
    "noisy": DataSet((1, 3), (0, 2), (-5.0, 0.0)),
}
"""After ``invert.benchmark.datasets``: focal, multi, extended and noisy sources."""


@dataclass(frozen=True)
class Size:
    """How large head, cap and recordings are."""

    sources: int = 994
    ico: int = 4
    electrodes: int = 64
    times: int = 50


def recordings(name: str, samples: int, seed: int, size: Size) -> Group:
    """Simulate a data set on one cap, the same for all of them."""
    chosen = DATA_SETS[name]
    fewest, most = chosen.patches
    ranges = Ranges(
        caps=CapRange(
            ("standard_1005",), (size.electrodes, size.electrodes), spread=1.0, bad=0.0, jitter=0.0
        ),
        heads=HeadRange(sources=size.sources, ico=size.ico, template=1.0, tilt=0.0),
        patches=PatchRange(
            counts=tuple(float(fewest <= count) for count in range(1, most + 1)), hops=chosen.hops
        ),
        courses=CourseRange(times=(size.times, size.times), sfreq=(SFREQ, SFREQ)),
        noise=NoiseRange(chosen.snr_db, background=(0.0, 0.0), channels=0.0, artefacts=0.0),
        together=samples,
    )
    return RangeSimulator(ranges, seed, size=1).group(0)


def ask(folder: Path, groups: dict[str, Group]) -> None:
    """Write head and recordings for solvers elsewhere.

    The last channel is left out: with it, the average reference makes gain and recordings singular,
    and a regularization that is chosen by cross-validation goes to zero. Nothing is lost by it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    model = next(iter(groups.values())).model
    with mne.use_log_level("error"):
        forward = model.forward()
        kept = mne.pick_channels_forward(forward, list(model.channel_names[:-1]), ordered=True)
        mne.write_forward_solution(folder / "head-fwd.fif", kept, overwrite=True)
    for name, group in groups.items():
        np.savez(
            folder / f"{name}.question.npz",
            sensors=1e-5 * group.sensors[:, :-1] / np.abs(group.sensors).max(),
            sfreq=group.timing.sfreq,
        )
