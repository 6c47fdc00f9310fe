"""Activations that bounds know: first and second derivatives, and how large they can be."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor, nn

from learnmm.levels import require_positive
from learnmm.plain import plain


class SoftReLU(nn.Module):
    """``(t + sqrt(t^2 + eps^2)) / 2``: a ReLU that is smooth everywhere.

    Slope in ``(0, 1)``, second derivative at most ``1 / (2 eps)``.

    Parameters
    ----------
    eps : float
        Width of the bend, positive.
    """

    def __init__(self, eps: float = 1e-2) -> None:
        super().__init__()
        require_positive("SoftReLU: eps", eps)
        self.eps = plain(eps)

    def forward(self, t: Tensor) -> Tensor:
        """Apply entrywise."""
        return (t + torch.sqrt(t * t + self.eps**2)) / 2

    def extra_repr(self) -> str:
        """Show the width."""
        return f"eps={self.eps}"


class Bend(NamedTuple):
    """First and second derivative of an activation at ``z``, and their global limits."""

    slope: Callable[[Tensor], Tensor]
    bend: Callable[[Tensor], Tensor]
    slope_limit: float
    bend_limit: float


def _soft_relu_slope(square: float, z: Tensor) -> Tensor:
    return (1 + z * torch.rsqrt(z * z + square)) / 2


def _soft_relu_bend(square: float, z: Tensor) -> Tensor:
    return square / 2 * torch.rsqrt(z * z + square) ** 3


def _softplus_slope(beta: float, z: Tensor) -> Tensor:
    return torch.sigmoid(beta * z)


def _softplus_bend(beta: float, z: Tensor) -> Tensor:
    return beta * torch.sigmoid(beta * z) * torch.sigmoid(-beta * z)


def _tanh_slope(z: Tensor) -> Tensor:
    return 1 - torch.tanh(z) ** 2


def _tanh_bend(z: Tensor) -> Tensor:
    return -2 * torch.tanh(z) * (1 - torch.tanh(z) ** 2)


def _sigmoid_slope(z: Tensor) -> Tensor:
    return torch.sigmoid(z) * torch.sigmoid(-z)


def _sigmoid_bend(z: Tensor) -> Tensor:
    return torch.sigmoid(z) * torch.sigmoid(-z) * (torch.sigmoid(-z) - torch.sigmoid(z))


def bend_of(layer: nn.Module) -> Bend | None:
    """Derivatives of a supported activation, None for anything else."""
    match layer:
        case SoftReLU():
            square = layer.eps**2
            return Bend(
                partial(_soft_relu_slope, square),
                partial(_soft_relu_bend, square),
                1.0,
                1 / (2 * layer.eps),
            )
        case nn.Softplus():
            # torch's own switches to the identity at beta z = 20, a jump of 2e-9 / beta that these
            # derivatives do not see.
            beta = float(layer.beta)
            return Bend(
                partial(_softplus_slope, beta),
                partial(_softplus_bend, beta),
                1.0,
                beta / 4,
            )
        case nn.Tanh():
            return Bend(
                _tanh_slope,
                _tanh_bend,
                1.0,
                4 / (3 * math.sqrt(3)),
            )
        case nn.Sigmoid():
            return Bend(
                _sigmoid_slope,
                _sigmoid_bend,
                0.25,
                1 / (6 * math.sqrt(3)),
            )
    return None
