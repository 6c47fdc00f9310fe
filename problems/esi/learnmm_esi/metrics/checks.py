"""What is refused before anything is compared: shapes, seeds and values of a batch."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["as_array", "checked_pair", "checked_seeds", "listed"]


def as_array(value: Any) -> NDArray[Any]:
    """Return an array of an array or a tensor."""
    if hasattr(value, "detach"):  # a tensor, perhaps on another device or with a graph
        value = value.detach().cpu().numpy()
    return np.asarray(value)


def listed(mask: ArrayLike) -> list[int]:
    """Return the first ten samples of a mask, for a message."""
    return [int(sample) for sample in np.flatnonzero(np.asarray(mask))[:10]]


def checked_pair(
    what: str, truth: Any, estimate: Any, sources: int
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return truth and estimate of a batch as arrays (batch, sources, times).

    Parameters
    ----------
    what : str
        Who asks, for the message.
    truth, estimate : ndarray or torch.Tensor
        Of shape (batch, sources, times), or (sources, times) for a batch of one.
    sources : int
        Number of regions.

    Returns
    -------
    truth, estimate : ndarray, shape (batch, sources, times)

    Raises
    ------
    ValueError
        If shapes disagree, nothing is there or a value is not finite.
    """
    truth, estimate = as_array(truth), as_array(estimate)
    if truth.ndim == 2 and estimate.ndim == 2:
        truth, estimate = truth[None], estimate[None]
    if truth.ndim != 3 or truth.shape != estimate.shape or truth.shape[1] != sources:
        raise ValueError(
            f"{what}: truth and estimate must both have shape (batch, {sources}, times), "
            f"got {truth.shape} and {estimate.shape}"
        )
    if 0 in truth.shape:
        raise ValueError(f"{what}: there is nothing to evaluate in shape {truth.shape}")
    for name, value in (("truth", truth), ("estimate", estimate)):
        finite = np.isfinite(value).all(axis=(1, 2))
        if not finite.all():
            raise ValueError(f"{what}: the {name} is not finite in samples {listed(~finite)}")
    return truth, estimate


def checked_seeds(
    what: str, seed_sources: ArrayLike, batch: int, sources: int
) -> NDArray[np.int64]:
    """Return the true seeds of a batch, (batch, seeds), filled up with -1.

    Parameters
    ----------
    what : str
        Who asks, for the message.
    seed_sources : array of int, shape (batch, seeds)
        At least one seed in each sample; -1 is none.
    batch, sources : int
        Number of samples, and of regions.

    Raises
    ------
    ValueError
        If they are no such integers, or a sample has no seed.
    IndexError
        If a seed is not a region.
    """
    seeds = as_array(seed_sources)
    if seeds.ndim != 2 or len(seeds) != batch or not np.issubdtype(seeds.dtype, np.integer):
        raise ValueError(
            f"{what}: seed_sources must be integers of shape ({batch}, seeds), "
            f"got shape {seeds.shape} of {seeds.dtype}"
        )
    if seeds.size and (seeds.min() < -1 or seeds.max() >= sources):
        raise IndexError(
            f"{what}: seed_sources must lie in 0..{sources - 1}, or be -1 for none, "
            f"got {seeds.min()} to {seeds.max()}"
        )
    none = ~(seeds >= 0).any(axis=1)
    if none.any():
        raise ValueError(f"{what}: there is no seed in samples {listed(none)}")
    return seeds.astype(np.int64)
