"""Simulated recordings as a data set for training."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.utils.data import Dataset

from learnmm_esi.simulation.simulator import PatchSimulator


class _Recordings(Dataset[dict[str, Tensor]]):
    """Recordings of a simulator, with fresh noise in every epoch or not."""

    def __init__(self, simulator: PatchSimulator, *, fresh: bool = True) -> None:
        self.simulator = simulator
        self.fresh = fresh
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the noise."""
        self.epoch = epoch if self.fresh else 0

    def __len__(self) -> int:
        return len(self.simulator)


class FactoredRecordings(_Recordings):
    """Whole recordings whose sources are given by the factors of their patches.

    Parameters
    ----------
    simulator : PatchSimulator
        What simulates them, the same number of patches in each.
    fresh : bool
        Draw the noise anew in every epoch (training) or not (validation).
    """

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        patches, sensors, _ = self.simulator.factors(index, draw=self.epoch)
        # Amplitudes play no role, and in A m they are near the smallest float32.
        unit = max(abs(patch.waveform).max() for patch in patches)
        return {
            "sensors": torch.from_numpy(sensors),
            "maps": torch.stack([torch.from_numpy(p.weights).float() for p in patches]),
            "courses": torch.stack([torch.from_numpy(p.waveform / unit).float() for p in patches]),
        }


class SimulatedRecordings(_Recordings):
    """Samples of a simulator.

    Parameters
    ----------
    simulator : PatchSimulator
        What simulates them.
    fresh : bool
        Draw the noise anew in every epoch (training) or not (validation, test).
    window : int, optional
        Random windows of so many samples, the peak of the source inside; for long recordings.
    """

    def __init__(
        self, simulator: PatchSimulator, *, fresh: bool = True, window: int | None = None
    ) -> None:
        super().__init__(simulator, fresh=fresh)
        self.window = window

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        sample = self.simulator.sample(index, draw=self.epoch)
        sources, sensors = torch.from_numpy(sample.sources), torch.from_numpy(sample.sensors)
        if self.window is not None and self.window < sources.shape[1]:
            seeded = torch.Generator().manual_seed(1_000_003 * self.epoch + index)
            peak = int(sources[sample.seed_source].abs().argmax())
            first = max(0, peak - self.window + 1)
            last = min(peak, sources.shape[1] - self.window)
            begin = int(torch.randint(first, last + 1, (), generator=seeded))
            sources = sources[:, begin : begin + self.window]
            sensors = sensors[:, begin : begin + self.window]
        # Amplitudes play no role, and in A m they are near the smallest float32.
        sources = sources / sources.abs().max()
        return {
            "sensors": sensors,
            "sources": sources,
            "seed_source": torch.tensor(sample.seed_source),
        }
