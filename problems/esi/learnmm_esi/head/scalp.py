"""The lead field of every place on the scalp: from it follow those of all caps.

Potentials of a boundary-element model are linear on the triangles of its skin. So what the mesh's
vertices see says what an electrode anywhere sees, which is what MNE-Python does with an electrode:
the nearest point of the skin, and the mean of the three vertices around it.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import mne
import numpy as np
import trimesh
from scipy import sparse
from trimesh.proximity import closest_point
from trimesh.triangles import points_to_barycentric

from learnmm.progress import StageFactory, stages
from learnmm_esi.cache import (
    ArrayCache,
    Arrays,
    CorruptCacheError,
    Header,
    cache_directory,
    cache_key,
)
from learnmm_esi.head.boundaries import head_boundaries
from learnmm_esi.head.construction import parcellate, region_sums
from learnmm_esi.head.cortex import N_VERTICES, fsaverage5
from learnmm_esi.head.electrodes import head_to_mri, placed_info
from learnmm_esi.head.gain import CorticalGain, cortical_gains
from learnmm_esi.head.kept import (
    check_arrays,
    check_cells,
    check_finite,
    identity_of,
    neighbour_graph,
)
from learnmm_esi.head.model import Construction, HeadModel
from learnmm_esi.head.settings import HeadModelSettings
from learnmm_esi.head.warp import NO_WARP, HeadWarp

__all__ = ["ScalpGain", "head_to_mri", "scalp_gain"]

FORMAT = 1  # of the cached file; raise it whenever the same settings give another gain
AT_ONCE = 640  # electrodes: a gigabyte of MNE's memory


@dataclass(frozen=True, eq=False)
class ScalpGain:
    """What every place on the scalp sees of each cortical region.

    Attributes
    ----------
    settings : HeadModelSettings
        Of the head model; its columns are sums over the vertices of a region.
    skin : trimesh.Trimesh
        Outer boundary in metres, surface RAS.
    gain : ndarray of float32, shape (vertices, sources)
        V/(A m), referenced at infinity.
    free : ndarray of float32, shape (vertices, sources, 3)
        The same of dipoles along the axes of the head frame, one at each vertex of a region.
    cells : dict of str to ndarray
        The regions, their distances, positions and normals, as in `HeadModel`.
    neighbours : csr_matrix of bool, shape (sources, sources)
        Which regions touch.
    """

    settings: HeadModelSettings
    skin: trimesh.Trimesh
    gain: np.ndarray
    free: np.ndarray
    cells: dict[str, np.ndarray]
    neighbours: sparse.csr_matrix

    def place(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Move points to the skin.

        Parameters
        ----------
        points : ndarray, shape (m, 3)
            Metres, surface RAS.

        Returns
        -------
        placed : ndarray, shape (m, 3)
            The nearest points of the skin.
        distance : ndarray, shape (m,)
            How far they were, in metres.
        """
        placed, distance, _ = self._nearest(points)
        return placed, distance

    def corners(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Find what electrodes lie between.

        Parameters
        ----------
        points : ndarray, shape (m, 3)
            Metres, surface RAS; the nearest points of the skin are taken.

        Returns
        -------
        vertices : ndarray of int, shape (m, 3)
            The corners of their triangles.
        weights : ndarray, shape (m, 3)
            Their shares in an electrode's potential; they sum to one.
        """
        placed, _, face = self._nearest(points)
        return self._corners(placed, face)

    def _nearest(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Nearest points of the skin, their distances, and the triangles they lie in."""
        nearest: tuple[np.ndarray, np.ndarray, np.ndarray]
        nearest = closest_point(self.skin, np.asarray(points, dtype=np.float64))
        return nearest

    def _corners(self, placed: np.ndarray, face: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        weights = points_to_barycentric(self.skin.triangles[face], placed, method="cross")
        weights = np.clip(weights, 0.0, None)
        return self.skin.faces[face], weights / weights.sum(axis=1, keepdims=True)

    def leadfield(self, points: np.ndarray) -> np.ndarray:
        """Lead field of electrodes, average-referenced.

        Parameters
        ----------
        points : ndarray, shape (m, 3)
            Metres, surface RAS; the nearest points of the skin are taken.

        Returns
        -------
        ndarray of float64, shape (m, sources)
            V/(A m).
        """
        return self._referenced(*self.corners(points))

    def _referenced(self, vertices: np.ndarray, weights: np.ndarray) -> np.ndarray:
        gain = np.einsum("mk,mks->ms", weights, self.gain[vertices])
        referenced: np.ndarray = gain - gain.mean(axis=0)
        return referenced

    def head_model(self, points: np.ndarray, names: Sequence[str]) -> HeadModel:
        """Head model of a cap.

        Parameters
        ----------
        points : ndarray, shape (m, 3)
            See `leadfield`.
        names : sequence of str
            Of the electrodes.

        Returns
        -------
        HeadModel
        """
        cells = self.cells
        placed, _, face = self._nearest(points)
        return HeadModel(
            leadfield=self._referenced(*self._corners(placed, face)),
            positions=cells["positions"],
            normals=cells["normals"],
            neighbours=self.neighbours,
            distances=cells["distances"],
            vertices=(cells["vertices_lh"], cells["vertices_rh"]),
            channel_names=tuple(names),
            origin=Construction(self.settings, cells["regions"], electrodes=placed),
        )


def scalp_gain(
    settings: HeadModelSettings | None = None,
    warp: HeadWarp = NO_WARP,
    *,
    cache_dir: str | os.PathLike[str] | None = None,
    progress: bool = False,
) -> ScalpGain:
    """Compute the gain of the scalp, or read it from the cache.

    Parameters
    ----------
    settings : HeadModelSettings, optional
        Of the head; its columns are sums, and its boundaries the library's own.
    warp : HeadWarp
        How the cortex differs from the template's.
    cache_dir : path, optional
        See `fsaverage_head_model`.
    progress : bool
        Show the stages of the construction; needs ``rich``.

    Returns
    -------
    ScalpGain

    Raises
    ------
    ValueError
        If the settings ask for columns of single vertices, or for FreeSurfer's boundaries.

    Notes
    -----
    The first construction takes about half a minute at ``ico=3`` and several minutes at ``ico=4``.
    """
    settings = settings or HeadModelSettings()
    if settings.column != "sum" or settings.skull == "fsaverage":
        raise ValueError(
            "scalp_gain: the columns of a cap are sums over regions, between boundaries of the "
            f"library: expected column='sum' and a skull of these, got {settings}"
        )
    identity = identity_of(FORMAT, settings, warp=dataclasses.asdict(warp))

    def read(arrays: Arrays, header: Header) -> ScalpGain:
        if header.get("identity") != identity:
            raise CorruptCacheError("it was built from other settings than its name says")
        return _read(arrays, settings)

    def make() -> tuple[Arrays, Header]:
        with stages(progress) as stage:
            return _construct(settings, warp, stage), {"identity": identity}

    cache = ArrayCache(cache_directory(cache_dir), "the gain of the scalp")
    return cache.get(f"scalp-{cache_key(identity)}", read, make)


def _construct(settings: HeadModelSettings, warp: HeadWarp, stage: StageFactory) -> Arrays:
    cells = parcellate(settings.sources, stage)
    hemispheres = fsaverage5()
    warped = warp(hemispheres[0]), warp(hemispheres[1])
    with stage("skull and skin"):
        boundaries = head_boundaries(settings.ico, settings.skull)
    cells |= {"skin": boundaries.skin.vertices, "faces": boundaries.skin.faces}
    gains = cortical_gains(
        warped,
        boundaries,
        _electrodes(boundaries.skin.vertices),
        surface=settings.surface,
        conductivity=settings.conductivity,
        min_depth=settings.min_depth or boundaries.edge_length / 2,
    )
    with stage("boundary elements and gain of every place on the scalp"):
        parts = [_summed(part, cells["regions"], settings.sources) for part in gains]
        centres = np.concatenate([cells["vertices_lh"], cells["vertices_rh"] + N_VERTICES])
        return {
            **cells,
            "gain": np.concatenate([gain for gain, _, _ in parts]),
            "free": np.concatenate([free for _, free, _ in parts]),
            "positions": parts[0][2].positions[centres],
            "normals": parts[0][2].normals[centres],
        }


def _summed(
    part: CorticalGain, regions: np.ndarray, sources: int
) -> tuple[np.ndarray, np.ndarray, CorticalGain]:
    """Sums over regions in single precision, with the part they are of."""
    gain = region_sums(part.gain, regions, sources).astype(np.float32)
    inside = np.concatenate([hemi.cortex for hemi in fsaverage5()])
    axes = [region_sums(part.free[..., k], regions[inside], sources) for k in range(3)]
    return gain, np.stack(axes, axis=-1).astype(np.float32), part


def _electrodes(vertices: np.ndarray) -> Iterator[mne.Info]:
    """Channels at the vertices, some at a time."""
    for first in range(0, len(vertices), AT_ONCE):
        some = vertices[first : first + AT_ONCE]
        yield placed_info([str(first + i) for i in range(len(some))], some, sfreq=1000.0)


def _read(arrays: Arrays, settings: HeadModelSettings) -> ScalpGain:
    """Make it of what was kept; a file that does not fit the settings is corrupt."""
    n, vertices = settings.sources, len(arrays.get("skin", ()))
    check_arrays(
        arrays,
        {
            "skin": ((vertices, 3), np.float64),
            "faces": ((len(arrays.get("faces", ())), 3), np.int64),
            "gain": ((vertices, n), np.float32),
            "free": ((vertices, n, 3), np.float32),
        },
    )
    for name in ("skin", "gain", "free"):
        check_finite(arrays, name)
    faces = arrays.pop("faces")
    if not 0 <= faces.min() <= faces.max() < vertices:
        raise CorruptCacheError("its faces are not those of its skin")
    check_cells(arrays, n)
    skin = trimesh.Trimesh(arrays.pop("skin"), faces, process=False)
    gain, free = arrays.pop("gain"), arrays.pop("free")
    return ScalpGain(settings, skin, gain, free, arrays, neighbour_graph(arrays, n))
