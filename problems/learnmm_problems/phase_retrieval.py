"""Phase retrieval: a signal from intensities of its projections."""

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
class PhaseRetrievalProblem(CheckedProblem):
    """``f(x) = 1/(4m) sum_i (<a_i, x>^2 - y_i)^2`` for intensities ``y`` of real signals.

    Vectors ``a_i`` are Gaussian, with a spectrum of scales. The sign of ``x`` cannot be seen;
    signals are Gaussian around ones, so the start at ones finds the sign, and mostly the signal
    (local convergence, as from a spectral start: Candès, Li and Soltanolkotabi 2015). Without
    noise the optimum is 0, taken at the truth and its negative. Not convex; no majorant in closed
    form, and no `GLOBAL` one: `f` grows with the fourth power.

    Parameters
    ----------
    measurements, unknowns : int
        Number and length of the vectors.
    condition : float
        Largest over smallest scale of the entries of the vectors, spaced evenly on a logarithmic
        scale.
    spread : float
        Standard deviation of signals around ones.
    noise : float
        Standard deviation of intensities, relative to their mean.
    operator_seed : int or None
        Of the vectors, which by default are those of every batch. None: each batch has its own.
    """

    name: ClassVar[str] = "phase-retrieval"
    measurements: int = 48
    unknowns: int = 8
    condition: float = 3.0
    spread: float = 0.5
    noise: float = 0.02
    operator_seed: int | None = 0

    @property
    def shares(self) -> str:
        """The vectors, if they have a seed."""
        return shared_by(self.operator_seed, "operator")

    def shifted(self) -> Mapping[str, Problem]:
        """Twice the range of scales; signals that are spread wider; five times the noise."""
        return {
            "conditioning": replace(self, condition=2 * self.condition),
            "data": replace(self, spread=1.5 * self.spread),
            "noise": replace(self, noise=5 * self.noise),
        }

    def draw(self, batch: int, dtype: torch.dtype, generator: torch.Generator | None) -> Instance:
        """Draw signals and noise; start at ones."""
        m, n = self.measurements, self.unknowns
        operator = common(self.operator_seed, generator)
        raw = torch.randn(m, n, generator=operator, dtype=torch.float64)
        vectors = raw * self.condition ** -torch.linspace(0, 1, n, dtype=torch.float64)
        truth = 1 + self.spread * torch.randn(batch, n, generator=generator, dtype=torch.float64)
        noise = torch.randn(batch, m, generator=generator, dtype=torch.float64)
        clean = (truth @ vectors.mT).square()
        y = (clean + self.noise * clean.mean(1, keepdim=True) * noise).to(dtype)
        rows = vectors.to(dtype)

        def objective(x: Tensor) -> Tensor:
            return ((x @ rows.mT).square() - y).square().mean(1) / 4

        return Instance(
            objective=objective,
            x0=torch.ones(batch, n, dtype=dtype),
            data=y,
            facts={"truth": truth.to(dtype), "convex": False},
        )
