"""Handwritten digits as products of two thin matrices."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

import torch
from torch import Tensor

from learnmm import Atom, Bound, Kind
from learnmm.curvature import ScalarCurvature
from learnmm.objective import Evaluation
from learnmm.registry import Instance, Problem
from learnmm.vectors import norm
from learnmm_problems.bundled import digits
from learnmm_problems.checked import CheckedProblem


class Factorisation(Atom):
    """``f(U, V) = 1/2 |U V^T - Y|^2 + ridge/2 (|U|^2 + |V|^2)``, ``x`` being ``U`` above ``V``.

    Its curvature grows without limit, so no bound holds everywhere. With ``R = U V^T - Y`` and
    ``s^2 = |U|^2 + |V|^2`` (spectral norms here and below), a step ``d = (D, E)`` changes ``R`` by
    ``L + q`` with ``L = D V^T + U E^T``, ``|L|_F <= s |d|``, and ``q = D E^T``,
    ``|q|_F <= |d|^2 / 2``, ``<R, q> <= |R| |d|^2 / 2``. Put together, for ``|d| <= r``

    ``f(x + d) <= f(x) + <g, d> + (|R| + (s + r/2)^2 + ridge) |d|^2 / 2``:

    a bound of kind `REGION`. Its radius is ``r = 2 |g| / (|R| + s^2 + ridge)``, which no step with
    multipliers below two exceeds.

    Parameters
    ----------
    y : Tensor
        ``Y``, ``(B, m, n)``.
    ridge : float
        Positive.
    """

    def __init__(self, y: Tensor, ridge: float) -> None:
        if y.dim() != 3 or not y.is_floating_point() or not bool(torch.isfinite(y).all()):
            raise ValueError(
                "Factorisation expects finite floating-point matrices (B, m, n), got shape "
                f"{tuple(y.shape)} and dtype {y.dtype}"
            )
        if not ridge > 0:
            raise ValueError(f"Factorisation expects a positive ridge, got {ridge}")
        self.y = y
        self.ridge = ridge

    def measure(self, x: Tensor) -> tuple[Tensor, Any]:
        """Value; residual, which the bound needs."""
        residual = self._residual(x)
        return (residual.square().sum((1, 2)) + self.ridge * x.square().sum((1, 2))) / 2, residual

    def evaluate(self, x: Tensor) -> Evaluation:
        """Closed form: ``R V + ridge U`` above ``R^T U + ridge V``."""
        value, residual = self.measure(x)
        return Evaluation(value, self._gradient(x, residual), residual)

    def bound_at(self, x: Tensor, aux: Any) -> Bound:
        """The bound above."""
        u, v = self._factors(x)
        least = torch.linalg.matrix_norm(aux, 2) + self.ridge
        size = torch.hypot(torch.linalg.matrix_norm(u, 2), torch.linalg.matrix_norm(v, 2))
        radius = 2 * norm(self._gradient(x, aux)) / (least + size**2)
        return Bound(Kind.REGION, ScalarCurvature(least + (size + radius / 2) ** 2), radius)

    def check(self, x: Tensor) -> None:
        """Shapes and dtypes agree with the data."""
        batch, m, n = self.y.shape
        if x.dim() != 3 or x.shape[:2] != (batch, m + n) or x.dtype != self.y.dtype:
            raise ValueError(
                f"Factorisation of {batch} matrices {m} x {n} expects x of shape "
                f"({batch}, {m + n}, rank) and {self.y.dtype}, got {tuple(x.shape)}, {x.dtype}"
            )

    def restricted(self, rows: Tensor) -> Self:
        """Matrices of these problems."""
        return self._with(y=self.y[rows])

    def _factors(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return x[:, : self.y.shape[1]], x[:, self.y.shape[1] :]

    def _residual(self, x: Tensor) -> Tensor:
        u, v = self._factors(x)
        return u @ v.mT - self.y

    def _gradient(self, x: Tensor, residual: Tensor) -> Tensor:
        u, v = self._factors(x)
        return torch.cat([residual @ v, residual.mT @ u], 1) + self.ridge * x


@dataclass(frozen=True)
class MatrixFactorisationProblem(CheckedProblem):
    """:class:`Factorisation` of some of scikit-learn's digits (the extra ``toy``).

    Each problem draws its own images, rows of ``Y`` with the mean of all images subtracted. Not
    convex, but the optimum is known: with singular values ``s_i`` of ``Y`` and a rank ``k``, it is
    ``1/2 sum_i s_i^2 - 1/2 sum_{i <= k} (s_i - ridge)_+^2`` (Eckart and Young 1936; Srebro, Rennie
    and Jaakkola 2004), taken at ``U = P S^(1/2)``, ``V = Q S^(1/2)`` with ``S = (s - ridge)_+`` and
    at every rotation of it. All other critical points are saddles or maxima.

    Parameters
    ----------
    samples : int
        Images, ``m``.
    rank : int
        Columns of both factors.
    ridge : float
        Positive.
    """

    name: ClassVar[str] = "matrix-factorisation"
    samples: int = 24
    rank: int = 4
    ridge: float = 0.1

    def shifted(self) -> Mapping[str, Problem]:
        """Ten times the ridge, and a tenth of it."""
        return {
            "conditioning": replace(self, ridge=self.ridge / 10),
            "ridge": replace(self, ridge=10 * self.ridge),
        }

    def draw(self, batch: int, dtype: torch.dtype, generator: torch.Generator | None) -> Instance:
        """Draw images; start at small random factors.

        Raises
        ------
        ImportError
            Without scikit-learn.
        """
        pixels, _ = digits(self.name)
        rows = torch.randint(len(pixels), (batch, self.samples), generator=generator)
        y = (pixels - pixels.mean(0))[rows]
        shape = (batch, self.samples + pixels.shape[1], self.rank)
        start = torch.randn(shape, generator=generator, dtype=torch.float64)
        left, values, right = torch.linalg.svd(y, full_matrices=False)
        kept = (values[:, : self.rank] - self.ridge).clamp(min=0)
        root = kept.sqrt()[:, None]
        factors = [left[..., : self.rank] * root, right.mT[..., : self.rank] * root]
        optimum = (values.square().sum(1) - kept.square().sum(1)) / 2
        return Instance(
            objective=Factorisation(y.to(dtype), self.ridge),
            x0=(start / 10).to(dtype),
            optimum=optimum.to(dtype),
            minimizer=torch.cat(factors, 1).to(dtype),
            facts={"convex": False},
        )
