"""Which patches are active in a sample, drawn at random."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from learnmm_esi.sources import Distance, Patches, SourceModel, check_distance

# Streams of random numbers. One belongs to the noise, two and three to the clips of neural masses.
_SOURCE_STREAM, _COUNT_STREAM = 0, 4


@dataclass(frozen=True)
class PatchSettings:
    """How many patches a simulator draws, and of what size.

    Attributes
    ----------
    count : int or (int, int)
        How many are active; a pair is drawn from uniformly, both ends included. No region is in
        two of them, and their activities add up. A sample's first patch is the one it has with
        ``count=1``.
    max_hops : int
        A patch reaches ``k`` edges from its seed region, ``k`` uniform in ``1..max_hops``.
    distance : {"geodesic", "euclidean"}
        What the amplitude falls with inside a patch.

    Raises
    ------
    ValueError
        For what is none of these.
    """

    count: int | tuple[int, int] = 1
    max_hops: int = 4
    distance: Distance = "geodesic"

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
    first ones are those that it has when fewer are asked for. Every further patch has its seed
    uniform over the regions that are not next to, nor in, an earlier one, and its radius uniform
    over what there is room for.

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
            seed = int(free[generator.integers(len(free))])
            weights = self._shapes.weights(seed, int(generator.integers(1, int(room[seed]) + 1)))
            yield DrawnPatch(seed, weights, generator)
            room = np.minimum(room, hops[weights > 0.0].min(axis=0) - 1)

    def _count(self, index: int) -> int:
        least, most = self.settings.least, self.settings.most
        if least == most:
            return most
        generator = np.random.default_rng([self.seed, index, _COUNT_STREAM])
        return int(generator.integers(least, most + 1))
