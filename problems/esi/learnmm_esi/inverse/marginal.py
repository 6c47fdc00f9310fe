"""The marginal likelihood of source variances, with a majorant, and steps that lower it."""

from __future__ import annotations

from typing import Any, NamedTuple, Self

import torch
from torch import Tensor

from learnmm import Atom, Bound, Evaluation, Kind, Point, Proposer, Step
from learnmm.atoms import brought
from learnmm.curvature import DiagonalCurvature

__all__ = ["ConvexBounding", "MarginalLikelihood"]


class _Moments(NamedTuple):
    """Of a batch: ``log det C``, ``<Y, C^-1 Y> / K``, and the terms of gradient and bound."""

    determinant: Tensor  # (B,)
    misfit: Tensor  # (B,)
    spread: Tensor  # (B, n): w_j = tr(A_j^T C^-1 A_j)
    power: Tensor  # (B, n): e_j = |A_j^T C^-1 Y|^2 / K
    reach: Tensor  # (B, n): sum_i |a_ji| |a_ji^T C^-1 Y| / sqrt(K), the columns i of A_j


class MarginalLikelihood(Atom):
    """``F(q) = log det C + <Y, C^-1 Y> / K`` with ``C = diag(v) + sum_j q_j^2 A_j A_j^T``.

    Twice the negative logarithm of the probability of K samples ``Y`` per sample, up to a
    constant, if ``Y = sum_j A_j x_j + e`` with noise ``e`` of variances ``v`` and sources ``x_j``,
    the m entries of each independent and of variance ``q_j^2``. Where it is low, most ``q_j`` are
    zero (sparse Bayesian learning: Tipping 2001; for EEG Wipf et al. 2010). ``F >= 0``.

    Parameters
    ----------
    matrix : Tensor, shape (B, r, n, m)
        ``A_j`` of each recording, no column zero.
    samples : Tensor, shape (B, r, k)
        ``Y``, padded by columns of zeros.
    count : Tensor, shape (B,)
        ``K`` of each.
    floor : Tensor, shape (B, r)
        ``v``, at least one.

    Notes
    -----
    With ``w`` and ``e`` of :class:`_Moments` the gradient is ``2 q_j (w_j - e_j)``. The bound is
    `GLOBAL`, the sum of two:

    - ``log det`` is concave in ``q^2``, so its tangent there lies above: curvature ``2 w_j``;
    - ``<Y, C^-1 Y> = min_u |Y - sum_j q_j A_j u_j|^2 + |u|^2``, the first norm in the metric of
      ``1 / v``, and ``u`` stays that of this point. Jensen's inequality makes its curvature
      diagonal: with ``m_j = sum_i |a_ji| |u_ji| / sqrt(K)`` it is ``2 m_j sum_i m_i``.
    """

    def __init__(self, matrix: Tensor, samples: Tensor, count: Tensor, floor: Tensor) -> None:
        self.matrix, self.samples, self.count, self.floor = matrix, samples, count, floor
        scaled = matrix.flatten(2) / floor.sqrt()[..., None]
        self._columns = torch.linalg.vector_norm(scaled, dim=1)  # (B, n m)

    def measure(self, x: Tensor) -> tuple[Tensor, Any]:
        """Value, and what the bound needs."""
        moments = self._moments(x)
        return moments.determinant + moments.misfit, moments[2:]

    def evaluate(self, x: Tensor) -> Evaluation:
        """Closed form."""
        value, (spread, power, reach) = self.measure(x)
        return Evaluation(value, 2 * x * (spread - power), (spread, power, reach))

    def bound_at(self, x: Tensor, aux: Any) -> Bound:
        """Diagonal curvature, see the notes."""
        spread, _, reach = brought(self, aux, 3)
        reach = x.abs() * reach  # m_j
        return Bound(
            Kind.GLOBAL, DiagonalCurvature(2 * (spread + reach * reach.sum(1, keepdim=True)))
        )

    def check(self, x: Tensor) -> None:
        """One deviation per group of sources and recording."""
        expected = len(self.samples), self.matrix.shape[2]
        if x.shape != expected or x.dtype != self.matrix.dtype:
            raise ValueError(
                f"MarginalLikelihood expects deviations of shape {expected} and "
                f"{self.matrix.dtype}, got {tuple(x.shape)} and {x.dtype}"
            )

    def restricted(self, rows: Tensor) -> Self:
        """Recordings of these problems."""
        names = ("matrix", "samples", "count", "floor", "_columns")
        return self._with(**{name: getattr(self, name)[rows] for name in names})

    def mean(self, x: Tensor) -> Tensor:
        """Most probable sources for deviations: ``q_j^2 A_j^T C^-1 Y``, ``(B, n, m, k)``."""
        images = self.matrix.flatten(2).mT @ torch.cholesky_solve(self.samples, self._factor(x))
        means: Tensor = x.square()[..., None, None] * images.unflatten(1, self.matrix.shape[2:])
        return means

    def power(self, x: Tensor) -> Tensor:
        """``e``, at half of what an evaluation costs."""
        images = self.matrix.flatten(2).mT @ torch.cholesky_solve(self.samples, self._factor(x))
        return self._grouped(images.square().sum(2)) / self.count[:, None]

    def _moments(self, x: Tensor) -> _Moments:
        factor = self._factor(x)  # R with R R^T = C
        columns = self.matrix.shape[2] * self.matrix.shape[3]
        # One triangular system for both: R^-1 [A, Y].
        sides = torch.cat([self.matrix.flatten(2), self.samples], 2)
        matrix, white = torch.linalg.solve_triangular(factor, sides, upper=False).split(
            [columns, self.samples.shape[2]], 2
        )
        diagonal = torch.diagonal(factor, dim1=1, dim2=2)
        power = (matrix.mT @ white).square().sum(2) / self.count[:, None]  # of every column
        return _Moments(
            determinant=2 * diagonal.log().sum(1),
            misfit=white.square().sum((1, 2)) / self.count,
            spread=self._grouped(matrix.square().sum(1)),
            power=self._grouped(power),
            reach=self._grouped(self._columns * power.sqrt()),
        )

    def _grouped(self, values: Tensor) -> Tensor:
        """Sum what every column has over the columns of each ``A_j``."""
        sums: Tensor = values.unflatten(1, self.matrix.shape[2:]).sum(2)
        return sums

    def _factor(self, x: Tensor) -> Tensor:
        """Lower triangular ``R`` with ``R R^T = C``."""
        scaled = (self.matrix * x[:, None, :, None]).flatten(2)
        noise = torch.diag_embed(self.floor)
        factor: Tensor
        factor, failed = torch.linalg.cholesky_ex(noise + scaled @ scaled.mT)
        bad = failed > 0
        if bool(bad.any()):  # far out the noise is lost to rounding, but not in the root of C
            root = torch.cat([noise.sqrt(), scaled], 2)[bad]
            upper = torch.linalg.qr(root.mT, mode="r").R
            sign = torch.diagonal(upper, dim1=1, dim2=2).sign()
            factor = factor.index_put((bad,), (sign[..., None] * upper).mT)
        return factor


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

    def restricted(self, rows: Tensor) -> ConvexBounding:
        """Of the recordings of these problems."""
        return ConvexBounding(self.objective.restricted(rows))

    def propose(self, point: Point, memory: Any) -> Step:
        """Return the whole step; deviations of zero stay."""
        x = point.x
        power = self.objective.power(x)
        alive = x != 0
        spread = power + point.gradient / (2 * torch.where(alive, x, 1.0))  # the gradient holds w
        known = alive & (spread > 0)
        ratio = torch.where(known, power / torch.where(known, spread, 1.0), 1.0)
        return Step(x * (1 - ratio**0.25))
