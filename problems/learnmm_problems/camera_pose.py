"""Camera pose: where a camera stands and looks, from a picture of known points."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor

from learnmm.registry import Instance, Problem
from learnmm_problems.checked import CheckedProblem
from learnmm_problems.shared import common, shared_by

DISTANCE = 4.0
"""Of the camera from the middle of the points, which lie in a cube from -1 to 1."""


@dataclass(frozen=True)
class CameraPoseProblem(CheckedProblem):
    """``f(x) = sum_i huber(|h(R p_i + t) - y_i|)``, the picture being ``h(q) = (q_1, q_2) / q_3``.

    ``x = (r, t)`` holds the rotation ``R = exp [r]_x`` (Rodrigues) and how far the camera stands
    from its nominal place, six unknowns. Points ``p_i`` are known, as of a calibration target or a
    landmark; pictures ``y_i`` are seen in noise, and some belong to other points. Lengths are in
    units of the noise, where the smoothed Huber loss ``sqrt(1 + s^2) - 1`` leaves the quadratic
    regime. Not convex; no closed form of the optimum, no majorant in closed form.

    Parameters
    ----------
    points : int
        Number of points.
    depth : float
        Half the extent of the points along the line of sight: the flatter, the harder it is to tell
        turning from moving.
    noise : float
        Standard deviation in the picture, relative to the focal length.
    outliers : float
        Share of points that are seen elsewhere.
    turn, move : float
        Standard deviations of the rotation in radians, and of the place.
    operator_seed : int or None
        Of the points, which by default are those of every batch. None: each batch has its own.
    """

    name: ClassVar[str] = "camera-pose"
    points: int = 12
    depth: float = 0.3
    noise: float = 0.005
    outliers: float = 0.05
    turn: float = 0.3
    move: float = 0.4
    operator_seed: int | None = 0

    @property
    def shares(self) -> str:
        """The points, if they have a seed."""
        return shared_by(self.operator_seed, "geometry")

    def shifted(self) -> Mapping[str, Problem]:
        """Half as deep; half as far again from the nominal pose; three times the outliers."""
        return {
            "conditioning": replace(self, depth=self.depth / 2),
            "data": replace(self, turn=1.5 * self.turn, move=1.5 * self.move),
            "outliers": replace(self, outliers=3 * self.outliers),
        }

    def draw(self, batch: int, dtype: torch.dtype, generator: torch.Generator | None) -> Instance:
        """Draw poses, noise and outliers; start at the nominal pose."""
        operator = common(self.operator_seed, generator)
        cube = 2 * torch.rand(self.points, 3, generator=operator, dtype=torch.float64) - 1
        points = cube * cube.new_tensor([1.0, 1.0, self.depth])
        drawn = torch.randn(batch, 6, generator=generator, dtype=torch.float64)
        shape = (batch, self.points, 2)
        noise, elsewhere = torch.randn(2, *shape, generator=generator, dtype=torch.float64)
        chance = torch.rand(*shape[:2], 1, generator=generator, dtype=torch.float64)
        truth = drawn * drawn.new_tensor([self.turn] * 3 + [self.move] * 3)
        error = torch.where(chance < self.outliers, elsewhere / DISTANCE, self.noise * noise)
        seen = (picture(points, truth) + error).to(dtype)
        known = points.to(dtype)

        def objective(x: Tensor) -> Tensor:
            square = ((picture(known, x) - seen) / self.noise).square().sum(2)
            return ((1 + square).sqrt() - 1).sum(1)

        return Instance(
            objective=objective,
            x0=torch.zeros(batch, 6, dtype=dtype),
            data=seen.flatten(1),
            facts={"truth": truth.to(dtype), "convex": False},
        )


def picture(points: Tensor, pose: Tensor) -> Tensor:
    """Where points are seen from poses, ``(m, 3)`` and ``(B, 6)`` to ``(B, m, 2)``."""
    turned = torch.linalg.matrix_exp(skew(pose[:, :3])) @ points.mT  # (B, 3, m)
    placed = turned + pose[:, 3:, None]
    seen: Tensor = (placed[:, :2] / (placed[:, 2:] + DISTANCE)).mT
    return seen


def skew(axis: Tensor) -> Tensor:
    """``[r]_x`` with ``[r]_x v = r x v``, ``(B, 3) -> (B, 3, 3)``."""
    a, b, c = axis.unbind(1)
    zero = torch.zeros_like(a)
    rows = [zero, -c, b, c, zero, -a, -b, a, zero]
    return torch.stack(rows, 1).reshape(-1, 3, 3)
