"""The Rosenbrock valley in any number of dimensions, as a plain callable."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from learnmm.registry import Instance, Problem


def rosenbrock(x: Tensor) -> Tensor:
    """``sum_i 100 (x_{i+1} - x_i^2)^2 + (1 - x_i)^2`` over the last dimension."""
    head, tail = x[..., :-1], x[..., 1:]
    return (100 * (tail - head**2) ** 2 + (1 - head) ** 2).sum(-1)


@dataclass(frozen=True)
class RosenbrockProblem(Problem):
    """``f(x) = sum_i 100 (x_{i+1} - x_i^2)^2 + (1 - x_i)^2`` (Rosenbrock 1960, chained form).

    The optimum is 0, taken at ones and nowhere else. From four unknowns on there is one more
    local minimum near ``(-1, 1, ..., 1)``. At the minimizer of two unknowns the Hessian has
    condition number 2508.

    There is no majorant in closed form, and no `GLOBAL` one at all: along ``x_i`` the objective
    grows with the fourth power, which no quadratic majorizes. Solvers fall back on Lanczos.

    Parameters
    ----------
    unknowns : int
        Length of ``x``, at least 2.
    """

    name: ClassVar[str] = "rosenbrock"
    unknowns: int = 4

    def draw(self, batch: int, dtype: torch.dtype, generator: torch.Generator | None) -> Instance:
        """Start around the classical ``(-1.2, 1, -1.2, 1, ...)``."""
        n = self.unknowns
        spread = torch.randn(batch, n, generator=generator, dtype=torch.float64) / 10
        classical = torch.tensor([-1.2, 1.0], dtype=torch.float64).repeat((n + 1) // 2)[:n]
        return Instance(
            objective=rosenbrock,
            x0=(classical + spread).to(dtype),
            optimum=torch.zeros(batch, dtype=dtype),
            minimizer=torch.ones(batch, n, dtype=dtype),
            facts={"convex": False},
        )
