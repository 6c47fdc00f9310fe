"""The head of a subject: the forward solution that came with it, with few enough sources."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import mne
import numpy as np
from numpy.typing import NDArray

from learnmm_esi.fif import reading
from learnmm_esi.head.from_forward import head_model_from_forward
from learnmm_esi.head.model import HeadModel
from learnmm_esi.recordings.localize_mi.subsets import farthest_points

__all__ = ["SubjectHead", "read_head"]


@dataclass(frozen=True, eq=False)
class SubjectHead:
    """A forward solution in both forms that inverses want.

    Attributes
    ----------
    forward : mne.Forward
        Its EEG channels, oriented as in the file.
    model : HeadModel
        The same sources along the normals of the cortex.
    """

    forward: mne.Forward
    model: HeadModel

    @property
    def left(self) -> NDArray[np.bool_]:
        """Which sources lie in the left hemisphere, shape (sources,)."""
        assert self.model.vertices is not None  # `read_head` has seen to it
        left: NDArray[np.bool_] = np.arange(len(self.model.positions)) < len(self.model.vertices[0])
        return left


def read_head(path: Path, sources: int) -> SubjectHead:
    """Read a forward solution and thin out its sources.

    Parameters
    ----------
    path : Path
        ``sub-01_fwd.fif``.
    sources : int
        How many to keep at most: those that cover the cortex best (`farthest_points`).

    Returns
    -------
    SubjectHead

    Raises
    ------
    ValueError
        If the file holds no forward solution that serves, as one without EEG, or its sources do not
        lie on the surfaces of two hemispheres.
    """
    with reading(path, "forward solution"):
        forward = mne.read_forward_solution(path, verbose="ERROR")
        info = forward["info"]
        kinds = dict(zip(info["ch_names"], info.get_channel_types(), strict=True))
        forward.pick_channels([n for n in forward["sol"]["row_names"] if kinds[n] == "eeg"])
    if [space["type"] for space in forward["src"]] != ["surf", "surf"]:
        raise ValueError(
            f"{path} must have sources on the surfaces of two hemispheres, got "
            f"{', '.join(space['type'] for space in forward['src']) or 'none'}"
        )
    with reading(path, "forward solution"):
        forward = _thinned(forward, sources)
        return SubjectHead(forward, head_model_from_forward(forward))


def _thinned(forward: mne.Forward, sources: int) -> mne.Forward:
    if forward["nsource"] <= sources:
        return forward
    kept = np.zeros(forward["nsource"], dtype=bool)
    kept[farthest_points(forward["source_rr"], sources, first=0)] = True
    numbers = [space["vertno"] for space in forward["src"]]
    vertices = [
        one[part] for one, part in zip(numbers, np.split(kept, [len(numbers[0])]), strict=True)
    ]
    some = mne.SourceEstimate(np.zeros((sources, 1)), vertices, tmin=0.0, tstep=1.0)
    return mne.forward.restrict_forward_to_stc(forward, some)
