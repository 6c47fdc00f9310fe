"""A case along its iterates: ratio of bound to true curvature, values, where long runs end."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

import learnmm as lmm
from learnmm.checks.laws import dense
from learnmm.vectors import norm

from .cases import Case

LOOK_AT = (0, 1, 2, 4, 8, 16, 32, 64)
GAP = 1e-3
SHRINK = (None, 0.1, 0.3, 0.5, 0.7)


class Run(NamedTuple):
    """What a case did."""

    case: Case
    kind: lmm.Kind
    ratios: Tensor  # bound over true curvature, flat, where the latter is positive
    plain: Tensor  # values of steps by the bound as it stands, (steps + 1, B)
    relaxed: Tensor | None  # the same with relaxation, where there is something to relax
    refused: float  # share of plain steps, but for the last one of a problem
    cut: float  # share of plain steps


def bound_over_true(case: Case, bound: lmm.Bound, x: Tensor) -> Tensor:
    """``1 / lambda_max(B^{-1/2} H B^{-1/2})`` per problem, infinite where ``H`` bends down."""
    hessian = dense(lmm.hessian.hessian_product(case.twin or case.energy, x), x)
    root = dense(lambda v: bound.curvature.power(v, -0.5), x)
    inner = root @ hessian @ root
    largest = torch.linalg.eigvalsh((inner + inner.mT) / 2)[:, -1]
    return torch.where(largest > 1e-12, 1 / largest, torch.inf)


@torch.no_grad()
def run(case: Case, steps: int) -> Run:
    """Ratios along the plain run; values with and without relaxation."""
    ratios: list[Tensor] = []
    path: list[Tensor] = []
    refused = cut = 0.0
    optimizer = solver(case, None)
    for k, (state, info) in enumerate(walk(optimizer, case.x0, steps)):
        path.append(state.value)
        if info is None:
            first = optimizer.majorant(state.x, state.aux)
        else:
            running = state.status == int(lmm.Status.RUNNING)  # a last step is refused by rounding
            refused += float((running & ~info.accepted).double().mean()) / steps
            cut += float(info.cut.double().mean()) / steps
        if k in LOOK_AT and k < steps:
            bound = optimizer.majorant(state.x, state.aux)
            ratios.append(bound_over_true(case, bound, state.x))
    flat = torch.cat(ratios)
    relaxed = None
    if first.uncertain is not None:
        loose = walk(solver(case, lmm.Relaxation()), case.x0, steps)
        relaxed = torch.stack([state.value for state, _ in loose])
    flat = flat[torch.isfinite(flat)]
    return Run(case, first.kind, flat, torch.stack(path), relaxed, refused, cut)


def solver(case: Case, relaxation: lmm.Relaxation | None) -> lmm.ProjectedMMOptimizer:
    """The majorant's own steps, which stop at nothing but the precision."""
    return lmm.ProjectedMMOptimizer(
        case.energy,
        majorant=case.majorant,
        settings=lmm.SolveSettings(relaxation=relaxation, gtol=0),
    )


def walk(
    optimizer: lmm.ProjectedMMOptimizer, x0: Tensor, steps: int
) -> Iterator[tuple[lmm.State, lmm.StepInfo | None]]:
    """States of a run, from the start on, and what the step to each of them did."""
    state = optimizer.init(x0)
    yield state, None
    for _ in range(steps):
        state, info = optimizer.step(state)
        yield state, info


class End(NamedTuple):
    """A run with a setting of the relaxation, ``(B,)`` each."""

    case: Case
    shrink: float | None
    start: Tensor
    early: Tensor  # value after twenty steps
    short: Tensor  # value at the end of the short run
    long: Tensor  # value at the end of the long run
    resting: Tensor  # whether the long run has come to the precision of its value
    growth: Tensor  # largest |x| over the first


@torch.no_grad()
def ends(case: Case, steps: int, many: int) -> list[End]:
    """Runs with every setting of `SHRINK`, of `steps` and then `many` steps."""
    found = []
    for shrink in SHRINK:
        relaxation = None if shrink is None else lmm.Relaxation(shrink=shrink)
        states = [state for state, _ in walk(solver(case, relaxation), case.x0, many)]
        values = torch.stack([state.value for state in states])
        lengths = torch.stack([norm(state.x) for state in states])
        growth = lengths.amax(0) / lengths[0]
        early = values[min(20, steps)]
        resting = states[-1].status != int(lmm.Status.RUNNING)
        short, long = values[steps], values[-1]
        found.append(End(case, shrink, values[0], early, short, long, resting, growth))
    return found


def reached(value: Tensor, start: Tensor, best: Tensor) -> Tensor:
    """Whether the gap of values to `best` has shrunk enough since the start, ``(..., B)``."""
    return value - best <= GAP * (start - best)


def until(path: Tensor, best: Tensor) -> str:
    """Median over problems of the steps to the gap; with the share that got there, if not all."""
    there = reached(path, path[0], best)
    steps = torch.where(there.any(0), there.int().argmax(0), len(path))
    share = there.any(0).double().mean()
    median = int(steps.median())
    if median == len(path):
        return f"> {len(path) - 1} ({share:.0%})"
    return f"{median}" if share == 1 else f"{median} ({share:.0%})"
