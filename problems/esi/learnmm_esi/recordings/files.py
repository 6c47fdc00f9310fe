"""Recordings from files of every kind that MNE-Python reads, prepared for an inverse."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path

import mne

from learnmm_esi.recordings.prepared import Recording

__all__ = ["read_recordings"]

EXPECTED = (
    "expected evoked responses, epochs or a raw recording in FIF, a raw one in EDF, BDF, GDF, "
    "BrainVision (.vhdr) or another format of mne.io.read_raw, or either in EEGLAB's (.set)"
)


def read_recordings(
    file: Path,
    conditions: Sequence[str] | None = None,
    *,
    average: bool = False,
    bads: Sequence[str] = (),
    average_reference: bool = False,
    tmin: float | None = None,
    tmax: float | None = None,
) -> list[Recording]:
    """Read what a file holds and prepare it.

    Parameters
    ----------
    file : Path
        Evoked responses, epochs or a raw recording.
    conditions : sequence of str, optional
        Names or numbers from zero, of evoked responses or of epochs' events. Default: all.
    average : bool
        Of epochs, the average of each condition.
    bads : sequence of str
        Channels to mark as bad besides those of the file.
    average_reference : bool
        Add a projector for it.
    tmin, tmax : float, optional
        What to keep, in seconds; of a raw recording, since its first sample.

    Returns
    -------
    list of Evoked, or one Epochs or Raw
        A Raw is not loaded.

    Raises
    ------
    ValueError
        If there is no such condition or channel, no epoch is left, an option is none of what the
        file holds, or it holds no recording.
    """
    held = _read(file)
    if average and not isinstance(held, mne.BaseEpochs):
        raise ValueError(f"{file.name} holds no epochs, and nothing else can be averaged")
    if isinstance(held, mne.BaseEpochs):
        recordings = _conditions_of_epochs(held, conditions, average, file)
    elif isinstance(held, mne.io.BaseRaw):
        if conditions:
            raise ValueError(
                f"{file.name} is a raw recording, which has no conditions: cut epochs around its "
                "events, or say which part with tmin and tmax"
            )
        recordings = [held]
    else:
        recordings = list(held)
        if conditions:
            names = [evoked.comment for evoked in held]
            recordings = [held[_position(wanted, names, file)] for wanted in conditions]
    for recording in recordings:
        unknown = [name for name in bads if name not in recording.ch_names]
        if unknown:
            raise ValueError(f"{file.name} has no channel named {', '.join(unknown)}")
        recording.info["bads"] = sorted({*recording.info["bads"], *bads})
        if average_reference:
            recording.set_eeg_reference(projection=True, verbose="ERROR")
        recording.crop(*_span(recording, tmin, tmax), verbose="ERROR")
    return recordings


def _span(recording: Recording, tmin: float | None, tmax: float | None) -> tuple[float, float]:
    """Limits of the time of interest within the recording; wider ones are warned of."""
    begin, end = float(recording.times[0]), float(recording.times[-1])
    low, high = begin if tmin is None else tmin, end if tmax is None else tmax
    if not (low <= high and low <= end and high >= begin):
        raise ValueError(
            f"tmin must not be after tmax, nor both outside of the recording's {begin:g} to "
            f"{end:g} s, got {low:g} to {high:g} s"
        )
    if low < begin or high > end:
        warnings.warn(
            f"the recording has {begin:g} to {end:g} s only, of {low:g} to {high:g} s", stacklevel=3
        )
    return max(low, begin), min(high, end)


def _read(file: Path) -> list[mne.Evoked] | mne.BaseEpochs | mne.io.BaseRaw:
    name = file.name.lower()
    try:
        if name.endswith((".fif", ".fif.gz")):
            held = _read_fif(file)
        elif name.endswith(".set"):
            held = _read_eeglab(file)
        else:
            held = mne.io.read_raw(file, verbose="ERROR")
    except (FileNotFoundError, IsADirectoryError, PermissionError, ImportError):
        raise
    except Exception as error:  # of what is no such file, readers may say anything
        reason = f" ({error})" if str(error) else ""
        raise ValueError(
            f"{file.name} holds no evoked responses, epochs or raw recording{reason}; {EXPECTED}"
        ) from error
    return held


def _read_fif(file: Path) -> list[mne.Evoked] | mne.BaseEpochs | mne.io.BaseRaw:
    kind = mne.what(file)
    if kind == "evoked":
        evokeds: list[mne.Evoked] = mne.read_evokeds(file, proj=False, verbose="ERROR")
        return evokeds
    if kind == "epochs":
        return mne.read_epochs(file, proj=False, verbose="ERROR")
    if kind == "raw":
        return mne.io.read_raw_fif(file, verbose="ERROR")
    raise ValueError(f"MNE-Python calls it {kind!r}")


def _read_eeglab(file: Path) -> mne.BaseEpochs | mne.io.BaseRaw:
    try:
        return mne.io.read_raw_eeglab(file, verbose="ERROR")
    except TypeError:  # of several trials
        return mne.read_epochs_eeglab(file, verbose="ERROR")


def _conditions_of_epochs(
    epochs: mne.BaseEpochs, conditions: Sequence[str] | None, average: bool, file: Path
) -> list[Recording]:
    if len(epochs) == 0:
        raise ValueError(f"{file.name} has no epochs left: all of them were rejected")
    if conditions:
        names = list(epochs.event_id)
        epochs = epochs[[names[_position(wanted, names, file)] for wanted in conditions]]
    if not average:
        return [epochs]
    averages: list[Recording] = epochs.average(by_event_type=True)
    return averages


def _position(wanted: str, names: Sequence[str], file: Path) -> int:
    if wanted in names:
        if names.count(wanted) > 1:
            places = ", ".join(str(k) for k, name in enumerate(names) if name == wanted)
            raise ValueError(f"{file.name} has several conditions {wanted!r}: use one of {places}")
        return list(names).index(wanted)
    if wanted.isdecimal() and int(wanted) < len(names):
        return int(wanted)
    known = ", ".join(f"{k} {name!r}" for k, name in enumerate(names))
    raise ValueError(f"{file.name} has no condition {wanted!r}; it has {known}")
