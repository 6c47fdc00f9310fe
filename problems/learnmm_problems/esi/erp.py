"""The SEREEGA-like simulator: one cortical patch with one Gaussian deflection.

Krol, Pawlitzki, Lotte, Gramann and Zander, "SEREEGA: Simulating event-related EEG activity",
J. Neurosci. Methods 309 (2018), describe the toolbox whose event-related potentials these are.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

from learnmm_problems.esi.noise import add_sensor_noise, snr_range
from learnmm_problems.esi.patches import Distance, Patches, SourceModel
from learnmm_problems.esi.samples import Sample, stack_samples

# Streams of random numbers; the source must not change when only the noise is drawn anew.
_SOURCE_STREAM, _NOISE_STREAM = 0, 1

_WIDTHS_PER_DEVIATION = 6.0
"""The full width of a deflection covers six standard deviations of its Gaussian."""


class ERPSimulator:
    """Random event-related potentials of one patch, made when they are asked for.

    Sample ``index`` depends on ``(seed, index, draw)`` and the settings alone: any order, any
    number of workers, the same numbers.

    Parameters
    ----------
    model : SourceModel
        The head model.
    seed : int, default 0
        Names the data set; give training, validation and test different ones.
    size : int, default 8000
        Number of samples.
    snr_db : float or (float, float), default 5.0
        Frobenius signal-to-noise ratio of the recording in dB; a pair is drawn from uniformly.
    times : int, default 64
        Number of time samples.
    sfreq : float, default 512.0
        Sampling rate in Hz.
    max_hops : int, default 4
        The patch reaches ``k`` edges from its seed, ``k`` uniform in ``1..max_hops``.
    distance : {"geodesic", "euclidean"}, default "geodesic"
        What the amplitude falls with inside the patch.
    unit : float, default 1e-8
        Dipole moment of amplitude one, in A m. The default, 10 nA m, is that of about a square
        centimetre of active cortex.

    Notes
    -----
    With the seed region ``s`` uniform, ``d`` the distance to it and ``d_max`` the largest in the
    patch,

    ``x[i, t] = unit a exp(-1/2 (d_i / (d_max/2))^2) exp(-1/2 ((t - c) / (w/6))^2)``

    - centre ``c = ceil(T/2 U(0.5, 1.5) U(0.7, 1.3))`` ms, ``T/2`` half the epoch (62.5 ms);
    - width ``w = ceil(60 U(0.98, 1.02) U(0.9, 1.1))`` ms;
    - amplitude ``a = U(0.5, 1.5) U(0.3, 1.7)``.

    Time runs from zero in steps of ``1/sfreq``. A late centre may put the peak at the last sample.

    Examples
    --------
    >>> simulator = ERPSimulator(fsaverage_head_model(), seed=0)    # doctest: +SKIP
    >>> batch = simulator.batch(range(32))                          # doctest: +SKIP
    >>> batch.sources.shape, batch.sensors.shape                    # doctest: +SKIP
    ((32, 994, 64), (32, 90, 64))
    """

    def __init__(
        self,
        model: SourceModel,
        seed: int = 0,
        size: int = 8000,
        snr_db: float | tuple[float, float] = 5.0,
        times: int = 64,
        sfreq: float = 512.0,
        max_hops: int = 4,
        distance: Distance = "geodesic",
        unit: float = 1e-8,
    ):
        if seed < 0 or size < 1 or times < 1 or max_hops < 1:
            raise ValueError(
                "ERPSimulator: seed must be >= 0 and size, times and max_hops >= 1, got "
                f"{seed}, {size}, {times}, {max_hops}"
            )
        if not (sfreq > 0.0 and unit > 0.0):
            raise ValueError(f"ERPSimulator: sfreq and unit must be > 0, got {sfreq}, {unit}")
        self.seed, self.size = int(seed), int(size)
        self.snr_db = snr_range(snr_db)
        self.times, self.sfreq = int(times), float(sfreq)
        self.max_hops, self.unit = int(max_hops), float(unit)
        self.patches = Patches(model, distance)
        self._leadfield = np.asarray(model.leadfield, dtype=np.float64)

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, index: int) -> Sample:
        if not -self.size <= index < self.size:
            raise IndexError(f"ERPSimulator: index {index} of {self.size} samples")
        return self.sample(index % self.size)

    def __iter__(self) -> Iterator[Sample]:
        return (self.sample(index) for index in range(self.size))

    def sample(self, index: int, draw: int = 0) -> Sample:
        """Simulate one sample.

        Parameters
        ----------
        index : int
            Which sample, ``0 <= index``; it may exceed ``size``.
        draw : int, default 0
            Which noise. Another number gives the same source under fresh noise: in training use
            the epoch, in testing keep zero.

        Returns
        -------
        Sample
        """
        if index < 0 or draw < 0:
            raise ValueError(f"sample: index and draw must be >= 0, got {index}, {draw}")
        source = np.random.default_rng([self.seed, int(index), _SOURCE_STREAM])
        noise = np.random.default_rng([self.seed, int(index), _NOISE_STREAM, int(draw)])
        seed_source = int(source.integers(self.patches.hops.shape[0]))
        weights = self.patches.weights(seed_source, int(source.integers(1, self.max_hops + 1)))
        waveform = self._waveform(source)
        # The source is an outer product, and so is its recording: (m, n)(n,) then (m, T).
        clean = np.outer(self._leadfield @ weights, waveform)
        snr_db = float(noise.uniform(*self.snr_db))
        return Sample(
            sources=np.outer(weights, waveform).astype(np.float32),
            sensors=add_sensor_noise(clean, snr_db, noise).astype(np.float32),
            seed_source=seed_source,
            snr_db=snr_db,
            index=int(index),
        )

    def batch(self, indices: Iterable[int], draw: int = 0) -> Sample:
        """Simulate several samples, stacked along a leading batch dimension."""
        return stack_samples(self.sample(int(index), draw) for index in indices)

    def _waveform(self, generator: np.random.Generator) -> NDArray[np.float64]:
        """Draw the time course in A m, shape (times,)."""
        uniform = generator.uniform
        half_epoch = 500.0 * self.times / self.sfreq  # ms
        centre = math.ceil(half_epoch * uniform(0.5, 1.5) * uniform(0.7, 1.3))
        width = math.ceil(60.0 * uniform(0.98, 1.02) * uniform(0.9, 1.1))
        amplitude = uniform(0.5, 1.5) * uniform(0.3, 1.7)
        time = 1e3 * np.arange(self.times) / self.sfreq  # ms
        deviation = width / _WIDTHS_PER_DEVIATION
        return self.unit * amplitude * np.exp(-0.5 * ((time - centre) / deviation) ** 2)
