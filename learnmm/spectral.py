"""Curvature that is diagonal in a basis which all problems share, such as cosines of a grid."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from learnmm.curvature import Curvature, DiagonalCurvature, require_real

__all__ = ["SpectralCurvature", "cosines", "transformed"]


@dataclass(frozen=True, eq=False)
class SpectralCurvature(Curvature):
    """``B = C^T diag(b) C`` for an orthonormal ``C``, one matrix for each dimension of a grid.

    With cosines, ``C`` is what convolutions with symmetric kernels and mirrored edges are diagonal
    in. A product with ``n x n`` unknowns costs ``8 n^3``: up to some hundred per side that is
    faster than Fourier transforms. With one dimension for all unknowns, ``C`` is any basis.

    Parameters
    ----------
    entries : Tensor
        ``b``, shape ``(B, *grid)``: that of the iterate, or another of as many unknowns.
    bases : tuple of Tensor
        ``(n_i, n_i)`` for each ``n_i`` of the grid, a vector of the basis in each row.

    Raises
    ------
    TypeError, ValueError
        For what is no real tensor, and for shapes that do not fit.

    Examples
    --------
    >>> import torch
    >>> from learnmm.spectral import SpectralCurvature, cosines
    >>> smooth = SpectralCurvature(torch.logspace(0, 3, 8)[None], (cosines(8).float(),))
    >>> flat = torch.ones(1, 8)  # the lowest frequency
    >>> torch.allclose(smooth.apply(flat), flat, atol=1e-4)
    True
    """

    entries: Tensor
    bases: tuple[Tensor, ...]

    def __post_init__(self) -> None:
        """Refuse what does not fit."""
        owner = "SpectralCurvature"
        require_real(
            owner, "entries", self.entries, None, "one entry per frequency, shape (B, *grid)"
        )
        sides = self.entries.shape[1:]
        if [tuple(basis.shape) for basis in self.bases] != [(n, n) for n in sides]:
            raise ValueError(
                f"{owner} expects a square matrix for each of the sides {tuple(sides)}, got "
                f"{', '.join(str(tuple(basis.shape)) for basis in self.bases) or 'none'}"
            )

    def power(self, v: Tensor, exponent: float) -> Tensor:
        """``C^T diag(b ** exponent) C v``."""
        inner = self._inner.power(self._seen(v), exponent)
        return transformed(inner, [basis.mT for basis in self.bases]).reshape(v.shape)

    def quad(self, v: Tensor) -> Tensor:
        """``sum_k b_k (C v)_k^2``."""
        return self._inner.quad(self._seen(v))

    def diagonal(self, like: Tensor) -> Tensor:
        """``sum_k b_k C_ki^2``."""
        squares = [basis.mT.square() for basis in self.bases]
        return transformed(self.entries, squares).reshape(like.shape)

    def largest(self) -> Tensor:
        """Largest entry per problem."""
        return self._inner.largest()

    def scaled(self, factor: Tensor | float) -> SpectralCurvature:
        """``factor * B``."""
        return replace(self, entries=self._inner.scaled(factor).entries)

    def valid(self) -> Tensor:
        """Entries finite and non-negative, at least one positive."""
        return self._inner.valid()

    def _seen(self, v: Tensor) -> Tensor:
        """``C v``, on the grid."""
        return transformed(v.reshape(len(v), *self.entries.shape[1:]), self.bases)

    @property
    def _inner(self) -> DiagonalCurvature:
        """The same in the coordinates of the basis."""
        return DiagonalCurvature(self.entries)


def transformed(v: Tensor, matrices: tuple[Tensor, ...] | list[Tensor]) -> Tensor:
    """Multiply ``(B, *grid)`` by a matrix along each dimension after the batch."""
    for axis, matrix in enumerate(matrices, 1):
        v = torch.matmul(v.transpose(axis, -1), matrix.mT).transpose(axis, -1)
    return v


def cosines(n: int) -> Tensor:
    """Orthonormal cosines ``(n, n)``, the lowest frequency first: the transform DCT-II, in float64.

    ``C_ki = sqrt(2/n) cos(pi k (2 i + 1) / (2 n))``, the first row over ``sqrt 2``.
    """
    number = torch.arange(n, dtype=torch.float64)
    waves = torch.cos(number[:, None] * (2 * number + 1) * (math.pi / (2 * n))) * math.sqrt(2 / n)
    waves[0] /= math.sqrt(2)
    return waves
