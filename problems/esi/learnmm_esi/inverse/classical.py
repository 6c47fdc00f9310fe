"""Classical distributed inverse solutions: MNE, dSPM, sLORETA and eLORETA.

`mne_python_inverse` is MNE-Python's own; `inverse_kernel` is the same linear map as one small
matrix, for batches of thousands. They agree to rounding, which a test holds.
"""

from __future__ import annotations

from typing import Any, Literal, Protocol, get_args

import mne
import numpy as np
from numpy.typing import ArrayLike, NDArray

Method = Literal["MNE", "dSPM", "sLORETA", "eLORETA"]

LAMBDA2 = 1.0 / 25.0
"""Regularization of Table I: one over the square of an amplitude signal-to-noise ratio of 5."""

_ELORETA_STEPS, _ELORETA_TOLERANCE = 200, 1e-12
_SILENT = 1e-6  # of the median source's norm; files keep single precision
_SHOWN = 12  # sources in a message


class ForwardModel(Protocol):
    """What MNE-Python needs to know of a head model."""

    def info(self, sfreq: float) -> mne.Info:
        """Channels and sampling rate."""

    def forward(self) -> mne.Forward:
        """Fixed-orientation forward solution."""


def mne_python_inverse(
    model: ForwardModel,
    sensors: ArrayLike,
    method: Method = "sLORETA",
    lambda2: float = LAMBDA2,
    sfreq: float = 512.0,
    verbose: bool | str | None = "error",
) -> NDArray[np.float64]:
    """Estimate sources with MNE-Python: one inverse operator, applied to every recording.

    Fixed orientation (``loose=0``), no depth weighting (``depth=0``), an average-reference
    projector and the identity as noise covariance.

    Parameters
    ----------
    model : ForwardModel
        The head model.
    sensors : array, shape (sensors, times) or (batch, sensors, times)
        Recordings in V.
    method : {"MNE", "dSPM", "sLORETA", "eLORETA"}, default "sLORETA"
        Which inverse.
    lambda2 : float, default 1/25
        Regularization.
    sfreq : float, default 512.0
        Sampling rate in Hz, kept in the evoked response only.
    verbose : bool, str or None, default "error"
        MNE-Python's logging level.

    Returns
    -------
    ndarray of float64, shape (sources, times) or (batch, sources, times)
    """
    _check(method, lambda2)
    info = model.info(sfreq)
    data = np.asarray(sensors, dtype=np.float64)
    if data.ndim not in (2, 3) or data.shape[-2] != len(info.ch_names):
        raise ValueError(
            f"mne_python_inverse: sensors must have shape ({len(info.ch_names)}, times) or "
            f"(batch, {len(info.ch_names)}, times), got {data.shape}"
        )
    recordings = [
        mne.EvokedArray(one, info, tmin=0.0, verbose=verbose).set_eeg_reference(
            projection=True, verbose=verbose
        )
        for one in data.reshape(-1, *data.shape[-2:])
    ]
    # The identity, in V^2: the formula of `inverse_kernel` then needs no unit of noise.
    info = recordings[0].info
    covariance = mne.make_ad_hoc_cov(info, std={"eeg": 1.0}, verbose=verbose)
    operator = mne.minimum_norm.make_inverse_operator(
        info, model.forward(), covariance, loose=0.0, depth=0.0, verbose=verbose
    )
    estimates = [
        mne.minimum_norm.apply_inverse(
            evoked, operator, lambda2=lambda2, method=method, verbose=verbose
        ).data
        for evoked in recordings
    ]
    stacked = np.asarray(estimates, dtype=np.float64)
    return stacked.reshape(*data.shape[:-2], *stacked.shape[1:])


def inverse_kernel(
    leadfield: ArrayLike, method: Method = "sLORETA", lambda2: float = LAMBDA2
) -> NDArray[np.float64]:
    """Build the linear map from a recording to its sources.

    Parameters
    ----------
    leadfield : array, shape (sensors, sources)
        Gain in V/(A m), fixed orientation; the average reference is applied here.
    method : {"MNE", "dSPM", "sLORETA", "eLORETA"}, default "sLORETA"
        Which inverse.
    lambda2 : float, default 1/25
        Regularization.

    Returns
    -------
    ndarray of float64, shape (sources, sensors)
        ``estimate = kernel @ sensors``, in A m for MNE and eLORETA, without physical meaning of
        its scale for the noise-normalized dSPM and sLORETA.

    Raises
    ------
    ValueError
        If `leadfield` is not finite or zero, or no sensor sees some of the sources.

    Notes
    -----
    With ``H`` the centring over the N sensors, ``G = H L``, a source covariance ``R`` scaled to
    ``tr(G R G^T) = N - 1``, and ``^+`` the pseudo-inverse,

    ``K = R G^T (G R G^T + lambda2 H)^+``.

    - MNE: ``R = I / c`` with ``c = tr(G G^T) / (N - 1)``.
    - dSPM (Dale et al. 2000): rows of MNE's K divided by ``sqrt((K K^T)_ii)``.
    - sLORETA (Pascual-Marqui 2002): rows divided by ``sqrt((K G R)_ii / lambda2)``, the standard
      deviation of the estimate for unit noise and sources of covariance ``R / lambda2``.
    - eLORETA (Pascual-Marqui 2007): ``R`` diagonal and the fixed point of
      ``R_ii = 1 / sqrt(g_i^T (G R G^T + lambda2 H)^+ g_i)`` up to its scale.
    """
    _check(method, lambda2)
    gain = np.asarray(leadfield, dtype=np.float64)
    if gain.ndim != 2 or not np.isfinite(gain).all() or not gain.any():
        raise ValueError(
            "inverse_kernel: leadfield must be a finite, non-zero matrix (sensors, sources), "
            f"got shape {gain.shape}"
        )
    gain = gain - gain.mean(axis=0)  # G = H L
    check_silent("inverse_kernel: leadfield", gain)
    covariance = _scaled(gain, np.ones(gain.shape[1]))  # diagonal of R
    if method == "eLORETA":
        covariance = _eloreta_covariance(gain, covariance, lambda2)
    whitener = _whitener(gain, covariance, lambda2)
    kernel: NDArray[np.float64] = (covariance[:, None] * gain.T) @ whitener
    if method == "dSPM":
        kernel /= np.sqrt(np.einsum("ij,ij->i", kernel, kernel))[:, None]
    elif method == "sLORETA":
        kernel /= np.sqrt(np.einsum("ij,ji->i", kernel, gain) * covariance / lambda2)[:, None]
    return kernel


def check_silent(what: str, gain: NDArray[np.float64]) -> None:
    """Refuse an average-referenced gain ``(sensors, sources)`` with columns of zero.

    Raises
    ------
    ValueError
        Naming these sources by their index; `what` is named first.
    """
    size = np.linalg.norm(gain, axis=0)
    usual = np.median(size[size > 0]) if size.any() else 0.0
    silent = np.flatnonzero(size <= _SILENT * usual)
    if len(silent):
        listed = ", ".join(map(str, silent[:_SHOWN])) + (", ..." if len(silent) > _SHOWN else "")
        raise ValueError(
            f"{what} has {len(silent)} of {gain.shape[1]} sources that no sensor sees after "
            f"average reference and projectors, so nothing can be said of them: number {listed} "
            "(from 0). Leave them out of the source space"
        )


def apply_kernel(kernel: NDArray[Any], sensors: NDArray[Any]) -> NDArray[Any]:
    """Apply a kernel to one recording or a batch of them, in the precision of the recording.

    Parameters
    ----------
    kernel : ndarray, shape (sources, sensors)
        From `inverse_kernel`.
    sensors : ndarray, shape (..., sensors, times)
        Recordings in V.

    Returns
    -------
    ndarray, shape (..., sources, times)
    """
    kernel, sensors = np.asarray(kernel), np.asarray(sensors)
    if sensors.ndim < 2 or sensors.shape[-2] != kernel.shape[1]:
        raise ValueError(
            f"apply_kernel: sensors must have shape (..., {kernel.shape[1]}, times), "
            f"got {sensors.shape}"
        )
    estimates: NDArray[Any] = kernel.astype(sensors.dtype) @ sensors
    return estimates


def _check(method: str, lambda2: float) -> None:
    if method not in get_args(Method):
        raise ValueError(f"method must be one of {get_args(Method)}, got {method!r}")
    if not (np.isfinite(lambda2) and lambda2 > 0.0):
        raise ValueError(f"lambda2 must be finite and > 0, got {lambda2}")


def _scaled(gain: NDArray[np.float64], covariance: NDArray[np.float64]) -> NDArray[np.float64]:
    """Scale a diagonal source covariance to ``tr(G R G^T) = N - 1``."""
    trace = float(np.sum(covariance * np.einsum("ij,ij->j", gain, gain)))
    return covariance * ((len(gain) - 1) / trace)


def _whitener(
    gain: NDArray[np.float64], covariance: NDArray[np.float64], lambda2: float
) -> NDArray[np.float64]:
    """Return ``(G R G^T + lambda2 H)^+``, shape (sensors, sensors)."""
    n = len(gain)
    mean = np.full((n, n), 1.0 / n)
    # The sum is H-invariant and invertible on its range; adding the projector on the constants
    # and subtracting it again is an exact pseudo-inverse without a threshold.
    total = (gain * covariance) @ gain.T + lambda2 * (np.eye(n) - mean) + mean
    whitener: NDArray[np.float64] = np.linalg.inv(total) - mean
    return whitener


def _eloreta_covariance(
    gain: NDArray[np.float64], covariance: NDArray[np.float64], lambda2: float
) -> NDArray[np.float64]:
    for _ in range(_ELORETA_STEPS):
        whitener = _whitener(gain, covariance, lambda2)
        update = 1.0 / np.sqrt(np.einsum("ij,ij->j", gain, whitener @ gain))
        update = _scaled(gain, update)
        change = np.linalg.norm(update - covariance) / np.linalg.norm(covariance)
        covariance = update
        if change < _ELORETA_TOLERANCE:
            return covariance
    raise RuntimeError(f"eLORETA: no fixed point after {_ELORETA_STEPS} steps, change {change:.1e}")
