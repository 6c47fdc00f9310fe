"""Time courses of an event-related deflection, by name or by function."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Shape = Callable[[Floats, float, float], Floats]
"""``shape(time_ms, centre_ms, width_ms)``: one value, of about unit size, at each of the times."""

Waveform = Literal["gaussian", "biphasic", "oscillation"] | Shape

_WIDTHS_PER_DEVIATION = 6.0
"""The full width of a deflection covers six standard deviations of its Gaussian."""


def gaussian(time_ms: Floats, centre_ms: float, width_ms: float) -> Floats:
    """One positive deflection, ``exp(-1/2 u^2)`` with ``u = (t - c) / (w/6)``."""
    return np.exp(-0.5 * _relative(time_ms, centre_ms, width_ms) ** 2)


def biphasic(time_ms: Floats, centre_ms: float, width_ms: float) -> Floats:
    """Positive, then negative: a Gaussian's slope ``-u exp((1 - u^2) / 2)``, one at ``u = -1``."""
    u = _relative(time_ms, centre_ms, width_ms)
    return -u * np.exp(0.5 * (1.0 - u**2))


def oscillation(time_ms: Floats, centre_ms: float, width_ms: float) -> Floats:
    """Short burst, ``cos(pi u) exp(-1/2 u^2)``: three cycles in the width, 50 Hz at 60 ms."""
    u = _relative(time_ms, centre_ms, width_ms)
    return np.cos(np.pi * u) * np.exp(-0.5 * u**2)


_SHAPES: dict[str, Shape] = {f.__name__: f for f in (gaussian, biphasic, oscillation)}


def find_shape(waveform: Waveform) -> Shape:
    """Look a waveform up by name; a function is its own.

    Parameters
    ----------
    waveform : {"gaussian", "biphasic", "oscillation"} or callable

    Returns
    -------
    callable
        Of `Shape`.

    Raises
    ------
    ValueError
        If it is neither a known name nor callable.
    """
    if callable(waveform):
        return waveform
    if isinstance(waveform, str) and waveform in _SHAPES:
        return _SHAPES[waveform]
    raise ValueError(
        f"waveform must be one of {', '.join(_SHAPES)}, or a function of (time_ms, centre_ms, "
        f"width_ms), got {waveform!r}"
    )


def evaluate_shape(shape: Shape, time_ms: Floats, centre_ms: float, width_ms: float) -> Floats:
    """Evaluate a waveform and check what it gives.

    Parameters
    ----------
    shape : callable
        Of `Shape`.
    time_ms : ndarray of float64, shape (times,)
    centre_ms, width_ms : float

    Returns
    -------
    ndarray of float64, shape (times,)

    Raises
    ------
    ValueError
        Unless it gives a value at every time, all finite and not all zero.
    """
    values = np.asarray(shape(time_ms, centre_ms, width_ms), dtype=np.float64)
    name = getattr(shape, "__name__", repr(shape))
    if values.shape != time_ms.shape:
        raise ValueError(
            f"waveform {name}: expected one value at each time, shape {time_ms.shape}, "
            f"got {values.shape}"
        )
    if not (np.isfinite(values).all() and values.any()):
        raise ValueError(
            f"waveform {name}: its values must be finite and not all zero; they are not at "
            f"centre {centre_ms} ms, width {width_ms} ms"
        )
    return values


def _relative(time_ms: Floats, centre_ms: float, width_ms: float) -> Floats:
    """Time from the centre in standard deviations."""
    return (time_ms - centre_ms) / (width_ms / _WIDTHS_PER_DEVIATION)
