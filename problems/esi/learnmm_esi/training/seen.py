"""Recordings as their caps see them: the data that start and prior learn from."""

from __future__ import annotations

from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from learnmm_esi.head.model import HeadModel
from learnmm_esi.inverse.scaling import unit_norm
from learnmm_esi.networks.sight import RANK, look, sight_of
from learnmm_esi.simulation.ranges.courses import Timing
from learnmm_esi.simulation.ranges.simulator import Group
from learnmm_esi.simulation.simulator import FactoredSample, PatchSimulator
from learnmm_esi.training.drawn import Drawn

__all__ = ["Groups", "OneHead", "SeenRecordings", "seen"]

SAMPLES = 8  # of a recording that the autoencoder is shown
SHOWN = 4  # recordings of a group that it is shown


class Groups(Protocol):
    """What simulates recordings some at a time, as `RangeSimulator` does."""

    @property
    def modes(self) -> int:
        """Most modes that a cap can have."""

    @property
    def together(self) -> int:
        """Recordings in a group."""

    def __len__(self) -> int: ...

    def group(self, number: int, draw: int = 0) -> Group:
        """Simulate one group."""


class OneHead:
    """Groups of a simulator whose recordings all come from one head and cap.

    A group has the same recordings in every draw, in turns: the autoencoder is shown the first of
    a group, and is to see all.

    Parameters
    ----------
    simulator : PatchSimulator
        What simulates them.
    model : HeadModel
        The head model.
    together : int
        Recordings in a group; those left over at the end are not used.
    """

    def __init__(self, simulator: PatchSimulator, model: HeadModel, together: int) -> None:
        self.simulator, self.model = simulator, model
        self.together = min(together, len(simulator))
        self.modes = len(model.leadfield)

    def __len__(self) -> int:
        return len(self.simulator) // self.together

    def group(self, number: int, draw: int = 0) -> Group:
        """Simulate one group."""
        first, turn = number * self.together, SHOWN * draw
        indices = (first + (turn + member) % self.together for member in range(self.together))
        samples = [self.simulator.factors(index, draw) for index in indices]
        most = self.simulator.patches.most
        return Group(
            self.model,
            Timing(self.simulator.times, self.simulator.sfreq),
            np.stack([sample.sensors for sample in samples]),
            np.stack([_filled([p.weights for p in s.patches], most) for s in samples]),
            np.stack([_filled(_courses(s), most) for s in samples]),
            np.array(
                [[p.seed for p in s.patches] + [-1] * (most - len(s.patches)) for s in samples]
            ),
            np.array([sample.snr_db for sample in samples]),
            np.zeros(len(samples)),
        )


class SeenRecordings(Drawn[Groups]):
    """Groups as their caps see them, with modes filled up to the largest cap's.

    Parameters
    ----------
    groups : Groups
        What simulates them.
    fresh : bool
        Draw other recordings, or other noise, in every epoch (training) or not (validation).
    workers : int
        Processes that simulate ahead.
    """

    def __init__(self, groups: Groups, *, fresh: bool = True, workers: int = 0) -> None:
        super().__init__(groups, fresh)
        self.workers = workers

    def __getitem__(self, number: int) -> dict[str, Tensor]:
        return seen(self.source.group(number, draw=self.epoch), self.source.modes)


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
    chosen = _samples(group.courses[few], int(group.seed_sources[0, 0]))
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


def _samples(courses: np.ndarray, seed: int) -> Tensor:
    """The largest sample of each recording, which is to be one, and others at random."""
    power = np.abs(courses).sum(axis=1)
    others = np.random.default_rng(seed).integers(power.shape[1], size=(len(power), SAMPLES - 1))
    return torch.from_numpy(np.concatenate([power.argmax(1)[:, None], others], 1))


def _at(courses: Tensor, samples: Tensor) -> Tensor:
    """Samples ``(b, S)`` of courses ``(b, rank, times)``."""
    return courses.gather(2, samples[:, None].expand(-1, courses.shape[1], -1))


def _courses(sample: FactoredSample) -> list[np.ndarray]:
    # Amplitudes play no role, and in A m they are near the smallest float32.
    unit = max(abs(patch.waveform).max() for patch in sample.patches)
    return [patch.waveform / unit for patch in sample.patches]


def _filled(rows: list[np.ndarray], most: int) -> np.ndarray:
    """Stack rows, zeros where there are fewer than the most, in single precision."""
    stacked = np.zeros((most, len(rows[0])), np.float32)
    stacked[: len(rows)] = rows
    return stacked
