"""Patches that grow in a direction: irregular outlines, as those of the public spike simulations.

After the region growing of Sun, Sohrabpour, Worrell and He, PNAS 119 (2022), as its authors
published it.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

# Added to the chance of a region of ring r in a patch that reaches k rings, by (k, r).
_BIAS = {(2, 2): 0.0, (3, 2): 0.1, (3, 3): -0.15}


class DirectedGrowth:
    """Patches around any region: the first ring whole, the second and third in part.

    Parameters
    ----------
    positions : ndarray, shape (sources, 3)
        Region centres in metres.
    hops : ndarray of int, shape (sources, sources)
        See `hop_counts`.

    Notes
    -----
    The direction is that of a region of the first ring, drawn uniformly. With ``c`` the cosine
    between it and a region's own direction from the seed, a region of the second ring joins with
    probability ``p = (|c| - min |c|) / (max |c| - min |c|)`` over the ring, plus 0.1 where a third
    ring follows. That ring is what lies beside the regions chosen so far; its regions join with
    probability ``p - 0.15``. At last, regions all of whose neighbours have joined join as well.
    """

    def __init__(self, positions: NDArray[np.float64], hops: NDArray[np.int16]) -> None:
        self._positions = np.asarray(positions, dtype=np.float64)
        self._hops = hops
        self._touch = hops == 1  # (n, n)

    def __call__(self, seed: int, rings: int, generator: np.random.Generator) -> NDArray[np.int64]:
        """Grow a patch.

        Parameters
        ----------
        seed : int
            Region at the centre.
        rings : int
            How far it reaches, 1 to 3 edges.
        generator : numpy.random.Generator
            Where its outline comes from.

        Returns
        -------
        ndarray of int64
            Its regions, ascending.
        """
        patch = self._hops[seed] <= 1
        first = np.flatnonzero(self._touch[seed])
        if len(first) == 0 or rings < 2:
            return np.flatnonzero(patch)
        along = self._directions(seed, first[[generator.integers(len(first))]])[0]
        candidates = self._hops[seed] == 2
        for ring in range(2, rings + 1):
            chosen = self._chosen(
                seed, np.flatnonzero(candidates), along, _BIAS[rings, ring], generator
            )
            patch[chosen] = True
            candidates = self._touch[chosen].any(axis=0) & ~patch
        return np.flatnonzero(patch | self._holes(patch, seed, rings))

    def _chosen(
        self,
        seed: int,
        ring: NDArray[np.int64],
        along: NDArray[np.float64],
        bias: float,
        generator: np.random.Generator,
    ) -> NDArray[np.int64]:
        """Members of a ring, those in the direction or against it rather than others."""
        if len(ring) == 0:
            return ring
        aligned = np.abs(self._directions(seed, ring) @ along)
        spread = np.ptp(aligned)
        chance = (aligned - aligned.min()) / spread if spread > 0.0 else np.ones(len(ring))
        return ring[generator.random(len(ring)) < chance + bias]

    def _directions(self, seed: int, regions: NDArray[np.int64]) -> NDArray[np.float64]:
        """Unit vectors from the seed to the regions."""
        away = self._positions[regions] - self._positions[seed]
        length = np.linalg.norm(away, axis=1, keepdims=True)
        directions: NDArray[np.float64] = away / np.where(length > 0.0, length, 1.0)
        return directions

    def _holes(self, patch: NDArray[np.bool_], seed: int, rings: int) -> NDArray[np.bool_]:
        """Regions within reach all of whose neighbours are in the patch."""
        inside = self._touch[:, patch].sum(axis=1)
        surrounded = inside == self._touch.sum(axis=1)
        holes: NDArray[np.bool_] = surrounded & (self._hops[seed] <= rings)
        return holes
