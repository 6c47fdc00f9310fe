"""Numbers that tell lead fields apart, and survive rounding."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_PRODUCTS, _TOLERANCE = 16, 1e-5


def fingerprint(leadfield: NDArray[np.float64]) -> list[float]:
    """Sixteen numbers that tell lead fields apart, whatever their units.

    Products ``u_k^T (L / |L|_F) v_k`` with fixed waves over sensors and sources. Unlike a hash of
    the entries they change as little as the lead field does, so that one built on another
    computer, with other rounding, is known again.
    """
    matrix = np.asarray(leadfield, dtype=np.float64)
    matrix = matrix / np.linalg.norm(matrix)
    number = np.arange(1, _PRODUCTS + 1)[:, None]
    u, v = (np.cos(0.7 * number * np.sqrt(2.0 + np.arange(size))) for size in matrix.shape)
    products = np.einsum("km,mn,kn->k", u, matrix, v, optimize=True)
    return [round(float(product), 7) for product in products]


def same_leadfield(a: list[float], b: list[float]) -> bool:
    """Whether two fingerprints are those of one lead field, up to rounding."""
    return len(a) == len(b) and bool(np.allclose(a, b, rtol=0.0, atol=_TOLERANCE))
