"""Where the electrodes of a recording lie on the template's head.

Measured positions are fitted to its scalp; those of a template montage, and mere names, stand for
the places that the template has for these names.
"""

from __future__ import annotations

import functools
import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import mne
import numpy as np
from mne.coreg import get_mni_fiducials
from mne.utils import logger
from numpy.typing import NDArray
from scipy.spatial import KDTree
from trimesh.proximity import closest_point

from learnmm_esi.recordings.channels import check_count, good_eeg, listed, why_unknown
from learnmm_esi.recordings.montages import (
    cap_of,
    fiducials,
    head_frame,
    is_template,
    named_places,
    system_names,
)
from learnmm_esi.recordings.positions import FARTHEST, FEWEST, electrode_places
from learnmm_esi.recordings.scalp_fit import Landmarks, Points, fit_to_scalp, template_skin
from learnmm_esi.recordings.settings import OnMissing

__all__ = ["Placement", "place_electrodes"]

HEAD = 0.09  # metres: about how far electrodes are from their middle
RADII = (0.02, 0.2)  # metres: of a few over one area of an infant, and of no head any more
FLAT = 0.03  # extent across the plane of a drawing against that within it
NEAREST = 1e-3  # metres between two electrodes
FIDUCIAL = 5e-3  # metres, standard deviation of pointing at one
NAME = 10e-3  # metres, of where an electrode of the 10-05 system lies in two heads, ...
CAP = 4  # ... of which this many count as independent: caps are shifted as a whole
ADVICE = (
    "Give the channels their positions with recording.set_montage(...): measured ones, or the name "
    "of a montage of mne.channels.get_builtin_montages()"
)

UNCHECKED = (
    "neither landmarks nor names tell which way the electrodes are turned: they are taken to be in "
    "MNE-Python's head frame, x to the right ear and y to the nose. Give nasion and both "
    "preauricular points to mne.channels.make_dig_montage, or look at recording.plot_sensors('3d')"
)


@dataclass(frozen=True, eq=False)
class Placement:
    """Electrodes on the template.

    Attributes
    ----------
    names : tuple of str
        What the recording calls them, in its order.
    points : ndarray, shape (electrodes, 3)
        Metres, surface RAS; on the skin.
    """

    names: tuple[str, ...]
    points: Points


def place_electrodes(info: mne.Info, on_missing: OnMissing = "raise") -> Placement:
    """Find where the good EEG channels of a recording lie on the template.

    Parameters
    ----------
    info : mne.Info
        Of the recording. Positions are used if at least four channels have some.
    on_missing : {"raise", "warn", "ignore"}, default "raise"
        What to do about good EEG channels whose place is not known: an error, or leave them out
        with or without a warning.

    Returns
    -------
    Placement

    Raises
    ------
    ValueError
        If places are known of no channel, or of too few; names are those of several caps;
        positions are not in metres, flat, far from the scalp, those of other names or the same
        for two channels.

    Warns
    -----
    RuntimeWarning
        If single electrodes lie far from where their names say.
    """
    picks = good_eeg(info)
    names = tuple(info["ch_names"][i] for i in picks)
    places = electrode_places(info)[picks]
    known: NDArray[np.bool_] = np.all(np.isfinite(places), axis=1)
    measured = bool(known.sum() >= FEWEST)
    eeg = mne.pick_types(info, meg=False, eeg=True, exclude=())
    every = tuple(info["ch_names"][i] for i in eeg)
    if measured:
        _check_shape(places[known])
        pointed_at = fiducials(info)
        if (pointed_at is None or _invented(pointed_at)) and not _are_known(names, every):
            warnings.warn(UNCHECKED, RuntimeWarning, stacklevel=2)
        points = _measured(names, places.tobytes(), _bytes(pointed_at))
        _check_names(names, points)
    else:
        points = _named(names, every)
    lacking = [name for name, point in zip(names, points, strict=True) if np.isnan(point[0])]
    if len(lacking) == len(names):
        why = why_unknown(names, names, system_names())
        raise ValueError(
            "where the electrodes lie is not known: the channels have no positions, and their "
            f"names ({listed(names)}) are those of no montage{why}. {ADVICE}"
        )
    if lacking:
        _tell_lacking(names, lacking, measured, on_missing)
    kept: NDArray[np.bool_] = np.all(np.isfinite(points), axis=1)
    names = tuple(name for name, keep in zip(names, kept, strict=True) if keep)
    placed = _on_skin(names, points[kept])
    check_count(names, info, "whose place is known")
    return Placement(names, placed)


@functools.lru_cache(maxsize=32)  # recordings of a study share their electrodes
def _measured(names: tuple[str, ...], places: bytes, pointed_at: bytes) -> Points:
    """Place electrodes by their positions in the head frame; NaN where there is none."""
    there = np.frombuffer(places).reshape(-1, 3)
    known: NDArray[np.bool_] = np.all(np.isfinite(there), axis=1)
    labels = [name for name, keep in zip(names, known, strict=True) if keep]
    system = named_places(labels)
    points = np.full(there.shape, np.nan)
    if np.isfinite(system).all() and is_template(labels, there[known]):
        logger.info("The positions are those of a template montage: electrodes placed by names")
        points[known] = system
    else:
        corners = np.frombuffer(pointed_at).reshape(-1, 3)
        points[known] = fit_to_scalp(there[known], _landmarks(there[known], system, corners))
    return points


@functools.lru_cache(maxsize=32)
def _named(names: tuple[str, ...], every: tuple[str, ...]) -> Points:
    """Place electrodes by their names, those of bad channels among `every`."""
    cap = cap_of(every)
    if cap is None:
        return named_places(names)
    kind, rows = cap
    logger.info("Electrodes placed by their names in %s", kind)
    labels, places, pointed_at = head_frame(kind)
    points = _measured(tuple(labels), places.tobytes(), _bytes(pointed_at))
    row_of = dict(zip(every, rows, strict=True))
    found = np.array([row_of[name] for name in names])
    placed: Points = np.where(found[:, None] >= 0, points[found], np.nan)
    return placed


def _landmarks(places: Points, system: Points, pointed_at: Points) -> Landmarks | None:
    """Fiducials, if any, and electrodes whose place the 10-05 system knows."""
    named = np.isfinite(system).all(axis=1)
    here, there = [places[named]], [system[named]]
    deviations = [np.full(named.sum(), NAME * np.sqrt(max(1.0, named.sum() / CAP)))]
    if len(pointed_at):
        here.append(pointed_at)
        there.append(np.array([point["r"] for point in get_mni_fiducials("fsaverage")]))
        deviations.append(np.full(3, FIDUCIAL))
    elif named.sum() < FEWEST:
        return None
    return Landmarks(np.concatenate(here), np.concatenate(there), np.concatenate(deviations))


def _are_known(names: tuple[str, ...], every: tuple[str, ...]) -> bool:
    """Whether some names are of the 10-05 system, or all are those of a cap."""
    named = np.isfinite(named_places(names)).all(axis=1).sum()
    return bool(named >= FEWEST) or cap_of(every) is not None


def _invented(corners: Points) -> bool:
    """Whether landmarks are those that MNE-Python makes up of a montage that has none."""
    axes = corners[2, 0] * np.array([[-1.0, 0, 0], [0, 1.0, 0], [1.0, 0, 0]])
    return np.allclose(corners, axes, rtol=0, atol=1e-7)


def _bytes(points: Points | None) -> bytes:
    return b"" if points is None else points.tobytes()


def _check_shape(places: Points) -> None:
    """Refuse positions that are no head's."""
    middle = places - places.mean(axis=0)
    radius = float(np.median(np.linalg.norm(middle, axis=1)))
    if not RADII[0] <= radius <= RADII[1]:
        power = round(np.log10(max(radius, 1e-12) / HEAD))
        unit = {3: "millimetres", 2: "centimetres"}.get(power, "another unit")
        raise ValueError(
            f"the electrodes lie {radius:.3g} m from their middle, where those of a head lie "
            f"{HEAD:g} m: their positions are probably in {unit}, and MNE-Python expects metres"
        )
    extent = np.linalg.svd(middle, compute_uv=False)
    if extent[2] < FLAT * extent[0]:
        raise ValueError(
            "the electrodes lie in a plane, as in a drawing of the head seen from above, and not "
            f"on one. {ADVICE}"
        )


def _check_names(names: Sequence[str], points: Points) -> None:
    """Refuse electrodes that lie where others of the 10-05 system belong."""
    apart = np.linalg.norm(points - named_places(names), axis=1)
    known = np.flatnonzero(np.isfinite(apart))
    if len(known) < FEWEST:
        return
    order = known[np.argsort(-apart[known])]
    told = [f"{names[k]} by {1e3 * apart[k]:.0f} mm" for k in order]
    size = float(np.sqrt(np.mean(apart[known] ** 2)))
    if size > FARTHEST:
        raise ValueError(
            f"names and positions of the electrodes disagree: fitted to the template's scalp, "
            f"{len(known)} of them lie {1e3 * size:.0f} mm (root mean square) from where it has "
            f"the same names ({', '.join(told[:8])}). Correct the names with rename_channels; if "
            "these are right and the positions wrong, remove the latter with set_montage(None)"
        )
    far = int((apart[known] > FARTHEST).sum())
    if far:
        warnings.warn(
            f"{far} of {len(known)} electrodes lie far from where the template has the same "
            f"names: {', '.join(told[:far][:8])}. If names or positions are wrong, correct them "
            "or mark the channels as bad",
            RuntimeWarning,
            stacklevel=3,
        )


def _tell_lacking(
    names: Sequence[str], lacking: Sequence[str], measured: bool, on_missing: OnMissing
) -> None:
    what = "have no position" if measured else "have names of no known place"
    why = "" if measured else why_unknown(names, lacking, system_names())
    message = f"{len(lacking)} of {len(names)} good EEG channels {what}: {listed(lacking)}{why}"
    if on_missing == "raise":
        raise ValueError(
            f"{message}. {ADVICE}, mark these as bad, give them another type with "
            "set_channel_types, or leave them out with on_missing='warn'"
        )
    if on_missing == "warn":
        warnings.warn(f"{message}: left out", RuntimeWarning, stacklevel=3)


def _on_skin(names: Sequence[str], points: Points) -> Points:
    """Move electrodes to the nearest point of the skin, which may not be far nor shared."""
    placed, distance, _ = closest_point(template_skin(), points)
    told = [
        f"{name} by {1e3 * far:.0f} mm"
        for name, far in zip(names, distance, strict=True)
        if far > FARTHEST
    ]
    if told:
        raise ValueError(
            f"electrodes lie off the scalp: {listed(told)}, even where all fit it best. Correct "
            "their positions, or mark the channels as bad"
        )
    for one, other in KDTree(placed).query_pairs(NEAREST):
        raise ValueError(
            f"channels {names[one]!r} and {names[other]!r} lie at the same place: drop one of "
            "them or mark it as bad"
        )
    skin: Points = np.asarray(placed, dtype=np.float64)
    return skin
