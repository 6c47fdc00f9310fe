"""Forward solutions of anybody on the template's regions: the same columns, nothing lost."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import mne
import numpy as np
import pytest

from learnmm_esi.head.construction import region_sums
from learnmm_esi.head.cortex import N_VERTICES, fsaverage5
from learnmm_esi.head.electrodes import electrode_info
from learnmm_esi.head.from_forward import eeg_forward, fixed_gain, head_model_from_forward
from learnmm_esi.head.gain import source_spaces
from learnmm_esi.head.model import Registration
from learnmm_esi.head.registration import SIDES, template_regions, template_spheres

COUNT = 18  # of electrodes


@pytest.fixture(scope="module")
def template(coarse_model):
    return coarse_model


@pytest.fixture(scope="module")
def full(tmp_path_factory):
    """A free-orientation forward solution on all vertices of fsaverage5, in a sphere."""
    with mne.use_log_level("ERROR"):
        spaces = source_spaces(fsaverage5(), "white", tmp_path_factory.mktemp("subjects"))
        info = mne.pick_info(electrode_info(100.0), range(0, 90, 90 // COUNT)[:COUNT])
        sphere = mne.make_sphere_model((0.0, 0.0, 0.04), head_radius=0.14)
        return mne.make_forward_solution(info, "fsaverage", spaces, sphere, meg=False, mindist=0)


@pytest.fixture(scope="module")
def sums(full, template):
    """What the template makes of the columns of all vertices."""
    columns = region_sums(fixed_gain(eeg_forward(full))[0], template.regions, 60)
    return columns - columns.mean(axis=0)


@pytest.fixture
def folder(tmp_path) -> Path:
    (tmp_path / "bert" / "surf").mkdir(parents=True)
    return tmp_path


def register(folder: Path, moved: np.ndarray | None = None, subject: str = "bert") -> None:
    """Write spheres of a subject whose vertices are those of fsaverage5, moved by so much."""
    for side, sphere, hemi in zip(SIDES, template_spheres(), fsaverage5(), strict=True):
        places = sphere if moved is None else sphere + moved
        path = folder / subject / "surf" / f"{side}.sphere.reg"
        mne.write_surface(path, 100 * places, hemi.faces, overwrite=True)


def of(subject: str | None, forward: mne.Forward) -> mne.Forward:
    named = forward.copy()
    for space in named["src"]:
        space["subject_his_id"] = subject
    return named


def some(forward: mne.Forward, chosen: np.ndarray) -> mne.Forward:
    """The forward solution of these vertices of each hemisphere."""
    stc = mne.SourceEstimate(np.zeros((2 * len(chosen), 1)), [chosen, chosen], 0, 1)
    return mne.forward.restrict_forward_to_stc(forward, stc)


def near(one: np.ndarray, other: np.ndarray, share: float) -> None:
    np.testing.assert_allclose(one, other, atol=share * np.abs(other).max(), rtol=0)


def test_all_vertices_of_the_template_give_its_own_columns(full, template, sums):
    """Of free and of fixed orientation; no file is needed."""
    model = template_regions(full, template)
    near(model.leadfield, sums, 1e-12)
    fixed = mne.convert_forward_solution(
        full, surf_ori=True, force_fixed=True, use_cps=False, verbose="ERROR"
    )
    near(template_regions(fixed, template).leadfield, sums, 1e-5)
    assert model.channel_names == tuple(full["sol"]["row_names"])
    for name in ("positions", "normals", "distances", "regions"):
        np.testing.assert_array_equal(getattr(model, name), getattr(template, name))
    assert (model.neighbours != template.neighbours).nnz == 0
    assert model.origin.own.all()


def test_an_identical_registration_gives_them_too(full, template, sums, folder):
    """Nothing but the places on the sphere matters: not the radius, nor how they were moved."""
    register(folder)
    near(template_regions(of("bert", full), template, folder).leadfield, sums, 1e-12)
    moved = 0.004 * np.random.default_rng(0).uniform(-1, 1, size=(N_VERTICES, 3))
    register(folder, moved)  # less than half of the way to the next vertex
    near(template_regions(of("bert", full), template, folder).leadfield, sums, 1e-12)


def test_a_turned_registration_gives_others(full, template, sums, folder):
    angle = np.radians(15)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    for side, sphere, hemi in zip(SIDES, template_spheres(), fsaverage5(), strict=True):
        places = np.c_[sphere[:, :2] @ turn.T, sphere[:, 2]]
        mne.write_surface(folder / "bert" / "surf" / f"{side}.sphere.reg", places, hemi.faces)
    turned = template_regions(of("bert", full), template, folder)
    assert np.linalg.norm(turned.leadfield - sums) > 0.3 * np.linalg.norm(sums)


@pytest.mark.parametrize("step", [5, 40])
def test_few_sources_stand_for_whole_regions(full, template, sums, step):
    """Each region has its moments, those of a source are shared out, and nothing is lost."""
    forward = some(full, np.arange(step // 2, N_VERTICES, step))
    model = template_regions(forward, template)
    registration = model.origin
    assert isinstance(registration, Registration)
    size = np.bincount(template.regions[template.regions >= 0])
    np.testing.assert_allclose(np.asarray(registration.shares.sum(axis=1)).ravel(), size)
    alike = (model.leadfield * sums).sum(axis=0)
    alike /= np.linalg.norm(model.leadfield, axis=0) * np.linalg.norm(sums, axis=0)
    assert np.median(alike) > (0.97 if step == 5 else 0.7)
    estimate = np.random.default_rng(1).normal(size=60)
    gain = head_model_from_forward(forward).leadfield
    near(gain @ (registration.shares.T @ estimate), model.leadfield @ estimate, 1e-5)


def test_regions_without_sources_have_the_nearest(full, template, folder):
    """Also those that none of the subject's vertices belong to."""
    left_out = np.flatnonzero(np.isin(template.regions, (7, 40)))
    chosen = np.setdiff1d(np.arange(N_VERTICES), left_out % N_VERTICES)
    model = template_regions(some(full, chosen), template)
    assert set(np.flatnonzero(~model.origin.own)) >= {7, 40}
    assert model.origin.own.sum() > 50
    for region in (7, 40):
        used = model.origin.shares[region].indices
        around = np.flatnonzero(template.neighbours[region].toarray())
        vertex = np.r_[chosen, chosen + N_VERTICES][used]
        assert set(template.regions[vertex]) <= {*around, 7, 40}


def test_a_source_space_that_is_too_coarse_is_told(full, template):
    message = r"40 sources become 60 regions, \d\d with one of .* Use a finer spacing, oct5"
    with pytest.warns(RuntimeWarning, match=message):
        template_regions(some(full, np.arange(0, N_VERTICES, 520)), template)


def test_sources_of_the_template_itself_are_taken_as_they_are(template):
    model = template_regions(template.forward(), template)
    near(model.leadfield, template.leadfield, 1e-12)


def test_the_model_serves_as_others_do(full, template, tmp_path):
    """Its forward solution, its channels, its pictures on fsaverage5, and once more itself."""
    path = tmp_path / "all-fwd.fif"
    mne.write_forward_solution(path, full, verbose="ERROR")
    model = template_regions(path, template)
    forward = model.forward()
    near(forward["sol"]["data"], model.leadfield, 1e-12)
    assert model.info(100.0)["ch_names"] == full["sol"]["row_names"]
    places = [channel["loc"][:3] for channel in model.info(100.0)["chs"]]
    expected = [channel["loc"][:3] for channel in full["info"]["chs"]]
    np.testing.assert_allclose(places, expected, atol=1e-6)
    assert model.expand(np.ones(60))[0].shape == (N_VERTICES,)
    near(template_regions(full, model).leadfield, model.leadfield, 1e-5)


def test_columns_of_single_vertices_are_means(full, template, sums):
    settings = dataclasses.replace(template.settings, column="vertex")
    single = dataclasses.replace(
        template, origin=dataclasses.replace(template.origin, settings=settings)
    )
    size = np.bincount(template.regions[template.regions >= 0])
    near(template_regions(full, single).leadfield, sums / size, 1e-12)


# ------------------------------------------------------------------------------------------- misuse


@pytest.mark.parametrize(
    ("kinds", "found"),
    [
        (["vol"], "volume"),
        (["discrete"], "discrete"),
        (["surf"], "surface"),
        (["surf", "surf", "vol"], "mixed: surface, surface, volume"),
    ],
)
def test_other_source_spaces_are_refused(full, template, kinds, found):
    forward = some(full, np.arange(0, N_VERTICES, 100))
    given = forward["src"]
    forward["src"] = mne.SourceSpaces([{**given[0], "type": kind} for kind in kinds])
    with pytest.raises(ValueError, match=rf"this source space is {found}\. Compute .*='oct6'"):
        template_regions(forward, template)


def test_a_registration_that_is_not_there_is_named(full, template, folder, monkeypatch):
    subject = of("bert", some(full, np.arange(0, N_VERTICES, 100)))
    expected = (
        r"'bert' to fsaverage is not there: no file .*bert.surf.lh\.sphere\.reg\. Free.* recon"
    )
    with pytest.raises(FileNotFoundError, match=expected):
        template_regions(subject, template, folder)
    monkeypatch.setenv("SUBJECTS_DIR", str(folder))
    with pytest.raises(FileNotFoundError, match=expected):
        template_regions(subject, template)
    register(folder)
    assert template_regions(subject, template).leadfield.shape == (COUNT, 60)
    (folder / "bert" / "surf" / "rh.sphere.reg").write_bytes(b"none")
    with pytest.raises(ValueError, match=r"rh\.sphere\.reg holds no spherical surface"):
        template_regions(subject, template)


def test_what_cannot_be_registered_is_named(full, template, folder):
    few = some(full, np.arange(0, N_VERTICES, 100))
    with pytest.raises(
        ValueError, match=r"of which subject .* set src.*MMInverse\(forward\) solves"
    ):
        template_regions(of(None, few), template)
    for side in SIDES:
        path = folder / "bert" / "surf" / f"{side}.sphere.reg"
        mne.write_surface(path, np.eye(3), np.array([[0, 1, 2]]))
    with pytest.raises(ValueError, match=r"has 3 vertices, the surface .* 10242: they are of diff"):
        template_regions(of("bert", few), template, folder)
    with pytest.raises(ValueError, match="template must have regions on fsaverage5"):
        template_regions(few, head_model_from_forward(few))
    wall = np.flatnonzero(template.regions[:N_VERTICES] < 0)
    stc = mne.SourceEstimate(np.zeros((2 * len(wall), 1)), [wall, wall], 0, 1)
    with pytest.raises(ValueError, match="it brings none of one of them"):
        template_regions(mne.forward.restrict_forward_to_stc(full, stc), template)
