"""Whether and why a problem stops."""

from __future__ import annotations

import torch
from torch import Tensor

from learnmm.solve.record import StepInfo
from learnmm.solve.settings import SolveSettings
from learnmm.solve.stages import Outcome, Trial, Verdict
from learnmm.solve.state import State
from learnmm.solve.status import Status

Reason = tuple[Status, Tensor]

GRADIENT_FALL = 1e-5
"""By default: share of the largest gradient so far that may be left."""

PROMISE_FALL = 1e-10
"""By default: share of ``|f|`` and of the decrease so far that a last step may promise."""

VANISHED = {torch.float32: 1e-20, torch.float64: 1e-30}
"""By default: share of the decrease so far at which ``f`` itself has gone to zero."""

FOREMOST = 0.75
"""A step stands for all that could be tried if its slope is at least this share of the largest."""


class Stopping:
    """When to stop, by the settings of a solve."""

    def __init__(self, settings: SolveSettings) -> None:
        self.gtol, self.rtol, self.atol = settings.gtol, settings.rtol, settings.atol
        safeguard = settings.safeguard
        # Without one nothing is refused but what is not finite.
        self.trials = None if safeguard is None else safeguard.trials

    @property
    def at_start(self) -> float:
        """Largest gradient entry with which a problem has nothing to do."""
        return self.gtol or 0.0

    def decide(
        self, state: State, trial: Trial, outcome: Outcome, verdict: Verdict, info: StepInfo
    ) -> Tensor:
        """Return the status of every problem after a step, ``(B,)``.

        Parameters
        ----------
        state : State
            Before the step.
        trial, outcome, verdict
            Of its stages.
        info : StepInfo
            What it did.
        """
        running, proposal = state.running, trial.proposal
        at_first = trial.enlargements == 0
        foremost = at_first & outcome.finite & (proposal.slope >= FOREMOST * proposal.most)
        refused = running & ~info.accepted
        # Whether the gradient has not halved: there is more to be had where it did.
        resting = refused | (info.gradient_norm > state.gradient_norm / 2)
        done = info.accepted & self._converged(state, trial, outcome, info, at_first, resting)
        # Nothing moves, and what is left of the gradient is nothing.
        stuck = running & at_first & outcome.finite & outcome.still
        reasons = [
            *self._in_vain(refused, trial, outcome, verdict),
            # A majorant without curvature where the gradient is has no step there.
            (Status.STALLED, running & foremost & outcome.still),
            (Status.PRECISION, _exhausted(trial, outcome, verdict, foremost & resting, stuck)),
            *self._slowed(state, info, at_first),
            (Status.GRADIENT, done | (stuck & self._gone(state, info))),
            # At a minimum far away there is an end.
            (Status.UNBOUNDED, info.accepted & outcome.beyond & (info.gradient_norm > 0)),
            (Status.BAD_BOUND, running & ~trial.valid),
        ]
        status = state.status
        for reason, holds in reasons:
            status = status.masked_fill(holds, int(reason))
        return status

    def _in_vain(
        self, refused: Tensor, trial: Trial, outcome: Outcome, verdict: Verdict
    ) -> list[Reason]:
        """Nothing is left to be tried."""
        if self.trials is None:
            return [(Status.NON_FINITE, refused & ~outcome.finite)]
        # A step so small that nothing changed, after longer ones only raised the objective.
        negligible = (verdict.predicted <= verdict.slack) & (verdict.actual == 0)
        idle = verdict.accepted & (trial.enlargements > 0) & negligible
        return [(Status.STALLED, (refused & (trial.enlargements >= self.trials)) | idle)]

    def _slowed(self, state: State, info: StepInfo, at_first: Tensor) -> list[Reason]:
        """The objective falls by less than was asked for."""
        if self.atol == self.rtol == 0:
            return []
        small = info.actual <= self.atol + self.rtol * state.value.abs()
        return [(Status.DECREASE, info.accepted & at_first & small)]

    def _converged(
        self,
        state: State,
        trial: Trial,
        outcome: Outcome,
        info: StepInfo,
        at_first: Tensor,
        resting: Tensor,
    ) -> Tensor:
        """Whether the gradient says that the problem is done, ``(B,)``."""
        if self.gtol is not None:
            return self._gone(state, info)
        size, fallen = info.value.detach().abs(), (state.initial - info.value).detach()
        nothing = VANISHED[fallen.dtype] * fallen
        vanished = size <= nothing
        least = torch.maximum(
            PROMISE_FALL * torch.minimum(size, fallen), torch.where(vanished, nothing, 0.0)
        )
        # What goes to zero may halve its gradient for ever, as quartics do.
        telling = at_first & (resting | vanished)
        little = (trial.proposal.most / 2 <= least) & _flat(trial, outcome, least)
        return (telling & self._gone(state, info) & little) | (info.gradient_norm == 0)

    def _gone(self, state: State, info: StepInfo) -> Tensor:
        """Whether the gradient is as small as was asked for, ``(B,)``."""
        least = GRADIENT_FALL * state.steepest if self.gtol is None else self.gtol
        return info.gradient_norm <= least


def _exhausted(
    trial: Trial, outcome: Outcome, verdict: Verdict, telling: Tensor, stuck: Tensor
) -> Tensor:
    """Whether nothing promises more than rounding, and what was tried has shown it, ``(B,)``.

    `telling`: the step stands for all, and the gradient has not halved; `stuck`: nothing moves.
    """
    proposal, slack = trial.proposal, verdict.slack
    little = (proposal.most / 2 <= slack) & (proposal.slope > 0)
    idle = telling & (verdict.actual <= slack) & _flat(trial, outcome, slack)
    return little & (idle | stuck)


def _flat(trial: Trial, outcome: Outcome, least: Tensor) -> Tensor:
    """Whether the line of a step falls by at most ``least``, ``(B,)``.

    The parabola through the slopes at both ends of the step lies ``slope^2 / 2 (slope - after)``
    lower at its minimum. There is none where the slope has not fallen.
    """
    slope = trial.proposal.slope
    return slope * slope <= 2 * least * (slope - outcome.after)
