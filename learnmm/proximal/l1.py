"""The sum of absolute values."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from learnmm.proximal.base import Penalty, require_broadcast, rows_of, weight_of
from learnmm.vectors import summed


class L1(Penalty):
    """``h(x) = sum_i weight_i |x_i|``; its prox is soft thresholding.

    Between zeros it is linear, so a proposer moves the unknowns that keep their sign, or leave
    zero, and stops them at zero: orthant-wise steps (Andrew & Gao 2007). The majorant's own step
    takes all others.

    Parameters
    ----------
    weight : float or Tensor
        Not negative: a number, or a tensor that broadcasts to the iterates ``(B, *shape)``, which
        is ``(B, 1, ...)`` for one per problem.

    Raises
    ------
    TypeError, ValueError
        For weights that are none.

    Examples
    --------
    >>> import torch, learnmm as lmm
    >>> from learnmm.proximal import L1
    >>> y = torch.tensor([[3.0, -0.5, -2.0]])
    >>> lmm.minimize(lmm.Quadratic(y), torch.zeros(1, 3), penalty=L1(1.0)).x.tolist()
    [[2.0, 0.0, -1.0]]
    """

    faces = True
    separable = True

    def __init__(self, weight: float | Tensor = 1.0) -> None:
        self.weight = weight_of("L1", weight)

    def value(self, x: Tensor) -> Tensor:
        """Weighted sum of absolute values."""
        return summed(self.weight.to(x) * x.abs())

    def fall(self, x: Tensor, z: Tensor) -> Tensor:
        """Weighted sum of the differences of absolute values."""
        return summed(self.weight.to(x) * (x.abs() - z.abs()))

    def prox(self, v: Tensor, weights: Tensor) -> Tensor:
        """Move every entry towards zero by ``weight / w``, and no further."""
        most = self.weight.to(v) / weights
        return v - v.clamp(-most, most)

    def residual(self, x: Tensor, gradient: Tensor, weights: Tensor, memory: Any = None) -> Tensor:
        """``W (x - z)``, of which nothing cancels but ``g`` and the weight."""
        weight = self.weight.to(x)
        return gradient + (weights * x - gradient).clamp(-weight, weight)

    def steepest(self, x: Tensor, gradient: Tensor) -> Tensor:
        """``g + weight sign(x)``; at zero what the weight leaves of ``g``."""
        weight = self.weight.to(x)
        at_zero = gradient - gradient.clamp(-weight, weight)
        return at_zero.where(x == 0, gradient + weight * x.sign())

    def free(self, x: Tensor, target: Tensor, gradient: Tensor) -> Tensor:
        """Which entries keep their sign, or leave zero."""
        return ((target != 0) & (x * target.sign() >= 0)) | (self.weight.to(x) == 0)

    def shares(self, x: Tensor, step: Tensor, gradient: Tensor) -> Tensor:
        """What is left to zero over the step."""
        ahead = (step * self._side(x, gradient) > 0) & (self.weight.to(x) > 0)
        return torch.where(ahead, x / torch.where(ahead, step, 1.0), 1.0).clamp(max=1.0)

    def confined(self, z: Tensor, x: Tensor, gradient: Tensor) -> Tensor:
        """Zero where the sign is not that of ``x``, or there that of the way down."""
        side = self._side(x, gradient)
        return z.where((z * side > 0) | (self.weight.to(x) == 0), 0.0)

    def _side(self, x: Tensor, gradient: Tensor) -> Tensor:
        """Sign of the face, which at zero is that of the way down."""
        return x.sign().where(x != 0, -gradient.sign())

    def check(self, x: Tensor) -> None:
        """Shape of the weight."""
        require_broadcast("L1", "weight", self.weight, x.shape)

    def scaled(self, factor: float) -> L1:
        """Weights times a number."""
        return L1(self.weight * factor)

    def restricted(self, rows: Tensor, x: Tensor) -> L1:
        """Weights of some problems."""
        return L1(rows_of(self.weight, rows, x))
