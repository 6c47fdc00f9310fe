"""The state before the first step, and what is refused there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from learnmm.bound import Bound
from learnmm.nested import check, mapped, select
from learnmm.objective import DomainError, Evaluation
from learnmm.precision import full_precision
from learnmm.proposers.base import Prepared
from learnmm.solve.composite import Composite
from learnmm.solve.projection import Proposal
from learnmm.solve.proposing import ask
from learnmm.solve.raising import evaluate_candidates
from learnmm.solve.record import Tally
from learnmm.solve.safeguard import rounding_slack
from learnmm.solve.state import State
from learnmm.solve.status import Status
from learnmm.solve.validation import (
    check_bound,
    check_deterministic,
    check_evaluation,
    check_start,
    lent,
    require,
)
from learnmm.vectors import expand, peak

if TYPE_CHECKING:
    from learnmm.solve.optimizer import ProjectedMMOptimizer


def start(solver: ProjectedMMOptimizer, x0: Tensor, *, strict: bool) -> State:
    """See :meth:`ProjectedMMOptimizer.init`."""
    check_start(x0)
    if solver.penalty is not None:
        solver.penalty.check(x0)
    x0 = solver.feasible(x0.clone())  # what the caller does to it later is nothing to the state
    there = _evaluated(solver, x0, strict=strict)
    prepared = _prepared(solver, x0, there.gradient)
    initial = there.value.detach().clone()
    x0, there, started = _better(solver, x0, there, prepared)
    memory, bound = _bounded(solver, x0, there)
    valid = bound.curvature.valid()
    with full_precision(x0):
        check_bound(bound, valid, there.gradient)
    value, gradient_norm = there.value, peak(there.gradient)
    finite = torch.isfinite(value) & torch.isfinite(gradient_norm)
    seen = None
    if solver.penalty is not None:
        seen = solver.penalty.init_memory(x0)
        at = Composite(solver.penalty, x0, there.gradient, bound.curvature, seen).observed()
        seen, gradient_norm = at.memory, at.residual_norm()
    done = gradient_norm <= solver.stopping.at_start
    if strict:
        require(finite, "the objective or its gradient is not finite at x0")
        complaint = "the majorant returned a curvature that is not finite and positive at x0"
        require(valid | done, complaint)
    status = torch.full_like(value, Status.RUNNING, dtype=torch.int64)
    status = torch.where(valid, status, int(Status.BAD_BOUND))
    status = torch.where(done, int(Status.GRADIENT), status)
    status = torch.where(finite, status, int(Status.NON_FINITE))
    proposal, remembered = _asked(solver, x0, there, bound, prepared, seen)
    return State(
        x=x0,
        value=value,
        gradient=there.gradient,
        aux=there.aux,
        majorant_memory=memory,
        proposer_memory=remembered,
        penalty_memory=seen,
        asked=torch.ones_like(finite),
        proposal=proposal,
        trial=torch.zeros_like(status),
        shortening=torch.ones_like(value),
        reach=torch.full_like(value, torch.inf),
        relaxation=torch.ones_like(value),
        gradient_norm=gradient_norm,
        steepest=gradient_norm.clone(),
        initial=initial,
        extent=peak(x0.detach()).to(value.dtype),
        status=status,
        tally=Tally.start(value, started),
    )


def _evaluated(solver: ProjectedMMOptimizer, x0: Tensor, *, strict: bool) -> Evaluation:
    """The evaluation of the start, once it is known to be one."""
    objective = solver.objective
    with lent(x0, "the objective") as x, full_precision(x):
        try:
            objective.check(x)
        except DomainError:
            if strict:
                raise
        there = solver.penalized(objective.evaluate(x), x)
        # An objective may use its buffers again.
        value, gradient, aux = mapped(Tensor.clone, tuple(there))
    check_evaluation(x0, value, gradient)
    check(aux, len(x0), f"the aux of the objective {type(objective).__name__}")
    if solver.settings.check_deterministic:
        again = solver.evaluate_at(x0).value
        check_deterministic(value, again, rounding_slack(value))
    return Evaluation(value, gradient, aux)


def _prepared(solver: ProjectedMMOptimizer, x0: Tensor, gradient: Tensor) -> Prepared | None:
    """What the proposer has ready, checked."""
    proposer = solver.proposer
    if proposer is None:
        return None
    name = type(proposer).__name__
    with lent((x0, gradient), f"the proposer {name}") as (x, slope):
        memory, begin = proposer.prepare(x, slope)
    check(memory, len(x0), f"the memory of {name}")
    if begin is not None and (begin.shape != x0.shape or begin.dtype != x0.dtype):
        raise ValueError(
            f"{name} must start from a tensor of shape {tuple(x0.shape)} and {x0.dtype}, as x0 "
            f"has, got {tuple(begin.shape)} and {begin.dtype}"
        )
    return Prepared(memory, begin)


def _better(
    solver: ProjectedMMOptimizer, x0: Tensor, there: Evaluation, prepared: Prepared | None
) -> tuple[Tensor, Evaluation, Tensor]:
    """The start of the proposer where the objective is lower there, the one given elsewhere."""
    never = torch.zeros_like(there.value, dtype=torch.bool)
    if prepared is None or prepared.start is None:
        return x0, there, never
    finite = torch.isfinite(prepared.start).flatten(1).all(1)
    candidate = torch.where(expand(finite, x0), solver.feasible(prepared.start), x0)
    other = evaluate_candidates(solver.evaluate_at, candidate, x0, there, ~never)
    usable = torch.isfinite(other.value) & torch.isfinite(peak(other.gradient)) & finite
    lower = usable & ~(other.value.detach() >= there.value.detach())
    owner = f"the aux of the objective {type(solver.objective).__name__}"
    chosen = Evaluation(*select(lower, tuple(other), tuple(there), owner))
    return torch.where(expand(lower, x0), candidate, x0), chosen, lower


def _bounded(solver: ProjectedMMOptimizer, x0: Tensor, there: Evaluation) -> tuple[Any, Bound]:
    """The memory of the majorant, if it has one, and the bound at the start."""
    who, memory = f"the majorant {type(solver.majorant).__name__}", None
    if solver.adaptive is not None:
        penalty, gradient = solver.penalty, there.gradient
        # Curvature is measured along it, and it may be all that keeps an unknown at its bound.
        down = gradient if penalty is None else penalty.steepest(x0, gradient)
        with lent((x0, down), who) as (x, gradient), full_precision(x0):
            memory = mapped(Tensor.clone, solver.adaptive.init_memory(x, gradient))
        check(memory, len(x0), f"the memory of {who}")
    with lent((x0, there.aux, memory), who) as (x, aux, remembered):
        return memory, solver.bound(x, aux, remembered)


def _asked(
    solver: ProjectedMMOptimizer,
    x0: Tensor,
    there: Evaluation,
    bound: Bound,
    prepared: Prepared | None,
    seen: Any,
) -> tuple[Proposal | None, Any]:
    """What the proposer says at the start, and what it remembers."""
    proposer = solver.proposer
    if proposer is None or prepared is None:
        return None, None
    owner, memory = f"the memory of {type(proposer).__name__}", prepared.memory
    iterate = x0, there.gradient, there.value
    kept = mapped(Tensor.clone, memory)  # it may write into it
    proposal, remembered = ask(
        proposer, solver.settings, iterate, bound.curvature, kept, solver.penalty, None, seen
    )
    check(remembered, len(x0), owner)
    return proposal, select(None, remembered, memory, owner)
