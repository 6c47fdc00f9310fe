"""The problems: everything that is installed, one start each, and a few batches of many starts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

import learnmm as lmm
from learnmm.objective import BatchFunction
from learnmm_problems.mgh import FUNCTIONS, MGHProblem

SEED = 2026
DOUBLE = torch.float64

ELSEWHERE = {"eeg-erp"}
"""Measured at its own size by ``python -m benchmarks.esi_iteration``."""


@dataclass(frozen=True)
class Case:
    """A batch of problems to be solved.

    Attributes
    ----------
    name : str
        Of the problem.
    objective : Objective or callable
        ``(B, *shape) -> (B,)``.
    x0 : Tensor
        ``(B, *shape)``, float64.
    optimum : Tensor or None
        Least values known, ``(B,)``.
    majorant : callable or None
        As in :class:`learnmm.Instance`.
    alone : callable
        ``i`` to the objective of that problem alone, ``(1, *shape) -> (1,)``.
    """

    name: str
    objective: lmm.Objective | BatchFunction
    x0: Tensor
    optimum: Tensor | None
    majorant: Any
    alone: Callable[[int], lmm.Objective | BatchFunction]

    @property
    def batch(self) -> int:
        """Number of problems."""
        return len(self.x0)

    def one(self, i: int) -> Case:
        """Problem `i` by itself."""
        optimum = None if self.optimum is None else self.optimum[i : i + 1]
        objective = self.alone(i)
        return replace(
            self,
            objective=objective,
            x0=self.x0[i : i + 1],
            optimum=optimum,
            alone=lambda _: objective,
        )

    def fun(self, x: Tensor) -> Tensor:
        """``f(x)`` of a single problem, ``(*shape) -> ()``: what other libraries are given."""
        return self.objective(x[None])[0]


def _case(name: str, problem: lmm.Problem, batch: int) -> Case:
    drawn = problem.instance(batch, generator=torch.Generator().manual_seed(SEED), dtype=DOUBLE)
    return Case(
        name, drawn.objective, drawn.x0, drawn.optimum, drawn.majorant, lambda _: drawn.objective
    )


def singles() -> dict[str, Callable[[], Case]]:
    """Every installed problem by name, the Moré-Garbow-Hillstrom set function by function."""
    cases: dict[str, Callable[[], Case]] = {}
    for name in lmm.problems():
        if name == MGHProblem.name:
            for function in FUNCTIONS:
                cases[f"mgh/{function}"] = lambda f=function: _case(f, MGHProblem(f), 1)
        elif name not in ELSEWHERE:
            cases[name] = lambda n=name: _case(n, lmm.problem(n), 1)
    return cases


def _starts(function: str) -> Callable[[int], Case]:
    """One function, many starts."""
    return lambda batch: _case(function, MGHProblem(function), batch)


def _logistic(batch: int) -> Case:
    """Logistic regressions that share their features, every problem with labels of its own."""
    case = _case("logistic-regression", lmm.problem("logistic-regression"), batch)
    fit, ridge = case.objective.parts

    def alone(i: int) -> lmm.Atom:
        labels, center = fit.atom.target[i : i + 1], ridge.target[i : i + 1]
        return lmm.Logistic(labels) @ fit.linear + lmm.Quadratic(center, ridge.weight)

    return replace(case, alone=alone)


BATCHES: dict[str, Callable[[int], Case]] = {
    "rosenbrock": _starts("rosenbrock"),
    "extended-rosenbrock": _starts("extended-rosenbrock"),
    "extended-powell": _starts("extended-powell"),
    "logistic-regression": _logistic,
}
"""Families of which a batch of any size can be drawn, and any problem of it solved alone."""
