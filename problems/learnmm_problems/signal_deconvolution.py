"""Robust deconvolution of a piecewise constant signal."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch

from learnmm import HalfQuadratic, MatrixMap
from learnmm.atoms import Loss
from learnmm.registry import Instance, Problem
from learnmm_problems.stencils import differences, gaussian_blur

CONVEX = (Loss.HUBER, Loss.HYPERBOLIC, Loss.LOGCOSH)


@dataclass(frozen=True)
class SignalDeconvolutionProblem(Problem):
    """``f(x) = sum_i loss((K x - y)_i) + weight sum_i hyperbolic((D x)_i)``.

    ``K`` blurs, ``D`` takes differences, and ``y`` is a blurred piecewise constant signal with
    Gaussian noise and gross outliers, which the loss forgives. Bounds are separable, hence
    diagonal and `GLOBAL`. Huber, hyperbolic and log-cosh make it convex; with Cauchy,
    Geman-McClure or Welsch it has local minima. No closed form of the optimum.

    Parameters
    ----------
    length : int
        Samples.
    loss : str
        A loss of :class:`learnmm.HalfQuadratic`.
    blur : float
        Standard deviation of the blur in samples.
    noise : float
        Standard deviation of the noise; also the scale of the loss.
    outliers : float
        Share of samples replaced.
    weight : float
        On the smoothness.
    """

    name: ClassVar[str] = "signal-deconvolution"
    length: int = 32
    loss: Loss | str = Loss.HUBER
    blur: float = 1.5
    noise: float = 0.05
    outliers: float = 0.1
    weight: float = 0.05

    def instance(
        self,
        batch: int,
        *,
        generator: torch.Generator | None = None,
        dtype: torch.dtype = torch.float64,
    ) -> Instance:
        """Draw signals, noise and outliers; start at zero."""
        n = self.length
        jumps = torch.randn(batch, n, generator=generator, dtype=torch.float64)
        where = torch.rand(batch, n, generator=generator, dtype=torch.float64)
        noise = torch.randn(batch, n, generator=generator, dtype=torch.float64)
        broken = torch.rand(batch, n, generator=generator, dtype=torch.float64) < self.outliers
        truth = torch.cumsum(torch.where(where < 0.15, jumps, 0.0), 1)
        blur = gaussian_blur(n, self.blur)
        y = truth @ blur.mT + self.noise * noise
        y = torch.where(broken, 5 * noise, y)
        jump = differences(n)
        fit = HalfQuadratic(y.to(dtype), self.loss, scale=self.noise)
        flat = torch.zeros(batch, n - 1, dtype=dtype)
        smooth = HalfQuadratic(flat, Loss.HYPERBOLIC, scale=self.noise)
        return Instance(
            objective=fit @ MatrixMap(blur.to(dtype), form="separable")
            + self.weight * (smooth @ MatrixMap(jump.to(dtype), form="separable")),
            x0=torch.zeros(batch, n, dtype=dtype),
            facts={"truth": truth.to(dtype), "convex": self.loss in CONVEX},
        )
