"""Compressed sensing by a smoothed LASSO: sparse signals from few random measurements."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

import torch

from learnmm import least_squares
from learnmm.linear import Form, MatrixMap
from learnmm.registry import Instance, Problem
from learnmm_problems.checked import CheckedProblem
from learnmm_problems.shared import common, shared_by
from learnmm_problems.sparsity import smoothed_absolute, thinned


@dataclass(frozen=True)
class LassoProblem(CheckedProblem):
    """``f(x) = 1/2 |A x - y|^2 + weight sum_i (sqrt(x_i^2 + edge^2) - edge)`` (Tibshirani 1996).

    ``A`` has fewer rows than columns, which are Gaussian and of norm one; ``y`` measures a sparse
    signal in noise. The penalty is a smoothed absolute value. Strictly convex; no closed form of
    the optimum.

    Parameters
    ----------
    measurements, unknowns : int
        Shape of ``A``.
    active : float
        Share of unknowns that are not zero, each Gaussian.
    noise : float
        Standard deviation of the noise.
    weight : float
        On the penalty.
    edge : float
        Size at which the penalty leaves the quadratic regime.
    operator_seed : int or None
        Of ``A``, which by default is that of every batch. None: each batch has its own.
    form : {"structured", "uniform", "separable"}
        Form of the bound, see :class:`learnmm.linear.MatrixMap`.
    """

    name: ClassVar[str] = "lasso"
    measurements: int = 16
    unknowns: int = 32
    active: float = 0.1
    noise: float = 0.02
    weight: float = 0.05
    edge: float = 0.02
    operator_seed: int | None = 0
    form: Form | str = Form.UNIFORM

    @property
    def shares(self) -> str:
        """The matrix, if it has a seed."""
        return shared_by(self.operator_seed, "operator")

    def shifted(self) -> Mapping[str, Problem]:
        """A sharper penalty; twice the active unknowns; five times the noise."""
        return {
            "conditioning": replace(self, edge=self.edge / 3),
            "data": replace(self, active=2 * self.active),
            "noise": replace(self, noise=5 * self.noise),
        }

    def draw(self, batch: int, dtype: torch.dtype, generator: torch.Generator | None) -> Instance:
        """Draw signals and noise; start at zero."""
        m, n = self.measurements, self.unknowns
        operator = common(self.operator_seed, generator)
        raw = torch.randn(m, n, generator=operator, dtype=torch.float64)
        matrix = torch.nn.functional.normalize(raw, dim=0)
        size = torch.randn(batch, n, generator=generator, dtype=torch.float64)
        truth = thinned(size, self.active, generator)
        noise = torch.randn(batch, m, generator=generator, dtype=torch.float64)
        y = truth @ matrix.mT + self.noise * noise
        zero = torch.zeros(batch, n, dtype=dtype)
        return Instance(
            objective=least_squares(MatrixMap(matrix.to(dtype), form=self.form), y.to(dtype))
            + smoothed_absolute(zero, self.weight, self.edge),
            x0=zero,
            data=y.to(dtype),
            facts={"truth": truth.to(dtype), "convex": True},
        )
