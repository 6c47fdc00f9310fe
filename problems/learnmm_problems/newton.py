"""Newton's method with step halving, for reference solutions of convex problems."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

HALVINGS = 10


def newton(
    x: Tensor, value: Callable[[Tensor], Tensor], step_at: Callable[[Tensor], Tensor], steps: int
) -> Tensor:
    """Minimize a batch of strictly convex functions.

    Parameters
    ----------
    x : Tensor, shape (B, ...)
        Start, float64.
    value : callable
        ``x`` to the values, ``(B,)``.
    step_at : callable
        ``x`` to ``H^-1 g``, the shape of ``x``.
    steps : int
        Newton steps.

    Returns
    -------
    Tensor
        The last iterate.
    """
    for _ in range(steps):
        step = step_at(x)
        length = x.new_ones(len(x), *[1] * (x.dim() - 1))
        for _ in range(HALVINGS):
            worse = (value(x - length * step) > value(x)).reshape(length.shape)
            length = torch.where(worse, length / 2, length)
        x = x - length * step
    return x
