"""Solvers that learn nothing about a family, or verify nothing: evaluations to given gaps."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from learnmm.families.solved import solve
from learnmm.families.trial import counted
from learnmm.objective import as_objective
from learnmm.registry import Instance, Problem

RATES = (1e-3, 3e-3, 1e-2, 3e-2, 1e-1, 3e-1)
"""Of Adam; the best one is chosen per family and gap, with hindsight."""

MOST = 400
ALONE = 12
"""Problems that torch's L-BFGS solves, one at a time."""


def adam(instance: Instance, optimum: Tensor, gaps: tuple[float, ...]) -> dict[float, Tensor]:
    """Evaluations of Adam at its best rate, per gap and instance."""
    best: dict[float, Tensor] = {}
    for rate in RATES:
        x = instance.x0.clone().requires_grad_()
        steps = torch.optim.Adam([x], lr=rate)
        objective = as_objective(instance.objective)
        values = []
        for _ in range(MOST):
            with torch.no_grad():
                value, gradient, _ = objective.evaluate(x.detach())
            values.append(value)
            x.grad = torch.nan_to_num(gradient)
            steps.step()
        for gap in gaps:
            count = counted(torch.stack(values), optimum, gap)
            if gap not in best or count.median() < best[gap].median():
                best[gap] = count
    return best


def torch_lbfgs(family: Problem, seed: int, gaps: tuple[float, ...]) -> dict[float, Tensor]:
    """Evaluations of torch's L-BFGS with the strong Wolfe search, one problem at a time."""
    found: list[dict[float, Tensor]] = []
    for number in range(ALONE):
        generator = torch.Generator().manual_seed(9_000_011 * (seed + 1) + number)
        instance = family.instance(1, generator=generator, dtype=torch.float64)
        values = _searched(as_objective(instance.objective).evaluate, instance.x0)
        optimum = torch.minimum(solve(instance).optimum, values.amin(0))
        found.append({gap: counted(values, optimum, gap) for gap in gaps})
    return {gap: torch.cat([one[gap] for one in found]) for gap in gaps}


def _searched(evaluate: Callable[..., tuple[Tensor, Tensor, object]], x0: Tensor) -> Tensor:
    x = x0.clone().requires_grad_()
    values: list[Tensor] = []

    def closure() -> Tensor:
        with torch.no_grad():
            value, gradient, _ = evaluate(x.detach())
        values.append(value)
        x.grad = gradient
        return value.sum()

    search = torch.optim.LBFGS(
        [x],
        max_iter=MOST,
        max_eval=MOST,
        history_size=10,
        tolerance_grad=0.0,
        tolerance_change=0.0,
        line_search_fn="strong_wolfe",
    )
    search.step(closure)
    return torch.stack(values)
