"""A first iterate that nothing was learned for: the estimate of `EvidenceEnergy`."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse
from torch import Tensor

from learnmm_esi.inverse.evidence import EvidenceEnergy
from learnmm_esi.sources import SourceModel

__all__ = ["EvidenceStart"]


class EvidenceStart:
    """What the library estimates where it has no weights.

    A solve asks for it twice, as its start and as what its energy refers to: the last answer is
    kept.

    Parameters
    ----------
    model : SourceModel
        Sources and their neighbours.
    leadfield : ndarray, shape (sensors, sources)
        V/(A m); instead of the model's.
    """

    def __init__(self, model: SourceModel, leadfield: NDArray[np.float64]) -> None:
        seen = _Seen(leadfield, model.positions, model.neighbours)
        self._energy = EvidenceEnergy(seen)
        self._last: tuple[Tensor, Tensor] | None = None

    @torch.no_grad()
    def __call__(self, sensors: Tensor) -> Tensor:
        """Return estimates for recordings ``(B, sensors, times)``, zero where there is no patch."""
        last = self._last
        if last is None or last[0].shape != sensors.shape or not torch.equal(last[0], sensors):
            problem = self._energy.problem(sensors)
            found = self._energy.solve(problem)
            estimate = self._energy.sources(problem, found.x)
            last = self._last = sensors.clone(), estimate.to(sensors)
        return last[1]


class _Seen(NamedTuple):
    """A `SourceModel` with another lead field."""

    leadfield: NDArray[np.float64]
    positions: NDArray[np.float64]
    neighbours: sparse.csr_matrix
    distances: NDArray[np.float64] | None = None
