"""The template's head model for the electrodes of a recording, whichever they are."""

from __future__ import annotations

import functools
import os
from pathlib import Path

import mne
import numpy as np
from mne.utils import logger

from learnmm_esi.cache import cache_directory
from learnmm_esi.head.model import HeadModel
from learnmm_esi.head.scalp import ScalpGain, scalp_gain
from learnmm_esi.head.settings import HeadModelSettings
from learnmm_esi.recordings.placement import place_electrodes
from learnmm_esi.recordings.settings import OnMissing

__all__ = ["head_model_for"]

_scalps: dict[tuple[HeadModelSettings, Path], ScalpGain] = {}
"""The last that was asked for."""


def head_model_for(
    info: mne.Info,
    settings: HeadModelSettings | None = None,
    *,
    on_missing: OnMissing = "raise",
    cache_dir: str | os.PathLike[str] | None = None,
    progress: bool = False,
) -> HeadModel:
    """Build the fsaverage head model for the good EEG channels of a recording.

    Parameters
    ----------
    info : mne.Info
        Of the recording. Its electrodes have positions (`set_montage`), or names of the 10-05
        system, of a BioSemi cap or of a HydroCel net.
    settings : HeadModelSettings, optional
        Of the head. Default: 994 regions.
    on_missing : {"raise", "warn", "ignore"}, default "raise"
        What to do about channels whose place is not known.
    cache_dir : path, optional
        Where what the scalp sees is kept. Default: ``$LEARNMM_CACHE``, else the user's cache
        directory.
    progress : bool
        Show the stages of the construction; needs ``rich``.

    Returns
    -------
    HeadModel
        Its sensors are the channels, by the names that the recording has for them.

    Raises
    ------
    ValueError
        If places are not known or cannot be right (see `place_electrodes`), or `settings` are for
        columns or boundaries that no cap has (see `scalp_gain`).

    Notes
    -----
    What every place on the scalp sees is computed once, in minutes at ``ico=4``, and kept; the
    model of a cap then takes a second. Positions are brought to the template by the fiducials, by
    electrodes with names of the 10-05 system, and by the skin that electrodes lie on. Positions of
    a montage that MNE ships say no more than names do: where all of these are of the 10-05 system,
    electrodes are placed by them.

    Examples
    --------
    >>> evoked.set_montage("biosemi64")        # doctest: +SKIP
    >>> model = head_model_for(evoked.info)    # doctest: +SKIP
    >>> stc = apply_mm(evoked, model)          # doctest: +SKIP
    """
    placement = place_electrodes(info, on_missing)
    key = settings or HeadModelSettings(), cache_directory(cache_dir)
    if key not in _scalps:
        logger.info("Reading what the scalp sees, or computing it once: minutes at ico=4")
        scalp = scalp_gain(key[0], cache_dir=key[1], progress=progress)
        _scalps.clear()  # each is tens of megabytes
        _scalps[key] = scalp
    return _model(_scalps[key], placement.names, placement.points.tobytes())


@functools.lru_cache(maxsize=8)
def _model(scalp: ScalpGain, names: tuple[str, ...], points: bytes) -> HeadModel:
    """Model of a cap; recordings of a study share it."""
    return scalp.head_model(np.frombuffer(points).reshape(-1, 3), names)
