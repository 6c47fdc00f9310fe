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
        self._energy = EvidenceEnergy(_Seen(leadfield, model.positions, model.neighbours))
        self._last: tuple[Tensor, Tensor] | None = None

    def see(self, leadfield: NDArray[np.float64]) -> None:
        """Take another lead field: the same sources, any channels."""
        self._energy.see(leadfield)
        self._last = None

    @torch.no_grad()
    def __call__(self, sensors: Tensor) -> Tensor:
        """Return estimates for recordings ``(B, sensors, times)``, zero where there is no patch."""
        if self._last is not None and _same(self._last[0], sensors):
            return self._last[1]
        problem = self._energy.problem(sensors)
        strengths = self._energy.solve(problem).x
        estimate = self._energy.sources(problem, strengths).to(sensors)
        self._last = sensors.clone(), estimate
        return estimate


def _same(a: Tensor, b: Tensor) -> bool:
    return a.shape == b.shape and a.device == b.device and torch.equal(a, b)


class _Seen(NamedTuple):
    """A `SourceModel` with another lead field."""

    leadfield: NDArray[np.float64]
    positions: NDArray[np.float64]
    neighbours: sparse.csr_matrix
    distances: NDArray[np.float64] | None = None
