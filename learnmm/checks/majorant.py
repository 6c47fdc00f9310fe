"""The law of majorants: a bound at ``x`` holds what its kind says."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from learnmm.atoms.base import Atom
from learnmm.bound import Bound, Majorant
from learnmm.checks.laws import LawViolation, dense, require, spectral_norm, tolerance
from learnmm.curvature import Curvature, dot, expand, norm
from learnmm.majorants.hessian import ritz_extremes, start_vector
from learnmm.objective import CallableObjective, Evaluation, Objective, hessian_product
from learnmm.result import Kind

ROUNDING = 32.0
"""Rounding error of ``f(z) - Q(z; x)`` in units of eps times the size of what it is made of."""

DENSE_UNKNOWNS = 200
"""Up to this many unknowns a Hessian is compared densely, above by Lanczos."""

LANCZOS_STEPS = 60
"""Steps that look for a direction in which a large Hessian exceeds its bound."""


def assert_majorant(
    majorant: Majorant | None,
    fun: Objective | Callable[[Tensor], Tensor],
    x: Tensor,
    *,
    points: int = 60,
    search_steps: int = 60,
    generator: torch.Generator | None = None,
) -> None:
    """Try to break a bound at ``x``, as hard as its kind deserves.

    `GLOBAL`: ``f(z) <= Q(z; x) = f(x) + <g, z - x> + <z - x, B (z - x)> / 2`` at random points
    (from 1e-6 to 1e6 times ``|x|`` away, along the gradient, along the majorant's step, towards
    and through the origin, and next to it, where scale-free functions are singular), and at the
    worst of them after a search uphill on the violation. `REGION`: the same within the radius.
    `POINTWISE` and `PROBABLE`: ``B - H(x)`` is positive semidefinite (so a `PROBABLE` bound may
    fail, as often as it says). `ESTIMATE` promises nothing, and nothing is checked.

    The excess allowed is rounding: ``32 eps`` times what the two sides are made of, counting that
    ``f`` is evaluated as if at a point that is off by ``eps`` relatively.

    Parameters
    ----------
    majorant : Majorant or None
        None: the atom's own bound.
    fun : Objective or callable
        ``f``, ``(B, *shape) -> (B,)``. Where it is NaN it counts as undefined.
    x : Tensor
        Points at which the bound is taken, ``(B, *shape)``. More problems cost little.
    points, search_steps : int
        Random points per problem, and steps of each of the five searches.
    generator : torch.Generator, optional
        Of the random points. Default: the same points on every run.

    Raises
    ------
    LawViolation
        With the kind, the worst problem, the point, and by which factor the curvature is too small.
    TypeError
        Without a majorant, if `fun` is no atom; or if the majorant returns no bound.

    Examples
    --------
    >>> import torch, learnmm as lmm
    >>> from learnmm import checks
    >>> atom = lmm.CosineDistance(torch.tensor([[1.0, 0.0]], dtype=torch.float64))
    >>> x = torch.tensor([[3.0, 4.0]], dtype=torch.float64)
    >>> checks.assert_majorant(None, atom, x)
    >>> checks.assert_majorant(lmm.LipschitzMajorant(1e-3), atom, x)
    Traceback (most recent call last):
    ...
    learnmm.checks.laws.LawViolation: GLOBAL bound broken for problem 0: ...
    """
    objective = fun if isinstance(fun, Objective) else CallableObjective(fun)
    if majorant is None:
        if not isinstance(fun, Atom):
            raise TypeError(f"without a majorant an Atom is needed, got {type(fun).__name__}")
        majorant = fun.bound
    with torch.no_grad():
        base = objective.evaluate(x)
        bound = majorant(x, base.aux)
        if not isinstance(bound, Bound):
            raise TypeError(f"a majorant must return a Bound, got {type(bound).__name__}")
        if bound.kind in (Kind.GLOBAL, Kind.REGION):
            if generator is None:
                generator = torch.Generator(x.device).manual_seed(0)
            _Search(objective, x, base, bound).run(points, search_steps, generator)
        elif bound.kind in (Kind.POINTWISE, Kind.PROBABLE):
            _assert_pointwise(objective, x, bound)


class _Trial(NamedTuple):
    """How a point fares, per problem ``(B,)``, and the direction in which it fares worse."""

    excess: Tensor  # f(z) - Q(z; x)
    rounding: Tensor
    ratio: Tensor  # of the excess to <d, B d> / 2: the share by which B is too small
    uphill: Tensor  # (B, *shape)


class _Search:
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
            self.climb(worst, trial, steps)

    def climb(self, z: Tensor, trial: _Trial, steps: int) -> None:
        """Ascend on the ratio; the step grows while that works and shrinks where it does not."""
        length = 0.3 * norm(z - self.x)
        for _ in range(steps):
            direction = trial.uphill * expand(length / norm(trial.uphill), z)
            following = self._into_region(z + torch.nan_to_num(direction))
            tried = self.examine(following)
            length = length * torch.where(tried.ratio > trial.ratio, 1.6, 0.4)
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
            there.value.abs() + base.value.abs() + norm(base.gradient) * norm(d) + bend
            # A point that is off by eps relatively moves f by this much, to second order.
            + norm(base.gradient) * norm(x) + norm(there.gradient) * norm(z)
            + ROUNDING * self.eps * (curvature.quad(x) + curvature.quad(z))
        )  # fmt: skip
        rounding = ROUNDING * self.eps * torch.nan_to_num(parts, nan=torch.inf, posinf=torch.inf)
        rounding = torch.where(torch.isfinite(there.value), rounding, 0.0)
        ratio = torch.nan_to_num(excess / (bend + rounding), nan=-torch.inf)
        bent = curvature.apply(d)
        uphill = there.gradient - base.gradient - bent - expand(ratio, d) * bent
        broken = excess > rounding
        if bool(broken.any()):
            i = int(torch.where(broken, ratio, -torch.inf).argmax())
            raise LawViolation(
                f"{self.bound.kind.name} bound broken for problem {i}: f(z) = "
                f"{float(there.value[i]):.6g} lies above Q(z; x) = {float(majorant[i]):.6g} by "
                f"{float(excess[i]):.3g} (rounding {float(rounding[i]):.1g}) at |z - x| = "
                f"{float(norm(d)[i]):.3g}, |z| = {float(norm(z)[i]):.3g}; the curvature is too "
                f"small by a factor of {1 + float(excess[i] / bend[i]):.5g}"
            )
        return _Trial(excess, rounding, ratio, uphill)

    def _into_region(self, z: Tensor) -> Tensor:
        radius = self.bound.radius
        if radius is None:
            return z
        d = z - self.x
        # A hair inside: x + d is rounded once more.
        most = radius * (1 - 4 * self.eps)
        return self.x + expand((most / norm(d)).clamp(max=1.0), d) * d


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

    yield from (anywhere, along_gradient, along_step, through_origin, next_to_origin)


def _assert_pointwise(objective: Objective, x: Tensor, bound: Bound) -> None:
    """``B - H(x)`` has no negative eigenvalue."""
    hessian = hessian_product(objective, x)
    law = f"{bound.kind.name} bound: B - H(x) is positive semidefinite"
    if x[0].numel() <= DENSE_UNKNOWNS:
        matrix, curvature = dense(hessian, x), dense(bound.curvature.apply, x)
        size = spectral_norm(matrix) + spectral_norm(curvature)
        least = torch.linalg.eigvalsh(curvature - (matrix + matrix.mT) / 2)[:, 0]
        require(-least, tolerance(x) * size, law)
        return
    # Ritz values lie inside the spectrum: a negative one proves a violation, none proves nothing.
    start = start_vector(x, torch.Generator(x.device).manual_seed(0))
    steps = min(LANCZOS_STEPS, x[0].numel())
    least, most = ritz_extremes(lambda v: bound.curvature.apply(v) - hessian(v), start, steps)
    require(-least, tolerance(x) * (most.abs() + bound.curvature.largest()), law)
