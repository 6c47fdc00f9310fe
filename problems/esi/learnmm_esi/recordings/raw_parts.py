"""Which samples of a Raw are reconstructed, and in which parts."""

from __future__ import annotations

import itertools
import operator
from dataclasses import dataclass
from typing import Any

import mne
import numpy as np
from numpy.typing import NDArray

from learnmm.plain import make_plain

__all__ = ["RawSpan", "good_parts"]


@dataclass(frozen=True)
class RawSpan:
    """Which samples of a Raw are reconstructed, and how many at once.

    Parameters
    ----------
    start, stop : int, optional
        First sample, and first sample not to use, counted as by ``raw.get_data``.
    buffer_size : int, optional
        Samples to reconstruct at once; the parts are recordings of their own, of nearly equal
        length, none longer than this. Default: one second, or as long as the recordings that
        weights were trained on.
    reject_by_annotation : bool, default True
        Leave out samples that annotations call bad, as MNE-Python does; their estimates are NaN.

    Raises
    ------
    TypeError
        If a number of samples is no integer.
    ValueError
        If `buffer_size` is less than 1.
    """

    start: int | None = None
    stop: int | None = None
    buffer_size: int | None = None
    reject_by_annotation: bool = True

    def __post_init__(self) -> None:
        make_plain(self)
        for name in ("start", "stop", "buffer_size"):
            _check_samples(name, getattr(self, name))
        if self.buffer_size is not None and self.buffer_size < 1:
            raise ValueError(f"buffer_size must be at least 1 sample, got {self.buffer_size}")

    def limits(self, raw: mne.io.BaseRaw) -> tuple[int, int]:
        """Return first sample and first sample not to use of a recording.

        Raises
        ------
        ValueError
            If there is nothing between them.
        """
        first, last, _ = slice(self.start, self.stop).indices(raw.n_times)
        if last <= first:
            raise ValueError(
                f"start and stop must enclose samples of the {raw.n_times}, got {self.start}, "
                f"{self.stop}"
            )
        return first, last


def _check_samples(name: str, value: Any) -> None:
    """Refuse what is no integer, and tell how to make one of seconds."""
    try:
        operator.index(0 if value is None else value)
    except TypeError:
        raise TypeError(
            f"{name} counts samples, so it must be an integer, got {value!r}; of seconds, "
            f"raw.time_as_index({value!r})[0] makes a sample"
        ) from None


def good_parts(
    raw: mne.io.BaseRaw, first: int, last: int, size: int, reject_by_annotation: bool
) -> list[tuple[int, int]]:
    """Cut a span into parts of nearly equal length, none longer than `size`.

    Parameters
    ----------
    raw : Raw
        With annotations or without.
    first, last : int
        The span.
    size : int
        Samples of a part at most.
    reject_by_annotation : bool
        Leave out what annotations call bad, as MNE-Python does: those whose description starts with
        "bad", in any case. No part reaches across what is left out.

    Returns
    -------
    list of (int, int)
        First sample, and first sample not to use, of every part.

    Raises
    ------
    ValueError
        If annotations leave nothing.
    """
    good = np.ones(last - first, dtype=bool)
    if reject_by_annotation and len(raw.annotations):
        good = _kept(raw, first, last)
    if not good.any():
        raise ValueError(
            f"annotations mark all samples from {first} to {last - 1} as bad: choose others with "
            "span=RawSpan(start=..., stop=...), or set its reject_by_annotation=False"
        )
    edges = np.flatnonzero(np.diff(good, prepend=False, append=False)) + first
    parts: list[tuple[int, int]] = []
    for begin, end in edges.reshape(-1, 2).tolist():
        cuts = np.linspace(begin, end, -(-(end - begin) // size) + 1).round().astype(int).tolist()
        parts += itertools.pairwise(cuts)
    return parts


def _kept(raw: mne.io.BaseRaw, first: int, last: int) -> NDArray[np.bool_]:
    """Which samples MNE-Python keeps when it omits those that annotations call bad."""
    # Of a silent twin, since of a file every sample would be read.
    info = mne.create_info(1, raw.info["sfreq"], "misc")
    info.set_meas_date(raw.info["meas_date"])
    twin = mne.io.RawArray(
        np.arange(raw.n_times, dtype=float)[None], info, first_samp=raw.first_samp, verbose="ERROR"
    )
    twin.set_annotations(raw.annotations, verbose="ERROR")
    kept = twin.get_data(start=first, stop=last, reject_by_annotation="omit", verbose="ERROR")
    good = np.zeros(last - first, dtype=bool)
    good[kept[0].astype(int) - first] = True
    return good
