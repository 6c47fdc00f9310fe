"""ModGrad: a low-rank mask, generated from a context, on the gradient (Simon et al. 2020)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

import learnmm as lmm
from learnmm_esi.networks.energy import LearnedEnergy
from learnmm_esi.networks.meta_curvature import require_length
from learnmm_esi.networks.settings import MethodSettings


class ModGrad(lmm.LearnedDirection):
    """``d = rate sigmoid(U V^T) * G``, ``U`` and ``V`` made by two MLPs from a learned context.

    How the public experiments size their MLPs is not known to us; these have about the number of
    weights of Table I for 64 samples, and fewer than theirs for 500.

    Parameters
    ----------
    channels : int
        Sources.
    times : int
        Samples; recordings of another length cannot be used.
    hidden : int
        Width of the MLPs, and the square root of the context's length.
    rank : int
        Columns of ``U`` and ``V``.
    rate : float
        Start of the rate, in units of the iterate.
    """

    def __init__(
        self, channels: int, times: int, hidden: int = 48, rank: int = 6, rate: float = 0.1
    ) -> None:
        super().__init__()
        self.times, self.rank = times, rank
        self.context = nn.Parameter(torch.randn(hidden**2) / hidden)
        self.rows, self.columns = (
            nn.Sequential(nn.Linear(hidden**2, hidden), nn.Tanh(), nn.Linear(hidden, size * rank))
            for size in (channels, times)
        )
        self.rate = nn.Parameter(torch.tensor(rate))

    def init_state(self, x: Tensor) -> None:
        """No memory."""
        require_length(type(self).__name__, x, self.times)

    def forward(self, features: lmm.Features, state: None) -> tuple[Tensor, None]:
        """Mask the gradient."""
        rows = self.rows(self.context).reshape(-1, self.rank)
        columns = self.columns(self.context).reshape(-1, self.rank)
        return self.rate * torch.sigmoid(rows @ columns.mT) * features.gradient, None


def build(
    settings: MethodSettings, energy: LearnedEnergy
) -> tuple[lmm.LearnedComponent, dict[str, Any]]:
    """Return the mask, and an optimizer that does not verify its steps."""
    network = ModGrad(energy.matrix.shape[1], settings.times, settings.hidden)
    return network, {"safeguard": None}
