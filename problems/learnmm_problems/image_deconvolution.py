"""Robust deconvolution of a small image: rectangles, or a piece of a photograph."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from learnmm import HalfQuadratic, MatrixMap
from learnmm.atoms import Loss
from learnmm.registry import Instance, Problem
from learnmm_problems.bundled import photographs
from learnmm_problems.signal_deconvolution import CONVEX
from learnmm_problems.stencils import image_blur, image_differences

RECTANGLES = 3


@dataclass(frozen=True)
class ImageDeconvolutionProblem(Problem):
    """``f(x) = sum_i loss((K x - y)_i) + weight sum_i hyperbolic((D x)_i)`` on flattened images.

    As :class:`~learnmm_problems.signal_deconvolution.SignalDeconvolutionProblem`, in two
    dimensions: ``x`` has shape ``(B, side * side)``, row-major. Bounds are separable, hence
    diagonal and `GLOBAL`: pixels that the loss forgives are not held up by the others, as they
    would be by a structured bound, which takes the largest curvature of all.

    Parameters
    ----------
    side : int
        Height and width in pixels.
    loss : str
        A loss of :class:`learnmm.HalfQuadratic`.
    blur : float
        Standard deviation of the blur in pixels.
    noise : float
        Standard deviation of the noise; also the scale of the loss.
    outliers : float
        Share of pixels replaced.
    weight : float
        On the smoothness.
    images : {"rectangles", "photographs"}
        Sums of rectangles, or crops of scikit-learn's photographs (the extra ``toy``).

    Raises
    ------
    ValueError
        For other images; when drawing, for a side that exceeds the photographs.
    """

    name: ClassVar[str] = "image-deconvolution"
    side: int = 8
    loss: Loss | str = Loss.CAUCHY
    blur: float = 0.8
    noise: float = 0.05
    outliers: float = 0.05
    weight: float = 0.05
    images: Literal["rectangles", "photographs"] = "rectangles"

    def __post_init__(self) -> None:
        """Refuse images that do not exist."""
        if self.images not in ("rectangles", "photographs"):
            raise ValueError(f"images must be 'rectangles' or 'photographs', got {self.images!r}")

    def instance(
        self,
        batch: int,
        *,
        generator: torch.Generator | None = None,
        dtype: torch.dtype = torch.float64,
    ) -> Instance:
        """Draw images, noise and outliers; start at the data."""
        side = self.side
        shape = (batch, side * side)
        if self.images == "photographs":
            truth = photographs(self.name, batch, side, generator).flatten(1)
        else:
            truth = rectangles(batch, side, generator).flatten(1)
        noise = torch.randn(shape, generator=generator, dtype=torch.float64)
        broken = torch.rand(shape, generator=generator, dtype=torch.float64) < self.outliers
        blur = image_blur(side, side, self.blur)
        y = truth @ blur.mT + self.noise * noise
        y = torch.where(broken, 5 * noise, y).to(dtype)
        jump = image_differences(side, side).to(dtype)
        fit = HalfQuadratic(y, self.loss, scale=self.noise)
        flat = torch.zeros(batch, jump.shape[0], dtype=dtype)
        smooth = HalfQuadratic(flat, Loss.HYPERBOLIC, scale=self.noise)
        return Instance(
            objective=fit @ MatrixMap(blur.to(dtype), form="separable")
            + self.weight * (smooth @ MatrixMap(jump, form="separable")),
            x0=y.clone(),
            facts={"truth": truth.to(dtype), "convex": self.loss in CONVEX},
        )


def rectangles(batch: int, side: int, generator: torch.Generator | None = None) -> Tensor:
    """Sums of rectangles of height one, ``(batch, side, side)``."""
    edges = torch.randint(0, side + 1, (batch, RECTANGLES, 4), generator=generator)
    pixel = torch.arange(side)
    low, high = edges[..., 2:].minimum(edges[..., :2]), edges[..., 2:].maximum(edges[..., :2])
    inside = (pixel >= low[..., None]) & (pixel < high[..., None])  # (B, rectangles, 2, side)
    return (inside[:, :, 0, :, None] & inside[:, :, 1, None, :]).double().sum(1)
