"""Robust smoothing of a trajectory from positions of which some are wrong."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor

from learnmm import HalfQuadratic, Quadratic
from learnmm.linear import MatrixMap
from learnmm.registry import Instance, Problem
from learnmm_problems.checked import CheckedProblem
from learnmm_problems.stencils import differences


@dataclass(frozen=True)
class SmoothingProblem(CheckedProblem):
    """``f(x) = sum_t [huber((x_t - y_t)/noise) + |x_{t+1} - 2 x_t + x_{t-1}|^2 / (2 jerk^2)]``.

    The smoother of Kalman, Rauch, Tung and Striebel for an object of nearly constant velocity in
    the plane, with Huber's loss in place of the square: positions ``y_t`` are seen in noise, and
    some are gross errors. ``x`` has shape ``(B, length, 2)``. Bounds are `GLOBAL`. Convex; no
    closed form of the optimum.

    Parameters
    ----------
    length : int
        Times.
    noise : float
        Standard deviation of the positions seen; where Huber's loss leaves the quadratic regime.
    jerk : float
        Standard deviation of the change of velocity from one time to the next.
    outliers : float
        Share of positions that are wrong.
    gross : float
        Standard deviation of those.
    """

    name: ClassVar[str] = "smoothing"
    shares: ClassVar[str] = "dynamics"
    length: int = 12
    noise: float = 1.0
    jerk: float = 0.3
    outliers: float = 0.1
    gross: float = 10.0

    def shifted(self) -> Mapping[str, Problem]:
        """A straighter motion; twice the outliers; outliers thrice as gross."""
        return {
            "conditioning": replace(self, jerk=self.jerk / 2),
            "data": replace(self, outliers=2 * self.outliers),
            "outliers": replace(self, gross=3 * self.gross),
        }

    def draw(self, batch: int, dtype: torch.dtype, generator: torch.Generator | None) -> Instance:
        """Draw motions, noise and outliers; start at what was seen."""
        shape = (batch, self.length, 2)
        change, noise, wrong = torch.randn(3, *shape, generator=generator, dtype=torch.float64)
        chance = torch.rand(batch, self.length, 1, generator=generator, dtype=torch.float64)
        truth = (self.jerk * change).cumsum(1).cumsum(1)
        error = torch.where(chance < self.outliers, self.gross * wrong, self.noise * noise)
        y = (truth + error).to(dtype)
        straight = Quadratic(torch.zeros(batch, self.length - 2, 2, dtype=dtype))
        bend = second_differences(self.length).to(dtype)
        return Instance(
            objective=(1 / self.noise**2) * HalfQuadratic(y, "huber", scale=self.noise)
            + (1 / self.jerk**2) * (straight @ MatrixMap(bend, form="separable")),
            x0=y.clone(),
            data=y.flatten(1),
            facts={"truth": truth.to(dtype), "convex": True},
        )


def second_differences(length: int) -> Tensor:
    """``x_{t+1} - 2 x_t + x_{t-1}``, shape ``(length - 2, length)``."""
    return differences(length - 1) @ differences(length)
