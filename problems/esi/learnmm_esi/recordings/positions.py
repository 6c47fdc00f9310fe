"""Compare where a recording's electrodes were with where the head model has those of their names.

The lead field is that of the head model's electrodes, so positions are compared and never used.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import mne
import numpy as np
from numpy.typing import NDArray

from learnmm_esi.recordings.channels import ChannelMatch

__all__ = ["PositionFit", "check_positions", "electrode_places", "fit_positions"]

FEWEST = 4  # electrodes; three lie in a plane and fit anything
# Of all montages that MNE ships, none lies farther from the 10-20 one than 15 mm (root mean square)
# and 30 mm (one electrode), turns by more than 9 degrees or has another size by more than 15 %;
# names at wrong places are 60 mm off and more.
FARTHEST = 0.04  # metres, a little more than from one electrode of the 10-10 system to the next
LARGEST_ANGLE = 20.0  # degrees
LARGEST_SHIFT = 0.06  # metres
SCALES = (0.7, 1.4)


@dataclass(frozen=True, eq=False)
class PositionFit:
    """The similarity transform that brings electrodes nearest to others of the same names.

    Attributes
    ----------
    angle : float
        Of the rotation, degrees.
    shift : float
        Between the centres, metres.
    scale : float
        Size of the others relative to these.
    residuals : ndarray, shape (electrodes,)
        What is left, metres.
    """

    angle: float
    shift: float
    scale: float
    residuals: NDArray[np.float64]


def electrode_places(info: mne.Info) -> NDArray[np.float64]:
    """Return positions of all channels, ``(channels, 3)`` in metres; NaN where there is none."""
    places = np.array([channel["loc"][:3] for channel in info["chs"]], dtype=np.float64)
    places = places.reshape(-1, 3)
    places[~np.isfinite(places).all(axis=1) | ~places.any(axis=1)] = np.nan
    return places


def fit_positions(places: NDArray[np.float64], others: NDArray[np.float64]) -> PositionFit:
    """Fit a rotation, a shift and a scale (Horn, J. Opt. Soc. Am. A 4, 1987; Eq. 40 for the scale).

    Parameters
    ----------
    places, others : ndarray, shape (electrodes, 3)
        In metres, not all at one place.
    """
    one, other = places - places.mean(axis=0), others - others.mean(axis=0)
    scale = float(np.linalg.norm(other) / np.linalg.norm(one))
    left, _, right = np.linalg.svd(other.T @ one)
    turn = np.array([1.0, 1.0, np.sign(np.linalg.det(left @ right))])
    rotation = (left * turn) @ right
    cosine = np.clip((np.trace(rotation) - 1) / 2, -1.0, 1.0)
    return PositionFit(
        angle=float(np.degrees(np.arccos(cosine))),
        shift=float(np.linalg.norm(places.mean(axis=0) - others.mean(axis=0))),
        scale=scale,
        residuals=np.linalg.norm(scale * one @ rotation.T - other, axis=1),
    )


def check_positions(info: mne.Info, match: ChannelMatch, model_info: mne.Info) -> None:
    """Refuse a recording whose electrodes lie elsewhere than their names say.

    Parameters
    ----------
    info : mne.Info
        Of the recording. Without electrode positions nothing is checked.
    match : ChannelMatch
        Its channels in the head model.
    model_info : mne.Info
        Of the head model, in the order of its lead field.

    Raises
    ------
    ValueError
        If names and positions disagree: after the best rotation, shift and scale, positions are
        farther than `FARTHEST` from those of the head model (root mean square).

    Warns
    -----
    RuntimeWarning
        If single electrodes are that far off, or all are turned, shifted or scaled.
    """
    places = electrode_places(info)[match.picks]
    others = electrode_places(model_info)[match.rows]
    known: NDArray[np.bool_] = np.all(np.isfinite(places) & np.isfinite(others), axis=1)
    if known.sum() < FEWEST or not np.ptp(places[known], axis=0).any():
        return
    fit = fit_positions(places[known], others[known])
    names = [name for name, kept in zip(match.names, known, strict=True) if kept]
    order = np.argsort(-fit.residuals)
    worst = ", ".join(f"{names[k]} by {1e3 * fit.residuals[k]:.0f} mm" for k in order[:8])
    size = float(np.sqrt(np.mean(fit.residuals**2)))
    advice = "The head model's positions are used: check the montage of the recording"
    if size > FARTHEST:
        raise ValueError(
            f"names and positions of the electrodes disagree: even after rotation, shift and "
            f"scaling, {len(names)} of them lie {1e3 * size:.0f} mm (root mean square) from where "
            f"the head model has the same names ({worst}), and the distance of neighbours is "
            f"{1e3 * FARTHEST:.0f} mm. Give the channels their names in the head model with "
            "rename_channels; if the names are right and the positions wrong, remove the latter "
            "with set_montage(None)"
        )
    far = [f"{names[k]} by {1e3 * fit.residuals[k]:.0f} mm" for k in order]
    far = far[: int((fit.residuals > FARTHEST).sum())]
    if far:
        warnings.warn(
            f"{len(far)} of {len(names)} electrodes lie far from where the head model has the same "
            f"names: {', '.join(far[:8])}. If their names are wrong, rename them or mark them as "
            "bad",
            RuntimeWarning,
            stacklevel=2,
        )
    moved = [f"turned by {fit.angle:.0f} degrees"] if fit.angle > LARGEST_ANGLE else []
    if not SCALES[0] <= fit.scale <= SCALES[1]:
        moved.append(f"{1 / fit.scale:.3g} times as far apart")
    elif fit.shift > LARGEST_SHIFT:
        moved.append(f"shifted by {1e3 * fit.shift:.0f} mm")
    if moved:
        warnings.warn(
            f"the electrodes of the recording are {' and '.join(moved)} against the head model's. "
            f"{advice}",
            RuntimeWarning,
            stacklevel=2,
        )
