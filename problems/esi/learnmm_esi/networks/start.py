"""A learned first iterate: the maps of a few temporal components, sharpened by a network."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

RANK = 4
"""Components kept: more than a recording's patches, so that the network decides what is noise."""


class Components(NamedTuple):
    """``x_0 = sum_r maps_r courses_r^T``, the courses being orthonormal."""

    maps: Tensor  # (B, rank, sources)
    courses: Tensor  # (B, rank, times)

    def sum(self) -> Tensor:
        """Return ``x_0``, ``(B, sources, times)``."""
        return self.maps.mT @ self.courses


class LearnedStart(nn.Module):
    """``x_0 = sum_r f(K u_r) v_r^T`` where ``y ~ sum_r u_r v_r^T`` has the largest components.

    ``u_r v_r^T`` are the leading terms of a recording's singular value decomposition, ``u_r`` with
    its singular value, and ``K`` a linear inverse. A component pools its topography over all
    samples, which lifts it out of the noise: a network on maps then sees a linear estimate with
    little noise, whatever the waveform, the number of samples or the sampling rate. ``f`` is odd,
    as the sign of a component means nothing, and is made of bias-free layers around a soft
    threshold that learns, per unit, what is too weak to pass.

    Parameters
    ----------
    kernel : Tensor
        ``K``, shape (sources, sensors).
    hidden : int
        Units per layer.

    Notes
    -----
    The network knows maps, not channels: other channels and head models with the same sources only
    change ``K``.
    """

    kernel: Tensor

    def __init__(self, kernel: Tensor, hidden: int = 512) -> None:
        super().__init__()
        sources, sensors = kernel.shape
        # Components of a recording of norm one then have entries of about one.
        scale = math.sqrt(sensors * sources) / torch.linalg.matrix_norm(kernel)
        # It follows from the head model, and is no weight to store.
        self.register_buffer("kernel", kernel * scale, persistent=False)
        self.enter = nn.Linear(sources, hidden, bias=False)
        self.middle = nn.ModuleList(nn.Linear(hidden, hidden, bias=False) for _ in range(2))
        self.thresholds = nn.ParameterList(torch.rand(hidden) for _ in range(3))
        self.leave = nn.Linear(hidden, sources, bias=False)

    def components(self, y: Tensor) -> Components:
        """Decompose recordings ``(B, sensors, times)`` of norm one, and map what is found."""
        with torch.no_grad():
            topographies, courses = leading_components(y, RANK)
            maps = topographies @ self.kernel.mT
        return Components(self.sharpen(maps), courses)

    def sharpen(self, maps: Tensor) -> Tensor:
        """Apply ``f`` to maps ``(..., sources)``."""
        h = self.enter(maps)
        for layer, threshold in zip(self.middle, self.thresholds, strict=False):
            h = h + layer(_soft(h, threshold))
        sharp: Tensor = self.leave(_soft(h, self.thresholds[-1]))
        return sharp

    def forward(self, y: Tensor) -> Tensor:
        """Return the first iterate, ``(B, sources, times)``."""
        return self.components(y).sum()


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


def _soft(h: Tensor, threshold: Tensor) -> Tensor:
    """Soft threshold of entries relative to their root mean square; zero stays zero."""
    relative = h * torch.rsqrt(h.square().mean(-1, keepdim=True) + 1e-2)
    return F.relu(relative - threshold) - F.relu(-relative - threshold)
