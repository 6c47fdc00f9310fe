"""Agreement of amplitudes: maps and arrays over their largest absolute value."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["peak_signal_to_noise", "unit_peak"]


def unit_peak(value: NDArray[Any]) -> NDArray[Any]:
    """Divide every sample by its largest absolute value."""
    rest = tuple(range(1, value.ndim))
    scaled: NDArray[Any] = value / np.abs(value).max(axis=rest, keepdims=True)
    return scaled


def peak_signal_to_noise(truth: NDArray[Any], estimate: NDArray[Any]) -> NDArray[np.float64]:
    """PSNR of every sample in dB, ``10 log10((min x' - max y')^2 / mean (x' - y')^2)``.

    Parameters
    ----------
    truth, estimate : ndarray, shape (batch, sources, times)
        ``x'`` and ``y'`` are these over their largest absolute value; none is zero everywhere.

    Returns
    -------
    ndarray of float64, shape (batch,)
        Infinite for an estimate that is proportional to the truth.
    """
    x, y = unit_peak(truth), unit_peak(estimate)
    peak = x.min(axis=(1, 2)) - y.max(axis=(1, 2))
    error = np.mean((x - y) ** 2, axis=(1, 2), dtype=np.float64)
    with np.errstate(divide="ignore"):  # no error at all is infinitely many decibels
        ratio: NDArray[np.float64] = 10.0 * np.log10(peak.astype(np.float64) ** 2 / error)
    return ratio
