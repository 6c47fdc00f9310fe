"""What bounds a callable that nobody has named a majorant for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from learnmm.bound import Bound
from learnmm.curvature import ScalarCurvature
from learnmm.hessian import SecondDerivativeError, hessian_product
from learnmm.kind import Kind
from learnmm.majorants.hessian import LanczosMajorant
from learnmm.majorants.secant import SecantMajorant, measured_change, reach_of, some, unit
from learnmm.objective import BatchFunction, Objective
from learnmm.vectors import expand


class Mixed(NamedTuple):
    """Knowledge about a batch of which only some problems show their second derivatives.

    Attributes
    ----------
    hidden : Tensor of bool
        Which do not, ``(B,)``.
    level : Tensor
        Secants, ``(B,)``.
    """

    hidden: Tensor
    level: Tensor


class DefaultMajorant:
    """Lanczos's bound (`PROBABLE`) where ``f`` has second derivatives, else secants (`ESTIMATE`).

    Which of the two is found out at the start: without Hessian-vector products there are only the
    gradients of the steps, and so for a problem whose product with its gradient vanishes although
    the gradient changes next to ``x`` by more than rounding, since something differentiates
    without telling (an `autograd.Function` that leaves torch in its backward).

    Parameters
    ----------
    fun : callable
        ``(B, *shape) -> (B,)``.
    within : callable, optional
        Moves points to where `fun` may be evaluated.
    """

    def __init__(
        self, fun: BatchFunction, within: Callable[[Tensor], Tensor] | None = None
    ) -> None:
        self.fun = fun
        self.lanczos = LanczosMajorant(fun)
        self.secant = SecantMajorant(fun, within=within)

    def init_memory(self, x: Tensor, gradient: Tensor) -> Tensor | Mixed | None:
        """Return secants, both, or nothing, which is Lanczos's bound alone."""
        with torch.no_grad():
            direction, size = unit(gradient)
            try:
                along = unit(hessian_product(self.fun, x)(direction))[1]
            except SecondDerivativeError:
                return self.secant.init_memory(x, gradient)
            hidden = (along == 0) & (size > 0) & torch.isfinite(size)
            if some(hidden):
                # So short that it crosses no kink but one on which x lies.
                length = torch.finfo(x.dtype).eps ** 0.5 * reach_of(x)
                step = expand(length, x) * direction
                moved = x - step if self.secant.within is None else self.secant.within(x - step)
                hidden = hidden & (measured_change(self.fun, x, gradient, moved) > 0)
            if not some(hidden):
                return None
            return Mixed(hidden, self.secant.confirmed(x, gradient, along))

    def observe(
        self, move: Tensor, change: Tensor, memory: Tensor | Mixed | None
    ) -> Tensor | Mixed | None:
        """Return the secants of a step, where they are used."""
        if isinstance(memory, Mixed):
            return Mixed(memory.hidden, self.secant.observe(move, change, memory.level))
        return None if memory is None else self.secant.observe(move, change, memory)

    def restricted(self, rows: Tensor) -> DefaultMajorant | None:
        """Return the same for some problems of its batch, ``(b,)``; None for mere functions."""
        if self.secant.within is not None or not isinstance(self.fun, Objective):
            return None
        fun = self.fun.restricted(rows)
        return None if fun is None else DefaultMajorant(fun)

    def __call__(self, x: Tensor, aux: Any = None, memory: Tensor | Mixed | None = None) -> Bound:
        """Bound at ``x``."""
        if isinstance(memory, Tensor):
            return self.secant(x, memory=memory)
        bound = self.lanczos(x)
        if memory is None:
            return bound
        seen = bound.curvature.largest()
        return Bound(
            Kind.ESTIMATE,
            ScalarCurvature(torch.where(memory.hidden, memory.level, seen)),
            failure_probability=bound.failure_probability,
            certain=ScalarCurvature(memory.level * memory.hidden),
            uncertain=ScalarCurvature(seen.masked_fill(memory.hidden, 0.0)),
        )
