"""A registration to fsaverage for cortices that come without one, told by their shape alone.

An affine map takes the template's white surfaces to the subject's; then every vertex of the subject
is where the nearest vertex of the template is, near in place and in normal, so that opposite banks
of a sulcus stay apart. Of the template, stretched by 5 % and bent by 3 mm, half of the vertices
come back within 2 mm and nine tenths within 8 mm. Folds that differ from head to head are not
matched, as FreeSurfer's spherical registration does: where there is one, use that.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import mne
import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from learnmm_esi.head.cortex import fsaverage5
from learnmm_esi.head.registration import SIDES, check_surfaces, template_spheres

__all__ = ["Surface", "fit_affine", "places_on_spheres", "write_spheres"]

TURN = 0.01  # metres that a right angle between normals counts as, by the root of two
STEPS = 30  # of the fit; ten suffice for heads within 10 % of the template
EVERY = 5  # vertex of the template is fitted
TRIMMED = 0.1  # share of them, the farthest, that may be where the subject has nothing alike
SPHERE = 100.0  # mm, FreeSurfer's radius


class Surface(NamedTuple):
    """Vertices and their unit normals, both ``(n, 3)``; metres, surface RAS."""

    points: NDArray[np.float64]
    normals: NDArray[np.float64]


def write_spheres(forward: mne.Forward, subjects_dir: Path) -> None:
    """Write ``SUBJECT/surf/lh.sphere.reg`` and its twin, as `template_regions` reads them.

    Parameters
    ----------
    forward : mne.Forward
        On the surfaces of both hemispheres. Where it does not say whose they are, it does so
        afterwards.
    subjects_dir : Path
        Where to.

    Raises
    ------
    ValueError
        If the source space is no pair of surfaces.
    """
    spaces = forward["src"]
    check_surfaces(spaces)
    to_mri = np.linalg.inv(forward["mri_head_t"]["trans"])
    surfaces = [
        Surface(
            mne.transforms.apply_trans(to_mri, space["rr"]),
            mne.transforms.apply_trans(to_mri, space["nn"], move=False),
        )
        for space in spaces
    ]
    subject = spaces[0].get("subject_his_id") or "subject"
    folder = subjects_dir / subject / "surf"
    folder.mkdir(parents=True, exist_ok=True)
    for space, side, places in zip(spaces, SIDES, places_on_spheres(surfaces), strict=True):
        space["subject_his_id"] = subject
        mne.write_surface(
            folder / f"{side}.sphere.reg", SPHERE * places, space["tris"], overwrite=True
        )


def places_on_spheres(surfaces: list[Surface]) -> list[NDArray[np.float64]]:
    """Return where vertices of both hemispheres lie on fsaverage's unit spheres.

    Parameters
    ----------
    surfaces : list of Surface
        Left and right.

    Returns
    -------
    list of ndarray, shape (n, 3)
    """
    template = [Surface(hemi.white, np.array(hemi.mesh.vertex_normals)) for hemi in fsaverage5()]
    matrix, shift = fit_affine(template, surfaces)
    back = np.linalg.inv(matrix)
    places = []
    for one, other, sphere in zip(template, surfaces, template_spheres(), strict=True):
        there = Surface((other.points - shift) @ back.T, _turned(other.normals, back))
        places.append(sphere[cKDTree(np.hstack(_scaled(one))).query(np.hstack(_scaled(there)))[1]])
    return places


def fit_affine(
    template: list[Surface], surfaces: list[Surface]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Fit ``points @ matrix.T + shift`` of the template to the nearest points of a subject.

    Both hemispheres have one map, which is fitted to the pairs that the last one made (iterated
    closest points, Besl and McKay 1992, affine and trimmed).

    Parameters
    ----------
    template, surfaces : list of Surface
        Left and right, with their axes about the same.

    Returns
    -------
    matrix : ndarray, shape (3, 3)
    shift : ndarray, shape (3,)
    """
    ours = np.concatenate([one.points for one in template])
    theirs = np.concatenate([other.points for other in surfaces])
    matrix = np.diag(theirs.std(axis=0) / ours.std(axis=0))
    shift = theirs.mean(axis=0) - ours.mean(axis=0) @ matrix.T
    trees = [cKDTree(np.hstack(_scaled(other))) for other in surfaces]
    for _ in range(STEPS):
        pairs = []
        for one, other, tree in zip(template, surfaces, trees, strict=True):
            points = one.points[::EVERY]
            moved = Surface(points @ matrix.T + shift, _turned(one.normals[::EVERY], matrix))
            apart, nearest = tree.query(np.hstack(_scaled(moved)))
            kept = apart <= np.quantile(apart, 1 - TRIMMED)
            pairs.append((points[kept], other.points[nearest[kept]]))
        source, target = (np.concatenate(some) for some in zip(*pairs, strict=True))
        with_one = np.hstack([source, np.ones((len(source), 1))])
        solution = np.linalg.lstsq(with_one, target, rcond=None)[0]  # (4, 3)
        matrix, shift = solution[:3].T, solution[3]
    return matrix, shift


def _scaled(surface: Surface) -> Surface:
    return Surface(surface.points, TURN * surface.normals)


def _turned(normals: NDArray[np.float64], matrix: NDArray[Any]) -> NDArray[np.float64]:
    """Normals of a surface after its points went through a matrix."""
    turned = normals @ np.linalg.inv(matrix)
    unit: NDArray[np.float64] = turned / np.linalg.norm(turned, axis=1, keepdims=True)
    return unit
