"""What the simulators share: one active patch, and a sample per index, whoever asks and when."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

from .patches import Distance, Patches, SourceModel
from .samples import Sample, stack_samples

# Streams of random numbers; the source must not change when only the noise is drawn anew.
_SOURCE_STREAM, _NOISE_STREAM = 0, 1


class PatchSimulator(ABC):
    """Random recordings of one active patch, made when they are asked for.

    The law of every simulator: sample ``index`` depends on ``(seed, index, draw)`` and on the
    settings alone. Any order, any number of workers, the same numbers.

    Parameters
    ----------
    model : SourceModel
        The head model.
    seed : int
        Names the data set; give training, validation and test different ones.
    size : int
        Number of samples.
    max_hops : int
        The patch reaches ``k`` edges from its seed region, ``k`` uniform in ``1..max_hops``.
    distance : {"geodesic", "euclidean"}
        What the amplitude falls with inside the patch.
    edge_weight : float
        Amplitude at the edge of the patch (see `Patches`).
    unit : float
        Dipole moment in A m of one unit of the waveform.
    """

    def __init__(
        self,
        model: SourceModel,
        *,
        seed: int,
        size: int,
        max_hops: int,
        distance: Distance,
        edge_weight: float,
        unit: float,
    ):
        if seed < 0 or size < 1 or max_hops < 1:
            raise ValueError(
                f"{type(self).__name__}: seed must be >= 0 and size and max_hops >= 1, got "
                f"{seed}, {size}, {max_hops}"
            )
        if not unit > 0.0:
            raise ValueError(f"{type(self).__name__}: unit must be > 0, got {unit}")
        self.seed, self.size = int(seed), int(size)
        self.max_hops, self.unit = int(max_hops), float(unit)
        self.patches = Patches(model, distance, edge_weight)
        self.leadfield = np.asarray(model.leadfield, dtype=np.float64)

    @abstractmethod
    def _waveform(self, index: int, generator: np.random.Generator) -> NDArray[np.float64]:
        """Time course at the seed region, shape (times,), in `unit`."""

    @abstractmethod
    def _recording(
        self,
        weights: NDArray[np.float64],
        waveform: NDArray[np.float64],
        generator: np.random.Generator,
    ) -> tuple[NDArray[np.floating], float]:
        """Noisy recording in V of a patch, shape (sensors, times), with its sensor SNR in dB."""

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, index: int) -> Sample:
        if not -self.size <= index < self.size:
            raise IndexError(f"{type(self).__name__}: index {index} of {self.size} samples")
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
        waveform = self.unit * self._waveform(int(index), source)
        sensors, snr_db = self._recording(weights, waveform, noise)
        return Sample(
            sources=np.outer(weights, waveform).astype(np.float32),
            sensors=sensors.astype(np.float32),
            seed_source=seed_source,
            snr_db=snr_db,
            index=int(index),
        )

    def batch(self, indices: Iterable[int], draw: int = 0) -> Sample:
        """Simulate several samples, stacked along a leading batch dimension."""
        return stack_samples(self.sample(int(index), draw) for index in indices)
