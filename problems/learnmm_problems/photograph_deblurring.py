"""Deblurring of photographs, of which nothing is known beyond the edge."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from learnmm import least_squares
from learnmm.linear import LinearOperator
from learnmm.registry import Instance, Problem
from learnmm_problems.bundled import photographs
from learnmm_problems.checked import CheckedProblem
from learnmm_problems.image_deconvolution import rectangles
from learnmm_problems.sparsity import smoothed_absolute


@dataclass(frozen=True)
class PhotographDeblurringProblem(CheckedProblem):
    """``f(x) = 1/2 |K x - y|^2 + weight sum_i (sqrt((D x)_i^2 + edge^2) - edge)``.

    ``K`` averages pixels with a Gaussian window and keeps what is complete: the blurred picture
    ``y`` is smaller than the sharp one ``x``, whose margin is unknown too and not assumed to be
    black or periodic. ``D`` takes differences of neighbours along both axes; the penalty is a
    smoothed total variation (Rudin, Osher and Fatemi 1992). Pictures are crops of scikit-learn's
    photographs (the extra ``toy``). Bounds are separable, hence diagonal and `GLOBAL`. Convex; no
    closed form of the optimum. ``x`` has shape ``(B, side, side)``.

    Parameters
    ----------
    side : int
        Height and width of ``x`` in pixels.
    blur : float
        Standard deviation of the window in pixels; its radius is `reach`.
    reach : int
        By so many pixels ``y`` is smaller at each edge.
    noise : float
        Standard deviation of the noise; pixels lie in [0, 1].
    weight : float
        On the total variation.
    edge : float
        Jump at which the penalty leaves the quadratic regime.
    images : {"photographs", "rectangles"}
        Crops of photographs, or sums of rectangles.
    """

    name: ClassVar[str] = "photograph-deblurring"
    shares: ClassVar[str] = "operator"
    side: int = 12
    blur: float = 1.0
    reach: int = 2
    noise: float = 0.01
    weight: float = 1e-3
    edge: float = 0.01
    images: Literal["photographs", "rectangles"] = "photographs"

    def __post_init__(self) -> None:
        """Refuse images that do not exist, and windows larger than they are."""
        super().__post_init__()
        if self.images not in ("photographs", "rectangles"):
            raise ValueError(f"images must be 'photographs' or 'rectangles', got {self.images!r}")
        if not 0 <= 2 * self.reach < self.side:
            raise ValueError(f"reach must be from 0 to below side/2, got {self.reach}")

    def shifted(self) -> Mapping[str, Problem]:
        """A wider blur; pictures of rectangles; three times the noise."""
        return {
            "conditioning": replace(self, blur=1.3 * self.blur),
            "data": replace(self, images="rectangles"),
            "noise": replace(self, noise=3 * self.noise),
        }

    def draw(self, batch: int, dtype: torch.dtype, generator: torch.Generator | None) -> Instance:
        """Draw crops and noise; start at the blurred picture, its edge repeated."""
        n = self.side
        if self.images == "photographs":
            truth = photographs(self.name, batch, n, generator)
        else:
            truth = rectangles(batch, n, generator) / 3
        window = gaussian_window(self.blur, self.reach)
        clean = averaging(window, n)(truth)
        noise = torch.randn(clean.shape, generator=generator, dtype=torch.float64)
        y = (clean + self.noise * noise).to(dtype)
        flat = torch.zeros(batch, 2, n, n, dtype=dtype)
        jumps = smoothed_absolute(flat, self.weight, self.edge) @ neighbours(n)
        return Instance(
            objective=least_squares(averaging(window.to(dtype), n), y) + jumps,
            x0=F.pad(y[:, None], [self.reach] * 4, mode="replicate")[:, 0],
            data=y.flatten(1),
            facts={"truth": truth.to(dtype), "convex": True},
        )


def gaussian_window(spread: float, reach: int) -> Tensor:
    """Normalised Gaussian of ``2 reach + 1`` entries."""
    position = torch.arange(-reach, reach + 1, dtype=torch.float64)
    window = torch.exp(-(position**2) / (2 * spread**2))
    return window / window.sum()


def averaging(window: Tensor, side: int) -> LinearOperator:
    """Averages ``W x W^T`` over complete windows of square images, weighted by ``w_i w_j``."""
    small = side - len(window) + 1
    shifts = torch.arange(side) - torch.arange(small)[:, None]
    inside = (shifts >= 0) & (shifts < len(window))
    rows = torch.where(inside, window[shifts.clamp(0, len(window) - 1)], 0.0)  # (small, side)
    products = partial(_both_axes, rows), partial(_both_axes, rows.mT)
    # Entries are not negative; no row or column sums to more than one.
    return LinearOperator(
        *products, (side, side), (small, small), absolute=products, norm=1 + 1e-12
    )


def neighbours(side: int) -> LinearOperator:
    """Vertical and horizontal differences, ``(side, side) -> (2, side, side)``, zero at the end."""
    return LinearOperator(
        partial(_paired, -1.0),
        partial(_unpaired, -1.0),
        (side, side),
        (2, side, side),
        absolute=(partial(_paired, 1.0), partial(_unpaired, 1.0)),
        norm=8**0.5,
    )


def _both_axes(rows: Tensor, x: Tensor) -> Tensor:
    return rows @ x @ rows.mT


def _paired(sign: float, x: Tensor) -> Tensor:
    """``x_{i+1} + sign x_i`` along both axes."""
    down = F.pad(x[:, 1:] + sign * x[:, :-1], (0, 0, 0, 1))
    right = F.pad(x[:, :, 1:] + sign * x[:, :, :-1], (0, 1))
    return torch.stack([down, right], 1)


def _unpaired(sign: float, z: Tensor) -> Tensor:
    """The adjoint of that."""
    down, right = z[:, 0, :-1], z[:, 1, :, :-1]
    rows = F.pad(down, (0, 0, 1, 0)) + sign * F.pad(down, (0, 0, 0, 1))
    return rows + F.pad(right, (1, 0)) + sign * F.pad(right, (0, 1))
