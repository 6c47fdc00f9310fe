"""The response of a run: the average of its epochs, and the noise before the stimulus."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import mne
import numpy as np
from numpy.typing import NDArray
from sklearn.covariance import ledoit_wolf

from learnmm_esi.fif import reading
from learnmm_esi.head.farthest import farthest_points
from learnmm_esi.head.model import HeadModel
from learnmm_esi.recordings.channels import match_channels
from learnmm_esi.recordings.localize_mi.files import RunFiles
from learnmm_esi.recordings.localize_mi.tables import number, read_json, read_table

__all__ = ["Response", "read_response"]

VOLTS = {"V": 1.0, "mV": 1e-3, "µV": 1e-6, "μV": 1e-6, "uV": 1e-6, "n/a": 1.0}


@dataclass(frozen=True, eq=False)
class Response:
    """What the good channels of a run recorded.

    Attributes
    ----------
    evoked : mne.Evoked
        Average of the epochs in V, channels named and placed as in the forward solution.
    noise : mne.Covariance
        Of single epochs before the stimulus, same channels.
    """

    evoked: mne.Evoked
    noise: mne.Covariance

    def with_channels(self, count: int) -> Response:
        """Return the response of `count` channels that cover the head best, or of all.

        The first is the highest one, and those of a smaller count are always among those of a
        larger (`farthest_points`). The average reference becomes that of the channels left.
        """
        places = np.array([channel["loc"][:3] for channel in self.evoked.info["chs"]])
        order = farthest_points(places, count, first=int(places[:, 2].argmax()))
        names = [self.evoked.ch_names[k] for k in sorted(order)]
        evoked = self.evoked.copy().pick(names)
        evoked.set_eeg_reference(projection=True, verbose="ERROR")
        noise = self.noise.copy().pick_channels(names, ordered=True, verbose="ERROR")
        return Response(evoked, noise)


def read_response(files: RunFiles, model: HeadModel, noise_end: float) -> Response:
    """Average the epochs of a run.

    Parameters
    ----------
    files : RunFiles
        Of an array: its tables say names, units and status of the channels, the sampling rate
        (``sampling_frequency`` of a channel, or ``SamplingFrequency`` of ``_epochs.json``), and
        ``zero_time``, when the stimulus comes after an epoch's begin.
    model : HeadModel
        Of the subject.
    noise_end : float
        Samples up to this time in seconds are noise: their covariance is shrunk as Ledoit and
        Wolf do, and their mean is subtracted.

    Returns
    -------
    Response

    Raises
    ------
    ValueError
        If a file holds no epochs that can be read, tables do not fit them, values are missing, or
        there are no samples of noise; and as `match_channels`.
    """
    array = files.epochs.suffix == ".npy"
    epochs = _epochs_of_array(files) if array else _epochs_of_fif(files.epochs)
    match = match_channels(epochs.info, model.channel_names)
    before = epochs.times <= noise_end
    if not before.any() or len(epochs) == 0:
        raise ValueError(
            f"{files.epochs} must have epochs that begin before {1e3 * noise_end:g} ms, for the "
            f"noise; got {len(epochs)} from {1e3 * epochs.times[0]:g} ms on"
        )
    data = epochs.get_data(picks=match.picks, copy=False)  # (epochs, channels, times)
    finite = np.isfinite(data).all(axis=(0, 2))
    wrong = [name for name, good in zip(match.names, finite, strict=True) if not good]
    if wrong:
        raise ValueError(
            f"{files.epochs} has values that are not finite in {', '.join(wrong[:12])}: call the "
            "channels bad in the table of channels"
        )
    data = data - data[..., before].mean(axis=2, keepdims=True)
    noise = data[..., before].swapaxes(0, 1).reshape(data.shape[1], -1)  # (channels, samples)
    if not noise.any(axis=1).all():
        raise ValueError(f"{files.epochs} has channels that are flat before the stimulus")
    info = mne.pick_info(model.info(epochs.info["sfreq"]), match.rows)
    evoked = mne.EvokedArray(
        data.mean(axis=0), info, tmin=epochs.times[0], nave=len(data), verbose="ERROR"
    )
    # The channels' volts are far below one, where the shrinkage loses its digits.
    scale = np.sqrt(np.mean(noise**2))
    covariance = ledoit_wolf((noise / scale).T, assume_centered=True)[0] * scale**2
    names = list(info["ch_names"])
    shrunk = {"nfree": noise.shape[1], "method": "ledoit_wolf"}
    return Response(evoked, mne.Covariance(covariance, names, [], [], **shrunk))


def _epochs_of_fif(path: Path) -> mne.BaseEpochs:
    with reading(path, "epochs"):
        return mne.read_epochs(path, proj=False, verbose="ERROR")


def _epochs_of_array(files: RunFiles) -> mne.BaseEpochs:
    assert files.channels is not None  # `find_runs` has seen to it
    assert files.epochs_table is not None
    with reading(files.epochs, "array of epochs"):
        data = np.load(files.epochs, allow_pickle=False)
        if data.ndim != 3 or 0 in data.shape or not np.issubdtype(data.dtype, np.floating):
            raise ValueError(f"expected numbers (epochs, channels, times), got {data.shape}")
    rows = read_table(files.channels, ("name",))
    if data.shape[1] != len(rows):
        raise ValueError(
            f"{files.epochs} has {data.shape[1]} channels, {files.channels.name} has {len(rows)}"
        )
    units = _units(rows, files.channels)
    kinds = ["eeg" if row.get("type", "EEG").upper() == "EEG" else "misc" for row in rows]
    info = mne.create_info([row["name"] for row in rows], _rate(files, rows), kinds)
    info["bads"] = [row["name"] for row in rows if row.get("status", "").lower() == "bad"]
    zero = read_table(files.epochs_table, ("zero_time",))[0]["zero_time"]
    start = -number(zero, "zero_time", files.epochs_table)
    return mne.EpochsArray(data * units[:, None], info, tmin=start, proj=False, verbose="ERROR")


def _units(rows: list[dict[str, str]], path: Path) -> NDArray[np.float64]:
    named = [row.get("units", "n/a").strip() for row in rows]
    unknown = sorted(set(named) - set(VOLTS))
    if unknown:
        raise ValueError(f"{path}: units must be among {', '.join(VOLTS)}, got {unknown[0]!r}")
    return np.array([VOLTS[name] for name in named])


def _rate(files: RunFiles, rows: list[dict[str, str]]) -> float:
    assert files.channels is not None
    named = {row["sampling_frequency"] for row in rows if row.get("sampling_frequency")} - {"n/a"}
    if not named:
        named = {str(read_json(files.metadata).get("SamplingFrequency", "none"))}
    rates = {number(one, "the sampling frequency", files.channels) for one in named}
    if len(rates) != 1 or min(rates) <= 0:
        raise ValueError(f"{files.channels}: expected one sampling frequency, got {sorted(rates)}")
    return rates.pop()
