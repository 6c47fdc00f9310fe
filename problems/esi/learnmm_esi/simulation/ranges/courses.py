"""Time courses of active patches: many shapes, lengths and rates, and how they go together."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from learnmm_esi.simulation.clips import SpikeClips
from learnmm_esi.simulation.spikes import CLIP_SFREQ
from learnmm_esi.simulation.waveforms import biphasic, gaussian

__all__ = ["CourseRange", "Timing", "pink"]

Floats = NDArray[np.float64]

CLIPS = SpikeClips(seed=9_001)
CLIP_COUNT = 256  # neural masses to choose from
SHORT = 9.0  # samples, below which recordings are drawn evenly


class Timing(NamedTuple):
    """Samples of a recording, and how many there are in a second."""

    times: int
    sfreq: float

    @property
    def seconds(self) -> Floats:
        """When the samples are, from zero."""
        return np.arange(self.times) / self.sfreq


def _deflection(timing: Timing, generator: np.random.Generator) -> Floats:
    """A potential: one to three deflections, one after the other."""
    course = np.zeros(timing.times)
    for _ in range(int(generator.integers(1, 4))):
        centre, width = _place(timing, generator)
        course += generator.uniform(-1, 1) * gaussian(1e3 * timing.seconds, centre, width)
    return course


def _biphasic(timing: Timing, generator: np.random.Generator) -> Floats:
    """A deflection and its opposite."""
    centre, width = _place(timing, generator)
    course: Floats = biphasic(1e3 * timing.seconds, centre, 2 * width)
    return course


def _oscillation(timing: Timing, generator: np.random.Generator) -> Floats:
    """A rhythm of 3 to 45 Hz that waxes and wanes, or stays."""
    frequency = np.exp(generator.uniform(np.log(3), np.log(45)))
    centre, width = _place(timing, generator)
    envelope = gaussian(1e3 * timing.seconds, centre, 4 * width + 1e3 / frequency)
    if generator.uniform() < 0.3:
        envelope = np.ones(timing.times)
    wave: Floats = envelope * np.cos(2 * np.pi * (frequency * timing.seconds + generator.uniform()))
    return wave


def _spike(timing: Timing, generator: np.random.Generator) -> Floats:
    """An interictal spike of 20 to 70 ms, and the slow wave after it."""
    centre = generator.uniform(0, 1e3 * timing.times / timing.sfreq)
    width, slow = generator.uniform(20, 70), generator.uniform(100, 300)
    time = 1e3 * timing.seconds
    after = generator.uniform(0, 0.6) * gaussian(time, centre + 0.6 * slow, 2 * slow)
    return gaussian(time, centre, 2 * width) - after


def _ongoing(timing: Timing, generator: np.random.Generator) -> Floats:
    """Activity without a shape, its power falling as one over the frequency."""
    course: Floats = pink(1, timing.times, generator)[0]
    return course


def _mass(timing: Timing, generator: np.random.Generator) -> Floats:
    """A spike of a neural mass, see `spike_clips`, around its peak."""
    clip = CLIPS[int(generator.integers(CLIP_COUNT))].astype(np.float64)
    clip = clip - np.median(clip)
    peak = int(np.abs(clip).argmax()) / CLIP_SFREQ
    begin = peak - generator.uniform(0, timing.times) / timing.sfreq
    course: Floats = np.interp(begin + timing.seconds, np.arange(len(clip)) / CLIP_SFREQ, clip)
    return course


SHAPES: dict[str, Callable[[Timing, np.random.Generator], Floats]] = {
    "deflection": _deflection,
    "biphasic": _biphasic,
    "oscillation": _oscillation,
    "spike": _spike,
    "ongoing": _ongoing,
    "mass": _mass,
}
RELATIONS = ("independent", "equal", "scaled", "delayed")


@dataclass(frozen=True)
class CourseRange:
    """Time courses of a simulation.

    Attributes
    ----------
    times : (int, int)
        Fewest and most samples, drawn evenly on a logarithmic scale, but for the shortest ones:
        as many recordings have 1 to 10 samples as have 10 to 30.
    sfreq : (float, float)
        Samples per second, drawn evenly on a logarithmic scale.
    shapes : tuple of str
        Of ``"deflection"`` (one to three Gaussians), ``"biphasic"``, ``"oscillation"``,
        ``"spike"``, ``"ongoing"`` (1/f) and ``"mass"`` (neural masses).
    relations : tuple of str
        How the further patches of a recording go with the first: ``"independent"``, ``"equal"``,
        ``"scaled"`` (of either sign), ``"delayed"`` (by up to 50 ms).
    amplitude : (float, float)
        Of a patch's peak, relative to others.

    Raises
    ------
    ValueError
        For what is no such range.
    """

    times: tuple[int, int] = (1, 500)
    sfreq: tuple[float, float] = (50.0, 1000.0)
    shapes: tuple[str, ...] = tuple(SHAPES)
    relations: tuple[str, ...] = RELATIONS
    amplitude: tuple[float, float] = (0.5, 1.5)

    def __post_init__(self) -> None:
        for name in ("times", "sfreq", "shapes", "relations", "amplitude"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        for name in ("times", "sfreq", "amplitude"):
            pair = getattr(self, name)
            if not (len(pair) == 2 and 0 < pair[0] <= pair[1] < np.inf):
                raise ValueError(f"CourseRange: {name} must be 0 < least <= most, got {pair}")
        if not all(isinstance(count, int) for count in self.times):
            raise ValueError(f"CourseRange: times must be ints, got {self.times}")
        for name, known in (("shapes", SHAPES), ("relations", RELATIONS)):
            asked = getattr(self, name)
            if not asked or not set(asked) <= set(known):
                raise ValueError(f"CourseRange: {name} must be of {', '.join(known)}, got {asked}")

    def timing(self, generator: np.random.Generator) -> Timing:
        """Draw length and rate of a recording."""
        fewest, most = (np.log(times + SHORT) for times in self.times)
        slow, fast = np.log(self.sfreq)
        times = round(np.exp(generator.uniform(fewest, most)) - SHORT)
        return Timing(times, float(np.exp(generator.uniform(slow, fast))))

    def draw(self, count: int, timing: Timing, generator: np.random.Generator) -> Floats:
        """Draw the courses of a recording's patches, ``(count, times)``."""
        relation = self.relations[int(generator.integers(len(self.relations)))]
        first = self._one(timing, generator)
        courses = [first]
        for _ in range(count - 1):
            if relation == "independent":
                courses.append(self._one(timing, generator))
            elif relation == "equal":
                courses.append(first)
            elif relation == "scaled":
                sign = 1 if generator.uniform() < 0.5 else -1
                courses.append(sign * generator.uniform(0.5, 1) * first)
            else:
                shift = round(generator.uniform(0, 0.05) * timing.sfreq)
                courses.append(np.roll(first, min(shift, timing.times - 1)))
        if relation == "equal":
            return np.stack(courses)
        size = generator.uniform(*self.amplitude, (count, 1))
        scaled: Floats = size * np.stack(courses)
        return scaled

    def _one(self, timing: Timing, generator: np.random.Generator) -> Floats:
        """One course, its largest value one; a single sample or a flat one is all ones."""
        shape = self.shapes[int(generator.integers(len(self.shapes)))]
        course = SHAPES[shape](timing, generator)
        peak = float(np.abs(course).max())
        return course / peak if peak > 1e-3 else np.ones(timing.times)


def pink(rows: int, times: int, generator: np.random.Generator) -> Floats:
    """Random courses whose power falls as one over the frequency, ``(rows, times)``, of norm one.

    Parameters
    ----------
    rows, times : int
        How many, and how long.
    generator : numpy.random.Generator
        Draws them.
    """
    white: NDArray[np.floating] = generator.standard_normal((rows, times), np.float32)
    if times > 2:
        spectrum = np.fft.rfft(white)
        spectrum /= np.sqrt(np.maximum(np.arange(spectrum.shape[1]), 1))
        white = np.fft.irfft(spectrum, n=times)
    size = np.linalg.norm(white, axis=1, keepdims=True)
    courses: Floats = white / np.maximum(size, 1e-12)
    return courses


def _place(timing: Timing, generator: np.random.Generator) -> tuple[float, float]:
    """Centre inside the recording, and width of 30 to 300 ms, in ms."""
    centre = generator.uniform(0, 1e3 * timing.times / timing.sfreq)
    return centre, float(np.exp(generator.uniform(np.log(30), np.log(300))))
