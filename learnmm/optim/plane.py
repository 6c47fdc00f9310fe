"""The loss on the plane of two steps, as a problem of three unknowns for the loop.

All steps that can be tried at an iterate are multiples of two: of the direction ``d`` that is
proposed, and of the majorant's own, ``B^+ g``. With learning rates ``R``, of which the largest is
``r``, the curvature is ``B = b M`` for ``M = r R^-1``, so the second is a multiple of
``o = M^-1 g``. In the metric of ``M`` an orthonormal basis of their plane is

``e_1 = o / |o|``, ``e_2 = (d - <d, e_1> e_1) / |d - <d, e_1> e_1|``,

and since ``<v, o>_M = <v, g>`` for every ``v``, the gradient there has the coordinates
``(|o|, 0)``, and ``d`` has ``(<d, g> / |o|, ...)``. Inner products of steps and gradients, and the
curvature along steps, are those of the coordinates. So the loop decides on a few numbers as it
would on the vectors, and what is done for each of many unknowns is what the mathematics needs.
A third coordinate, along which nothing moves, is the length of the iterate.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from learnmm.objective import Evaluation, Objective
from learnmm.optim.closure import ClosureObjective
from learnmm.proposers.base import Point, Proposer, Step
from learnmm.proposers.limited_memory import LimitedMemory

Vector = Tensor
"""One problem without its batch, ``(n,)``."""


class Plane(Objective):
    """The loss along two steps from an iterate.

    Parameters
    ----------
    objective : ClosureObjective
        The loss.
    x : Tensor
        The iterate, ``(1, n)``.
    there : Evaluation
        What the loss is there.
    own : Tensor
        ``o``, ``(1, n)``; the gradient itself where all rates are equal.
    direction : Tensor or None
        ``d``, ``(1, n)``; None: the multiples of ``o`` alone.
    metric : Tensor or None
        Diagonal of ``M``, ``(1, n)``; None is the identity.
    """

    def __init__(
        self,
        objective: ClosureObjective,
        x: Tensor,
        there: Evaluation,
        own: Tensor,
        direction: Tensor | None,
        metric: Tensor | None,
    ) -> None:
        self.objective = objective
        self.x = x
        self.own = own
        self.size = math.sqrt(max(inner(own[0], there.gradient[0]), 0.0))  # |o|
        self.direction = direction if self.size > 0 else None
        self.along = self.across = 0.0
        if self.direction is not None:
            d = self.direction[0]
            self.along = inner(d, there.gradient[0]) / self.size
            length = math.sqrt(max(inner(d, d if metric is None else metric[0] * d), 0.0))
            self.across = math.sqrt(max((length - self.along) * (length + self.along), 0.0))
        reach = min(math.sqrt(inner(x[0], x[0])), torch.finfo(x.dtype).max)
        self.start = x.new_tensor([[0.0, 0.0, reach]])
        self.there = Evaluation(there.value, x.new_tensor([[self.size, 0.0, 0.0]]))
        self.before = self.after = 0.0
        """Slopes ``<g, d>`` at both ends of the last step ``d`` that was tried."""

    def evaluate(self, x: Tensor) -> Evaluation:
        """Loss and gradient in coordinates ``(1, 3)``."""
        along, across = (self.start - x)[0, :2].tolist()
        if along == across == 0:
            return self.there
        step, factor = self.own, along / self.size
        if self.direction is not None and across:
            step, factor = self.direction, across / self.across
        value, gradient, _ = self.objective.evaluate(torch.sub(self.x, step, alpha=factor))
        first = inner(self.own[0], gradient[0]) / self.size
        second = 0.0
        if self.direction is not None and self.across:
            second = (inner(self.direction[0], gradient[0]) - self.along * first) / self.across
        self.before, self.after = self.size * along, first * along + second * across
        return Evaluation(value, x.new_tensor([[first, second, 0.0]]))


class Along(Proposer):
    """The direction of a plane, in its coordinates."""

    trials = LimitedMemory.trials
    reach = LimitedMemory.reach

    def __init__(self, plane: Plane) -> None:
        super().__init__()
        self.plane = plane

    def propose(self, point: Point, memory: None) -> Step:
        """Coordinates of ``d``."""
        return Step(point.x.new_tensor([[self.plane.along, self.plane.across, 0.0]]))


def inner(a: Vector, b: Vector) -> float:
    """``<a, b>`` in double precision where that of the vectors has no room for squares."""
    product = float(torch.dot(a, b))
    room = torch.finfo(a.dtype).tiny / torch.finfo(a.dtype).eps
    if math.isfinite(product) and abs(product) > room:
        return product
    return float(torch.dot(a.double(), b.double()))
