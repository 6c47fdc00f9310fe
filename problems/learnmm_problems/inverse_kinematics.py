"""Inverse kinematics: joint angles of a redundant arm whose hand follows a path."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor

from learnmm.registry import Instance, Problem
from learnmm_problems.checked import CheckedProblem

REST = 0.4
"""Angle of every joint at rest, in radians."""


@dataclass(frozen=True)
class InverseKinematicsProblem(CheckedProblem):
    """``f(x) = 1/2 (sum_t |p(x_t) - y_t|^2 + smooth sum_t |x_{t+1} - x_t|^2 + rest |x - x_0|^2)``.

    A planar arm of equal links and total length one has joint angles ``x_t`` at waypoint ``t``, and
    its hand is at ``p(x_t)``. It shall follow the path ``y_t``, smoothly and near its pose at rest
    ``x_0``. With more than two joints the arm is redundant. Paths are those of the hand along
    smooth motions, from the pose at rest on, and noise. Not convex; no closed form of the optimum.
    ``x`` has shape ``(B, waypoints, joints)``. No majorant in closed form.

    Parameters
    ----------
    joints, waypoints : int
        Links of the arm, and points of the path.
    smooth, rest : float
        Weights on steps of the angles, and on their distance from rest.
    reach : float
        Size of the motions in radians.
    noise : float
        Standard deviation of the path.
    """

    name: ClassVar[str] = "inverse-kinematics"
    shares: ClassVar[str] = "geometry"
    joints: int = 4
    waypoints: int = 5
    smooth: float = 0.1
    rest: float = 1e-3
    reach: float = 0.5
    noise: float = 0.01

    def shifted(self) -> Mapping[str, Problem]:
        """A tenth of the weight on rest; motions half as large again; five times the noise."""
        return {
            "conditioning": replace(self, rest=self.rest / 10),
            "data": replace(self, reach=1.5 * self.reach),
            "noise": replace(self, noise=5 * self.noise),
        }

    def draw(self, batch: int, dtype: torch.dtype, generator: torch.Generator | None) -> Instance:
        """Draw motions and noise; start at rest."""
        t, j = self.waypoints, self.joints
        drift, swing = torch.randn(2, batch, 1, j, generator=generator, dtype=torch.float64)
        noise = torch.randn(batch, t, 2, generator=generator, dtype=torch.float64)
        time = torch.linspace(0, 1, t, dtype=torch.float64)[:, None]
        motion = drift * time + swing * torch.sin(math.pi * time) / 2
        truth = REST + self.reach * motion
        path = (hand(truth) + self.noise * noise).to(dtype)

        def objective(x: Tensor) -> Tensor:
            missed = (hand(x) - path).square().sum((1, 2))
            steps = x.diff(dim=1).square().sum((1, 2))
            return (missed + self.smooth * steps + self.rest * (x - REST).square().sum((1, 2))) / 2

        return Instance(
            objective=objective,
            x0=torch.full((batch, t, j), REST, dtype=dtype),
            data=path.flatten(1),
            facts={"truth": truth.to(dtype), "convex": False},
        )


def hand(angles: Tensor) -> Tensor:
    """Where an arm of total length one ends, ``(..., joints) -> (..., 2)``.

    Each angle is that between a link and the one before it; the first is that of the first link
    above the horizontal.
    """
    heading = angles.cumsum(-1)
    return torch.stack([heading.cos().mean(-1), heading.sin().mean(-1)], -1)
