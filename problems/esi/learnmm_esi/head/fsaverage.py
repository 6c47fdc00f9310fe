"""The fsaverage head model: read where it is kept, constructed where it is not."""

from __future__ import annotations

import os
from typing import Any

import numpy as np

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
from learnmm_esi.head.electrodes import electrode_names
from learnmm_esi.head.freesurfer import read_surfaces, surfaces_hash
from learnmm_esi.head.kept import (
    check_arrays,
    check_cells,
    check_finite,
    identity_of,
    neighbour_graph,
)
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
    further = {} if surfaces is None else {"surfaces": surfaces_hash(surfaces)}
    identity = identity_of(FORMAT, settings, **further)

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


def _model(arrays: Arrays, facts: Any, settings: HeadModelSettings) -> HeadModel:
    """Make the model of what was kept; a file that does not fit the settings is corrupt."""
    names, n = electrode_names(), settings.sources
    check_arrays(arrays, {"leadfield": ((len(names), n), np.float64)})
    check_finite(arrays, "leadfield")
    check_cells(arrays, n)
    if not isinstance(facts, dict) or not all(type(fact) is float for fact in facts.values()):
        raise CorruptCacheError("its facts are no numbers")
    return HeadModel(
        leadfield=arrays["leadfield"],
        positions=arrays["positions"],
        normals=arrays["normals"],
        neighbours=neighbour_graph(arrays, n),
        distances=arrays["distances"],
        vertices=(arrays["vertices_lh"], arrays["vertices_rh"]),
        channel_names=names,
        origin=Construction(settings, arrays["regions"], facts),
    )
