"""Cut a cortical surface into contiguous cells of nearly equal area, without random numbers.

Cells are geodesic Voronoi cells with an additive weight per seed, grown along mesh edges:

    cell(k) = { v : weight_k + dist(seed_k, v) is smallest }.

Each is a shortest-path tree, hence contiguous. Seeds start from farthest-point sampling and move to
the centre of their cell (Lloyd's iteration) while the weights shrink cells that are too large. The
weights do for graphs what capacity-constrained power diagrams do in the plane (Aurenhammer et al.,
Algorithmica 20, 1998).
"""

from __future__ import annotations

import numpy as np
import trimesh
from scipy import sparse
from scipy.sparse.csgraph import dijkstra

from learnmm_esi.head.geodesics import edge_graph, weighted_graph

__all__ = ["cell_neighbours", "equal_area_cells"]

MOVES = 60  # iterations in which seeds still move
ITERATIONS = 120
GAIN = 0.3  # of the radius error that one iteration corrects
TINY = 1e-9  # metres: a stored edge must not be zero, which sparse graphs read as "no edge"


def equal_area_cells(
    mesh: trimesh.Trimesh, areas: np.ndarray, keep: np.ndarray, n_cells: int
) -> tuple[np.ndarray, np.ndarray]:
    """Cut the vertices in `keep` into `n_cells` contiguous cells of nearly equal area.

    Parameters
    ----------
    mesh : trimesh.Trimesh
        A triangle mesh of n vertices.
    areas : ndarray, shape (n,)
        Area of each vertex.
    keep : ndarray of bool, shape (n,)
        Vertices to cut up; they must be connected by edges.
    n_cells : int
        Number of cells, at most ``keep.sum()``.

    Returns
    -------
    labels : ndarray of int, shape (n,)
        Cell of each vertex, -1 outside `keep`; cells ascend with their centre vertex.
    centres : ndarray of int, shape (n_cells,)
        The vertex of each cell nearest to its centre of mass, ascending.

    Raises
    ------
    ValueError
        If `n_cells` does not lie in 1 .. ``keep.sum()``.
    """
    if not 1 <= n_cells <= keep.sum():
        raise ValueError(f"n_cells must lie in 1..{keep.sum()}, got {n_cells}")
    graph = edge_graph(mesh, keep, diagonals=False)
    seeds = _farthest_points(graph, keep, n_cells)
    radius = np.sqrt(areas[keep].sum() / n_cells / np.pi)
    weights = np.zeros(n_cells)
    best, spread = np.empty(0, dtype=np.int64), np.inf
    for iteration in range(ITERATIONS):
        labels = _weighted_cells(graph, keep, seeds, weights)
        area = np.bincount(labels[keep], areas[keep], minlength=n_cells)
        if area.min() == 0:  # a weight let a neighbour swallow a seed: relax all of them
            weights *= 0.5
            continue
        if area.std() < spread:
            best, spread = labels, area.std()
        weights += GAIN * (np.sqrt(area / np.pi) - radius)
        if iteration < MOVES and iteration % 3 == 2:
            seeds = _central_vertices(mesh.vertices, areas, labels, n_cells)
    centres = _central_vertices(mesh.vertices, areas, best, n_cells)
    order = np.argsort(centres)
    rank = np.empty(n_cells, dtype=np.int64)
    rank[order] = np.arange(n_cells)
    return np.where(keep, rank[best], -1), centres[order]


def _farthest_points(graph: sparse.csr_array, keep: np.ndarray, n_points: int) -> np.ndarray:
    """Geodesic farthest-point sampling from the first vertex in `keep`."""
    points = [int(np.flatnonzero(keep)[0])]
    distance = dijkstra(graph, indices=points[0])
    for _ in range(1, n_points):
        points.append(int(np.argmax(np.where(keep, distance, -1.0))))
        # Vertices farther than the covering radius cannot come nearer through the new point.
        limit = float(distance[points[-1]]) + TINY
        distance = np.minimum(distance, dijkstra(graph, indices=points[-1], limit=limit))
    return np.array(points)


def _weighted_cells(
    graph: sparse.csr_array, keep: np.ndarray, seeds: np.ndarray, weights: np.ndarray
) -> np.ndarray:
    """Cell of each vertex: one Dijkstra run from a virtual node `weight_k` away from each seed."""
    n_vertices, n_seeds = graph.shape[0], len(seeds)
    virtual = n_vertices + np.arange(n_seeds)
    lead = weights - weights.min() + TINY
    total = n_vertices + n_seeds
    edges = graph.tocoo()
    grown = weighted_graph(
        np.r_[edges.data, lead], np.r_[edges.row, virtual], np.r_[edges.col, seeds], size=total
    )
    origin = dijkstra(grown, indices=virtual, min_only=True, return_predecessors=True)[2]
    return np.where(keep, origin[:n_vertices] - n_vertices, -1)


def _central_vertices(
    positions: np.ndarray, areas: np.ndarray, labels: np.ndarray, n_cells: int
) -> np.ndarray:
    """Vertex of each cell nearest to its centre of mass (the first one on a tie)."""
    kept = np.flatnonzero(labels >= 0)
    label, area = labels[kept], areas[kept]
    mass = np.bincount(label, area, minlength=n_cells)
    centre = np.stack(
        [np.bincount(label, area * positions[kept, i], minlength=n_cells) for i in range(3)], axis=1
    )
    away = np.linalg.norm(positions[kept] - centre[label] / mass[label, None], axis=1)
    order = np.lexsort((away, label))
    return kept[order[np.unique(label[order], return_index=True)[1]]]


def cell_neighbours(edges: np.ndarray, labels: np.ndarray, n_cells: int) -> sparse.csr_matrix:
    """Return which cells share a mesh edge: boolean, symmetric, empty diagonal.

    Parameters
    ----------
    edges : ndarray of int, shape (e, 2)
        Edges of the mesh.
    labels : ndarray of int, shape (n,)
        Cell of each vertex, negative where there is none.
    n_cells : int
        Number of cells.

    Returns
    -------
    csr_matrix of bool, shape (n_cells, n_cells)
    """
    one, other = labels[edges].T
    border = (one != other) & (one >= 0) & (other >= 0)
    rows, cols = np.r_[one[border], other[border]], np.r_[other[border], one[border]]
    shape = (n_cells, n_cells)
    matrix = sparse.csr_matrix((np.ones(len(rows)), (rows, cols)), shape=shape).astype(bool)
    matrix.sort_indices()
    return matrix
