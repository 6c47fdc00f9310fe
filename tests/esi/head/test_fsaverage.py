"""The fsaverage head model at ico=3: regions, lead field, and what MNE makes of it."""

from __future__ import annotations

import mne
import numpy as np
import pytest
from scipy import sparse
from scipy.sparse.csgraph import connected_components

from learnmm_esi.head.boundaries import CENTRE
from learnmm_esi.head.cortex import N_VERTICES, fsaverage5
from learnmm_esi.head.electrodes import ALIASES
from learnmm_esi.head.report import report
from learnmm_esi.head.spectrum import lead_field_spectrum

SOURCES = 994


@pytest.fixture(scope="module")
def model(fsaverage_model):
    return fsaverage_model


@pytest.fixture(scope="module")
def cortex():
    """Of both hemispheres: cortex mask, vertex areas, edges."""
    hemispheres = fsaverage5()
    edges = [hemi.mesh.edges_unique + k * N_VERTICES for k, hemi in enumerate(hemispheres)]
    return (
        np.concatenate([hemi.cortex for hemi in hemispheres]),
        np.concatenate([hemi.vertex_areas for hemi in hemispheres]),
        np.concatenate(edges),
    )


# ------------------------------------------------------------------------------------- regions


def test_regions_are_the_cortex_without_the_medial_wall(model, cortex):
    mask = cortex[0]
    np.testing.assert_array_equal(model.regions >= 0, mask)
    np.testing.assert_array_equal(np.unique(model.regions), np.arange(-1, SOURCES))
    assert 600 < (~mask).sum() / 2 < 800  # per hemisphere; white == pial alone flags about 300
    # The wall is around the thalamus: near the midline, and no source lies there.
    white = np.concatenate([hemi.white for hemi in fsaverage5()])
    assert np.median(np.abs(white[~mask, 0])) < 0.012
    assert np.linalg.norm(model.positions - [0.0, -0.015, 0.010], axis=1).min() > 0.012


def test_each_region_is_one_piece(model, cortex):
    edges = cortex[2]
    inside = edges[model.regions[edges[:, 0]] == model.regions[edges[:, 1]]]
    graph = sparse.coo_array((np.ones(len(inside)), inside.T), shape=(len(model.regions),) * 2)
    component = connected_components(graph, directed=False)[1]
    pieces = np.unique(component[model.regions >= 0])
    assert len(pieces) == SOURCES


def test_regions_have_nearly_the_same_area(model, cortex):
    mask, areas, _ = cortex
    area = np.bincount(model.regions[mask], areas[mask])
    assert area.std() < 0.06 * area.mean()
    assert area.min() > 0.8 * area.mean()
    assert area.max() < 1.25 * area.mean()


def test_sources_are_vertices_of_their_regions_in_order(model):
    left, right = model.vertices
    assert (np.diff(left) > 0).all()
    assert (np.diff(right) > 0).all()
    vertex = np.concatenate([left, right + N_VERTICES])
    np.testing.assert_array_equal(model.regions[vertex], np.arange(SOURCES))
    assert (model.positions[: len(left), 0] < 0.005).all()
    assert (model.positions[len(left) :, 0] > -0.005).all()


def test_neighbours_share_an_edge_and_are_mutual(model, cortex):
    graph = model.neighbours
    assert graph.dtype == bool
    assert sparse.issparse(graph)
    assert graph.format == "csr"
    assert (graph != graph.T).nnz == 0
    assert not graph.diagonal().any()
    count, side = connected_components(graph, directed=False)
    assert count == 2
    assert len(np.unique(side[: len(model.vertices[0])])) == 1
    expected = np.zeros((SOURCES, SOURCES), dtype=bool)
    for one, other in cortex[2]:
        a, b = model.regions[one], model.regions[other]
        if a >= 0 and b >= 0 and a != b:
            expected[a, b] = expected[b, a] = True
    np.testing.assert_array_equal(graph.toarray(), expected)
    assert 5.5 < graph.sum(axis=1).mean() < 6.0  # 6 on a closed surface


def test_distances_are_a_metric_along_each_hemisphere(model):
    distance, n_left = model.distances, len(model.vertices[0])
    np.testing.assert_array_equal(distance, distance.T)
    assert (np.diag(distance) == 0).all()
    assert np.isinf(distance[:n_left, n_left:]).all()
    left = distance[:n_left, :n_left]
    assert np.isfinite(left).all()
    through = left[:, :40]  # no detour through one of these is shorter
    assert all((left <= through[:, [k]] + through[:, k] + 1e-12).all() for k in range(40))
    nearest = np.where(np.eye(SOURCES, dtype=bool), np.inf, distance).min(axis=1)
    assert nearest.min() > 0.005
    assert nearest.max() < 0.015


# ---------------------------------------------------------------------------------- lead field


def test_lead_field_is_average_referenced_and_otherwise_of_full_rank(model):
    leadfield = model.leadfield
    assert leadfield.shape == (90, SOURCES)
    assert leadfield.dtype == np.float64
    assert np.abs(leadfield.sum(axis=0)).max() < 1e-12 * np.abs(leadfield).max()
    spectrum = lead_field_spectrum(leadfield)
    assert spectrum.rank == 89
    assert 1e3 < spectrum.condition < 3e3
    assert 250 < spectrum.uniformity < 400


def test_channels_are_the_montage_without_the_old_names(model):
    assert len(model.channel_names) == 90
    assert not set(ALIASES) & set(model.channel_names)
    info = model.info(512.0)
    assert info["sfreq"] == 512.0
    assert tuple(info["ch_names"]) == model.channel_names
    assert all(np.isfinite(channel["loc"][:3]).all() for channel in info["chs"])


def test_radial_sources_peak_under_their_electrode(model):
    """A dipole that points at an electrode from below makes it, or one beside it, positive most."""
    to_head = model.forward()["mri_head_t"]["trans"]
    rotation, shift = to_head[:3, :3], to_head[:3, 3]
    place = {c["ch_name"]: (c["loc"][:3] - shift) @ rotation for c in model.info(1.0)["chs"]}
    right = 0
    for name in ("Fz", "C3", "C4", "F3", "F4", "P3", "P4", "O1", "O2", "T7", "T8"):
        outwards = (place[name] - CENTRE) / np.linalg.norm(place[name] - CENTRE)
        away = model.positions - place[name]
        aside = np.linalg.norm(away - np.outer(away @ outwards, outwards), axis=1)
        radial = model.normals @ outwards - 1e3 * ((aside > 0.02) | (away @ outwards < -0.04))
        column = model.leadfield[:, radial.argmax()]
        peak = model.channel_names[column.argmax()]
        right += np.linalg.norm(place[peak] - place[name]) < 0.045
    assert right >= 10


def test_report_says_what_was_moved_and_that_nothing_was_dropped(model):
    text = report(model)
    assert "994 (497 left, 497 right)" in text
    assert f"{model.origin.facts['vertices_moved']:.0f} to a depth of 6.2 mm" in text
    assert "vertices dropped" in text
    assert "89 of 90" in text
    assert (
        model.origin.facts["vertices_moved"]
        > model.origin.facts["vertices_outside_before_moving"]
        > 0
    )


# ------------------------------------------------------------------------------ round trip to MNE


@pytest.fixture(scope="module")
def forward(model):
    return model.forward()


def test_forward_holds_the_lead_field_and_the_sources(model, forward):
    assert mne.forward.is_fixed_orient(forward)
    np.testing.assert_array_equal(forward["sol"]["data"], model.leadfield)
    assert tuple(forward["sol"]["row_names"]) == model.channel_names
    for space, vertices in zip(forward["src"], model.vertices, strict=True):
        np.testing.assert_array_equal(space["vertno"], vertices)
    to_head = forward["mri_head_t"]
    expected = mne.transforms.apply_trans(to_head, model.positions)
    np.testing.assert_allclose(forward["source_rr"], expected, atol=1e-7)
    expected = mne.transforms.apply_trans(to_head, model.normals, move=False)
    np.testing.assert_allclose(forward["source_nn"], expected, atol=1e-6)


def test_applying_the_forward_to_a_unit_source_gives_its_column(model, forward):
    data = np.zeros((SOURCES, 2))
    data[17, 0], data[600, 1] = 1e-9, -1e-9
    estimate = mne.SourceEstimate(data, list(model.vertices), tmin=0.0, tstep=0.01)
    evoked = mne.apply_forward(forward, estimate, model.info(100.0), verbose="ERROR")
    expected = 1e-9 * np.stack([model.leadfield[:, 17], -model.leadfield[:, 600]], axis=1)
    np.testing.assert_allclose(evoked.data, expected, rtol=1e-12, atol=0)


def test_forward_survives_a_file_and_an_orientation_request(model, forward, tmp_path):
    path = tmp_path / "model-fwd.fif"
    mne.write_forward_solution(path, forward, verbose="ERROR")
    again = mne.read_forward_solution(path, verbose="ERROR")
    again = mne.convert_forward_solution(again, surf_ori=True, force_fixed=True, verbose="ERROR")
    scale = np.abs(model.leadfield).max()
    np.testing.assert_allclose(again["sol"]["data"], model.leadfield, atol=1e-6 * scale)


def test_an_inverse_operator_finds_a_source(model, forward):
    source = 300
    info = model.info(100.0)
    evoked = mne.EvokedArray(1e-8 * model.leadfield[:, [source, source]], info, verbose="ERROR")
    evoked.set_eeg_reference(projection=True, verbose="ERROR")
    noise = mne.make_ad_hoc_cov(evoked.info, std=1e-7, verbose="ERROR")
    operator = mne.minimum_norm.make_inverse_operator(
        evoked.info, forward, noise, loose=0, depth=0, verbose="ERROR"
    )
    estimate = mne.minimum_norm.apply_inverse(evoked, operator, 1 / 25, "sLORETA", verbose="ERROR")
    assert np.abs(estimate.data[:, 0]).argmax() == source  # sLORETA has no bias without noise


# ------------------------------------------------------------------------------------ expanding


def test_expand_paints_regions_and_leaves_the_medial_wall_empty(model):
    left, right = model.expand(np.arange(SOURCES))
    both = np.concatenate([left, right])
    assert left.shape == right.shape == (N_VERTICES,)
    np.testing.assert_array_equal(np.isnan(both), model.regions < 0)
    np.testing.assert_array_equal(both[model.regions >= 0], model.regions[model.regions >= 0])
    assert model.expand(np.zeros((SOURCES, 3)))[1].shape == (N_VERTICES, 3)
    with pytest.raises(ValueError, match=r"shape \(994, ...\), got \(90,\)"):
        model.expand(np.zeros(90))
