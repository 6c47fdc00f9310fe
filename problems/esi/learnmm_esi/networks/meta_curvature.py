"""Meta-Curvature: learned matrices on both sides of the gradient (Park and Oliva 2019)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

import learnmm as lmm
from learnmm_esi.networks.energy import LearnedEnergy
from learnmm_esi.networks.settings import MethodSettings


class MetaCurvature(lmm.LearnedDirection):
    """``d = rate M_o G M_i^T`` with ``M_o`` over sources and ``M_i`` over time.

    Both matrices start at the identity. The rate is learned too: the paper's 1e-3 presumes
    gradients with a scale.

    Parameters
    ----------
    channels : int
        Sources.
    times : int
        Samples; recordings of another length cannot be used.
    rate : float
        Start of the rate, in units of the iterate.
    """

    def __init__(self, channels: int, times: int, rate: float = 0.1) -> None:
        super().__init__()
        self.outer = nn.Parameter(torch.eye(channels))
        self.inner = nn.Parameter(torch.eye(times))
        self.rate = nn.Parameter(torch.tensor(rate))

    def init_state(self, x: Tensor) -> None:
        """No memory."""
        require_length(type(self).__name__, x, len(self.inner))

    def forward(self, features: lmm.Features, state: None) -> tuple[Tensor, None]:
        """Multiply from both sides."""
        return self.rate * (self.outer @ features.gradient @ self.inner.mT), None


def require_length(name: str, x: Tensor, times: int) -> None:
    """Raise a clear error unless iterates have the number of samples trained for."""
    if x.shape[-1] != times:
        raise ValueError(
            f"{name} was built for recordings of {times} samples, got {x.shape[-1]}: "
            "it has one weight per sample, so cut or resample the recording, or train it anew"
        )


def build(
    settings: MethodSettings, energy: LearnedEnergy
) -> tuple[lmm.LearnedComponent, dict[str, Any]]:
    """Return the matrices, and an optimizer that does not verify their steps."""
    return MetaCurvature(energy.matrix.shape[1], settings.times), {"safeguard": None}
