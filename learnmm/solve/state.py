"""The state between two steps, and how it is carried on per problem."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from learnmm.bound import Bound
from learnmm.nested import tensors_of as tensors_of
from learnmm.solve.result import Status, StepInfo, Tally


class State(NamedTuple):
    """Everything between two steps: a tree as in :mod:`learnmm.nested`, every tensor batch first.

    Attributes
    ----------
    x, value, gradient, aux
        The iterate and its evaluation.
    known : Any
        What an `AdaptiveMajorant` has learned; None for every other.
    memory : Any
        State of the preconditioner.
    trial : Tensor of int
        Candidates rejected at this iterate so far, ``(B,)``.
    shortening : Tensor
        Factor on a `Direction` that was refused at this iterate, ``(B,)``.
    reach : Tensor
        Longest step of a `Direction` that may be tried next, ``(B,)``.
    relaxation : Tensor
        Factor on the uncertain part of the curvature, ``(B,)``.
    gradient_norm, steepest : Tensor
        Largest absolute gradient entry, here and at any iterate so far, ``(B,)``.
    initial : Tensor
        Objective at the start, ``(B,)``.
    status : Tensor of int
        :class:`~learnmm.Status` codes, ``(B,)``.
    tally : Tally
        Totals for the certificate.
    """

    x: Tensor
    value: Tensor
    gradient: Tensor
    aux: Any
    known: Any
    memory: Any
    trial: Tensor
    shortening: Tensor
    reach: Tensor
    relaxation: Tensor
    gradient_norm: Tensor
    steepest: Tensor
    initial: Tensor
    status: Tensor
    tally: Tally


def stop(state: State, reason: Status) -> State:
    """Give every running problem a reason to have stopped."""
    running = state.status == int(Status.RUNNING)
    return state._replace(status=torch.where(running, int(reason), state.status))


def count(
    tally: Tally, info: StepInfo, running: Tensor, above: Tensor, bound: Bound, *, directed: bool
) -> Tally:
    """Add one step to the totals; `directed` says whether a `Direction` made what is not own."""
    made = info.accepted & info.learned
    rise = (-info.actual).masked_fill(~info.accepted, -torch.inf)
    failure = tally.failure_probability
    if bound.failure_probability > 0:
        failure = failure + running * bound.failure_probability
    return Tally(
        iterations=tally.iterations + running,
        accepted=tally.accepted + info.accepted,
        learned=tally.learned if directed else tally.learned + made,
        directed=tally.directed + made if directed else tally.directed,
        rejected=tally.rejected + (running & ~info.accepted),
        violations=tally.violations + above,
        worst_increase=torch.maximum(tally.worst_increase, rise),
        failure_probability=failure,
        relaxation_min=torch.minimum(tally.relaxation_min, info.relaxation),
        relaxation_max=torch.maximum(tally.relaxation_max, info.relaxation),
        clipped=tally.clipped + info.clipped,
        kind=torch.maximum(tally.kind, running * int(bound.kind)),
    )
