"""White sensor noise at an exact signal-to-noise ratio."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from learnmm.plain import is_number, plain
from learnmm.storage import short

LARGEST_SNR = 300.0
"""In dB, up or down: a ratio of 1e15. Noise far above that overflows single precision."""


def frobenius_norm(values: NDArray[np.floating]) -> float:
    """Return the root of the sum of squares, the same bits for any number of threads.

    numpy adds pairwise in one thread; `numpy.linalg.norm` calls BLAS, which shares out long sums.
    """
    return math.sqrt(float(np.square(values, dtype=np.float64).sum()))


def scale_to_snr(
    noise: NDArray[np.floating], signal: NDArray[np.floating], snr_db: float
) -> NDArray[np.floating]:
    """Scale a noise array to a signal-to-noise ratio.

    The ratio is that of the two Frobenius norms over the whole array:
    ``20 log10(||signal|| / ||noise||) = snr_db`` holds exactly, not on average.

    Parameters
    ----------
    noise, signal : ndarray
        Finite, not zero.
    snr_db : float
        Decibels, at least -300; ``inf`` gives no noise.

    Returns
    -------
    ndarray, shape of `noise`
    """
    if not snr_db >= -LARGEST_SNR:
        raise ValueError(
            f"scale_to_snr: snr_db must be a number of at least {-LARGEST_SNR:g}, got {snr_db}"
        )
    power = frobenius_norm(signal)
    if not np.isfinite(power) or power == 0.0:
        raise ValueError("scale_to_snr: the signal is zero or not finite, so no ratio is defined")
    if snr_db == np.inf:
        return np.zeros_like(noise)
    scale: float = power / frobenius_norm(noise) * 10.0 ** (-snr_db / 20.0)
    return noise * scale


def add_sensor_noise(
    signal: NDArray[np.floating], snr_db: float, generator: np.random.Generator
) -> NDArray[np.float64]:
    """Add white, average-referenced noise to a recording.

    The noise is independent over time and over electrodes, then referenced to its average as the
    recording is, so that the sum is average-referenced and the ratio concerns what is measured.

    Parameters
    ----------
    signal : ndarray, shape (sensors, times)
        Average-referenced, in volts.
    snr_db : float
        Frobenius signal-to-noise ratio in dB (see `scale_to_snr`).
    generator : numpy.random.Generator
        Where the noise comes from.

    Returns
    -------
    ndarray of float64, shape (sensors, times)
    """
    noise = generator.standard_normal(signal.shape)
    noise -= noise.mean(axis=0)
    return signal + scale_to_snr(noise, signal, snr_db)


def add_channel_noise(
    signal: NDArray[np.floating],
    offset: NDArray[np.floating],
    snr_db: float,
    generator: np.random.Generator,
) -> NDArray[np.float64]:
    """Add white noise to every channel in proportion to that channel's own power.

    The variance of the noise is the channel's mean square, its offset included, over the ratio;
    unlike in `add_sensor_noise` it holds on average, not exactly, and strong channels are noisier
    than weak ones. The sum is referenced to its average over the channels.

    Parameters
    ----------
    signal : ndarray, shape (sensors, times)
        Average-referenced, in volts.
    offset : ndarray, shape (sensors,)
        What is added to the signal before its power is taken.
    snr_db : float
        Ratio in dB, finite.
    generator : numpy.random.Generator
        Where the noise comes from.

    Returns
    -------
    ndarray of float64, shape (sensors, times)
    """
    power = np.square(signal + offset[:, None], dtype=np.float64).mean(axis=1)
    deviation = np.sqrt(power) * 10.0 ** (-snr_db / 20.0)
    noisy = signal + deviation[:, None] * generator.standard_normal(signal.shape)
    referenced: NDArray[np.float64] = noisy - noisy.mean(axis=0)
    return referenced


def snr_range(snr_db: float | tuple[float, float]) -> tuple[float, float]:
    """Read one ratio, or a lowest and a highest, as a range in dB."""
    ends = [plain(end) for end in (snr_db if isinstance(snr_db, tuple) else (snr_db, snr_db))]
    if len(ends) == 2 and all(map(is_number, ends)):
        low, high = ends
        if -LARGEST_SNR <= low <= high <= LARGEST_SNR:
            return float(low), float(high)
    raise ValueError(
        f"snr_db must be finite and at most {LARGEST_SNR:g} dB up or down, or a pair of such "
        f"numbers, low <= high, got {short(snr_db)}"
    )
