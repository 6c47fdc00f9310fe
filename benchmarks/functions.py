"""Functions that several benchmarks minimize."""

from __future__ import annotations

from torch import Tensor


def rosenbrock(x: Tensor) -> Tensor:
    """The chained function of Rosenbrock, ``(B, n) -> (B,)``."""
    return (100 * (x[:, 1:] - x[:, :-1] ** 2) ** 2 + (1 - x[:, :-1]) ** 2).sum(1)
