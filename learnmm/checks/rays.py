"""The law of rays: to the ends of the format, a value is right or not finite."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from learnmm.checks.laws import LawViolation, require_points
from learnmm.objective import Objective, as_objective
from learnmm.vectors import dot, expand, peak

FINE, COARSE = 0.5, 4.0
"""Octaves from one point of a ray to the next: where entries are near one, and elsewhere."""

NEAR = 12.0
"""Octaves around one that count as near."""

DIGITS = 0.01
"""Share of a value that it may be off by; errors of overflow and underflow grow to the whole."""


def assert_rays(
    fun: Objective | Callable[[Tensor], Tensor],
    x: Tensor,
    *,
    reference: Callable[[Tensor], Tensor] | None = None,
) -> None:
    """Follow ``t x`` from the smallest normal numbers to the largest, forwards and backwards.

    Law: where the value ``f(t x)`` is finite it is right, to a percent. It may be NaN or infinite,
    for then no step is taken to such a point; a finite wrong value would be believed. What breaks
    the law are squares: ``|x|^2`` leaves the range of a format halfway to its ends.

    What is right says the `reference`. Without one, values must follow the gradient: from a point
    of the ray to the next, half an octave away near one and four octaves elsewhere, the change is
    what a slope between zero and twice the mean of both ends gives, to a percent of the values. So
    ``f`` may not oscillate along the ray.

    Parameters
    ----------
    fun : Objective or callable
        ``f``, ``(B, *shape) -> (B,)``.
    x : Tensor
        Directions ``(B, *shape)``, none of them zero, where ``f`` is finite.
    reference : callable, optional
        ``f`` for float64 of the shape of ``x``, such as the same atom with data in float64.

    Raises
    ------
    LawViolation
        With the problem, the point, and both values.
    ValueError
        If a direction is zero, or ``f`` is not finite there.

    Examples
    --------
    >>> import torch, learnmm as lmm
    >>> from learnmm import checks
    >>> x = torch.tensor([[1.0, -2.0]])
    >>> checks.assert_rays(lmm.CosineDistance(torch.ones(1, 2)), x)
    >>> def careless(x):  # 1 - cos(x, 1), with a square that overflows
    ...     return 1 - x.sum(1) / (2 * (x * x).sum(1)).sqrt()
    >>> checks.assert_rays(careless, x)  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    ...
    learnmm.checks.laws.LawViolation: f(t x) is right or not finite: problem 0 ...
    """
    require_points(x)
    objective = as_objective(fun)
    size = peak(x)
    if not bool((size > 0).all()):
        raise ValueError("assert_rays expects directions, none of them zero")
    if not bool(torch.isfinite(objective(x)).all()):
        raise ValueError("assert_rays expects directions at which f is finite")
    direction = x / expand(size, x)
    with torch.no_grad():
        for sign in (1.0, -1.0):
            before: tuple[float, Tensor, Tensor] | None = None
            for exponent in _exponents(x.dtype):
                z = sign * 2.0**exponent * direction
                evaluation = objective.evaluate(z)
                value = evaluation.value.double()
                if reference is not None:
                    _require_equal(value, reference(z.double()).double(), sign * 2.0**exponent)
                    continue
                slope = dot(evaluation.gradient, z).double()
                if before is not None:
                    step = (exponent - before[0]) * math.log(2.0)
                    _require_followed(*before[1:], value, slope, step, sign * 2.0**exponent)
                before = exponent, value, slope


def _exponents(dtype: torch.dtype) -> Iterator[float]:
    """From the smallest normal numbers to just below the largest."""
    limits = torch.finfo(dtype)
    exponent, most = math.log2(limits.tiny), math.log2(limits.max) - 1e-9
    while exponent < most:
        yield exponent
        exponent += FINE if -NEAR <= exponent < NEAR else COARSE
    yield most


def _require_equal(value: Tensor, right: Tensor, t: float) -> None:
    _require(value, right, DIGITS * right.abs() + torch.finfo(torch.float32).tiny, t)


def _require_followed(
    earlier: Tensor, its_slope: Tensor, value: Tensor, slope: Tensor, step: float, t: float
) -> None:
    """``f`` changes by the integral of ``<g(t x), t x>`` over ``log t``."""
    right = earlier + step * (its_slope + slope) / 2
    allowed = step * (its_slope.abs() + slope.abs()) / 2 + DIGITS * (earlier.abs() + value.abs())
    known = torch.isfinite(earlier) & torch.isfinite(right)
    _require(torch.where(known, value, torch.nan), right, allowed, t)


def _require(value: Tensor, right: Tensor, allowed: Tensor, t: float) -> None:
    broken = torch.isfinite(value) & ~((value - right).abs() <= allowed)
    if bool(broken.any()):
        i = int(broken.to(torch.int64).argmax())
        raise LawViolation(
            f"f(t x) is right or not finite: problem {i} has {float(value[i]):.6g} where "
            f"{float(right[i]):.6g} is expected, give or take {float(allowed[i]):.2g}, at a "
            f"largest entry of {t:.3g} ({int(broken.sum())} of {len(value)} problems)"
        )
