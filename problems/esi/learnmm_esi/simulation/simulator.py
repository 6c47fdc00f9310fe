"""What the simulators share: active patches, and a sample per index, whoever asks and when."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import reduce
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from learnmm_esi.simulation.samples import Sample, stack_samples
from learnmm_esi.sources import Distance, Patches, SourceModel

# Streams of random numbers; the source must not change when only the noise is drawn anew.
# Two and three belong to the clips of the neural masses.
_SOURCE_STREAM, _NOISE_STREAM, _COUNT_STREAM = 0, 1, 4


@dataclass(frozen=True)
class ActivePatch:
    """A patch of one sample.

    Attributes
    ----------
    seed : int
        Region at its centre.
    weights : ndarray of float64, shape (sources,)
        One at the seed, zero outside the patch.
    waveform : ndarray of float64, shape (times,)
        Dipole moment at the seed in A m.
    """

    seed: int
    weights: NDArray[np.float64]
    waveform: NDArray[np.float64]


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
    those that it has when fewer are asked for.

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
    patches : int or (int, int)
        How many patches are active; a pair is drawn from uniformly, both ends included. No region
        is in two of them, though they may touch: every further patch has its seed uniform over
        the regions that are not next to, nor in, an earlier one, and ``k`` uniform over what
        there is room for.
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
        patches: int | tuple[int, int],
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
        self.patches = _count_range(type(self).__name__, patches)
        self._shapes = Patches(model, distance, edge_weight)
        self.leadfield = np.asarray(model.leadfield, dtype=np.float64)

    @abstractmethod
    def _waveform(
        self, index: int, patch: int, generator: np.random.Generator
    ) -> NDArray[np.float64]:
        """Time course at the seed region of a patch, shape (times,), in `unit`."""

    @abstractmethod
    def _recording(
        self,
        clean: NDArray[np.float64],
        patches: list[ActivePatch],
        generator: np.random.Generator,
    ) -> tuple[NDArray[np.floating], float]:
        """Noisy recording in V, shape (sensors, times), with its sensor SNR in dB.

        `clean` is the recording of the patches alone.
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
        return Sample(
            sources=_superpose((p.weights, p.waveform) for p in patches).astype(np.float32),
            sensors=sensors,
            seed_source=seeds[0],
            snr_db=snr_db,
            index=int(index),
            seed_sources=np.array(seeds + [-1] * (self.patches[1] - len(seeds)), dtype=np.int64),
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
        patches = self._active_patches(int(index))
        clean = _superpose((self._seen(p.weights), p.waveform) for p in patches)
        noise = np.random.default_rng([self.seed, int(index), _NOISE_STREAM, int(draw)])
        sensors, snr_db = self._recording(clean, patches, noise)
        return FactoredSample(patches, sensors.astype(np.float32), snr_db)

    def batch(self, indices: Iterable[int], draw: int = 0) -> Sample:
        """Simulate several samples, stacked along a leading batch dimension."""
        return stack_samples(self.sample(int(index), draw) for index in indices)

    def _seen(self, weights: NDArray[np.float64]) -> NDArray[np.float64]:
        """Topography of a patch; einsum adds in a fixed order, BLAS in that of its threads."""
        active = np.flatnonzero(weights)
        seen: NDArray[np.float64]
        seen = np.einsum("mn,n->m", self.leadfield[:, active], weights[active])
        return seen

    def _active_patches(self, index: int) -> list[ActivePatch]:
        count, most = self.patches
        if count < most:
            generator = np.random.default_rng([self.seed, index, _COUNT_STREAM])
            count = int(generator.integers(count, most + 1))
        hops = self._shapes.hops
        room = np.full(len(hops), self.max_hops)  # largest radius of a patch around each region
        patches: list[ActivePatch] = []
        for number in range(count):
            # The first patch keeps the stream it has when it is the only one.
            stream = [_SOURCE_STREAM, number] if number else [_SOURCE_STREAM]
            generator = np.random.default_rng([self.seed, index, *stream])
            free = np.flatnonzero(room >= 1)
            if len(free) == 0:
                raise ValueError(
                    f"{type(self).__name__}: sample {index} has no room for patch {number + 1} of "
                    f"{count} beside the others on {len(hops)} regions: ask for fewer patches "
                    f"or for a max_hops below {self.max_hops}"
                )
            seed = int(free[generator.integers(len(free))])
            weights = self._shapes.weights(seed, int(generator.integers(1, int(room[seed]) + 1)))
            waveform = self.unit * self._waveform(index, number, generator)
            patches.append(ActivePatch(seed, weights, waveform))
            room = np.minimum(room, hops[weights > 0.0].min(axis=0) - 1)
        return patches


def _superpose(
    parts: Iterable[tuple[NDArray[np.float64], NDArray[np.float64]]],
) -> NDArray[np.float64]:
    """Sum of the outer products of pairs (r,), (T,)."""
    return reduce(np.add, (np.outer(row, column) for row, column in parts))


def _count_range(name: str, patches: int | tuple[int, int]) -> tuple[int, int]:
    """Read a number of patches, or a least and a greatest, as a range."""
    bounds = patches if isinstance(patches, tuple) else (patches, patches)
    whole = all(isinstance(bound, (int, np.integer)) for bound in bounds)
    if not (whole and len(bounds) == 2 and 1 <= bounds[0] <= bounds[1]):
        raise ValueError(
            f"{name}: patches must be an integer >= 1, or a pair (least, greatest) of them, "
            f"got {patches!r}"
        )
    return int(bounds[0]), int(bounds[1])
