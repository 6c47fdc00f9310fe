"""Poisson regression: counts, such as of spikes, explained by covariates."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor

from learnmm.registry import Instance, Problem
from learnmm_problems.checked import CheckedProblem
from learnmm_problems.shared import common, shared_by


@dataclass(frozen=True)
class PoissonRegressionProblem(CheckedProblem):
    """``f(x) = sum_i [exp(z_i) - y_i z_i] + ridge/2 |x|^2``, ``z_i = <a_i, x> + level``.

    Covariates ``a_i`` are Gaussian with a spectrum of scales; counts ``y_i`` follow each problem's
    own weights. Strictly convex; no closed form of the optimum, and no `GLOBAL` bound, since the
    rate grows exponentially.

    Parameters
    ----------
    samples, unknowns : int
        Rows ``a_i`` and length of ``x``.
    condition : float
        Largest over smallest scale of the covariates, spaced evenly on a logarithmic scale.
    ridge : float
        Positive.
    size : float
        Standard deviation of ``<a_i, x>`` for the true weights.
    level : float
        Logarithm of the rate without covariates.
    operator_seed : int or None
        Of the covariates, which by default are those of every batch. None: each batch has its own.
    """

    name: ClassVar[str] = "poisson-regression"
    samples: int = 40
    unknowns: int = 8
    condition: float = 10.0
    ridge: float = 0.1
    size: float = 0.7
    level: float = 0.5
    operator_seed: int | None = 0

    @property
    def shares(self) -> str:
        """The covariates, if they have a seed."""
        return shared_by(self.operator_seed, "operator")

    def shifted(self) -> Mapping[str, Problem]:
        """A tenth of the ridge; covariates that say more."""
        return {
            "conditioning": replace(self, ridge=self.ridge / 10),
            "data": replace(self, size=1.5 * self.size),
        }

    def draw(self, batch: int, dtype: torch.dtype, generator: torch.Generator | None) -> Instance:
        """Draw weights and counts; start at zero."""
        m, n = self.samples, self.unknowns
        operator = common(self.operator_seed, generator)
        scales = self.condition ** -torch.linspace(0, 1, n, dtype=torch.float64)
        covariates = scales * torch.randn(m, n, generator=operator, dtype=torch.float64)
        drawn = torch.randn(batch, n, generator=generator, dtype=torch.float64)
        truth = self.size / scales.norm() * drawn
        rate = torch.exp(truth @ covariates.mT + self.level)
        counts = torch.poisson(rate, generator=generator).to(dtype)
        rows = covariates.to(dtype)

        def objective(x: Tensor) -> Tensor:
            z = x @ rows.mT + self.level
            return (z.exp() - counts * z).sum(1) + self.ridge / 2 * x.square().sum(1)

        return Instance(
            objective=objective,
            x0=torch.zeros(batch, n, dtype=dtype),
            facts={"truth": truth.to(dtype), "convex": True},
        )
