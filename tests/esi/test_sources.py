"""Patches of cortical regions: which regions, and how strongly each."""

from __future__ import annotations

import math
from types import SimpleNamespace

import numpy as np
import pytest
from scipy import sparse

from learnmm_esi.sources import UNREACHABLE, Patches, hop_counts, region_distances


@pytest.fixture
def path_model():
    """Four regions in a row, 1 cm apart and bent, and a fifth that touches none."""
    positions = 0.01 * np.array([[0, 0, 0], [1, 0, 0], [2, 0, 0], [2, 1, 0], [9, 9, 9]], float)
    edges = sparse.diags([[1, 1, 1, 0], [1, 1, 1, 0]], [-1, 1], dtype=bool).tocsr()
    geodesic = 0.01 * np.abs(np.subtract.outer(np.arange(5.0), np.arange(5.0)))
    geodesic[4, :4] = geodesic[:4, 4] = np.inf
    return SimpleNamespace(
        leadfield=np.random.default_rng(0).standard_normal((3, 5)),
        positions=positions,
        neighbours=edges,
        distances=geodesic,
    )


def test_hop_counts_of_a_path(path_model):
    hops = hop_counts(path_model.neighbours)
    assert hops[0].tolist() == [0, 1, 2, 3, UNREACHABLE]
    assert (hops == hops.T).all()


def test_patch_weights_by_hand(path_model):
    # d = 0, 1, 2 cm, d_max = 2 cm: exp(-1/2 (d / 1 cm)^2).
    expected = [1.0, math.exp(-0.5), math.exp(-2.0), 0.0, 0.0]
    np.testing.assert_allclose(Patches(path_model).weights(0, 2), expected, rtol=1e-14)
    half = Patches(path_model, edge_weight=0.5).weights(1, 2)
    np.testing.assert_allclose(half, [0.5**0.25, 1.0, 0.5**0.25, 0.5, 0.0], rtol=1e-14)


def test_patch_distance_is_a_choice(path_model):
    # Around the bend the straight way from 1 to 3 is sqrt(2) cm, the way along the path 2 cm.
    assert region_distances(path_model, "euclidean")[1, 3] == pytest.approx(0.01 * math.sqrt(2))
    straight = Patches(path_model, "euclidean").weights(1, 2)
    np.testing.assert_allclose(straight[[0, 2]], math.exp(-2.0 / 2.0), rtol=1e-12)


def test_a_patch_of_one_region_has_weight_one(path_model):
    assert Patches(path_model).weights(4, 3).tolist() == [0, 0, 0, 0, 1]
    assert Patches(path_model).weights(2, 0).tolist() == [0, 0, 1, 0, 0]


def test_patches_stay_connected_and_in_their_hemisphere(small_model):
    patches = Patches(small_model)
    for seed in (0, 17, 63):
        regions = patches.regions(seed, 3)
        assert seed in regions
        assert np.isfinite(small_model.distances[seed, regions]).all()
        inside = small_model.neighbours[regions][:, regions]
        assert sparse.csgraph.connected_components(inside)[0] == 1


def test_misuse_is_named(path_model):
    with pytest.raises(IndexError, match="seed 5"):
        Patches(path_model).weights(5, 1)
    with pytest.raises(ValueError, match="hops"):
        Patches(path_model).weights(0, -1)
    with pytest.raises(ValueError, match="edge_weight"):
        Patches(path_model, edge_weight=1.0)
    with pytest.raises(ValueError, match="must be 'geodesic' or 'euclidean', got 'manhattan'"):
        Patches(path_model, "manhattan")
    path_model.distances = None
    with pytest.raises(ValueError, match="no geodesic distances: use distance='euclidean'"):
        Patches(path_model)
    with pytest.raises(ValueError, match="square"):
        hop_counts(sparse.csr_matrix((2, 3)))
    with pytest.raises(ValueError, match="symmetric"):
        hop_counts(sparse.csr_matrix(([True], ([0], [1])), shape=(2, 2)))
