"""Cells of nearly equal area, on a sphere."""

from __future__ import annotations

import numpy as np
import pytest
import trimesh

from learnmm_esi.head.regions import equal_area_cells

EVERYWHERE = np.ones(2562, dtype=bool)


@pytest.fixture(scope="module")
def sphere():
    return trimesh.creation.icosphere(subdivisions=4)


def areas(mesh):
    return np.bincount(mesh.faces.ravel(), np.repeat(mesh.area_faces / 3, 3))


@pytest.mark.parametrize("n_cells", [1, 2, 50, 130])
def test_cells_of_a_sphere_are_equal(sphere, n_cells):
    labels, centres = equal_area_cells(sphere, areas(sphere), EVERYWHERE, n_cells)
    area = np.bincount(labels, areas(sphere), minlength=n_cells)
    assert area.min() > 0.85 * area.mean()
    assert area.max() < 1.15 * area.mean()
    np.testing.assert_array_equal(labels[centres], np.arange(n_cells))


@pytest.mark.parametrize("n_cells", [0, 2563])
def test_an_impossible_number_of_cells_is_refused(sphere, n_cells):
    with pytest.raises(ValueError, match=rf"n_cells must lie in 1..2562, got {n_cells}"):
        equal_area_cells(sphere, areas(sphere), EVERYWHERE, n_cells)
