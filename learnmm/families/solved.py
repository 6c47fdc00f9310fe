"""Instances of a family with their solutions: what a start and a metric are learned from."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import Tensor

from learnmm.hessian import SecondDerivativeError, hessian_product
from learnmm.objective import Objective, as_objective
from learnmm.proposers.limited_memory import LimitedMemory
from learnmm.registry import Instance, Problem
from learnmm.solve.minimizing import minimize
from learnmm.solve.settings import SolveSettings

CHUNK = 64
"""Instances that are drawn and solved at a time: the same ones, however many are asked for."""

PAIRS = 20
LONGEST = 2000
"""Steps of a solve whose end counts as the solution."""

SAME = 1e-6
"""By how much values may differ that were computed elsewhere, as a share of the largest."""


@dataclass(frozen=True)
class Solved:
    """Solved instances of a family, in float64.

    Attributes
    ----------
    x0, gradient : Tensor
        Start and gradient there, ``(N, *shape)``.
    data : Tensor or None
        What tells them apart, ``(N, d)``, where the family says it.
    minimizer : Tensor
        ``(N, *shape)``.
    initial, optimum : Tensor
        Objective at both, ``(N,)``.
    hessians : Tensor
        At the first solutions, ``(M, n, n)``; ``M`` may be 0.
    evaluations : Tensor
        Evaluations that all this took, Hessian-vector products counted as two, ``()``.
    """

    x0: Tensor
    gradient: Tensor
    data: Tensor | None
    minimizer: Tensor
    initial: Tensor
    optimum: Tensor
    hessians: Tensor
    evaluations: Tensor

    def tensors(self) -> dict[str, Tensor]:
        """By name, for a file."""
        parts = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: part.contiguous() for name, part in parts.items() if part is not None}

    @staticmethod
    def joined(parts: list[Solved]) -> Solved:
        """One after the other."""
        names = [name for name in parts[0].tensors() if name != "evaluations"]
        rows = {name: torch.cat([getattr(part, name) for part in parts]) for name in names}
        total = torch.stack([part.evaluations for part in parts]).sum()
        return Solved.of({**rows, "evaluations": total})

    @staticmethod
    def of(tensors: Mapping[str, Tensor]) -> Solved:
        """Build it from what :meth:`tensors` returned."""
        parts: dict[str, Any] = {"data": None, **tensors}
        return Solved(**parts)

    def of_instance(self, instance: Instance) -> bool:
        """Whether these are the solved problems of an instance, up to rounding elsewhere."""
        if self.x0.shape != instance.x0.shape or (self.data is None) != (instance.data is None):
            return False
        with torch.no_grad():
            there = as_objective(instance.objective).evaluate(instance.x0)
        pairs = [(self.x0, instance.x0), (self.gradient, there.gradient)]
        pairs += [(self.initial, there.value)]
        if self.data is not None and instance.data is not None:
            pairs += [(self.data, instance.data)]
        return all(
            a.shape == b.shape and bool(((a - b).abs() <= SAME * b.abs().amax()).all())
            for a, b in pairs
        )


def drawn(family: Problem, seed: int, chunk: int) -> Instance:
    """Draw chunk number `chunk` of a stream of instances."""
    generator = torch.Generator().manual_seed(1_000_003 * seed + chunk)
    return family.instance(CHUNK, generator=generator, dtype=torch.float64)


def solve(instance: Instance, curved: int = 0) -> Solved:
    """Solve a batch by limited memory; take Hessians at the first `curved` solutions."""
    x0 = instance.x0
    objective = as_objective(instance.objective)
    with torch.no_grad():
        there = objective.evaluate(x0)
    result = minimize(
        objective,
        x0,
        majorant=instance.majorant,
        proposer=LimitedMemory(PAIRS),
        settings=SolveSettings(max_iter=LONGEST),
    )
    count = x0[0].numel()
    curved = min(curved, len(x0))
    second = hessians(objective, result.x)[:curved] if curved else x0.new_zeros(0, count, count)
    spent = len(x0) + int(result.iterations.sum()) + 2 * len(x0) * count * bool(curved)
    return Solved(
        x0=x0,
        gradient=there.gradient.detach(),
        data=instance.data,
        minimizer=result.x,
        initial=result.initial_fun,
        optimum=result.fun,
        hessians=second,
        evaluations=torch.tensor(float(spent), dtype=torch.float64),
    )


def hessians(objective: Objective, x: Tensor) -> Tensor:
    """Dense Hessians at ``x``, ``(B, n, n)``: one product per unknown."""
    product = curved_along(objective, x)
    units = torch.eye(x[0].numel(), dtype=x.dtype).reshape(-1, *x.shape[1:])
    dense = torch.stack([product(unit.expand_as(x)).flatten(1) for unit in units], 2)
    symmetric: Tensor = (dense + dense.mT) / 2
    return symmetric


def curved_along(objective: Objective, x: Tensor) -> Callable[[Tensor], Tensor]:
    """Return ``v -> H(x) v``, from differences where nothing better can be had."""
    product = hessian_product(objective, x)

    def along(direction: Tensor) -> Tensor:
        try:
            return product(direction).detach()
        except SecondDerivativeError:
            return differences(objective, x, direction)

    return along


def differences(objective: Objective, x: Tensor, direction: Tensor) -> Tensor:
    """``H v`` from two gradients, for objectives that can be differentiated only once."""
    size = x.flatten(1).abs().amax(1).clamp(min=1.0).reshape(-1, *[1] * (x.dim() - 1))
    step = size * torch.finfo(x.dtype).eps ** (1 / 3)
    with torch.no_grad():
        ahead = objective.evaluate(x + step * direction).gradient
        behind = objective.evaluate(x - step * direction).gradient
    product: Tensor = (ahead - behind) / (2 * step)
    return product
