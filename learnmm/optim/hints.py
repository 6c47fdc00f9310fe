"""Tell why steps are refused where the losses seen give it away."""

from __future__ import annotations

import math

from learnmm.optim.plane import Plane
from learnmm.solve.safeguard import rounding_slack
from learnmm.solve.state import State

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

    def observe(self, plane: Plane, state: State, *, first: bool) -> None:
        """Look at a candidate that was refused; `first`: of those from its iterate."""
        if self._given:
            return
        if first:
            self._shares.clear()
        value, other = state.value, plane.objective.last.value
        change, mean = float(value) - float(other), (plane.before + plane.after) / 2
        slack = float(rounding_slack(value) + rounding_slack(other))
        straight = plane.before / 2 <= plane.after <= 2 * plane.before
        if straight and mean > 8 * slack and 8 * slack < abs(change) < math.inf:
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
