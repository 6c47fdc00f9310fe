"""Whether and why a problem stops."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from learnmm.result import Status, StepInfo
from learnmm.state import State


@dataclass(frozen=True)
class Stopping:
    """When to stop.

    Parameters
    ----------
    gtol : float
        Largest absolute gradient entry at which a problem is done.
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

    gtol: float
    rtol: float
    atol: float
    trials: int | None

    def __post_init__(self) -> None:
        """Refuse negative tolerances, NaN included."""
        for name in ("gtol", "rtol", "atol"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"{name} must be non-negative, got {getattr(self, name)}")

    def decide(
        self,
        state: State,
        info: StepInfo,
        running: Tensor,
        valid: Tensor,
        finite: Tensor,
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
        running, valid, finite : Tensor of bool
            Whether the problem was running, its curvature usable, its candidate finite.
        slack : Tensor
            Rounding error of a difference of values.
        retries : Tensor of int
            Enlarged trials so far at this iterate, before this one.
        """
        accepted = info.accepted
        refused = running & ~accepted
        negligible = info.predicted <= slack
        at_first = info.enlargements == 0
        reasons = []
        if self.trials is None:
            reasons.append((Status.NON_FINITE, refused & ~finite))
        else:
            # A step so small that nothing changed, after longer ones only raised the objective.
            idle = accepted & ~at_first & negligible & (info.actual == 0)
            reasons.append((Status.STALLED, (refused & (retries >= self.trials)) | idle))
        plain = running & at_first & ~info.learned
        reasons.append((Status.PRECISION, plain & finite & negligible & (info.actual <= 0)))
        if self.atol > 0 or self.rtol > 0:
            small = info.actual <= self.atol + self.rtol * state.value.abs()
            reasons.append((Status.DECREASE, accepted & at_first & small))
        reasons.append((Status.GRADIENT, accepted & (info.gradient_norm <= self.gtol)))
        reasons.append((Status.BAD_BOUND, running & ~valid))
        status = state.status
        for reason, holds in reasons:
            status = status.masked_fill(holds, int(reason))
        return status
