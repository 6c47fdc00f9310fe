"""The head's three boundaries as FreeSurfer found them, where the user has fetched fsaverage.

``mne.datasets.fetch_fsaverage`` downloads ``fsaverage-5120-5120-5120-bem.fif``: inner skull, outer
skull and skin with 5120 triangles each, which is ``ico=4``. MNE names such files by their numbers
of triangles, so that ``ico`` chooses the file: nothing is decimated here.
"""

from __future__ import annotations

import hashlib
import itertools
import os
from collections.abc import Mapping
from pathlib import Path

import mne
import numpy as np
import trimesh
from mne.io.constants import FIFF
from trimesh.proximity import closest_point
from trimesh.ray.ray_triangle import RayMeshIntersector

from learnmm_esi.fif import reading
from learnmm_esi.head.boundaries import HeadBoundaries, shipped_surface

__all__ = ["freesurfer_boundaries", "read_surfaces", "surfaces_hash"]

#: MNE's identifiers of the surfaces, from the inside out.
LAYERS = {
    "inner skull": int(FIFF.FIFFV_BEM_SURF_ID_BRAIN),
    "outer skull": int(FIFF.FIFFV_BEM_SURF_ID_SKULL),
    "skin": int(FIFF.FIFFV_BEM_SURF_ID_HEAD),
}
NEAR = 0.010  # metres: how far the inner skull may extend elsewhere than the one that MNE ships


def read_surfaces(
    ico: int, subjects_dir: str | os.PathLike[str] | None = None
) -> dict[str, trimesh.Trimesh]:
    """Read inner skull, outer skull and skin of a fetched fsaverage.

    Parameters
    ----------
    ico : int
        The file ``fsaverage/bem/fsaverage-N-N-N-bem.fif`` with ``N = 20 * 4**ico`` is read.
    subjects_dir : path, optional
        Folder that holds ``fsaverage``. Default: where ``mne.datasets.fetch_fsaverage`` puts it,
        which is MNE's ``SUBJECTS_DIR``, else ``MNE-fsaverage-data`` in MNE's data folder.

    Returns
    -------
    dict of str to trimesh.Trimesh
        ``"inner skull"``, ``"outer skull"`` and ``"skin"`` as they are in the file, in metres.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If the file lacks one of the surfaces, or one is in another frame or resolution.
    """
    triangles = 20 * 4**ico
    folder = _default_subjects_dir() if subjects_dir is None else Path(subjects_dir).expanduser()
    path = folder / "fsaverage" / "bem" / f"fsaverage-{triangles}-{triangles}-{triangles}-bem.fif"
    if not path.exists():
        raise FileNotFoundError(
            f"the boundaries of fsaverage at ico={ico} are not there: no file {path}. "
            "mne.datasets.fetch_fsaverage() downloads those of ico=4; for another ico, write "
            f"mne.make_bem_model('fsaverage', ico={ico}) to this file with mne.write_bem_surfaces. "
            "If fsaverage lies elsewhere, give the folder that holds it as subjects_dir"
        )
    with reading(path, "boundary surfaces"):
        found = {surf["id"]: surf for surf in mne.read_bem_surfaces(path, verbose="ERROR")}
    if sorted(found) != sorted(LAYERS.values()):
        wanted = ", ".join(f"{name} ({number})" for name, number in LAYERS.items())
        raise ValueError(f"{path} must hold {wanted}, found the identifiers {sorted(found)}")
    surfaces = {}
    for name, number in LAYERS.items():
        surf = found[number]
        if surf["coord_frame"] != FIFF.FIFFV_COORD_MRI:
            raise ValueError(
                f"{path} must be in MNE's MRI frame (surface RAS, {FIFF.FIFFV_COORD_MRI:d}), "
                f"its {name} is in frame {surf['coord_frame']:d}"
            )
        if len(surf["tris"]) != triangles:
            raise ValueError(
                f"{path} must hold surfaces of {triangles} triangles, "
                f"its {name} has {len(surf['tris'])}"
            )
        surfaces[name] = trimesh.Trimesh(surf["rr"], surf["tris"], process=False)
    return surfaces


def surfaces_hash(surfaces: Mapping[str, trimesh.Trimesh]) -> str:
    """Return a text that differs whenever a vertex or a triangle of the surfaces differs."""
    digest = hashlib.sha256()
    for name in LAYERS:
        digest.update(np.asarray(surfaces[name].vertices, dtype="<f8").tobytes())
        digest.update(np.asarray(surfaces[name].faces, dtype="<i8").tobytes())
    return digest.hexdigest()


def freesurfer_boundaries(surfaces: Mapping[str, trimesh.Trimesh]) -> HeadBoundaries:
    """Make boundaries of what `read_surfaces` returned, after checking the geometry.

    Parameters
    ----------
    surfaces : mapping of str to trimesh.Trimesh
        ``"inner skull"``, ``"outer skull"`` and ``"skin"`` in metres, surface RAS.

    Returns
    -------
    HeadBoundaries

    Raises
    ------
    ValueError
        If the inner skull extends elsewhere than the one that MNE ships, which differs in
        resolution only: the unit, the frame or the subject is another. If a surface is not closed
        with its triangles facing outwards, or not inside the next one.
    """
    inner_skull, outer_skull, skin = (surfaces[name] for name in LAYERS)
    shipped = shipped_surface("fsaverage-inner_skull-bem.fif")
    if np.abs(inner_skull.bounds - shipped.bounds).max() > NEAR:
        found, expected = (mesh.bounds.round(3).tolist() for mesh in (inner_skull, shipped))
        raise ValueError(
            "the boundaries must be fsaverage's in metres, surface RAS: the inner skull extends "
            f"from {found[0]} to {found[1]}, the one that MNE ships from {expected[0]} to "
            f"{expected[1]}"
        )
    for name in LAYERS:
        # A closed surface has a volume, which is positive where triangles face outwards.
        if not (surfaces[name].is_watertight and surfaces[name].volume > 0):
            raise ValueError(f"the {name} must be closed, its triangles facing outwards")
    for inner, outer in itertools.pairwise(LAYERS):
        inside = RayMeshIntersector(surfaces[outer]).contains_points(surfaces[inner].vertices)
        if not inside.all():
            raise ValueError(
                f"the {inner} must lie inside the {outer}: "
                f"{(~inside).sum()} of its {len(inside)} vertices do not"
            )
    return HeadBoundaries(
        inner_skull=inner_skull,
        outer_skull=outer_skull,
        skin=skin,
        skull_thickness=closest_point(inner_skull, outer_skull.vertices)[1],
        scalp_thickness=closest_point(skin, outer_skull.vertices)[1],
    )


def _default_subjects_dir() -> Path:
    """Where ``mne.datasets.fetch_fsaverage()`` puts fsaverage."""
    configured = mne.get_config("SUBJECTS_DIR")
    if configured is not None:
        return Path(configured).expanduser()
    return Path(mne.get_config("MNE_DATA", "~/mne_data")).expanduser() / "MNE-fsaverage-data"
