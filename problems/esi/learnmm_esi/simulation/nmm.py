"""The neural-mass simulator: patches with an interictal spike each over background activity.

Jansen-Rit columns stand for regions, as in Sun, Sohrabpour, Worrell and He, "Deep neural networks
constrained by neural mass models improve electrophysiological source imaging", PNAS 119 (2022);
here without connections between regions.
"""

from __future__ import annotations

import math
import os
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from learnmm_esi.simulation.clips import SpikeClips
from learnmm_esi.simulation.noise import frobenius_norm, scale_to_snr, snr_range
from learnmm_esi.simulation.patches import ONE_PATCH, DrawnPatch, PatchSettings
from learnmm_esi.simulation.simulator import ActivePatch, PatchSimulator
from learnmm_esi.simulation.spikes import CLIP_SFREQ, CLIP_TIMES, Choice, background_clips
from learnmm_esi.sources import SourceModel

_BACKGROUND_CLIPS = 1024  # to draw those of the regions from, with replacement
_SPIKE_WINDOW = 50  # samples before and after the peak in which the source SNR holds: 100 ms


class NMMSimulator(PatchSimulator):
    """Random interictal spikes of cortical patches, made when they are asked for.

    Sample ``index`` depends on ``(seed, index, draw)`` and the settings alone: any order, any
    number of workers or threads, the same numbers. The columns behind it are integrated once, 256
    at a time, and kept on disk; `prepare` does so ahead, which spares several workers from each
    doing it.

    Parameters
    ----------
    model : SourceModel
        The head model.
    seed : int, default 0
        Names the data set; give training, validation and test different ones.
    size : int, default 8000
        Number of samples.
    snr_db : float or (float, float), default (5, 15)
        Frobenius signal-to-noise ratio of the recording in dB; a pair is drawn from uniformly.
    source_snr_db : float, (float, float) or None, default (10, 20)
        Ratio in dB of the recordings of the patches and of the background, within 100 ms of the
        peak of the first patch's waveform; None leaves the other regions silent.
    choice : {"isolated", "any", "multiple"}, default "isolated"
        How many spikes a clip has: one, some, or at least two (see `spike_clips`).
    patches : PatchSettings
        How many are active, and of what size; each has a clip of its own. Default: one.
    cache_dir : path, optional
        Folder for the clips. Default: ``$LEARNMM_CACHE``, else the user's cache directory.

    Attributes
    ----------
    times, sfreq : int, float
        500 samples at 500 Hz.
    unit : float
        Dipole moment of one millivolt of net pyramidal potential: 1 nA m, so that a spike of 11 mV
        has 11 nA m.

    Notes
    -----
    With the seed region ``s`` uniform, ``d`` the distance to it, ``d_max`` the largest in the patch
    and ``v`` the clip, a patch has

    ``x[i, t] = unit (v(t) - mean(v)) exp(-log(2) (d_i / d_max)^2)``,

    half as strong at the edge as in the centre, and zero outside the patches: the background enters
    the recording but is no part of the truth. Every region outside all patches is given a clip of
    its own of a normal column. White noise is added to the recording, and the mean over time is
    removed from it. Sources are in A m, sensors in V.

    Examples
    --------
    >>> simulator = NMMSimulator(fsaverage_head_model(), seed=0)    # doctest: +SKIP
    >>> simulator.sample(0).sources.shape                           # doctest: +SKIP
    (994, 500)
    """

    times, sfreq = CLIP_TIMES, CLIP_SFREQ
    unit, edge_weight = 1e-9, 0.5

    def __init__(
        self,
        model: SourceModel,
        seed: int = 0,
        size: int = 8000,
        snr_db: float | tuple[float, float] = (5.0, 15.0),
        source_snr_db: float | tuple[float, float] | None = (10.0, 20.0),
        choice: Choice = "isolated",
        patches: PatchSettings = ONE_PATCH,
        cache_dir: str | os.PathLike[str] | None = None,
    ) -> None:
        super().__init__(model, seed, size, snr_db, patches)
        self.source_snr_db = None if source_snr_db is None else snr_range(source_snr_db)
        self.clips = SpikeClips(seed, choice, cache_dir=cache_dir)
        self._bits = (53 - math.ceil(math.log2(self.leadfield.shape[1]))) // 2
        self._coarse_leadfield = _on_grid(self.leadfield, self._bits)

    def prepare(self) -> None:
        """Simulate what is not on disk yet of the clips of all samples, and the background."""
        self.clips.prepare(self.size, self.patches.most)
        if self.source_snr_db is not None:
            _background_bank(self.seed, self._bits)

    def _waveform(self, index: int, number: int, patch: DrawnPatch) -> NDArray[np.float64]:
        clip = self.clips.of_patch(number, index).astype(np.float64)
        centred: NDArray[np.float64] = clip - clip.mean()
        return centred

    def _recording(
        self,
        clean: NDArray[np.float64],
        patches: list[ActivePatch],
        generator: np.random.Generator,
    ) -> tuple[NDArray[np.float64], float]:
        if self.source_snr_db is not None:
            ratio = float(generator.uniform(*self.source_snr_db))
            silent = np.all([patch.weights == 0.0 for patch in patches], axis=0)
            background = self._recorded_background(silent, generator)
            peak = int(np.abs(patches[0].waveform).argmax())
            window = slice(max(0, peak - _SPIKE_WINDOW), peak + _SPIKE_WINDOW)
            part = background[:, window]
            scale = frobenius_norm(scale_to_snr(part, clean[:, window], ratio))
            clean = clean + background * (scale / frobenius_norm(part))
        noisy, snr_db = self._with_sensor_noise(clean, generator)
        return noisy - noisy.mean(axis=1, keepdims=True), snr_db

    def _recorded_background(
        self, silent: NDArray[np.bool_], generator: np.random.Generator
    ) -> NDArray[np.float64]:
        """Recording of background activity in the regions outside the patches, arbitrary scale."""
        regions = np.flatnonzero(silent)
        if len(regions) == 0:
            raise ValueError(
                "NMMSimulator: the patches cover every region, which leaves none for the "
                "background: ask for fewer or smaller patches, or for source_snr_db=None"
            )
        bank = _background_bank(self.seed, self._bits)
        activity = bank[generator.integers(len(bank), size=len(regions))]
        # (m, r)(r, T), every sum exact: the same bits whatever threads and processor add them.
        return self._coarse_leadfield[:, regions] @ activity


@lru_cache(maxsize=4)
def _background_bank(seed: int, bits: int) -> NDArray[np.float64]:
    """Clips of normal columns, shared by the simulators of a data set."""
    return _on_grid(background_clips(seed, _BACKGROUND_CLIPS), bits)


def _on_grid(values: NDArray[np.floating], bits: int) -> NDArray[np.float64]:
    """Round to whole multiples of one power of two, the largest of which has `bits` bits.

    Of two such arrays n products of 2 bits + log2(n) <= 53 bits add up without rounding.
    """
    exponent = int(np.frexp(np.abs(values).max())[1]) - bits
    return np.ldexp(np.rint(np.ldexp(values.astype(np.float64), -exponent)), exponent)
