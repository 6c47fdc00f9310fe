"""What a recording holds besides its patches: sensor noise, ongoing activity, short artefacts."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from learnmm_esi.simulation.noise import LARGEST_SNR
from learnmm_esi.simulation.ranges.courses import pink

__all__ = ["NoiseRange"]

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class NoiseRange:
    """Noise of a simulation.

    Attributes
    ----------
    snr_db : (float, float)
        Ratio of the patches' recording to all noise, of Frobenius norms, in dB.
    background : (float, float)
        Share of the noise's power that comes from ongoing activity all over the cortex, 1/f over
        time and of the spatial correlation that the head gives it; the rest is of the sensors.
    channels : float
        Standard deviation of the logarithm of the sensors' noise, channel by channel.
    artefacts : float
        Share of recordings with a channel that jumps or a short spike on a few of them.

    Raises
    ------
    ValueError
        For what is no such range.
    """

    snr_db: tuple[float, float] = (-5.0, 20.0)
    background: tuple[float, float] = (0.0, 1.0)
    channels: float = 0.2
    artefacts: float = 0.1

    def __post_init__(self) -> None:
        for name, low, high in (
            ("snr_db", -LARGEST_SNR, LARGEST_SNR),
            ("background", 0.0, 1.0),
        ):
            pair = tuple(getattr(self, name))
            object.__setattr__(self, name, pair)
            if not (len(pair) == 2 and low <= pair[0] <= pair[1] <= high):
                raise ValueError(
                    f"NoiseRange: {name} must be {low:g} <= least <= most <= {high:g}, got {pair}"
                )
        if not 0 <= self.channels <= 2:
            raise ValueError(f"NoiseRange: channels must lie in 0..2, got {self.channels!r}")
        if not 0 <= self.artefacts <= 1:
            raise ValueError(f"NoiseRange: artefacts must be a share, got {self.artefacts!r}")

    def draw(
        self, clean: Floats, topographies: NDArray[np.floating], generator: np.random.Generator
    ) -> tuple[Floats, float, float]:
        """Add noise to a recording.

        Parameters
        ----------
        clean : ndarray, shape (sensors, times)
            What the sensors see of the patches, average-referenced.
        topographies : ndarray, shape (sensors, places)
            What they see of places all over the cortex.
        generator : numpy.random.Generator
            Draws it.

        Returns
        -------
        recording : ndarray, shape (sensors, times)
            Average-referenced.
        snr_db, background : float
            The ratio, and the share of ongoing activity, that were drawn.
        """
        sensors, times = clean.shape
        snr_db = float(generator.uniform(*self.snr_db))
        share = float(generator.uniform(*self.background))
        white = generator.standard_normal((sensors, times), np.float32)
        white *= np.exp(self.channels * generator.standard_normal((sensors, 1), np.float32))
        noise: Floats = np.sqrt(1 - share) * _unit(white)
        if share:
            size = np.exp(0.5 * generator.standard_normal((topographies.shape[1], 1)))
            ongoing = topographies @ (size * pink(topographies.shape[1], times, generator))
            noise += np.sqrt(share) * _unit(ongoing)
        if generator.uniform() < self.artefacts:
            noise += generator.uniform(0.1, 0.5) * _unit(_artefact(sensors, times, generator))
        power = np.linalg.norm(clean) * 10.0 ** (-snr_db / 20)
        return clean + power * _unit(noise), snr_db, share


def _unit(noise: NDArray[np.floating]) -> Floats:
    """Average-referenced, of norm one."""
    referenced = noise - noise.mean(axis=0)
    scaled: Floats = referenced / max(float(np.linalg.norm(referenced)), 1e-300)
    return scaled


def _artefact(sensors: int, times: int, generator: np.random.Generator) -> Floats:
    """A step on one channel, or a spike of a few samples on a few."""
    artefact = np.zeros((sensors, times))
    begin = int(generator.integers(times))
    if generator.uniform() < 0.5:
        artefact[int(generator.integers(sensors)), begin:] = 1.0
    else:
        some = generator.permutation(sensors)[: int(generator.integers(1, 5))]
        end = begin + int(generator.integers(1, max(2, times // 20) + 1))
        artefact[some, begin:end] = generator.standard_normal((len(some), 1))
    return artefact
