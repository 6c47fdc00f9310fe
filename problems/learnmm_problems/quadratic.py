"""An ill-conditioned least-squares problem with an exact solution."""

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


@dataclass(frozen=True)
class QuadraticProblem(CheckedProblem):
    """``f(x) = 1/2 |A (x - x*)|^2`` with a spectrum of ``A^T A`` from ``1/condition`` to 1.

    Eigenvalues are spaced evenly on a logarithmic scale, eigenvectors are random and shared by
    the batch, every problem has its own minimizer ``x*`` with unit Gaussian entries. The minimizer
    is unique and the optimum is 0. With the uniform bound, step ``k`` satisfies
    ``f(x_k) <= (1 - 1/condition)^(2k) f(x_0)``; with the structured bound one step solves it.

    Parameters
    ----------
    unknowns : int
        Length of ``x``.
    condition : float
        Condition number of the Hessian ``A^T A``, at least 1.
    form : {"structured", "uniform", "separable"}
        Form of the bound, see :class:`learnmm.linear.MatrixMap`.
    operator_seed : int or None
        Of the eigenvectors, which then are those of every batch. None: each batch has its own.
    offset : float
        Mean of the entries of ``x*``.
    """

    name: ClassVar[str] = "quadratic"
    unknowns: int = 12
    condition: float = 1e3
    form: Form | str = Form.UNIFORM
    operator_seed: int | None = None
    offset: float = 0.0

    @property
    def shares(self) -> str:
        """The matrix, if it has a seed."""
        return shared_by(self.operator_seed, "operator")

    def shifted(self) -> Mapping[str, Problem]:
        """Ten times the condition number; minimizers around another point."""
        return {
            "conditioning": replace(self, condition=10 * self.condition),
            "data": replace(self, offset=self.offset + 2),
        }

    def draw(self, batch: int, dtype: torch.dtype, generator: torch.Generator | None) -> Instance:
        """Draw eigenvectors and minimizers; start at zero."""
        n = self.unknowns
        square = torch.randn(
            n, n, generator=common(self.operator_seed, generator), dtype=torch.float64
        )
        minimizer = self.offset + torch.randn(batch, n, generator=generator, dtype=torch.float64)
        eigenvectors = torch.linalg.qr(square).Q
        eigenvalues = self.condition ** torch.linspace(-1, 0, n, dtype=torch.float64)
        matrix = eigenvalues.sqrt()[:, None] * eigenvectors.mT
        return Instance(
            objective=least_squares(
                MatrixMap(matrix.to(dtype), form=self.form), (minimizer @ matrix.mT).to(dtype)
            ),
            x0=torch.zeros(batch, n, dtype=dtype),
            optimum=torch.zeros(batch, dtype=dtype),
            minimizer=minimizer.to(dtype),
            facts={"condition": self.condition, "convex": True},
        )
