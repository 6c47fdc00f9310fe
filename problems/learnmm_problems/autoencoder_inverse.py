"""An underdetermined inverse problem that an autoencoder makes determinate."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import nn

from learnmm import AutoencoderPrior, CosineDistance
from learnmm.atoms import AutoencoderBound
from learnmm.linear import MatrixMap
from learnmm.registry import Instance, Problem
from learnmm_problems.checked import CheckedProblem
from learnmm_problems.shared import common, shared_by


@dataclass(frozen=True)
class AutoencoderInverseProblem(CheckedProblem):
    """``f(x) = 1 - cos(A x, y) + weight (1 - cos(x, W tanh(W^T x)))`` (MM-Net Eq. 8, tiny).

    ``A`` has fewer rows than columns; the columns of ``W`` are orthonormal and span the subspace
    of the true signals, so the autoencoder knows what ``A`` cannot see. Its Lipschitz constant is
    1, which keeps the `GLOBAL` bound useful. Not convex; both terms lie in ``[0, 2]``. The
    optimum has no closed form.

    Parameters
    ----------
    measurements, unknowns, latent : int
        Rows and columns of ``A``, and columns of ``W``; ``latent <= measurements < unknowns``.
    noise : float
        Standard deviation of the noise relative to that of the data.
    weight : float
        On the prior.
    bound : {"global", "scalar", "elementwise"}
        Of the prior, see :class:`learnmm.AutoencoderPrior`.
    operator_seed : int or None
        Of ``A`` and ``W``, which then are those of every batch. None: each batch has its own.
    """

    name: ClassVar[str] = "autoencoder-inverse"
    measurements: int = 8
    unknowns: int = 16
    latent: int = 3
    noise: float = 0.1
    weight: float = 1.0
    bound: AutoencoderBound | str = AutoencoderBound.GLOBAL
    operator_seed: int | None = None

    @property
    def shares(self) -> str:
        """Matrix and autoencoder, if they have a seed."""
        return shared_by(self.operator_seed, "operator and prior")

    def shifted(self) -> Mapping[str, Problem]:
        """Less of the prior; three times the noise."""
        return {
            "conditioning": replace(self, weight=self.weight / 3),
            "data": replace(self, noise=3 * self.noise),
        }

    def draw(self, batch: int, dtype: torch.dtype, generator: torch.Generator | None) -> Instance:
        """Draw the matrix, the subspace, truths and noise; start at the back-projection."""
        m, n, k = self.measurements, self.unknowns, self.latent
        operator = common(self.operator_seed, generator)
        matrix = torch.randn(m, n, generator=operator, dtype=torch.float64) / n**0.5
        square = torch.randn(n, k, generator=operator, dtype=torch.float64)
        code = torch.randn(batch, k, generator=generator, dtype=torch.float64)
        noise = torch.randn(batch, m, generator=generator, dtype=torch.float64)
        subspace = torch.linalg.qr(square).Q
        truth = code @ subspace.mT
        clean = truth @ matrix.mT
        y = clean + self.noise * clean.square().mean(1, keepdim=True).sqrt() * noise
        # Short, so that no tanh is saturated: there the prior is nearly flat.
        x0 = torch.nn.functional.normalize(y @ matrix, dim=1)
        prior = AutoencoderPrior(autoencoder(subspace.to(dtype)), bound=self.bound)
        return Instance(
            objective=CosineDistance(y.to(dtype)) @ MatrixMap(matrix.to(dtype))
            + self.weight * prior,
            x0=x0.to(dtype),
            data=torch.nn.functional.normalize(y, dim=1).to(dtype),
            facts={"truth": truth.to(dtype), "convex": False},
        )


def autoencoder(subspace: torch.Tensor) -> nn.Sequential:
    """``x -> W tanh(W^T x)`` with fixed weights ``W`` of shape ``(n, k)``."""
    n, k = subspace.shape
    encode = nn.Linear(n, k, bias=False, dtype=subspace.dtype)
    decode = nn.Linear(k, n, bias=False, dtype=subspace.dtype)
    network = nn.Sequential(encode, nn.Tanh(), decode).requires_grad_(False)
    encode.weight.copy_(subspace.mT)
    decode.weight.copy_(subspace)
    return network
