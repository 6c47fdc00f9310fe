"""Weights of the template on somebody's own forward solution, and estimates back on its sources."""

from __future__ import annotations

import mne
import numpy as np
import pytest

from eeg_recordings import FEW, SFREQ, TIMES, assert_same
from learnmm_esi.head.cortex import fsaverage5
from learnmm_esi.head.electrodes import electrode_info
from learnmm_esi.head.registration import SIDES, template_regions, template_spheres
from learnmm_esi.recordings.apply import MMInverse
from learnmm_esi.recordings.settings import InverseSettings

pytestmark = pytest.mark.filterwarnings("ignore:the (estimate|learned start):RuntimeWarning")


@pytest.fixture(scope="module")
def subjects(tmp_path_factory):
    """FreeSurfer's folder of one subject, who has the surfaces of fsaverage5."""
    folder = tmp_path_factory.mktemp("subjects")
    (folder / "bert" / "surf").mkdir(parents=True)
    for side, sphere, hemi in zip(SIDES, template_spheres(), fsaverage5(), strict=True):
        places = {"white": 1e3 * hemi.white, "sphere": 100 * sphere, "sphere.reg": 100 * sphere}
        for name, points in places.items():
            mne.write_surface(folder / "bert" / "surf" / f"{side}.{name}", points, hemi.faces)
    return folder


@pytest.fixture(scope="module")
def path(subjects):
    """A forward solution of the spacing oct5, of free orientation, in a sphere."""
    file = subjects / "bert-oct5-fwd.fif"
    with mne.use_log_level("ERROR"):
        spaces = mne.setup_source_space("bert", "oct5", subjects_dir=subjects, add_dist=False)
        sphere = mne.make_sphere_model((0.0, 0.0, 0.04), head_radius=0.14)
        info = electrode_info(SFREQ)
        forward = mne.make_forward_solution(info, "fsaverage", spaces, sphere, meg=False)
        mne.write_forward_solution(file, forward)
    return file


@pytest.fixture
def settings(weights, subjects, head_models, monkeypatch):
    monkeypatch.setenv("SUBJECTS_DIR", str(subjects))
    monkeypatch.setenv("LEARNMM_CACHE", str(head_models))
    return InverseSettings(weights=weights, transfer=True)


def test_weights_see_regions_and_estimates_lie_on_the_sources(model, path, settings, evoked, raw):
    inverse = MMInverse(path, settings)
    stc, fit = inverse.apply(evoked, return_result=True)
    forward = mne.read_forward_solution(path, verbose="ERROR")
    assert stc.subject == "bert"
    for got, space in zip(stc.vertices, forward["src"], strict=True):
        np.testing.assert_array_equal(got, space["vertno"])
    regions = template_regions(path, model)
    there = MMInverse(regions, settings).apply(evoked)
    assert there.subject == "fsaverage"
    assert there.shape == (60, TIMES)
    assert_same(stc.data, regions.origin.shares.T @ there.data)
    # Sensors see of the one what they see of the other, and what the fit tells.
    image = inverse.model.leadfield @ stc.data
    np.testing.assert_allclose(image, regions.leadfield @ there.data, atol=1e-3 * image.max())
    cosine = (image * evoked.data).sum() / np.linalg.norm(image) / np.linalg.norm(evoked.data)
    assert fit.explained == pytest.approx(cosine**2, abs=1e-4)
    # Samples called bad have no estimate, there as here.
    raw.set_annotations(mne.Annotations(40 / SFREQ, 10 / SFREQ, "BAD"))
    bad = np.isnan(inverse.apply(raw).data)
    assert bad[:, 41:49].all()
    assert not bad[:, :40].any()
    assert not bad[:, 51:].any()


def test_without_weights_the_sources_are_its_own(path, monkeypatch, tmp_path):
    monkeypatch.setenv("SUBJECTS_DIR", str(tmp_path))  # where there is no registration
    inverse = MMInverse(path, FEW)
    assert inverse._engine.sources == len(inverse.model.positions) > 1800


def test_weights_for_any_channels_serve_it_as_they_are(path, settings, any_weights, evoked):
    evoked.info["bads"] = ["Cz", "Fz"]
    inverse = MMInverse(path, InverseSettings(weights=any_weights))
    assert inverse.apply(evoked).data.shape == (len(inverse.model.positions), TIMES)
