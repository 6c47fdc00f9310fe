"""The arrays of the fsaverage head model, from what the MNE and nilearn wheels ship.

Dipoles along the cortical normals of fsaverage5, 994 regions of nearly equal area whose columns are
sums over their vertices, three boundary elements, 90 electrodes of the 10-20 montage. Where the
user has fetched the rest of fsaverage, its own boundaries can serve instead.
"""

from __future__ import annotations

import numpy as np
import trimesh
from scipy import sparse

from learnmm.progress import StageFactory
from learnmm_esi.head.boundaries import HeadBoundaries, head_boundaries
from learnmm_esi.head.cortex import N_VERTICES, Hemisphere, fsaverage5
from learnmm_esi.head.electrodes import electrode_info
from learnmm_esi.head.freesurfer import freesurfer_boundaries
from learnmm_esi.head.gain import CorticalGain, cortical_gain
from learnmm_esi.head.geodesics import geodesic_distances, join_distances
from learnmm_esi.head.regions import cell_neighbours, equal_area_cells
from learnmm_esi.head.settings import HeadModelSettings

__all__ = ["construct", "parcellate", "region_sums"]


def region_sums(gain: np.ndarray, regions: np.ndarray, n_regions: int) -> np.ndarray:
    """Sum columns over the vertices of each region.

    Parameters
    ----------
    gain : ndarray, shape (sensors, vertices)
    regions : ndarray of int, shape (vertices,)
        Region of each vertex; those of negative ones are left out.
    n_regions : int

    Returns
    -------
    ndarray, shape (sensors, n_regions)
    """
    kept = np.flatnonzero(regions >= 0)
    member = sparse.csr_matrix(
        (np.ones(len(kept)), (regions[kept], kept)), shape=(n_regions, len(regions))
    )
    sums: np.ndarray = (member @ gain.T).T
    return sums


def construct(
    settings: HeadModelSettings, surfaces: dict[str, trimesh.Trimesh] | None, stage: StageFactory
) -> tuple[dict[str, np.ndarray], dict[str, float]]:
    """Construct a head model.

    Parameters
    ----------
    settings : HeadModelSettings
        What to build.
    surfaces : dict of str to trimesh.Trimesh, optional
        The user's own boundaries, from `read_surfaces`.
    stage : callable
        Shows a stage of the construction, ``with stage("name"): ...``.

    Returns
    -------
    arrays : dict of str to ndarray
        Of the fields of `HeadModel`; the graph of neighbours as ``neighbour_indices`` and
        ``neighbour_indptr``.
    facts : dict of str to float
        Numbers of the construction that `report` tells.
    """
    hemispheres = fsaverage5()
    arrays = parcellate(settings.sources, stage)
    regions = arrays["regions"]
    with stage("skull and skin"):
        if surfaces is None:
            boundaries = head_boundaries(settings.ico, settings.skull)
        else:
            boundaries = freesurfer_boundaries(surfaces)
    with stage("boundary elements and gain of every vertex"):
        min_depth = settings.min_depth or boundaries.edge_length / 2
        cortical = cortical_gain(
            hemispheres,
            boundaries,
            electrode_info(sfreq=1000.0),
            surface=settings.surface,
            conductivity=settings.conductivity,
            min_depth=min_depth,
        )
    centres = np.concatenate([arrays["vertices_lh"], arrays["vertices_rh"] + N_VERTICES])
    if settings.column == "sum":
        gain = region_sums(cortical.gain, regions, settings.sources)
    else:
        gain = cortical.gain[:, centres]
    # Rounding to single precision, all that a forward solution file keeps, hides the last bits, in
    # which sums depend on the number of threads. Before the reference, which then is exact.
    gain = gain.astype(np.float32).astype(np.float64)
    arrays |= {
        "leadfield": gain - gain.mean(axis=0),
        "positions": cortical.positions[centres],
        "normals": cortical.normals[centres],
    }
    return arrays, _facts(hemispheres, regions, cortical, boundaries, min_depth)


def parcellate(sources: int, stage: StageFactory) -> dict[str, np.ndarray]:
    """Divide fsaverage5 into regions.

    Parameters
    ----------
    sources : int
        How many, over both hemispheres.
    stage : callable
        See `construct`.

    Returns
    -------
    dict of str to ndarray
        Regions of the vertices, the regions' centre vertices, neighbours and distances, named as
        `construct` names them.
    """
    hemispheres = fsaverage5()
    with stage("cortical regions"):
        labels, vertices = _regions(hemispheres, sources)
    with stage("geodesic distances"):
        parts = list(zip(hemispheres, labels, vertices, strict=True))
        distances = join_distances(
            [geodesic_distances(hemi.mesh, hemi.cortex, centres) for hemi, _, centres in parts]
        )
        borders = [
            cell_neighbours(hemi.mesh.edges_unique, label, len(centres))
            for hemi, label, centres in parts
        ]
        neighbours = sparse.block_diag(borders, format="csr")
    n_left = len(vertices[0])
    return {
        "neighbour_indices": neighbours.indices.astype(np.int64),
        "neighbour_indptr": neighbours.indptr.astype(np.int64),
        "distances": distances,
        "vertices_lh": vertices[0],
        "vertices_rh": vertices[1],
        "regions": np.concatenate([labels[0], np.where(labels[1] >= 0, labels[1] + n_left, -1)]),
    }


def _regions(
    hemispheres: tuple[Hemisphere, Hemisphere], sources: int
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Regions of each hemisphere and their centre vertices, shared out by area."""
    left, right = (hemi.vertex_areas[hemi.cortex].sum() for hemi in hemispheres)
    n_left = min(max(round(sources * left / (left + right)), 1), sources - 1)
    labels, vertices = [], []
    for hemi, count in zip(hemispheres, (n_left, sources - n_left), strict=True):
        label, centre = equal_area_cells(hemi.mesh, hemi.vertex_areas, hemi.cortex, count)
        labels.append(label)
        vertices.append(centre)
    return labels, vertices


def _facts(
    hemispheres: tuple[Hemisphere, Hemisphere],
    regions: np.ndarray,
    cortical: CorticalGain,
    boundaries: HeadBoundaries,
    min_depth: float,
) -> dict[str, float]:
    """Numbers of the construction that the model itself does not hold."""
    areas = np.concatenate([hemi.vertex_areas for hemi in hemispheres])
    kept = regions >= 0
    area = np.bincount(regions[kept], areas[kept])
    depth = cortical.depth[kept]
    skull = boundaries.skull_thickness[boundaries.upper]
    scalp = boundaries.scalp_thickness[boundaries.upper]
    facts = {
        "cortical_vertices": kept.sum(),
        "region_area_mean": area.mean(),
        "region_area_min": area.min(),
        "region_area_max": area.max(),
        "region_area_std": area.std(),
        "skull_thickness_min": skull.min(),
        "skull_thickness_median": np.median(skull),
        "skull_thickness_max": skull.max(),
        "scalp_thickness_min": scalp.min(),
        "scalp_thickness_median": np.median(scalp),
        "scalp_thickness_max": scalp.max(),
        "bem_edge_length": boundaries.edge_length,
        "min_depth": min_depth,
        "depth_min_before_moving": depth.min(),
        "vertices_outside_before_moving": (depth < 0).sum(),
        "vertices_moved": cortical.moved.sum(),
        "vertices_dropped": 0,  # cortical_gain raises otherwise
    }
    return {name: float(value) for name, value in facts.items()}
