"""Optimal control: the torque that brings a pendulum upright."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor

from learnmm.registry import Instance, Problem
from learnmm_problems.checked import CheckedProblem

GRAVITY = 9.81
"""In metres per second squared, for a pendulum of one metre."""


@dataclass(frozen=True)
class PendulumProblem(CheckedProblem):
    """``f(u) = step/2 sum_k [a_k^2 + w_k^2/10 + effort u_{k-1}^2] + final/2 a_T^2``.

    A pendulum of unit length and mass has the angle ``a`` from the upright and the speed ``w``, and
    is driven by the torque ``u_k`` from time ``k`` on: ``w_{k+1} = w_k + step (gravity sin a_k -
    damping w_k + u_k)`` and ``a_{k+1} = a_k + step w_{k+1}``. Unknown is the torque over the
    horizon, ``(B, horizon)``; each problem starts from an angle and a speed of its own. Upright is
    unstable, so early torques count much more than late ones; a full turn is no way to get there.
    Not convex; no closed form of the optimum, no majorant in closed form.

    Parameters
    ----------
    horizon : int
        Steps of time.
    step : float
        Their length in seconds.
    effort, final : float
        Weights on torque and on the last angle.
    angle : float
        Largest first angle from the upright, in radians.
    damping : float
        Friction.
    """

    name: ClassVar[str] = "pendulum"
    shares: ClassVar[str] = "dynamics"
    horizon: int = 8
    step: float = 0.05
    effort: float = 0.02
    final: float = 1.0
    angle: float = 1.5
    damping: float = 0.1

    def shifted(self) -> Mapping[str, Problem]:
        """A third of the weight on effort; larger angles; more friction."""
        return {
            "conditioning": replace(self, effort=self.effort / 3),
            "data": replace(self, angle=1.5 * self.angle),
            "dynamics": replace(self, damping=10 * self.damping),
        }

    def draw(self, batch: int, dtype: torch.dtype, generator: torch.Generator | None) -> Instance:
        """Draw first angles and speeds; start at no torque."""
        drawn = 2 * torch.rand(batch, 2, generator=generator, dtype=torch.float64) - 1
        first = (self.angle * drawn).to(dtype)

        def objective(torque: Tensor) -> Tensor:
            angle, speed = self.motion(first, torque)
            cost = angle.square() + speed.square() / 10 + self.effort * torque.square()
            return (self.step * cost.sum(1) + self.final * angle[:, -1].square()) / 2

        return Instance(
            objective=objective,
            x0=torch.zeros(batch, self.horizon, dtype=dtype),
            data=first,
            facts={"convex": False},
        )

    def motion(self, first: Tensor, torque: Tensor) -> tuple[Tensor, Tensor]:
        """Angles and speeds after each step, ``(B, horizon)``, from ``(B, 2)`` and torques."""
        angle, speed = first.unbind(1)
        angles, speeds = [], []
        for push in torque.unbind(1):
            speed = speed + self.step * (GRAVITY * angle.sin() - self.damping * speed + push)
            angle = angle + self.step * speed
            angles.append(angle)
            speeds.append(speed)
        return torch.stack(angles, 1), torch.stack(speeds, 1)
