"""Match the EEG channels of a recording to the sensors of a head model, by name."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import mne
import numpy as np
from numpy.typing import NDArray

__all__ = ["ChannelMatch", "OnMissing", "match_channels"]

OnMissing = Literal["raise", "warn", "ignore"]

#: Names of the 10-20 system and what the 10-10 and 10-05 systems call the same places.
OLD_NAMES = {"t3": "t7", "t4": "t8", "t5": "p7", "t6": "p8"}
MIN_CHANNELS = 8  # with fewer, what is left of the topography after referencing locates nothing
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
    lower case, in spaces around it or by the older names T3 = T7, T4 = T8, T5 = P7, T6 = P8.
    Channels of other types and bad channels are left out, and so are sensors that the recording
    does not have.

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
        eight are left.
    """
    if on_missing not in get_args(OnMissing):
        raise ValueError(f"on_missing must be one of {get_args(OnMissing)}, got {on_missing!r}")
    picks = mne.pick_types(info, meg=False, eeg=True, exclude="bads")
    if len(picks) == 0:
        raise ValueError(_no_eeg(info))
    rows, unknown = _rows([info["ch_names"][i] for i in picks], sensors)
    if unknown:
        message = (
            f"the head model has no sensor named {_listed(unknown)} "
            f"(its sensors are {_listed(sensors)})"
        )
        if on_missing == "raise":
            raise ValueError(
                f"{message}. Rename these channels with rename_channels, mark them as bad, give "
                "them another type with set_channel_types, use a head model that has them, or "
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
    if len(rows) < MIN_CHANNELS:
        raise ValueError(
            f"source imaging needs at least {MIN_CHANNELS} good EEG channels that the head model "
            f"knows, got {len(rows)} ({_listed(names) or 'none'}) of {len(info['ch_names'])} "
            f"channels, {len(info['bads'])} of which are marked as bad"
        )
    return ChannelMatch(picks, rows, names)


def _rows(names: Sequence[str], sensors: Sequence[str]) -> tuple[NDArray[np.int64], list[str]]:
    """Row of each name, -1 for the unknown ones, which are listed too."""
    exact = {name: row for row, name in enumerate(sensors)}
    lenient: dict[str, int] = {}
    for row, name in enumerate(sensors):
        lenient.setdefault(_plain(name), row)
    # The exact name first: a head model may hold T3 and T7 as sensors of their own.
    rows = [exact.get(name, lenient.get(_plain(name), -1)) for name in names]
    return np.array(rows, dtype=np.int64), [n for n, r in zip(names, rows, strict=True) if r < 0]


def _plain(name: str) -> str:
    plain = name.strip().casefold()
    return OLD_NAMES.get(plain, plain)


def _no_eeg(info: mne.Info) -> str:
    bad = mne.pick_types(info, meg=False, eeg=True, exclude=())
    if len(bad):
        return f"all {len(bad)} EEG channels of the recording are marked as bad"
    types = sorted(set(info.get_channel_types())) if info["ch_names"] else []
    return (
        f"the recording has no EEG channels, only {_listed(types) or 'none at all'}; if some are "
        "EEG, say so with set_channel_types"
    )


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:SHOWN]) + (", ..." if len(names) > SHOWN else "")
