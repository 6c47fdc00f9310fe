"""Recordings over ranges as data for training: what their caps have seen, in arrays of one shape."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from learnmm_esi.inverse.scaling import unit_norm
from learnmm_esi.networks.sight import RANK, look, sight_of
from learnmm_esi.simulation.ranges.simulator import Group, RangeSimulator

__all__ = ["SeenRecordings", "seen"]

SAMPLES = 8  # of a recording that the autoencoder is shown
SHOWN = 4  # recordings of a group that it is shown


class SeenRecordings(Dataset[dict[str, Tensor]]):
    """Groups of a simulator as their caps see them, with modes filled up to the largest cap's.

    Parameters
    ----------
    simulator : RangeSimulator
        What simulates them.
    fresh : bool
        Draw other recordings on the same caps in every epoch (training) or not (validation).
    workers : int
        Processes that simulate ahead.
    """

    def __init__(
        self, simulator: RangeSimulator, *, fresh: bool = True, workers: int = 0
    ) -> None:
        self.simulator, self.fresh, self.workers = simulator, fresh, workers
        self.modes = simulator.settings.caps.electrodes[1] - 1
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the recordings."""
        self.epoch = epoch if self.fresh else 0

    def __len__(self) -> int:
        return len(self.simulator)

    def __getitem__(self, number: int) -> dict[str, Tensor]:
        return seen(self.simulator.group(number, draw=self.epoch), self.modes)


def seen(group: Group, modes: int) -> dict[str, Tensor]:
    """Return a group as its cap sees it.

    Parameters
    ----------
    group : Group
        Recordings with their truth.
    modes : int
        Length of the arrays over modes; what is beyond the cap's is zero.

    Returns
    -------
    dict
        ``projection`` (sources, modes) and ``values`` of the cap; ``coefficients``, ``snr_db``,
        ``lambda2`` of the recordings; ``maps`` (members, patches, sources) of the truth and the
        inner products of courses, ``along`` (members, rank, patches) of the recording's with the
        truth's and ``among`` (members, patches, patches) of the truth's; and of some recordings
        the courses at some samples, ``seen_samples`` and ``true_samples``.
    """
    own, sight = sight_of(group.model.leadfield)
    found = look(unit_norm(torch.from_numpy(group.sensors)), own)
    truth = torch.from_numpy(group.courses)
    count = len(sight.values)
    projection = sight.projection.new_zeros(sight.projection.shape[0], modes)
    projection[:, :count] = sight.projection
    values = sight.values.new_zeros(modes)
    values[:count] = sight.values
    coefficients = found.coefficients.new_zeros(len(truth), RANK, modes)
    coefficients[..., :count] = found.coefficients
    few = slice(0, min(SHOWN, len(truth)))
    # The largest sample, which is to be one, and others at random.
    power = np.einsum("bpt->bt", np.abs(group.courses[few]))
    others = np.random.default_rng(group.seed_sources[0, 0]).integers(
        power.shape[1], size=(len(power), SAMPLES - 1)
    )
    chosen = torch.from_numpy(np.concatenate([power.argmax(1)[:, None], others], 1))
    return {
        "projection": projection,
        "values": values,
        "coefficients": coefficients,
        "snr_db": found.snr_db,
        "lambda2": found.lambda2,
        "maps": torch.from_numpy(group.maps),
        "along": found.courses @ truth.mT,
        "among": truth @ truth.mT,
        "seen_samples": _at(found.courses[few], chosen),
        "true_samples": _at(truth[few], chosen),
    }


def _at(courses: Tensor, samples: Tensor) -> Tensor:
    """Samples ``(b, S)`` of courses ``(b, rank, times)``."""
    return courses.gather(2, samples[:, None].expand(-1, courses.shape[1], -1))
