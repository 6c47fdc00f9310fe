"""Cosine distance ``1 - cos(z, y)``: scale-free data fit, with its sharp global majorant."""

from __future__ import annotations

import math
from enum import StrEnum
from typing import Any, Self

import torch
from torch import Tensor

from learnmm.atoms.angles import (
    cosine,
    floored_gain,
    gradient_in_first,
    require_direction,
)
from learnmm.atoms.base import Atom, brought, require_like
from learnmm.bound import Bound
from learnmm.choices import chosen
from learnmm.curvature import ScalarCurvature
from learnmm.kind import Kind
from learnmm.levels import not_negative, require_tensor
from learnmm.objective import Evaluation
from learnmm.truth import holds
from learnmm.vectors import norm


class CosineBound(StrEnum):
    """Which curvature bounds a cosine distance."""

    GLOBAL = "global"
    """Theorem 1: the smallest that is valid everywhere."""
    POINTWISE = "pointwise"
    """The largest eigenvalue of the Hessian at the point."""
    PAPER = "paper"
    """MM-Net Eq. 14: the largest of those over all angles."""


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
        Length below which ``|z|`` is smoothed; 0 makes ``z = 0`` an error. See
        :func:`~learnmm.atoms.cosine`.

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

    def __init__(
        self, y: Tensor, bound: CosineBound | str = CosineBound.GLOBAL, floor: float = 0.0
    ) -> None:
        self.mode = chosen(CosineBound, bound, "CosineDistance: bound")
        self.floor = not_negative("CosineDistance: floor", floor)
        require_tensor("CosineDistance: y", y)
        if y.dim() < 2 or not y.is_floating_point():
            raise ValueError(
                "CosineDistance expects floating-point targets (B, ...), got shape "
                f"{tuple(y.shape)} and dtype {y.dtype}"
            )
        size = norm(y)
        bad = ~((size > 0) & torch.isfinite(size))
        if not holds(~bad.any()):
            raise ValueError(
                "CosineDistance expects finite targets that are not zero, got others for problems "
                f"{bad.nonzero().flatten().tolist()}"
            )
        self.y = y

    def measure(self, z: Tensor) -> tuple[Tensor, Any]:
        """Distance, and the distance with ``|z|`` for the bound."""
        pieces = cosine(z, self.y, self.floor)
        return pieces.distance, (pieces.distance, pieces.norm_a)

    def evaluate(self, z: Tensor) -> Evaluation:
        """Closed form, see :func:`cosine_gradients`."""
        pieces = cosine(z, self.y, self.floor)
        gradient = gradient_in_first(z, pieces)
        return Evaluation(pieces.distance, gradient, (pieces.distance, pieces.norm_a))

    def bound_at(self, z: Tensor, aux: Any) -> Bound:
        """Scalar curvature by the chosen formula."""
        distance, size = brought(self, aux, 2)
        if self.mode is CosineBound.GLOBAL:
            return Bound(Kind.GLOBAL, ScalarCurvature(2 * floored_gain(distance) / size / size))
        if self.mode is CosineBound.PAPER:
            level = torch.full_like(size, 2 / math.sqrt(3))
        else:
            s = 1 - distance
            level = (s + torch.sqrt((4 - 3 * s * s).clamp(min=1.0))) / 2
            level = level.clamp(min=math.sqrt(torch.finfo(level.dtype).eps))
        return Bound(Kind.POINTWISE, ScalarCurvature(level / size / size))

    def check(self, z: Tensor) -> None:
        """Shapes, dtypes and devices agree, and the cosine is defined."""
        require_like(self, z, self.y)
        require_direction("the compared vector (A x)", z, self.floor)

    def restricted(self, rows: Tensor) -> Self:
        """Targets of these problems."""
        return self._with(y=self.y[rows])
