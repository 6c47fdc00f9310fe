"""An affine space near which the Hessians of a family lie, and what pairs tell of them there."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from learnmm.curvature import Curvature
from learnmm.dense import FactoredCurvature
from learnmm.proposers.metric import Metric, check_unknowns, roots_of
from learnmm.truth import known

FORGET = 0.8
"""Weight of what earlier pairs told, at each new one: Hessians change along the way."""

SHRINK = (1.0, 0.5)
"""Shares of an estimate that are tried until it is positive definite; then the mean is taken."""

FLOOR = 0.01
"""Least that the mean Hessian is in units of itself, where it has hardly any curvature."""


class Belief(NamedTuple):
    """Where in the space the Hessian of each problem is believed to be.

    Attributes
    ----------
    prior : Tensor
        Coefficients that were predicted, ``(B, k)``.
    normal, right : Tensor
        Matrix and right-hand side of the normal equations of all pairs, ``(B, k, k)``, ``(B, k)``.
    factor : Tensor
        Cholesky factor of the Hessian, whitened, ``(B, n, n)``.
    """

    prior: Tensor
    normal: Tensor
    right: Tensor
    factor: Tensor


class HessianSpace(Metric):
    """``H = S (A_0 + sum_k c_k P_k) S``: coefficients are predicted, and corrected by the pairs.

    ``S`` is the root of the family's mean Hessian, ``A_0`` the mean of ``S^-1 H S^-1`` over it,
    and ``P_k`` are the principal directions of those. Each step ``s`` with its change of gradient
    ``y`` is ``n`` linear equations ``S^-1 y = (A_0 + sum_k c_k P_k) S s`` for ``k`` unknowns, so a
    few pairs tell the coefficients: least squares, with the spread of ``c`` in training as prior
    and what the space leaves out as noise. That is quasi-Newton as Gaussian regression (Hennig and
    Kiefel 2013) with the covariance of the family in place of one that knows nothing of it.

    Parameters
    ----------
    unknowns, directions : int
        ``n`` and ``k``.
    """

    root: Tensor
    inverse: Tensor
    base: Tensor
    principal: Tensor
    variance: Tensor
    noise: Tensor

    def __init__(self, unknowns: int, directions: int) -> None:
        super().__init__()
        n, k = unknowns, directions
        for name, start in (
            ("root", torch.eye(n)),
            ("inverse", torch.eye(n)),
            ("base", torch.eye(n)),
            ("principal", torch.zeros(k, n, n)),
            ("variance", torch.ones(k)),
            ("noise", torch.ones(())),
        ):
            self.register_buffer(name, start.double())

    @property
    def directions(self) -> int:
        """How many there are."""
        return len(self.variance)

    def believed(self, coefficients: Tensor) -> Belief:
        """Return the belief before the first pair, from coefficients ``(B, k)``."""
        k = self.directions
        return Belief(
            prior=coefficients,
            normal=coefficients.new_zeros(len(coefficients), k, k),
            right=torch.zeros_like(coefficients),
            factor=self.factor(coefficients),
        )

    def prepare(self, x: Tensor, gradient: Tensor) -> Belief:
        """Believe in the mean."""
        check_unknowns(x, len(self.root))
        return self.believed(x.new_zeros(len(x), self.directions))

    def observe(self, move: Tensor, change: Tensor, memory: Belief) -> Belief:
        """Take in a pair that has seen curvature."""
        step, changed = move.flatten(1), change.flatten(1)
        dtype = move.dtype
        inner = step @ self.root.to(dtype)
        length = torch.linalg.vector_norm(inner, dim=1)
        useful = ((step * changed).sum(1) > 0) & torch.isfinite(length)
        size = torch.where(useful, length, 1.0)[:, None]
        inner, outer = inner / size, (changed @ self.inverse.to(dtype)) / size
        useful = useful & torch.isfinite(outer).all(1)
        directions = torch.einsum("kij,bj->bki", self.principal.to(dtype), inner)
        rest = outer - inner @ self.base.to(dtype)
        normal = FORGET * memory.normal + directions @ directions.mT
        right = FORGET * memory.right + torch.einsum("bki,bi->bk", directions, rest)
        weight = (self.noise / self.variance).to(dtype)
        told = (right + weight * memory.prior)[:, :, None]
        matrix = torch.where(useful[:, None, None], normal, 0.0) + torch.diag_embed(weight)
        coefficients = torch.linalg.solve(matrix, told)[:, :, 0]
        taken = useful & torch.isfinite(coefficients).all(1)
        factor = self.factor(torch.where(taken[:, None], coefficients, memory.prior))
        return Belief(
            prior=memory.prior,
            normal=torch.where(taken[:, None, None], normal, memory.normal),
            right=torch.where(taken[:, None], right, memory.right),
            factor=torch.where(taken[:, None, None], factor, memory.factor),
        )

    def curvature(self, x: Tensor, memory: Belief) -> Curvature:
        """Return what is believed."""
        check_unknowns(x, len(self.root))
        root, inverse = self.root.to(x.dtype), self.inverse.to(x.dtype)
        return FactoredCurvature(root, inverse, memory.factor, x.new_ones(len(x)))

    def factor(self, coefficients: Tensor) -> Tensor:
        """Cholesky factor of the largest share of ``A_0 + sum c P`` that is positive definite."""
        base = self.base.to(coefficients.dtype)
        part = torch.einsum("bk,kij->bij", coefficients, self.principal.to(coefficients.dtype))
        mean: Tensor = torch.linalg.cholesky_ex(base)[0]
        factor = mean.expand(len(coefficients), -1, -1)
        found = torch.zeros(len(coefficients), dtype=torch.bool, device=base.device)
        for share in SHRINK:
            wanted, bad = torch.linalg.cholesky_ex(base + share * part)
            good = (bad == 0) & torch.isfinite(wanted.diagonal(dim1=1, dim2=2)).all(1) & ~found
            factor = torch.where(good[:, None, None], wanted, factor)
            found = found | good
            if known(found.all()):
                break
        return factor


def fitted_space(hessians: Tensor, most: int) -> tuple[HessianSpace, Tensor]:
    """Return the space of some Hessians, and their coefficients there.

    Parameters
    ----------
    hessians : Tensor
        ``(M, n, n)``, symmetric.
    most : int
        Most directions.

    Returns
    -------
    HessianSpace
        With directions for all but rounding, or `most`.
    Tensor
        ``(M, k)``.
    """
    count, n = hessians.shape[:2]
    root, inverse = roots_of(hessians.mean(0))
    whitened = inverse @ hessians @ inverse
    # Where the mean has next to no curvature, the root has a little more, and this less than one.
    level, turn = torch.linalg.eigh(whitened.mean(0))
    base = (turn * level.clamp(min=FLOOR)) @ turn.mT
    flat = (whitened - base).reshape(count, -1)
    values, vectors = torch.linalg.eigh(flat @ flat.mT)
    values, vectors = values.flip(0).clamp(min=0), vectors.flip(1)
    wanted = min(most, count - 1, int((values > 1e-10 * n * count).sum()))
    space = HessianSpace(n, wanted)
    sizes = values[:wanted].sqrt()
    principal = ((vectors[:, :wanted] / sizes).mT @ flat).reshape(wanted, n, n)
    left_out = values[wanted:].sum() / (n * max(1, count - 1))
    for name, part in (
        ("root", root),
        ("inverse", inverse),
        ("base", base),
        ("principal", principal),
        ("variance", values[:wanted] / max(1, count - 1)),
        ("noise", left_out + 1e-4),
    ):
        getattr(space, name).copy_(part)
    return space, vectors[:, :wanted] * sizes


def coefficients_of(space: HessianSpace, hessians: Tensor) -> Tensor:
    """Coefficients of other Hessians, ``(M, k)``."""
    rest = space.inverse @ hessians @ space.inverse - space.base
    return torch.einsum("mij,kij->mk", rest, space.principal)
