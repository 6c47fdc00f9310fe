"""The head's three boundaries (inner skull, outer skull, skin) as nested star-shaped meshes.

MNE ships fsaverage's head surface and inner skull; no package ships its outer skull. Along rays
from a point inside the head, in the directions of an icosphere, the outermost hits give inner skull
and skin, and the outer skull is the first point whose distance to the inner skull reaches a
prescribed thickness. Meshes that share their topology with radii in < skull < skin along every ray
cannot intersect, which is what a boundary-element model needs.

How much the prescription matters was measured against the default: the relative difference of a
source's topography is 0.02 (median) for ``"ratio"`` and 0.04 for ``"constant"``; electrode
positions and source normals matter ten times more. Those who have fetched fsaverage can take
FreeSurfer's boundaries instead: `learnmm_esi.head.freesurfer`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib.resources import as_file, files

import mne
import numpy as np
import trimesh
from trimesh.proximity import closest_point
from trimesh.ray.ray_triangle import RayMeshIntersector

__all__ = ["SKULLS", "HeadBoundaries", "head_boundaries", "shipped_surface"]

CENTRE = np.array([0.0, -0.020, 0.0])  # metres; head and inner skull are star-shaped about it
BASE = -0.020  # metres: height of the skull base, roughly
STEP = 1e-3  # metres: march along each ray until the skull is thick enough, ...
BISECTIONS = 8  # ... then refine to STEP / 2^8 = 4 micrometres
MM = 1e-3

#: Skull thickness as a function of the distances to the inner skull and to the skin (metres).
SKULLS: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    "half": lambda inner, skin: np.clip(0.5 * (inner + skin), 3 * MM, 7 * MM),
    # Brainstorm's ratio of skull to scalp, 4 to 7
    "ratio": lambda inner, skin: np.clip(4 / 11 * (inner + skin), 2 * MM, 6 * MM),
    "constant": lambda inner, skin: np.clip(inner + skin - 2.5 * MM, 2.5 * MM, 5 * MM),
}


@dataclass(frozen=True, eq=False)
class HeadBoundaries:
    """Three closed meshes in metres, surface RAS.

    Attributes
    ----------
    inner_skull, outer_skull, skin : trimesh.Trimesh
        Boundaries from the inside out.
    skull_thickness, scalp_thickness : ndarray, shape (vertices,)
        Distances of the outer skull's vertices to the surfaces that were read, in metres.
    """

    inner_skull: trimesh.Trimesh
    outer_skull: trimesh.Trimesh
    skin: trimesh.Trimesh
    skull_thickness: np.ndarray
    scalp_thickness: np.ndarray

    @property
    def upper(self) -> np.ndarray:
        """Which vertices lie above the skull base; below, the "scalp" is face and neck."""
        return self.outer_skull.vertices[:, 2] > BASE

    @property
    def edge_length(self) -> float:
        """Mean edge length of the inner skull in metres: the resolution of the model."""
        return float(self.inner_skull.edges_unique_length.mean())


def head_boundaries(ico: int = 4, skull: str = "half") -> HeadBoundaries:
    """Construct the three boundaries.

    Parameters
    ----------
    ico : int
        Subdivisions of the icosahedron: 3 gives 642 vertices per boundary, 4 gives 2562.
    skull : {"half", "ratio", "constant"}
        Thickness of the skull: half of the space between brain and skin within 3 to 7 mm; 4/11 of
        it within 2 to 6 mm; 5 mm where there is room.

    Returns
    -------
    HeadBoundaries

    Raises
    ------
    ValueError
        If `skull` is unknown.
    RuntimeError
        If the shipped surfaces leave no room for a skull along some ray.
    """
    if skull not in SKULLS:
        raise ValueError(f"skull must be one of {sorted(SKULLS)}, got {skull!r}")
    thickness = SKULLS[skull]
    head = shipped_surface("fsaverage-head.fif")
    brain = shipped_surface("fsaverage-inner_skull-bem.fif")
    sphere = trimesh.creation.icosphere(subdivisions=ico)
    directions = np.array(sphere.vertices)
    inner, outer = _outermost_hits(brain, directions), _outermost_hits(head, directions)

    def thick_enough(radius: np.ndarray, rays: np.ndarray) -> np.ndarray:
        points = CENTRE + directions[rays] * radius[:, None]
        to_brain, to_skin = closest_point(brain, points)[1], closest_point(head, points)[1]
        enough: np.ndarray = to_brain >= thickness(to_brain, to_skin)
        return enough

    low, high = inner.copy(), inner.copy()
    marching = np.arange(len(directions))
    while len(marching):
        high[marching] = np.minimum(high[marching] + STEP, outer[marching])
        done = thick_enough(high[marching], marching) | (high[marching] >= outer[marching])
        low[marching[~done]] = high[marching[~done]]
        marching = marching[~done]
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        done = thick_enough(middle, np.arange(len(directions)))
        low, high = np.where(done, low, middle), np.where(done, middle, high)
    if not ((inner < high) & (high < outer)).all():
        raise RuntimeError("brain and skin leave no room for a skull in the shipped surfaces")

    def boundary(radius: np.ndarray) -> trimesh.Trimesh:
        points = CENTRE + directions * radius[:, None]
        return trimesh.Trimesh(points, sphere.faces, process=False)

    middle_boundary = boundary(high)
    return HeadBoundaries(
        inner_skull=boundary(inner),
        outer_skull=middle_boundary,
        skin=boundary(outer),
        skull_thickness=closest_point(brain, middle_boundary.vertices)[1],
        scalp_thickness=closest_point(head, middle_boundary.vertices)[1],
    )


def shipped_surface(name: str) -> trimesh.Trimesh:
    """Read a surface of fsaverage that MNE ships, in metres, surface RAS."""
    with as_file(files("mne") / "data" / "fsaverage" / name) as path:
        surf = mne.read_bem_surfaces(path, verbose="ERROR")[0]
    return trimesh.Trimesh(surf["rr"], surf["tris"], process=False)


def _outermost_hits(mesh: trimesh.Trimesh, directions: np.ndarray) -> np.ndarray:
    """Distance from the centre to the farthest crossing of each ray."""
    # The numpy intersector, not mesh.ray: which engine that is depends on what else is installed.
    origins = np.broadcast_to(CENTRE, directions.shape)
    points, rays, _ = RayMeshIntersector(mesh).intersects_location(origins, directions)
    radius = np.zeros(len(directions))
    np.maximum.at(radius, rays, ((points - CENTRE) * directions[rays]).sum(axis=1))
    if (radius == 0).any():
        raise RuntimeError("a shipped head surface has a hole: some ray never leaves it")
    return radius
