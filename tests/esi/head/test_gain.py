"""The gain of every vertex and its sums, where the right answer is known."""

from __future__ import annotations

import mne
import numpy as np
import pytest
import trimesh

from learnmm_esi.head import construction
from learnmm_esi.head.construction import region_sums
from learnmm_esi.head.cortex import N_VERTICES, fsaverage5
from learnmm_esi.head.fsaverage import fsaverage_head_model
from learnmm_esi.head.gain import cortical_gain, move_inside
from learnmm_esi.head.settings import HeadModelSettings


@pytest.fixture(scope="module")
def sphere():
    return trimesh.creation.icosphere(subdivisions=4)


def test_points_move_straight_inwards_to_the_least_depth(sphere):
    direction = np.random.default_rng(0).normal(size=(200, 3))
    direction /= np.linalg.norm(direction, axis=1, keepdims=True)
    radius = np.random.default_rng(1).uniform(0.5, 1.05, size=200)  # some outside
    moved, depth = move_inside(radius[:, None] * direction, sphere, 0.1)
    flat = 0.01  # how far the mesh is from the sphere
    np.testing.assert_allclose(depth, 1 - radius, atol=flat)
    untouched = depth >= 0.1
    assert 0 < untouched.sum() < 200
    np.testing.assert_array_equal(moved[untouched], (radius[:, None] * direction)[untouched])
    after = np.linalg.norm(moved[~untouched], axis=1)
    np.testing.assert_allclose(after, 0.9, atol=flat)
    aside = moved - (moved * direction).sum(axis=1, keepdims=True) * direction
    assert np.linalg.norm(aside, axis=1).max() < 0.02
    assert move_inside(moved, sphere, 0.1)[1].min() >= 0.1


def test_region_sums_are_sums():
    gain = np.random.default_rng(0).normal(size=(4, 30))
    regions = np.random.default_rng(1).integers(-1, 5, size=30)
    sums = region_sums(gain, regions, 5)
    for k in range(5):
        np.testing.assert_allclose(sums[:, k], gain[:, regions == k].sum(axis=1), atol=1e-14)


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """A small model, the gain of every vertex that it was made of, and MNE's free solution."""
    seen = []

    def spy_on(function):
        def spy(*args, **kwargs):
            seen.append(function(*args, **kwargs))
            return seen[-1]

        return spy

    settings = HeadModelSettings(sources=60, ico=2, surface="white", min_depth=0.006)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(mne, "make_forward_solution", spy_on(mne.make_forward_solution))
        patch.setattr(construction, "cortical_gain", spy_on(cortical_gain))
        model = fsaverage_head_model(settings, cache_dir=tmp_path_factory.mktemp("m"))
    free, cortical = seen
    return model, cortical, free


def test_columns_are_the_referenced_sums_over_their_region(built):
    model, cortical, _ = built
    for source in (0, 29, 30, 59):  # both ends of both hemispheres
        column = sum(cortical.gain[:, v] for v in np.flatnonzero(model.regions == source))
        expected = column - column.mean()
        scale = np.abs(column).max()  # the sums are kept in single precision
        np.testing.assert_allclose(model.leadfield[:, source], expected, atol=2e-7 * scale)
    vertex = np.concatenate([model.vertices[0], model.vertices[1] + N_VERTICES])
    np.testing.assert_array_equal(model.positions, cortical.positions[vertex])
    np.testing.assert_array_equal(model.normals, cortical.normals[vertex])


def test_gain_is_that_of_mne_along_its_vertex_normals(built):
    _, cortical, free = built
    fixed = mne.convert_forward_solution(
        free, surf_ori=True, force_fixed=True, use_cps=False, verbose="ERROR"
    )
    cortex = np.concatenate([hemi.cortex for hemi in fsaverage5()])
    scale = np.abs(fixed["sol"]["data"]).max()
    np.testing.assert_allclose(
        cortical.gain[:, cortex], fixed["sol"]["data"], rtol=0, atol=1e-6 * scale
    )


def test_gain_is_where_cortex_is_and_turns_sign_with_the_dipole(built):
    hemispheres, cortical = fsaverage5(), built[1]
    cortex = np.concatenate([hemi.cortex for hemi in hemispheres])
    assert cortical.gain.shape == (90, 2 * N_VERTICES)
    assert np.isfinite(cortical.gain).all()
    assert (cortical.gain[:, ~cortex] == 0).all()
    assert (np.abs(cortical.gain[:, cortex]).max(axis=0) > 0).all()
    np.testing.assert_allclose(np.linalg.norm(cortical.normals, axis=1), 1, atol=1e-6)
    still = ~cortical.moved & cortex
    white = np.concatenate([hemi.white for hemi in hemispheres])
    np.testing.assert_array_equal(cortical.positions[still], white[still])
    # The two banks of a sulcus point at each other and have opposite topographies.
    deep = still & (cortical.depth > 0.02)
    some = np.flatnonzero(deep)[::4]
    near = np.linalg.norm(white[some, None] - white[some], axis=2) < 0.006
    against = near & (cortical.normals[some] @ cortical.normals[some].T < -0.95)
    referenced = cortical.gain[:, some] - cortical.gain[:, some].mean(axis=0)
    correlation = np.corrcoef(referenced.T)[against]
    assert len(correlation) > 20
    assert (correlation < -0.8).all()
