"""Curve fitting of spectra: lines whose heights, places and widths are unknown."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor

from learnmm.registry import Instance, Problem
from learnmm_problems.checked import CheckedProblem


@dataclass(frozen=True)
class SpectralPeaksProblem(CheckedProblem):
    """``f(x) = 1/2 |s(x) - y|^2 / noise^2 + 1/2 |x|^2``, ``s`` being a sum of lines.

    Known lines lie evenly on an axis from 0 to 1, as of a substance whose composition, pressure and
    temperature are not known. Each has a height ``exp(a)``, is shifted by ``shift b`` and has half
    the width ``width exp(c)``, and is the mean of a Gaussian and a Lorentzian of these (a
    pseudo-Voigt profile). ``x`` holds ``(a, b, c)`` of every line, ``(B, lines, 3)``, Gaussian a
    priori: `f` is the negative logarithm of the posterior. Wings overlap. Not convex; no closed
    form of the optimum, no majorant in closed form.

    Parameters
    ----------
    lines, channels : int
        Peaks, and points of the axis.
    width : float
        Half the width at half the height, relative to the distance of lines.
    shift : float
        Size of shifts, relative to the distance of lines.
    noise : float
        Standard deviation of the noise; heights are about one.
    spread : float
        Of the true parameters, relative to their prior.
    """

    name: ClassVar[str] = "spectral-peaks"
    shares: ClassVar[str] = "geometry"
    lines: int = 4
    channels: int = 48
    width: float = 0.4
    shift: float = 0.3
    noise: float = 0.05
    spread: float = 0.5

    def shifted(self) -> Mapping[str, Problem]:
        """Wider lines, which overlap more; parameters that are spread wider; twice the noise."""
        return {
            "conditioning": replace(self, width=1.3 * self.width),
            "data": replace(self, spread=1.5 * self.spread),
            "noise": replace(self, noise=2 * self.noise),
        }

    def draw(self, batch: int, dtype: torch.dtype, generator: torch.Generator | None) -> Instance:
        """Draw lines and noise; start at the mode of the prior."""
        shape = (batch, self.lines, 3)
        truth = self.spread * torch.randn(shape, generator=generator, dtype=torch.float64)
        noise = torch.randn(batch, self.channels, generator=generator, dtype=torch.float64)
        y = (self.spectrum(truth) + self.noise * noise).to(dtype)

        def objective(x: Tensor) -> Tensor:
            missed = (self.spectrum(x) - y) / self.noise
            return (missed.square().sum(1) + x.square().sum((1, 2))) / 2

        return Instance(
            objective=objective,
            x0=torch.zeros(shape, dtype=dtype),
            data=y,
            facts={"truth": truth.to(dtype), "convex": False},
        )

    def spectrum(self, x: Tensor) -> Tensor:
        """``s(x)``, ``(B, lines, 3) -> (B, channels)``."""
        height, shift, width = x[..., None].unbind(2)  # (B, lines, 1)
        axis = torch.linspace(0, self.lines, self.channels, dtype=x.dtype, device=x.device)
        line = torch.arange(self.lines, dtype=x.dtype, device=x.device)[:, None] + 0.5
        t = (axis - line - self.shift * shift) / (self.width * width.exp())
        profile = (torch.exp2(-(t * t)) + 1 / (1 + t * t)) / 2
        return (height.exp() * profile).sum(1)
