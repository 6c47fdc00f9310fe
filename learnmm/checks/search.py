"""The search for points above a majorant: random ones, then uphill on the violation."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from learnmm.bound import Bound
from learnmm.checks.laws import DENSE_UNKNOWNS, LawViolation
from learnmm.curvature import Curvature
from learnmm.objective import Evaluation, Objective
from learnmm.vectors import dot, expand, norm

ROUNDING = 32.0
"""Rounding error of ``f(z) - Q(z; x)`` in units of eps times the size of what it is made of."""


class _Trial(NamedTuple):
    """How a point fares, per problem ``(B,)``, and the direction in which it fares worse."""

    ratio: Tensor  # of f(z) - Q(z; x) to <d, B d> / 2: the share by which B is too small
    uphill: Tensor  # gradient of the ratio, (B, *shape)


class Search:
    """Looks for points above the majorant, every problem of the batch at once."""

    def __init__(self, objective: Objective, x: Tensor, base: Evaluation, bound: Bound) -> None:
        self.objective, self.x, self.base, self.bound = objective, x, base, bound
        self.eps = torch.finfo(x.dtype).eps

    def run(self, points: int, steps: int, generator: torch.Generator) -> None:
        """Try random points, then climb from the worst of each family."""
        families = list(_families(self.x, self.base.gradient, self.bound.curvature))
        for propose in families:
            worst = self._into_region(propose(generator))
            trial = self.examine(worst)
            for _ in range(max(1, points // len(families)) - 1):
                z = self._into_region(propose(generator))
                worst, trial = _worse(z, self.examine(z), worst, trial)
            self.climb(worst, trial, steps, generator)

    def climb(self, z: Tensor, trial: _Trial, steps: int, generator: torch.Generator) -> None:
        """Ascend on the ratio, by turns with BFGS and by moving random slices towards zero.

        BFGS also makes its way into points where the function is not smooth (Lewis & Overton
        2013); the other moves close in on singular points where only some unknowns vanish.
        """
        n = z[0].numel()
        start = 0.3 * norm(z - self.x) / norm(trial.uphill)
        length, inverse = start, None
        if n <= DENSE_UNKNOWNS:
            eye = torch.eye(n, dtype=z.dtype, device=z.device)
            length, inverse = torch.ones_like(start), eye * start[:, None, None]
        for k in range(steps):
            towards_zero = k % 4 == 3
            if towards_zero:
                size = z.shape[:2]
                draws = torch.rand(2, *size, dtype=z.dtype, device=z.device, generator=generator)
                shrink = torch.where(draws[0] < 0.5, 1.0, 10 ** (-2 * draws[1]))
                following = shrink.reshape(*size, *([1] * (z.dim() - 2))) * z
            else:
                uphill = trial.uphill
                if inverse is not None:
                    uphill = (inverse @ uphill.reshape(-1, n, 1)).reshape(z.shape)
                following = z + torch.nan_to_num(expand(length, z) * uphill)
            following = self._into_region(following)
            tried = self.examine(following)
            better = tried.ratio > trial.ratio
            if not towards_zero:
                move = (following - z).reshape(-1, n)
                change = (trial.uphill - tried.uphill).reshape(-1, n)
                if inverse is not None:
                    inverse = _bfgs(inverse, move, change)
                longer = 1.6 * length if inverse is None else torch.ones_like(length)
                length = torch.where(better, longer, 0.3 * length)
            z, trial = _worse(following, tried, z, trial)

    def examine(self, z: Tensor) -> _Trial:
        """Measure the violation at ``z``, and raise if it exceeds rounding."""
        x, base, curvature = self.x, self.base, self.bound.curvature
        there = self.objective.evaluate(z)
        d = z - x
        bend = curvature.quad(d) / 2
        majorant = base.value + dot(base.gradient, d) + bend
        excess = there.value - majorant
        parts = (
            there.value.abs()
            + base.value.abs()
            + norm(base.gradient) * norm(d)
            + bend
            # A point that is off by eps relatively moves f by this much, to second order.
            + norm(base.gradient) * norm(x)
            + torch.nan_to_num(norm(there.gradient), nan=0.0) * norm(z)
            + ROUNDING * self.eps * (curvature.quad(x) + curvature.quad(z))
        )
        rounding = ROUNDING * self.eps * parts
        # Where either side overflows, nothing is said about the bound.
        known = torch.isfinite(there.value) & torch.isfinite(majorant) & torch.isfinite(rounding)
        excess = torch.where(known, excess, -torch.inf)
        ratio = torch.nan_to_num(excess / (bend + rounding), nan=-torch.inf)
        bent = curvature.apply(d)
        uphill = there.gradient - base.gradient - expand(1 + ratio, d) * bent
        uphill = uphill * expand(1 / (bend + rounding), d)
        broken = excess > rounding
        if bool(broken.any()):
            i = int(torch.where(broken, ratio, -torch.inf).argmax())
            factor = 1 + float(excess[i] / bend[i]) if bend[i] > 0 else math.inf
            raise LawViolation(
                f"{self.bound.kind.name} bound broken for problem {i}: f(z) = "
                f"{float(there.value[i]):.6g} lies above Q(z; x) = {float(majorant[i]):.6g} by "
                f"{float(excess[i]):.3g} (rounding {float(rounding[i]):.1g}) at |z - x| = "
                f"{float(norm(d)[i]):.3g}, |z| = {float(norm(z)[i]):.3g}; the curvature is too "
                f"small by a factor of {factor:.5g}"
            )
        return _Trial(ratio, uphill)

    def _into_region(self, z: Tensor) -> Tensor:
        radius = self.bound.radius
        if radius is None:
            return z
        d = z - self.x
        # A hair inside: x + d is rounded once more.
        most = radius * (1 - 4 * self.eps)
        return self.x + expand((most / norm(d)).clamp(max=1.0), d) * d


def _bfgs(inverse: Tensor, move: Tensor, change: Tensor) -> Tensor:
    """BFGS update of inverse Hessians ``(B, n, n)``, where the move has seen positive curvature."""
    product = dot(move, change)
    useful = (product > 1e-12 * norm(move) * norm(change))[:, None, None]
    rate = torch.where(useful[:, 0, 0], 1 / product, 0.0)[:, None, None]
    keep = torch.eye(move.shape[1], dtype=move.dtype, device=move.device) - rate * (
        change[:, :, None] * move[:, None]
    )
    updated = keep.mT @ inverse @ keep + rate * move[:, :, None] * move[:, None]
    return torch.where(useful & torch.isfinite(updated), updated, inverse)


def _worse(z: Tensor, trial: _Trial, other: Tensor, its: _Trial) -> tuple[Tensor, _Trial]:
    """Per problem, the point with the larger ratio."""
    first = trial.ratio > its.ratio
    kept = [torch.where(expand(first, a), a, b) for a, b in zip(trial, its, strict=True)]
    return torch.where(expand(first, z), z, other), _Trial(*kept)


def _families(
    x: Tensor, gradient: Tensor, curvature: Curvature
) -> Iterator[Callable[[torch.Generator], Tensor]]:
    """Ways to draw points around ``x``, ``(B, *shape)`` per call."""
    size = norm(x)
    size = torch.where(size > 0, size, 1.0)
    own = curvature.solve(gradient)

    def unit(v: Tensor) -> Tensor:
        return v * expand(1 / norm(v).clamp(min=torch.finfo(v.dtype).tiny), v)

    def gaussian(generator: torch.Generator) -> Tensor:
        return torch.randn(x.shape, dtype=x.dtype, device=x.device, generator=generator)

    def uniform(generator: torch.Generator) -> Tensor:
        return torch.rand(size.shape, dtype=x.dtype, device=x.device, generator=generator)

    def length(generator: torch.Generator, least: float, most: float) -> Tensor:
        """Random sign and order of magnitude."""
        sign = torch.where(uniform(generator) < 0.5, -1.0, 1.0)
        return expand(sign * size * 10 ** (least + (most - least) * uniform(generator)), x)

    def anywhere(generator: torch.Generator) -> Tensor:
        return x + length(generator, -6, 6) * unit(gaussian(generator))

    def along_gradient(generator: torch.Generator) -> Tensor:
        return x + length(generator, -6, 6) * unit(gradient)

    def along_step(generator: torch.Generator) -> Tensor:
        multipliers = 1 + torch.tanh(gaussian(generator))
        return x - length(generator, -3, 1) / expand(size, x) * multipliers * own

    def through_origin(generator: torch.Generator) -> Tensor:
        return length(generator, -6, 6) * unit(x)

    def next_to_origin(generator: torch.Generator) -> Tensor:
        """Directions of the plane of ``x`` and the gradient, or close to it."""
        angle = expand(2 * torch.pi * uniform(generator), x)
        off = length(generator, -6, 0) / expand(size, x) * unit(gaussian(generator))
        plane = torch.cos(angle) * unit(x) + torch.sin(angle) * unit(gradient)
        return length(generator, -12, 0) * (plane + off)

    def along_flat(generator: torch.Generator) -> Tensor:
        """Directions in which the bound is flat, if there are any: `f` must not bend there."""
        flat = gaussian(generator)
        for _ in range(2):  # once leaves the rounding of the others
            flat = flat - curvature.power(curvature.power(flat, 0.5), -0.5)
        return x + length(generator, -6, 14) * unit(flat)  # far: what is hidden there is small

    yield from (
        anywhere,
        along_gradient,
        along_step,
        along_flat,
        through_origin,
        next_to_origin,
    )
