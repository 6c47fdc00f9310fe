"""How ill-posed a lead field is, from its singular values."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

__all__ = ["Spectrum", "lead_field_spectrum"]

RANK_TOLERANCE = 1e-10  # of the largest singular value; the lead field is float64


class Spectrum(NamedTuple):
    """What the singular values of a lead field ``A``, shape (m, n), say.

    Attributes
    ----------
    rank : int
        Singular values that are not zero.
    largest : float
        The largest, ``|A|_2``.
    condition : float
        Largest over smallest within the rank.
    uniformity : float
        ``n |A|_2^2 / |A|_F^2``: the largest eigenvalue of ``A'A`` over their mean. It is 1 for
        orthogonal columns and bounds what a scalar bound on the curvature loses against the
        average direction.
    """

    rank: int
    largest: float
    condition: float
    uniformity: float


def lead_field_spectrum(leadfield: np.ndarray) -> Spectrum:
    """Measure how ill-posed a lead field, shape (m, n), is."""
    singular = np.linalg.svd(leadfield, compute_uv=False)
    rank = int((singular > RANK_TOLERANCE * singular[0]).sum())
    return Spectrum(
        rank=rank,
        largest=float(singular[0]),
        condition=float(singular[0] / singular[rank - 1]),
        uniformity=float(leadfield.shape[1] * singular[0] ** 2 / (singular**2).sum()),
    )
