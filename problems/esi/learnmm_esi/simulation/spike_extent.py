"""Where a spike begins and ends: at the column's mean, before its peak and after its trough."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_REACH = 200  # samples before and after the peak within which a spike lies: 400 ms
_TROUGH = 50, 150  # samples after the peak between which it has its trough
_AT_MEAN = 0.1  # mV; so near is at the mean


def spike_extent(above: NDArray[np.float64], peak: int) -> slice:
    """Samples of the spike with this peak.

    It begins with the last sample at the mean before the peak and ends with the first after the
    trough, the lowest sample 100 to 300 ms after the peak: the slow wave is a part of the spike. At
    the mean is what lies within 0.1 mV of it or, where within 400 ms of the peak nothing does, what
    comes nearest.

    Parameters
    ----------
    above : ndarray, shape (times,)
        A column's potential in mV at 500 Hz, its mean removed.
    peak : int
        Sample of the peak.

    Returns
    -------
    slice
    """
    if not 0 <= peak < len(above):
        raise IndexError(f"spike_extent: peak {peak} is none of {len(above)} samples")
    first = max(0, peak - _REACH)
    begin = first + int(_at_mean(above[first : peak + 1])[-1])
    last = min(len(above), peak + _REACH)
    low, high = (min(peak + after, last - 1) for after in _TROUGH)
    trough = low + int(above[low : max(high, low + 1)].argmin())
    end = trough + int(_at_mean(above[trough:last])[0])
    return slice(begin, end + 1)


def _at_mean(above: NDArray[np.float64]) -> NDArray[np.int64]:
    """Samples at the mean, one at least."""
    distance = np.abs(above)
    return np.flatnonzero(distance <= max(_AT_MEAN, float(distance.min())))
