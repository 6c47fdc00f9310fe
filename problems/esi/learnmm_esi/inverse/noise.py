"""How much of a recording is noise, told by the recording and the lead field alone."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

__all__ = ["HIGHEST_SNR", "LOWEST_SNR", "NoiseEstimate", "NoiseModes", "estimate_noise"]

LOWEST_SNR, HIGHEST_SNR = -20.0, 40.0
"""Signal-to-noise ratios that are thought possible, in dB."""

_COARSE, _FINE = 121, 41  # points of the two grids; the first has one every half decibel
_REACH = 5.0  # standard deviations of the posterior that the second grid covers on each side


@dataclass(frozen=True, eq=False)
class NoiseModes:
    """What the sensors see of sources without preference, ``K = G G^T c = U diag(d) U^T``.

    Attributes
    ----------
    vectors : Tensor of float64, shape (sensors, modes)
        ``U``, orthonormal: the directions in which a recording can lie.
    values : Tensor of float64, shape (modes,)
        ``d > 0``, descending, scaled to a mean of one, as `inverse_kernel` scales its sources.
    """

    vectors: Tensor
    values: Tensor

    @classmethod
    def of(cls, leadfield: ArrayLike | Tensor) -> NoiseModes:
        """Decompose a lead field.

        Parameters
        ----------
        leadfield : array or Tensor, shape (sensors, sources)
            In any unit; the average reference is applied here. Directions that no source reaches,
            as those of projectors, are no modes.

        Raises
        ------
        ValueError
            If it is no matrix, not finite, or zero.
        """
        gain = torch.as_tensor(_array(leadfield), dtype=torch.float64)
        if gain.dim() != 2 or not bool(torch.isfinite(gain).all()) or not bool(gain.any()):
            raise ValueError(
                "NoiseModes: leadfield must be a finite, non-zero matrix (sensors, sources), "
                f"got shape {tuple(gain.shape)}"
            )
        gain = gain / gain.abs().max()
        gain = gain - gain.mean(0)
        values, vectors = torch.linalg.eigh(gain @ gain.mT)
        seen = values > 10 * len(values) * torch.finfo(torch.float64).eps * values[-1]
        values, vectors = values[seen].flip(0), vectors[:, seen].flip(1)
        return cls(vectors.contiguous(), values / values.mean())


class NoiseEstimate(NamedTuple):
    """How noisy recordings are, one number each.

    Attributes
    ----------
    share : Tensor, shape (batch,)
        Part of the recording's sum of squares that is noise, in (0, 1].
    snr_db : Tensor, shape (batch,)
        The same as a ratio, ``10 log10((1 - share) / share)``, not below `LOWEST_SNR`.
    lambda2 : Tensor, shape (batch,)
        Regularization of `inverse_kernel` at which its estimate is the most probable one.
    """

    share: Tensor
    snr_db: Tensor
    lambda2: Tensor

    def as_share(self, share: Tensor) -> NoiseEstimate:
        """The same as another share, of recordings of which this is told in other coordinates."""
        share = share.clamp(max=1.0)
        return NoiseEstimate(share, _ratio_db(share), self.lambda2)


def estimate_noise(y: Tensor, modes: NoiseModes) -> NoiseEstimate:
    """Estimate the noise of recordings of any length and unit, down to a single sample.

    Parameters
    ----------
    y : Tensor, shape (batch, sensors, times)
        Recordings, average-referenced and, where the noise is not the same on all channels,
        whitened, as the lead field of the modes. Of each, its energy in every mode is all that
        counts.
    modes : NoiseModes
        Of the lead field.

    Returns
    -------
    NoiseEstimate
        In the dtype of `y`.

    Raises
    ------
    ValueError
        If the shape of `y` does not fit the modes, or a recording is not finite or has nothing in
        any mode.

    Notes
    -----
    The samples are taken to be independent draws of ``N(0, s (g K + H))`` with the noise's power
    ``s``, the signal-to-noise ratio ``g`` and the centring ``H``: sources everywhere alike, the
    model of the minimum-norm estimate with ``lambda2 = 1 / g``. In mode ``i`` of T samples that
    has energy ``e_i``, so with ``A(g) = sum_i e_i / (g d_i + 1)`` and a flat prior for ``log s``
    (MacKay 1992, "Bayesian interpolation", integrates alike)

    ``log p(e | g) = -1/2 (T sum_i log(g d_i + 1) + T r log A(g)) + const``, ``s = A(g) / (T r)``.

    With a flat prior for ``log g`` between the limits, the estimates are means over the posterior:
    they move smoothly with the data, where its maximum would jump for the few numbers of a single
    sample. The integral is a sum over a grid, and then over a finer one where the mass lies.
    """
    sensors = len(modes.vectors)
    if y.dim() != 3 or y.shape[1] != sensors or not y.shape[2]:
        raise ValueError(
            f"estimate_noise: recordings must have shape (batch, {sensors}, times), "
            f"got {tuple(y.shape)}"
        )
    found = noise_in_modes(modes.vectors.to(y.device).mT @ y.double(), modes)
    return NoiseEstimate(*(part.to(y.dtype) for part in found))


def noise_in_modes(
    coefficients: Tensor, modes: NoiseModes, independent: Tensor | None = None
) -> NoiseEstimate:
    """Estimate the noise as `estimate_noise` does, of recordings along the modes.

    Parameters
    ----------
    coefficients : Tensor, shape (batch, modes, times)
        Of recordings.
    modes : NoiseModes
        Of the lead field.
    independent : Tensor, shape (batch,), optional
        How many samples are independent draws. Default: all.
    """
    energy = _energies(coefficients)
    samples = independent
    if samples is None:
        samples = torch.full_like(energy[:, 0], coefficients.shape[2])
    values = modes.values.to(energy.device)
    low, high = (db * math.log(10) / 10 for db in (LOWEST_SNR, HIGHEST_SNR))
    whole = torch.linspace(low, high, _COARSE, dtype=energy.dtype, device=energy.device)
    mean, spread, _ = _posterior(energy, samples, values, whole.expand(len(energy), -1))
    reach = (_REACH * spread).clamp(min=1e-3)[:, None]
    steps = torch.linspace(-1, 1, _FINE, dtype=energy.dtype, device=energy.device)
    finer = (mean[:, None] + reach * steps).clamp(low, high)
    # Points moved onto a limit would count several times there; the grid is squeezed instead.
    finer = finer[:, :1] + (finer[:, -1:] - finer[:, :1]) * (steps + 1) / 2
    mean, _, share = _posterior(energy, samples, values, finer)
    found = share, _ratio_db(share), torch.exp(-mean)
    return NoiseEstimate(*(part.to(coefficients.dtype) for part in found))


def _ratio_db(share: Tensor) -> Tensor:
    return (10 * torch.log10((1 - share) / share)).clamp(min=LOWEST_SNR)


def _posterior(
    energy: Tensor, samples: Tensor, values: Tensor, log_gain: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Mean and deviation of ``log g`` and mean of the noise's share over grids ``(B, points)``."""
    variance = log_gain.exp()[..., None] * values + 1  # (B, points, r)
    left = (energy[:, None] / variance).mean(-1)  # A(g) / r: the share, as energies have mean one
    modes = len(values)
    evidence = -samples[:, None] / 2 * (variance.log().sum(-1) + modes * left.log())
    weight = torch.softmax(evidence, 1)
    mean = (weight * log_gain).sum(1)
    deviation = (weight * (log_gain - mean[:, None]) ** 2).sum(1).sqrt()
    return mean, deviation, (weight * left).sum(1)


def _energies(coefficients: Tensor) -> Tensor:
    """Energy in every mode, at a mean of one, ``(B, modes)`` in float64."""
    y = coefficients.double()
    y = y / y.abs().amax((1, 2), keepdim=True)  # squares of tiny units leave no range unharmed
    energy = y.square().sum(2)
    size = energy.mean(1, keepdim=True)
    if not bool(((size > 0) & torch.isfinite(size)).all()):
        raise ValueError("estimate_noise: every recording must be finite and not zero")
    return energy / size


def _array(leadfield: ArrayLike | Tensor) -> Any:
    return leadfield if isinstance(leadfield, Tensor) else np.asarray(leadfield)
