"""One step of the loop, in four stages: propose, evaluate, judge, advance.

Each is pure, decides per problem by masks, and is the same for solving, unrolling and compiling.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from learnmm.bound import Bound
from learnmm.curvature import Curvature
from learnmm.nested import select
from learnmm.precision import full_precision
from learnmm.shards import everywhere
from learnmm.solve.composite import Composite, choose
from learnmm.solve.projection import Proposal, cut, own_step
from learnmm.solve.proposing import ask_anew
from learnmm.solve.record import StepInfo
from learnmm.solve.safeguard import ROUNDING, accepts, rounding_slack
from learnmm.solve.stages import Outcome, Trial, Verdict
from learnmm.solve.state import State
from learnmm.truth import known
from learnmm.vectors import dot, expand, norm, peak

if TYPE_CHECKING:
    from learnmm.solve.optimizer import ProjectedMMOptimizer

BEYOND = 0.45
"""Power of the largest number; an iterate, or minus its value, that is larger than at the start by
this, or than 1, has no end."""


def propose(solver: ProjectedMMOptimizer, state: State) -> tuple[State, Trial]:
    """Choose a step: what the proposer says, shorter if it was refused, or the majorant's own."""
    bound = solver.bound(state.x.clone(), state.aux, state.majorant_memory)
    curvature = bound.relaxed(state.relaxation)
    state = ask_anew(solver.proposer, solver.settings, state, curvature, solver.penalty)
    trials = 0 if solver.proposer is None else solver.proposer.trials
    proposed = state.running & (state.trial < trials)
    enlargements = (state.trial - trials).clamp(min=0) * state.running
    safeguard = solver.settings.safeguard
    growth = 1.0 if safeguard is None else safeguard.growth
    enlargement = growth ** enlargements.to(state.value.dtype)
    enlarged = curvature.scaled(enlargement)
    target = None
    if solver.penalty is None:
        chosen = _chosen(state, proposed, enlarged, trials)
    else:
        at = Composite(solver.penalty, state.x, state.gradient, enlarged, state.penalty_memory)
        chosen, target = choose(at, state.proposal, proposed, state.shortening)
    proposal, step_norm, long = cut(chosen, _longest(solver, state, chosen, bound))
    candidate = state.x - proposal.step.to(state.x.dtype)
    if solver.penalty is not None and target is not None:
        candidate = torch.where(expand(long, target), solver.penalty.feasible(candidate), target)
    trial = Trial(
        proposal=proposal.detached(),
        candidate=candidate,
        step_norm=step_norm.detach(),
        proposed=proposed,
        enlargements=enlargements,
        enlargement=enlargement,
        bound=bound,
        valid=enlarged.valid(),
        # A whole step that is verified is within its reach, and in no region.
        cut=long & state.running & (proposal.bounded | (safeguard is None)),
    )
    return state, trial


def _chosen(state: State, proposed: Tensor, curvature: Curvature, trials: int) -> Proposal:
    """What was proposed where that is to be tried, the majorant's own step elsewhere."""
    if state.proposal is not None:
        proposal = state.proposal if trials == 1 else state.proposal.scaled(state.shortening)
        if known((proposed | ~state.running).all()):
            return proposal
    with full_precision(state.x):
        own = own_step(curvature, state.gradient)
    if state.proposal is None:
        return own
    own = own._replace(most=torch.fmax(state.proposal.slope, own.slope))
    chosen: Proposal = select(proposed, proposal, own)
    return chosen


def _longest(
    solver: ProjectedMMOptimizer, state: State, proposal: Proposal, bound: Bound
) -> Tensor | None:
    """How long a step may be: in its region where it rests on the bound, else within its reach.

    A whole step that is not verified rests on the bound for want of anything else.
    """
    verified = solver.settings.safeguard is not None
    reaches = verified and solver.proposer is not None and solver.proposer.reach < torch.inf
    if bound.radius is None and not reaches:
        return None
    everywhere = torch.full_like(state.reach, torch.inf)
    radius = everywhere if bound.radius is None else bound.radius
    return torch.where(proposal.bounded, radius, state.reach) if verified else radius


def evaluate(solver: ProjectedMMOptimizer, state: State, trial: Trial) -> Outcome:
    """Evaluate the candidates once, and say what they are."""
    candidate = trial.candidate
    tried = state.running & trial.valid
    if torch.is_grad_enabled():
        # What a stopped or broken problem computes is discarded later, but its NaN would spoil
        # the gradients of the whole batch.
        moving = tried & torch.isfinite(trial.step_norm)
        candidate = torch.where(expand(moving, candidate), candidate, state.x)
    there = solver.evaluate(candidate, state)
    value, gradient = there.value.detach(), there.gradient.detach()
    gradient_norm, size = peak(there.gradient), peak(candidate)
    # An objective can be finite, and flat, at infinity.
    seen, endless = torch.stack((trial.step_norm, value, gradient_norm, size)), size
    after, memory = dot(gradient, trial.proposal.step.detach()), None
    if solver.penalty is not None:
        endless = peak(solver.penalty.endless(candidate))
        relaxed = trial.bound.relaxed(state.relaxation)
        at = Composite(solver.penalty, candidate, gradient, relaxed, state.penalty_memory)
        at = at.observed()
        memory, gradient_norm = at.memory, at.residual_norm()
        after = after + (trial.proposal.slope - dot(state.gradient.detach(), trial.proposal.step))
    limit = torch.finfo(value.dtype).max ** BEYOND
    return Outcome(
        x=candidate,
        there=there,
        gradient_norm=gradient_norm,
        after=after,
        finite=tried & torch.isfinite(seen).all(0),
        penalty_memory=memory,
        still=everywhere((candidate == state.x).reshape(len(value), -1).all(1)),
        beyond=((endless > 0) & (-value > limit * state.initial.abs().clamp(min=1.0)))
        | (endless > limit * state.extent.clamp(min=1.0)),
    )


def judge(solver: ProjectedMMOptimizer, state: State, trial: Trial, outcome: Outcome) -> Verdict:
    """Accept candidates, or refuse them."""
    settings, proposal = solver.settings, trial.proposal
    value, there = state.value.detach(), outcome.there.value.detach()
    predicted, actual = proposal.slope - proposal.bend / 2, value - there
    required = torch.maximum(proposal.slope, settings.lower * proposal.own)
    slack = _slack(solver, state, trial.step_norm)
    accepted = outcome.finite & accepts(settings.safeguard, value, there, required, slack)
    if settings.safeguard is not None:
        accepted = accepted & ~outcome.still  # it would be proposed for ever
    above = outcome.finite & (there > value - predicted + slack)
    if trial.bound.radius is not None:
        above = above & (trial.step_norm <= trial.bound.radius)  # beyond, the bound says nothing
    if outcome.x.requires_grad and not torch.compiler.is_compiling():
        # As for candidates that are not tried: zero times the infinite slope of one that is
        # refused is NaN.
        outcome.x.register_hook(
            lambda g: None if g is None else torch.where(expand(accepted, g), g, 0.0)
        )
    return Verdict(accepted, above, predicted, actual, slack)


def _slack(solver: ProjectedMMOptimizer, state: State, step_norm: Tensor) -> Tensor:
    """Rounding error of a difference of values over a step; see `rounding_slack`."""
    safeguard = solver.settings.safeguard
    value, gradient, x = (t.detach() for t in (state.value, state.gradient, state.x))
    length = norm(x) + step_norm
    terms = norm(gradient) * length + solver.objective.rounding(state.aux, length)
    if solver.penalty is not None:
        terms = terms + ROUNDING * solver.penalty.rounding(x)
    noise = 0.0 if safeguard is None else safeguard.noise
    return rounding_slack(value, noise, torch.finfo(x.dtype).eps * terms)


def advance(
    solver: ProjectedMMOptimizer, state: State, trial: Trial, outcome: Outcome, verdict: Verdict
) -> tuple[State, StepInfo]:
    """Carry every problem on: to its candidate, or to a more cautious trial."""
    accepted, there = verdict.accepted, outcome.there
    info = _record(state, trial, outcome, verdict, _relaxation(solver, state, trial, verdict))
    shortening, reach = _shorter(solver, state, trial, outcome, verdict)
    observed, memory = solver.observed(state, outcome), state.majorant_memory
    following = state._replace(
        x=select(accepted, outcome.x, state.x),
        value=info.value,
        gradient=select(accepted, there.gradient, state.gradient),
        aux=select(accepted, there.aux, state.aux, "the aux of the objective"),
        majorant_memory=select(accepted, observed, memory, "the memory of the majorant"),
        penalty_memory=select(accepted, outcome.penalty_memory, state.penalty_memory),
        asked=state.asked & ~accepted,
        trial=(state.trial + state.running).masked_fill(accepted, 0),
        shortening=shortening,
        reach=reach,
        relaxation=info.relaxation,
        gradient_norm=info.gradient_norm,
        steepest=torch.maximum(state.steepest, info.gradient_norm),
        status=solver.stopping.decide(state, trial, outcome, verdict, info),
        tally=state.tally.counted(state.running, info, trial, verdict),
    )
    return following, info


def _record(
    state: State, trial: Trial, outcome: Outcome, verdict: Verdict, relaxation: Tensor
) -> StepInfo:
    """What the step did: nothing, where a problem has stopped."""
    accepted, stopped = verdict.accepted, ~state.running
    return StepInfo(
        value=torch.where(accepted, outcome.there.value, state.value),
        gradient_norm=torch.where(accepted, outcome.gradient_norm, state.gradient_norm),
        accepted=accepted,
        proposed=trial.proposed,
        enlargements=trial.enlargements,
        predicted=verdict.predicted.masked_fill(stopped, 0.0),
        actual=verdict.actual.masked_fill(stopped, 0.0),
        step_norm=trial.step_norm.masked_fill(stopped, 0.0),
        relaxation=relaxation,
        clipped=torch.where(trial.proposed, trial.proposal.clipped, 0.0),
        cut=trial.cut,
    )


def _relaxation(
    solver: ProjectedMMOptimizer, state: State, trial: Trial, verdict: Verdict
) -> Tensor:
    """Next factor on the uncertain part of the curvature."""
    relaxation = solver.settings.relaxation
    if relaxation is None or trial.bound.uncertain is None:
        return state.relaxation
    # f(x - d) = f(x) - <g, d> + <d, H d> / 2. The factor steers; no gradient through it.
    measured = 2 * (trial.proposal.slope - verdict.actual)
    measurable = verdict.predicted > 8 * verdict.slack
    if solver.proposer is not None and solver.proposer.curvature_from_steps:
        # It goes where the curvature is small, which says little about the majorant's own step.
        measurable = measurable & ~trial.proposed
    return relaxation.update(
        state.relaxation,
        verdict.accepted & measurable,
        trial.enlargement,
        measured,
        trial.proposal.bend,
    )


def _shorter(
    solver: ProjectedMMOptimizer, state: State, trial: Trial, outcome: Outcome, verdict: Verdict
) -> tuple[Tensor, Tensor]:
    """Next factor on a proposal that was refused, and how long the next whole step may be."""
    proposer = solver.proposer
    if proposer is None or (proposer.trials == 1 and proposer.reach == torch.inf):
        return state.shortening, state.reach
    factor = proposer.shorter(trial.proposal.slope, verdict.actual, outcome.after)
    shortening = (state.shortening * factor).masked_fill(verdict.accepted, 1.0)
    reached = torch.where(trial.step_norm > 0, proposer.reach * trial.step_norm, state.reach)
    tried = torch.where(trial.proposed, factor * trial.step_norm, state.reach)
    reach = torch.where(verdict.accepted, reached, torch.minimum(state.reach, tried))
    shortening = torch.where(state.running, shortening, state.shortening)
    return shortening, torch.where(state.running, reach, state.reach)
