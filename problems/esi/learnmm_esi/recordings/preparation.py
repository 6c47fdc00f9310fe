"""Make a recording comparable with a lead field, and refuse what cannot be EEG in volts.

What MNE-Python's inverse operators do to both sides is done here: the projectors of the recording,
the average reference among them, and whitening, if there is a noise covariance.
"""

from __future__ import annotations

import warnings

import mne
import numpy as np
from mne.cov import compute_whitener
from mne.io.constants import FIFF
from numpy.typing import NDArray

from learnmm_esi.recordings.channels import ChannelMatch, listed

__all__ = [
    "MissingReferenceError",
    "check_finite",
    "check_reference",
    "check_scale",
    "spatial_filter",
    "warn_about_flat",
    "why_no_epochs",
]

LARGEST_EEG = 0.1  # V, root mean square: amplifiers saturate before, microvolts lie above
SMALLEST_EEG = 1e-9  # V; amplifiers and averages of thousands of epochs are noisier
SAMPLES = 5  # for each channel of a covariance, MNE-Python's own rule
FLAT = 1e-6  # of the range that half of the channels have
REFERENCED = 1e-3  # mean over the channels relative to the signal; quantization leaves some


class MissingReferenceError(ValueError):
    """The recording has no average reference."""


def check_reference(info: mne.Info, eeg: NDArray[np.float64], bad: NDArray[np.bool_]) -> None:
    """Refuse a recording that has no average reference and no projector for one.

    Parameters
    ----------
    info : mne.Info
        Of the recording.
    eeg : ndarray, shape (channels, times)
        All EEG channels of the recording, the bad ones too.
    bad : ndarray of bool, shape (channels,)
        Which of them are marked as bad.

    Raises
    ------
    MissingReferenceError
        If there is no projector and neither all EEG channels nor the good ones have mean zero.
    """
    if _has_reference(info):
        return
    for part in (eeg, eeg[~bad]):
        mean = np.linalg.norm(part.mean(axis=0)) * np.sqrt(len(part))
        if mean <= REFERENCED * np.linalg.norm(part):
            return
    raise MissingReferenceError(
        "source imaging needs an average reference, and the recording has neither one nor a "
        "projector for it. Add it with set_eeg_reference(projection=True), which leaves the data "
        "as they are and can be undone"
    )


def check_finite(data: NDArray[np.float64], names: tuple[str, ...], what: str) -> None:
    """Refuse data that are not real, or not finite.

    Parameters
    ----------
    data : ndarray, shape (channels, times)
    names : tuple of str
        Of the channels.
    what : str
        What the data are, for the message: "epoch 3".
    """
    if np.iscomplexobj(data):
        raise TypeError(
            f"{what} is complex, and sources are estimated of real recordings: hand over its real "
            "and its imaginary part one after the other, or the recording before the transform"
        )
    finite: NDArray[np.bool_] = np.all(np.isfinite(data), axis=1)
    if finite.all():
        return
    wrong = [name for name, good in zip(names, finite, strict=True) if not good]
    raise ValueError(
        f"{what} has values that are not finite in {listed(wrong)}: mark the channels as bad, or "
        "repair or leave out the samples"
    )


def check_scale(data: NDArray[np.float64], what: str) -> None:
    """Refuse data that are zero or evidently not in volts.

    Parameters
    ----------
    data : ndarray, shape (channels, times)
        Average-referenced.
    what : str
        What the data are, for the message: "epoch 3".
    """
    largest = np.abs(data).max(initial=0.0)
    # The largest value is taken out of the sum: squares of absurd units overflow or vanish.
    size = largest and largest * np.sqrt(np.mean((data / largest) ** 2))
    if size < SMALLEST_EEG:
        raise ValueError(
            f"{what} has a root mean square of {size:.3g} V after average reference, less than any "
            "amplifier's noise: it is flat, or was scaled down more than once"
        )
    if size > LARGEST_EEG:
        raise ValueError(
            f"{what} has a root mean square of {size:.3g} V after average reference, where EEG has "
            "1e-7 to 1e-3 V: the data are probably in microvolts, so multiply them by 1e-6"
        )


def warn_about_flat(data: NDArray[np.float64], names: tuple[str, ...], what: str) -> None:
    """Warn about channels that do not vary where others do.

    Parameters
    ----------
    data : ndarray, shape (channels, times)
        As they were recorded, before any reference.
    names : tuple of str
        Of the channels.
    what : str
        What the data are, for the message: "epoch 3".
    """
    varied = np.ptp(data, axis=1)
    flat = varied <= FLAT * np.median(varied)
    if not flat.any() or not varied.any():
        return
    wrong = [name for name, is_flat in zip(names, flat, strict=True) if is_flat]
    warnings.warn(
        f"{listed(wrong)} of {what} "
        f"{'does' if len(wrong) == 1 else 'do'} not vary: unless it is the electrode that the "
        "others were referenced to, mark a flat channel as bad, or the estimate is of its silence",
        RuntimeWarning,
        stacklevel=5,
    )


def why_no_epochs(epochs: mne.BaseEpochs) -> str:
    """Say why no epoch is left, by the reasons that MNE-Python kept."""
    reasons = sorted({reason for why in epochs.drop_log for reason in why})
    count = f"all {len(epochs.drop_log)} were" if epochs.drop_log else "there are none, or all were"
    return (
        f"no epoch is left to reconstruct: {count} rejected"
        f"{': ' + ', '.join(reasons[:12]) if reasons else ''}"
    )


def spatial_filter(
    info: mne.Info, match: ChannelMatch, noise_cov: mne.Covariance | None
) -> NDArray[np.float64]:
    """Return the matrix to apply to both the recording and the lead field.

    Parameters
    ----------
    info : mne.Info
        Of the recording.
    match : ChannelMatch
        Channels in use.
    noise_cov : mne.Covariance, optional
        Of the sensor noise, by the recording's channel names.

    Returns
    -------
    ndarray of float64, shape (channels, channels)
        ``P``, or ``W P``: ``P`` projects out the constant over these channels (average reference)
        and the fields of the recording's other projectors, applied or not; ``W`` whitens.

    Raises
    ------
    ValueError
        If the covariance lacks channels, or is none: not finite, or without positive variances.
    """
    projector = _projector(info, match.names)
    if noise_cov is None:
        return projector
    missing = [name for name in match.names if name not in noise_cov.ch_names]
    if missing:
        raise ValueError(
            f"the noise covariance lacks channels {', '.join(missing)} of the recording: compute "
            "it from the same recording, or mark these channels as bad"
        )
    variance = noise_cov.data if noise_cov["diag"] else np.diag(noise_cov.data)
    if not (np.isfinite(noise_cov.data).all() and (variance >= 0).all() and variance.any()):
        raise ValueError(
            "the noise covariance must be finite, with variances of zero or more that are not all "
            f"zero, got variances from {variance.min():.3g} to {variance.max():.3g} V^2"
        )
    _warn_about_few_samples(noise_cov, len(match.names))
    # MNE's own bookkeeping of rank needs the reference as a projector.
    silent = mne.EvokedArray(np.zeros((len(match.picks), 1)), mne.pick_info(info, match.picks))
    if not _has_reference(silent.info):
        silent.set_eeg_reference(projection=True)
    whitened: NDArray[np.float64] = (
        compute_whitener(noise_cov, silent.info, pca=False)[0] @ projector
    )
    return whitened


def _warn_about_few_samples(noise_cov: mne.Covariance, channels: int) -> None:
    """Warn where whitening magnifies what few samples left out; sLORETA's weight damps that."""
    needed, known = SAMPLES * (channels + 1), noise_cov.get("nfree", 0)
    regularized = noise_cov["diag"] or noise_cov.get("method") not in (None, "empirical")
    if regularized or not 1 < known < needed:  # one is what is said of a covariance made by hand
        return
    warnings.warn(
        f"the noise covariance is of {known} samples, and that of {channels} channels needs "
        f"{needed}: compute it with method='shrunk', or of more samples, or leave it out",
        RuntimeWarning,
        stacklevel=5,
    )


def _has_reference(info: mne.Info) -> bool:
    return any(p["kind"] == FIFF.FIFFV_PROJ_ITEM_EEG_AVREF for p in info["projs"])


def _projector(info: mne.Info, names: tuple[str, ...]) -> NDArray[np.float64]:
    fields = [np.ones(len(names))]
    for projection in info["projs"]:
        columns = {name: k for k, name in enumerate(projection["data"]["col_names"])}
        known = np.array([columns.get(name, -1) for name in names])
        fields += [
            np.where(known >= 0, vector[known], 0.0) for vector in projection["data"]["data"]
        ]
    fields = [field / np.linalg.norm(field) for field in fields if np.linalg.norm(field) > 1e-6]
    basis, size, _ = np.linalg.svd(np.stack(fields, axis=1), full_matrices=False)
    basis = basis[:, size > 1e-6 * size[0]]
    projector: NDArray[np.float64] = np.eye(len(names)) - basis @ basis.T
    return projector
