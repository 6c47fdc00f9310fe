"""The head of a subject: the forward solution that came with it, with few enough sources."""

from __future__ import annotations

import functools
import tempfile
from dataclasses import dataclass
from pathlib import Path

import mne
import numpy as np
from numpy.typing import NDArray

from learnmm_esi.fif import reading
from learnmm_esi.head.farthest import farthest_points
from learnmm_esi.head.from_forward import head_model_from_forward
from learnmm_esi.head.fsaverage import fsaverage_head_model
from learnmm_esi.head.model import HeadModel, Registration
from learnmm_esi.head.registration import template_regions
from learnmm_esi.head.settings import HeadModelSettings
from learnmm_esi.head.shape import write_spheres

__all__ = ["Regions", "SubjectHead", "read_head", "regions_of"]


@dataclass(frozen=True, eq=False)
class SubjectHead:
    """A forward solution in both forms that inverses want.

    Attributes
    ----------
    forward : mne.Forward
        Its EEG channels, oriented as in the file.
    model : HeadModel
        The same sources along the normals of the cortex.
    whole : mne.Forward
        As `forward`, with all sources of the file.
    """

    forward: mne.Forward
    model: HeadModel
    whole: mne.Forward

    @property
    def left(self) -> NDArray[np.bool_]:
        """Which sources lie in the left hemisphere, shape (sources,)."""
        assert self.model.vertices is not None  # `read_head` has seen to it
        left: NDArray[np.bool_] = np.arange(len(self.model.positions)) < len(self.model.vertices[0])
        return left


@dataclass(frozen=True, eq=False)
class Regions:
    """The regions of the template in a subject's head.

    Attributes
    ----------
    model : HeadModel
        What the sensors see of them (see `template_regions`).
    positions : ndarray, shape (regions, 3)
        Of the source nearest to the middle of each region; metres, surface RAS of the subject.
    left : ndarray of bool, shape (regions,)
        Which of them lie in the left hemisphere.
    """

    model: HeadModel
    positions: NDArray[np.float64]
    left: NDArray[np.bool_]


@functools.lru_cache(maxsize=1)
def regions_of(head: SubjectHead, settings: HeadModelSettings) -> Regions:
    """Bring the regions of a template to a head, by the shape of its cortex (`write_spheres`).

    Parameters
    ----------
    head : SubjectHead
        Data sets as this one have no registration of FreeSurfer's.
    settings : HeadModelSettings
        Of the template.

    Returns
    -------
    Regions
    """
    template = fsaverage_head_model(settings, progress=True)
    with tempfile.TemporaryDirectory() as folder, mne.use_log_level("ERROR"):
        write_spheres(head.whole, Path(folder))
        model = template_regions(head.whole, template, folder)
    assert isinstance(model.origin, Registration)
    assert model.vertices is not None
    to_mri = np.linalg.inv(head.whole["mri_head_t"]["trans"])
    own = mne.transforms.apply_trans(to_mri, head.whole["source_rr"])
    shares = model.origin.shares.tocsr()
    middle = (shares @ own) / shares.sum(axis=1).reshape(-1, 1)
    positions = np.empty((shares.shape[0], 3))
    for region, place in enumerate(np.asarray(middle)):
        some = own[shares[[region]].indices]
        positions[region] = some[np.linalg.norm(some - place, axis=1).argmin()]
    return Regions(model, positions, np.arange(len(positions)) < len(model.vertices[0]))


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
        thin = _thinned(forward, sources)
        return SubjectHead(thin, head_model_from_forward(thin), forward)


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
