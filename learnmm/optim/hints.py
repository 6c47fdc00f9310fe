"""Tell why steps are refused where the losses seen give it away."""

from __future__ import annotations

import torch

from learnmm.closure import ClosureObjective
from learnmm.curvature import dot, norm
from learnmm.safeguard import rounding_slack
from learnmm.state import State

ENOUGH = 4
"""Refused steps at one point that must tell the same."""

SPREAD = 0.25
"""How far shares that are the same may lie apart, relative to them."""

SCALED = (
    "the loss falls along refused steps as if its gradients were {factor:.3g} times too large: if "
    "the closure scales the loss before backward (torch.amp.GradScaler), return the scaled loss "
    "too, or divide the gradients by the scale; if not, a gradient is wrong, see "
    "learnmm.checks.assert_gradient"
)
WRONG = (
    "along refused steps the loss changes by {share:.3g} of what its gradients say, however short "
    "they are: a gradient is wrong, or belongs to another loss than the closure returns; "
    "learnmm.checks.assert_gradient compares gradients with differences"
)


class Hints:
    """Compares what refused steps did with what their gradients said.

    A step ``d`` from ``x`` whose slopes ``<g, d>`` at both ends are within a factor of two lowers
    a smooth loss by about their mean. Where it does not, and several shorter steps from there
    lower it by the same share of theirs, the gradients are not those of the loss. Rounding and
    random draws give ever other shares.
    """

    def __init__(self) -> None:
        self._shares: list[float] = []
        self._given = False

    def observe(self, state: State, objective: ClosureObjective) -> None:
        """Look at the last evaluation, a candidate of one problem that was refused."""
        if self._given:
            return
        if int(state.trial) == 1:  # at another point than before
            self._shares.clear()
        last = objective.last
        step = state.x - objective.at
        first, second = float(dot(state.gradient, step)), float(dot(last.gradient, step))
        change = float(state.value) - float(last.value)
        slack = float(rounding_slack(state.value) + rounding_slack(last.value))
        slack += torch.finfo(step.dtype).eps * float(norm(state.gradient) * norm(state.x))
        mean = (first + second) / 2
        seen = mean > 8 * slack and abs(change) > 8 * slack and first / 2 <= second <= 2 * first
        if seen and abs(change) < float("inf"):
            self._shares.append(change / mean)

    def draw(self) -> str | None:
        """The hint, once, as soon as there is one."""
        shares = sorted(self._shares)
        if self._given or len(shares) < ENOUGH:
            return None
        middle = shares[len(shares) // 2]
        alike = all(abs(share - middle) <= SPREAD * abs(middle) for share in shares)
        if not alike or middle >= SPREAD:
            return None
        self._given = True
        return SCALED.format(factor=1 / middle) if middle > 0 else WRONG.format(share=middle)
