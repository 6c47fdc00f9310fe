"""Recordings over ranges, some at a time that share a cap and a head."""

from __future__ import annotations

import os
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from learnmm_esi.head.model import HeadModel
from learnmm_esi.settings import seed_and_size
from learnmm_esi.simulation.ranges.caps import CapRange
from learnmm_esi.simulation.ranges.courses import CourseRange, Timing
from learnmm_esi.simulation.ranges.disturbances import NoiseRange
from learnmm_esi.simulation.ranges.heads import HeadRange, Heads
from learnmm_esi.sources import Patches

__all__ = ["Group", "PatchRange", "RangeSimulator", "Ranges"]

Floats = NDArray[np.float64]

# Streams of random numbers.
_SHARED, _OWN = 0, 1
BACKGROUND_PLACES = 32
ATTEMPTS = 100  # at a place for a further patch


@dataclass(frozen=True)
class PatchRange:
    """Active patches of a simulation.

    Attributes
    ----------
    counts : tuple of float
        Relative frequency of one, two, three ... patches.
    hops : (int, int)
        Radius of a patch in edges of the neighbour graph, uniform; zero is a single region.
    fall : (float, float)
        Amplitude at its edge, relative to its centre, uniform.

    Raises
    ------
    ValueError
        For what is no such range.
    """

    counts: tuple[float, ...] = (0.45, 0.25, 0.18, 0.12)
    hops: tuple[int, int] = (0, 5)
    fall: tuple[float, float] = (0.1, 0.8)

    def __post_init__(self) -> None:
        for name in ("counts", "hops", "fall"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        if not self.counts or min(self.counts) < 0 or not sum(self.counts) > 0:
            raise ValueError(f"PatchRange: counts must be frequencies, got {self.counts}")
        if len(self.hops) != 2 or not 0 <= self.hops[0] <= self.hops[1]:
            raise ValueError(f"PatchRange: hops must be 0 <= fewest <= most, got {self.hops}")
        if len(self.fall) != 2 or not 0 < self.fall[0] <= self.fall[1] < 1:
            raise ValueError(f"PatchRange: fall must be 0 < least <= most < 1, got {self.fall}")

    @property
    def most(self) -> int:
        """Largest number of patches."""
        return len(self.counts)


@dataclass(frozen=True)
class Ranges:
    """What recordings are simulated: every range a setting of a file.

    Attributes
    ----------
    caps, heads, patches, courses, noise
        The ranges.
    together : int
        Recordings that share cap, head, length and rate.
    """

    caps: CapRange = field(default_factory=CapRange)
    heads: HeadRange = field(default_factory=HeadRange)
    patches: PatchRange = field(default_factory=PatchRange)
    courses: CourseRange = field(default_factory=CourseRange)
    noise: NoiseRange = field(default_factory=NoiseRange)
    together: int = 32

    def __post_init__(self) -> None:
        if not isinstance(self.together, int) or self.together < 1:
            raise ValueError(f"Ranges: together must be a positive int, got {self.together!r}")


@dataclass(frozen=True, eq=False)
class Group:
    """Recordings that share cap, head, length and rate.

    Attributes
    ----------
    model : HeadModel
        What the one who solves knows: the electrodes where they are thought to be.
    timing : Timing
        Length and rate.
    sensors : ndarray of float32, shape (members, sensors, times)
        Average-referenced recordings; their scale means nothing.
    maps : ndarray of float32, shape (members, patches, sources)
        Amplitudes of the patches, zero where there are fewer.
    courses : ndarray of float32, shape (members, patches, times)
        Their time courses: ``sources = sum_p maps_p courses_p^T``.
    seed_sources : ndarray of int64, shape (members, patches)
        Regions at their centres, -1 where there are fewer.
    snr_db, background : ndarray, shape (members,)
        What noise was drawn, see `NoiseRange.draw`.
    """

    model: HeadModel
    timing: Timing
    sensors: NDArray[np.float32]
    maps: NDArray[np.float32]
    courses: NDArray[np.float32]
    seed_sources: NDArray[np.int64]
    snr_db: Floats
    background: Floats

    @property
    def sources(self) -> NDArray[np.float32]:
        """The truth, ``(members, sources, times)``."""
        truth: NDArray[np.float32] = np.einsum("bps,bpt->bst", self.maps, self.courses)
        return truth


class RangeSimulator:
    """Random recordings over ranges, made when they are asked for.

    The law: group ``number`` depends on ``(seed, number, draw)`` and the settings alone.

    Parameters
    ----------
    settings : Ranges
        What is simulated.
    seed : int
        Names the data set.
    size : int
        Number of groups.
    cache_dir : path, optional
        Where heads are kept, see `scalp_gain`.
    """

    def __init__(
        self,
        settings: Ranges,
        seed: int,
        size: int,
        cache_dir: str | os.PathLike[str] | None = None,
    ) -> None:
        self.settings = settings
        self.seed, self.size = seed_and_size("RangeSimulator", seed, size)
        self.heads = Heads(settings.heads, cache_dir)
        template = self.heads.template.head_model(self.heads.template.skin.vertices[:4], "abcd")
        self._patches = Patches(template)

    def prepare(self, progress: bool = False) -> None:
        """Compute ahead the heads that are not on disk yet.

        Parameters
        ----------
        progress : bool
            Show how far that is.
        """
        self.heads.prepare(progress)

    @property
    def modes(self) -> int:
        """Most modes that a cap can have."""
        return self.settings.caps.electrodes[1] - 1

    @property
    def together(self) -> int:
        """Recordings in a group."""
        return self.settings.together

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, number: int) -> Group:
        if not 0 <= number < self.size:
            raise IndexError(f"RangeSimulator: group {number} of {self.size}")
        return self.group(number)

    def group(self, number: int, draw: int = 0) -> Group:
        """Simulate one group.

        Parameters
        ----------
        number : int
            Which.
        draw : int
            Another number gives other recordings on the same cap and head.
        """
        settings = self.settings
        shared = np.random.default_rng([self.seed, number, _SHARED])
        head = self.heads.draw(shared)
        cap = settings.caps.draw(head.assumed, shared)
        timing = settings.courses.timing(shared)
        leadfield = head.leadfield(cap.true)
        names = [f"E{i + 1}" for i in range(len(cap.assumed))]
        model = head.assumed.head_model(cap.assumed, names)
        generator = np.random.default_rng([self.seed, number, _OWN, draw])
        members, most, n = settings.together, settings.patches.most, leadfield.shape[1]
        maps = np.zeros((members, most, n), np.float32)
        courses = np.zeros((members, most, timing.times), np.float32)
        seeds = np.full((members, most), -1)
        sensors = np.empty((members, len(leadfield), timing.times), np.float32)
        facts = np.empty((2, members))
        topographies = (leadfield @ self._background(generator).T).astype(np.float32)
        for member in range(members):
            centres, weights = self._draw_patches(generator)
            count = len(centres)
            seeds[member, :count], maps[member, :count] = centres, weights
            course = settings.courses.draw(count, timing, generator)
            courses[member, :count] = course
            clean = (leadfield @ weights.T) @ course
            noisy, *facts[:, member] = settings.noise.draw(clean, topographies, generator)
            sensors[member] = noisy / np.abs(noisy).max()
        return Group(model, timing, sensors, maps, courses, seeds, *facts)

    def _draw_patches(self, generator: np.random.Generator) -> tuple[NDArray[np.int64], Floats]:
        """Centres and amplitudes of a recording's patches, which do not touch."""
        settings = self.settings.patches
        share = np.array(settings.counts) / sum(settings.counts)
        count = int(generator.choice(settings.most, p=share)) + 1
        hops, n = self._patches.hops, len(self._patches.hops)
        centres: list[int] = []
        radii: list[int] = []
        weights = []
        for _ in range(count):
            for _ in range(ATTEMPTS):
                centre = int(generator.integers(n))
                radius = int(generator.integers(settings.hops[0], settings.hops[1] + 1))
                apart = [
                    hops[centre, other] > radius + reach + 1
                    for other, reach in zip(centres, radii, strict=True)
                ]
                if all(apart):
                    break
            else:
                break  # no room: one patch fewer
            centres.append(centre)
            radii.append(radius)
            weights.append(self._weights(centre, radius, generator))
        return np.array(centres), np.stack(weights)

    def _weights(self, centre: int, radius: int, generator: np.random.Generator) -> Floats:
        """Amplitudes of a patch, as those of `Patches` with an edge of its own."""
        fall = generator.uniform(*self.settings.patches.fall)
        # exp(-2 u) at the edge of `Patches`; a power of it has any other value there.
        weights = self._patches.weights(centre, radius)
        scaled: Floats = weights ** (np.log(fall) / np.log(self._patches.edge_weight))
        return np.where(weights > 0, scaled, 0.0)

    def _background(self, generator: np.random.Generator) -> Floats:
        """Places of ongoing activity, ``(places, sources)``."""
        n = len(self._patches.hops)
        seeds = generator.integers(n, size=BACKGROUND_PLACES)
        radii = generator.integers(1, 5, size=BACKGROUND_PLACES)
        places = zip(seeds.tolist(), radii.tolist(), strict=True)
        return np.stack([self._patches.weights(seed, radius) for seed, radius in places])
