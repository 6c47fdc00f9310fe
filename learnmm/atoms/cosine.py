"""Cosine distance ``1 - cos(z, y)``: scale-free data fit, with its sharp global majorant."""

from __future__ import annotations

import math
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor

from learnmm.atoms.base import Atom, brought
from learnmm.bound import Bound
from learnmm.curvature import ScalarCurvature, dot, expand, norm
from learnmm.kind import Kind
from learnmm.objective import DomainError, Evaluation
from learnmm.truth import holds

CosineBound = Literal["global", "pointwise", "paper"]


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
    return _gradient(a, pieces.norm_a, pieces), _gradient(b, pieces.norm_b, pieces, sign=-1.0)


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


class CosineDistance(Atom):
    """``f(z) = 1 - cos(z, y)``, one target ``y`` per problem; norms run over all but the batch.

    Parameters
    ----------
    y : Tensor
        Targets, ``(B, *shape)``, none of them zero.
    bound : {"global", "pointwise", "paper"}
        "global": curvature ``2 (1 + s) / |z|^2``, the smallest that is valid everywhere
        (Theorem 1). "pointwise": ``(s + sqrt(4 - 3 s^2)) / (2 |z|^2)``, the largest Hessian
        eigenvalue. "paper": ``(2 / sqrt 3) / |z|^2`` (MM-Net Eq. 14), pointwise too.
    floor : float
        Length below which ``|z|`` is smoothed; 0 makes ``z = 0`` an error. See :func:`cosine`.

    Raises
    ------
    ValueError
        For a zero or non-finite target, an unknown bound, or a negative floor.

    Examples
    --------
    >>> import torch, learnmm as lmm
    >>> f = lmm.CosineDistance(torch.tensor([[1.0, 0.0]]))
    >>> f(torch.tensor([[0.0, 2.0]]))
    tensor([1.])
    """

    def __init__(self, y: Tensor, bound: CosineBound = "global", floor: float = 0.0) -> None:
        if bound not in ("global", "pointwise", "paper"):
            raise ValueError(f"bound must be 'global', 'pointwise' or 'paper', got {bound!r}")
        if not floor >= 0:
            raise ValueError(f"floor must be non-negative, got {floor}")
        if y.dim() < 2 or not y.is_floating_point():
            raise ValueError(
                "CosineDistance expects floating-point targets (B, ...), got shape "
                f"{tuple(y.shape)} and dtype {y.dtype}"
            )
        size = norm(y)
        bad = ~((size > 0) & torch.isfinite(size))
        if not holds(~bad.any()):
            raise ValueError(
                "the cosine needs finite, non-zero targets; problems "
                f"{bad.nonzero().flatten().tolist()} have none"
            )
        self.y = y
        self.mode = bound
        self.floor = floor

    def measure(self, z: Tensor) -> tuple[Tensor, Any]:
        """Distance, and the distance with ``|z|`` for the bound."""
        pieces = cosine(z, self.y, self.floor)
        return pieces.distance, (pieces.distance, pieces.norm_a)

    def evaluate(self, z: Tensor) -> Evaluation:
        """Closed form, see :func:`cosine_gradients`."""
        pieces = cosine(z, self.y, self.floor)
        gradient = _gradient(z, pieces.norm_a, pieces)
        return Evaluation(pieces.distance, gradient, (pieces.distance, pieces.norm_a))

    def bound_at(self, z: Tensor, aux: Any) -> Bound:
        """Scalar curvature by the chosen formula."""
        distance, size = brought(self, aux, 2)
        if self.mode == "global":
            return Bound(Kind.GLOBAL, ScalarCurvature(2 * floored_gain(distance) / size / size))
        if self.mode == "paper":
            level = torch.full_like(size, 2 / math.sqrt(3))
        else:
            s = 1 - distance
            level = (s + torch.sqrt((4 - 3 * s * s).clamp(min=1.0))) / 2
            level = level.clamp(min=math.sqrt(torch.finfo(level.dtype).eps))
        return Bound(Kind.POINTWISE, ScalarCurvature(level / size / size))

    def check(self, z: Tensor) -> None:
        """Shapes, dtypes and devices agree, and the cosine is defined."""
        if z.shape != self.y.shape:
            raise ValueError(
                f"CosineDistance compares vectors of one shape: got {tuple(z.shape)} "
                f"for targets of shape {tuple(self.y.shape)}"
            )
        if z.dtype != self.y.dtype:
            raise ValueError(f"got vectors of dtype {z.dtype} for targets of {self.y.dtype}")
        if z.device != self.y.device:
            raise ValueError(f"got vectors on {z.device} for targets on {self.y.device}")
        require_direction("the compared vector (A x)", z, self.floor)
