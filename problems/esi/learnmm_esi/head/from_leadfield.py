"""A head model of a bare lead field, or the reason why it cannot be one.

Lead fields arrive with all sorts of references, units and frames. What can be put right without
guessing is put right (the reference); everything else is an error that names what came and what
was expected.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike
from scipy import sparse

from learnmm_esi.head.model import HeadModel
from learnmm_esi.head.spectrum import lead_field_spectrum
from learnmm_esi.inverse.classical import check_silent

__all__ = ["head_model_from_leadfield"]

LARGEST_POSITION = 0.5  # metres
REPEATED = 1e-5  # of the largest row: files keep single precision
PLAUSIBLE_GAIN = (3.0, 1e6)  # V/(A m): the peak of the median source; one vertex gives about 100


def head_model_from_leadfield(
    leadfield: ArrayLike,
    positions: ArrayLike,
    neighbours: ArrayLike | sparse.spmatrix,
    channel_names: Sequence[str],
    *,
    normals: ArrayLike | None = None,
    distances: ArrayLike | None = None,
) -> HeadModel:
    """Make a head model of a bare lead field.

    Parameters
    ----------
    leadfield : array_like, shape (sensors, sources)
        V/(A m), of fixed orientation, in any reference: the average over the sensors is removed.
    positions : array_like, shape (sources, 3)
        Metres.
    neighbours : array_like or sparse matrix, shape (sources, sources)
        Non-zero where two sources are neighbours; symmetric, zero diagonal.
    channel_names : sequence of str
        One per row.
    normals : array_like, shape (sources, 3), optional
        Orientation of the sources.
    distances : array_like, shape (sources, sources), optional
        Distances along the cortex in metres.

    Returns
    -------
    HeadModel
        Without vertices and `origin`.

    Raises
    ------
    ValueError
        If shapes disagree, values are not finite, names repeat, the rank is less than the number
        of sensors less one (sensors that repeat others are named), no sensor sees some source, the
        magnitude is not one of V/(A m), positions are not in metres, or the graph of neighbours is
        not symmetric.
    """
    gain = np.array(leadfield, dtype=np.float64)
    if gain.ndim != 2 or min(gain.shape) < 2:
        raise ValueError(f"leadfield must have shape (sensors, sources), got {gain.shape}")
    sensors, sources = gain.shape
    names = tuple(channel_names)
    _check_names(names, sensors)
    gain = _referenced_gain(gain, names)
    places = _checked_array(positions, "positions", (sources, 3))
    if np.abs(places).max() > LARGEST_POSITION:
        raise ValueError(
            f"positions must be in metres, got values up to {np.abs(places).max():.4g}: "
            "divide millimetres by 1000"
        )
    graph = _checked_graph(neighbours, sources)
    return HeadModel(
        leadfield=gain,
        positions=places,
        normals=None if normals is None else _checked_array(normals, "normals", (sources, 3)),
        neighbours=graph,
        distances=None if distances is None else _checked_distances(distances, sources),
        vertices=None,
        channel_names=names,
    )


def _check_names(names: tuple[str, ...], sensors: int) -> None:
    """Refuse names that are not one different string per sensor."""
    if len(names) != sensors:
        raise ValueError(f"channel_names must name {sensors} sensors, got {len(names)}")
    wrong = [name for name in names if not isinstance(name, str)]
    if wrong:
        raise ValueError(f"channel_names must be strings, got {wrong[0]!r}")
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise ValueError(f"channel_names must differ, got {', '.join(repeated)} more than once")


def _checked_array(values: ArrayLike, name: str, shape: tuple[int, ...]) -> np.ndarray:
    """Return a finite float64 array of the given shape, or refuse it by its name."""
    array = np.array(values, dtype=np.float64)
    if array.shape != shape:
        raise ValueError(f"{name} must have shape {shape}, got {array.shape}")
    if not np.isfinite(array).all():
        raise ValueError(f"{name} must be finite, got {(~np.isfinite(array)).sum()} other values")
    return array


def _referenced_gain(gain: np.ndarray, names: tuple[str, ...]) -> np.ndarray:
    """Remove the average over the sensors and refuse what is no lead field in V/(A m)."""
    gain = _checked_array(gain, "leadfield", gain.shape)
    gain = gain - gain.mean(axis=0)
    peak = float(np.median(np.abs(gain).max(axis=0)))
    if not PLAUSIBLE_GAIN[0] <= peak <= PLAUSIBLE_GAIN[1]:
        raise ValueError(
            f"leadfield must be in V/(A m), where the median source peaks between "
            f"{PLAUSIBLE_GAIN[0]:g} and {PLAUSIBLE_GAIN[1]:g}; got {peak:.3g}. Multiply uV/(nA m) "
            "by 1000, and do not normalize columns"
        )
    check_silent("leadfield", gain)
    expected = min(len(gain) - 1, gain.shape[1])
    rank = lead_field_spectrum(gain).rank
    if rank < expected:
        raise ValueError(
            f"leadfield must have rank {expected} after average reference, got {rank}: "
            f"some sensors repeat others or are combinations of them{_repeated(gain, names)}"
        )
    return gain


def _repeated(gain: np.ndarray, names: tuple[str, ...]) -> str:
    """Name sensors that see the same as another one."""
    inner = gain @ gain.T
    size = np.diag(inner)
    squared = size[:, None] + size - 2 * inner
    same = np.triu(squared <= REPEATED**2 * size.max(), k=1)
    pairs = [f"{names[i]} = {names[j]}" for i, j in np.argwhere(same)]
    if not pairs:
        return ""
    return (
        f" ({', '.join(pairs[:12])}{', ...' if len(pairs) > 12 else ''}): leave out one of each "
        "pair, as forward.pick_channels or info of head_model_from_forward do"
    )


def _checked_graph(neighbours: ArrayLike | sparse.spmatrix, sources: int) -> sparse.csr_matrix:
    """Return a symmetric boolean graph without self-loops, or refuse it."""
    graph = sparse.csr_matrix(neighbours).astype(bool)
    graph.eliminate_zeros()
    graph.sort_indices()
    if graph.shape != (sources, sources):
        raise ValueError(f"neighbours must have shape {(sources, sources)}, got {graph.shape}")
    if graph.diagonal().any():
        raise ValueError("neighbours must have a zero diagonal: no source is its own neighbour")
    if (graph != graph.T).nnz:
        raise ValueError("neighbours must be symmetric")
    return graph


def _checked_distances(values: ArrayLike, sources: int) -> np.ndarray:
    """Return a symmetric matrix of distances, infinite ones allowed, or refuse it."""
    distances = np.array(values, dtype=np.float64)
    if distances.shape != (sources, sources):
        raise ValueError(f"distances must have shape {(sources, sources)}, got {distances.shape}")
    if np.isnan(distances).any() or (distances < 0).any() or np.diag(distances).any():
        raise ValueError("distances must be non-negative with a zero diagonal")
    if not np.allclose(distances, distances.T, rtol=1e-6):
        raise ValueError("distances must be symmetric")
    return distances
