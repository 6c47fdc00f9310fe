"""What the simulators share: a sample per index, whoever asks and when."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import reduce
from typing import ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

from learnmm_esi.settings import seed_and_size
from learnmm_esi.simulation.noise import add_sensor_noise, snr_range
from learnmm_esi.simulation.patches import DrawnPatch, PatchDraw, PatchSettings
from learnmm_esi.simulation.samples import Sample, stack_samples
from learnmm_esi.sources import SourceModel

# Stream of random numbers; the sources must not change when only the noise is drawn anew.
_NOISE_STREAM = 1


@dataclass(frozen=True)
class ActivePatch:
    """A patch of one sample with its activity.

    Attributes
    ----------
    seed : int
        Region at its centre.
    weights : ndarray of float64, shape (sources,)
        One at the seed, zero outside the patch and where a later patch has the region.
    waveform : ndarray of float64, shape (times,)
        Dipole moment at the seed in A m.
    regions : ndarray of bool, shape (sources,)
        Those of the patch.
    offset : float
        Mean over time that was taken off the waveform, in A m.
    """

    seed: int
    weights: NDArray[np.float64]
    waveform: NDArray[np.float64]
    regions: NDArray[np.bool_]
    offset: float = 0.0


class FactoredSample(NamedTuple):
    """A recording and what is behind it, ``sources = sum_p weights_p waveform_p^T``."""

    patches: list[ActivePatch]
    sensors: NDArray[np.float32]
    snr_db: float


class PatchSimulator(ABC):
    """Random recordings of active patches, made when they are asked for.

    The law of every simulator: sample ``index`` depends on ``(seed, index, draw)`` and on the
    settings alone. Any order, any number of workers or threads, the same bits on one machine; on
    another processor the last bits of an exponential may differ. The first patches of a sample are
    those that it has when fewer are asked for, less the regions that later ones share with them.

    Parameters
    ----------
    model : SourceModel
        The head model.
    seed : int
        Names the data set; give training, validation and test different ones.
    size : int
        Number of samples.
    snr_db : float or (float, float)
        Frobenius signal-to-noise ratio of the recording in dB; a pair is drawn from uniformly.
    patches : PatchSettings
        How many are active, and of what size.

    Attributes
    ----------
    times : int
        Number of time samples of a recording.
    sfreq : float
        Sampling rate in Hz.
    unit : float
        Dipole moment in A m of one unit of the waveform.
    edge_weight : float
        Amplitude at the edge of a patch (see `Patches`).
    centred : bool
        Whether the mean over time is taken off the waveforms.
    """

    times: int
    sfreq: float
    unit: ClassVar[float]
    edge_weight: ClassVar[float]
    centred: ClassVar[bool] = False

    def __init__(
        self,
        model: SourceModel,
        seed: int,
        size: int,
        snr_db: float | tuple[float, float],
        patches: PatchSettings,
    ) -> None:
        self.seed, self.size = seed_and_size(type(self).__name__, seed, size)
        self.snr_db = snr_range(snr_db)
        self.patches = patches
        self.leadfield = np.asarray(model.leadfield, dtype=np.float64)
        self._draw = PatchDraw(model, self.seed, patches, self.edge_weight)

    @abstractmethod
    def prepare(self) -> None:
        """Do ahead what is done once for all samples, which spares workers from each doing it."""

    @abstractmethod
    def _waveform(self, index: int, number: int, patch: DrawnPatch) -> NDArray[np.float64]:
        """Time course at the seed region of a patch, shape (times,), in `unit`."""

    @abstractmethod
    def _recording(
        self,
        clean: NDArray[np.float64],
        patches: list[ActivePatch],
        generator: np.random.Generator,
    ) -> tuple[NDArray[np.float64], float]:
        """Noisy recording in V, shape (sensors, times), with its sensor SNR in dB.

        `clean` is the recording of the patches alone; `_with_sensor_noise` comes last.
        """

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

        Raises
        ------
        ValueError
            If an earlier patch leaves no room for a further one.
        """
        patches, sensors, snr_db = self.factors(index, draw)
        seeds = [patch.seed for patch in patches]
        regions = np.zeros((self.patches.most, self.leadfield.shape[1]), dtype=bool)
        regions[: len(patches)] = [patch.regions for patch in patches]
        return Sample(
            sources=_superpose((p.weights, p.waveform) for p in patches).astype(np.float32),
            sensors=sensors,
            seed_source=seeds[0],
            snr_db=snr_db,
            index=int(index),
            seed_sources=np.array(seeds + [-1] * (self.patches.most - len(seeds)), dtype=np.int64),
            patches=regions,
        )

    def factors(self, index: int, draw: int = 0) -> FactoredSample:
        """Simulate what `sample` does, the sources as one product per patch.

        Parameters
        ----------
        index, draw : int
            See `sample`.
        """
        if index < 0 or draw < 0:
            raise ValueError(f"sample: index and draw must be >= 0, got {index}, {draw}")
        index = int(index)
        drawn = enumerate(self._draw(index))
        patches = _without_overlap([self._active(index, number, patch) for number, patch in drawn])
        clean = _superpose((self._seen(p.weights), p.waveform) for p in patches)
        noise = np.random.default_rng([self.seed, index, _NOISE_STREAM, int(draw)])
        sensors, snr_db = self._recording(clean, patches, noise)
        return FactoredSample(patches, sensors.astype(np.float32), snr_db)

    def batch(self, indices: Iterable[int], draw: int = 0) -> Sample:
        """Simulate several samples, stacked along a leading batch dimension."""
        return stack_samples(self.sample(int(index), draw) for index in indices)

    def _active(self, index: int, number: int, patch: DrawnPatch) -> ActivePatch:
        waveform = self.unit * self._waveform(index, number, patch)
        offset = float(waveform.mean()) if self.centred else 0.0
        waveform = waveform - offset if self.centred else waveform
        return ActivePatch(patch.seed, patch.weights, waveform, patch.weights > 0.0, offset)

    def _seen(self, weights: NDArray[np.float64]) -> NDArray[np.float64]:
        """Topography of a patch; einsum adds in a fixed order, BLAS in that of its threads."""
        active = np.flatnonzero(weights)
        seen: NDArray[np.float64]
        seen = np.einsum("mn,n->m", self.leadfield[:, active], weights[active])
        return seen

    def _with_sensor_noise(
        self, clean: NDArray[np.float64], generator: np.random.Generator
    ) -> tuple[NDArray[np.float64], float]:
        """Add white noise at a ratio in dB that is drawn from the range; return both."""
        snr_db = float(generator.uniform(*self.snr_db))
        return add_sensor_noise(clean, snr_db, generator), snr_db


def _superpose(
    parts: Iterable[tuple[NDArray[np.float64], NDArray[np.float64]]],
) -> NDArray[np.float64]:
    """Sum of the outer products of pairs (r,), (T,)."""
    return reduce(np.add, (np.outer(row, column) for row, column in parts))


def _without_overlap(patches: list[ActivePatch]) -> list[ActivePatch]:
    """Leave every region to the last patch that has it."""
    taken = np.zeros(len(patches[0].weights), dtype=bool)
    left = []
    for patch in reversed(patches):
        left.append(replace(patch, weights=np.where(taken, 0.0, patch.weights)))
        taken |= patch.regions
    return left[::-1]
