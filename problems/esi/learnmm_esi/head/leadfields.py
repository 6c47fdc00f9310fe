"""Check the arrays of a head model that users bring along."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from scipy import sparse

from learnmm_esi.head.report import lead_field_spectrum
from learnmm_esi.inverse.classical import check_silent

__all__ = [
    "check_names",
    "checked_array",
    "checked_distances",
    "checked_graph",
    "referenced_gain",
]

REPEATED = 1e-5  # of the largest row: files keep single precision
PLAUSIBLE_GAIN = (3.0, 1e6)  # V/(A m): the peak of the median source; one vertex gives about 100


def check_names(names: tuple[str, ...], sensors: int) -> None:
    """Refuse names that are not one different string per sensor."""
    if len(names) != sensors:
        raise ValueError(f"channel_names must name {sensors} sensors, got {len(names)}")
    wrong = [name for name in names if not isinstance(name, str)]
    if wrong:
        raise ValueError(f"channel_names must be strings, got {wrong[0]!r}")
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise ValueError(f"channel_names must differ, got {', '.join(repeated)} more than once")


def checked_array(values: ArrayLike, name: str, shape: tuple[int, ...]) -> np.ndarray:
    """Return a finite float64 array of the given shape, or refuse it by its name."""
    array = np.array(values, dtype=np.float64)
    if array.shape != shape:
        raise ValueError(f"{name} must have shape {shape}, got {array.shape}")
    if not np.isfinite(array).all():
        raise ValueError(f"{name} must be finite, got {(~np.isfinite(array)).sum()} other values")
    return array


def referenced_gain(gain: np.ndarray, names: tuple[str, ...]) -> np.ndarray:
    """Remove the average over the sensors and refuse what is no lead field in V/(A m)."""
    gain = checked_array(gain, "leadfield", gain.shape)
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
    rank = int(lead_field_spectrum(gain)["rank"])
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


def checked_graph(neighbours: ArrayLike | sparse.spmatrix, sources: int) -> sparse.csr_matrix:
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


def checked_distances(values: ArrayLike, sources: int) -> np.ndarray:
    """Return a symmetric matrix of distances, infinite ones allowed, or refuse it."""
    distances = np.array(values, dtype=np.float64)
    if distances.shape != (sources, sources):
        raise ValueError(f"distances must have shape {(sources, sources)}, got {distances.shape}")
    if np.isnan(distances).any() or (distances < 0).any() or np.diag(distances).any():
        raise ValueError("distances must be non-negative with a zero diagonal")
    if not np.allclose(distances, distances.T, rtol=1e-6):
        raise ValueError("distances must be symmetric")
    return distances
