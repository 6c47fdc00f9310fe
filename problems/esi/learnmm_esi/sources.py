"""Connected patches of cortical regions: which regions are active, and how strongly each.

A patch grows over the neighbour graph of the head model: a seed region and all regions within
``hops`` edges of it. Its amplitude falls from one at the seed, as a Gaussian of the distance to it.
"""

from __future__ import annotations

from typing import Literal, Protocol, get_args

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse.csgraph import dijkstra

Distance = Literal["geodesic", "euclidean"]

UNREACHABLE = np.iinfo(np.int16).max
"""Hop count of two regions that no path of neighbours joins, as those of two hemispheres."""


class SourceModel(Protocol):
    """What simulation and evaluation need to know of a head model."""

    @property
    def leadfield(self) -> NDArray[np.float64]:
        """Gain in V/(A m), average-referenced, shape (sensors, sources)."""

    @property
    def positions(self) -> NDArray[np.float64]:
        """Region centres in metres, shape (sources, 3)."""

    @property
    def neighbours(self) -> sparse.csr_matrix:
        """Which regions touch, shape (sources, sources): symmetric, without diagonal."""

    @property
    def distances(self) -> NDArray[np.float64] | None:
        """Geodesic distances in metres, shape (sources, sources); infinite across hemispheres."""


def check_distance(distance: str) -> None:
    """Raise a ValueError if there is no such distance."""
    if distance not in get_args(Distance):
        raise ValueError(f"distance must be 'geodesic' or 'euclidean', got {distance!r}")


def hop_counts(neighbours: sparse.spmatrix) -> NDArray[np.int16]:
    """Count the edges of the shortest path between every two regions.

    Parameters
    ----------
    neighbours : sparse matrix of bool, shape (sources, sources)
        Symmetric neighbour graph.

    Returns
    -------
    ndarray of int16, shape (sources, sources)
        Zero on the diagonal, `UNREACHABLE` where no path exists.
    """
    graph = sparse.csr_matrix(neighbours)
    if graph.shape[0] != graph.shape[1]:
        raise ValueError(f"hop_counts: the neighbour graph must be square, got {graph.shape}")
    if (graph != graph.T).nnz:
        raise ValueError("hop_counts: the neighbour graph must be symmetric")
    hops = dijkstra(graph.astype(np.float64), directed=False, unweighted=True)
    hops[~np.isfinite(hops)] = UNREACHABLE
    counts: NDArray[np.int16] = hops.astype(np.int16)
    return counts


def region_distances(model: SourceModel, distance: Distance) -> NDArray[np.float64]:
    """Distances between region centres along the cortex or through the air, in metres.

    Parameters
    ----------
    model : SourceModel
        The head model.
    distance : {"geodesic", "euclidean"}
        Along the cortical surface (``model.distances``) or straight (from ``model.positions``).

    Returns
    -------
    ndarray of float64, shape (sources, sources)

    Raises
    ------
    ValueError
        If the head model has no geodesic distances and they are asked for.
    """
    check_distance(distance)
    if distance == "geodesic":
        if model.distances is None:
            raise ValueError(
                "this head model knows no geodesic distances: use distance='euclidean'"
            )
        return np.asarray(model.distances, dtype=np.float64)
    # One coordinate at a time: an (n, n, 3) temporary would triple the memory.
    x, y, z = ((axis[:, None] - axis[None, :]) ** 2 for axis in model.positions.T)
    straight: NDArray[np.float64] = np.sqrt(x + y + z)
    return straight


class Patches:
    """All patches of a head model.

    Parameters
    ----------
    model : SourceModel
        The head model.
    distance : {"geodesic", "euclidean"}, default "geodesic"
        Distance that the amplitude falls with.
    edge_weight : float, default exp(-2)
        Amplitude at the farthest region of the patch, in (0, 1). The default makes the standard
        deviation of the Gaussian half the patch's radius: ``exp(-1/2 (d / (d_max/2))^2)``.

    Notes
    -----
    With ``d`` the distance to the seed and ``d_max`` its largest value in the patch,

    ``weight(d) = edge_weight ** ((d / d_max) ** 2)``.
    """

    def __init__(
        self,
        model: SourceModel,
        distance: Distance = "geodesic",
        edge_weight: float = float(np.exp(-2.0)),
    ):
        if not 0.0 < edge_weight < 1.0:
            raise ValueError(f"Patches: edge_weight must lie in (0, 1), got {edge_weight}")
        self.hops = hop_counts(model.neighbours)
        self.distances = region_distances(model, distance)
        self.edge_weight = float(edge_weight)

    def regions(self, seed: int, hops: int) -> NDArray[np.int64]:
        """Regions within `hops` edges of `seed`, ascending, the seed included."""
        n = len(self.hops)
        if not 0 <= seed < n:
            raise IndexError(f"Patches: seed {seed} is not one of the {n} regions")
        if hops < 0:
            raise ValueError(f"Patches: hops must not be negative, got {hops}")
        return np.flatnonzero(self.hops[seed] <= hops)

    def weights(self, seed: int, hops: int) -> NDArray[np.float64]:
        """Amplitude of every region: one at the seed, zero outside the patch.

        Parameters
        ----------
        seed : int
            Region at the centre.
        hops : int
            Radius of the patch in edges; zero gives the seed alone.

        Returns
        -------
        ndarray of float64, shape (sources,)
        """
        return self.weights_over(seed, self.regions(seed, hops))

    def weights_over(self, seed: int, regions: NDArray[np.int64]) -> NDArray[np.float64]:
        """Amplitude of every region in a patch of another shape.

        Parameters
        ----------
        seed : int
            Region at the centre.
        regions : ndarray of int
            Those of the patch.

        Returns
        -------
        ndarray of float64, shape (sources,)
            See `weights`.
        """
        distances = self.distances[seed, regions]
        radius = distances.max()
        weights = np.zeros(len(self.hops))
        relative = distances / radius if radius > 0.0 else np.zeros_like(distances)
        weights[regions] = self.edge_weight ** (relative**2)
        return weights
