"""Regression on data whose gain is unknown: only their direction counts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor

from learnmm import CosineDistance
from learnmm.linear import Form, MatrixMap
from learnmm.registry import Instance, Problem
from learnmm_problems.checked import CheckedProblem
from learnmm_problems.shared import common, shared_by


@dataclass(frozen=True)
class CosineRegressionProblem(CheckedProblem):
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
    operator_seed : int or None
        Of ``A``, which then is that of every batch. None: each batch has its own.
    form : {"structured", "uniform", "separable"}
        Form of the bound, see :class:`learnmm.linear.MatrixMap`: the first needs a decomposition.
    """

    name: ClassVar[str] = "cosine-regression"
    measurements: int = 20
    unknowns: int = 8
    condition: float = 10.0
    noise: float = 0.1
    operator_seed: int | None = None
    form: Form | str = Form.STRUCTURED

    @property
    def shares(self) -> str:
        """The matrix, if it has a seed."""
        return shared_by(self.operator_seed, "operator")

    def shifted(self) -> Mapping[str, Problem]:
        """Three times the condition number; three times the noise."""
        return {
            "conditioning": replace(self, condition=3 * self.condition),
            "data": replace(self, noise=3 * self.noise),
        }

    def draw(self, batch: int, dtype: torch.dtype, generator: torch.Generator | None) -> Instance:
        """Draw the matrix, truths, noise and gains; start at a random direction."""
        m, n = self.measurements, self.unknowns
        operator = common(self.operator_seed, generator)
        raw = torch.randn(m, n, generator=operator, dtype=torch.float64)
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
            objective=CosineDistance(y.to(dtype)) @ MatrixMap(matrix.to(dtype), form=self.form),
            x0=x0.to(dtype),
            optimum=optimum.to(dtype),
            minimizer=minimizer.to(dtype),
            data=torch.nn.functional.normalize(y, dim=1).to(dtype),
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
