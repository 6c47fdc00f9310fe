"""Sparse signals, and the penalty that asks for them."""

from __future__ import annotations

import torch
from torch import Tensor

from learnmm import Atom, HalfQuadratic


def thinned(size: Tensor, active: float, generator: torch.Generator | None) -> Tensor:
    """Keep a share of some entries, chosen by chance; zero elsewhere."""
    chance = torch.rand(size.shape, generator=generator, dtype=size.dtype)
    return torch.where(chance < active, size, 0.0)


def smoothed_absolute(zero: Tensor, weight: float, edge: float) -> Atom:
    """``weight sum_i (sqrt(x_i^2 + edge^2) - edge)``, for iterates of the shape of `zero`."""
    # HalfQuadratic's hyperbolic loss is edge times the smoothed absolute value.
    return (weight / edge) * HalfQuadratic(zero, "hyperbolic", scale=edge)
