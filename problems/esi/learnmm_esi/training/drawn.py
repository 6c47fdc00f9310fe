"""What the data sets of a training share: draws that are fresh in every epoch, and windows."""

from __future__ import annotations

from collections.abc import Sized
from typing import Any, Generic, TypeVar

from torch.utils.data import Dataset

__all__ = ["Drawn", "window_begins"]

Source = TypeVar("Source", bound=Sized)


class Drawn(Dataset[dict[str, Any]], Generic[Source]):
    """Items of a simulator, drawn anew in every epoch or not.

    Parameters
    ----------
    source : Sized
        What simulates them.
    fresh : bool
        Draw anew in every epoch (training) or not (validation, test).
    """

    def __init__(self, source: Source, fresh: bool) -> None:
        self.source, self.fresh = source, fresh
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Choose what is drawn."""
        self.epoch = epoch if self.fresh else 0

    def __len__(self) -> int:
        return len(self.source)


def window_begins(peak: int, window: int, times: int) -> range:
    """Where a window of a recording may begin so that it holds a peak.

    Parameters
    ----------
    peak : int
        Sample of the peak.
    window, times : int
        Samples of the window, and of the recording.
    """
    return range(max(0, peak - window + 1), min(peak, times - window) + 1)
