"""What one step did, and the totals of all."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from learnmm.solve.stages import Trial, Verdict


class StepInfo(NamedTuple):
    """What one step did, per problem; every field has shape ``(B,)``.

    A problem that has stopped tries nothing: lengths and decreases are zero.

    Attributes
    ----------
    value : Tensor
        Objective after the step.
    gradient_norm : Tensor
        Largest absolute gradient entry after the step.
    accepted : Tensor of bool
        Whether the candidate became the iterate.
    proposed : Tensor of bool
        Whether the candidate came from the proposer; otherwise it was the majorant's own.
    enlargements : Tensor of int
        How often the curvature had been enlarged for this candidate.
    predicted : Tensor
        Decrease that the majorant promises for the candidate.
    actual : Tensor
        ``f(x) - f(candidate)``; not finite where the candidate is not.
    step_norm : Tensor
        Euclidean length of the proposed step.
    relaxation : Tensor
        Factor on the uncertain part of the curvature.
    clipped : Tensor
        Share of multipliers that the projection changed.
    cut : Tensor of bool
        Whether the step was shortened to the region of validity.
    """

    value: Tensor
    gradient_norm: Tensor
    accepted: Tensor
    proposed: Tensor
    enlargements: Tensor
    predicted: Tensor
    actual: Tensor
    step_norm: Tensor
    relaxation: Tensor
    clipped: Tensor
    cut: Tensor


class Tally(NamedTuple):
    """Running totals behind a :class:`Certificate`, per problem, shape ``(B,)`` each.

    Attributes
    ----------
    iterations : Tensor of int
        Candidates tried.
    accepted : Tensor of int
        Of those, how many were taken.
    proposed : Tensor of int
        Of those taken, how many came from the proposer.
    unbounded : Tensor of int
        Candidates tried that did not rest on the bound: whole steps.
    rejected : Tensor of int
        Candidates refused.
    violations : Tensor of int
        Candidates above the majorant.
    worst_increase : Tensor
        Largest rise of an accepted step.
    failure_probability : Tensor
        Summed over the bounds that were used.
    relaxation_min, relaxation_max : Tensor
        Range of the factor.
    clipped : Tensor
        Sum of shares of clipped multipliers.
    kind : Tensor of int
        Weakest kind of bound so far.
    started : Tensor of bool
        Whether the run began at the proposer's start.
    """

    iterations: Tensor
    accepted: Tensor
    proposed: Tensor
    unbounded: Tensor
    rejected: Tensor
    violations: Tensor
    worst_increase: Tensor
    failure_probability: Tensor
    relaxation_min: Tensor
    relaxation_max: Tensor
    clipped: Tensor
    kind: Tensor
    started: Tensor

    @staticmethod
    def start(value: Tensor, started: Tensor | None = None) -> Tally:
        """Totals before the first step."""
        # Each its own tensor: torch.compile would take shared ones for a special case.
        zero = {name: torch.zeros_like(value) for name in _MEASURED}
        none = {name: torch.zeros_like(value, dtype=torch.int64) for name in _COUNTED}
        zero["worst_increase"] -= torch.inf
        zero["relaxation_min"] += 1
        zero["relaxation_max"] += 1
        if started is None:
            started = torch.zeros_like(value, dtype=torch.bool)
        return Tally(**zero, **none, started=started)

    def counted(self, running: Tensor, info: StepInfo, trial: Trial, verdict: Verdict) -> Tally:
        """Totals after one more step."""
        accepted, bound = info.accepted, trial.bound
        rise = (-info.actual).masked_fill(~accepted, -torch.inf)
        failure = self.failure_probability
        if bound.failure_probability > 0:
            failure = failure + running * bound.failure_probability
        return Tally(
            iterations=self.iterations + running,
            accepted=self.accepted + accepted,
            proposed=self.proposed + (accepted & info.proposed),
            unbounded=self.unbounded + (running & ~trial.proposal.bounded),
            rejected=self.rejected + (running & ~accepted),
            violations=self.violations + verdict.above,
            worst_increase=torch.maximum(self.worst_increase, rise),
            failure_probability=failure,
            relaxation_min=torch.minimum(self.relaxation_min, info.relaxation),
            relaxation_max=torch.maximum(self.relaxation_max, info.relaxation),
            clipped=self.clipped + info.clipped,
            kind=torch.maximum(self.kind, running * int(bound.kind)),
            started=self.started,
        )


_MEASURED = ("worst_increase", "failure_probability", "relaxation_min", "relaxation_max", "clipped")
_COUNTED = ("iterations", "accepted", "proposed", "unbounded", "rejected", "violations", "kind")
