"""Which patches are active in a sample, drawn at random."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, NamedTuple, get_args

import numpy as np
from numpy.typing import NDArray

from learnmm_esi.simulation.directed import DirectedGrowth
from learnmm_esi.sources import Distance, Patches, SourceModel, check_distance

# Streams of random numbers. One belongs to the noise, two and three to the clips of neural masses.
_SOURCE_STREAM, _COUNT_STREAM = 0, 4

Shape = Literal["ball", "directed"]


@dataclass(frozen=True)
class PatchSettings:
    """How many patches a simulator draws, and of what size.

    Attributes
    ----------
    count : int or (int, int)
        How many are active; a pair is drawn from uniformly, both ends included. A sample's first
        patch is the one it has with ``count=1``.
    max_hops : int
        A patch reaches ``k`` edges from its seed region, ``k`` uniform in ``1..max_hops``.
    distance : {"geodesic", "euclidean"}
        What the amplitude falls with inside a patch.
    shape : {"ball", "directed"}
        All regions within ``k`` edges, or those that lie in a direction (see `DirectedGrowth`),
        where ``k`` is two or three.
    overlap : bool
        Whether patches may share regions. If not, no two of them touch. If so, the seeds are
        drawn independently, and a region of two patches is active with the later one.
    in_turn : int
        So many samples in succession have the same first seed, region by region, as the rows of a
        file that was written so; 0 draws it uniformly.

    Raises
    ------
    ValueError
        For what is none of these.
    """

    count: int | tuple[int, int] = 1
    max_hops: int = 4
    distance: Distance = "geodesic"
    shape: Shape = "ball"
    overlap: bool = False
    in_turn: int = 0

    def __post_init__(self) -> None:
        bounds = self.count if isinstance(self.count, tuple) else (self.count, self.count)
        whole = all(isinstance(bound, (int, np.integer)) for bound in bounds)
        if not (whole and len(bounds) == 2 and 1 <= bounds[0] <= bounds[1]):
            raise ValueError(
                "PatchSettings: count must be an integer >= 1, or a pair (least, greatest) of "
                f"them, got {self.count!r}"
            )
        if not (isinstance(self.max_hops, (int, np.integer)) and self.max_hops >= 1):
            raise ValueError(
                f"PatchSettings: max_hops must be an integer >= 1, got {self.max_hops!r}"
            )
        check_distance(self.distance)
        if self.shape not in get_args(Shape):
            raise ValueError(
                f"PatchSettings: shape must be 'ball' or 'directed', got {self.shape!r}"
            )
        if self.shape == "directed" and self.max_hops != 3:
            raise ValueError(
                f"PatchSettings: directed patches reach two or three edges: expected max_hops=3, "
                f"got {self.max_hops!r}"
            )
        if not isinstance(self.overlap, bool):
            raise ValueError(f"PatchSettings: overlap must be true or false, got {self.overlap!r}")
        if not (isinstance(self.in_turn, (int, np.integer)) and self.in_turn >= 0):
            raise ValueError(
                f"PatchSettings: in_turn must be an integer >= 0, got {self.in_turn!r}"
            )

    @property
    def least(self) -> int:
        """Smallest number of patches."""
        return int(self.count[0] if isinstance(self.count, tuple) else self.count)

    @property
    def most(self) -> int:
        """Largest number of patches."""
        return int(self.count[1] if isinstance(self.count, tuple) else self.count)


ONE_PATCH = PatchSettings()
"""One patch of up to four hops, falling off along the cortex."""


class DrawnPatch(NamedTuple):
    """A patch of one sample.

    `seed` is the region at its centre; `weights`, shape (sources,), are one at the seed and zero
    outside the patch; `generator` gives what else is random about it.
    """

    seed: int
    weights: NDArray[np.float64]
    generator: np.random.Generator


class PatchDraw:
    """The patches of every sample of a data set.

    The law: the patches of a sample depend on ``(seed, index)`` and the settings alone, and the
    first ones are those that it has when fewer are asked for. Unless they may overlap, every
    further patch has its seed uniform over the regions that are not next to, nor in, an earlier
    one, and its radius uniform over what there is room for.

    Parameters
    ----------
    model : SourceModel
        The head model.
    seed : int
        Names the data set.
    settings : PatchSettings
        How many, and of what size.
    edge_weight : float
        Amplitude at the edge of a patch (see `Patches`).
    """

    def __init__(
        self, model: SourceModel, seed: int, settings: PatchSettings, edge_weight: float
    ) -> None:
        self.seed, self.settings = seed, settings
        self._shapes = Patches(model, settings.distance, edge_weight)
        self._directed = (
            DirectedGrowth(model.positions, self._shapes.hops)
            if settings.shape == "directed"
            else None
        )

    def __call__(self, index: int) -> Iterator[DrawnPatch]:
        """Draw the patches of a sample, one after the other.

        Raises
        ------
        ValueError
            If the earlier ones leave no room for a further one.
        """
        count = self._count(index)
        hops, most_hops = self._shapes.hops, self.settings.max_hops
        room = np.full(len(hops), most_hops)  # largest radius of a patch around each region
        for number in range(count):
            # The first patch keeps the stream it has when it is the only one.
            stream = [_SOURCE_STREAM, number] if number else [_SOURCE_STREAM]
            generator = np.random.default_rng([self.seed, index, *stream])
            free = np.flatnonzero(room >= 1)
            if len(free) == 0:
                raise ValueError(
                    f"PatchDraw: sample {index} has no room for patch {number + 1} of {count} "
                    f"beside the others on {len(hops)} regions: ask for fewer patches or for a "
                    f"max_hops below {most_hops}"
                )
            if number == 0 and self.settings.in_turn:
                seed = index // self.settings.in_turn % len(hops)
            else:
                seed = int(free[generator.integers(len(free))])
            regions = self._grown(seed, int(room[seed]), generator)
            yield DrawnPatch(seed, self._shapes.weights_over(seed, regions), generator)
            if not self.settings.overlap:
                room = np.minimum(room, hops[regions].min(axis=0) - 1)

    def _grown(self, seed: int, room: int, generator: np.random.Generator) -> NDArray[np.int64]:
        """Regions of a patch that reaches at most `room` edges."""
        if self._directed is not None:
            return self._directed(seed, int(generator.integers(min(2, room), room + 1)), generator)
        return self._shapes.regions(seed, int(generator.integers(1, room + 1)))

    def _count(self, index: int) -> int:
        least, most = self.settings.least, self.settings.most
        if least == most:
            return most
        generator = np.random.default_rng([self.seed, index, _COUNT_STREAM])
        return int(generator.integers(least, most + 1))
