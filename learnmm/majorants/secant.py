"""Curvature from the gradients of the steps already taken."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from learnmm.bound import Bound
from learnmm.curvature import ScalarCurvature
from learnmm.hessian import SecondDerivativeError, hessian_product
from learnmm.kind import Kind
from learnmm.objective import BatchFunction, Evaluation, as_objective
from learnmm.plain import flag
from learnmm.truth import known
from learnmm.vectors import dot, expand, norm, peak

RISE = 1e3
"""Largest factor from one step to the next: a step next to a kink measures anything."""

FALL = 0.5
"""Least factor: a step along a valley says nothing about the curvature across it."""

PROBE = 1e-3
"""Length of a step that is taken to measure curvature only, relative to the iterate."""

FAR = 1e4
"""Length of a step, relative to the iterate, from which on a curvature must be confirmed."""

NOISE = 16.0
"""Rounding error of a change of gradient in units of ``eps |g|``."""


class SecantMajorant:
    """`ESTIMATE` ``|y|^2 / <s, y>`` from the last step ``s`` and its change of gradient ``y``.

    This is the shorter of the two step sizes of Barzilai & Borwein (1988). On a convex quadratic
    it lies between the least and the largest curvature; where the step has seen none or a negative
    one, ``|y| / |s|`` takes its place. Before the first step it is ``|H g| / |g|``, from the only
    Hessian-vector product of a run. Where there is none (a function that can be differentiated
    only once) or it vanishes, a short trial step along the gradient measures the same; where that
    finds nothing beyond rounding, it is ``|g| / |x|``, by which a step is as long as the iterate.

    A curvature by which the first step would be ten thousand times as long as the iterate is taken
    only if ``f`` is lower there: it may be the rounding of a product that vanishes, as at
    ``sqrt(x^2 + y^2)``, or that of a valley that ends long before.

    Parameters
    ----------
    fun : callable
        ``(B, *shape) -> (B,)``, an :class:`~learnmm.Objective` or a function.
    measured : bool
        Whether the curvature at the start is measured. Otherwise it is ``|g| / |x|`` unseen, which
        costs nothing, and what is wrong with it the first step shows.
    within : callable, optional
        Moves points to where `fun` may be evaluated. Default: nothing is moved.

    Examples
    --------
    >>> import torch, learnmm as lmm
    >>> def fun(x):
    ...     return (torch.tensor([1.0, 2.0]) * x * x).sum(1)
    >>> optimizer = lmm.ProjectedMMOptimizer(fun, majorant=lmm.majorants.SecantMajorant(fun))
    >>> optimizer.minimize(torch.ones(1, 2)).message()
    'The gradient has vanished, within gtol.'
    """

    def __init__(
        self,
        fun: BatchFunction,
        *,
        measured: bool = True,
        within: Callable[[Tensor], Tensor] | None = None,
    ) -> None:
        self.fun = fun
        self.measured = flag("SecantMajorant: measured", measured)
        self.within = within

    def init_memory(self, x: Tensor, gradient: Tensor) -> Tensor:
        """Measure along the gradient, ``(B,)``."""
        with torch.no_grad():
            if not self.measured:
                return _positive(unit(gradient)[1] / reach_of(x))
            return self.confirmed(x, gradient, self._along(x, gradient))

    def confirmed(self, x: Tensor, gradient: Tensor, level: Tensor) -> Tensor:
        """First curvature from what a product has found, ``(B,)``; not positive: nothing.

        Every problem gets a positive one.
        """
        direction, size = unit(gradient)
        reach = reach_of(x)
        guess = size / reach
        seen = (level > 0) & torch.isfinite(level)
        level = torch.where(seen, level, 0.0)
        measurable = (size > 0) & torch.isfinite(size)
        blind = measurable & ~seen
        if some(blind):
            step = expand(blind * PROBE * reach, x) * direction
            change = measured_change(self.fun, x, gradient, self._moved(x - step))
            level = torch.where(blind, change, level)
        far = measurable & (level > 0) & (guess > FAR * level)
        if some(far):
            step = expand(size / torch.where(far, level, 1.0), x) * direction
            there = attempt(self.fun, torch.where(expand(far, x), self._moved(x - step), x))
            here = attempt(self.fun, x)
            lower = torch.zeros_like(far)
            if there is not None and here is not None:
                lower = there.value < here.value
            level = level.masked_fill(far & ~lower, 0.0)
        return _positive(torch.where(level > 0, level, guess))

    def observe(self, move: Tensor, change: Tensor, memory: Tensor) -> Tensor:
        """Secant of a step, ``(B,)``; as before where it measured nothing."""
        along, length, grown = dot(move, change), norm(move), norm(change)
        secant = torch.where(along > 0, grown * _ratio(grown, along), _ratio(grown, length))
        secant = torch.maximum(torch.minimum(secant, RISE * memory), FALL * memory)
        return torch.where((grown > 0) & torch.isfinite(secant), secant, memory).detach()

    def __call__(self, x: Tensor, aux: Any = None, memory: Tensor | None = None) -> Bound:
        """Bound at ``x`` from the last secant, or without one as before the first step."""
        if memory is None:
            memory = self.init_memory(x, as_objective(self.fun).evaluate(x).gradient)
        curvature = ScalarCurvature(memory)
        # Measured anew after every step; relaxation would measure it a second time.
        return Bound(Kind.ESTIMATE, curvature, certain=curvature)

    def restricted(self, rows: Tensor) -> SecantMajorant:
        """Return itself: once a memory is there, it holds all that differs between problems."""
        return self

    def _moved(self, x: Tensor) -> Tensor:
        return x if self.within is None else self.within(x)

    def _along(self, x: Tensor, gradient: Tensor) -> Tensor:
        """``|H g| / |g|``, ``(B,)``; zero without Hessian-vector products."""
        direction, size = unit(gradient)  # products with large gradients overflow
        try:
            return unit(hessian_product(self.fun, x)(direction))[1]
        except SecondDerivativeError:
            return torch.zeros_like(size)


def unit(v: Tensor) -> tuple[Tensor, Tensor]:
    """Direction ``v / |v|`` and length ``|v|``, ``(B,)``, of what may overflow when squared."""
    largest = peak(v)
    largest = torch.where(largest > 0, largest, 1.0)
    scaled = v / expand(largest, v)
    size = norm(scaled)
    return scaled / expand(torch.where(size > 0, size, 1.0), v), largest * size


def reach_of(x: Tensor) -> Tensor:
    """Length that a step may take for natural, ``(B,)``: that of the iterate, or 1 at zero."""
    reach = unit(x)[1]
    return torch.where(reach > 0, reach, 1.0)


def some(mask: Tensor) -> bool:
    """Whether a mask holds anywhere; False inside `torch.func.vmap`, which hides it."""
    return known(mask.any()) is True


def attempt(fun: BatchFunction, x: Tensor) -> Evaluation | None:
    """Evaluate at a point that nobody asked for; None where that fails."""
    try:
        return as_objective(fun).evaluate(x)
    except (RuntimeError, ValueError, ArithmeticError):  # such as outside the domain
        return None


def measured_change(fun: BatchFunction, x: Tensor, gradient: Tensor, moved: Tensor) -> Tensor:
    """Curvature that the gradient shows from ``x`` to where it is moved, ``(B,)``.

    Zero where nothing changes beyond rounding, or cannot be evaluated.
    """
    there = attempt(fun, moved)
    if there is None:
        return x.new_zeros(x.shape[0])
    size = unit(gradient)[1]
    direction, length = unit(moved - x)
    divisor = torch.where(size > 0, size, 1.0)
    change = (there.gradient - gradient) / expand(divisor, x)
    grown, along = norm(change), dot(direction, change)
    noise = NOISE * torch.finfo(x.dtype).eps * (1 + unit(there.gradient)[1] / divisor)
    level = torch.where(along > 0, grown * _ratio(grown, along), grown)
    level = level * (size / torch.where(length > 0, length, 1.0))
    return torch.where((grown > noise) & (length > 0) & torch.isfinite(level), level, 0.0)


def _positive(level: Tensor) -> Tensor:
    """A curvature to begin with: 1 where there is none."""
    return torch.where((level > 0) & torch.isfinite(level), level, 1.0)


def _ratio(a: Tensor, b: Tensor) -> Tensor:
    return a / torch.where(b > 0, b, 1.0)
