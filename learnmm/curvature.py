"""Curvature operators ``B``: symmetric, positive semidefinite, one per problem of a batch.

No ``n x n`` matrix is ever formed. A vector ``v`` has shape ``(B, *shape)``; scalars per problem
have shape ``(B,)``. Where an operator is singular, negative powers are those of the
pseudo-inverse: a direction without curvature is not moved along.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from learnmm.shards import everywhere, largest
from learnmm.vectors import dot, expand, left_multiply, norm

__all__ = [
    "Curvature",
    "DiagonalCurvature",
    "LevelCurvature",
    "LowRankCurvature",
    "ScalarCurvature",
    "add",
    "require_real",
]

CONDITION = 64.0
"""Least positive shift of a low-rank operator, in units of ``eps max(w)``."""


def _power(base: Tensor, exponent: float) -> Tensor:
    """``base ** exponent`` with zero mapped to zero (the pseudo-inverse's convention).

    A subnormal base counts as zero: its inverse would overflow.
    """
    if exponent > 0:
        return base**exponent
    positive = base >= torch.finfo(base.dtype).tiny
    return torch.where(positive, torch.where(positive, base, 1.0) ** exponent, 0.0)


class Curvature(ABC):
    """A symmetric positive semidefinite operator per problem.

    Laws (``learnmm.checks.assert_curvature``): ``solve(apply(v)) = v`` on the range,
    ``power(power(v, p), q) = power(v, p + q)``, ``quad(v) = <v, apply(v)>``,
    ``B <= largest() I``.
    """

    @abstractmethod
    def power(self, v: Tensor, exponent: float) -> Tensor:
        """Apply ``B ** exponent`` to ``v`` of shape ``(B, *shape)``."""

    @abstractmethod
    def quad(self, v: Tensor) -> Tensor:
        """Quadratic form ``<v, B v>``, shape ``(B,)``."""

    @abstractmethod
    def diagonal(self, like: Tensor) -> Tensor:
        """Diagonal of ``B`` in the coordinates of ``like``, shape of ``like``."""

    @abstractmethod
    def largest(self) -> Tensor:
        """Upper bound of the largest eigenvalue, shape ``(B,)``."""

    @abstractmethod
    def scaled(self, factor: Tensor | float) -> Curvature:
        """``factor * B`` for a non-negative number, or one per problem ``(B,)``."""

    @abstractmethod
    def valid(self) -> Tensor:
        """Whether each problem's operator is finite, non-negative and not zero; ``(B,)`` bool."""

    def apply(self, v: Tensor) -> Tensor:
        """``B v``."""
        return self.power(v, 1.0)

    def solve(self, v: Tensor) -> Tensor:
        """``B^+ v``."""
        return self.power(v, -1.0)


@dataclass(frozen=True, eq=False)
class LevelCurvature(Curvature):
    """``B = b P``: the same curvature along every direction that a projection ``P`` keeps.

    Parameters
    ----------
    value : Tensor
        ``b``, shape ``(B,)``.
    """

    value: Tensor

    def __post_init__(self) -> None:
        """Refuse what is no tensor ``(B,)``."""
        owner = type(self).__name__
        require_real(owner, "value", self.value, 1, "one curvature per problem, shape (B,)")

    @abstractmethod
    def project(self, v: Tensor) -> Tensor:
        """``P v`` for the orthogonal projection ``P``, which is not zero."""

    def power(self, v: Tensor, exponent: float) -> Tensor:
        """``b ** exponent P v``."""
        return expand(_power(self.value, exponent), v) * self.project(v)

    def quad(self, v: Tensor) -> Tensor:
        """``b |P v|^2``."""
        size = norm(self.project(v))
        return self.value * size * size  # |P v|^2 alone may overflow

    def largest(self) -> Tensor:
        """``b``."""
        return self.value

    def scaled(self, factor: Tensor | float) -> Self:
        """``factor * b P``."""
        return type(self)(self.value * factor)

    def valid(self) -> Tensor:
        """``0 < b < inf``."""
        return (self.value > 0) & torch.isfinite(self.value)


class ScalarCurvature(LevelCurvature):
    """``B = b I``.

    Parameters
    ----------
    value : Tensor
        ``b``, shape ``(B,)``.
    """

    def project(self, v: Tensor) -> Tensor:
        """``v``."""
        return v

    def diagonal(self, like: Tensor) -> Tensor:
        """``b`` everywhere."""
        return expand(self.value, like).expand_as(like)


@dataclass(frozen=True, eq=False)
class DiagonalCurvature(Curvature):
    """``B = diag(b)``.

    Parameters
    ----------
    entries : Tensor
        ``b``, shape ``(B, *shape)`` of the iterate.
    """

    entries: Tensor

    def __post_init__(self) -> None:
        """Refuse what is no tensor with the batch first."""
        require_real(
            "DiagonalCurvature",
            "entries",
            self.entries,
            None,
            "one entry per unknown, shape (B, *shape)",
        )

    def power(self, v: Tensor, exponent: float) -> Tensor:
        """Apply ``b_i ** exponent`` entrywise."""
        return _power(self.entries, exponent) * v

    def quad(self, v: Tensor) -> Tensor:
        """``sum_i b_i v_i^2``."""
        return dot(self.entries * v, v)

    def diagonal(self, like: Tensor) -> Tensor:
        """``b``."""
        return self.entries.expand_as(like)

    def largest(self) -> Tensor:
        """Largest entry per problem."""
        return largest(self.entries.reshape(self.entries.shape[0], -1).amax(1))

    def scaled(self, factor: Tensor | float) -> DiagonalCurvature:
        """``diag(factor * b)``."""
        if isinstance(factor, Tensor) and factor.dim() == 1:
            factor = expand(factor, self.entries)
        return DiagonalCurvature(self.entries * factor)

    def valid(self) -> Tensor:
        """Entries finite and non-negative, at least one positive."""
        flat = self.entries.reshape(self.entries.shape[0], -1)
        fit = torch.isfinite(flat).all(1) & (flat >= 0).all(1)
        return everywhere(fit) & ~everywhere((flat == 0).all(1))


@dataclass(frozen=True, eq=False)
class LowRankCurvature(Curvature):
    """``B = tau I + V diag(w) V^T`` on the first dimension after the batch.

    ``V`` is shared by the batch and computed once; powers cost two products with it:
    ``B^p v = tau^p (v - V V^T v) + V (tau + w)^p V^T v``.

    Parameters
    ----------
    shift : Tensor
        ``tau >= 0``, shape ``(B,)``. A positive shift is raised to ``64 eps max(w)``: below that
        the inverse would lose the directions of large ``w`` to rounding, and a larger operator is
        still a bound. A square basis leaves nothing outside to lose them to, and needs no more.
    spectrum : Tensor
        ``w >= 0``, shape ``(B, r)``.
    basis : Tensor
        ``V`` with orthonormal columns, shape ``(n, r)``.

    Raises
    ------
    TypeError, ValueError
        For what is no real tensor, and for shapes that do not fit.
    """

    shift: Tensor
    spectrum: Tensor
    basis: Tensor

    def __post_init__(self) -> None:
        """Refuse what does not fit; keep the condition within what the dtype can invert."""
        require_real(
            "LowRankCurvature", "shift", self.shift, 1, "one number per problem, shape (B,)"
        )
        require_real(
            "LowRankCurvature", "spectrum", self.spectrum, 2, "one row per problem, shape (B, r)"
        )
        require_real("LowRankCurvature", "basis", self.basis, 2, "one matrix for all, shape (n, r)")
        (batch, rank), (size, columns) = self.spectrum.shape, self.basis.shape
        if self.shift.shape[0] != batch or columns != rank:
            raise ValueError(
                "LowRankCurvature expects shift (B,), spectrum (B, r) and basis (n, r), got "
                f"{tuple(self.shift.shape)}, {(batch, rank)} and {(size, columns)}"
            )
        if 0 < rank < size:
            least = CONDITION * torch.finfo(self.spectrum.dtype).eps * self.spectrum.amax(1)
            shift = torch.where(self.shift > 0, torch.maximum(self.shift, least), self.shift)
            object.__setattr__(self, "shift", shift)

    def _project(self, v: Tensor) -> Tensor:
        """``V^T v``, shape ``(B, r, *rest)``."""
        return left_multiply(self.basis.mT, v)

    def power(self, v: Tensor, exponent: float) -> Tensor:
        """Apply ``B ** exponent`` through the shared basis."""
        outer = _power(self.shift, exponent)
        if self.basis.shape[0] == self.basis.shape[1]:
            # Nothing lies outside: v - V V^T v is rounding, which a negative power would blow up.
            outer = torch.zeros_like(outer)
        gain = _power(self.shift[:, None] + self.spectrum, exponent) - outer[:, None]
        inner = self._project(v)
        inner = inner * gain.reshape(*gain.shape, *([1] * (inner.dim() - 2)))
        return expand(outer, v) * v + left_multiply(self.basis, inner)

    def quad(self, v: Tensor) -> Tensor:
        """``tau |v|^2 + sum_i w_i |V_i^T v|^2``."""
        inner, size = self._project(v), norm(v)
        weights = self.spectrum.reshape(*self.spectrum.shape, *([1] * (inner.dim() - 2)))
        return self.shift * size * size + dot(weights * inner, inner)

    def diagonal(self, like: Tensor) -> Tensor:
        """``tau + sum_k w_k V_ik^2``, broadcast over trailing dimensions."""
        rows = self.shift[:, None] + self.spectrum @ (self.basis * self.basis).mT
        return rows.reshape(*rows.shape, *([1] * (like.dim() - 2))).expand_as(like)

    def largest(self) -> Tensor:
        """``tau + max w``; the basis may be empty (a matrix of zeros)."""
        return torch.cat([self.shift[:, None], self.shift[:, None] + self.spectrum], 1).amax(1)

    def scaled(self, factor: Tensor | float) -> LowRankCurvature:
        """``factor * B``, in the same basis."""
        spread = factor[:, None] if isinstance(factor, Tensor) and factor.dim() else factor
        return LowRankCurvature(self.shift * factor, self.spectrum * spread, self.basis)

    def valid(self) -> Tensor:
        """Shift and spectrum finite and non-negative, not all zero."""
        every = torch.cat([self.shift[:, None], self.spectrum], 1)
        return torch.isfinite(every).all(1) & (every >= 0).all(1) & (every > 0).any(1)


def require_real(owner: str, name: str, value: Tensor, dims: int | None, shape: str) -> None:
    """Raise unless `value` is a real floating-point tensor of the right number of dimensions.

    Raises
    ------
    TypeError
        For what is no such tensor.
    ValueError
        For another number of dimensions than `dims`; None stands for any but zero.
    """
    if not isinstance(value, Tensor):
        raise TypeError(
            f"{owner}.{name} must be a torch.Tensor ({shape}), got {type(value).__name__}"
        )
    if not value.is_floating_point():
        raise TypeError(f"{owner}.{name} must be real floating-point numbers, got {value.dtype}")
    if value.dim() != dims if dims is not None else value.dim() == 0:
        raise ValueError(f"{owner}.{name} must hold {shape}, got {tuple(value.shape)}")


def add(a: Curvature, b: Curvature) -> Curvature:
    """Operator that dominates ``a + b`` in the Loewner order, and equals it where it can.

    Scalars and diagonals add exactly; so do low-rank operators that share a basis, and a
    low-rank operator plus a scalar. Otherwise the part that does not fit is replaced by its
    largest eigenvalue, which is larger, hence still a bound.
    """
    match a, b:
        case ScalarCurvature(), ScalarCurvature():
            return ScalarCurvature(a.value + b.value)
        case DiagonalCurvature(), DiagonalCurvature():
            return DiagonalCurvature(a.entries + b.entries)
        case DiagonalCurvature(), ScalarCurvature():
            return DiagonalCurvature(a.entries + expand(b.value, a.entries))
        case LowRankCurvature(), LowRankCurvature() if a.basis is b.basis:
            return LowRankCurvature(a.shift + b.shift, a.spectrum + b.spectrum, a.basis)
        case LowRankCurvature(), _:
            return LowRankCurvature(a.shift + b.largest(), a.spectrum, a.basis)
        case (_, LowRankCurvature()) | (ScalarCurvature(), DiagonalCurvature()):
            return add(b, a)
    return ScalarCurvature(a.largest() + b.largest())
