"""What the stages of a step hand to each other."""

from __future__ import annotations

from typing import Any, NamedTuple

from torch import Tensor

from learnmm.bound import Bound
from learnmm.objective import Evaluation
from learnmm.solve.projection import Proposal


class Trial(NamedTuple):
    """What is tried, per problem.

    Attributes
    ----------
    proposal : Proposal
        The step, no longer than it may be.
    candidate : Tensor
        Where it leads, ``(B, *shape)``.
    step_norm : Tensor
        Its length, ``(B,)``.
    proposed : Tensor of bool
        Whether it comes from the proposer; otherwise it is the majorant's own.
    enlargements : Tensor of int
        How often the curvature was enlarged for it.
    enlargement : Tensor
        By which factor.
    bound : Bound
        Of the majorant, neither relaxed nor enlarged.
    valid : Tensor of bool
        Whether its curvature is finite and positive.
    cut : Tensor of bool
        Whether the step was shortened to the region of the bound.
    """

    proposal: Proposal
    candidate: Tensor
    step_norm: Tensor
    proposed: Tensor
    enlargements: Tensor
    enlargement: Tensor
    bound: Bound
    valid: Tensor
    cut: Tensor


class Outcome(NamedTuple):
    """What came of a candidate, per problem.

    Attributes
    ----------
    x : Tensor
        The candidate, ``(B, *shape)``.
    there : Evaluation
        Of it.
    gradient_norm : Tensor
        Largest absolute gradient entry there, ``(B,)``; with a penalty, of the residual of its
        prox.
    after : Tensor
        ``<g(x - d), d>``, the slope at the other end of the step; with a penalty, what that adds
        to the slope on top.
    finite : Tensor of bool
        Whether candidate, value and gradient are.
    still : Tensor of bool
        Whether the candidate is the iterate, since the step is below its rounding error.
    penalty_memory : Any
        What the penalty remembers there.
    beyond : Tensor of bool
        Whether the candidate or its value is of a size that no minimum has.
    """

    x: Tensor
    there: Evaluation
    gradient_norm: Tensor
    after: Tensor
    finite: Tensor
    still: Tensor
    penalty_memory: Any
    beyond: Tensor


class Verdict(NamedTuple):
    """What the safeguard found, per problem, ``(B,)`` each.

    Attributes
    ----------
    accepted : Tensor of bool
        Whether the candidate becomes the iterate.
    above : Tensor of bool
        Whether its value lies above the majorant by more than rounding.
    predicted, actual : Tensor
        Decrease that the majorant predicts, and what became of it.
    slack : Tensor
        Rounding error of a difference of values.
    """

    accepted: Tensor
    above: Tensor
    predicted: Tensor
    actual: Tensor
    slack: Tensor
