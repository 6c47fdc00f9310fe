"""Robust deconvolution: what signals and images share."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor

from learnmm import HalfQuadratic
from learnmm.atoms import Loss
from learnmm.linear import MatrixMap
from learnmm.registry import Instance, Problem
from learnmm_problems.checked import CheckedProblem

CONVEX = (Loss.HUBER, Loss.HYPERBOLIC, Loss.LOGCOSH)
GROSS = 5.0
"""Standard deviation of outliers."""


@dataclass(frozen=True)
class Deconvolution(CheckedProblem):
    """``f(x) = sum_i loss((K x - y)_i) + weight sum_i hyperbolic((D x)_i)``.

    ``K`` blurs, ``D`` takes differences, and ``y`` is a blurred truth with Gaussian noise and gross
    outliers, which the loss forgives. Bounds are separable, hence diagonal and `GLOBAL`. Huber,
    hyperbolic and log-cosh make it convex; with Cauchy, Geman-McClure or Welsch it has local
    minima. No closed form of the optimum.

    Parameters
    ----------
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

    shares: ClassVar[str] = "operator"
    loss: Loss | str = Loss.HUBER
    blur: float = 1.0
    noise: float = 0.05
    outliers: float = 0.1
    weight: float = 0.05
    positive: ClassVar[tuple[str, ...]] = (*CheckedProblem.positive, "noise")  # scale of the loss

    def shifted(self) -> Mapping[str, Problem]:
        """A wider blur; twice the outliers."""
        return {
            "conditioning": replace(self, blur=1.2 * self.blur),
            "data": replace(self, outliers=2 * self.outliers),
        }

    @abstractmethod
    def truths(self, batch: int, generator: torch.Generator | None) -> Tensor:
        """Draw what is to be found, ``(B, n)`` in float64."""

    @abstractmethod
    def maps(self) -> tuple[Tensor, Tensor]:
        """Return ``K``, ``(n, n)``, and ``D``, in float64."""

    @abstractmethod
    def start(self, data: Tensor) -> Tensor:
        """Return the start for the data ``y``."""

    def draw(self, batch: int, dtype: torch.dtype, generator: torch.Generator | None) -> Instance:
        """Draw truths, noise and outliers."""
        truth = self.truths(batch, generator)
        noise = torch.randn(truth.shape, generator=generator, dtype=torch.float64)
        broken = torch.rand(truth.shape, generator=generator, dtype=torch.float64) < self.outliers
        blur, jump = self.maps()
        y = truth @ blur.mT + self.noise * noise
        y = torch.where(broken, GROSS * noise, y).to(dtype)
        fit = HalfQuadratic(y, self.loss, scale=self.noise)
        flat = torch.zeros(batch, jump.shape[0], dtype=dtype)
        smooth = HalfQuadratic(flat, Loss.HYPERBOLIC, scale=self.noise)
        return Instance(
            objective=fit @ MatrixMap(blur.to(dtype), form="separable")
            + self.weight * (smooth @ MatrixMap(jump.to(dtype), form="separable")),
            x0=self.start(y),
            data=y,
            facts={"truth": truth.to(dtype), "convex": self.loss in CONVEX},
        )
