"""Models that users bring along: taken when they can be, refused by name when not."""

from __future__ import annotations

import mne
import numpy as np
import pytest
from scipy import sparse
from scipy.sparse.csgraph import connected_components

from learnmm_esi.head.cortex import fsaverage5
from learnmm_esi.head.electrodes import electrode_info
from learnmm_esi.head.external import (
    head_model_from_forward,
    head_model_from_leadfield,
    read_head_model,
)
from learnmm_esi.head.gain import source_spaces
from learnmm_esi.head.report import report

SENSORS, SOURCES = 7, 20


def ring(n):
    return np.roll(np.eye(n), 1, axis=0) + np.roll(np.eye(n), -1, axis=0)


def arguments(**changes):
    rng = np.random.default_rng(0)
    given = {
        "leadfield": 100 * rng.normal(size=(SENSORS, SOURCES)),
        "positions": 0.05 * rng.normal(size=(SOURCES, 3)),
        "neighbours": ring(SOURCES),
        "channel_names": [f"EEG {i}" for i in range(SENSORS)],
    }
    return {**given, **changes}


# ------------------------------------------------------------------------------ bare lead fields


@pytest.mark.parametrize("graph", [ring(SOURCES), sparse.csr_matrix(ring(SOURCES))])
def test_a_bare_lead_field_is_referenced_and_kept(graph):
    given = arguments(neighbours=graph)
    model = head_model_from_leadfield(**given)
    expected = given["leadfield"] - given["leadfield"].mean(axis=0)
    np.testing.assert_allclose(model.leadfield, expected, atol=1e-12)
    np.testing.assert_array_equal(model.neighbours.toarray(), ring(SOURCES) > 0)
    assert model.neighbours.dtype == bool
    assert model.info(100.0)["ch_names"] == given["channel_names"]
    assert "6 of 7" in report(model)


def test_the_reference_of_a_bare_lead_field_does_not_matter():
    given = arguments()
    mastoid = {**given, "leadfield": given["leadfield"] - given["leadfield"][3]}
    one, other = head_model_from_leadfield(**given), head_model_from_leadfield(**mastoid)
    np.testing.assert_allclose(one.leadfield, other.leadfield, atol=1e-12)


def test_a_bare_lead_field_says_what_it_lacks():
    model = head_model_from_leadfield(**arguments())
    with pytest.raises(ValueError, match="no regions on fsaverage5"):
        model.expand(np.zeros(SOURCES))
    with pytest.raises(ValueError, match="bare lead field has no sensor positions"):
        model.forward()


def with_nan(array):
    array = np.array(array)
    array[0, 0] = np.nan
    return array


def lopsided():
    graph = ring(SOURCES)
    graph[0, 5] = 1
    return graph


GIVEN = arguments()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"leadfield": np.zeros(5)}, r"shape \(sensors, sources\), got \(5,\)"),
        ({"leadfield": with_nan(GIVEN["leadfield"])}, "leadfield must be finite, got 1 other"),
        ({"leadfield": 1e-3 * GIVEN["leadfield"]}, r"must be in V/\(A m\), .* got 0.1"),
        ({"leadfield": 1e6 * GIVEN["leadfield"]}, r"must be in V/\(A m\), .* got 1.*e\+08"),
        ({"leadfield": GIVEN["leadfield"][[0, 1, 2, 3, 4, 5, 5]]}, "must have rank 6 .*, got 5"),
        ({"positions": np.zeros((3, SOURCES))}, r"positions must have shape \(20, 3\), got"),
        ({"positions": with_nan(GIVEN["positions"])}, "positions must be finite"),
        ({"positions": 1e3 * GIVEN["positions"]}, "positions must be in metres, .* millimetres"),
        ({"neighbours": ring(19)}, r"neighbours must have shape \(20, 20\), got \(19, 19\)"),
        ({"neighbours": lopsided()}, "neighbours must be symmetric"),
        ({"neighbours": ring(SOURCES) + np.eye(SOURCES)}, "zero diagonal"),
        ({"channel_names": ["Cz"]}, "must name 7 sensors, got 1"),
        ({"channel_names": ["Cz", "Cz", *"abcde"]}, "must differ, got Cz more than once"),
        ({"channel_names": range(7)}, "must be strings, got 0"),
        ({"normals": np.zeros((2, 3))}, "normals must have shape"),
        ({"distances": np.zeros((2, 2))}, "distances must have shape"),
        ({"distances": -ring(SOURCES)}, "non-negative"),
        ({"distances": lopsided()}, "distances must be symmetric"),
    ],
)
def test_what_cannot_be_a_lead_field_is_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        head_model_from_leadfield(**arguments(**changes))


# ----------------------------------------------------------------------------- forward solutions


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


# --------------------------------------------------------------------- sources and sensors to name


def test_sensors_at_one_place_are_named():
    gain = GIVEN["leadfield"].copy()
    gain[5], gain[6] = gain[0], gain[2]
    message = r"rank 6 .*, got 4: .* \(EEG 0 = EEG 5, EEG 2 = EEG 6\): leave out one of each pair"
    with pytest.raises(ValueError, match=message):
        head_model_from_leadfield(**arguments(leadfield=gain))
    gain = GIVEN["leadfield"].copy()
    gain[6] = gain[0] + gain[1] - gain[2]  # a combination repeats none of them
    with pytest.raises(ValueError, match=r"repeat others or are combinations of them$"):
        head_model_from_leadfield(**arguments(leadfield=gain))


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


@pytest.mark.parametrize("value", [0.0, 250.0])
def test_sources_that_no_sensor_sees_are_named(value):
    gain = GIVEN["leadfield"].copy()
    gain[:, [4, 17]] = value
    message = r"leadfield has 2 of 20 sources that no sensor sees .*: number 4, 17 \(from 0\)"
    with pytest.raises(ValueError, match=message):
        head_model_from_leadfield(**arguments(leadfield=gain))


# ------------------------------------------------------------------- bare lead fields from files


def test_a_bare_lead_field_comes_from_a_file(tmp_path):
    path = tmp_path / "mine.npz"
    distances = np.abs(np.subtract.outer(np.arange(SOURCES), np.arange(SOURCES))).astype(float)
    np.savez(path, **GIVEN, distances=distances)
    for given in (path, str(path)):
        read = read_head_model(given)
        expected = head_model_from_leadfield(**GIVEN, distances=distances)
        np.testing.assert_array_equal(read.leadfield, expected.leadfield)
        np.testing.assert_array_equal(read.neighbours.toarray(), expected.neighbours.toarray())
        np.testing.assert_array_equal(read.distances, distances)
        assert read.channel_names == tuple(GIVEN["channel_names"])


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (
            lambda p: np.savez(p, **{k: v for k, v in GIVEN.items() if k != "positions"}),
            "lacks pos",
        ),
        (lambda p: np.savez(p, **GIVEN, gain=1), "lacks none of them, and has gain besides"),
        (lambda p: p.write_text("no arrays"), "is no .npz file of plain arrays"),
        (lambda p: p.write_bytes(b"PK\x03\x04" + bytes(50)), "is no .npz file of plain arrays"),
        (lambda p: np.savez(p, **{**GIVEN, "neighbours": np.array([{}])}), "of plain arrays"),
        (lambda p: np.savez(p, **{**GIVEN, "leadfield": np.zeros(3)}), r"shape \(sensors, sources"),
    ],
)
def test_other_files_are_no_bare_lead_fields(tmp_path, write, message):
    path = tmp_path / "mine.npz"
    write(path)
    with pytest.raises(ValueError, match=message):
        read_head_model(path)


def test_a_model_that_cannot_be_a_forward_says_how_to_train_on_it():
    with pytest.raises(ValueError, match=r"np.savez its arrays to a file, which train --forward"):
        head_model_from_leadfield(**GIVEN).forward()
