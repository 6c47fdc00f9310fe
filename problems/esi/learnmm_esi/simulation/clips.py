"""Spike clips kept on disk, simulated when first asked for."""

from __future__ import annotations

import dataclasses
import json
import os
from abc import ABC, abstractmethod
from typing import Any, ClassVar

import numpy as np
from joblib import Parallel, delayed
from numpy.typing import NDArray

from learnmm_esi.cache import (
    ArrayCache,
    Arrays,
    CorruptCacheError,
    Header,
    cache_directory,
    cache_key,
)
from learnmm_esi.simulation.jansen_rit import JansenRitParameters
from learnmm_esi.simulation.spikes import (
    CLIP_TIMES,
    SPIKING,
    Choice,
    check_choice,
    parted_clips,
    spike_clips,
)

FORMAT = 2  # of the files; raise it whenever the same settings give other clips
SHARD = 256  # clips in a file
CLIPS_OF_A_PATCH = 2**20  # the clips of further patches begin so far on; whole files of them


class Clips(ABC):
    """The clips of one data set: ``clips[index]`` is a second of a column in mV.

    Clips lie in files of 256, named after everything they depend on, written in one step and
    checked when read. A missing or damaged file is simulated anew, so an interrupted run goes on
    where it stopped, and several processes may share the folder.

    Parameters
    ----------
    identity : dict
        What they depend on beside the format.
    cache_dir : path or None
        Folder for the files. None: ``$LEARNMM_CACHE``, else the user's cache directory.

    Attributes
    ----------
    shape : tuple of int
        Of a clip.
    """

    shape: ClassVar[tuple[int, ...]]

    def __init__(self, identity: dict[str, Any], cache_dir: str | os.PathLike[str] | None) -> None:
        # Tuples become lists, as they come back from disk.
        self._identity = json.loads(json.dumps({"format": FORMAT, **identity}))
        folder = cache_directory(cache_dir) / f"spikes-{cache_key(self._identity)}"
        self._files = ArrayCache(folder, "spikes")
        self._shards: dict[int, NDArray[np.float32]] = {}

    @abstractmethod
    def _simulate(self, indices: range) -> NDArray[np.float32]:
        """The clips of these indices."""

    def __getitem__(self, index: int) -> NDArray[np.float32]:
        if index < 0:
            raise IndexError(f"{type(self).__name__}: index must not be negative, got {index}")
        number, offset = divmod(int(index), SHARD)
        if number not in self._shards:
            self._shards[number] = self._shard(number)
        clip: NDArray[np.float32] = self._shards[number][offset]
        return clip

    def of_patch(self, number: int, index: int) -> NDArray[np.float32]:
        """The clip of a sample's patch; those of the first patch are ``clips[index]``."""
        return self[number * CLIPS_OF_A_PATCH + index]

    def prepare(self, size: int, patches: int = 1, n_jobs: int = 1) -> None:
        """Make sure that the clips of samples exist, file by file.

        Parameters
        ----------
        size : int
            Number of samples.
        patches : int, default 1
            Of each sample.
        n_jobs : int, default 1
            Processes, as joblib counts them.
        """
        files = ((number, start) for number in range(patches) for start in range(0, size, SHARD))
        Parallel(n_jobs=n_jobs)(delayed(self.of_patch)(*file) for file in files)

    def _shard(self, number: int) -> NDArray[np.float32]:
        name, header = f"{number:05d}", {**self._identity, "shard": number}

        def read(arrays: Arrays, found: Header) -> NDArray[np.float32]:
            clips = arrays.get("clips", np.empty(0))
            right = clips.shape == (SHARD, *self.shape) and clips.dtype.kind == "f"
            if not (right and found == header):
                raise CorruptCacheError(f"shard {name} holds other clips than its name says")
            return clips

        def make() -> tuple[Arrays, Header]:
            indices = range(number * SHARD, (number + 1) * SHARD)
            return {"clips": self._simulate(indices)}, header

        return self._files.get(name, read, make)


class SpikeClips(Clips):
    """Clips with isolated spikes, some or several: ``clips[index]`` is a waveform (500,).

    Parameters
    ----------
    seed : int
        Names the data set.
    choice : {"isolated", "any", "multiple"}, default "isolated"
        Which clips (see `spike_clips`).
    cache_dir : path, optional
        Folder for the files. Default: ``$LEARNMM_CACHE``, else the user's cache directory.
    """

    shape = (CLIP_TIMES,)

    def __init__(
        self,
        seed: int,
        choice: Choice = "isolated",
        cache_dir: str | os.PathLike[str] | None = None,
    ):
        check_choice(choice)
        self.seed, self.choice = int(seed), choice
        parameters = dataclasses.asdict(SPIKING)
        super().__init__({"seed": self.seed, "choice": choice, "parameters": parameters}, cache_dir)

    def _simulate(self, indices: range) -> NDArray[np.float32]:
        return spike_clips(self.seed, indices, self.choice)


class PartedClips(Clips):
    """Clips with all their spikes, those apart: ``clips[index]`` is (2, 500), rest and spikes.

    Parameters
    ----------
    seed : int
        Names the data set.
    parameters : JansenRitParameters
        Constants of the columns.
    cache_dir : path, optional
        Folder for the files. Default: ``$LEARNMM_CACHE``, else the user's cache directory.
    """

    shape = (2, CLIP_TIMES)

    def __init__(
        self,
        seed: int,
        parameters: JansenRitParameters = SPIKING,
        cache_dir: str | os.PathLike[str] | None = None,
    ):
        self.seed, self.parameters = int(seed), parameters
        constants = dataclasses.asdict(parameters)
        super().__init__(
            {"seed": self.seed, "choice": "parted", "parameters": constants}, cache_dir
        )

    def _simulate(self, indices: range) -> NDArray[np.float32]:
        return parted_clips(self.seed, indices, self.parameters)
