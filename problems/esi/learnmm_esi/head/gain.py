"""The EEG gain of every cortical vertex, from MNE-Python's boundary-element solution.

A dipole closer to the inner skull than about half an edge of the boundary mesh makes a peak of
potential that falls between the mesh's vertices. Against the analytic solution of three concentric
spheres, the gain of a dipole 0.7 mm below the inner skull is wrong by a factor of 0.5 to 3 at
``ico=4``; from half an edge (3 mm) on it is right within 8 %. So vertices nearer than that are
moved inwards to that depth, and counted.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import mne
import numpy as np
import trimesh
from trimesh.proximity import closest_point

from learnmm_esi.head.boundaries import HeadBoundaries
from learnmm_esi.head.cortex import Hemisphere

__all__ = ["CorticalGain", "cortical_gain", "cortical_gains", "move_inside", "source_spaces"]

PASSES = 20  # of moving inwards: one suffices under a convex boundary
SLACK = 1e-6  # metres: the surface files that MNE reads hold float32 millimetres


@dataclass(frozen=True, eq=False)
class CorticalGain:
    """What `cortical_gain` returns.

    Attributes
    ----------
    gain : ndarray, shape (sensors, 20484)
        V/(A m) of a unit dipole along the normal, referenced at infinity; zero on the medial wall.
    free : ndarray of float32, shape (sensors, cortex, 3)
        The same of unit dipoles along the axes of the head frame, of the vertices off the wall.
    positions, normals : ndarray, shape (20484, 3)
        Where the dipoles lie (metres) and point to, surface RAS.
    depth : ndarray, shape (20484,)
        Depth below the inner skull before moving, in metres; NaN on the medial wall.
    moved : ndarray of bool, shape (20484,)
        Vertices that were moved inwards.
    """

    gain: np.ndarray
    free: np.ndarray
    positions: np.ndarray
    normals: np.ndarray
    depth: np.ndarray
    moved: np.ndarray


def source_spaces(
    hemispheres: tuple[Hemisphere, Hemisphere], surface: str, subjects_dir: Path
) -> mne.SourceSpaces:
    """Return MNE source spaces on all vertices of the "white" or "pial" surfaces.

    Surface files are written to ``subjects_dir/fsaverage/surf``, where MNE looks for them.
    """
    folder = Path(subjects_dir) / "fsaverage" / "surf"
    folder.mkdir(parents=True, exist_ok=True)
    for hemi in hemispheres:
        points = getattr(hemi, surface) * 1e3
        mne.write_surface(folder / f"{hemi.name}.{surface}", points, hemi.faces, overwrite=True)
    return mne.setup_source_space(
        "fsaverage",
        spacing="all",
        surface=surface,
        subjects_dir=subjects_dir,
        add_dist=False,
        verbose="ERROR",
    )


def move_inside(
    points: np.ndarray, boundary: trimesh.Trimesh, min_depth: float
) -> tuple[np.ndarray, np.ndarray]:
    """Move points that are less than `min_depth` below a boundary straight inwards to that depth.

    Parameters
    ----------
    points : ndarray, shape (n, 3)
        Points inside or slightly outside of the boundary.
    boundary : trimesh.Trimesh
        A closed mesh with outward normals.
    min_depth : float
        In the mesh's unit.

    Returns
    -------
    moved : ndarray, shape (n, 3)
        The points; untouched ones are the same to the bit.
    depth : ndarray, shape (n,)
        Signed depth of the points before moving, positive inside.

    Raises
    ------
    RuntimeError
        If some point does not come to rest.
    """
    moved, depth = points.copy(), _depth(points, boundary)[0]
    todo = np.flatnonzero(depth < min_depth)
    for _ in range(PASSES):
        if len(todo) == 0:
            return moved, depth
        # The slack makes the new depth pass the next comparison.
        below, nearest, inwards = _depth(moved[todo], boundary)
        shallow = below < min_depth
        moved[todo[shallow]] = (nearest + (min_depth + SLACK) * inwards)[shallow]
        todo = todo[shallow]
    raise RuntimeError(
        f"{len(todo)} points do not reach a depth of {min_depth:.4g} below the boundary"
    )


def _depth(
    points: np.ndarray, boundary: trimesh.Trimesh
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Signed depth of points, the nearest boundary points and the inward directions there."""
    nearest, distance, face = closest_point(boundary, points)
    normal = boundary.face_normals[face]
    inside = ((points - nearest) * normal).sum(axis=1) < 0
    sign = np.where(inside, 1.0, -1.0)
    with np.errstate(invalid="ignore", divide="ignore"):
        direction = sign[:, None] * (points - nearest) / distance[:, None]
    inwards = np.where(distance[:, None] > SLACK, direction, -normal)
    return sign * distance, nearest, inwards


def cortical_gain(
    hemispheres: tuple[Hemisphere, Hemisphere],
    boundaries: HeadBoundaries,
    info: mne.Info,
    *,
    surface: str,
    conductivity: tuple[float, float, float],
    min_depth: float,
) -> CorticalGain:
    """Compute the gain of a unit dipole along the normal at every cortical vertex.

    Parameters
    ----------
    hemispheres : tuple of Hemisphere
        Left and right cortex.
    boundaries : HeadBoundaries
        Inner skull, outer skull and skin.
    info : mne.Info
        EEG channels with positions in MNE's head frame.
    surface : {"pial", "white"}
        Where dipoles lie. Normals are the vertex normals of that surface.
    conductivity : tuple of float
        Brain, skull, scalp in S/m.
    min_depth : float
        Least depth below the inner skull in metres.

    Returns
    -------
    CorticalGain

    Raises
    ------
    RuntimeError
        If MNE drops a vertex: none may vanish silently.
    """
    (gain,) = cortical_gains(
        hemispheres,
        boundaries,
        [info],
        surface=surface,
        conductivity=conductivity,
        min_depth=min_depth,
    )
    return gain


def cortical_gains(
    hemispheres: tuple[Hemisphere, Hemisphere],
    boundaries: HeadBoundaries,
    infos: Iterable[mne.Info],
    *,
    surface: str,
    conductivity: tuple[float, float, float],
    min_depth: float,
) -> Iterator[CorticalGain]:
    """Compute what `cortical_gain` does for one set of electrodes after the other.

    The boundary elements, which cost the most, are solved once.

    Parameters
    ----------
    hemispheres, boundaries
        See `cortical_gain`.
    infos : iterable of mne.Info
        Sets of electrodes.
    surface, conductivity, min_depth
        See `cortical_gain`.

    Yields
    ------
    CorticalGain
    """
    cortex = np.concatenate([hemi.cortex for hemi in hemispheres])
    with tempfile.TemporaryDirectory() as folder, mne.use_log_level("ERROR"):
        spaces = source_spaces(hemispheres, surface, Path(folder))
        normals = np.concatenate([space["nn"] for space in spaces])
        depth = np.full(len(cortex), np.nan)
        positions = np.concatenate([getattr(hemi, surface) for hemi in hemispheres])
        positions[cortex], depth[cortex] = move_inside(
            positions[cortex], boundaries.inner_skull, min_depth
        )
        for space, rr, hemi in zip(spaces, np.split(positions, 2), hemispheres, strict=True):
            space["rr"] = rr
            space["inuse"] = hemi.cortex.astype(int)
            space["vertno"] = np.flatnonzero(hemi.cortex)
            space["nuse"] = len(space["vertno"])
        bem = _bem_solution(boundaries, conductivity, Path(folder))
    for info in infos:
        gain, free = _gain(info, spaces, bem, cortex, min_depth)
        yield CorticalGain(gain, free, positions, normals, depth, moved=depth < min_depth)


def _gain(
    info: mne.Info,
    spaces: mne.SourceSpaces,
    bem: mne.bem.ConductorModel,
    cortex: np.ndarray,
    min_depth: float,
) -> tuple[np.ndarray, np.ndarray]:
    """Gain along the normals, and along the axes."""
    forward = mne.make_forward_solution(
        info,
        trans="fsaverage",
        src=spaces,
        bem=bem,
        meg=False,
        eeg=True,
        mindist=0.0,
        verbose="ERROR",
    )
    dropped = int(cortex.sum()) - forward["nsource"]
    if dropped:
        raise RuntimeError(
            f"MNE dropped {dropped} of {cortex.sum()} vertices as outside of the inner skull, "
            f"although all are at least {min_depth * 1e3:.2f} mm below it"
        )
    # Columns come in x, y, z of the head frame and in float32: contract in float64 with the normals
    # in that frame, because mne.convert_forward_solution would round to float32 again.
    gain = np.zeros((len(info["ch_names"]), len(cortex)))
    free = forward["sol"]["data"].astype(np.float64).reshape(len(gain), -1, 3)
    direction = np.concatenate([space["nn"][space["vertno"]] for space in forward["src"]])
    gain[:, cortex] = np.einsum("csi,si->cs", free, direction)
    return gain, free.astype(np.float32)


def _bem_solution(
    boundaries: HeadBoundaries, conductivity: tuple[float, float, float], subjects_dir: Path
) -> mne.bem.ConductorModel:
    folder = subjects_dir / "fsaverage" / "bem"
    folder.mkdir(parents=True)
    for name, mesh in (
        ("inner_skull", boundaries.inner_skull),
        ("outer_skull", boundaries.outer_skull),
        ("outer_skin", boundaries.skin),
    ):
        mne.write_surface(folder / f"{name}.surf", mesh.vertices * 1e3, mesh.faces)
    model = mne.make_bem_model(
        "fsaverage", ico=None, conductivity=conductivity, subjects_dir=subjects_dir
    )
    return mne.make_bem_solution(model)
