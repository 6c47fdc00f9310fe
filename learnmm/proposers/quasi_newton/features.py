"""What a learned quasi-Newton method sees: numbers without units, one set per problem."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from learnmm.vectors import dot, norm

BEHIND, AHEAD = 9, 4
"""Features of the step that was taken, and of the next."""

CUBIC, COUNT = 2, 7
"""Places of :func:`correction` and of the steps so far among those of a step behind."""

LARGEST = 5.0
"""Absolute value of a feature: what no number says better than another."""

BLUR = 1e3
"""Rounding errors of ``f`` that a promised decrease must exceed to be compared with the actual."""


class Taken(NamedTuple):
    """A step ``s`` that was taken, between two iterates.

    Attributes
    ----------
    move, change : Tensor
        ``s`` and the change of gradient ``y``, ``(B, *shape)``.
    gradient, last : Tensor
        At its end and at its beginning, likewise.
    drop : Tensor
        By how much ``f`` fell, ``(B,)``.
    """

    move: Tensor
    change: Tensor
    gradient: Tensor
    last: Tensor
    drop: Tensor

    @property
    def slopes(self) -> tuple[Tensor, Tensor]:
        """``<g, s>`` at the beginning, which is negative, and at the end, ``(B,)``."""
        return dot(self.last, self.move), dot(self.gradient, self.move)


def decrease(before: Tensor, value: Tensor | None, slopes: tuple[Tensor, Tensor]) -> Tensor:
    """By how much ``f`` fell over a step, ``(B,)``: by its values, or where rounding blurs their
    difference by the slopes at both ends.
    """
    smooth = -(slopes[0] + slopes[1]) / 2
    if value is None:
        return smooth
    # Compared in the dtype of the memory, in which the value before is known.
    value = value.to(before.dtype)
    clear = slopes[0].abs() > BLUR * torch.finfo(before.dtype).eps * value.abs()
    return torch.where(clear, before - value, smooth)


def correction(drop: Tensor, slopes: tuple[Tensor, Tensor]) -> Tensor:
    """Logarithm of Biggs' factor on ``y`` (1973), ``(B,)``.

    The cubic through values and slopes at both ends of a step bends by ``t <s, y>`` at its end,
    with ``t = 6 (f - f_+ + <g_+, s>) / <s, y> - 2``; on a quadratic ``t = 1``. It stays within
    [0.1, 10], and is 1 where the step has seen no positive curvature.
    """
    bend = slopes[1] - slopes[0]
    seen = bend > 0
    factor = 6 * (drop + slopes[1]) / torch.where(seen, bend, 1.0) - 2
    return torch.where(seen, torch.nan_to_num(factor, nan=1.0), 1.0).clamp(0.1, 10.0).log()


def behind(taken: Taken, planned: Tensor, rise: Tensor, count: Tensor) -> Tensor:
    """Features of a step that was taken, ``(B, BEHIND)``.

    Parameters
    ----------
    taken : Taken
        The step.
    planned : Tensor
        How long it was proposed to be, ``(B,)``.
    rise : Tensor
        Logarithm of the inverse curvature that it measured over that of ``H_0``, ``(B,)``.
    count : Tensor
        Iterates before this one, ``(B,)``.
    """
    before, after = taken.slopes
    length, last = norm(taken.move), norm(taken.last)
    unknowns = taken.move[0].numel()
    return _finite(
        _squashed(after / -before),
        _squashed(taken.drop / -before - 0.5),
        correction(taken.drop, (before, after)),
        log_ratio(length, planned).clamp(-LARGEST, LARGEST),
        -before / (length * last),
        log_ratio(norm(taken.gradient), last).clamp(-LARGEST, LARGEST),
        rise,
        (-count / 4).exp(),
        (count / unknowns).clamp(max=2.0),
    )


def ahead(step: Tensor, taken: Taken) -> Tensor:
    """Features of a step to come, ``(B, AHEAD)``: against the gradient, and the step before."""
    slope, size, length = dot(taken.gradient, step), norm(step), norm(taken.move)
    return _finite(
        slope / (size * norm(taken.gradient)),
        log_ratio(size, length),
        log_ratio(slope, taken.drop),
        dot(step, taken.move) / (size * length),
    )


def measured(move: Tensor, change: Tensor) -> Tensor:
    """Logarithm of the inverse curvature that a pair measures, ``<s, y> / |y|^2``; ``(B,)``."""
    return log_ratio(dot(move, change), dot(change, change))


def log_ratio(a: Tensor, b: Tensor) -> Tensor:
    """``log(a / b)``, and 0 unless both are positive."""
    positive = (a > 0) & (b > 0)
    return torch.where(positive, a, 1.0).log() - torch.where(positive, b, 1.0).log()


def _squashed(v: Tensor) -> Tensor:
    """A number of any size and sign on a logarithmic scale."""
    return torch.sign(v) * v.abs().log1p()


def _finite(*features: Tensor) -> Tensor:
    """Features side by side; 0 where there is none."""
    together = torch.nan_to_num(torch.stack(features, 1), posinf=LARGEST, neginf=-LARGEST)
    return together.clamp(-LARGEST, LARGEST)
