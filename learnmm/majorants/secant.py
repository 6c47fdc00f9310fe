"""Curvature from the gradients of the steps already taken."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from learnmm.bound import Bound
from learnmm.curvature import ScalarCurvature, dot, norm
from learnmm.objective import BatchFunction, hessian_product
from learnmm.result import Kind

RISE = 1e3
"""Largest factor from one step to the next: a step next to a kink measures anything."""

FALL = 0.5
"""Least factor: a step along a valley says nothing about the curvature across it."""


class SecantMajorant:
    """`ESTIMATE` ``|y|^2 / <s, y>`` from the last step ``s`` and its change of gradient ``y``.

    This is the shorter of the two step sizes of Barzilai & Borwein (1988). On a convex quadratic
    it lies between the least and the largest curvature; where the step has seen none or a negative
    one, ``|y| / |s|`` takes its place. Before the first step it is ``|H g| / |g|``, from the only
    Hessian-vector product of a run; where that vanishes, ``|g| / |x|``, by which a step is as long
    as the iterate.

    Parameters
    ----------
    fun : callable
        ``(B, *shape) -> (B,)``, an :class:`~learnmm.Objective` or a function.

    Examples
    --------
    >>> import torch, learnmm as lmm
    >>> def fun(x):
    ...     return (torch.tensor([1.0, 2.0]) * x * x).sum(1)
    >>> optimizer = lmm.ProjectedMMOptimizer(fun, majorant=lmm.SecantMajorant(fun))
    >>> optimizer.minimize(torch.ones(1, 2)).message()
    'The gradient has vanished, within gtol.'
    """

    def __init__(self, fun: BatchFunction) -> None:
        self.fun = fun

    def start(self, x: Tensor, gradient: Tensor) -> Tensor:
        """Measure along the gradient, ``(B,)``."""
        size = norm(gradient)
        bent = norm(hessian_product(self.fun, x)(gradient))
        reach = norm(x)
        guess = _ratio(size, torch.where(reach > 0, reach, 1.0))
        level = torch.where((bent > 0) & torch.isfinite(bent), _ratio(bent, size), guess)
        return torch.where(level > 0, level, 1.0).detach()

    def follow(self, aux: Tensor, move: Tensor, change: Tensor) -> Tensor:
        """Secant of a step, ``(B,)``; as before where it measured nothing."""
        along, length, grown = dot(move, change), norm(move), norm(change)
        secant = torch.where(along > 0, _ratio(grown * grown, along), _ratio(grown, length))
        secant = torch.maximum(torch.minimum(secant, RISE * aux), FALL * aux)
        return torch.where((grown > 0) & torch.isfinite(secant), secant, aux).detach()

    def __call__(self, x: Tensor, aux: Any = None) -> Bound:
        """Bound at ``x`` from the last secant, or without one as before the first step."""
        if aux is None:
            aux = self.start(x, torch.func.grad(lambda z: self.fun(z).sum())(x))
        curvature = ScalarCurvature(aux)
        # Measured anew after every step; relaxation would measure it a second time.
        return Bound(Kind.ESTIMATE, curvature, certain=curvature)


def _ratio(a: Tensor, b: Tensor) -> Tensor:
    return a / torch.where(b > 0, b, 1.0)
