"""The parts of the head model where the right answer is known: spheres, explicit sums."""

from __future__ import annotations

import itertools

import mne
import numpy as np
import pytest
import trimesh

from learnmm_esi.head import fsaverage
from learnmm_esi.head.cortex import N_VERTICES, fsaverage5
from learnmm_esi.head.fsaverage import region_sums
from learnmm_esi.head.gain import cortical_gain, move_inside
from learnmm_esi.head.model import HeadModelSettings
from learnmm_esi.head.regions import edge_graph, equal_area_cells, geodesic_distances
from learnmm_esi.head.skull import SKULLS, head_boundaries

EVERYWHERE = np.ones(2562, dtype=bool)


@pytest.fixture(scope="module")
def sphere():
    return trimesh.creation.icosphere(subdivisions=4)


def areas(mesh):
    return np.bincount(mesh.faces.ravel(), np.repeat(mesh.area_faces / 3, 3))


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


@pytest.mark.parametrize("skull", SKULLS)
def test_boundaries_are_closed_and_nested(skull):
    head = head_boundaries(ico=2, skull=skull)
    layers = head.inner_skull, head.outer_skull, head.skin
    for inner, outer in itertools.pairwise(layers):
        assert inner.is_watertight
        assert outer.is_watertight
        assert outer.volume > inner.volume > 0  # positive: faces point outwards
        assert outer.contains(inner.vertices).all()
    low, high = {"half": (3, 7), "ratio": (2, 6), "constant": (2.5, 5)}[skull]
    thickness = head.skull_thickness[head.upper] * 1e3
    assert low - 0.1 <= thickness.min()
    assert thickness.max() <= high + 0.1
    assert head.scalp_thickness.min() > 2e-3


def test_an_unknown_skull_is_refused():
    with pytest.raises(ValueError, match=r"one of \['constant', 'half', 'ratio'\], got 'thin'"):
        head_boundaries(ico=2, skull="thin")


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
        patch.setattr(fsaverage, "cortical_gain", spy_on(cortical_gain))
        model = fsaverage.fsaverage_head_model(settings, cache_dir=tmp_path_factory.mktemp("m"))
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
