"""The fsaverage5 cortex that nilearn ships: surfaces, medial wall, vertex areas.

Coordinates are FreeSurfer surface RAS (MNE's "MRI" frame) in metres. Nothing is downloaded: the
files are inside the nilearn wheel.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np
import trimesh
from scipy import sparse
from scipy.sparse.csgraph import connected_components

__all__ = ["N_VERTICES", "Hemisphere", "fsaverage5"]

N_VERTICES = 10242  # per hemisphere
MEDIAL_WALL_THICKNESS = 1.0  # mm; cortex is thicker almost everywhere, the medial wall is not


@dataclass(frozen=True, eq=False)
class Hemisphere:
    """One hemisphere of fsaverage5.

    Attributes
    ----------
    name : str
        ``"lh"`` or ``"rh"``.
    white, pial : ndarray, shape (10242, 3)
        Vertex positions in metres; vertex ``i`` is the same cortical place on both.
    faces : ndarray of int, shape (20480, 3)
        Triangles, shared by the surfaces.
    cortex : ndarray of bool, shape (10242,)
        False on the medial wall, where there is no cortex. Connected.
    """

    name: str
    white: np.ndarray
    pial: np.ndarray
    faces: np.ndarray
    cortex: np.ndarray

    @functools.cached_property
    def mesh(self) -> trimesh.Trimesh:
        """The white surface, on which cells and geodesics are measured."""
        return trimesh.Trimesh(self.white, self.faces, process=False)

    @functools.cached_property
    def vertex_areas(self) -> np.ndarray:
        """A third of the area of the triangles around each vertex of `white`, in square metres."""
        shares = np.repeat(self.mesh.area_faces / 3, 3)
        return np.bincount(self.faces.ravel(), shares, minlength=len(self.white))


@functools.lru_cache(maxsize=1)
def fsaverage5() -> tuple[Hemisphere, Hemisphere]:
    """Return the left and right hemisphere.

    The medial wall is not among the files. It is the largest connected patch of cortical thickness
    below 1 mm, grown by one ring: white and pial vertices that coincide mark too little of it and
    would leave sources beside the thalamus.
    """
    from nilearn.datasets import fetch_surf_fsaverage  # takes a second, which few models need

    files = fetch_surf_fsaverage("fsaverage5")
    return _hemisphere(files, "lh", "left"), _hemisphere(files, "rh", "right")


def _hemisphere(files: dict[str, str], name: str, side: str) -> Hemisphere:
    from nilearn import surface

    white = surface.load_surf_mesh(files[f"white_{side}"])
    pial = surface.load_surf_mesh(files[f"pial_{side}"])
    thickness = surface.load_surf_data(files[f"thick_{side}"])
    faces = np.asarray(white.faces, dtype=np.int64)
    edges = trimesh.Trimesh(white.coordinates, faces, process=False).edges_unique
    wall = _largest_patch(thickness < MEDIAL_WALL_THICKNESS, edges)
    wall[edges[wall[edges].any(axis=1)]] = True
    # Islands that the wall cuts off the rest belong to it too.
    cortex = _largest_patch(~wall, edges)
    return Hemisphere(
        name=name,
        white=np.asarray(white.coordinates, dtype=np.float64) * 1e-3,
        pial=np.asarray(pial.coordinates, dtype=np.float64) * 1e-3,
        faces=faces,
        cortex=cortex,
    )


def _largest_patch(mask: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """Keep the largest connected component of the vertices in `mask`."""
    inside = edges[mask[edges].all(axis=1)]
    graph = sparse.coo_array((np.ones(len(inside)), inside.T), shape=(len(mask),) * 2)
    component = connected_components(graph, directed=False)[1]
    largest: np.ndarray = mask & (component == np.bincount(component[mask]).argmax())
    return largest
