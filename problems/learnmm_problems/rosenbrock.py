"""The Rosenbrock valley in any number of dimensions, as a plain callable."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor

from learnmm.objective import BatchFunction
from learnmm.registry import Instance, Problem
from learnmm_problems.checked import CheckedProblem
from learnmm_problems.turned import Turned, rotations


def rosenbrock(x: Tensor) -> Tensor:
    """``sum_i 100 (x_{i+1} - x_i^2)^2 + (1 - x_i)^2`` over the last dimension."""
    head, tail = x[..., :-1], x[..., 1:]
    return (100 * (tail - head**2) ** 2 + (1 - head) ** 2).sum(-1)


@dataclass(frozen=True)
class RosenbrockProblem(CheckedProblem):
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
    turned : bool
        Whether each problem has a rotation of its own, ``f(Q x)``: else all are the same function,
        and only their starts differ.
    spread : float
        Standard deviation of the start.
    """

    name: ClassVar[str] = "rosenbrock"
    unknowns: int = 4
    turned: bool = False
    spread: float = 0.1

    @property
    def shares(self) -> str:
        """The function, unless it is turned."""
        return "" if self.turned else "function"

    def shifted(self) -> Mapping[str, Problem]:
        """Starts that are spread wider, and hardly at all."""
        return {
            "start": replace(self, spread=5 * self.spread),
            "narrow": replace(self, spread=self.spread / 10),
        }

    def draw(self, batch: int, dtype: torch.dtype, generator: torch.Generator | None) -> Instance:
        """Start around the classical ``(-1.2, 1, -1.2, 1, ...)``."""
        n = self.unknowns
        spread = torch.randn(batch, n, generator=generator, dtype=torch.float64)
        classical = torch.tensor([-1.2, 1.0], dtype=torch.float64).repeat((n + 1) // 2)[:n]
        start = classical + self.spread * spread
        minimizer = torch.ones(batch, n, dtype=torch.float64)
        objective: BatchFunction = rosenbrock
        if self.turned:
            turn = Turned(rosenbrock, rotations(batch, n, generator))
            start, minimizer = turn.back(start), turn.back(minimizer)
            objective = Turned(rosenbrock, turn.rotations.to(dtype))
        return Instance(
            objective=objective,
            x0=start.to(dtype),
            optimum=torch.zeros(batch, dtype=dtype),
            minimizer=minimizer.to(dtype),
            facts={"convex": False},
        )
