"""A function seen through another rotation in every problem: nothing is left to be learned."""

from __future__ import annotations

import torch
from torch import Tensor

from learnmm.objective import BatchFunction


class Turned:
    """``f(Q_b x)`` for the rotation ``Q_b`` of each problem.

    Parameters
    ----------
    fun : callable
        ``f``, ``(B, n) -> (B,)``.
    rotations : Tensor
        ``(B, n, n)``.
    """

    def __init__(self, fun: BatchFunction, rotations: Tensor) -> None:
        self.fun = fun
        self.rotations = rotations

    def __call__(self, x: Tensor) -> Tensor:
        """Value in turned coordinates."""
        return self.fun((self.rotations @ x[..., None])[..., 0])

    def back(self, z: Tensor) -> Tensor:
        """``Q_b^T z``, where the function sees ``z``."""
        return (self.rotations.mT @ z[..., None])[..., 0]


def rotations(batch: int, unknowns: int, generator: torch.Generator | None) -> Tensor:
    """Orthogonal matrices, uniform up to signs, ``(B, n, n)`` in float64."""
    square = torch.randn(batch, unknowns, unknowns, generator=generator, dtype=torch.float64)
    turned: Tensor = torch.linalg.qr(square).Q
    return turned
