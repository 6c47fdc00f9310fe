"""Gradients of a stationary point by the implicit function theorem."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from learnmm.hessian import hessian_product
from learnmm.objective import Objective
from learnmm.vectors import dot, expand, norm


def implicit_gradient(
    objective: Objective, x: Tensor, *, rtol: float = 1e-6, max_iter: int = 200
) -> Tensor:
    """Return ``x``, a stationary point, with gradients as if it had been solved for.

    From ``grad f(x; p) = 0`` follows ``dx/dp = -H^+ d(grad f)/dp``, so a backward pass solves
    ``H v = dL/dx`` and pulls ``-v`` back through the gradient of ``f``. The solution comes from
    conjugate gradients on ``H^2``, which also serves Hessians that are singular (the energy of a
    cosine does not see the length of ``x``) or indefinite: it is the one of least norm.

    Parameters
    ----------
    objective : Objective
        ``f``; whatever requires gradients inside receives them.
    x : Tensor
        Stationary points, ``(B, *shape)``. How far ``grad f`` is from zero there is how far the
        result is from the gradient of the true minimizer.
    rtol : float
        Residual of the linear solve relative to its right-hand side.
    max_iter : int
        Limit on its iterations.

    Returns
    -------
    Tensor
        Equal to ``x``.
    """
    x = x.detach()
    gradient = objective.evaluate(x.clone()).gradient  # x is a constant: only parameters are seen
    if not gradient.requires_grad:
        return x
    solution = x - (gradient - gradient.detach())
    product = hessian_product(objective, x)
    solution.register_hook(lambda outer: least_norm_solve(product, outer, rtol, max_iter))
    return solution


def least_norm_solve(
    product: Callable[[Tensor], Tensor], target: Tensor, rtol: float, max_iter: int
) -> Tensor:
    """Least-squares solution of least norm of ``H v = target`` per problem, ``H`` symmetric.

    CGLS of Hestenes and Stiefel (1952): conjugate gradients on ``H^2 v = H target``.
    """
    v = torch.zeros_like(target)
    residual = target
    with torch.no_grad():
        ascent = product(residual)
        direction, size = ascent, dot(ascent, ascent)
        least = (rtol * norm(ascent)) ** 2
        for _ in range(max_iter):
            running = size > least
            if not bool(running.any()):
                break
            image = product(direction)
            length = _ratio(size, dot(image, image), running)
            v = v + expand(length, v) * direction
            residual = residual - expand(length, v) * image
            ascent = product(residual)
            following = torch.where(running, dot(ascent, ascent), size)
            direction = ascent + expand(_ratio(following, size, running), v) * direction
            size = following
    return v


def _ratio(a: Tensor, b: Tensor, where: Tensor) -> Tensor:
    """``a / b``, and zero where a problem has converged or nothing is left to divide by."""
    where = where & (b > 0)
    return torch.where(where, a / torch.where(where, b, 1.0), 0.0)
