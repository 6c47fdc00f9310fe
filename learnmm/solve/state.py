"""The state between two steps."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from learnmm.solve.projection import Proposal
from learnmm.solve.record import Tally
from learnmm.solve.status import Status


class State(NamedTuple):
    """Everything between two steps: a tree as in :mod:`learnmm.nested`, every tensor batch first.

    Attributes
    ----------
    x, value, gradient, aux
        The iterate and its evaluation; `aux` is what the objective brought along for the bound.
    majorant_memory : Any
        What an `AdaptiveMajorant` remembers; None for every other.
    proposer_memory : Any
        What the proposer remembers.
    penalty_memory : Any
        What the penalty remembers, if its prox has no closed form.
    asked : Tensor of bool
        Whether the proposer was asked at this iterate, ``(B,)``: once is enough.
    proposal : Proposal or None
        What it proposed there; None without a proposer.
    trial : Tensor of int
        Candidates rejected at this iterate so far, ``(B,)``.
    shortening : Tensor
        Factor on the proposal, once it was refused at this iterate, ``(B,)``.
    reach : Tensor
        Longest whole step that may be tried next, ``(B,)``.
    relaxation : Tensor
        Factor on the uncertain part of the curvature, ``(B,)``.
    gradient_norm, steepest : Tensor
        Largest absolute gradient entry, here and at any iterate so far, ``(B,)``.
    initial : Tensor
        Objective at the start, ``(B,)``.
    extent : Tensor
        Largest absolute entry of the start, ``(B,)``.
    status : Tensor of int
        :class:`~learnmm.Status` codes, ``(B,)``.
    tally : Tally
        Totals for the certificate.
    """

    x: Tensor
    value: Tensor
    gradient: Tensor
    aux: Any
    majorant_memory: Any
    proposer_memory: Any
    penalty_memory: Any
    asked: Tensor
    proposal: Proposal | None
    trial: Tensor
    shortening: Tensor
    reach: Tensor
    relaxation: Tensor
    gradient_norm: Tensor
    steepest: Tensor
    initial: Tensor
    extent: Tensor
    status: Tensor
    tally: Tally

    @property
    def running(self) -> Tensor:
        """Which problems have not stopped, ``(B,)``."""
        return self.status == int(Status.RUNNING)

    def stopped(self, reason: Status) -> State:
        """The same, every running problem given a reason to have stopped."""
        return self._replace(status=torch.where(self.running, int(reason), self.status))
