"""The data of a recording, so much at once as is solved together."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import mne
from numpy.typing import NDArray

__all__ = ["Batch", "batches_of_epochs", "parts_of_raw"]

BATCH_VALUES = 2**20  # sources x times x epochs solved at once: 4 MiB for each working array

Batch = tuple[Any, list[str]]
"""Recordings of ``(channels, times)``, and what each is called in messages."""


def batches_of_epochs(
    epochs: mne.BaseEpochs, picks: NDArray[Any], sources: int, verbose: bool | str | int | None
) -> Iterator[Batch]:
    """Read epochs when they are asked for, as many at once as are solved together.

    Parameters
    ----------
    epochs : Epochs
    picks : ndarray of int
        Channels.
    sources : int
        How many are estimated.
    verbose : bool, str, int or None
        MNE-Python's logging level.
    """
    size = max(1, BATCH_VALUES // (sources * len(epochs.times)))
    for first in range(0, len(epochs), size):
        indices = list(range(first, min(first + size, len(epochs))))
        with mne.use_log_level(verbose):
            data = epochs.get_data(picks=picks, item=indices, copy=False)
        yield data, [f"epoch {i}" for i in indices]


def parts_of_raw(
    raw: mne.io.BaseRaw, picks: NDArray[Any], parts: Sequence[tuple[int, int]]
) -> Iterator[Batch]:
    """Read parts of a Raw when they are asked for, one by one.

    Parameters
    ----------
    raw : Raw
    picks : ndarray of int
        Channels.
    parts : sequence of (int, int)
        Where they begin and end.
    """
    for begin, end in parts:
        data = raw.get_data(picks=picks, start=begin, stop=end, verbose="ERROR")
        yield [data], [f"the part from sample {begin} to {end - 1}"]
