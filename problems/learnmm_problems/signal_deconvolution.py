"""Robust deconvolution of a piecewise constant signal."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from learnmm_problems.deconvolution import Deconvolution
from learnmm_problems.stencils import differences, gaussian_blur

JUMPING = 0.15
"""Share of samples at which the signal jumps."""


@dataclass(frozen=True)
class SignalDeconvolutionProblem(Deconvolution):
    """``f(x) = sum_i loss((K x - y)_i) + weight sum_i hyperbolic((D x)_i)``.

    See :class:`~learnmm_problems.deconvolution.Deconvolution`, whose parameters it has, for a
    piecewise constant signal and Huber's loss, which makes it convex.

    Parameters
    ----------
    length : int
        Samples.
    """

    name: ClassVar[str] = "signal-deconvolution"
    blur: float = 1.5
    length: int = 32

    def truths(self, batch: int, generator: torch.Generator | None) -> Tensor:
        """Signals that jump here and there by Gaussian amounts."""
        shape = (batch, self.length)
        jumps = torch.randn(shape, generator=generator, dtype=torch.float64)
        where = torch.rand(shape, generator=generator, dtype=torch.float64)
        return torch.cumsum(torch.where(where < JUMPING, jumps, 0.0), 1)

    def maps(self) -> tuple[Tensor, Tensor]:
        """Gaussian blur, and differences of neighbours."""
        return gaussian_blur(self.length, self.blur), differences(self.length)

    def start(self, data: Tensor) -> Tensor:
        """Zero."""
        return torch.zeros_like(data)
