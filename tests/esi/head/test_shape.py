"""Cortices come to fsaverage by their shape alone, where FreeSurfer's files are not there."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial import cKDTree

from learnmm_esi.head.cortex import fsaverage5
from learnmm_esi.head.registration import template_regions, template_spheres
from learnmm_esi.head.shape import Surface, fit_affine, places_on_spheres, write_spheres
from learnmm_esi.head.warp import HeadWarp


def surfaces(warp):
    moved = [warp(hemi) for hemi in fsaverage5()]
    return [Surface(hemi.white, np.array(hemi.mesh.vertex_normals)) for hemi in moved]


def errors(found):
    """Distances on the template's white surface from where its own vertices should come back to."""
    apart = []
    for places, sphere, hemi in zip(found, template_spheres(), fsaverage5(), strict=True):
        nearest = cKDTree(sphere).query(places)[1]
        apart.append(np.linalg.norm(hemi.white[nearest] - hemi.white, axis=1)[hemi.cortex])
    return 1e3 * np.concatenate(apart)


def test_an_affine_map_is_undone():
    warp = HeadWarp(seed=1, stretch=0.05, shift=0.02)
    template = surfaces(HeadWarp())
    matrix, shift = fit_affine(template, surfaces(warp))
    for one in template:
        np.testing.assert_allclose(one.points @ matrix.T + shift, warp.moved(one.points), atol=1e-6)
    assert errors(places_on_spheres(surfaces(warp))).max() == 0.0


def test_bent_cortices_come_back_nearly():
    bent = surfaces(HeadWarp(seed=2, stretch=0.05, shift=0.01, bend=0.003))
    found = errors(places_on_spheres(bent))
    assert np.median(found) < 2.0
    assert np.quantile(found, 0.9) < 8.0


def test_regions_are_those_of_the_registration(stimulation_forward, coarse_model, tmp_path):
    expected = template_regions(stimulation_forward, coarse_model)  # fsaverage's own vertices
    forward = stimulation_forward.copy()
    for name in ("bert", None):
        for space in forward["src"]:
            space["subject_his_id"] = name
        write_spheres(forward, tmp_path)
        found = template_regions(forward, coarse_model, tmp_path)
        # A vertex halfway between two sources goes to either, by how a file rounds its place.
        one, other = expected.leadfield, found.leadfield
        cosine = (one * other).sum(axis=0) / np.linalg.norm(one, axis=0)
        cosine /= np.linalg.norm(other, axis=0)
        assert np.median(cosine) > 1 - 1e-6
        assert cosine.min() > 0.99
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bert", "subject"]


def test_volumes_have_no_shape(small_model, tmp_path):
    with pytest.raises(ValueError, match="the registration to fsaverage is one of the cortical"):
        write_spheres(small_model.forward(), tmp_path)
