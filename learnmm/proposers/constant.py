"""A learned constant."""

from __future__ import annotations

import math

import torch
from torch import nn

from learnmm.plain import is_integer, number, plain
from learnmm.proposers.base import LearnedPreconditioner, Multipliers, Point


class Constant(LearnedPreconditioner):
    """One learned multiplier for everything, or one per unknown.

    Parameters
    ----------
    shape : tuple of int
        Shape of the multipliers, broadcastable to one problem; ``()`` for a single number.
    initial : float
        Starting value.

    Raises
    ------
    TypeError
        If `shape` is no tuple of integers, or `initial` no number.
    ValueError
        If `initial` is not finite.
    """

    def __init__(self, shape: tuple[int, ...] = (), initial: float = 1.0) -> None:
        super().__init__()
        if not isinstance(shape, tuple) or not all(map(is_integer, map(plain, shape))):
            raise TypeError(f"Constant: shape must be a tuple of integers, got {shape!r:.60}")
        value = float(number("Constant: initial", initial))
        if not math.isfinite(value):
            raise ValueError(f"Constant: initial must be finite, got {initial}")
        self.multipliers = nn.Parameter(torch.full(shape, value))

    def propose(self, point: Point, memory: None) -> Multipliers:
        """The constant, for every problem of the batch."""
        return Multipliers(self.multipliers.to(point.x.dtype).expand_as(point.x))
