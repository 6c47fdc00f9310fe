"""The simulator of spikes in proportion: patches that the sensors see alike, all their spikes kept.

After the public data sets of Sun, Sohrabpour, Worrell and He, "Deep neural networks constrained by
neural mass models improve electrophysiological source imaging", PNAS 119 (2022): their ratios are
those of recordings to a background that is not recorded itself.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from learnmm.plain import is_number
from learnmm_esi.settings import check_positive
from learnmm_esi.simulation.clips import PartedClips
from learnmm_esi.simulation.noise import add_channel_noise, snr_range
from learnmm_esi.simulation.patches import ONE_PATCH, DrawnPatch, PatchSettings
from learnmm_esi.simulation.simulator import ActivePatch, PatchSimulator
from learnmm_esi.simulation.spikes import BACKGROUND_DEVIATION, CLIP_SFREQ, CLIP_TIMES, SPIKING
from learnmm_esi.sources import SourceModel

_WINDOW = 50  # samples before and after the peak in which a patch has its ratio: 100 ms


@dataclass(frozen=True)
class SpikeSettings:
    """How spikes come about, and how strong they are.

    The ratios are powers in dB over the background: that of the recording of all regions if each
    had activity of its own of a normal column.

    Attributes
    ----------
    input_rate : float
        Mean input of the columns, 1/ms: the more, the more spikes.
    spike_snr_db : float or None
        Of the spikes of the seed region alone, whose samples between spikes stay as they are; None
        leaves the spikes as they are too.
    patch_snr_db : float or (float, float)
        Of a patch within 100 ms of its peak; a pair is drawn from uniformly, for each patch.
    """

    input_rate: float = SPIKING.input_rate
    spike_snr_db: float | None = 15.0
    patch_snr_db: float | tuple[float, float] = 10.0

    def __post_init__(self) -> None:
        check_positive("input_rate", self.input_rate)
        if self.spike_snr_db is not None:
            if not is_number(self.spike_snr_db):
                raise ValueError(f"spike_snr_db must be a number, got {self.spike_snr_db!r}")
            snr_range(self.spike_snr_db)
        snr_range(self.patch_snr_db)


class SpikeSimulator(PatchSimulator):
    """Random interictal spikes of patches that are seen alike, made when they are asked for.

    Parameters
    ----------
    model : SourceModel
        The head model.
    seed : int, default 0
        Names the data set; give training, validation and test different ones.
    size : int, default 8000
        Number of samples.
    snr_db : float or (float, float), default (8, 17)
        Ratio in dB of each channel's mean square to the variance of its noise (see
        `add_channel_noise`); a pair is drawn from uniformly.
    spikes : SpikeSettings
        How they come about, and how strong they are.
    patches : PatchSettings
        How many are active, and of what size; each has a clip of its own. Default: one.
    cache_dir : path, optional
        Folder for the clips. Default: ``$LEARNMM_CACHE``, else the user's cache directory.

    Attributes
    ----------
    times, sfreq : int, float
        500 samples at 500 Hz.
    unit : float
        Dipole moment of one millivolt of net pyramidal potential: 1 nA m.

    Notes
    -----
    With ``u`` and ``v`` the rest of a clip and its spikes (see `parted_clips`), ``L_s`` the seed
    region's column of the lead field, ``w`` the weights of the patch and ``b`` the root mean square
    of background activity, the waveform is ``beta (u + alpha v)`` less its mean over time:

    - ``alpha^2 = 10^(spike_snr_db/10) b^2 ||L||_F^2 / (||L_s||^2 mean(v^2 where v != 0))``;
    - ``beta^2 = 10^(patch_snr_db/10) b^2 ||L||_F^2 / (||L w||^2 mean(z^2))`` with ``z`` the
      samples of ``u + alpha v``, its mean removed, within 100 ms of its peak.

    Nothing else is recorded but the noise, whose variance in a channel goes by the waveforms with
    their mean. Sources are in A m, sensors in V; the mean over time is removed from both.

    Examples
    --------
    >>> simulator = SpikeSimulator(fsaverage_head_model(), seed=0)    # doctest: +SKIP
    >>> simulator.sample(0).sources.shape                             # doctest: +SKIP
    (994, 500)
    """

    times, sfreq = CLIP_TIMES, CLIP_SFREQ
    unit, edge_weight, centred = 1e-9, 0.5, True

    def __init__(
        self,
        model: SourceModel,
        seed: int = 0,
        size: int = 8000,
        snr_db: float | tuple[float, float] = (8.0, 17.0),
        spikes: SpikeSettings = SpikeSettings(),
        patches: PatchSettings = ONE_PATCH,
        cache_dir: str | os.PathLike[str] | None = None,
    ) -> None:
        super().__init__(model, seed, size, snr_db, patches)
        self.spikes = spikes
        columns = replace(SPIKING, input_rate=float(spikes.input_rate))
        self.clips = PartedClips(self.seed, columns, cache_dir=cache_dir)
        self._gain = np.square(self.leadfield).sum(axis=0)  # of each region
        self._background = BACKGROUND_DEVIATION**2 * float(self._gain.sum())

    def prepare(self) -> None:
        """Simulate what is not on disk yet of the clips of all samples."""
        self.clips.prepare(self.size, self.patches.most)

    def _waveform(self, index: int, number: int, patch: DrawnPatch) -> NDArray[np.float64]:
        rest, spikes = self.clips.of_patch(number, index).astype(np.float64)
        ratio = float(patch.generator.uniform(*snr_range(self.spikes.patch_snr_db)))
        if self.spikes.spike_snr_db is not None:
            power = float(self._gain[patch.seed]) * float(np.square(spikes[spikes != 0.0]).mean())
            spikes = spikes * self._factor(self.spikes.spike_snr_db, power, patch.seed)
        clip = rest + spikes
        centred = clip - clip.mean()
        peak = int(np.abs(centred).argmax())
        window = centred[max(0, peak - _WINDOW) : peak + _WINDOW]
        power = float(np.square(self._seen(patch.weights)).sum() * np.square(window).mean())
        scaled: NDArray[np.float64] = clip * self._factor(ratio, power, patch.seed)
        return scaled

    def _factor(self, snr_db: float, power: float, seed: int) -> float:
        """What a waveform is multiplied by, so that its recording's power has a ratio."""
        if not power > 0.0:
            raise ValueError(
                f"SpikeSimulator: no electrode sees the patch around region {seed}, so that it "
                "cannot be scaled"
            )
        return float(np.sqrt(10.0 ** (snr_db / 10.0) * self._background / power))

    def _recording(
        self,
        clean: NDArray[np.float64],
        patches: list[ActivePatch],
        generator: np.random.Generator,
    ) -> tuple[NDArray[np.float64], float]:
        snr_db = float(generator.uniform(*self.snr_db))
        offset = np.zeros(len(clean))
        for patch in patches:
            offset += patch.offset * self._seen(patch.weights)
        noisy = add_channel_noise(clean, offset, snr_db, generator)
        return noisy - noisy.mean(axis=1, keepdims=True), snr_db
