"""What the names of electrodes say about their places: those of the 10-05 system, and of caps."""

from __future__ import annotations

import functools
from collections.abc import Sequence

import mne
import numpy as np
from mne.io.constants import FIFF
from mne.transforms import apply_trans

from learnmm_esi.head.electrodes import ALIASES, head_to_mri, montage_info
from learnmm_esi.recordings.channel_names import sensor_rows
from learnmm_esi.recordings.positions import FEWEST, electrode_places, fit_positions
from learnmm_esi.recordings.scalp_fit import Points

__all__ = ["cap_of", "fiducials", "head_frame", "is_template", "named_places", "system_names"]

# The first that this version of MNE has: on fsaverage itself since 1.13, or on Colin27, whose
# electrodes lie 10 mm from there; then names that only the other has, such as A1 and M1.
SYSTEM = (("fsaverage_1005", "standard_1005"), ("colin27_1020", "standard_1020"))
#: Caps that number their electrodes; those of one maker use the same names for other places.
CAPS: tuple[str, ...]
CAPS = ("biosemi128", "biosemi160", "biosemi256", "GSN-HydroCel-32", "GSN-HydroCel-64_1.0")
CAPS += ("GSN-HydroCel-65_1.0", "GSN-HydroCel-128", "GSN-HydroCel-129", "GSN-HydroCel-256")
CAPS += ("GSN-HydroCel-257",)
COVERED = 0.9  # share of a cap's electrodes from which on a recording is one of it
SAME = 1e-3  # metres: what single precision and whole degrees leave of a template's positions
SMALLEST = 1e-3  # square metres; the triangle of the template's fiducials has nine times that


def fiducials(info: mne.Info) -> Points | None:
    """Return LPA, nasion and RPA in the head frame, ``(3, 3)`` in metres, if all are known."""
    found = {
        point["ident"]: point["r"]
        for point in info["dig"] or ()
        if point["kind"] == FIFF.FIFFV_POINT_CARDINAL
        and point["coord_frame"] == FIFF.FIFFV_COORD_HEAD
    }
    if len(found) != 3:
        return None
    order = FIFF.FIFFV_POINT_LPA, FIFF.FIFFV_POINT_NASION, FIFF.FIFFV_POINT_RPA
    points = np.array([found[ident] for ident in order], dtype=np.float64)
    area = np.linalg.norm(np.cross(points[1] - points[0], points[2] - points[0])) / 2
    return points if area > SMALLEST else None


@functools.cache
def head_frame(kind: str) -> tuple[list[str], Points, Points | None]:
    """Return names, places in MNE's head frame and fiducials of a montage that MNE ships."""
    info = montage_info(kind)
    return info["ch_names"], electrode_places(info), fiducials(info)


def named_places(names: Sequence[str]) -> Points:
    """Return where the template has electrodes of the 10-05 system.

    Parameters
    ----------
    names : sequence of str
        As archives write them, see `sensor_rows`.

    Returns
    -------
    ndarray, shape (names, 3)
        Metres, surface RAS; NaN of other names.
    """
    known, places = _system()
    rows = np.array(sensor_rows(names, known), dtype=int)
    found: Points = np.where(rows[:, None] >= 0, places[rows], np.nan)
    return found


def system_names() -> list[str]:
    """Return the names of the 10-05 system."""
    return _system()[0]


def cap_of(names: Sequence[str]) -> tuple[str, list[int]] | None:
    """Find the cap that numbers its electrodes so.

    Parameters
    ----------
    names : sequence of str
        All of a recording, of bad channels too: how many there are tells one cap from another.

    Returns
    -------
    kind : str
        MNE's name of the montage.
    rows : list of int
        Electrode of each name, or -1.
    None
        If the 10-05 system has as many of the names.

    Raises
    ------
    ValueError
        If caps have more of the names than the system, and the recording has not nine in ten
        electrodes of any of them.
    """
    found = []
    for kind in CAPS:
        labels = head_frame(kind)[0]
        rows = sensor_rows(_with_vertex(names, labels), labels)
        count = len(set(rows) - {-1})
        found.append((count, count / len(labels), kind, rows))
    count, share, kind, rows = max(found, key=lambda one: one[:2])
    if count < FEWEST or count <= np.isfinite(named_places(names)).all(axis=1).sum():
        return None
    if share < COVERED:
        told = ", ".join(f"{one[0]} of {one[2]} ({one[1]:.0%} of it)" for one in found if one[0])
        raise ValueError(
            f"the channels have names of several caps, which have them at different places: "
            f"{told}. Say which it is with recording.set_montage({kind!r}), or give the channels "
            "their measured positions with it"
        )
    return kind, rows


def is_template(names: Sequence[str], places: Points) -> bool:
    """Whether places are those of a montage that MNE ships, which say no more than the names.

    Parameters
    ----------
    names : sequence of str
    places : ndarray, shape (names, 3)
        Metres, in any frame and size.
    """
    for labels, theirs in _templates():
        rows = np.array(sensor_rows(names, labels), dtype=int)
        if (rows >= 0).all() and fit_positions(places, theirs[rows]).residuals.max() < SAME:
            return True
    return False


@functools.lru_cache(maxsize=1)
def _system() -> tuple[list[str], Points]:
    """Names and places of the 10-05 system on the template."""
    names: list[str] = []
    places: list[Points] = []
    for kinds in SYSTEM:
        for kind in kinds:
            try:
                labels, there, _ = head_frame(kind)
            except ValueError:
                continue
            new = [k for k, label in enumerate(labels) if label not in (*names, *ALIASES)]
            names += [labels[k] for k in new]
            places.append(apply_trans(head_to_mri()["trans"], there[new]))
            break
    return names, np.concatenate(places)


@functools.lru_cache(maxsize=1)
def _templates() -> list[tuple[list[str], Points]]:
    """Names and places of the electrodes of all montages that number none."""
    kinds = [kind for kind in mne.channels.get_builtin_montages() if "artinis" not in kind]
    return [head_frame(kind)[:2] for kind in kinds if kind not in CAPS]


def _with_vertex(names: Sequence[str], labels: Sequence[str]) -> list[str]:
    """Call the reference of a Geodesic net Cz: amplifiers write VREF, or the next number."""
    if "Cz" not in labels:
        return list(names)
    vertex = {"vref", f"e{len(labels)}"}
    return ["Cz" if name.strip().casefold() in vertex else name for name in names]
