"""Several ranges in one data set, each with its share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from learnmm_esi.simulation.ranges.simulator import Group, RangeSimulator

__all__ = ["Mixture"]

_CHOICE = 2  # stream of random numbers; the simulators have the first two


class Mixture:
    """Groups of several simulators, each number of one of them.

    Parameters
    ----------
    simulators : sequence of RangeSimulator
        Of one seed and size, with as many recordings in a group.
    shares : sequence of float
        How often each is drawn from, relative to the others.

    Raises
    ------
    ValueError
        If they differ in seed, size or recordings of a group, or there are not as many shares.
    """

    def __init__(self, simulators: Sequence[RangeSimulator], shares: Sequence[float]) -> None:
        self.simulators, self.shares = tuple(simulators), np.array(shares, dtype=np.float64)
        alike = {(one.seed, one.size, one.together) for one in simulators}
        if len(alike) != 1 or len(simulators) != len(shares):
            raise ValueError(
                "Mixture: expected simulators of one seed, size and number of recordings in a "
                f"group, and a share of each, got {sorted(alike)} and {len(shares)} shares"
            )
        if not (self.shares >= 0).all() or not self.shares.sum() > 0:
            raise ValueError(f"Mixture: shares must be positive, got {shares}")
        self.seed = simulators[0].seed
        self.together = simulators[0].together
        self.modes = max(one.modes for one in simulators)
        self.most = max(one.settings.patches.most for one in simulators)

    def prepare(self, progress: bool = False) -> None:
        """Compute ahead the heads that are not on disk yet, see `RangeSimulator.prepare`."""
        for one in self.simulators:
            one.prepare(progress)

    def __len__(self) -> int:
        return len(self.simulators[0])

    def group(self, number: int, draw: int = 0) -> Group:
        """Simulate one group, see `RangeSimulator.group`."""
        generator = np.random.default_rng([self.seed, number, _CHOICE])
        chosen = generator.choice(len(self.shares), p=self.shares / self.shares.sum())
        group = self.simulators[int(chosen)].group(number, draw)
        lacking = self.most - group.maps.shape[1]
        rest = [(0, 0), (0, lacking), (0, 0)]
        return replace(
            group,
            maps=np.pad(group.maps, rest),
            courses=np.pad(group.courses, rest),
            seed_sources=np.pad(group.seed_sources, rest[:2], constant_values=-1),
        )
