"""Preconditioners without a network: the identity and a learned constant."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from learnmm.proposers.base import Features, LearnedPreconditioner


class Identity(LearnedPreconditioner):
    """Multipliers 1: the plain majorize-minimize step."""

    def init_state(self, x: Tensor) -> Any:
        """No memory."""
        return None

    def forward(self, features: Features, state: Any) -> tuple[Tensor, Any]:
        """Ones."""
        return torch.ones_like(features.x), None


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

    def init_state(self, x: Tensor) -> Any:
        """No memory."""
        return None

    def forward(self, features: Features, state: Any) -> tuple[Tensor, Any]:
        """The constant, broadcast to the batch."""
        return self.multipliers.to(features.x.dtype).expand_as(features.x), None
