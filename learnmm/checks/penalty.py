"""Laws of penalties."""

from __future__ import annotations

import torch
from torch import Tensor

from learnmm.checks.laws import LawViolation, require, require_equal, require_points, tolerance
from learnmm.proximal.base import Penalty
from learnmm.vectors import dot, expand, norm, peak

TRIALS = 8
"""Points that a prox is compared with at each of two distances."""

STIFF = 2.0**100
"""Weights by which an own step is shorter than the way to any kink."""

NEAR = 2.0**-20
"""Length of a step along which a penalty is linear, unless a kink is as close."""


FALL = 0.4
"""Share of its squared length that an own step falls by at least."""


def assert_penalty(penalty: Penalty, x: Tensor, gradient: Tensor) -> None:
    """Check what a penalty says at points of a batch, with gradients there.

    Laws: `prox` minimizes ``1/2 |z - v|_W^2 + h(z)``: no other point comes closer than that value
    plus ``1/2 |y - z|_W^2``; without a closed form up to `excess`. It lands where ``h`` is finite,
    to the bit. `fall` is the difference of values, `own` leads down towards ``prox(x - W^-1 g)``,
    and `residual` is ``W`` times the way there. With faces, the sum of ``<g, .>`` and ``h`` falls
    along `steepest` by its square, to which the residual grows as the weights do; `confined` and
    `shares` keep to the face of `free`. Problem ``i`` of a batch gets what it gets alone.

    Parameters
    ----------
    penalty : Penalty
        What is checked.
    x, gradient : Tensor
        ``(B, *shape)``, inside the bounds if there are any.

    Raises
    ------
    LawViolation
        With the law and the problem.

    Examples
    --------
    >>> import torch
    >>> from learnmm import checks
    >>> from learnmm.proximal import L1
    >>> x = torch.tensor([[1.0, 0.0, -2.0]], dtype=torch.float64)
    >>> checks.assert_penalty(L1(0.5), x, torch.ones_like(x))
    """
    require_points(x)
    penalty.check(x)
    if not torch.equal(penalty.feasible(x), x):
        raise ValueError("penalties are checked where they are finite, got an x outside")
    drawn = torch.Generator().manual_seed(0)

    def normal() -> Tensor:
        return torch.randn(x.shape, generator=drawn, dtype=torch.float64).to(x)

    weights = penalty.metric(normal().exp())
    own = penalty.own(x, gradient, weights)
    for v in (x, x - gradient / weights, 10 * normal()):
        _minimizes(penalty, v, weights, [normal() for _ in range(TRIALS)])
    expected = weights * (x - own)
    scale = norm(gradient) + norm(weights * x) + norm(weights * own)
    _falls(penalty, x, gradient, weights, own)
    law = "the residual is the weights times the own step"
    require_equal(penalty.residual(x, gradient, weights), expected, scale, law)
    before, after = penalty.value(x), penalty.value(own)
    law = "the fall of a penalty is the difference of its values"
    require((penalty.fall(x, own) - (before - after)).abs(), tolerance(x) * (before + after), law)
    if penalty.faces:
        _faces(penalty, x, gradient, own)
    _independent(penalty, x, gradient, weights)


def _minimizes(penalty: Penalty, v: Tensor, weights: Tensor, noise: list[Tensor]) -> None:
    """`prox` finds the minimum."""
    z = penalty.prox(v, weights)
    if not torch.equal(penalty.feasible(z), z):
        raise LawViolation("a prox lands where the penalty is finite, not so to the bit")

    def total(y: Tensor) -> Tensor:
        return dot(weights * (y - v), y - v) / 2 + penalty.value(y)

    for direction in noise:
        for length in (1.0, 1e-3):
            y = penalty.feasible(z + length * direction)
            apart = dot(weights * (y - z), y - z) / 2
            slack = tolerance(v) * (total(y) + total(z) + dot(weights * v, v))
            law = "a prox minimizes the distance and the penalty"
            excess = penalty.excess(v, z, weights)
            slack = slack + excess + (4 * excess * apart).sqrt()  # strong convexity
            require(total(z) + apart - total(y), slack, law)


def _falls(penalty: Penalty, x: Tensor, gradient: Tensor, weights: Tensor, own: Tensor) -> None:
    """An own step falls by 0.4 of its squared length, where that of an exact prox is 0.5."""
    step = x - own
    square = dot(weights * step, step)
    fall = dot(gradient, step) - square / 2 + penalty.fall(x, own)
    excess = penalty.excess(x - gradient / weights, own, weights)
    slack = excess + (2 * excess * square).sqrt()
    slack = slack + tolerance(x) * (norm(gradient) * norm(step) + square + penalty.rounding(x))
    require(FALL * square - fall, slack, "the bound falls by 0.4 of an own step's squared length")


def _faces(penalty: Penalty, x: Tensor, gradient: Tensor, own: Tensor) -> None:
    """`steepest` leads down, and the others keep to a face."""
    steepest = penalty.steepest(x, gradient)
    step = expand(NEAR / peak(steepest).clamp(min=1.0), x) * steepest
    fall = dot(gradient, step) + penalty.fall(x, x - step)
    slack = tolerance(x) * (norm(gradient) * norm(step) + norm(steepest) * norm(step))
    law = "the objective falls along the steepest way by its square"
    require((fall - dot(steepest, step)).abs(), slack, law)
    stiff = penalty.metric(torch.full_like(x, STIFF))
    law = "the residual is the steepest way where the metric is stiff"
    require_equal(penalty.residual(x, gradient, stiff), steepest, norm(gradient), law)

    free = penalty.free(x, own, gradient)
    onward = (x - own).masked_fill(~free, 0.0)
    shares = penalty.shares(x, onward, gradient)
    require((1 - shares.reshape(len(x), -1).amin(1)), 0.0, "what is free can go the own way")
    kept = penalty.confined(x - onward, x, gradient)
    same = torch.where(free, (kept - (x - onward)).abs(), 0.0)
    require(norm(same), tolerance(x) * norm(x), "the own way stays on the face")
    step = 1e3 * steepest
    far = penalty.confined(x - step, x, gradient)
    if not torch.equal(penalty.confined(far, x, gradient), far):
        raise LawViolation("what is confined to a face stays where it is when confined again")
    if not torch.equal(penalty.feasible(far), far):
        raise LawViolation("a face lies where the penalty is finite, not so to the bit")
    end = x - penalty.shares(x, step, gradient) * step
    beyond = norm(penalty.confined(end, x, gradient) - end)
    require(beyond, tolerance(x) * (norm(x) + norm(end)), "shares of a step end on its face")


def _independent(penalty: Penalty, x: Tensor, gradient: Tensor, weights: Tensor) -> None:
    """Problem ``i`` gets what it gets alone."""
    together = penalty.residual(x, gradient, weights), penalty.value(x)[:, None]
    for i in range(len(x)):
        rows = torch.tensor([i], device=x.device)
        one = penalty.restricted(rows, x)
        apart = one.residual(x[rows], gradient[rows], weights[rows]), one.value(x[rows])[:, None]
        for mine, all_of_them in zip(apart, together, strict=True):
            size = norm(all_of_them[rows]) + norm(gradient[rows])
            require_equal(mine, all_of_them[rows], size, f"problem {i} gets what it gets alone")
