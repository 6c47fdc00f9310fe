"""FreeSurfer's boundaries of a fetched fsaverage, played by constructed ones in MNE's own files."""

from __future__ import annotations

import re

import mne
import numpy as np
import pytest
from typer.testing import CliRunner

from learnmm_esi.cli.app import app
from learnmm_esi.head import fsaverage
from learnmm_esi.head.boundaries import head_boundaries
from learnmm_esi.head.freesurfer import freesurfer_boundaries, read_surfaces
from learnmm_esi.head.fsaverage import fsaverage_head_model
from learnmm_esi.head.settings import HeadModelSettings

SETTINGS = HeadModelSettings(sources=60, ico=2, skull="fsaverage")
NAME = "fsaverage-320-320-320-bem.fif"


@pytest.fixture(scope="module")
def bem(tmp_path_factory):
    """The surfaces of the constructed model as MNE makes them of FreeSurfer's files."""
    subjects_dir = tmp_path_factory.mktemp("written")
    folder = subjects_dir / "fsaverage" / "bem"
    folder.mkdir(parents=True)
    head = head_boundaries(ico=2)
    meshes = {
        "inner_skull": head.inner_skull,
        "outer_skull": head.outer_skull,
        "outer_skin": head.skin,
    }
    for name, mesh in meshes.items():
        mne.write_surface(folder / f"{name}.surf", mesh.vertices * 1e3, mesh.faces)
    return mne.make_bem_model("fsaverage", ico=None, subjects_dir=subjects_dir, verbose="ERROR")


@pytest.fixture
def write(tmp_path):
    """Write surfaces where a fetched fsaverage has them; returns the subjects directory."""

    def write(surfaces, subjects_dir=tmp_path / "subjects"):
        folder = subjects_dir / "fsaverage" / "bem"
        folder.mkdir(parents=True, exist_ok=True)
        mne.write_bem_surfaces(folder / NAME, surfaces, overwrite=True, verbose="ERROR")
        return subjects_dir

    return write


def changed(bem, number, **changes):
    """Surfaces of which the one with this identifier is another."""
    return [{**surf, **(changes if surf["id"] == number else {})} for surf in bem]


def scaled(bem, number, factor):
    (surf,) = (surf for surf in bem if surf["id"] == number)
    centre = surf["rr"].mean(axis=0)
    return changed(bem, number, rr=centre + factor * (surf["rr"] - centre))


# ------------------------------------------------------------------------------------- the model


def test_the_same_surfaces_give_the_same_model(bem, write, coarse_model, head_models, monkeypatch):
    subjects_dir = write(bem)
    model = fsaverage_head_model(SETTINGS, subjects_dir=subjects_dir, cache_dir=head_models)
    # Files hold float32, some nanometres off. A vertex that lies as near to two triangles of the
    # inner skull may then be moved away from the other one, which a column or two show.
    error = np.abs(model.leadfield - coarse_model.leadfield).max(axis=0)
    error /= np.abs(coarse_model.leadfield).max()
    assert np.quantile(error, 0.9) < 1e-6
    assert error.max() < 1e-3
    np.testing.assert_allclose(model.positions, coarse_model.positions, rtol=0, atol=1e-7)
    assert model.settings == SETTINGS
    for fact in ("bem_edge_length", "min_depth", "vertices_moved"):
        assert model.origin.facts[fact] == pytest.approx(coarse_model.origin.facts[fact], rel=1e-3)
    # Distances to the coarse meshes, which lie inside of the shipped surfaces.
    for fact in ("skull_thickness_median", "scalp_thickness_median"):
        assert model.origin.facts[fact] == pytest.approx(
            coarse_model.origin.facts[fact], abs=1.5e-3
        )

    monkeypatch.setenv("LEARNMM_CACHE", str(head_models))
    options = ["--ico", "2", "--sources", "60", "--skull", "fsaverage"]
    result = CliRunner().invoke(app, ["head-model", *options, "--subjects-dir", str(subjects_dir)])
    assert result.exit_code == 0, result.output
    assert "60 (30 left, 30 right)" in result.output
    result = CliRunner().invoke(app, ["head-model", *options, "--subjects-dir", "nowhere"])
    assert result.exit_code == 1
    assert "mne.datasets.fetch_fsaverage()" in result.output


def test_other_surfaces_are_another_model(bem, write, head_models, monkeypatch):
    """The cache gives the same surfaces the same model, however often they are written."""
    subjects_dir = write(bem)
    fsaverage_head_model(SETTINGS, subjects_dir=subjects_dir, cache_dir=head_models)

    def refuse(*_):
        raise InterruptedError

    monkeypatch.setattr(fsaverage, "construct", refuse)
    write(scaled(bem, 3, 1.001))
    with pytest.raises(InterruptedError):
        fsaverage_head_model(SETTINGS, subjects_dir=subjects_dir, cache_dir=head_models)
    write(bem)
    model = fsaverage_head_model(SETTINGS, subjects_dir=subjects_dir, cache_dir=head_models)
    assert model.settings == SETTINGS


# -------------------------------------------------------------------------------------- the file


def test_surfaces_are_read_as_they_are(bem, write):
    surfaces = read_surfaces(2, write(bem))
    for surf, mesh in zip(sorted(bem, key=lambda s: s["id"]), surfaces.values(), strict=True):
        np.testing.assert_allclose(mesh.vertices, surf["rr"], rtol=0, atol=1e-8)
        np.testing.assert_array_equal(mesh.faces, surf["tris"])


def test_the_default_place_is_that_of_fetch_fsaverage(bem, write, tmp_path, monkeypatch):
    monkeypatch.setenv("_MNE_FAKE_HOME_DIR", str(tmp_path))  # no configuration of the user's
    monkeypatch.delenv("SUBJECTS_DIR", raising=False)
    monkeypatch.setenv("MNE_DATA", str(tmp_path / "data"))
    expected = tmp_path / "data" / "MNE-fsaverage-data" / "fsaverage" / "bem" / NAME
    with pytest.raises(FileNotFoundError, match=re.escape(f"no file {expected}")):
        read_surfaces(2)
    write(bem, tmp_path / "data" / "MNE-fsaverage-data")
    assert len(read_surfaces(2)) == 3
    monkeypatch.setenv("SUBJECTS_DIR", str(tmp_path / "subjects"))
    with pytest.raises(
        FileNotFoundError, match=re.escape(str(tmp_path / "subjects" / "fsaverage"))
    ):
        read_surfaces(2)


def test_a_missing_file_is_named_with_what_to_do(tmp_path):
    with pytest.raises(FileNotFoundError) as caught:
        fsaverage_head_model(HeadModelSettings(skull="fsaverage"), subjects_dir=tmp_path)
    message = str(caught.value)
    assert str(tmp_path / "fsaverage" / "bem" / "fsaverage-5120-5120-5120-bem.fif") in message
    assert "mne.datasets.fetch_fsaverage() downloads those of ico=4" in message


def test_a_folder_that_would_not_be_read_is_refused(tmp_path):
    with pytest.raises(ValueError, match="with skull='fsaverage' only, got skull='half'"):
        fsaverage_head_model(subjects_dir=tmp_path)


def test_a_file_of_other_surfaces_is_refused(bem, write):
    with pytest.raises(ValueError, match=r"inner skull \(1\), .*, found the identifiers \[3, 4\]"):
        read_surfaces(2, write([surf for surf in bem if surf["id"] != 1]))
    head_frame = [{**surf, "coord_frame": 4} for surf in bem]
    with pytest.raises(ValueError, match="its inner skull is in frame 4"):
        read_surfaces(2, write(head_frame))
    tris = next(surf["tris"] for surf in bem if surf["id"] == 4)[:-1]
    with pytest.raises(ValueError, match="of 320 triangles, its skin has 319"):
        read_surfaces(2, write(changed(bem, 4, tris=tris, ntri=319)))


# ---------------------------------------------------------------------------------- the geometry


def flipped(bem):
    tris = next(surf["tris"] for surf in bem if surf["id"] == 3)
    return changed(bem, 3, tris=tris[:, ::-1])


def torn(bem):
    tris = next(surf["tris"] for surf in bem if surf["id"] == 4).copy()
    tris[0] = tris[1]
    return changed(bem, 4, tris=tris)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda bem: [{**s, "rr": 1e3 * s["rr"]} for s in bem],
            r"extends from \[-7.\.\d+, ",
        ),
        (
            lambda bem: [{**s, "rr": s["rr"] + [0, 0, 0.03]} for s in bem],
            "must be fsaverage's in metres, surface RAS",
        ),
        (flipped, "the outer skull must be closed, its triangles facing outwards"),
        (torn, "the skin must be closed, its triangles facing outwards"),
        (
            lambda bem: scaled(bem, 3, 0.7),
            "the inner skull must lie inside the outer skull: 162 of",
        ),
        (lambda bem: scaled(bem, 3, 1.5), "the outer skull must lie inside the skin: "),
    ],
    ids=["millimetres", "shifted", "inside out", "torn", "skull in brain", "skull around skin"],
)
def test_what_cannot_be_the_head_of_fsaverage_is_refused(bem, write, change, message):
    with pytest.raises(ValueError, match=message):
        freesurfer_boundaries(read_surfaces(2, write(change(bem))))
