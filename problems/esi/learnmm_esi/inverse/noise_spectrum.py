"""The spectrum of the noise: samples of a filtered recording are not independent of each other."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.fft import dct, idct
from torch import Tensor

from learnmm_esi.inverse.noise import NoiseEstimate, NoiseModes, noise_in_modes

__all__ = ["NoiseSpectrum", "Whitened", "noise_spectrum", "whitened_in_time"]

LEAST = 0.02
"""Of the noise's largest power, what a recording must have at a frequency for that to be kept: what
a filter has cut says nothing, and would be enlarged."""

NARROWEST, SHARE = 4, 0.2
"""Frequencies in a band at least, and as a share of the lowest among them."""

COLOURED = 10.0
"""Ratio of the largest power to the least from which on noise is taken for coloured. With less, and
where strong signals are taken for some, the samples of white noise are nearly independent."""

TOLD = 10.0**-3.5
"""Regularization from which on a band tells its noise. With a ratio closer to `HIGHEST_SNR` all is
signal, and the limit would be taken for noise: of the brain's slow activity and of clean recordings
it left the lowest frequencies only. Where fewer than half of the bands tell it, it is white."""


class NoiseSpectrum(NamedTuple):
    """Power of the noise by frequency, along the cosines that are orthonormal over the recording.

    Of stationary noise the coefficients are nearly independent (Ahmed, Natarajan & Rao 1974).

    Attributes
    ----------
    deviation : Tensor, shape (batch, times)
        Root of the power, of mean square one; zero for frequencies that are left out.
    """

    deviation: Tensor

    @property
    def independent(self) -> Tensor:
        """Independent samples that a recording has, ``(batch,)``."""
        return (self.deviation > 0).sum(1)

    def whitened(self, y: Tensor) -> Tensor:
        """Coefficients of recordings ``(batch, rows, times)``, whose noise is white."""
        kept = self.deviation > 0
        coefficients = _transformed(y) * kept[:, None]
        return coefficients / torch.where(kept, self.deviation, 1.0)[:, None]

    def restored(self, coefficients: Tensor) -> Tensor:
        """The recordings of such coefficients."""
        return _transformed(coefficients * self.deviation[:, None], back=True)


class Whitened(NamedTuple):
    """Recordings along the modes of a lead field, in times in which their noise is white.

    Attributes
    ----------
    y : Tensor, shape (batch, modes, times)
        The recordings; coefficients where the noise is coloured.
    independent : Tensor, shape (batch,)
        Independent samples that each has.
    deviation : Tensor, shape (batch,)
        Of the noise of `y`, per mode and sample.
    noise : NoiseEstimate
        Of `y`.
    told : NoiseEstimate
        Of the recordings as they are.
    spectrum : NoiseSpectrum or None
        Of the noise, where some of it is coloured.
    """

    y: Tensor
    independent: Tensor
    deviation: Tensor
    noise: NoiseEstimate
    told: NoiseEstimate
    spectrum: NoiseSpectrum | None

    def restored(self, rows: Tensor) -> Tensor:
        """Rows ``(batch, rows, times)`` as they are in recordings."""
        return rows if self.spectrum is None else self.spectrum.restored(rows)


def whitened_in_time(y: Tensor, modes: NoiseModes) -> Whitened:
    """Estimate the noise of recordings and its spectrum, and make it white.

    Parameters
    ----------
    y, modes
        As of `estimate_noise`.
    """
    seen = modes.vectors.to(y).mT @ y
    spectrum = noise_spectrum(seen, modes)
    white = seen if spectrum is None else spectrum.whitened(seen)
    times = y.new_full((len(y),), y.shape[2])
    count = times if spectrum is None else spectrum.independent.to(y)
    noise = told = noise_in_modes(white, modes, count)
    power = noise.share * white.square().sum((1, 2)) / count  # of all modes, per sample
    if spectrum is not None:
        told = noise.as_share(power * times / seen.square().sum((1, 2)))
    deviation = (power / white.shape[1]).sqrt()
    return Whitened(white, count, deviation, noise, told, spectrum)


def noise_spectrum(y: Tensor, modes: NoiseModes) -> NoiseSpectrum | None:
    """Estimate the spectrum of recordings' noise, band by band; None where all of it is white.

    Parameters
    ----------
    y : Tensor, shape (batch, modes, times)
        Recordings along the modes.
    modes : NoiseModes
        Of the lead field.

    Returns
    -------
    NoiseSpectrum or None
        Flat for recordings whose noise is white.
    """
    bands = _bands(y.shape[2])
    if len(bands) < 2:
        return None
    coefficients = _transformed(y)
    found = [_noise_of(coefficients[..., band], modes) for band in bands]
    power, told, whole = (torch.stack(parts, 1) for parts in zip(*found, strict=True))
    power = _at_least(power, told)
    known = told.double().mean(1) >= 0.5
    coloured = known & (power.amax(1) > COLOURED * power.amin(1))
    if not bool(coloured.any()):
        return None
    kept = whole > LEAST * power.amax(1, keepdim=True)
    power = torch.where(coloured[:, None], power * kept, power.mean(1, keepdim=True))
    lengths = torch.tensor([band.stop - band.start for band in bands], device=y.device)
    power = power.repeat_interleave(lengths, 1)
    return NoiseSpectrum((power / power.mean(1, keepdim=True)).sqrt())


def _bands(times: int) -> list[slice]:
    """Bands of neighbouring frequencies, the higher the wider."""
    bands, low = [], 0
    while low < times:
        high = low + max(NARROWEST, int(SHARE * low))
        high = times if high + NARROWEST > times else high
        bands.append(slice(low, high))
        low = high
    return bands


def _at_least(power: Tensor, told: Tensor) -> Tensor:
    """Give bands ``(batch, bands)`` at least the noise of those above, but for peaks of these.

    A band with a signal in it tells little of its noise, or nothing, and noise does not grow with
    frequency. The hum of the mains does: a band counts for others with no more than a neighbour.
    """
    known = power * told
    beside = torch.nn.functional.pad(known, (1, 1))
    even = known.minimum(beside[:, :-2].maximum(beside[:, 2:]))
    least = torch.maximum(known, even.flip(1).cummax(1).values.flip(1))
    return torch.where(least > 0, least, power)


def _noise_of(coefficients: Tensor, modes: NoiseModes) -> tuple[Tensor, Tensor, Tensor]:
    """Power of a band's noise, per mode and frequency, whether it tells it, and power of all."""
    power = coefficients.square().mean((1, 2))
    silent = power == 0  # as above the rate that a recording had before
    some = torch.where(silent[:, None, None], 1.0, coefficients)
    share, _, lambda2 = noise_in_modes(some, modes)
    return (share * power).masked_fill(silent, 0.0), (lambda2 > TOLD) & ~silent, power


def _transformed(y: Tensor, *, back: bool = False) -> Tensor:
    turn = idct if back else dct
    found: NDArray[np.floating] = turn(y.detach().cpu().numpy(), norm="ortho", axis=-1)
    return torch.from_numpy(found).to(y)
