"""The gain of the scalp: caps that follow from it are those that MNE-Python computes."""

from __future__ import annotations

from pathlib import Path

import mne
import numpy as np
import pytest

from learnmm_esi.head.cortex import fsaverage5
from learnmm_esi.head.electrodes import electrode_info, electrode_names
from learnmm_esi.head.fsaverage import fsaverage_head_model
from learnmm_esi.head.scalp import ScalpGain, head_to_mri, scalp_gain
from learnmm_esi.head.settings import HeadModelSettings
from learnmm_esi.head.warp import NO_WARP, HeadWarp

SMALL = HeadModelSettings(sources=64, ico=2)


@pytest.fixture(scope="module")
def scalp(head_models: Path) -> ScalpGain:
    return scalp_gain(SMALL, cache_dir=head_models)


@pytest.fixture(scope="module")
def places() -> np.ndarray:
    places = np.array([channel["loc"][:3] for channel in electrode_info(1.0)["chs"]])
    return mne.transforms.apply_trans(head_to_mri(), places)


def test_a_cap_is_that_of_mne(scalp: ScalpGain, places: np.ndarray, head_models: Path) -> None:
    theirs = fsaverage_head_model(SMALL, cache_dir=head_models)
    mine = scalp.head_model(places, electrode_names())
    # MNE keeps single precision, and interpolates with weights of single precision.
    assert np.linalg.norm(mine.leadfield - theirs.leadfield) < 2e-3 * np.linalg.norm(mine.leadfield)
    for name in ("positions", "normals", "distances", "regions"):
        assert np.array_equal(getattr(mine, name), getattr(theirs, name)), name
    assert (mine.neighbours != theirs.neighbours).nnz == 0
    assert np.abs(mine.leadfield.sum(axis=0)).max() < 1e-12 * np.abs(mine.leadfield).max()


def test_fewer_electrodes_see_the_same(scalp: ScalpGain, places: np.ndarray) -> None:
    whole, few = scalp.leadfield(places), scalp.leadfield(places[::3])
    np.testing.assert_allclose(few, whole[::3] - whole[::3].mean(axis=0), rtol=0, atol=1e-9)


def test_a_vertex_sees_what_it_sees(scalp: ScalpGain) -> None:
    vertices, weights = scalp.corners(scalp.skin.vertices[5:9])
    assert np.array_equal(vertices[weights > 1e-9], np.arange(5, 9))
    np.testing.assert_allclose(weights.max(axis=1), 1, rtol=1e-9)
    placed, distance = scalp.place(1.1 * scalp.skin.vertices[5:9])
    assert (distance > 0).all()
    assert scalp.place(placed)[1].max() < 1e-9


def test_folded_regions_cancel_along_normals_what_they_do_not_along_axes(
    scalp: ScalpGain,
) -> None:
    """Normals of a fold point against each other; axes never do."""
    fixed = np.linalg.norm(scalp.gain, axis=0)
    free = np.linalg.norm(scalp.free, axis=(0, 2))
    assert (fixed <= free * (1 + 1e-5)).mean() > 0.9


def test_columns_of_vertices_and_foreign_boundaries_are_refused() -> None:
    for settings in (HeadModelSettings(column="vertex"), HeadModelSettings(skull="fsaverage")):
        with pytest.raises(ValueError, match="scalp_gain: the columns of a cap are sums"):
            scalp_gain(settings)


def test_a_warp_is_a_draw() -> None:
    hemisphere = fsaverage5()[0]
    assert NO_WARP(hemisphere) is hemisphere
    warp = HeadWarp(3, stretch=0.05, shift=0.003, bend=0.003)
    moved, again = warp(hemisphere), warp(hemisphere)
    assert np.array_equal(moved.pial, again.pial)
    apart = np.linalg.norm(moved.pial - hemisphere.pial, axis=1)
    assert 1e-3 < np.median(apart) < 20e-3
    other = HeadWarp(4, stretch=0.05, shift=0.003, bend=0.003)(hemisphere)
    assert not np.allclose(other.pial, moved.pial)
