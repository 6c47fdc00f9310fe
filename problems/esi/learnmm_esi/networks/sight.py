"""What a cap can see: the modes of its lead field, and linear maps at the noise of a recording."""

from __future__ import annotations

from typing import NamedTuple

import torch
from numpy.typing import ArrayLike
from torch import Tensor

from learnmm_esi.inverse.noise import NoiseModes, estimate_noise
from learnmm_esi.networks.components import leading_components

__all__ = ["RANK", "Look", "Sight", "linear_maps", "look", "sight_of"]

RANK = 4
"""Components kept: as many as a recording can have patches."""


class Sight(NamedTuple):
    """A lead field by its modes ``G G^T = U diag(d) U^T``, scaled to a mean ``d`` of one.

    Leading dimensions, as of several caps, go along.

    Attributes
    ----------
    projection : Tensor, shape (..., sources, modes)
        ``P = G^T U``: what each source contributes to each mode.
    values : Tensor, shape (..., modes)
        ``d``.
    """

    projection: Tensor
    values: Tensor


class Look(NamedTuple):
    """What a cap has seen of recordings.

    Attributes
    ----------
    coefficients : Tensor, shape (..., rank, modes)
        Leading components of the recordings, singular values included, by their modes.
    courses : Tensor, shape (..., rank, times)
        Their time courses, orthonormal; zero where a recording has fewer components.
    snr_db, lambda2 : Tensor, shape (...)
        Estimated signal-to-noise ratio, and the regularization that follows.
    """

    coefficients: Tensor
    courses: Tensor
    snr_db: Tensor
    lambda2: Tensor


def sight_of(leadfield: ArrayLike) -> tuple[NoiseModes, Sight]:
    """Return the modes of a lead field ``(sensors, sources)``, in single precision."""
    modes = NoiseModes.of(leadfield)
    gain = torch.as_tensor(leadfield, dtype=torch.float64)
    gain = gain - gain.mean(0)
    projection = gain.mT @ modes.vectors
    # The eigenvalues' mean is one, so the projection's columns say the unit.
    projection = projection * (modes.values.sum().sqrt() / torch.linalg.matrix_norm(projection))
    return modes, Sight(projection.float(), modes.values.float())


def look(y: Tensor, modes: NoiseModes) -> Look:
    """Decompose recordings ``(B, sensors, times)`` of norm one, and estimate their noise."""
    topographies, courses = leading_components(y, RANK)
    lacking = RANK - topographies.shape[1]
    if lacking:
        topographies, courses = (
            torch.cat([part, part.new_zeros(len(part), lacking, part.shape[2])], 1)
            for part in (topographies, courses)
        )
    noise = estimate_noise(y, modes)
    coefficients = topographies @ modes.vectors.to(y)
    return Look(coefficients, courses, noise.snr_db, noise.lambda2)


def linear_maps(sight: Sight, coefficients: Tensor, lambda2: Tensor) -> tuple[Tensor, Tensor]:
    """Estimates normalised to their resolution, as sLORETA's, and the resolution itself.

    Parameters
    ----------
    sight : Sight
        Of one cap, or of several in leading dimensions.
    coefficients : Tensor, shape (..., members, rank, modes)
        Of recordings of each cap.
    lambda2 : Tensor, shape (..., members)
        Regularization.

    Returns
    -------
    maps : Tensor, shape (..., members, rank, sources)
        ``P diag(1 / (d + lambda2)) c / sqrt(R_ii)``.
    resolution : Tensor, shape (..., members, sources)
        Diagonal of the resolution matrix, ``R_ii = sum_k P_ik^2 / (d_k + lambda2)``, in (0, 1).
    """
    damped = 1 / (sight.values[..., None, :] + lambda2[..., None])  # (..., members, modes)
    resolution = damped @ sight.projection.square().mT
    weighted = (coefficients * damped[..., None, :]).flatten(-3, -2)
    maps = (weighted @ sight.projection.mT).unflatten(-2, coefficients.shape[-3:-1])
    return maps * resolution.rsqrt()[..., None, :], resolution
