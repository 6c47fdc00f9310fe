"""Shortest paths, on a sphere."""

from __future__ import annotations

import numpy as np
import pytest
import trimesh

from learnmm_esi.head.geodesics import edge_graph, geodesic_distances

EVERYWHERE = np.ones(2562, dtype=bool)


@pytest.fixture(scope="module")
def sphere():
    return trimesh.creation.icosphere(subdivisions=4)


def test_geodesics_on_a_sphere_are_at_most_a_few_per_cent_too_long(sphere):
    ends = np.arange(0, 2562, 61)
    exact = np.arccos(np.clip(sphere.vertices[ends] @ sphere.vertices[ends].T, -1, 1))
    ratio = geodesic_distances(sphere, EVERYWHERE, ends)[exact > 0.2] / exact[exact > 0.2]
    assert ratio.min() > 0.998  # the mesh lies inside the sphere by 0.1 %
    assert ratio.max() < 1.06
    assert np.median(ratio) < 1.035


@pytest.mark.parametrize("diagonals", [True, False])
def test_graphs_have_the_indices_that_older_scipy_needs(sphere, diagonals):
    """scipy 1.13 and 1.14 search shortest paths with 32-bit indices only."""
    keep = np.arange(len(sphere.vertices)) % 7 > 0
    graph = edge_graph(sphere, keep, diagonals=diagonals)
    assert graph.indices.dtype == graph.indptr.dtype == np.int32
    assert (graph != graph.T).nnz == 0


def test_geodesics_go_around_what_is_left_out(sphere):
    keep = sphere.vertices[:, 2] > 0  # a hemisphere
    ends = np.flatnonzero(keep)[[0, -1]]
    free, bound = (geodesic_distances(sphere, m, ends)[0, 1] for m in (EVERYWHERE, keep))
    assert bound >= free
    cut = EVERYWHERE & (np.abs(sphere.vertices[:, 2]) > 0.1)  # two caps
    poles = [sphere.vertices[:, 2].argmax(), sphere.vertices[:, 2].argmin()]
    assert np.isinf(geodesic_distances(sphere, cut, np.array(poles))[0, 1])
