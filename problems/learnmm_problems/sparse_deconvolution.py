"""Sparse deconvolution: the reflections in a seismic trace."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor

from learnmm import least_squares
from learnmm.linear import convolution
from learnmm.registry import Instance, Problem
from learnmm_problems.checked import CheckedProblem
from learnmm_problems.sparsity import smoothed_absolute, thinned


@dataclass(frozen=True)
class SparseDeconvolutionProblem(CheckedProblem):
    """``f(x) = 1/2 |w * x - y|^2 + weight sum_i (sqrt(x_i^2 + edge^2) - edge)``.

    ``w`` is Ricker's wavelet (1953), which passes a band of frequencies alone, and ``y`` a trace of
    few reflections in noise; zero lies beyond both ends. The penalty is a smoothed absolute value.
    Bounds are separable, hence diagonal and `GLOBAL`. Strictly convex; no closed form of the
    optimum.

    Parameters
    ----------
    length : int
        Samples.
    width : float
        Of the wavelet: its zeros are so many samples to both sides of the peak.
    active : float
        Share of samples that reflect, each by a Gaussian amount.
    noise : float
        Standard deviation of the noise.
    weight : float
        On the penalty.
    edge : float
        Size at which the penalty leaves the quadratic regime.
    """

    name: ClassVar[str] = "sparse-deconvolution"
    shares: ClassVar[str] = "operator"
    length: int = 32
    width: float = 2.0
    active: float = 0.1
    noise: float = 0.05
    weight: float = 0.1
    edge: float = 0.05

    def shifted(self) -> Mapping[str, Problem]:
        """A sharper penalty; three times the reflections; three times the noise."""
        return {
            "conditioning": replace(self, edge=self.edge / 3),
            "data": replace(self, active=3 * self.active),
            "noise": replace(self, noise=3 * self.noise),
        }

    def draw(self, batch: int, dtype: torch.dtype, generator: torch.Generator | None) -> Instance:
        """Draw reflections and noise; start at zero."""
        shape = (batch, self.length)
        size, noise = torch.randn(2, *shape, generator=generator, dtype=torch.float64)
        truth = thinned(size, self.active, generator)
        wavelet = ricker(self.width, min(self.length, int(8 * self.width)))
        y = convolution(wavelet, (self.length,), "zero")(truth) + self.noise * noise
        zero = torch.zeros(shape, dtype=dtype)
        blur = convolution(wavelet.to(dtype), (self.length,), "zero")
        return Instance(
            objective=least_squares(blur, y.to(dtype))
            + smoothed_absolute(zero, self.weight, self.edge),
            x0=zero,
            data=y.to(dtype),
            facts={"truth": truth.to(dtype), "convex": True},
        )


def ricker(width: float, length: int) -> Tensor:
    """``(1 - t^2) exp(-t^2 / 2)`` at ``t = 0, +-1/width, ...``: at most `length` samples, odd."""
    reach = (length - 1) // 2
    time = torch.arange(-reach, reach + 1, dtype=torch.float64) / width
    return (1 - time**2) * torch.exp(-(time**2) / 2)
