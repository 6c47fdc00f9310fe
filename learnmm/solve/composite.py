"""Steps for ``F = f + h`` with a penalty ``h``: the majorant's own through its prox, and proposed
ones on the unknowns that are free.

The slope of a step ``d = x - z`` is ``<g, d> + h(x) - h(z)``, so that the majorant predicts the
decrease ``slope - <d, B d> / 2`` of ``F`` as it does without a penalty. For the own step it is at
least ``<d, B d>``.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from learnmm.curvature import Curvature, DiagonalCurvature, ScalarCurvature
from learnmm.nested import select
from learnmm.precision import full_precision
from learnmm.proposers.base import Point
from learnmm.proximal import Penalty, separable_metric
from learnmm.solve.projection import Proposal
from learnmm.vectors import dot, expand, peak

BLOCKED = 0.01
"""Share of a proposed step within which an unknown is taken for one at the end of its face."""


class Composite(NamedTuple):
    """A penalty at an iterate, and the majorant of the rest there.

    Attributes
    ----------
    penalty : Penalty
        ``h``.
    x, gradient : Tensor
        The iterate, and the gradient of ``f`` there, ``(B, *shape)``.
    curvature : Curvature
        ``B``.
    memory : Any
        What a prox without closed form starts from.
    """

    penalty: Penalty
    x: Tensor
    gradient: Tensor
    curvature: Curvature
    memory: Any = None

    @property
    def weights(self) -> Tensor:
        """Diagonal metric of the prox, ``(B, *shape)``; it dominates ``B``."""
        return self.penalty.metric(separable_metric(self.curvature, self.x))

    def own_target(self, shortening: Tensor | None = None) -> Tensor:
        """Where the majorant's own step leads, its curvature divided by a factor ``(B,)``."""
        weights = self.weights
        if shortening is not None:
            weights = weights / expand(shortening, weights)
        return self.penalty.own(self.x, self.gradient, weights, self.memory)

    def measured(self, target: Tensor) -> Proposal:
        """Step to a target, with its products, as if it were the majorant's own."""
        step = self.x - target
        slope = dot(self.gradient, step) + self.penalty.fall(self.x, target)
        return Proposal(
            step=step,
            slope=slope,
            bend=self.curvature.quad(step),
            own=slope,
            most=slope,
            bounded=torch.ones_like(slope, dtype=torch.bool),
            clipped=torch.zeros_like(slope),
        )

    def residual_norm(self) -> Tensor:
        """Largest absolute entry of what takes the place of the gradient, ``(B,)``.

        That is ``W (x - z)`` for the own target ``z``: in the units of the gradient, and the
        gradient itself where there is no penalty. It vanishes just where ``x`` minimizes ``Q + h``.
        """
        with full_precision(self.x):
            residual = self.penalty.residual(self.x, self.gradient, self.weights, self.memory)
        return peak(residual)

    def observed(self) -> Composite:
        """The same with the memory of a penalty that has seen the iterate."""
        with full_precision(self.x):
            memory = self.penalty.observe(self.x, self.gradient, self.weights, self.memory)
        return self._replace(memory=memory)

    def facing(self, value: Tensor) -> Point:
        """What a proposer sees: the unknowns that it may move, and the way down for them."""
        with full_precision(self.x):
            free = self.penalty.free(self.x, self.own_target(), self.gradient)
            steepest = self.penalty.steepest(self.x, self.gradient)
        return Point(self.x, steepest, self.curvature, value).holding(~free)

    def blocked(self, step: Tensor, point: Point) -> Tensor:
        """Unknowns that are all but at the end of their face, and would be moved beyond it."""
        shares = self.penalty.shares(self.x, step.to(self.x.dtype), self.gradient)
        return (shares < BLOCKED) & (True if point.free is None else point.free)

    def share(self, proposal: Proposal) -> Tensor:
        """Share of a proposal up to where the first unknown leaves its face, ``(B,)``."""
        shares = self.penalty.shares(self.x, proposal.step.to(self.x.dtype), self.gradient)
        if proposal.free is not None:
            shares = shares.masked_fill(~proposal.free, 1.0)
        return shares.reshape(len(shares), -1).amin(1)

    def proposed_target(self, proposal: Proposal, shortening: Tensor | None = None) -> Tensor:
        """Where a proposal leads: its step on what is free, kept on its face; else the own step."""
        step = proposal.step
        if shortening is not None:
            step = expand(shortening, step) * step
        moved = self.penalty.confined(self.x - step.to(self.x.dtype), self.x, self.gradient)
        own = self.own_target(shortening)
        return own if proposal.free is None else torch.where(proposal.free, moved, own)

    def ahead(self, proposal: Proposal) -> Proposal:
        """The prox of where a forward step leads, measured."""
        weights, step = self.weights, proposal.step.to(self.x.dtype)
        target = self.penalty.own(self.x, weights * step, weights, self.memory)
        whole, own = self.measured(target), self.measured(self.own_target())
        return whole._replace(
            own=own.slope,
            most=torch.fmax(whole.slope, own.slope),
            bounded=torch.zeros_like(whole.bounded),
            target=target,
        )

    def proposed(self, proposal: Proposal) -> Proposal:
        """A proposal measured at full length, for it to be kept and shortened.

        Kept on its face it bends, and where it would lead up by that, or less far down than up to
        where the first unknown leaves the face, it ends there.
        """
        whole, own = self.measured(self.proposed_target(proposal)), self.measured(self.own_target())
        straight = proposal.scaled(self.share(proposal))
        ahead = self.measured(self.proposed_target(straight))
        bent = ~(whole.slope >= ahead.slope)
        proposal = select(bent, straight, proposal)
        whole = select(bent, ahead, whole)
        # Multipliers keep to the bound if they act on the unknowns of the prox one by one.
        apart = isinstance(self.curvature, DiagonalCurvature | ScalarCurvature)
        return proposal._replace(
            slope=whole.slope,
            bend=whole.bend,
            own=own.slope,
            most=torch.fmax(whole.slope, own.slope),
            bounded=proposal.bounded & apart,
        )


def choose(
    at: Composite, proposal: Proposal | None, proposed: Tensor, shortening: Tensor
) -> tuple[Proposal, Tensor]:
    """What was proposed where that is to be tried, the majorant's own step elsewhere.

    Parameters
    ----------
    at : Composite
        The iterate, with the curvature as enlarged as it is to be.
    proposal : Proposal or None
        What was proposed there.
    proposed : Tensor of bool
        Where it is to be tried, ``(B,)``.
    shortening : Tensor
        Factor on it, ``(B,)``.

    Returns
    -------
    Proposal
        The step, measured.
    Tensor
        Where it leads, which is on bounds and zeros to the bit.
    """
    with full_precision(at.x):
        target = at.own_target()
        if proposal is None:
            return at.measured(target), target
        other = proposal.target
        if other is None:
            # What was refused comes again without bends.
            factor = torch.where(shortening < 1, torch.minimum(shortening, at.share(proposal)), 1.0)
            other = at.proposed_target(proposal, torch.where(proposed, factor, 1.0))
        target = torch.where(expand(proposed, target), other, target)
        chosen = at.measured(target)
        return chosen._replace(
            own=torch.where(proposed, proposal.own, chosen.own),
            most=torch.where(proposed, proposal.most, torch.fmax(proposal.slope, chosen.slope)),
            bounded=torch.where(proposed, proposal.bounded, chosen.bounded),
            clipped=torch.where(proposed, proposal.clipped, chosen.clipped),
        ), target
