"""What was promised, and what happened."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from learnmm.kind import Kind
from learnmm.solve.record import Tally
from learnmm.solve.settings import SolveSettings

REFUSED = 10
"""From so many refused candidates on, and more than three for each one taken, comes a hint."""

REFUSED_HINT = (
    "Most candidates were refused: check the gradient (checks.assert_gradient), that loss and "
    "gradient are scaled alike, and that problems of a batch share nothing."
)


@dataclass(frozen=True)
class Certificate:
    """What was promised, and what happened. Tensors have shape ``(B,)``.

    Attributes
    ----------
    kind : Kind or None
        Weakest kind of bound that was used; None if no step was tried.
    safeguarded : bool
        Whether every accepted step had to lower the computed objective.
    projected : bool
        Whether every step that was tried was the majorant's own, or had its multipliers confined
        to their interval.
    monotone : Tensor of bool
        No accepted step raised the computed objective.
    worst_increase : Tensor
        Largest ``f(x_{k+1}) - f(x_k)`` over accepted steps; ``-inf`` if there was none.
    accepted, rejected : Tensor of int
        Candidates taken, and candidates refused.
    proposed : Tensor of int
        Of those taken, how many the proposer made; the rest are the majorant's own.
    violations : Tensor of int
        Candidates whose objective lay above the majorant by more than rounding. For a `GLOBAL`
        or `REGION` bound a violation disproves the bound, unless the objective's rounding error
        exceeds what the safeguard assumes (``Safeguard.noise``).
    failure_probability : Tensor
        Sum over steps of the probability that a `PROBABLE` bound failed, at most 1.
    relaxation_min, relaxation_max : Tensor
        Range of the factor on the uncertain part of the curvature.
    clipped : Tensor
        Mean share of multipliers that the projection changed.
    started : Tensor of bool
        Whether the run began at the proposer's own start, because the objective is lower there
        than at ``x0``.
    proposer : str or None
        What the proposer is.

    Notes
    -----
    Every statement is about computed values. Rounding, and where it ends what can be promised, is
    described in :class:`~learnmm.Safeguard`.
    """

    kind: Kind | None
    safeguarded: bool
    projected: bool
    monotone: Tensor
    worst_increase: Tensor
    accepted: Tensor
    rejected: Tensor
    proposed: Tensor
    violations: Tensor
    failure_probability: Tensor
    relaxation_min: Tensor
    relaxation_max: Tensor
    clipped: Tensor
    started: Tensor
    proposer: str | None = None

    @staticmethod
    def of(tally: Tally, settings: SolveSettings, proposer: str | None = None) -> Certificate:
        """Read a certificate off the totals of a run."""
        whole = bool(tally.unbounded.any())
        return Certificate(
            kind=Kind(int(tally.kind.max())) if bool(tally.iterations.any()) else None,
            safeguarded=settings.safeguard is not None,
            projected=settings.projection is not None and not whole,
            monotone=tally.worst_increase <= 0,
            worst_increase=tally.worst_increase,
            accepted=tally.accepted,
            rejected=tally.rejected,
            proposed=tally.proposed,
            violations=tally.violations,
            failure_probability=tally.failure_probability.clamp(max=1.0),
            relaxation_min=tally.relaxation_min,
            relaxation_max=tally.relaxation_max,
            clipped=tally.clipped / tally.iterations.clamp(min=1),
            started=tally.started,
            proposer=proposer,
        )

    @property
    def mostly_refused(self) -> Tensor:
        """Whether nearly all candidates were refused, ``(B,)``: a sign of misuse."""
        return (self.rejected >= REFUSED) & (self.rejected > 3 * self.accepted)

    def __str__(self) -> str:
        """The promise, the record, and a hint where there is one."""
        if self.kind is None:
            return "No bound was used: no step was tried."
        promise = f"{self.kind.name} bound"
        above = "above the majorant"
        if self.kind is Kind.ESTIMATE:
            promise, above = f"{self.kind.name} (no promise)", "above the estimate"
        if self.kind is Kind.PROBABLE:
            promise += f" (failure probability at most {float(self.failure_probability.max()):.2g})"
        promise += ", every step verified" if self.safeguarded else ", steps not verified"
        taken = f"{int(self.accepted.sum())} steps taken"
        if bool(self.proposed.any()):
            taken += f" ({int(self.proposed.sum())} of {self.proposer or 'the proposer'})"
        if bool(self.started.any()):
            taken = f"{int(self.started.sum())} starts and {taken}"
        text = (
            f"{promise}. {taken}, {int(self.rejected.sum())} refused, "
            f"{int(self.violations.sum())} {above}; "
            f"{int(self.monotone.sum())} of {self.monotone.numel()} problems monotone."
        )
        return f"{text} {REFUSED_HINT}" if bool(self.mostly_refused.any()) else text

    def __repr__(self) -> str:
        """What `str` says, for sessions that print what they are given."""
        return f"<Certificate: {self}>"
