"""Simulated recordings as a data set for training."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from learnmm_esi.simulation.simulator import PatchSimulator
from learnmm_esi.training.drawn import Drawn, window_begins
from learnmm_esi.training.seen import Groups


class SimulatedRecordings(Drawn[PatchSimulator]):
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
        super().__init__(simulator, fresh)
        self.window = window

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        sample = self.source.sample(index, draw=self.epoch)
        sources, sensors = torch.from_numpy(sample.sources), torch.from_numpy(sample.sensors)
        if self.window is not None and self.window < sources.shape[1]:
            seeded = torch.Generator().manual_seed(1_000_003 * self.epoch + index)
            peak = int(sources[sample.seed_source].abs().argmax())
            begins = window_begins(peak, self.window, sources.shape[1])
            begin = int(torch.randint(begins.start, begins.stop, (), generator=seeded))
            sources = sources[:, begin : begin + self.window]
            sensors = sensors[:, begin : begin + self.window]
        # Amplitudes play no role, and in A m they are near the smallest float32.
        sources = sources / sources.abs().max()
        return {
            "sensors": sensors,
            "sources": sources,
            "seed_source": torch.tensor(sample.seed_source),
        }


class GroupedRecordings(Drawn[Groups]):
    """Recordings over ranges, group by group: a batch is a few recordings of one head and cap.

    Parameters
    ----------
    groups : Groups
        What simulates them.
    fresh : bool
        Draw other recordings in every epoch (training) or not (validation).
    members : int
        Recordings of a group that are used.
    window : int, optional
        Random windows of so many samples, the peak of the source inside; for long recordings.
    """

    def __init__(
        self, groups: Groups, *, fresh: bool = True, members: int = 16, window: int | None = None
    ) -> None:
        super().__init__(groups, fresh)
        self.members, self.window = members, window

    def __getitem__(self, number: int) -> dict[str, Any]:
        group = self.source.group(number, draw=self.epoch)
        few = slice(0, self.members)
        sources, sensors = (
            torch.from_numpy(group.sources[few]),
            torch.from_numpy(group.sensors[few]),
        )
        times = sources.shape[2]
        if self.window is not None and self.window < times:
            seeded = np.random.default_rng([number, self.epoch])
            peak = int(np.abs(group.courses[few]).sum((0, 1)).argmax())
            begins = window_begins(peak, self.window, times)
            begin = int(seeded.integers(begins.start, begins.stop))
            sources = sources[..., begin : begin + self.window]
            sensors = sensors[..., begin : begin + self.window]
        seen = (sources.abs().amax((1, 2)) > 0) & (sensors.abs().amax((1, 2)) > 0)
        sources, sensors = sources[seen], sensors[seen]
        sources = sources / sources.abs().amax((1, 2), keepdim=True)
        return {"sensors": sensors, "sources": sources, "leadfield": group.model.leadfield}

    @staticmethod
    def collate(batch: list[dict[str, Any]]) -> dict[str, Any]:
        """Return the one group of a batch: others have other channels."""
        if len(batch) != 1:
            raise ValueError(f"a batch over ranges is one group, got batch_size={len(batch)}")
        return batch[0]
