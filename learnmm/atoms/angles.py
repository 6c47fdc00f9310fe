"""The cosine between two batches: distance, gradients, and the constants of its curvature."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from learnmm.objective import DomainError
from learnmm.truth import holds
from learnmm.vectors import dot, expand, norm


class Cosine(NamedTuple):
    """Pieces of ``1 - cos(a, b)`` per problem, all of shape ``(B,)`` but the vector `gap`.

    `gap` is ``a/|a| - b/|b|``, from which the distance ``|gap|^2 / 2`` keeps its relative
    accuracy near zero, where ``1 - s`` would lose it. Everything is NaN where a norm, or its
    inverse, leaves the range of the dtype: no direction is better than a wrong one.
    """

    distance: Tensor
    norm_a: Tensor
    norm_b: Tensor
    gap: Tensor


def cosine(a: Tensor, b: Tensor, floor: float = 0.0) -> Cosine:
    """Cosine distance of two batches ``(B, *shape)``.

    With ``floor = eps > 0`` the vectors are ``(a, eps, 0)`` and ``(b, 0, eps)``: two more
    coordinates keep both norms away from zero, so every theorem on cosines still applies and the
    distance is smooth everywhere.
    """
    norm_a, norm_b = norm(a), norm(b)
    if floor:
        norm_a, norm_b = torch.hypot(norm_a, _like(floor, a)), torch.hypot(norm_b, _like(floor, b))
    norm_a, norm_b = _invertible(norm_a), _invertible(norm_b)
    gap = a * expand(1 / norm_a, a) - b * expand(1 / norm_b, b)
    distance = dot(gap, gap)
    if floor:
        distance = distance + (floor / norm_a) ** 2 + (floor / norm_b) ** 2
    return Cosine(distance / 2, norm_a, norm_b, gap)


def cosine_gradients(a: Tensor, b: Tensor, pieces: Cosine) -> tuple[Tensor, Tensor]:
    """Gradients of ``1 - cos(a, b)`` in both arguments.

    With ``u = a / |a|``, ``v = b / |b|``: ``-(v - s u) / |a| = (gap - distance u) / |a|``, and the
    same for ``b`` with the sign of the gap turned.
    """
    return gradient_in_first(a, pieces), _gradient(b, pieces.norm_b, pieces, sign=-1.0)


def gradient_in_first(a: Tensor, pieces: Cosine) -> Tensor:
    """The first of :func:`cosine_gradients` alone."""
    return _gradient(a, pieces.norm_a, pieces)


def _gradient(v: Tensor, size: Tensor, pieces: Cosine, sign: float = 1.0) -> Tensor:
    # In this order no square of the size appears, which would overflow before the gradient does.
    turned = pieces.gap - expand(sign * pieces.distance / size, v) * v
    return expand(sign / size, v) * turned


def require_direction(name: str, vector: Tensor, floor: float) -> None:
    """Raise `DomainError` where a cosine is undefined because ``vector`` vanishes."""
    zero = norm(vector) == 0
    if floor == 0 and not holds(~zero.any()):
        raise DomainError(
            f"the cosine is undefined at zero: {name} vanishes for problems "
            f"{zero.nonzero().flatten().tolist()}; start elsewhere or give floor="
        )


def _invertible(size: Tensor) -> Tensor:
    """``size`` where it and its inverse are normal numbers, NaN elsewhere."""
    limits = torch.finfo(size.dtype)
    return torch.where((size >= limits.tiny) & (size <= 1 / limits.tiny), size, torch.nan)


def _like(number: float, tensor: Tensor) -> Tensor:
    return torch.tensor(number, dtype=tensor.dtype, device=tensor.device)


def joint_constant(distance: Tensor) -> Tensor:
    """``c(s) = (1 + s) + sqrt(2 (1 + s))`` of Theorem 2, with ``1 + s = 2 - distance``."""
    gain = floored_gain(distance)
    return gain + torch.sqrt(2 * gain)


def joint_pointwise(distance: Tensor) -> Tensor:
    """Largest Hessian eigenvalue in ``(a / |a|, b / |b|)``: ``max(1 + s, sqrt(1 - s^2))``."""
    return torch.maximum(2 - distance, sine(distance))


def sine(distance: Tensor) -> Tensor:
    """``sqrt(1 - s^2)`` without cancellation near ``s = 1``; its derivative at zero is zero."""
    square = distance * (2 - distance)
    return torch.where(square > 0, torch.where(square > 0, square, 1.0).sqrt(), 0.0)


def floored_gain(distance: Tensor) -> Tensor:
    """``1 + s``, kept above the square root of the dtype's eps.

    Towards ``s = -1`` the sharp curvature vanishes and the step would overflow; a larger
    curvature is still a majorant.
    """
    return (2 - distance).clamp(min=math.sqrt(torch.finfo(distance.dtype).eps))
