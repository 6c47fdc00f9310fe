"""Bring estimates on the regions of a head model to the vertices of the cortex."""

from __future__ import annotations

import mne
import numpy as np

from learnmm_esi.head.model import HeadModel

__all__ = ["expand_estimate"]


def expand_estimate(stc: mne.SourceEstimate, model: HeadModel) -> mne.SourceEstimate:
    """Give every vertex of fsaverage5 the estimate of its region.

    Parameters
    ----------
    stc : mne.SourceEstimate
        On the sources of `model`.
    model : HeadModel
        With regions.

    Returns
    -------
    mne.SourceEstimate
        On all 2 x 10242 vertices of fsaverage5, which are the first of fsaverage; zero on the
        medial wall. ``lh_data`` and ``rh_data`` are what nilearn plots on fsaverage5.

    Raises
    ------
    ValueError
        If the model has no regions or the estimate lies on other vertices.
    """
    if model.vertices is None or not all(
        np.array_equal(a, b) for a, b in zip(stc.vertices, model.vertices, strict=True)
    ):
        raise ValueError("the estimate does not lie on the sources of this head model")
    hemispheres = [np.nan_to_num(half) for half in model.expand(stc.data)]
    vertices = [np.arange(len(half)) for half in hemispheres]
    data = np.concatenate(hemispheres).astype(stc.data.dtype)
    return mne.SourceEstimate(data, vertices, stc.tmin, stc.tstep, subject="fsaverage")
