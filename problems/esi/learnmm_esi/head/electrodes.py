"""Electrodes of head models, in MNE's head frame: the 90 of the 10-20 montage, or those of a cap.

Positions of the 90 are those of the Colin27 head, about 10 mm from where the same names lie on
fsaverage; MNE projects them to the model's skin. With another template's positions topographies
differ by 0.16 (median), so a comparison between models has to use the same ones.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from importlib.resources import as_file, files

import mne
import numpy as np
from mne.coreg import get_mni_fiducials

__all__ = [
    "ALIASES",
    "electrode_info",
    "electrode_names",
    "head_to_mri",
    "montage_info",
    "montage_name",
    "placed_info",
]

#: Older names of T7, T8, P7 and P8 that the montage lists as well, at the same places.
ALIASES = ("T3", "T4", "T5", "T6")
TEN_TWENTY = "standard_1020"


def montage_name(name: str) -> str:
    """Return what this version of MNE-Python calls a montage: since 1.14, by the head it is of."""
    renamed = name.replace("standard_", "colin27_")
    return renamed if renamed in mne.channels.get_builtin_montages() else name


def montage_info(name: str, sfreq: float = 1.0) -> mne.Info:
    """Return EEG channel information of a montage that MNE-Python ships, in its head frame.

    Parameters
    ----------
    name : str
        Its name, the older one of those that were renamed.
    sfreq : float
        Sampling frequency in Hz.
    """
    montage = _montage(name)
    info = mne.create_info(montage.ch_names, sfreq, "eeg")
    return info.set_montage(montage, verbose="ERROR")


def _montage(name: str) -> mne.channels.DigMontage:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # announces the renaming
        return mne.channels.make_standard_montage(montage_name(name))


def electrode_names() -> tuple[str, ...]:
    """Return the 90 names, in the montage's order."""
    return tuple(name for name in _montage(TEN_TWENTY).ch_names if name not in ALIASES)


def electrode_info(sfreq: float) -> mne.Info:
    """Return EEG channel information with positions.

    Parameters
    ----------
    sfreq : float
        Sampling frequency in Hz.
    """
    info = mne.create_info(list(electrode_names()), sfreq, "eeg")
    info.set_montage(_montage(TEN_TWENTY))
    return info


def head_to_mri() -> mne.Transform:
    """The transform from MNE's head frame to fsaverage's surface RAS, as MNE ships it."""
    with as_file(files("mne") / "data" / "fsaverage" / "fsaverage-trans.fif") as path:
        return mne.read_trans(path, verbose="ERROR")


def placed_info(names: Sequence[str], points: np.ndarray, sfreq: float) -> mne.Info:
    """Return EEG channel information of electrodes on the template, with its fiducials.

    Parameters
    ----------
    names : sequence of str
        Of the electrodes.
    points : ndarray, shape (electrodes, 3)
        Metres, surface RAS.
    sfreq : float
        Sampling frequency in Hz.
    """
    to_head = mne.transforms.invert_transform(head_to_mri())["trans"]
    fiducials = np.array([point["r"] for point in get_mni_fiducials("fsaverage")])
    lpa, nasion, rpa = mne.transforms.apply_trans(to_head, fiducials)
    places = mne.transforms.apply_trans(to_head, points)
    montage = mne.channels.make_dig_montage(
        dict(zip(names, places, strict=True)), nasion, lpa, rpa, coord_frame="head"
    )
    info = mne.create_info(list(names), sfreq, "eeg")
    return info.set_montage(montage, verbose="ERROR")
