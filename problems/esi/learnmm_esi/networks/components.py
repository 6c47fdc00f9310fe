"""Arrays of sources over time as a few maps with their courses."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

__all__ = ["Components", "leading_components"]


class Components(NamedTuple):
    """``x = sum_r maps_r courses_r^T``."""

    maps: Tensor  # (B, rank, sources)
    courses: Tensor  # (B, rank, times)

    def sum(self) -> Tensor:
        """Return ``x``, ``(B, sources, times)``."""
        return self.maps.mT @ self.courses


def leading_components(y: Tensor, rank: int) -> tuple[Tensor, Tensor]:
    """Leading terms of the singular value decomposition, problem by problem.

    Parameters
    ----------
    y : Tensor, shape (B, m, T)
        Recordings.
    rank : int
        How many terms; all of them where ``min(m, T)`` is less.

    Returns
    -------
    left : Tensor, shape (B, r, m)
        Left singular vectors times their singular values, the largest first.
    right : Tensor, shape (B, r, T)
        Right singular vectors, orthonormal.
    """
    # The Gram matrix of the shorter side: a full decomposition costs ten times as much.
    if y.shape[2] <= y.shape[1]:
        right = torch.linalg.eigh(y.mT @ y).eigenvectors[..., -rank:].flip(-1).mT
        return right @ y.mT, right
    unit = torch.linalg.eigh(y @ y.mT).eigenvectors[..., -rank:].flip(-1).mT
    courses = unit @ y
    size = torch.linalg.vector_norm(courses, dim=-1, keepdim=True)
    return unit * size, courses / size.clamp(min=torch.finfo(y.dtype).tiny)
