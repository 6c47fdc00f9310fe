"""The marginal likelihood of source variances, with a majorant, and steps that lower it."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from learnmm import Atom, Bound, Evaluation, Kind, Point, Proposer, Step
from learnmm.atoms import brought
from learnmm.curvature import DiagonalCurvature

__all__ = ["ConvexBounding", "MarginalLikelihood"]

PART_VALUES = 2**22
"""Numbers of a working array: batches are taken in parts of this size (32 MiB in float64)."""


class _Moments(NamedTuple):
    """Of a batch: ``log det C``, ``<Y, C^-1 Y> / K``, and per source the terms of the gradient."""

    determinant: Tensor  # (B,)
    misfit: Tensor  # (B,)
    spread: Tensor  # (B, n): w_j = a_j^T C^-1 a_j
    power: Tensor  # (B, n): e_j = |a_j^T C^-1 Y|^2 / K


class MarginalLikelihood(Atom):
    """``F(q) = log det C + <Y, C^-1 Y> / K`` with ``C = I + A diag(q^2) A^T``.

    Twice the negative logarithm of the probability of K samples ``Y`` per sample, up to a
    constant, if ``Y = A x + e`` with noise ``e`` of variance one and sources ``x_j`` of variance
    ``q_j^2``. Where it is low, most ``q_j`` are zero (sparse Bayesian learning: Tipping 2001; for
    EEG Wipf et al. 2010). ``F >= 0``.

    Parameters
    ----------
    matrix : Tensor, shape (r, n)
        ``A``, no column zero.
    samples : Tensor, shape (B, r, k)
        ``Y``, padded by columns of zeros.
    count : Tensor, shape (B,)
        ``K`` of each.

    Notes
    -----
    With ``w`` and ``e`` of :class:`_Moments` the gradient is ``2 q_j (w_j - e_j)``. The bound is
    `GLOBAL`, the sum of two:

    - ``log det`` is concave in ``q^2``, so its tangent there lies above: curvature ``2 w_j``;
    - ``<Y, C^-1 Y> = min_u |Y - A diag(q) u|^2 + |u|^2``, and ``u`` stays that of this point:
      curvature ``2 diag(u) A^T A diag(u)``, which Jensen's inequality makes diagonal. With
      ``m_j = |u_j| / sqrt(K) = q_j sqrt(e_j)`` it is ``2 |a_j| m_j sum_i |a_i| m_i``.
    """

    def __init__(self, matrix: Tensor, samples: Tensor, count: Tensor) -> None:
        self.matrix, self.samples, self.count = matrix, samples, count
        self._columns = torch.linalg.vector_norm(matrix, dim=0)

    def measure(self, x: Tensor) -> tuple[Tensor, Any]:
        """Value, and what the bound needs."""
        moments = self._moments(x)
        return moments.determinant + moments.misfit, (moments.spread, moments.power)

    def evaluate(self, x: Tensor) -> Evaluation:
        """Closed form."""
        value, (spread, power) = self.measure(x)
        return Evaluation(value, 2 * x * (spread - power), (spread, power))

    def bound_at(self, x: Tensor, aux: Any) -> Bound:
        """Diagonal curvature, see the notes."""
        spread, power = brought(self, aux, 2)
        reach = self._columns * x.abs() * power.sqrt()  # |a_j| m_j
        return Bound(
            Kind.GLOBAL, DiagonalCurvature(2 * (spread + reach * reach.sum(1, keepdim=True)))
        )

    def check(self, x: Tensor) -> None:
        """One deviation per source and recording."""
        expected = len(self.samples), self.matrix.shape[1]
        if x.shape != expected or x.dtype != self.matrix.dtype:
            raise ValueError(
                f"MarginalLikelihood expects deviations of shape {expected} and "
                f"{self.matrix.dtype}, got {tuple(x.shape)} and {x.dtype}"
            )

    def mean(self, x: Tensor) -> Tensor:
        """Most probable sources for deviations ``x``: ``diag(q^2) A^T C^-1 Y``, ``(B, n, k)``."""
        parts = []
        for part, y in zip(self._parts(x), self._parts(self.samples), strict=True):
            images = self.matrix.mT @ torch.cholesky_solve(y, self._factor(part))
            parts.append(part.square()[..., None] * images)
        return torch.cat(parts)

    def standardized(self, x: Tensor) -> Tensor:
        """Power of the sources over that of the estimate by chance, ``e_j / w_j``, ``(B, n)``.

        For ``x`` the same everywhere that is the square of sLORETA.
        """
        moments = self._moments(x)
        return moments.power / moments.spread

    def power(self, x: Tensor) -> Tensor:
        """``e``, at half of what an evaluation costs."""
        parts = []
        for part, y, count in zip(*map(self._parts, (x, self.samples, self.count)), strict=True):
            images = self.matrix.mT @ torch.cholesky_solve(y, self._factor(part))
            parts.append(images.square().sum(2) / count[:, None])
        return torch.cat(parts)

    def _moments(self, x: Tensor) -> _Moments:
        parts = [
            self._part(*part)
            for part in zip(*map(self._parts, (x, self.samples, self.count)), strict=True)
        ]
        return _Moments(*(torch.cat(pieces) for pieces in zip(*parts, strict=True)))

    def _part(self, x: Tensor, y: Tensor, count: Tensor) -> _Moments:
        factor = self._factor(x)  # R with R R^T = C
        # One triangular system for both: R^-1 [A, Y].
        sides = torch.cat([self.matrix.expand(len(x), -1, -1), y], 2)
        matrix, white = torch.linalg.solve_triangular(factor, sides, upper=False).split(
            [x.shape[1], y.shape[2]], 2
        )
        diagonal = torch.diagonal(factor, dim1=1, dim2=2)
        return _Moments(
            determinant=2 * diagonal.log().sum(1),
            misfit=white.square().sum((1, 2)) / count,
            spread=matrix.square().sum(1),
            power=(matrix.mT @ white).square().sum(2) / count[:, None],
        )

    def _factor(self, x: Tensor) -> Tensor:
        """Lower triangular ``R`` with ``R R^T = C``."""
        scaled = self.matrix * x[:, None]
        identity = torch.eye(len(self.matrix), dtype=x.dtype, device=x.device).expand(
            len(x), -1, -1
        )
        factor: Tensor
        factor, failed = torch.linalg.cholesky_ex(identity + scaled @ scaled.mT)
        bad = failed > 0
        if bool(bad.any()):  # far out the identity is lost to rounding, but not in the root of C
            root = torch.cat([identity, scaled], 2)[bad]
            upper = torch.linalg.qr(root.mT, mode="r").R
            sign = torch.diagonal(upper, dim1=1, dim2=2).sign()
            factor = factor.index_put((bad,), (sign[..., None] * upper).mT)
        return factor

    def _parts(self, tensor: Tensor) -> tuple[Tensor, ...]:
        parts: tuple[Tensor, ...] = tensor.split(max(1, PART_VALUES // self.matrix.numel()))
        return parts


class ConvexBounding(Proposer):
    """``q_j <- q_j (e_j / w_j)^(1/4)``: the minimizer of a separable majorant of `F`.

    With the tangent of ``log det C`` and ``<Y, C^-1 Y> <= |Y - A x|^2 + sum_j x_j^2 / q_j^2`` for
    the sources ``x`` of this point (Hashemi et al. 2021, "Unification of sparse Bayesian learning
    algorithms for electromagnetic brain imaging with the majorization minimization framework",
    Section 3; Wipf et al. 2010). It lies above everywhere, but is no parabola, and its steps are
    much longer than those of the diagonal bound. The loop verifies each.

    Parameters
    ----------
    objective : MarginalLikelihood
        Of the same recordings.
    """

    remembers_points = True

    def __init__(self, objective: MarginalLikelihood) -> None:
        self.objective = objective

    def propose(self, point: Point, memory: Any) -> Step:
        """Return the whole step; deviations of zero stay."""
        x = point.x
        power = self.objective.power(x)
        alive = x != 0
        spread = power + point.gradient / (2 * torch.where(alive, x, 1.0))  # the gradient holds w
        known = alive & (spread > 0)
        ratio = torch.where(known, power / torch.where(known, spread, 1.0), 1.0)
        return Step(x * (1 - ratio**0.25))
