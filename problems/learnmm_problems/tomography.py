"""Sparse-view tomography: an image from a few of its projections."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor

from learnmm import HalfQuadratic, least_squares
from learnmm.linear import MatrixMap
from learnmm.registry import Instance, Problem
from learnmm_problems.checked import CheckedProblem
from learnmm_problems.stencils import image_differences

ELLIPSES = 4


@dataclass(frozen=True)
class TomographyProblem(CheckedProblem):
    """``f(x) = 1/2 |R x - y|^2 + weight sum_i hyperbolic((D x)_i)`` on flattened images.

    ``R`` takes parallel-beam projections (:func:`projections`), fewer than there are pixels, and
    ``D`` differences; ``x`` has shape ``(B, side * side)``, row-major, on the square from -1 to 1.
    Images are ellipses of constant density within the unit disc. Both maps are sparse, both bounds
    separable, hence diagonal and `GLOBAL`. Convex; no closed form of the optimum.

    Parameters
    ----------
    side : int
        Height and width in pixels, and detector bins per view.
    views : int
        Angles, spread evenly over half a turn.
    noise : float
        Standard deviation of the noise, relative to the root mean square of the projections.
    weight : float
        On the smoothness.
    edge : float
        Jump at which the smoothness leaves the quadratic regime.
    """

    name: ClassVar[str] = "tomography"
    side: int = 16
    views: int = 8
    noise: float = 0.02
    weight: float = 0.02
    edge: float = 0.05
    shares: ClassVar[str] = "operator"

    def shifted(self) -> Mapping[str, Problem]:
        """Sharper edges, less smoothed; five times the noise."""
        return {
            "conditioning": replace(self, edge=self.edge / 3, weight=self.weight / 2),
            "data": replace(self, noise=5 * self.noise),
        }

    def draw(self, batch: int, dtype: torch.dtype, generator: torch.Generator | None) -> Instance:
        """Draw ellipses and noise; start at zero."""
        side = self.side
        truth = ellipses(batch, side, generator).flatten(1)
        matrix = projections(side, self.views)
        clean = (matrix @ truth.mT).mT
        noise = torch.randn(clean.shape, generator=generator, dtype=torch.float64)
        y = clean + self.noise * clean.square().mean(1, keepdim=True).sqrt() * noise
        jump = image_differences(side, side).to_sparse_coo()
        flat = torch.zeros(batch, jump.shape[0], dtype=dtype)
        smooth = HalfQuadratic(flat, "hyperbolic", scale=self.edge)
        return Instance(
            objective=least_squares(MatrixMap(matrix.to(dtype), form="separable"), y.to(dtype))
            + self.weight * (smooth @ MatrixMap(jump.to(dtype), form="separable")),
            x0=torch.zeros(batch, side * side, dtype=dtype),
            data=y.to(dtype),
            facts={"truth": truth.to(dtype), "convex": True},
        )


def projections(side: int, views: int) -> Tensor:
    """Line integrals of an image, as a sparse matrix ``(views * side, side * side)`` in float64.

    The ray of view ``k`` and bin ``b`` is ``x cos(a) + y sin(a) = t`` with ``a = pi k / views`` and
    ``t`` the centre of the bin. It is followed along the axis that it is closer to, from one line
    of pixel centres to the next, and the image is interpolated linearly between the two nearest
    pixels of each line (Joseph 1982): a weight ``h / |cos|`` or ``h / |sin|``, shared by the two.
    Columns are ``x``, rows are ``y``, both growing; outside of the image is zero.
    """
    h = 2 / side
    centres = h * (torch.arange(side, dtype=torch.float64) + 0.5) - 1
    angles = math.pi * torch.arange(views, dtype=torch.float64) / views
    cosine, sine = angles.cos()[:, None, None], angles.sin()[:, None, None]
    along_x = sine.abs() >= cosine.abs()  # step through the columns, else through the rows
    steep, flat = torch.where(along_x, sine, cosine), torch.where(along_x, cosine, sine)
    t, line = centres[:, None], centres  # (bins, 1) and (lines,)
    crossing = ((t - line * flat) / steep + 1) / h - 0.5  # in pixels, (views, bins, lines)
    below = crossing.floor()
    share = crossing - below
    number = torch.arange(side).expand(crossing.shape)
    ray = torch.arange(views * side).reshape(views, side, 1).expand(crossing.shape)
    indices, weights = [], []
    for pixel, part in ((below.long(), 1 - share), (below.long() + 1, share)):
        row, column = torch.where(along_x, pixel, number), torch.where(along_x, number, pixel)
        inside = (pixel >= 0) & (pixel < side)
        indices.append(torch.stack([ray, row * side + column])[:, inside])
        weights.append((part * h / steep.abs())[inside])
    shape = (views * side, side * side)
    matrix = torch.sparse_coo_tensor(
        torch.cat(indices, 1), torch.cat(weights), shape, check_invariants=False
    )
    return matrix.coalesce()


def ellipses(batch: int, side: int, generator: torch.Generator | None = None) -> Tensor:
    """Sums of ellipses of random place, shape and density, within the unit disc, ``(B, s, s)``."""
    drawn = torch.rand(batch, ELLIPSES, 6, 1, 1, generator=generator, dtype=torch.float64)
    far, turn, tilt, long, wide, density = drawn.unbind(2)
    long, wide = 0.15 + 0.35 * long, 0.15 + 0.35 * wide
    far, turn, tilt = far * (1 - torch.maximum(long, wide)), 2 * math.pi * turn, math.pi * tilt
    centres = 2 * (torch.arange(side, dtype=torch.float64) + 0.5) / side - 1
    x, y = centres - far * turn.cos(), centres[:, None] - far * turn.sin()
    first, second = x * tilt.cos() + y * tilt.sin(), y * tilt.cos() - x * tilt.sin()
    inside = (first / long) ** 2 + (second / wide) ** 2 <= 1
    return ((0.2 + 0.8 * density) * inside).sum(1)
