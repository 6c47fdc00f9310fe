"""Accelerated proximal gradients: the majorant's own step from a point ahead on the way."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from learnmm.proposers.base import Point, Proposer, Step
from learnmm.vectors import dot, expand


class Course(NamedTuple):
    """Where a run comes from.

    Attributes
    ----------
    x, gradient : Tensor
        The last iterate, and the gradient there, ``(B, *shape)``.
    move, change : Tensor
        To these, from those before.
    age : Tensor
        ``t`` of the momentum, ``(B,)``.
    """

    x: Tensor
    gradient: Tensor
    move: Tensor
    change: Tensor
    age: Tensor


class Extrapolated(Proposer):
    """The majorant's own step from ``y = x + beta (x - x_prev)``.

    Momentum as in FISTA (Beck & Teboulle 2009), ``beta = (t - 1) / t_next``, restarted where it
    points up (O'Donoghue & Candes 2015). The gradient at ``y`` is extrapolated, too, ``g + beta
    (g - g_prev)``: what it is for quadratic functions, and no evaluation. What does not lower the
    objective is refused, and the majorant's own step follows. A callable is bounded by the secants
    of the steps: a bound that Hessian-vector products give costs many times more.

    Examples
    --------
    >>> import torch, learnmm as lmm
    >>> fit = lmm.least_squares(torch.randn(40, 20), torch.randn(1, 40))
    >>> energy = fit + lmm.proximal.TotalVariation(0.5)
    >>> lmm.minimize(energy, torch.zeros(1, 20)).certificate.proposer
    'Extrapolated'
    """

    before_prox = True
    curvature_from_steps = True

    def init_memory(self, x: Tensor) -> Course:
        """At the start, without momentum."""
        zero = torch.zeros_like(x)
        return Course(x, zero, zero, zero, x.new_ones(len(x)))

    def observe(self, point: Point, memory: Course) -> Course:
        """Take the move to an iterate, and restart if it leads back from where it was tried."""
        move, change = point.x - memory.x, point.gradient - memory.gradient
        moved = (move != 0).flatten(1).any(1)
        ahead = memory.x + self._ahead(memory.age, memory.move)
        back = dot(point.curvature.apply(ahead - point.x), move) > 0
        older = (1 + (1 + 4 * memory.age**2).sqrt()) / 2
        age = torch.where(moved, torch.where(back, 1.0, older), memory.age)
        change = torch.where(expand(moved, change), change, 0.0)
        return Course(point.x, point.gradient, move, change, age)

    def propose(self, point: Point, memory: Course) -> Step:
        """From ahead."""
        gradient = point.gradient + self._ahead(memory.age, memory.change)
        return Step(point.curvature.solve(gradient) - self._ahead(memory.age, memory.move))

    def _ahead(self, age: Tensor, move: Tensor) -> Tensor:
        """``beta`` times a move."""
        older = (1 + (1 + 4 * age * age).sqrt()) / 2
        return expand((age - 1) / older, move) * move
