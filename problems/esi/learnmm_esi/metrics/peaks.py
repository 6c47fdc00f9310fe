"""Peaks of a map on the cortex, and which true source each of them stands for."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.optimize import linear_sum_assignment

__all__ = ["PEAK_FRACTION", "Peaks", "matched_distances"]

PEAK_FRACTION = 0.1
"""Of the largest value of a map: lower local maxima are no peaks."""


class Peaks:
    """Local maxima over a neighbour graph.

    Parameters
    ----------
    neighbours : sparse matrix of bool, shape (sources, sources)
        Symmetric neighbour graph.
    """

    def __init__(self, neighbours: sparse.spmatrix) -> None:
        graph = sparse.csr_matrix(neighbours)
        degree = np.diff(graph.indptr)
        # Neighbours of each region in a row, filled up with the region itself.
        own = np.arange(graph.shape[0])
        self._beside = np.repeat(own[:, None], max(int(degree.max(initial=0)), 1), axis=1)
        row = np.repeat(own, degree)
        self._beside[row, np.arange(len(row)) - graph.indptr[row]] = graph.indices

    def __call__(self, maps: NDArray[np.float64], count: int) -> NDArray[np.int64]:
        """Find the strongest peaks of every map.

        Parameters
        ----------
        maps : ndarray, shape (batch, sources)
            Values that are not negative, each map with a positive one.
        count : int
            How many at most, ``1 <= count``.

        Returns
        -------
        ndarray of int64, shape (batch, count)
            Regions that exceed all their neighbours and reach `PEAK_FRACTION` of the largest
            value, strongest first, filled up with -1. Of equal neighbours the first one exceeds.
        """
        beside = self._beside
        own = np.arange(maps.shape[1])[:, None]
        higher = maps[:, :, None] > maps[:, beside]
        equal = (maps[:, :, None] == maps[:, beside]) & (own <= beside)
        peak = (higher | equal).all(axis=2)  # (batch, sources)
        peak &= maps >= PEAK_FRACTION * maps.max(axis=1, keepdims=True)
        height = np.where(peak, maps, -1.0)
        strongest = np.argsort(-height, axis=1, kind="stable")[:, :count]
        found = np.full((len(maps), count), -1, dtype=np.int64)
        kept = np.take_along_axis(peak, strongest, axis=1)
        found[:, : strongest.shape[1]] = np.where(kept, strongest, -1)
        return found


def matched_distances(distances: NDArray[np.float64]) -> NDArray[np.float64]:
    """Distance of every true source to the peak that stands for it.

    The assignment of true sources to peaks has the least sum of distances, no peak standing for
    two sources. Where there are fewer peaks than sources, the sources that are left over are
    charged their distance to the nearest peak of all; which ones are left over is part of the
    least sum.

    Parameters
    ----------
    distances : ndarray, shape (sources, peaks)
        At least one peak.

    Returns
    -------
    ndarray of float64, shape (sources,)
    """
    if distances.ndim != 2 or 0 in distances.shape:
        raise ValueError(
            f"matched_distances: expected distances (sources, peaks), got shape {distances.shape}"
        )
    missing = max(distances.shape[0] - distances.shape[1], 0)
    nearest = np.repeat(distances.min(axis=1, keepdims=True), missing, axis=1)
    cost = np.hstack([distances, nearest])
    source, peak = linear_sum_assignment(cost)
    matched: NDArray[np.float64] = cost[source, peak]  # sources in their order
    return matched
