"""Where the main source of a recording may lie: estimates of resampled recordings, smoothed."""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from learnmm_esi.inverse.noise import NoiseModes
from learnmm_esi.inverse.noise_spectrum import whitened_in_time

__all__ = ["CREDIBLE", "levels", "main_sources", "radius", "resampled"]

CREDIBLE = 0.9
"""Level of the region that is calibrated."""

Floats = NDArray[np.float64]


def resampled(
    recording: ArrayLike, image: ArrayLike, modes: NoiseModes, draws: int, seed: int
) -> Floats:
    """Record an estimate again, with fresh noise.

    The estimate's image is scaled to the part of the recording that is no noise (see
    `estimate_noise`); the noise is white in the directions in which a recording can lie, and has
    the spectrum of the recording's (see `whitened_in_time`).

    Parameters
    ----------
    recording : array, shape (sensors, times)
        Projected and whitened as the lead field of the modes; its scale plays no role.
    image : array, shape (sensors, times)
        What the sensors see of the estimate, in any unit.
    modes : NoiseModes
        Of the lead field.
    draws : int
        How many.
    seed : int
        Of the noise.

    Returns
    -------
    ndarray, shape (draws, sensors, times)
        Of norm one, on the average.
    """
    y = torch.as_tensor(np.asarray(recording), dtype=torch.float64)
    white = whitened_in_time(y[None], modes)
    share = float(white.told.share)
    signal = np.asarray(image, dtype=np.float64)
    signal = signal / np.abs(signal).max()  # squares of tiny units would vanish
    signal = signal * (math.sqrt(1 - share) / np.linalg.norm(signal))
    basis = modes.vectors.numpy()
    shape = draws, basis.shape[1], signal.shape[1]
    noise = np.random.default_rng(seed).standard_normal(shape)
    if white.spectrum is not None:
        noise = white.restored(torch.from_numpy(noise)).numpy()
    drawn: Floats = signal + basis @ noise * math.sqrt(share / (shape[1] * shape[2]))
    return drawn


def main_sources(sources: NDArray[np.floating]) -> NDArray[np.int64]:
    """Return the source of the largest root mean square of each estimate.

    Parameters
    ----------
    sources : ndarray, shape (estimates, sources, times)
        In any unit.
    """
    scaled = sources / np.abs(sources).max(axis=(1, 2), keepdims=True)
    places: NDArray[np.int64] = np.square(scaled, dtype=np.float64).sum(axis=2).argmax(axis=1)
    return places


def levels(positions: Floats, places: NDArray[np.int64], bandwidth: float) -> Floats:
    """Return the credible level at which each source enters the region of the main source.

    The places of the draws, smoothed by Gaussians ``exp(-|r - p|^2 / 2 h^2)``, are a density over
    the sources; sources are taken in descending order, and each has the mass of those before and
    half of its own. So regions ``{level <= q}`` are nested, and hold the densest source for every
    ``q`` from 0.5 on.

    Parameters
    ----------
    positions : ndarray, shape (sources, 3)
        Metres.
    places : ndarray of int, shape (draws,)
        Main source of each draw.
    bandwidth : float
        ``h`` in metres.

    Returns
    -------
    ndarray, shape (sources,)
        In (0, 1].
    """
    mass = _masses(positions, places, bandwidth)
    order = np.argsort(-mass, kind="stable")
    sorted_mass = mass[order]
    entered = np.empty(len(mass))
    entered[order] = np.minimum(np.cumsum(sorted_mass) - sorted_mass / 2, 1)  # of rounding
    return entered


def radius(positions: Floats, places: NDArray[np.int64], bandwidth: float) -> float:
    """Return how far around the densest source `CREDIBLE` of the density lies, in metres.

    Parameters
    ----------
    positions, places, bandwidth
        See `levels`.
    """
    mass = _masses(positions, places, bandwidth)
    apart = np.linalg.norm(positions - positions[mass.argmax()], axis=1)
    order = np.argsort(apart, kind="stable")
    inside = np.cumsum(mass[order])
    return float(apart[order[np.searchsorted(inside, CREDIBLE)]])


def _masses(positions: Floats, places: NDArray[np.int64], bandwidth: float) -> Floats:
    """The density, of sum one."""
    found, counts = np.unique(places, return_counts=True)
    apart = np.linalg.norm(positions[:, None] - positions[found], axis=2)
    density: Floats = np.exp(-0.5 * (apart / bandwidth) ** 2) @ counts
    mass: Floats = density / density.sum()
    return mass
