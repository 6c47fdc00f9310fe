"""Matrix completion: ratings that were not given, from those that were."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor

from learnmm.registry import Instance, Problem
from learnmm_problems.checked import CheckedProblem
from learnmm_problems.shared import common, shared_by


@dataclass(frozen=True)
class MatrixCompletionProblem(CheckedProblem):
    """``f(U, V) = 1/2 |M (U V^T - Y)|^2 + ridge/2 (|U|^2 + |V|^2)``, ``x`` being ``U`` above ``V``.

    ``M`` keeps the entries that are known. Items have the same properties in every problem, users
    are new, and so is what changes in the items: ``Y = U* (V* + change)^T`` and noise. Not convex;
    ``U`` and ``V`` can be turned together. No closed form of the optimum, no `GLOBAL` bound.

    Parameters
    ----------
    users, items, rank : int
        Rows and columns of ``Y``, and columns of ``U`` and ``V``.
    known : float
        Share of entries.
    ridge : float
        Positive.
    change : float
        Standard deviation of what is new about items.
    noise : float
        Standard deviation of the entries.
    operator_seed : int or None
        Of ``M``, ``V*`` and the start, which by default are those of every batch. None: each batch
        has its own.
    """

    name: ClassVar[str] = "matrix-completion"
    users: int = 8
    items: int = 6
    rank: int = 2
    known: float = 0.6
    ridge: float = 0.1
    change: float = 0.2
    noise: float = 0.05
    operator_seed: int | None = 0

    @property
    def shares(self) -> str:
        """Which entries are known, and the items, if they have a seed."""
        return shared_by(self.operator_seed, "mask and items")

    def shifted(self) -> Mapping[str, Problem]:
        """A third of the ridge; items that change more; five times the noise."""
        return {
            "conditioning": replace(self, ridge=self.ridge / 3),
            "data": replace(self, change=2 * self.change),
            "noise": replace(self, noise=5 * self.noise),
        }

    def draw(self, batch: int, dtype: torch.dtype, generator: torch.Generator | None) -> Instance:
        """Draw users, changes and noise; start at small factors."""
        m, n, k = self.users, self.items, self.rank
        operator = common(self.operator_seed, generator)
        known = torch.rand(m, n, generator=operator, dtype=torch.float64) < self.known
        properties = torch.randn(n, k, generator=operator, dtype=torch.float64)
        start = torch.randn(m + n, k, generator=operator, dtype=torch.float64) / 10
        tastes = torch.randn(batch, m, k, generator=generator, dtype=torch.float64)
        change = torch.randn(batch, n, k, generator=generator, dtype=torch.float64)
        noise = torch.randn(batch, m, n, generator=generator, dtype=torch.float64)
        truth = tastes @ (properties + self.change * change).mT
        y = (truth + self.noise * noise).to(dtype)
        mask = known.to(dtype)

        def objective(x: Tensor) -> Tensor:
            missed = mask * (x[:, :m] @ x[:, m:].mT - y)
            return (missed.square().sum((1, 2)) + self.ridge * x.square().sum((1, 2))) / 2

        return Instance(
            objective=objective,
            x0=start.to(dtype).expand(batch, -1, -1).clone(),
            data=y[:, known],
            facts={"truth": truth.to(dtype), "convex": False},
        )
