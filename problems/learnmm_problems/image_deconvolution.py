"""Robust deconvolution of a small image: rectangles, or a piece of a photograph."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from learnmm.atoms import Loss
from learnmm_problems.bundled import photographs
from learnmm_problems.deconvolution import Deconvolution
from learnmm_problems.stencils import image_blur, image_differences

RECTANGLES = 3


@dataclass(frozen=True)
class ImageDeconvolutionProblem(Deconvolution):
    """``f(x) = sum_i loss((K x - y)_i) + weight sum_i hyperbolic((D x)_i)`` on flattened images.

    See :class:`~learnmm_problems.deconvolution.Deconvolution`, whose parameters it has, in two
    dimensions: ``x`` has shape ``(B, side * side)``, row-major. Bounds are separable: pixels that
    the loss forgives are not held up by the others, as they would be by a structured bound, which
    takes the largest curvature of all. Cauchy's loss gives it local minima.

    Parameters
    ----------
    side : int
        Height and width in pixels.
    images : {"rectangles", "photographs"}
        Sums of rectangles, or crops of scikit-learn's photographs (the extra ``toy``).

    Raises
    ------
    ValueError
        For other images; when drawing, for a side that exceeds the photographs.
    """

    name: ClassVar[str] = "image-deconvolution"
    loss: Loss | str = Loss.CAUCHY
    blur: float = 0.8
    outliers: float = 0.05
    side: int = 8
    images: Literal["rectangles", "photographs"] = "rectangles"

    def __post_init__(self) -> None:
        """Refuse images that do not exist."""
        super().__post_init__()
        if self.images not in ("rectangles", "photographs"):
            raise ValueError(f"images must be 'rectangles' or 'photographs', got {self.images!r}")

    def truths(self, batch: int, generator: torch.Generator | None) -> Tensor:
        """Images, flattened."""
        if self.images == "photographs":
            return photographs(self.name, batch, self.side, generator).flatten(1)
        return rectangles(batch, self.side, generator).flatten(1)

    def maps(self) -> tuple[Tensor, Tensor]:
        """Separable Gaussian blur, and differences along both axes."""
        blur = image_blur(self.side, self.side, self.blur)
        return blur, image_differences(self.side, self.side)

    def start(self, data: Tensor) -> Tensor:
        """The data."""
        return data.clone()


def rectangles(batch: int, side: int, generator: torch.Generator | None = None) -> Tensor:
    """Sums of rectangles of height one, ``(batch, side, side)``."""
    edges = torch.randint(0, side + 1, (batch, RECTANGLES, 4), generator=generator)
    pixel = torch.arange(side)
    low, high = edges[..., 2:].minimum(edges[..., :2]), edges[..., 2:].maximum(edges[..., :2])
    inside = (pixel >= low[..., None]) & (pixel < high[..., None])  # (B, rectangles, 2, side)
    return (inside[:, :, 0, :, None] & inside[:, :, 1, None, :]).double().sum(1)
