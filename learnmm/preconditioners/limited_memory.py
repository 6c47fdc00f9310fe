"""Limited-memory quasi-Newton steps, on top of a majorant's own."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from learnmm.curvature import dot, expand, norm
from learnmm.preconditioners.base import Direction, Point

STRETCH = 2.0
"""Factor on the step after each one that has seen no positive curvature."""


class Pairs(NamedTuple):
    """Memory of :class:`LimitedMemory`; the newest pair comes last.

    Attributes
    ----------
    x, gradient : Tensor
        Where the last step started, ``(B, *shape)``.
    moves, changes : Tensor
        ``s_i`` and ``y_i``, ``(B, history, *shape)``.
    rates : Tensor
        ``1 / <s_i, y_i>``, ``(B, history)``; zero for a pair that is not there yet.
    stretch : Tensor
        Factor on the step, ``(B,)``; above 1 after steps without positive curvature.
    """

    x: Tensor
    gradient: Tensor
    moves: Tensor
    changes: Tensor
    rates: Tensor
    stretch: Tensor


class LimitedMemory(Direction):
    """L-BFGS steps ``d = H g`` from the last steps of each problem (Nocedal 1980).

    ``H`` starts from the majorant's inverse, scaled to the newest pair:
    ``H_0 = <s, y> / <y, B^+ y> B^+``, which is ``<s, y> / |y|^2 I`` for a scalar ``B``. So
    structure that a majorant knows is not learned again, and the first step is the majorant's own.
    Pairs that have seen no positive curvature, ``<s, y> <= eps |s| |y|``, are left out, so ``H``
    is positive definite without conditions on the length of steps; as long as there is none, a
    step is twice as long as ``H`` says, then four times, and so on.

    Nothing confines such steps: they are verified, and shortened where they are refused.

    Parameters
    ----------
    history : int
        Pairs to keep, at least 1. Each costs two copies of the iterate.

    Raises
    ------
    ValueError
        If the history is not a positive integer.

    Examples
    --------
    >>> import torch, learnmm as lmm
    >>> def rosenbrock(x):
    ...     return 100 * (x[:, 1] - x[:, 0] ** 2) ** 2 + (1 - x[:, 0]) ** 2
    >>> x0 = torch.tensor([[-1.2, 1.0], [2.0, 2.0]], dtype=torch.float64)
    >>> optimizer = lmm.ProjectedMMOptimizer(rosenbrock, preconditioner=lmm.LimitedMemory())
    >>> result = optimizer.minimize(x0)
    >>> bool((result.fun < 1e-9).all()), bool(result.certificate.monotone.all())
    (True, True)
    """

    def __init__(self, history: int = 10) -> None:
        super().__init__()
        if not (isinstance(history, int) and history >= 1):
            raise ValueError(f"history must be an integer of at least 1, got {history!r}")
        self.history = history

    def init_state(self, x: Tensor) -> Pairs:
        """No pairs."""
        none = x.new_zeros(x.shape[0], self.history, *x.shape[1:])
        rates = x.new_zeros(x.shape[0], self.history)
        return Pairs(x, torch.zeros_like(x), none, none, rates, torch.ones_like(rates[:, 0]))

    def forward(self, point: Point, state: Pairs) -> tuple[Tensor, Pairs]:
        """Append the pair of the last step, then apply the two-loop recursion."""
        pairs = _append(state, point)
        step = _two_loops(pairs, point)
        return expand(pairs.stretch, step) * step, pairs


def _append(state: Pairs, point: Point) -> Pairs:
    """Replace the oldest pair by the newest, where that one has seen positive curvature."""
    move, change = point.x - state.x, point.gradient - state.gradient
    product = dot(move, change)
    useful = product > torch.finfo(move.dtype).eps * norm(move) * norm(change)
    rate = 1 / torch.where(useful, product, 1.0)
    useful = useful & torch.isfinite(rate)

    concave = (norm(move) > 0) & ~useful

    def pushed(old: Tensor, new: Tensor) -> Tensor:
        return torch.where(expand(useful, old), torch.cat([old[:, 1:], new[:, None]], 1), old)

    return Pairs(
        x=point.x,
        gradient=point.gradient,
        moves=pushed(state.moves, move),
        changes=pushed(state.changes, change),
        rates=pushed(state.rates, rate),
        stretch=torch.where(concave, STRETCH * state.stretch, 1.0),
    )


def _two_loops(pairs: Pairs, point: Point) -> Tensor:
    """``H g`` (Nocedal & Wright 2006, Algorithm 7.4); a rate of zero passes its pair over."""
    moves, changes, rates = (part.unbind(1) for part in pairs[2:5])
    step = point.gradient
    weights: list[Tensor] = []
    for s, y, rate in zip(reversed(moves), reversed(changes), reversed(rates), strict=True):
        weights.append(rate * dot(s, step))
        step = step - expand(weights[-1], step) * y
    step = _initial(pairs, point, step)
    for s, y, rate, weight in zip(moves, changes, rates, reversed(weights), strict=True):
        step = step + expand(weight - rate * dot(y, step), step) * s
    return step


def _initial(pairs: Pairs, point: Point, v: Tensor) -> Tensor:
    """``H_0 v``."""
    newest, rate = pairs.changes[:, -1], pairs.rates[:, -1]
    bend = rate * dot(newest, point.curvature.solve(newest))
    scale = torch.where(bend > 0, 1 / torch.where(bend > 0, bend, 1.0), 1.0)
    return expand(scale, v) * point.curvature.solve(v)
