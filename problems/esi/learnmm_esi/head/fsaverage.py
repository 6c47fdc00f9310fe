"""Build the fsaverage head model from what the MNE and nilearn wheels ship, and keep it.

Dipoles along the cortical normals of fsaverage5, 994 regions of nearly equal area whose columns are
sums over their vertices, three boundary elements, 90 electrodes of the 10-20 montage. Where the
user has fetched the rest of fsaverage, its own boundaries can serve instead.
"""

from __future__ import annotations

import dataclasses
import json
import logging
import os

import mne
import nilearn
import numpy as np
import trimesh
from scipy import sparse

from learnmm.progress import StageFactory, stages
from learnmm_esi.cache import (
    CorruptCacheError,
    cache_directory,
    cache_key,
    can_keep,
    keep_arrays,
    read_arrays,
)
from learnmm_esi.head.cortex import N_VERTICES, Hemisphere, fsaverage5
from learnmm_esi.head.electrodes import electrode_info, electrode_names
from learnmm_esi.head.freesurfer import freesurfer_boundaries, read_surfaces, surfaces_hash
from learnmm_esi.head.gain import CorticalGain, cortical_gain
from learnmm_esi.head.model import HeadModel, HeadModelSettings
from learnmm_esi.head.regions import cell_neighbours, equal_area_cells, geodesic_distances
from learnmm_esi.head.skull import HeadBoundaries, head_boundaries

__all__ = ["fsaverage_head_model", "region_sums"]

FORMAT = 3  # of the cached file; raise it whenever the same settings give another model
_logger = logging.getLogger(__name__)


def fsaverage_head_model(
    settings: HeadModelSettings | None = None,
    *,
    subjects_dir: str | os.PathLike[str] | None = None,
    cache_dir: str | os.PathLike[str] | None = None,
    progress: bool = False,
) -> HeadModel:
    """Build the fsaverage head model, or read it from the cache.

    Parameters
    ----------
    settings : HeadModelSettings, optional
        What to build. Default: the 90 x 994 model of the paper.
    subjects_dir : path, optional
        With ``skull="fsaverage"``, the folder that holds the fetched ``fsaverage``. Default: where
        ``mne.datasets.fetch_fsaverage`` puts it.
    cache_dir : path, optional
        Where models are kept. Default: ``$LEARNMM_CACHE``, else the user's cache directory.
    progress : bool
        Show the stages of the construction; needs ``rich``.

    Returns
    -------
    HeadModel

    Raises
    ------
    FileNotFoundError
        If ``skull="fsaverage"`` and the surfaces are not in `subjects_dir`.
    ValueError
        If these surfaces are not fsaverage's boundaries, closed and nested, or if `subjects_dir` is
        given for another skull, which would not read it.

    Notes
    -----
    The first construction takes about 20 s at ``ico=3`` and two minutes at ``ico=4``. A cached file
    that is damaged is rebuilt, and a folder that cannot be written to is done without, with a
    warning in the log.

    Examples
    --------
    >>> model = fsaverage_head_model(HeadModelSettings(sources=64, ico=2))  # doctest: +SKIP
    >>> model.leadfield.shape  # doctest: +SKIP
    (90, 64)
    """
    settings = settings or HeadModelSettings()
    if settings.skull == "fsaverage":
        surfaces = read_surfaces(settings.ico, subjects_dir)
    elif subjects_dir is None:
        surfaces = None
    else:
        raise ValueError(
            f"subjects_dir is read with skull='fsaverage' only, got skull={settings.skull!r}"
        )
    identity = {
        "format": FORMAT,
        "settings": dataclasses.asdict(settings),
        "mne": mne.__version__,
        "nilearn": nilearn.__version__,
    }
    if surfaces is not None:
        identity["surfaces"] = surfaces_hash(surfaces)
    identity = json.loads(json.dumps(identity))  # tuples become lists, as they come back from disk
    path = cache_directory(cache_dir) / f"headmodel-{cache_key(identity)}.safetensors"
    try:
        arrays, header = read_arrays(path)
        if header.get("identity") != identity:
            raise CorruptCacheError(f"{path.name} was built from other settings than its name says")
        return _unpack(arrays, header, settings)
    except FileNotFoundError:
        pass
    except CorruptCacheError as error:
        _logger.warning("rebuilding the head model: %s", error)
    keep = can_keep(path)
    with stages(progress) as stage:
        arrays, facts = _build(settings, surfaces, stage)
    header = {"identity": identity, "facts": facts}
    if keep:
        keep_arrays(path, arrays, header)
    return _unpack(arrays, header, settings)


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


def _build(
    settings: HeadModelSettings, surfaces: dict[str, trimesh.Trimesh] | None, stage: StageFactory
) -> tuple[dict[str, np.ndarray], dict[str, float]]:
    hemispheres = fsaverage5()
    with stage("cortical regions"):
        labels, vertices = _regions(hemispheres, settings.sources)
    with stage("geodesic distances"):
        distances = np.full((settings.sources,) * 2, np.inf)
        borders, start = [], 0
        for hemi, label, centre in zip(hemispheres, labels, vertices, strict=True):
            block = slice(start, start + len(centre))
            distances[block, block] = geodesic_distances(hemi.mesh, hemi.cortex, centre)
            borders.append(cell_neighbours(hemi.mesh.edges_unique, label, len(centre)))
            start += len(centre)
        neighbours = sparse.block_diag(borders, format="csr")
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
    n_left = len(vertices[0])
    regions = np.concatenate([labels[0], np.where(labels[1] >= 0, labels[1] + n_left, -1)])
    centres = np.concatenate([vertices[0], vertices[1] + N_VERTICES])
    if settings.column == "sum":
        gain = region_sums(cortical.gain, regions, settings.sources)
    else:
        gain = cortical.gain[:, centres]
    # Rounding to single precision, all that a forward solution file keeps, hides the last bits, in
    # which sums depend on the number of threads. Before the reference, which then is exact.
    gain = gain.astype(np.float32).astype(np.float64)
    arrays = {
        "leadfield": gain - gain.mean(axis=0),
        "positions": cortical.positions[centres],
        "normals": cortical.normals[centres],
        "neighbour_indices": neighbours.indices.astype(np.int64),
        "neighbour_indptr": neighbours.indptr.astype(np.int64),
        "distances": distances,
        "vertices_lh": vertices[0],
        "vertices_rh": vertices[1],
        "regions": regions,
    }
    return arrays, _facts(hemispheres, regions, cortical, boundaries, min_depth)


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


def _unpack(
    arrays: dict[str, np.ndarray], header: dict[str, object], settings: HeadModelSettings
) -> HeadModel:
    """Make the model of what was kept; a file that does not fit the settings is corrupt."""
    names, n = electrode_names(), settings.sources
    kinds = {
        "leadfield": ((len(names), n), np.float64),
        "positions": ((n, 3), np.float64),
        "normals": ((n, 3), np.float64),
        "distances": ((n, n), np.float64),
        "neighbour_indices": (None, np.int64),
        "neighbour_indptr": ((n + 1,), np.int64),
        "vertices_lh": (None, np.int64),
        "vertices_rh": (None, np.int64),
        "regions": ((2 * N_VERTICES,), np.int64),
    }
    for name, (shape, dtype) in kinds.items():
        array = arrays.get(name, np.empty(0, np.void))
        if array.dtype != dtype or array.shape != (shape or (array.size,)):
            raise CorruptCacheError(
                f"expected {name} of shape {shape} and dtype {np.dtype(dtype)}, found "
                f"{array.shape} and {array.dtype}"
            )
    for name in ("leadfield", "positions", "normals"):
        if not np.isfinite(arrays[name]).all():
            raise CorruptCacheError(f"{name} is not finite")
    vertices = arrays["vertices_lh"], arrays["vertices_rh"]
    every = np.concatenate(vertices)
    regions, facts = arrays["regions"], header.get("facts")
    if len(every) != n or every.min() < 0 or every.max() >= N_VERTICES:
        raise CorruptCacheError(f"its vertices are not {n} of fsaverage5")
    if regions.min() < -1 or regions.max() >= n:
        raise CorruptCacheError(f"its regions are not those of {n} sources")
    if not isinstance(facts, dict) or not all(type(fact) is float for fact in facts.values()):
        raise CorruptCacheError("its facts are no numbers")
    indices, indptr = arrays["neighbour_indices"], arrays["neighbour_indptr"]
    try:
        neighbours = sparse.csr_matrix((np.ones(len(indices), bool), indices, indptr), shape=(n, n))
        neighbours.check_format(full_check=True)
    except ValueError as error:
        raise CorruptCacheError(f"its neighbours are no graph: {error}") from error
    return HeadModel(
        leadfield=arrays["leadfield"],
        positions=arrays["positions"],
        normals=arrays["normals"],
        neighbours=neighbours,
        distances=arrays["distances"],
        vertices=vertices,
        regions=regions,
        channel_names=names,
        settings=settings,
        facts=facts,
    )
