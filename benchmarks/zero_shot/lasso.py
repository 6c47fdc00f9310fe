"""The LASSO problems of Open-L2O, drawn anew: one at a time, or as a family to be learned."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor

from learnmm.registry import Instance, Problem

ACTIVE, NOISE, WEIGHT = 0.1, 0.01, 0.005
SMOOTHING = 1e-3
"""Of absolute values: ``sqrt(x^2 + s^2) - s``, so that there is a gradient everywhere."""


class Drawn(NamedTuple):
    """One problem: ``A`` with unit columns ``(m, n)``, ``b`` ``(m,)`` and a start ``(n,)``."""

    matrix: Tensor
    measured: Tensor
    start: Tensor


def drawn(
    generator: torch.Generator | None, m: int, n: int, active: float = ACTIVE, noise: float = NOISE
) -> Drawn:
    """Draw a matrix, a sparse truth in noise, and a start, in float64."""

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    a = normal(m, n)
    a = a / torch.linalg.vector_norm(a, dim=0)
    rare = torch.rand(n, generator=generator, dtype=torch.float64) < active
    return Drawn(a, a @ (normal(n) * rare) + noise * normal(m), normal(n))


def objective(matrix: Tensor, measured: Tensor) -> Callable[[Tensor], Tensor]:
    """``|A x - b|^2 / 2 + 0.005 |x|_1``, smoothed, for one ``A`` or one per problem."""

    def fun(x: Tensor) -> Tensor:
        size = (x.square() + SMOOTHING**2).sqrt() - SMOOTHING
        off = (matrix @ x[:, :, None])[:, :, 0] - measured
        return off.square().sum(1) / 2 + WEIGHT * size.sum(1)

    return fun


@dataclass(frozen=True)
class OpenLasso(Problem):
    """Problems with a matrix each; what tells them apart is ``A^T A`` and ``A^T b``.

    Parameters
    ----------
    measurements, unknowns : int
        Shape of ``A``.
    active : float
        Share of unknowns that are not zero.
    noise : float
        Standard deviation of the noise.
    """

    name: ClassVar[str] = "open-l2o-lasso"
    measurements: int = 5
    unknowns: int = 10
    active: float = ACTIVE
    noise: float = NOISE

    def shifted(self) -> Mapping[str, Problem]:
        """Twice the active unknowns; ten times the noise."""
        return {
            "data": replace(self, active=2 * self.active),
            "noise": replace(self, noise=10 * self.noise),
        }

    def draw(self, batch: int, dtype: torch.dtype, generator: torch.Generator | None) -> Instance:
        """Draw them one after the other."""
        m, n = self.measurements, self.unknowns
        every = [drawn(generator, m, n, self.active, self.noise) for _ in range(batch)]
        a, b, x0 = (torch.stack(part).to(dtype) for part in zip(*every, strict=True))
        upper = torch.triu_indices(n, n)
        products = (a.mT @ a)[:, upper[0], upper[1]]
        along = (a.mT @ b[:, :, None])[:, :, 0]
        return Instance(objective(a, b), x0, data=torch.cat([products, along], 1))


def families() -> dict[str, Problem]:
    """Both sizes, by name."""
    return {
        f"open-l2o-lasso-{m}x{n}": OpenLasso(measurements=m, unknowns=n)
        for m, n in ((5, 10), (25, 50))
    }
