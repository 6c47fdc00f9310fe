"""The forms in which a curvature is pulled back through a linear map: ``A^T C A <= B``."""

from __future__ import annotations

from enum import StrEnum

import torch
from torch import Tensor

from learnmm.curvature import Curvature, DiagonalCurvature, ScalarCurvature
from learnmm.linear.base import LinearMap
from learnmm.vectors import expand


class Form(StrEnum):
    """How a curvature ``C`` of the outer objective becomes one of the composition."""

    STRUCTURED = "structured"
    """``A^T C A`` through the thin singular value decomposition."""
    UNIFORM = "uniform"
    """``|A|^2 max(C) I``."""
    SEPARABLE = "separable"
    """``diag(|A|^T C |A| 1)``."""


def uniform(linear: LinearMap, curvature: Curvature, x: Tensor) -> ScalarCurvature:
    """``|A|^2 max(C) I`` (MM-Net Eq. 16)."""
    return ScalarCurvature(curvature.largest() * linear.norm(x) ** 2)


def separable(columns: Tensor, curvature: Curvature, x: Tensor) -> DiagonalCurvature:
    """``max(C) diag(|A|^T |A| 1)``: ``v^T A^T A v <= v^T diag(|A|^T |A| 1) v`` (Jensen, by rows).

    Parameters
    ----------
    columns : Tensor
        ``|A|^T |A| 1``, see :func:`absolute_sums`.
    curvature : Curvature
        ``C``.
    x : Tensor
        The iterate, ``(B, *shape)``.
    """
    level = expand(curvature.largest(), x) * trailing(columns, x)
    return DiagonalCurvature(level.expand_as(x))


def absolute_sums(absolute: LinearMap, like: Tensor) -> tuple[Tensor, Tensor]:
    """``|A| 1`` and ``|A|^T |A| 1``, ``(1, *image)`` and ``(1, *domain)``, from the map ``|A|``."""
    ones = torch.ones(1, *absolute.domain, dtype=like.dtype, device=like.device)
    rows = absolute.apply(ones)
    return rows, absolute.adjoint(rows)


def trailing(sums: Tensor, like: Tensor) -> Tensor:
    """Sums with as many dimensions as `like`, for the dimensions that the map leaves alone."""
    return sums.reshape(*sums.shape, *([1] * (like.dim() - sums.dim())))
