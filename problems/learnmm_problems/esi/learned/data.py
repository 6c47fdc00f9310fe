"""Simulated recordings as a data set for training."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.utils.data import Dataset

from ..simulator import PatchSimulator


class SimulatedRecordings(Dataset[dict[str, Tensor]]):
    """Samples of a simulator, with fresh noise in every epoch.

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
        self.simulator = simulator
        self.fresh = fresh
        self.window = window
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the noise."""
        self.epoch = epoch if self.fresh else 0

    def __len__(self) -> int:
        return len(self.simulator)

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
