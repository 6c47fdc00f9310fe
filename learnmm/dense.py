"""Curvature of a few hundred unknowns that all depend on each other, by a factor per problem."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from learnmm.curvature import Curvature, require_real
from learnmm.vectors import dot

__all__ = ["FactoredCurvature"]


@dataclass(frozen=True, eq=False)
class FactoredCurvature(Curvature):
    """``B = b S L L^T S`` on the flattened iterate.

    A product costs ``3 n^2``. Other powers than the inverse and ``B`` itself decompose it.

    Parameters
    ----------
    root, inverse : Tensor
        ``S``, symmetric and positive definite, and its inverse, shared by the batch, ``(n, n)``.
    factor : Tensor
        ``L``, lower triangular with a positive diagonal, ``(B, n, n)``.
    level : Tensor
        ``b > 0``, ``(B,)``.

    Raises
    ------
    TypeError, ValueError
        For what is no real tensor, and for shapes that do not fit.
    """

    root: Tensor
    inverse: Tensor
    factor: Tensor
    level: Tensor

    def __post_init__(self) -> None:
        """Refuse what does not fit."""
        owner = "FactoredCurvature"
        require_real(owner, "root", self.root, 2, "one matrix for all, shape (n, n)")
        require_real(owner, "inverse", self.inverse, 2, "one matrix for all, shape (n, n)")
        require_real(owner, "factor", self.factor, 3, "a matrix per problem, shape (B, n, n)")
        require_real(owner, "level", self.level, 1, "one number per problem, shape (B,)")
        batch, size = self.factor.shape[:2]
        shapes = [tuple(part.shape) for part in (self.root, self.inverse, self.factor, self.level)]
        if shapes != [(size, size), (size, size), (batch, size, size), (batch,)]:
            raise ValueError(
                "FactoredCurvature expects root and inverse (n, n), factor (B, n, n) and level "
                f"(B,), got {', '.join(map(str, shapes))}"
            )

    def apply(self, v: Tensor) -> Tensor:
        """``B v``."""
        inner = self._factored(v)
        return self._shaped(torch.bmm(self.factor, inner)[:, :, 0] @ self.root, self.level, v)

    def solve(self, v: Tensor) -> Tensor:
        """``B^-1 v``."""
        inner = (v.flatten(1) @ self.inverse)[:, :, None]
        inner = torch.cholesky_solve(inner, self.factor)[:, :, 0]
        return self._shaped(inner @ self.inverse, 1 / self.level, v)

    def quad(self, v: Tensor) -> Tensor:
        """``b |L^T S v|^2``."""
        inner = self._factored(v)
        return self.level * dot(inner, inner)

    def power(self, v: Tensor, exponent: float) -> Tensor:
        """``B ** exponent v``."""
        if exponent == 1:
            return self.apply(v)
        if exponent == -1:
            return self.solve(v)
        values, vectors = torch.linalg.eigh(self._matrix())
        inner = (v.flatten(1)[:, None] @ vectors)[:, 0] * values.clamp(min=0) ** exponent
        turned: Tensor = (vectors @ inner[:, :, None])[:, :, 0]
        return turned.reshape(v.shape)

    def diagonal(self, like: Tensor) -> Tensor:
        """``b |L^T S e_i|^2``."""
        rows = (self.root @ self.factor).square().sum(2)
        return (self.level[:, None] * rows).reshape(like.shape)

    def largest(self) -> Tensor:
        """Largest eigenvalue."""
        values: Tensor = torch.linalg.eigvalsh(self._matrix())
        return values[:, -1]

    def scaled(self, factor: Tensor | float) -> FactoredCurvature:
        """``factor * B``."""
        return replace(self, level=self.level * factor)

    def valid(self) -> Tensor:
        """Factor and level finite, diagonal and level positive."""
        diagonal = self.factor.diagonal(dim1=1, dim2=2)
        whole = torch.isfinite(self.factor).flatten(1).all(1) & (diagonal > 0).all(1)
        return whole & (self.level > 0) & torch.isfinite(self.level)

    def _factored(self, v: Tensor) -> Tensor:
        """``L^T S v``, ``(B, n, 1)``."""
        return torch.bmm(self.factor.mT, (v.flatten(1) @ self.root)[:, :, None])

    def _matrix(self) -> Tensor:
        half = self.root @ self.factor
        return self.level[:, None, None] * (half @ half.mT)

    @staticmethod
    def _shaped(flat: Tensor, level: Tensor, like: Tensor) -> Tensor:
        return (level[:, None] * flat).reshape(like.shape)
