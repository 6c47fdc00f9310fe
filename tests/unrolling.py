"""An energy with learned parts, data for it, and what proposes steps on it."""

from __future__ import annotations

import torch
from torch import Tensor, nn

import learnmm as lmm

DTYPE = torch.float64
UNKNOWNS, ROWS, TIMES = 6, 4, 5


class Energy(nn.Module):
    """Cosine data term and autoencoder prior with a learned weight, of data ``(B, 4, 5)``."""

    def __init__(self) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.matrix = torch.randn(ROWS, UNKNOWNS, generator=generator, dtype=DTYPE)
        self.network = nn.Sequential(
            nn.Conv1d(UNKNOWNS, 3, 3, padding=1),
            lmm.SoftReLU(0.3),
            nn.Conv1d(3, UNKNOWNS, 3, padding=1),
        ).to(DTYPE)
        for weight in self.network.parameters():
            weight.data = torch.randn(weight.shape, generator=generator, dtype=DTYPE) / 3
        self.log_weight = nn.Parameter(torch.tensor(-1.0, dtype=DTYPE))
        self.prior = lmm.AutoencoderPrior(self.network)

    def forward(self, y: Tensor) -> lmm.Atom:
        return lmm.CosineDistance(y) @ self.matrix + self.log_weight.exp() * self.prior


def data(batch: int = 3) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    y = torch.randn(batch, ROWS, TIMES, generator=generator, dtype=DTYPE)
    return y, torch.randn(batch, UNKNOWNS, TIMES, generator=generator, dtype=DTYPE)


def proposing(name: str, energy: Energy) -> lmm.Proposer:
    torch.manual_seed(2)
    network = lmm.proposers.DualConvLSTM(UNKNOWNS, 4, initial=0.6).to(DTYPE)
    if name == "multipliers":
        return network
    if name == "spectral":
        return lmm.proposers.SpectralLSTM(energy.matrix, 4).to(DTYPE)
    return lmm.proposers.Unprojected(
        network, lmm.proposers.DampedInverse(energy.matrix, 0.1).to(DTYPE)
    )


def loss_of(solved: lmm.unroll.Unrolled) -> Tensor:
    return lmm.CosineDistance(torch.ones_like(solved.x))(solved.x).sum() + solved.values[-1].sum()
