"""Match the EEG channels of a recording to the sensors of a head model, by name."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import mne
import numpy as np
from numpy.typing import NDArray

from learnmm_esi.recordings.channel_names import (
    biosemi_letters,
    bipolar_pairs,
    references_of,
    sensor_rows,
)
from learnmm_esi.recordings.settings import OnMissing

__all__ = [
    "ChannelMatch",
    "check_count",
    "good_eeg",
    "listed",
    "match_channels",
    "why_unknown",
]

# From 16 on, channels of a response at 5 dB predict each other better than those of noise do, in
# all of 40 recordings (see `plausibility`). With 8, noise is explained by 99 %, and sources are 3
# cm off.
MIN_CHANNELS = 16
SHOWN = 12  # names in a message


@dataclass(frozen=True, eq=False)
class ChannelMatch:
    """Which channels of a recording are which rows of a lead field.

    Attributes
    ----------
    picks : ndarray of int, shape (channels,)
        Indices into the recording, in the order of the head model: that of the recording is
        forgotten here.
    rows : ndarray of int, shape (channels,)
        Indices into the lead field, ascending.
    names : tuple of str
        What the recording calls these channels.
    """

    picks: NDArray[np.int64]
    rows: NDArray[np.int64]
    names: tuple[str, ...]


def match_channels(
    info: mne.Info, sensors: Sequence[str], on_missing: OnMissing = "raise"
) -> ChannelMatch:
    """Find the good EEG channels of a recording in a head model.

    A channel is the sensor of the same name; else the one whose name differs only in upper and
    lower case, in spaces around it, by the older names T3 = T7, T4 = T8, T5 = P7, T6 = P8, by
    Neuroscan's CB1 = PO9, CB2 = PO10, or by what archives write around it ("EEG Fp1-Ref",
    "EEG T3-LE", "Fc5."). Channels of other types and bad channels are left out, and so are sensors
    that the recording does not have.

    Parameters
    ----------
    info : mne.Info
        Of the recording.
    sensors : sequence of str
        Names of the head model's sensors.
    on_missing : {"raise", "warn", "ignore"}, default "raise"
        What to do about good EEG channels that the head model does not have: an error, or leave
        them out with or without a warning.

    Returns
    -------
    ChannelMatch

    Raises
    ------
    ValueError
        If there are no EEG channels, some are unknown, two are the same sensor, or fewer than
        `MIN_CHANNELS` are left.
    """
    picks = good_eeg(info)
    all_names = [info["ch_names"][i] for i in picks]
    rows = np.array(sensor_rows(all_names, sensors), dtype=np.int64)
    unknown = [name for name, row in zip(all_names, rows, strict=True) if row < 0]
    if unknown:
        message = (
            f"the head model has no sensor named {listed(unknown)} (its sensors are "
            f"{listed(sensors)}), {len(unknown)} of {len(picks)} good EEG channels"
            f"{why_unknown(all_names, unknown, sensors)}"
        )
        if on_missing == "raise":
            raise ValueError(
                f"{message}. Rename these channels, with "
                f"recording.rename_channels({{{unknown[0]!r}: SENSOR, ...}}), mark them as bad, "
                "give them another type with set_channel_types, use a head model that has them, or "
                "leave them out with on_missing='warn'"
            )
        if on_missing == "warn":
            warnings.warn(f"{message}: left out", RuntimeWarning, stacklevel=2)
    picks, rows = picks[rows >= 0], rows[rows >= 0]
    order = np.argsort(rows, kind="stable")
    picks, rows = picks[order], rows[order]
    names = tuple(info["ch_names"][i] for i in picks)
    for k in np.flatnonzero(np.diff(rows) == 0):
        raise ValueError(
            f"channels {names[k]!r} and {names[k + 1]!r} are both sensor {sensors[rows[k]]!r} of "
            "the head model: drop one of them or mark it as bad"
        )
    check_count(names, info, "that the head model knows")
    references = references_of(names)
    if len(references) > 1:
        warnings.warn(
            f"the channels were recorded against different electrodes ({', '.join(references)}), "
            "which an average reference does not undo: reference them to one electrode first",
            RuntimeWarning,
            stacklevel=2,
        )
    return ChannelMatch(picks, rows, names)


def good_eeg(info: mne.Info) -> NDArray[np.int64]:
    """Return the indices of the good EEG channels, of which there must be some."""
    picks: NDArray[np.int64] = mne.pick_types(info, meg=False, eeg=True, exclude="bads")
    if len(picks) == 0:
        raise ValueError(_no_eeg(info))
    return picks


def check_count(names: Sequence[str], info: mne.Info, which: str) -> None:
    """Refuse a recording with too few channels to image.

    Parameters
    ----------
    names : sequence of str
        Of the channels that can be used.
    info : mne.Info
        Of the recording.
    which : str
        What these are, for the message.
    """
    if len(names) < MIN_CHANNELS:
        raise ValueError(
            f"source imaging needs at least {MIN_CHANNELS} good EEG channels {which}, got "
            f"{len(names)} ({listed(names) or 'none'}) of {len(info['ch_names'])} channels, "
            f"{len(info['bads'])} of which are marked as bad: fewer do not tell a response from "
            "noise, which sources anywhere explain"
        )


def why_unknown(names: Sequence[str], unknown: Sequence[str], sensors: Sequence[str]) -> str:
    """Say what names are that the sensors do not have, if that can be told."""
    if biosemi_letters(names, sensors):
        return (
            "; these are names of a BioSemi cap, in which A1, A2, C1 to C6 and F1 to F10 mean "
            "other places than in the 10-20 system"
        )
    pairs = bipolar_pairs(unknown, sensors)
    if pairs:
        return f"; {listed(pairs)} are differences of two electrodes, which have no topography"
    return ""


def _no_eeg(info: mne.Info) -> str:
    bad = mne.pick_types(info, meg=False, eeg=True, exclude=())
    if len(bad):
        return f"all {len(bad)} EEG channels of the recording are marked as bad"
    types = sorted(set(info.get_channel_types())) if info["ch_names"] else []
    return (
        f"the recording has no EEG channels, only {listed(types) or 'none at all'}; if some are "
        "EEG, say so with set_channel_types"
    )


def listed(names: Sequence[str]) -> str:
    """Return names for a message, no more than a few."""
    return ", ".join(names[:SHOWN]) + (", ..." if len(names) > SHOWN else "")
