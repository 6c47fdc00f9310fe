"""What a run reports: status, step record, certificate and result."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from typing import NamedTuple

import torch
from torch import Tensor

from learnmm.kind import Kind


class Status(IntEnum):
    """Why a problem stopped. ``Status(code).message`` is a sentence."""

    RUNNING = 0
    GRADIENT = 1
    DECREASE = 2
    PRECISION = 3
    MAX_ITER = 4
    STALLED = 5
    BAD_BOUND = 6
    NON_FINITE = 7
    STOPPED = 8
    UNBOUNDED = 9

    @property
    def message(self) -> str:
        """One sentence a user understands."""
        return _MESSAGES[self]

    @property
    def success(self) -> bool:
        """Whether a tolerance, or what the dtype can tell apart, was reached."""
        return self in (Status.GRADIENT, Status.DECREASE, Status.PRECISION)


_MESSAGES = {
    Status.RUNNING: "The problem is still running.",
    Status.GRADIENT: "The gradient has vanished, within gtol.",
    Status.DECREASE: "The last step lowered the objective by at most atol + rtol * |f|.",
    Status.PRECISION: (
        "No step promises more than the rounding error of the objective: the best that is known "
        "was tried and lowered nothing, and the gradient at its end promises no more."
    ),
    Status.MAX_ITER: "The iteration limit was reached.",
    Status.STALLED: "No trial of the safeguard lowered the objective; the iterate was kept.",
    Status.BAD_BOUND: "The majorant returned a curvature that is not finite and positive.",
    Status.NON_FINITE: "The objective or its gradient is not finite where it was needed.",
    Status.STOPPED: "The callback asked to stop.",
    Status.UNBOUNDED: "The objective falls without end, as far as the dtype reaches.",
}


class StepInfo(NamedTuple):
    """What one step did, per problem; every field has shape ``(B,)``.

    Attributes
    ----------
    value : Tensor
        Objective after the step.
    gradient_norm : Tensor
        Largest absolute gradient entry after the step.
    accepted : Tensor of bool
        Whether the candidate became the iterate.
    learned : Tensor of bool
        Whether the candidate came from the preconditioner or `Direction` (else from the majorant).
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
    learned: Tensor
    enlargements: Tensor
    predicted: Tensor
    actual: Tensor
    step_norm: Tensor
    relaxation: Tensor
    clipped: Tensor
    cut: Tensor


class Tally(NamedTuple):
    """Running totals behind a :class:`Certificate`, per problem, shape ``(B,)`` each."""

    iterations: Tensor
    accepted: Tensor
    learned: Tensor
    directed: Tensor
    rejected: Tensor
    violations: Tensor
    worst_increase: Tensor
    failure_probability: Tensor
    relaxation_min: Tensor
    relaxation_max: Tensor
    clipped: Tensor
    kind: Tensor

    @staticmethod
    def start(value: Tensor) -> Tally:
        """Totals before the first step."""
        # Each its own tensor: torch.compile would take shared ones for a special case.
        zero = {name: torch.zeros_like(value) for name in _MEASURED}
        none = {name: torch.zeros_like(value, dtype=torch.int64) for name in _COUNTED}
        zero["worst_increase"] -= torch.inf
        zero["relaxation_min"] += 1
        zero["relaxation_max"] += 1
        return Tally(**zero, **none)


_MEASURED = ("worst_increase", "failure_probability", "relaxation_min", "relaxation_max", "clipped")
_COUNTED = ("iterations", "accepted", "learned", "directed", "rejected", "violations", "kind")

REFUSED = 10
"""From so many refused candidates on, and more than three for each one taken, comes a hint."""

_REFUSED_HINT = (
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
        Whether multipliers were confined to their interval.
    monotone : Tensor of bool
        No accepted step raised the computed objective.
    worst_increase : Tensor
        Largest ``f(x_{k+1}) - f(x_k)`` over accepted steps; ``-inf`` if there was none.
    accepted, rejected : Tensor of int
        Candidates taken, and candidates refused.
    learned, directed : Tensor of int
        Of those taken, how many a learned component made, and how many a `Direction` such as
        :class:`~learnmm.LimitedMemory`, which learns nothing; the rest are the majorant's own.
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
    learned: Tensor
    directed: Tensor
    violations: Tensor
    failure_probability: Tensor
    relaxation_min: Tensor
    relaxation_max: Tensor
    clipped: Tensor

    @staticmethod
    def of(tally: Tally, *, safeguarded: bool, projected: bool) -> Certificate:
        """Read a certificate off the totals of a run."""
        return Certificate(
            kind=Kind(int(tally.kind.max())) if bool(tally.iterations.any()) else None,
            safeguarded=safeguarded,
            projected=projected,
            monotone=tally.worst_increase <= 0,
            worst_increase=tally.worst_increase,
            accepted=tally.accepted,
            rejected=tally.rejected,
            learned=tally.learned,
            directed=tally.directed,
            violations=tally.violations,
            failure_probability=tally.failure_probability.clamp(max=1.0),
            relaxation_min=tally.relaxation_min,
            relaxation_max=tally.relaxation_max,
            clipped=tally.clipped / tally.iterations.clamp(min=1),
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
        makers = {"learned": self.learned, "of a direction": self.directed}
        made = ", ".join(f"{int(n.sum())} {who}" for who, n in makers.items() if bool(n.any()))
        taken = f"{int(self.accepted.sum())} steps taken" + (f" ({made})" if made else "")
        text = (
            f"{promise}. {taken}, {int(self.rejected.sum())} refused, "
            f"{int(self.violations.sum())} {above}; "
            f"{int(self.monotone.sum())} of {self.monotone.numel()} problems monotone."
        )
        return f"{text} {_REFUSED_HINT}" if bool(self.mostly_refused.any()) else text

    def __repr__(self) -> str:
        """What `str` says, for sessions that print what they are given."""
        return f"<Certificate: {self}>"


@dataclass(frozen=True)
class Result:
    """Outcome of a minimization.

    Attributes
    ----------
    x : Tensor
        Final iterates, the shape of ``x0``; always finite.
    fun : Tensor
        Objective there: ``(B,)`` for a batch, ``()`` for one problem.
    gradient : Tensor
        Gradient there, the shape of ``x0``.
    status : Tensor of int
        A :class:`Status` code per problem (``()`` for one problem).
    iterations : Tensor of int
        Steps tried per problem until it stopped; one evaluation of value and gradient each.
    certificate : Certificate
        What was promised and what happened; shapes ``(B,)``.
    history : StepInfo or None
        Every step's record stacked to ``(iterations, B)``, if asked for.
    initial_fun : Tensor
        Objective at ``x0``.
    raised : Mapping
        By the number of a problem, the exception that the objective raised at its last candidate;
        empty where it raised none.
    """

    x: Tensor
    fun: Tensor
    gradient: Tensor
    status: Tensor
    iterations: Tensor
    certificate: Certificate
    history: StepInfo | None
    initial_fun: Tensor
    raised: Mapping[int, str] = field(default_factory=dict)

    @property
    def success(self) -> Tensor:
        """Whether each problem reached a tolerance or the precision of its dtype."""
        good = [code for code in Status if code.success]
        return torch.isin(self.status, torch.tensor(good, device=self.status.device))

    def message(self, problem: int = 0) -> str:
        """Return why a problem stopped, what its objective raised, and a hint to misuse."""
        status = Status(int(self.status.reshape(-1)[problem]))
        sentences = [status.message]
        if status.success and int(self.iterations.reshape(-1)[problem]) == 0:
            sentences.insert(0, "No step was needed.")
        raised = self.raised.get(problem % self.status.numel())
        if raised is not None and not status.success:
            sentences.append(f"At the last candidate the objective raised {raised}")
        if bool(self.certificate.mostly_refused[problem]):
            sentences.append(_REFUSED_HINT)
        return " ".join(sentences)

    def __str__(self) -> str:
        """A line for each status, what became of the objective, and the certificate."""
        codes = self.status.reshape(-1)
        shape = tuple(self.x.shape if self.status.dim() == 0 else self.x.shape[1:])
        lines = [
            f"{_counted(codes.numel(), 'problem')} of shape {shape}",
            *(
                f"  {here} {status.name}: {status.message}"
                for status in Status
                if (here := int((codes == status).sum()))
            ),
            f"objective {_span(self.fun)}, from {_span(self.initial_fun)} at the start",
            f"largest gradient entry {_span(_largest_entries(self.gradient, codes.numel()))}",
            f"iterations {_span(self.iterations)}",
            str(self.certificate),
        ]
        return "\n".join(lines)

    def __repr__(self) -> str:
        """What `str` says, for sessions that print what they are given."""
        return f"<Result: {self}>"


def _counted(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def _span(values: Tensor) -> str:
    """Least and largest of some numbers, or the only one."""
    least, most = (f"{float(end):.6g}" for end in (values.min(), values.max()))
    return least if least == most else f"{least} to {most}"


def _largest_entries(gradient: Tensor, problems: int) -> Tensor:
    return gradient.detach().reshape(problems, -1).abs().amax(1)
