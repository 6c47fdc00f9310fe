"""What head models that are kept on disk share: what they depend on, and how they are checked."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from typing import Any

import mne
import nilearn
import numpy as np
from scipy import sparse

from learnmm_esi.cache import Arrays, CorruptCacheError
from learnmm_esi.head.cortex import N_VERTICES
from learnmm_esi.head.settings import HeadModelSettings

__all__ = ["check_arrays", "check_cells", "check_finite", "identity_of", "neighbour_graph"]

Kinds = Mapping[str, tuple[tuple[int, ...] | None, type[np.generic]]]


def identity_of(form: int, settings: HeadModelSettings, **further: Any) -> dict[str, Any]:
    """Return everything that a file depends on, as it comes back from disk.

    Parameters
    ----------
    form : int
        Of the file.
    settings : HeadModelSettings
        What was built.
    **further
        JSON values besides.
    """
    identity = {
        "format": form,
        "settings": dataclasses.asdict(settings),
        "mne": mne.__version__,
        "nilearn": nilearn.__version__,
        **further,
    }
    as_read: dict[str, Any] = json.loads(json.dumps(identity))  # tuples become lists
    return as_read


def check_arrays(arrays: Arrays, kinds: Kinds) -> None:
    """Raise `CorruptCacheError` unless there are arrays of these shapes and dtypes.

    Parameters
    ----------
    arrays : dict of str to ndarray
        Of a file.
    kinds : mapping of str to (shape, dtype)
        What is expected; a shape of None is any with one dimension.
    """
    for name, (shape, dtype) in kinds.items():
        array = arrays.get(name, np.empty(0, np.void))
        if array.dtype != dtype or array.shape != (shape or (array.size,)):
            raise CorruptCacheError(
                f"expected {name} of shape {shape} and dtype {np.dtype(dtype)}, found "
                f"{array.shape} and {array.dtype}"
            )


def check_cells(arrays: Arrays, n: int) -> None:
    """Raise `CorruptCacheError` unless a file's arrays are those of so many regions of fsaverage5.

    Parameters
    ----------
    arrays : dict of str to ndarray
        Of a file, the graph of neighbours apart (see `neighbour_graph`).
    n : int
        How many regions there should be.
    """
    kinds: Kinds = {
        "positions": ((n, 3), np.float64),
        "normals": ((n, 3), np.float64),
        "distances": ((n, n), np.float64),
        "neighbour_indices": (None, np.int64),
        "neighbour_indptr": ((n + 1,), np.int64),
        "vertices_lh": (None, np.int64),
        "vertices_rh": (None, np.int64),
        "regions": ((2 * N_VERTICES,), np.int64),
    }
    check_arrays(arrays, kinds)
    for name in ("positions", "normals"):
        check_finite(arrays, name)
    every = np.concatenate([arrays["vertices_lh"], arrays["vertices_rh"]])
    if len(every) != n or every.min() < 0 or every.max() >= N_VERTICES:
        raise CorruptCacheError(f"its vertices are not {n} of fsaverage5")
    if arrays["regions"].min() < -1 or arrays["regions"].max() >= n:
        raise CorruptCacheError(f"its regions are not those of {n} sources")


def check_finite(arrays: Arrays, name: str) -> None:
    """Raise `CorruptCacheError` unless an array is finite.

    Parameters
    ----------
    arrays : dict of str to ndarray
        Of a file.
    name : str
        Which.
    """
    if not np.isfinite(arrays[name]).all():
        raise CorruptCacheError(f"{name} is not finite")


def neighbour_graph(arrays: Arrays, n: int) -> sparse.csr_matrix:
    """Return the graph of neighbours of a file, which is checked.

    Parameters
    ----------
    arrays : dict of str to ndarray
        Of a file.
    n : int
        Number of regions.
    """
    indices, indptr = arrays["neighbour_indices"], arrays["neighbour_indptr"]
    try:
        graph = sparse.csr_matrix((np.ones(len(indices), bool), indices, indptr), shape=(n, n))
        graph.check_format(full_check=True)
    except ValueError as error:
        raise CorruptCacheError(f"its neighbours are no graph: {error}") from error
    return graph
