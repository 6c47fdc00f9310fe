"""The 90 electrodes of the 10-20 montage that MNE ships, in its head frame.

Positions are those of the Colin27 head, about 10 mm from where the same names lie on fsaverage;
MNE projects them to the model's skin. With another template's positions topographies differ by
0.16 (median), so a comparison between models has to use the same ones.
"""

from __future__ import annotations

import warnings

import mne

__all__ = ["ALIASES", "electrode_info", "electrode_names"]

#: Older names of T7, T8, P7 and P8 that the montage lists as well, at the same places.
ALIASES = ("T3", "T4", "T5", "T6")
NAMES = ("colin27_1020", "standard_1020")  # the second is the name before MNE 1.14


def _montage() -> mne.channels.DigMontage:
    for name in NAMES:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", FutureWarning)  # announces the renaming
                return mne.channels.make_standard_montage(name)
        except ValueError:
            continue
    raise RuntimeError(f"this version of MNE has none of the montages {', '.join(NAMES)}")


def electrode_names() -> tuple[str, ...]:
    """Return the 90 names, in the montage's order."""
    return tuple(name for name in _montage().ch_names if name not in ALIASES)


def electrode_info(sfreq: float) -> mne.Info:
    """Return EEG channel information with positions.

    Parameters
    ----------
    sfreq : float
        Sampling frequency in Hz.
    """
    info = mne.create_info(list(electrode_names()), sfreq, "eeg")
    info.set_montage(_montage())
    return info
