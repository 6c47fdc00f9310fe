"""How much shorter a refused step is tried: by what its line is known to do."""

from __future__ import annotations

import torch
from torch import Tensor

LEAST = 0.1
"""Factor on a step whose end taught nothing: neither value nor slope is finite there."""


def parabola(slope: Tensor, actual: Tensor) -> Tensor:
    """Factor on a refused step ``d``: where the parabola through what is known has its minimum.

    That is ``f`` at both ends and ``<g, d>``; the factor stays within [0.1, 0.5] (Nocedal &
    Wright 2006, section 3.5). A candidate that is not finite teaches nothing: 0.1.

    Parameters
    ----------
    slope : Tensor
        ``<g, d>`` at the iterate, ``(B,)``.
    actual : Tensor
        ``f(x) - f(x - d)``.
    """
    bend = 2 * (slope - actual)
    best = torch.where(bend > 0, slope / torch.where(bend > 0, bend, 1.0), 0.5)
    return torch.where(torch.isfinite(actual), best, LEAST).clamp(LEAST, 0.5)


def cubic(slope: Tensor, actual: Tensor, after: Tensor) -> Tensor:
    """Factor on a refused step ``d``: where the cubic through values and slopes has its minimum.

    That is ``f`` and ``<g, d>`` at both ends (Nocedal & Wright 2006, Eq. 3.59). What a step far
    too long shows is trusted over two orders of magnitude: the factor stays within [0.01, 0.9].
    A candidate that is not finite teaches nothing: 0.1.

    Parameters
    ----------
    slope : Tensor
        ``<g, d>`` at the iterate, ``(B,)``.
    actual : Tensor
        ``f(x) - f(x - d)``.
    after : Tensor
        ``<g, d>`` at the candidate.
    """
    mean = 3 * actual - slope - after
    square = mean * mean - slope * after
    root = square.clamp(min=0).sqrt()
    best = 1 - (root - mean - after) / (slope - after + 2 * root)
    best = torch.where((square >= 0) & torch.isfinite(best), best, 0.5)
    known = torch.isfinite(actual) & torch.isfinite(after)
    return torch.where(known, best.clamp(0.01, 0.9), LEAST)
