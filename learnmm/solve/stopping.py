"""Whether and why a problem stops."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from learnmm.solve.projection import Proposal
from learnmm.solve.result import Status, StepInfo
from learnmm.solve.state import State

GRADIENT_FALL = 1e-5
"""By default: share of the largest gradient so far that may be left."""

PROMISE_FALL = 1e-10
"""By default: share of ``|f|`` and of the decrease so far that a last step may promise."""

VANISHED = {torch.float32: 1e-20, torch.float64: 1e-30}
"""By default: share of the decrease so far at which ``f`` itself has gone to zero."""

FOREMOST = 0.75
"""A step stands for all that could be tried if its slope is at least this share of the largest."""


@dataclass(frozen=True)
class Stopping:
    """When to stop.

    Parameters
    ----------
    gtol : float or None
        Largest absolute gradient entry at which a problem is done. None: free of units, see
        :class:`~learnmm.ProjectedMMOptimizer`.
    rtol, atol : float
        A step that lowers ``f`` by at most ``atol + rtol |f|`` is the last; both 0: no such step.
    trials : int or None
        Enlarged trials that a safeguard grants; None without a safeguard, where nothing is refused
        but what is not finite.

    Raises
    ------
    ValueError
        If a tolerance is negative.
    """

    gtol: float | None
    rtol: float
    atol: float
    trials: int | None

    def __post_init__(self) -> None:
        """Refuse negative tolerances, NaN included."""
        for name in ("gtol", "rtol", "atol"):
            tolerance = getattr(self, name)
            if not (tolerance is None and name == "gtol") and not tolerance >= 0:
                raise ValueError(f"{name} must be non-negative, got {tolerance}")

    @property
    def at_start(self) -> float:
        """Largest gradient entry with which a problem has nothing to do."""
        return self.gtol or 0.0

    def decide(
        self,
        state: State,
        info: StepInfo,
        proposal: Proposal,
        after: Tensor,
        running: Tensor,
        valid: Tensor,
        finite: Tensor,
        beyond: Tensor,
        still: Tensor,
        slack: Tensor,
        retries: Tensor,
    ) -> Tensor:
        """Return the status of every problem after a step, ``(B,)``.

        Parameters
        ----------
        state : State
            Before the step.
        info : StepInfo
            What the step did.
        proposal : Proposal
            The step.
        after : Tensor
            ``<g(x - d), d>``, the slope at the other end of the step.
        running, valid, finite : Tensor of bool
            Whether the problem was running, its curvature usable, its candidate finite.
        beyond : Tensor of bool
            Whether the candidate or its value is of a size that no minimum has.
        still : Tensor of bool
            Whether the candidate is the iterate, since the step is below its rounding error.
        slack : Tensor
            Rounding error of a difference of values.
        retries : Tensor of int
            Enlarged trials so far at this iterate, before this one.
        """
        accepted = info.accepted
        refused = running & ~accepted
        at_first = info.enlargements == 0
        foremost = at_first & finite & (proposal.slope >= FOREMOST * proposal.most)
        promised = proposal.most / 2
        reasons = []
        if self.trials is None:
            reasons.append((Status.NON_FINITE, refused & ~finite))
        else:
            # A step so small that nothing changed, after longer ones only raised the objective.
            negligible = info.predicted <= slack
            idle = accepted & ~at_first & negligible & (info.actual == 0)
            reasons.append((Status.STALLED, (refused & (retries >= self.trials)) | idle))
        # A majorant without curvature where the gradient is has no step there.
        reasons.append((Status.STALLED, running & foremost & still))
        little = (promised <= slack) & (proposal.slope > 0)
        nothing = foremost & little & (info.actual <= slack)
        resting = refused | (info.gradient_norm > state.gradient_norm / 2)
        flat = _flat(proposal, after, slack)
        nothing = (nothing & flat & resting) | (at_first & finite & little & still)
        reasons.append((Status.PRECISION, running & nothing))
        if self.atol > 0 or self.rtol > 0:
            small = info.actual <= self.atol + self.rtol * state.value.abs()
            reasons.append((Status.DECREASE, accepted & at_first & small))
        done = accepted & self._converged(state, info, proposal, after, at_first & resting)
        # Nothing moves, and what is left of the gradient is nothing.
        done = done | (running & at_first & finite & still & self._gone(state, info))
        reasons.append((Status.GRADIENT, done))
        reasons.append((Status.UNBOUNDED, accepted & beyond))
        reasons.append((Status.BAD_BOUND, running & ~valid))
        status = state.status
        for reason, holds in reasons:
            status = status.masked_fill(holds, int(reason))
        return status

    def _converged(
        self, state: State, info: StepInfo, proposal: Proposal, after: Tensor, telling: Tensor
    ) -> Tensor:
        """Whether the gradient says that the problem is done, ``(B,)``."""
        if self.gtol is not None:
            return self._gone(state, info)
        size, fallen = info.value.detach().abs(), (state.initial - info.value).detach()
        nothing = VANISHED[fallen.dtype] * fallen
        least = torch.maximum(
            PROMISE_FALL * torch.minimum(size, fallen), torch.where(size <= nothing, nothing, 0.0)
        )
        little = (proposal.most / 2 <= least) & _flat(proposal, after, least)
        return (telling & self._gone(state, info) & little) | (info.gradient_norm == 0)

    def _gone(self, state: State, info: StepInfo) -> Tensor:
        """Whether the gradient is as small as was asked for, ``(B,)``."""
        least = GRADIENT_FALL * state.steepest if self.gtol is None else self.gtol
        return info.gradient_norm <= least


def _flat(proposal: Proposal, after: Tensor, least: Tensor) -> Tensor:
    """Whether the line of a step falls by at most ``least``, ``(B,)``.

    The parabola through the slopes at both ends of the step lies ``slope^2 / 2 (slope - after)``
    lower at its minimum. There is none where the slope has not fallen.
    """
    return proposal.slope * proposal.slope <= 2 * least * (proposal.slope - after)
