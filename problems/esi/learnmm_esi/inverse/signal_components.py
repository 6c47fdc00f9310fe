"""The temporal components of a recording that stand out of its noise."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

__all__ = ["SignalComponents", "signal_components"]


class SignalComponents(NamedTuple):
    """What stands out of the noise, ``y ~ values @ courses``.

    Attributes
    ----------
    values : Tensor, shape (batch, modes, components)
        The recording along each time course; zero beyond the `rank` of a recording.
    courses : Tensor, shape (batch, components, times)
        Orthonormal time courses, strongest first.
    rank : Tensor, shape (batch,)
        How many stand out, at least one.
    """

    values: Tensor
    courses: Tensor
    rank: Tensor


MARGIN = 1.05
"""On the edge: of few modes and samples the largest value of noise scatters about it, and the
deviation is an estimate."""


def signal_components(y: Tensor, independent: Tensor) -> SignalComponents:
    """Decompose recordings, and keep what noise alone would not reach.

    Independent noise of one deviation has singular values up to ``sqrt(r) + sqrt(T)`` times it
    (Marchenko and Pastur 1967): what lies clearly above is signal. The strongest component always
    stays. White noise is spread over all components alike, so what is left of it in those that are
    kept has the same deviation.

    Parameters
    ----------
    y : Tensor, shape (batch, modes, times)
        Recordings in orthonormal coordinates of all that they can be, in units of the deviation
        of the noise per mode and sample.
    independent : Tensor, shape (batch,)
        How many samples are independent draws of the noise; the others are zero.
    """
    left, size, courses = torch.linalg.svd(y, full_matrices=False)
    edge = MARGIN * (y.shape[1] ** 0.5 + independent.to(y).sqrt())
    kept = size > edge[:, None]
    kept[:, 0] = True
    rank = kept.sum(1)
    most = int(rank.max())
    values = left[..., :most] * (size * kept)[:, None, :most]
    return SignalComponents(values, courses[:, :most], rank)
