"""A simulated recording with its true sources."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Sample:
    """One simulated recording, or a batch of them with a leading batch dimension.

    Attributes
    ----------
    sources : ndarray of float32, shape (sources, times)
        Dipole moments in A m; zero outside the active patches.
    sensors : ndarray of float32, shape (sensors, times)
        Noisy, average-referenced recording in V.
    seed_source : int or ndarray of int64
        Region at the centre of the patch; of the first one where there are several.
    snr_db : float or ndarray of float64
        Frobenius signal-to-noise ratio of the recording in dB.
    index : int or ndarray of int64
        Which sample of the simulator this is.
    seed_sources : ndarray of int64, shape (patches,)
        Regions at the centres of all patches, `seed_source` first, filled up with -1 to the
        simulator's largest number of patches.
    patches : ndarray of bool, shape (patches, sources)
        Which regions each of them has; a region of two is active with the later one.
    """

    sources: NDArray[np.float32]
    sensors: NDArray[np.float32]
    seed_source: int | NDArray[np.int64]
    snr_db: float | NDArray[np.float64]
    index: int | NDArray[np.int64]
    seed_sources: NDArray[np.int64]
    patches: NDArray[np.bool_]


def stack_samples(samples: Iterable[Sample]) -> Sample:
    """Stack samples along a new leading batch dimension."""
    listed = list(samples)
    if not listed:
        raise ValueError("stack_samples: there is no sample to stack")
    return Sample(
        sources=np.stack([s.sources for s in listed]),
        sensors=np.stack([s.sensors for s in listed]),
        seed_source=np.array([s.seed_source for s in listed], dtype=np.int64),
        snr_db=np.array([s.snr_db for s in listed], dtype=np.float64),
        index=np.array([s.index for s in listed], dtype=np.int64),
        seed_sources=np.stack([s.seed_sources for s in listed]),
        patches=np.stack([s.patches for s in listed]),
    )
