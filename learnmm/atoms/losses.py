"""Losses of one residual ``phi(t)`` that half-quadratic curvatures bound, at unit scale."""

from __future__ import annotations

import math
from collections.abc import Callable
from enum import StrEnum
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor


class Loss(StrEnum):
    """An even loss that behaves as ``t^2 / 2`` at zero.

    The first three are convex; the others forgive outliers entirely.
    """

    HUBER = "huber"
    """``t^2 / 2`` up to 1, then ``|t| - 1/2``."""
    HYPERBOLIC = "hyperbolic"
    """``sqrt(1 + t^2) - 1``."""
    LOGCOSH = "logcosh"
    """``log cosh t``."""
    CAUCHY = "cauchy"
    """``log(1 + t^2) / 2``."""
    GEMAN_MCCLURE = "geman_mcclure"
    """``t^2 / (1 + t^2) / 2``."""
    WELSCH = "welsch"
    """``1 - exp(-t^2 / 2)``."""


class Phi(NamedTuple):
    """A loss ``phi(t)`` and its half-quadratic weight ``phi'(t) / t``."""

    value: Callable[[Tensor], Tensor]
    weight: Callable[[Tensor], Tensor]


def tanhc(t: Tensor) -> Tensor:
    """``tanh(t) / t``, with its limit 1 at zero."""
    small = t.abs() < 1e-4
    return torch.where(small, 1 - t * t / 3, torch.tanh(t) / torch.where(small, 1.0, t))


def _logcosh(t: Tensor) -> Tensor:
    """``log cosh t``, to relative accuracy for every ``t``."""
    size = t.abs()
    small = size < 1
    near = torch.log1p(2 * torch.sinh(torch.where(small, t, 0.0) / 2) ** 2)
    return torch.where(small, near, size + F.softplus(-2 * size) - math.log(2))


def _huber(t: Tensor) -> Tensor:
    size = t.abs()
    return torch.where(size <= 1, t * t / 2, size - 0.5)


PHI = {
    Loss.HUBER: Phi(_huber, lambda t: 1 / t.abs().clamp(min=1)),
    # The subtracted one is folded in, so that no digit is lost at small residuals.
    Loss.HYPERBOLIC: Phi(
        lambda t: t * t / (1 + torch.sqrt(1 + t * t)), lambda t: torch.rsqrt(1 + t * t)
    ),
    Loss.LOGCOSH: Phi(_logcosh, tanhc),
    Loss.CAUCHY: Phi(lambda t: torch.log1p(t * t) / 2, lambda t: 1 / (1 + t * t)),
    Loss.GEMAN_MCCLURE: Phi(lambda t: t * t / (1 + t * t) / 2, lambda t: (1 + t * t) ** -2),
    Loss.WELSCH: Phi(lambda t: -torch.expm1(-t * t / 2), lambda t: torch.exp(-t * t / 2)),
}
