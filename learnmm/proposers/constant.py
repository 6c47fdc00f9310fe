"""A learned constant."""

from __future__ import annotations

import torch
from torch import nn

from learnmm.proposers.base import LearnedPreconditioner, Multipliers, Point


class Constant(LearnedPreconditioner):
    """One learned multiplier for everything, or one per unknown.

    Parameters
    ----------
    shape : tuple of int
        Shape of the multipliers, broadcastable to one problem; ``()`` for a single number.
    initial : float
        Starting value.
    """

    def __init__(self, shape: tuple[int, ...] = (), initial: float = 1.0) -> None:
        super().__init__()
        self.multipliers = nn.Parameter(torch.full(shape, initial))

    def propose(self, point: Point, memory: None) -> Multipliers:
        """The constant, for every problem of the batch."""
        return Multipliers(self.multipliers.to(point.x.dtype).expand_as(point.x))
