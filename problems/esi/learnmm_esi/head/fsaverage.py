"""The fsaverage head model: read where it is kept, constructed where it is not."""

from __future__ import annotations

import dataclasses
import json
import os
from typing import Any

import mne
import nilearn
import numpy as np
import trimesh
from scipy import sparse

from learnmm.progress import stages
from learnmm_esi.cache import (
    ArrayCache,
    Arrays,
    CorruptCacheError,
    Header,
    cache_directory,
    cache_key,
)
from learnmm_esi.head.construction import construct
from learnmm_esi.head.cortex import N_VERTICES
from learnmm_esi.head.electrodes import electrode_names
from learnmm_esi.head.freesurfer import read_surfaces, surfaces_hash
from learnmm_esi.head.model import Construction, HeadModel
from learnmm_esi.head.settings import HeadModelSettings

__all__ = ["fsaverage_head_model"]

FORMAT = 3  # of the cached file; raise it whenever the same settings give another model


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
    identity = _identity(settings, surfaces)

    def read(arrays: Arrays, header: Header) -> HeadModel:
        if header.get("identity") != identity:
            raise CorruptCacheError("it was built from other settings than its name says")
        return _model(arrays, header.get("facts"), settings)

    def make() -> tuple[Arrays, Header]:
        with stages(progress) as stage:
            arrays, facts = construct(settings, surfaces, stage)
        return arrays, {"identity": identity, "facts": facts}

    cache = ArrayCache(cache_directory(cache_dir), "the head model")
    return cache.get(f"headmodel-{cache_key(identity)}", read, make)


def _identity(
    settings: HeadModelSettings, surfaces: dict[str, trimesh.Trimesh] | None
) -> dict[str, Any]:
    """Everything that a model depends on, as it comes back from disk."""
    identity: dict[str, Any] = {
        "format": FORMAT,
        "settings": dataclasses.asdict(settings),
        "mne": mne.__version__,
        "nilearn": nilearn.__version__,
    }
    if surfaces is not None:
        identity["surfaces"] = surfaces_hash(surfaces)
    as_read: dict[str, Any] = json.loads(json.dumps(identity))  # tuples become lists
    return as_read


def _model(arrays: Arrays, facts: Any, settings: HeadModelSettings) -> HeadModel:
    """Make the model of what was kept; a file that does not fit the settings is corrupt."""
    names, n = electrode_names(), settings.sources
    _check_shapes(arrays, len(names), n)
    for name in ("leadfield", "positions", "normals"):
        if not np.isfinite(arrays[name]).all():
            raise CorruptCacheError(f"{name} is not finite")
    vertices, regions = (arrays["vertices_lh"], arrays["vertices_rh"]), arrays["regions"]
    every = np.concatenate(vertices)
    if len(every) != n or every.min() < 0 or every.max() >= N_VERTICES:
        raise CorruptCacheError(f"its vertices are not {n} of fsaverage5")
    if regions.min() < -1 or regions.max() >= n:
        raise CorruptCacheError(f"its regions are not those of {n} sources")
    if not isinstance(facts, dict) or not all(type(fact) is float for fact in facts.values()):
        raise CorruptCacheError("its facts are no numbers")
    return HeadModel(
        leadfield=arrays["leadfield"],
        positions=arrays["positions"],
        normals=arrays["normals"],
        neighbours=_graph(arrays["neighbour_indices"], arrays["neighbour_indptr"], n),
        distances=arrays["distances"],
        vertices=vertices,
        channel_names=names,
        origin=Construction(settings, regions, facts),
    )


def _check_shapes(arrays: Arrays, sensors: int, n: int) -> None:
    kinds = {
        "leadfield": ((sensors, n), np.float64),
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


def _graph(indices: np.ndarray, indptr: np.ndarray, n: int) -> sparse.csr_matrix:
    try:
        graph = sparse.csr_matrix((np.ones(len(indices), bool), indices, indptr), shape=(n, n))
        graph.check_format(full_check=True)
    except ValueError as error:
        raise CorruptCacheError(f"its neighbours are no graph: {error}") from error
    return graph
