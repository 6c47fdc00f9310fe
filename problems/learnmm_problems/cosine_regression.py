"""Regression on data whose gain is unknown: only their direction counts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from learnmm import CosineDistance
from learnmm.linear import MatrixMap
from learnmm.registry import Instance, Problem


@dataclass(frozen=True)
class CosineRegressionProblem(Problem):
    """``f(x) = 1 - cos(A x, y)`` with ``y = gain (A x_true + noise)``.

    Gains spread over six decades and have no influence on the minimizers. With ``P`` the
    orthogonal projection on the range of ``A``, the optimum is ``1 - |P y| / |y|``, taken at
    every positive multiple of ``A^+ y``. Not convex, but the only critical values are the
    optimum, its mirror image ``1 + |P y| / |y|``, and 1 (where ``A x`` is orthogonal to ``y``).

    Parameters
    ----------
    measurements, unknowns : int
        Shape of ``A``.
    condition : float
        Condition number of ``A``.
    noise : float
        Standard deviation of the noise, before the gain.
    """

    name: ClassVar[str] = "cosine-regression"
    measurements: int = 20
    unknowns: int = 8
    condition: float = 10.0
    noise: float = 0.1

    def draw(self, batch: int, dtype: torch.dtype, generator: torch.Generator | None) -> Instance:
        """Draw the matrix, truths, noise and gains; start at a random direction."""
        m, n = self.measurements, self.unknowns
        raw = torch.randn(m, n, generator=generator, dtype=torch.float64)
        truth = torch.randn(batch, n, generator=generator, dtype=torch.float64)
        noise = torch.randn(batch, m, generator=generator, dtype=torch.float64)
        gain = 10 ** (6 * torch.rand(batch, 1, generator=generator, dtype=torch.float64) - 3)
        x0 = torch.randn(batch, n, generator=generator, dtype=torch.float64)
        left, _, right = torch.linalg.svd(raw, full_matrices=False)
        values = self.condition ** torch.linspace(0, -1, n, dtype=torch.float64)
        matrix = (left * values) @ right
        y = gain * (truth @ matrix.mT + self.noise * noise)
        optimum, minimizer = closest(left, values, right, y)
        return Instance(
            objective=CosineDistance(y.to(dtype)) @ MatrixMap(matrix.to(dtype)),
            x0=x0.to(dtype),
            optimum=optimum.to(dtype),
            minimizer=minimizer.to(dtype),
            facts={"condition": self.condition, "gain": gain[:, 0].to(dtype), "convex": False},
        )


def closest(left: Tensor, values: Tensor, right: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Smallest ``1 - cos(A x, y)``, ``(B,)``, and ``A^+ y`` that attains it, ``(B, n)``.

    Parameters
    ----------
    left, values, right : Tensor
        Thin singular value decomposition of ``A``, of full column rank.
    y : Tensor
        ``(B, m)``.
    """
    image = y @ left  # coordinates of P y
    missed = y - image @ left.mT
    size = torch.linalg.vector_norm(y, dim=1)
    cosine = torch.linalg.vector_norm(image, dim=1) / size
    # 1 - c = (1 - c^2) / (1 + c) without cancellation.
    optimum = (torch.linalg.vector_norm(missed, dim=1) / size) ** 2 / (1 + cosine)
    return optimum, (image / values) @ right
