"""What is measured: cells of caps, numbers of patches, noise levels, heads and kinds of noise."""

from __future__ import annotations

import copy
import functools
import itertools
from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from typing import Any

from learnmm_esi.simulation.ranges.caps import CapRange
from learnmm_esi.simulation.ranges.courses import CourseRange
from learnmm_esi.simulation.ranges.disturbances import NoiseRange
from learnmm_esi.simulation.ranges.heads import HeadRange, OtherHeads
from learnmm_esi.simulation.ranges.simulator import Group, PatchRange, Ranges, RangeSimulator

ELECTRODES = (19, 32, 64, 128, 256)
PATCHES = (1, 2, 3, 4)
SNRS = (-5.0, 0.0, 5.0, 10.0, 20.0)
LONG = (300, 600)  # samples: about a second


def _only(others: OtherHeads, tilt: float = 0.0) -> HeadRange:
    """Recordings come from one other head alone."""
    return HeadRange(others=others, template=0.0, known=0.0, tilt=tilt)


_UNCHANGED = OtherHeads(1, 3, (80.0, 80.0), ("pial",), ("half",), stretch=0.0, shift=0.0, bend=0.0)
"""A head that is the template but for the resolution of its boundaries."""

HEADS: dict[str, HeadRange] = {
    "template": HeadRange(others=replace(_UNCHANGED, count=0), template=1.0, tilt=0.0),
    "conductivity": _only(replace(_UNCHANGED, skull_ratio=(25.0, 25.0))),
    "surface": _only(replace(_UNCHANGED, surfaces=("white",))),
    "skull": _only(replace(_UNCHANGED, skulls=("constant",))),
    # Warped against the directions of those that weights are trained on.
    "lead field": _only(
        OtherHeads(1, 3, (40.0, 40.0), ("white",), ("ratio",), -0.05, -0.004, -0.003), tilt=0.3
    ),
}
"""Where recordings come from; whoever solves has the template."""

NOISES: dict[str, dict[str, Any]] = {
    "white": {"background": (0.0, 0.0), "channels": 0.0, "artefacts": 0.0},
    "brain": {"background": (0.8, 0.8), "channels": 0.2, "artefacts": 0.0},
}
"""Of the sensors alone; four fifths of its power from ongoing activity of the cortex."""


@dataclass(frozen=True)
class Cell:
    """Recordings of one kind; of as many samples as the `Size` says, unless they are given."""

    electrodes: int = 64
    patches: int = 1
    snr_db: float = 5.0
    head: str = "template"
    noise: str = "white"
    times: tuple[int, int] | None = None

    @property
    def name(self) -> str:
        """For tables and files."""
        patches = "1 patch" if self.patches == 1 else f"{self.patches} patches"
        level = f"{self.snr_db:g} dB"
        long = "" if self.times is None else f", {self.times[0]} to {self.times[1]} samples"
        return f"{self.electrodes} electrodes, {patches}, {level}, {self.head}, {self.noise}{long}"


@dataclass(frozen=True)
class Size:
    """How large the heads and recordings are.

    Attributes
    ----------
    sources, ico, others_ico : int
        See `HeadRange`.
    hops : int
        Largest radius of a patch.
    times : (int, int)
        Fewest and most samples of a recording.
    together : int
        Recordings that share a cap.
    """

    sources: int = 994
    ico: int = 4
    others_ico: int = 3
    hops: int = 5
    times: tuple[int, int] = (10, 100)
    together: int = 5


FULL_SIZE = Size()
QUICK_SIZE = Size(sources=64, ico=2, others_ico=2, hops=1, times=(20, 40))


def star() -> dict[str, list[Cell]]:
    """Sections of cells around one: everything that differs, one thing at a time."""
    heads, brain = [head for head in HEADS if head != "template"], "brain"
    return {
        "Caps": [Cell(e) for e in ELECTRODES],
        "From 75 to 16 electrodes": [Cell(75), Cell(16)],  # as DeepSIF is compared by its authors
        "Patches": [Cell(patches=p) for p in PATCHES],
        "Noise levels": [Cell(snr_db=s) for s in SNRS],
        "Other heads": [Cell(patches=p, head=h) for h in heads for p in (1, 3)],
        "Noise from the brain": [
            *(Cell(e, noise=brain) for e in (19, 64, 256)),
            *(Cell(patches=3, snr_db=s, noise=brain) for s in (0.0, 5.0)),
        ],
        "Long recordings": [
            *(Cell(e, times=LONG) for e in (19, 64)),
            Cell(patches=2, times=LONG),
            *(Cell(snr_db=s, noise=brain, times=LONG) for s in (0.0, 5.0)),
        ],
    }


def pairs() -> dict[str, list[Cell]]:
    """Sections of pairs of what differs, the rest as it is in the middle."""
    heads, brain = [head for head in HEADS if head != "template"], "brain"
    return {
        "Caps and patches": [Cell(e, p) for e in ELECTRODES for p in PATCHES],
        "Caps and noise levels": [Cell(e, snr_db=s) for e in ELECTRODES for s in SNRS],
        "Patches and noise levels": [Cell(patches=p, snr_db=s) for p in PATCHES for s in SNRS],
        "Caps and other heads": [Cell(e, head=h) for h in heads for e in ELECTRODES],
        "Patches and other heads": [Cell(patches=p, head=h) for h in heads for p in PATCHES],
        "Caps and noise from the brain": [Cell(e, noise=brain) for e in ELECTRODES],
        "Patches and noise from the brain": [Cell(patches=p, noise=brain) for p in PATCHES],
        "Levels of noise from the brain": [Cell(snr_db=s, noise=brain) for s in SNRS],
    }


def full() -> dict[str, list[Cell]]:
    """Sections of all combinations."""
    return {
        f"{head}, {noise}": [
            Cell(e, p, s, head, noise) for e, p, s in itertools.product(ELECTRODES, PATCHES, SNRS)
        ]
        for head, noise in itertools.product(HEADS, NOISES)
    }


def quick() -> dict[str, list[Cell]]:
    """Few cells, one of each kind."""
    return {
        "Caps": [Cell(19)],
        "Noise and heads": [Cell(19), Cell(24, 2, head="conductivity", noise="brain")],
    }


GRIDS = {"star": star, "pairs": pairs, "full": full, "quick": quick}


def recordings(cell: Cell, samples: int, seed: int, size: Size) -> Iterator[Group]:
    """Simulate the recordings of a cell, some at a time that share a cap."""
    together = min(size.together, samples)
    counts = tuple(float(count == cell.patches) for count in range(1, cell.patches + 1))
    simulator = copy.copy(_simulator(cell.head, size, seed))
    simulator.settings = Ranges(
        caps=CapRange(electrodes=(cell.electrodes, cell.electrodes), bad=0.0),
        heads=simulator.settings.heads,
        patches=PatchRange(counts=counts, hops=(0, size.hops)),
        courses=CourseRange(times=cell.times or size.times, sfreq=(100.0, 500.0)),
        noise=NoiseRange(snr_db=(cell.snr_db, cell.snr_db), **NOISES[cell.noise]),
        together=together,
    )
    left = samples
    for number in itertools.count():
        if left <= 0:
            return
        group = simulator.group(number)
        yield group if left >= together else _first(group, left)
        left -= together


def _first(group: Group, count: int) -> Group:
    """A group with its first recordings."""
    cut = copy.copy(group)
    own = ("model", "timing")
    for f in fields(Group):
        if f.name not in own:
            object.__setattr__(cut, f.name, getattr(group, f.name)[:count])
    return cut


@functools.cache
def _simulator(head: str, size: Size, seed: int) -> RangeSimulator:
    """Simulator of a head, of which many cells come."""
    chosen = HEADS[head]
    heads = replace(
        chosen,
        sources=size.sources,
        ico=size.ico,
        others=replace(chosen.others, ico=size.others_ico),
    )
    return RangeSimulator(Ranges(heads=heads), seed, size=1)
