"""Meta-Curvature: learned matrices on both sides of the gradient (Park and Oliva 2019)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

import learnmm as lmm
from learnmm_esi.networks.method import UNVERIFIED, Method
from learnmm_esi.networks.proposals import OfTheGradient

RATE = 0.1
"""Start of the learned rate, in units of the iterate; the paper's 1e-3 presumes gradients with a
scale."""


@dataclass(frozen=True)
class MetaCurvature(Method):
    """``d = rate M_o G M_i^T`` with ``M_o`` over sources and ``M_i`` over time."""

    name = "meta-curvature"
    summary = "two matrices around the gradient, not verified"
    any_length = False
    solve = UNVERIFIED

    def proposer(self, matrix: Tensor, times: int) -> lmm.Proposer:
        """Return the matrices, both the identity."""
        return OfTheGradient(TwoMatrices(matrix.shape[1], times), "MetaCurvature", times)


class TwoMatrices(nn.Module):
    """``G -> rate M_o G M_i^T``, from identities.

    Parameters
    ----------
    channels, times : int
        Of gradients ``(B, channels, times)``.
    """

    def __init__(self, channels: int, times: int) -> None:
        super().__init__()
        self.outer = nn.Parameter(torch.eye(channels))
        self.inner = nn.Parameter(torch.eye(times))
        self.rate = nn.Parameter(torch.tensor(RATE))

    def forward(self, gradient: Tensor) -> Tensor:
        """Multiply from both sides."""
        return self.rate * (self.outer @ gradient @ self.inner.mT)
