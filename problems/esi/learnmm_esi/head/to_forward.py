"""Dress a lead field as an `mne.Forward`, so that MNE's own functions accept it.

MNE makes the object itself, for the same sources and sensors in a sphere: frames, source spaces and
bookkeeping are then its own and right in every version. Only the gain is replaced.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import mne
import numpy as np

from learnmm_esi.head.cortex import fsaverage5
from learnmm_esi.head.gain import source_spaces

__all__ = ["fixed_forward", "replace_gain"]

SPHERE_RADIUS = 0.3  # metres: holds every source in the MRI and the head frame, so none is dropped


def fixed_forward(
    leadfield: np.ndarray,
    info: mne.Info,
    positions: np.ndarray,
    normals: np.ndarray,
    vertices: tuple[np.ndarray, np.ndarray],
    surface: str,
) -> mne.Forward:
    """Return a fixed-orientation Forward on fsaverage5.

    Parameters
    ----------
    leadfield : ndarray, shape (sensors, sources)
        V/(A m).
    info : mne.Info
        EEG channels with positions in MNE's head frame.
    positions, normals : ndarray, shape (sources, 3)
        Metres, surface RAS.
    vertices : tuple of two ndarray of int
        fsaverage5 vertices of the sources in each hemisphere.
    surface : {"pial", "white"}
        Surface that the source spaces hold.
    """
    with tempfile.TemporaryDirectory() as folder, mne.use_log_level("ERROR"):
        spaces = source_spaces(fsaverage5(), surface, Path(folder))
        start = 0
        for space, used in zip(spaces, vertices, strict=True):
            block = slice(start, start + len(used))
            space["rr"][used], space["nn"][used] = positions[block], normals[block]
            space["inuse"] = np.zeros(space["np"], int)
            space["inuse"][used] = 1
            space["vertno"], space["nuse"] = np.array(used), len(used)
            start += len(used)
        sphere = mne.make_sphere_model((0.0, 0.0, 0.0), head_radius=SPHERE_RADIUS)
        forward = mne.make_forward_solution(
            info,
            trans="fsaverage",
            src=spaces,
            bem=sphere,
            meg=False,
            mindist=0.0,
        )
        if forward["nsource"] != len(positions):
            raise RuntimeError(f"MNE dropped {len(positions) - forward['nsource']} sources")
        return replace_gain(forward, leadfield)


def replace_gain(forward: mne.Forward, leadfield: np.ndarray) -> mne.Forward:
    """Return `forward` in fixed orientation with the columns of `leadfield` as its gain."""
    if mne.forward.is_fixed_orient(forward):
        fixed = forward.copy()
    else:
        with mne.use_log_level("ERROR"):
            fixed = mne.convert_forward_solution(
                forward, surf_ori=True, force_fixed=True, use_cps=False
            )
    fixed["sol"]["data"] = np.array(leadfield, dtype=np.float64)
    # What MNE saves, and converts between orientations, is this copy; the other orientations of
    # the gain are not known here.
    fixed["_orig_sol"] = fixed["sol"]["data"].copy()
    fixed["_orig_source_ori"] = fixed["source_ori"]
    return fixed
