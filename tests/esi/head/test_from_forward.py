"""Forward solutions that users bring along: taken when they can be, refused by name when not."""

from __future__ import annotations

import mne
import numpy as np
import pytest
from scipy.sparse.csgraph import connected_components

from learnmm_esi.head.cortex import fsaverage5
from learnmm_esi.head.electrodes import electrode_info
from learnmm_esi.head.from_forward import head_model_from_forward
from learnmm_esi.head.gain import source_spaces


def ring(n):
    return np.roll(np.eye(n), 1, axis=0) + np.roll(np.eye(n), -1, axis=0)


@pytest.fixture(scope="module")
def free(tmp_path_factory):
    """A free-orientation forward solution on fsaverage5 in a sphere, 100 sources."""
    with mne.use_log_level("ERROR"):
        spaces = source_spaces(fsaverage5(), "white", tmp_path_factory.mktemp("subjects"))
        for space, hemi in zip(spaces, fsaverage5(), strict=True):
            space["vertno"] = np.flatnonzero(hemi.cortex)[::190][:50]
            space["inuse"] = np.bincount(space["vertno"], minlength=space["np"])
            space["nuse"] = 50
        sphere = mne.make_sphere_model((0.0, 0.0, 0.04), head_radius=0.14)
        info = electrode_info(100.0)
        return mne.make_forward_solution(info, "fsaverage", spaces, sphere, meg=False, mindist=0)


@pytest.fixture(scope="module")
def model(free):
    return head_model_from_forward(free, distances=True)


def test_a_free_forward_solution_is_fixed_along_the_vertex_normals(free, model):
    fixed = mne.convert_forward_solution(
        free, surf_ori=True, force_fixed=True, use_cps=False, verbose="ERROR"
    )
    expected = fixed["sol"]["data"].astype(float)
    expected -= expected.mean(axis=0)
    scale = np.abs(expected).max()
    np.testing.assert_allclose(model.leadfield, expected, atol=1e-6 * scale)
    assert np.abs(model.leadfield.sum(axis=0)).max() < 1e-12 * scale
    again = head_model_from_forward(fixed)  # one that is fixed already
    np.testing.assert_allclose(again.leadfield, model.leadfield, atol=1e-6 * scale)


def test_places_are_in_the_mri_frame(free, model):
    white = [hemi.white for hemi in fsaverage5()]
    normals = np.concatenate(
        [hemi.mesh.vertex_normals[v] for hemi, v in zip(fsaverage5(), model.vertices, strict=True)]
    )
    expected = np.concatenate([w[v] for w, v in zip(white, model.vertices, strict=True)])
    np.testing.assert_allclose(model.positions, expected, atol=1e-6)
    assert (np.einsum("si,si->s", model.normals, normals) > 0.95).all()
    assert [len(v) for v in model.vertices] == [50, 50]


def test_neighbours_are_voronoi_cells_on_each_side(model):
    assert connected_components(model.neighbours)[0] == 2
    assert 4.5 < model.neighbours.sum(axis=1).mean() < 6.5
    assert np.isinf(model.distances[:50, 50:]).all()
    near = np.where(model.neighbours.toarray(), model.distances, np.nan)
    assert np.nanmedian(near) < 0.5 * np.median(model.distances[:50, :50])


def test_a_file_gives_the_same_model(free, model, tmp_path):
    path = tmp_path / "given-fwd.fif"
    mne.write_forward_solution(path, free, verbose="ERROR")
    read = head_model_from_forward(path)
    np.testing.assert_allclose(read.leadfield, model.leadfield, rtol=1e-4, atol=1e-3)
    np.testing.assert_array_equal(read.neighbours.toarray(), model.neighbours.toarray())
    assert read.distances is None


def test_the_forward_of_the_model_serves_mne(model):
    forward = model.forward()
    np.testing.assert_array_equal(forward["sol"]["data"], model.leadfield)
    info = model.info(100.0)
    assert all(np.linalg.norm(channel["loc"][:3]) > 0.05 for channel in info["chs"])
    evoked = mne.EvokedArray(1e-8 * model.leadfield[:, [30]], info, verbose="ERROR")
    evoked.set_eeg_reference(projection=True, verbose="ERROR")
    noise = mne.make_ad_hoc_cov(evoked.info, std=1e-7, verbose="ERROR")
    operator = mne.minimum_norm.make_inverse_operator(
        evoked.info, forward, noise, loose=0, depth=0, verbose="ERROR"
    )
    estimate = mne.minimum_norm.apply_inverse(evoked, operator, 1e-4, "sLORETA", verbose="ERROR")
    assert np.abs(estimate.data[:, 0]).argmax() == 30


def test_info_chooses_and_orders_the_channels(free):
    info = mne.create_info(["Pz", "EOG", "Cz", "Oz", "Fz"], 100.0, ["eeg", "eog", *["eeg"] * 3])
    info["bads"] = ["Oz"]
    model = head_model_from_forward(free, info)
    assert model.channel_names == ("Pz", "Cz", "Fz")
    row = [free["sol"]["row_names"].index(name) for name in model.channel_names]
    whole = head_model_from_forward(free).leadfield[row]
    np.testing.assert_allclose(model.leadfield, whole - whole.mean(axis=0), atol=1e-9)


def test_unknown_channels_are_named(free):
    info = mne.create_info(["Cz", "Pz", "E17"], 100.0, "eeg")
    with pytest.raises(ValueError, match="got 3 of which it lacks E17; it has Fp1"):
        head_model_from_forward(free, info)


@pytest.mark.parametrize("kind", ["discrete", "vol"])
def test_a_volume_source_space_is_refused(kind):
    with mne.use_log_level("ERROR"):
        sphere = mne.make_sphere_model((0.003, 0.004, 0.035), head_radius=0.1)
        grid = mne.setup_volume_source_space(pos=40.0, sphere=(0.01, 0.0, 0.04, 0.08))
        forward = mne.make_forward_solution(electrode_info(1.0), None, grid, sphere, meg=False)
    forward["src"][0]["type"] = kind
    with pytest.raises(ValueError, match="volume or grid source space, whose sources have no"):
        head_model_from_forward(forward)


def test_a_discrete_source_space_needs_its_neighbours(free):
    rng = np.random.default_rng(0)
    normals = rng.normal(size=(30, 3))
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    with mne.use_log_level("ERROR"):
        sphere = mne.make_sphere_model((0.0, 0.0, 0.04), head_radius=0.1)
        points = {"rr": [0, 0, 0.04] + 0.06 * normals, "nn": normals}
        discrete = mne.setup_volume_source_space(pos=points, sphere=sphere)
        info = electrode_info(100.0)
        forward = mne.make_forward_solution(info, None, discrete, sphere, meg=False)
    with pytest.raises(ValueError, match="'discrete' has no surface to find neighbours"):
        head_model_from_forward(forward)
    model = head_model_from_forward(forward, neighbours=ring(30))
    assert model.leadfield.shape == (90, 30)
    assert model.vertices is None


def test_aliases_of_a_standard_montage_are_named(free):
    """MNE's 10-20 montage lists T7, T8, P7 and P8 under their older names too."""
    places = electrode_info(100.0).get_montage().get_positions()
    known = places["ch_pos"]
    names = ("T7", "T8", "P7", "P8", "Cz", "Fz", "Oz")
    both = {name: known[name] for name in names} | {"T3": known["T7"], "T6": known["P8"]}
    montage = mne.channels.make_dig_montage(both, coord_frame="head")
    info = mne.create_info(list(both), 100.0, "eeg").set_montage(montage)
    with mne.use_log_level("ERROR"):
        sphere = mne.make_sphere_model((0.0, 0.0, 0.04), head_radius=0.14)
        forward = mne.make_forward_solution(
            info, "fsaverage", free["src"], sphere, meg=False, mindist=0
        )
    with pytest.raises(ValueError, match=r"rank 8 .* got 6: .* \(T7 = T3, P8 = T6\): leave out"):
        head_model_from_forward(forward)
    chosen = mne.pick_info(info, range(7))
    assert head_model_from_forward(forward, chosen).channel_names == names
