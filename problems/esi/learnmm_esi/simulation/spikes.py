"""One-second clips of Jansen-Rit columns, with an interictal spike or of background activity."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray
from scipy.signal import find_peaks, resample_poly

from learnmm_esi.simulation.jansen_rit import JansenRitParameters, Synapse, simulate_columns
from learnmm_esi.simulation.spike_extent import spike_extent

CLIP_TIMES, CLIP_SFREQ = 500, 500.0
"""Samples and sampling rate in Hz of a clip: one second."""

SPIKE_THRESHOLD = 8.0
"""Lowest peak of a spike, mV. Background activity stays below 3 mV, spikes reach 11 to 13 mV."""

SPIKING = JansenRitParameters(excitatory=Synapse(gain=3.6, rate=0.1))
"""A column that spikes now and then, driven over its threshold by its noisy input."""

BACKGROUND = JansenRitParameters()
"""A column that does not."""

BACKGROUND_DEVIATION = 0.32
"""Root mean square of background activity over time, its mean removed, mV."""

Choice = Literal["isolated", "any", "multiple"]

_STEP = 0.5  # ms
_DECIMATION = 4  # 2000 Hz to CLIP_SFREQ
_WARM_UP, _CLIPS = 1, 4  # clips dropped at the start, clips to choose from, of each column
_TAIL = 50  # samples after the last clip, spoiled by the low-pass filter's end
_REFRACTORY = 100  # samples after a peak in which no other counts as a spike of its own
_MARGIN = 50  # samples around a clip that hold no other peak either: 100 ms, one spike's width
_COLUMNS = 256  # integrated at once: large enough for the loop's overhead, small enough for cache
_ATTEMPTS = 50
_SPIKE_STREAM, _BACKGROUND_STREAM = 2, 3


def spike_clips(
    seed: int,
    indices: Sequence[int],
    choice: Choice = "isolated",
    parameters: JansenRitParameters = SPIKING,
) -> NDArray[np.float32]:
    """Simulate one clip with a spike for every index.

    Each clip comes from a column of its own: four seconds after the first are cut at whole
    seconds and the first piece that fits is taken, so that the spike lies anywhere in it; a column
    without one is drawn anew.

    Parameters
    ----------
    seed : int
        Names the set of clips.
    indices : sequence of int
        Which clips of the set; a clip depends on ``(seed, index)`` alone.
    choice : {"isolated", "any", "multiple"}, default "isolated"
        Exactly one peak above `SPIKE_THRESHOLD` in the clip and 100 ms around it, at least one, or
        at least two.
    parameters : JansenRitParameters
        Constants of the column.

    Returns
    -------
    ndarray of float32, shape (len(indices), 500)
        Net pyramidal potential in mV at 500 Hz.

    Raises
    ------
    RuntimeError
        If columns of these constants do not spike as asked for.
    """
    check_choice(choice)

    def take(series: NDArray[np.float64], _: np.random.Generator) -> NDArray[np.float64] | None:
        start = _first_clip(series, choice)
        return None if start is None else series[start : start + CLIP_TIMES]

    return _clips(seed, indices, parameters, take, f"{choice} spikes")


def parted_clips(
    seed: int, indices: Sequence[int], parameters: JansenRitParameters = SPIKING
) -> NDArray[np.float32]:
    """Simulate clips that hold all spikes of their second, those apart from the rest.

    Of four seconds of a column, the one is taken in which one of its spikes falls, drawn uniformly:
    a second of many spikes comes more often. A peak within 200 ms of the one before it is no spike
    of its own. Spikes that the second cuts off are spikes as far as it has them.

    Parameters
    ----------
    seed : int
        Names the set of clips.
    indices : sequence of int
        Which clips of the set; a clip depends on ``(seed, index)`` alone.
    parameters : JansenRitParameters
        Constants of the column.

    Returns
    -------
    ndarray of float32, shape (len(indices), 2, 500)
        Net pyramidal potential in mV at 500 Hz: without the spikes, and what these add to the
        column's mean, zero outside them. The clip is the sum of both.

    Raises
    ------
    RuntimeError
        If columns of these constants do not spike.
    """

    def take(
        series: NDArray[np.float64], generator: np.random.Generator
    ) -> NDArray[np.float64] | None:
        peaks = find_peaks(series, height=SPIKE_THRESHOLD)[0]
        peaks = peaks[np.diff(peaks, prepend=-_REFRACTORY - 1) > _REFRACTORY]
        clips = peaks // CLIP_TIMES
        clips = clips[(clips >= _WARM_UP) & (clips < _WARM_UP + _CLIPS)]
        if len(clips) == 0:
            return None
        above = series - series[_WARM_UP * CLIP_TIMES :].mean()
        spiking = np.zeros(len(series), dtype=bool)
        for peak in peaks:
            spiking[spike_extent(above, peak)] = True
        spikes = np.where(spiking, above, 0.0)
        start = int(generator.choice(clips)) * CLIP_TIMES
        return np.stack([series - spikes, spikes])[:, start : start + CLIP_TIMES]

    return _clips(seed, indices, parameters, take, "a spike")


def _clips(
    seed: int,
    indices: Sequence[int],
    parameters: JansenRitParameters,
    take: Callable[[NDArray[np.float64], np.random.Generator], NDArray[np.float64] | None],
    what: str,
) -> NDArray[np.float32]:
    """What is taken of a column for every index, drawn anew where that is nothing."""
    indices = [int(index) for index in indices]
    if seed < 0 or min(indices, default=0) < 0:
        raise ValueError("clips: seed and indices must not be negative")
    clips: dict[int, NDArray[np.float32]] = {}
    missing = sorted(set(indices))
    for attempt in range(_ATTEMPTS):
        for start in range(0, len(missing), _COLUMNS):
            chunk = missing[start : start + _COLUMNS]
            generators = [np.random.default_rng([seed, i, _SPIKE_STREAM, attempt]) for i in chunk]
            columns = zip(chunk, _series(generators, parameters), generators, strict=True)
            for index, series, generator in columns:
                clip = take(series, generator)
                if clip is not None:
                    clips[index] = clip.astype(np.float32)
        missing = [index for index in missing if index not in clips]
        if not missing:
            return np.stack([clips[index] for index in indices])
    raise RuntimeError(
        f"clips: {len(missing)} columns gave no clip with {what} in {_ATTEMPTS} attempts; "
        f"{parameters} hardly spikes so"
    )


def check_choice(choice: str) -> None:
    """Raise a ValueError if there is no such choice of clips."""
    if choice not in get_args(Choice):
        raise ValueError(f"choice must be one of {get_args(Choice)}, got {choice!r}")


def background_clips(
    seed: int, count: int, parameters: JansenRitParameters = BACKGROUND
) -> NDArray[np.float32]:
    """Simulate clips of background activity.

    Parameters
    ----------
    seed : int
        Names the set of clips.
    count : int
        Number of clips.
    parameters : JansenRitParameters
        Constants of the columns.

    Returns
    -------
    ndarray of float32, shape (count, 500)
        Net pyramidal potential in mV at 500 Hz, its mean over time removed.
    """
    if seed < 0 or count < 1:
        raise ValueError(f"background_clips: seed >= 0 and count >= 1, got {seed}, {count}")
    pieces = []
    columns = range(-(-count // _CLIPS))
    for start in range(0, len(columns), _COLUMNS):
        chunk = columns[start : start + _COLUMNS]
        generators = [np.random.default_rng([seed, i, _BACKGROUND_STREAM]) for i in chunk]
        series = _series(generators, parameters)[:, _WARM_UP * CLIP_TIMES :]
        pieces.append(series[:, : _CLIPS * CLIP_TIMES].reshape(-1, CLIP_TIMES))
    clips = np.concatenate(pieces)[:count]
    centred: NDArray[np.float32] = (clips - clips.mean(axis=1, keepdims=True)).astype(np.float32)
    return centred


def _series(
    generators: list[np.random.Generator], parameters: JansenRitParameters
) -> NDArray[np.float64]:
    """Low-passed columns at the clips' rate, warm-up included, shape (columns, times)."""
    times = (_WARM_UP + _CLIPS) * CLIP_TIMES + _TAIL
    noise = np.stack([g.standard_normal(times * _DECIMATION) for g in generators], axis=1)
    fine = simulate_columns(noise, parameters, _STEP)
    # A linear-phase low-pass below the new Nyquist rate, then every fourth sample.
    series: NDArray[np.float64] = resample_poly(fine, 1, _DECIMATION, axis=0).T
    return series


def _first_clip(series: NDArray[np.float64], choice: Choice) -> int | None:
    """Start of the first clip that fits, or None."""
    peaks = find_peaks(series, height=SPIKE_THRESHOLD)[0]
    for clip in range(_WARM_UP, _WARM_UP + _CLIPS):
        start, stop = clip * CLIP_TIMES, (clip + 1) * CLIP_TIMES
        inside = int(((peaks >= start) & (peaks < stop)).sum())
        around = int(((peaks >= start - _MARGIN) & (peaks < stop + _MARGIN)).sum())
        fits = {"isolated": inside == around == 1, "any": inside >= 1, "multiple": inside >= 2}
        if fits[choice]:
            return start
    return None
