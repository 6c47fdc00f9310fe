"""What is learned of a quasi-Newton method: numbers about a step to factors on the next."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from learnmm.proposers.quasi_newton.features import AHEAD, BEHIND, CUBIC

SPAN = math.log(4.0)
"""Logarithm of the largest factor."""


BLEND = 1.0
"""Untrained, about a quarter of the step before goes into the pair of a step."""


class Factors(NamedTuple):
    """What the pair of a step is kept with, ``(B,)`` each.

    Attributes
    ----------
    older : Tensor
        On what older pairs have measured, of the inverse curvature.
    change : Tensor
        On the change of gradient ``y``.
    pace : Tensor
        How far the level of ``H_0`` follows the newest pair, in (0, 1).
    blend : Tensor
        How much of the step before the newest pair takes in, in (0, 1).
    """

    older: Tensor
    change: Tensor
    pace: Tensor
    blend: Tensor


class Linear(nn.Linear):
    """A linear layer that computes in the dtype of its input, and is zero until it is trained."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(inputs, outputs)
        nn.init.zeros_(self.weight)
        nn.init.zeros_(self.bias)

    def forward(self, inputs: Tensor) -> Tensor:
        """``(B, inputs)`` to ``(B, outputs)``."""
        # In fewer digits than the iterates have, neighbours of a batch would show.
        return F.linear(inputs, self.weight.to(inputs.dtype), self.bias.to(inputs.dtype))


class Rule(nn.Module):
    """How pairs are kept, and how long the next step is: 64 weights."""

    def __init__(self) -> None:
        super().__init__()
        self.keep = Linear(BEHIND, 5)
        self.plan = Linear(BEHIND + AHEAD, 1)

    def factors(self, behind: Tensor) -> Factors:
        """From features of the step behind, ``(B, BEHIND)``."""
        older, change, pace, trust, blend = self.keep(behind).unbind(1)
        curved = _curved(behind)
        # Untrained, half of what the cubic through both ends says about the curvature at the end.
        cubic = trust.sigmoid() * behind[:, CUBIC]
        return Factors(
            older=(curved * older.tanh()).exp(),
            change=(curved * change.tanh() + cubic).exp(),
            pace=(pace + 3).sigmoid(),
            blend=(blend - BLEND).sigmoid(),
        )

    def length(self, behind: Tensor, ahead: Tensor) -> Tensor:
        """Factor on the next step, ``(B,)``; `ahead`: its features, ``(B, AHEAD)``."""
        length = self.plan(torch.cat([behind, ahead], 1))[:, 0]
        longer: Tensor = (_curved(behind) * length.tanh()).exp()
        return longer


def _curved(behind: Tensor) -> Tensor:
    """Logarithm of the largest factor after such a step, ``(B,)``.

    It vanishes where the step has seen a parabola. So what is exact on quadratics stays exact, and
    near a minimum the method is BFGS, which converges superlinearly there.
    """
    return SPAN * (2 * behind[:, CUBIC]).abs().tanh()
