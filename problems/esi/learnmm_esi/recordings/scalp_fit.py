"""Bring electrodes that were measured on some head to the scalp of the template.

Heads differ in size and shape, and fiducials are pointed at within millimetres. So the electrodes
are turned, shifted and stretched along the three axes as far as that is likely, until fiducials
fall on the template's and electrodes on its skin: the most probable such map, by least squares.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np
import trimesh
from mne.transforms import apply_trans
from numpy.typing import NDArray
from scipy.optimize import least_squares
from scipy.spatial.transform import Rotation
from trimesh.proximity import closest_point

from learnmm_esi.head.boundaries import shipped_surface
from learnmm_esi.head.electrodes import head_to_mri

__all__ = ["Landmarks", "Points", "fit_to_scalp", "template_skin"]

Points = NDArray[np.float64]

# Standard deviations of what the fit weighs against each other.
SKIN = 5e-3  # metres, of an electrode over the skin: holders, hair, and what stretching leaves
TURN, SHIFT = 0.1, 10e-3  # radians and metres, of the start
SIZE, SHAPE = 0.15, 0.06  # relative, of all axes together and of one against the others
INDEPENDENT = 30  # electrodes: the deviations of more are those of the same few places
OUTLIER = 2.0  # standard deviations from where on a deviation counts linearly
PASSES = 30
AT_REST = 1e-4  # metres


@dataclass(frozen=True, eq=False)
class Landmarks:
    """At least three points that are known in both heads.

    Attributes
    ----------
    points, places : ndarray, shape (landmarks, 3)
        In the head frame of the recording, and on the template, in metres.
    deviations : ndarray, shape (landmarks,)
        Standard deviation of each in metres.
    """

    points: Points
    places: Points
    deviations: Points

    def similar(self, points: Points) -> Points:
        """Rotate, scale and shift points as the landmarks say.

        The closed form of Horn, J. Opt. Soc. Am. A 4, 1987.
        """
        weights = self.deviations**-2
        here = np.average(self.points, axis=0, weights=weights)
        there = np.average(self.places, axis=0, weights=weights)
        one, other = self.points - here, self.places - there
        rotation, _ = Rotation.align_vectors(other, one, weights)
        scale = np.sqrt((weights @ other**2).sum() / (weights @ one**2).sum())
        similar: Points = scale * rotation.apply(points - here) + there
        return similar


@functools.lru_cache(maxsize=1)
def template_skin() -> trimesh.Trimesh:
    """Return the template's head surface, in metres, surface RAS."""
    return shipped_surface("fsaverage-head.fif")


def fit_to_scalp(electrodes: Points, landmarks: Landmarks | None = None) -> Points:
    """Return where electrodes lie on the template, most probably.

    Parameters
    ----------
    electrodes : ndarray, shape (electrodes, 3)
        Metres, MNE's head frame of the recording.
    landmarks : Landmarks, optional
        Default: the head's frame is that of the template, but for small differences.

    Returns
    -------
    ndarray, shape (electrodes, 3)
        Metres, surface RAS of the template: near the skin, not on it.
    """
    if landmarks is None:
        start: Points = apply_trans(head_to_mri()["trans"], electrodes)
        known = places = np.zeros((0, 3))
        trust = np.zeros((0, 1))
    else:
        start, known = landmarks.similar(electrodes), landmarks.similar(landmarks.points)
        places, trust = landmarks.places, 1 / landmarks.deviations[:, None]
    centre = start.mean(axis=0)
    weight = np.sqrt(min(1.0, INDEPENDENT / len(start))) / SKIN

    def moved(x: Points, points: Points) -> Points:
        turn = Rotation.from_rotvec(x[:3])
        there: Points = centre + x[3:6] + turn.apply(np.exp(x[6:]) * (points - centre))
        return there

    def deviations(x: Points, nearest: Points, normals: Points) -> Points:
        size = x[6:].mean()
        return np.concatenate(
            [
                weight * ((moved(x, start) - nearest) * normals).sum(axis=1),
                (trust * (moved(x, known) - places)).ravel(),
                x[:3] / TURN,
                x[3:6] / SHIFT,
                (x[6:] - size) / SHAPE,
                [size / SIZE],
            ]
        )

    x = np.zeros(9)
    here = moved(x, start)
    for _ in range(PASSES):
        # Distances from the planes that touch the skin where the electrodes are nearest to it.
        nearest, _, face = closest_point(template_skin(), here)
        planes = nearest, template_skin().face_normals[face]
        x = least_squares(deviations, x, loss="soft_l1", f_scale=OUTLIER, args=planes).x
        before, here = here, moved(x, start)
        if np.abs(here - before).max() < AT_REST:
            break
    return here
