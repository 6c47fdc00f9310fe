"""ModGrad: a low-rank mask, generated from a context, on the gradient (Simon et al. 2020)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

import learnmm as lmm
from learnmm_esi.networks.method import UNVERIFIED, Method
from learnmm_esi.networks.proposals import OfTheGradient
from learnmm_esi.settings import check_size

RANK, RATE = 6, 0.1
"""Columns of ``U`` and ``V``; start of the learned rate, in units of the iterate."""


@dataclass(frozen=True)
class ModGrad(Method):
    """``d = rate sigmoid(U V^T) * G``, ``U`` and ``V`` made by two MLPs from a learned context.

    How the public experiments size their MLPs is not known to us; these have about the number of
    weights of Table I for 64 samples, and fewer than theirs for 500.

    Parameters
    ----------
    hidden : int
        Width of the MLPs, and the square root of the context's length.
    """

    name = "modgrad"
    summary = "a low-rank mask on the gradient, not verified"
    any_length = False
    solve = UNVERIFIED

    hidden: int = 48

    def __post_init__(self) -> None:
        """Refuse what does not exist."""
        super().__post_init__()
        check_size("hidden", self.hidden)

    def proposer(self, matrix: Tensor, times: int) -> lmm.Proposer:
        """Return the mask."""
        return OfTheGradient(Mask(matrix.shape[1], times, self.hidden), "ModGrad", times)


class Mask(nn.Module):
    """``G -> rate sigmoid(U V^T) * G``.

    Parameters
    ----------
    channels, times : int
        Of gradients ``(B, channels, times)``.
    hidden : int
        Width of the MLPs, and the square root of the context's length.
    """

    def __init__(self, channels: int, times: int, hidden: int) -> None:
        super().__init__()
        self.context = nn.Parameter(torch.randn(hidden**2) / hidden)
        self.rows, self.columns = (
            nn.Sequential(nn.Linear(hidden**2, hidden), nn.Tanh(), nn.Linear(hidden, size * RANK))
            for size in (channels, times)
        )
        self.rate = nn.Parameter(torch.tensor(RATE))

    def forward(self, gradient: Tensor) -> Tensor:
        """Mask the gradient."""
        rows = self.rows(self.context).reshape(-1, RANK)
        columns = self.columns(self.context).reshape(-1, RANK)
        return self.rate * torch.sigmoid(rows @ columns.mT) * gradient
