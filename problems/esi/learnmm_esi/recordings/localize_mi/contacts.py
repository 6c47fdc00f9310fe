"""Where a run was stimulated: between which two contacts, and on which side."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from learnmm_esi.recordings.localize_mi.files import RunFiles
from learnmm_esi.recordings.localize_mi.tables import number, read_json, read_table

__all__ = ["Site", "read_site"]

UNITS = {"m": 1.0, "cm": 1e-2, "mm": 1e-3}
METRES = 1.0  # a coordinate beyond it is no place in a head, so it counts millimetres
APART = (0.001, 0.03)  # metres; contacts of a shaft are 3.5 mm apart, from middle to middle
MIDLINE = 0.02  # metres; contacts farther than that on the other side have names of another custom
_PAIR = re.compile(r"([A-Za-z]+['’´`]?)(\d+)\s*-\s*([A-Za-z]+['’´`]?)?(\d+)")
_SHOWN = 8


@dataclass(frozen=True, eq=False)
class Site:
    """A place of stimulation.

    Attributes
    ----------
    contacts : str
        As ``Q'8-9``.
    position : ndarray, shape (3,)
        Midpoint of the two contacts in metres, surface RAS.
    left : bool
        Whether it lies in the left hemisphere.
    """

    contacts: str
    position: NDArray[np.float64]
    left: bool


def read_site(files: RunFiles) -> Site:
    """Read which contacts a run was stimulated through, and where they are.

    Parameters
    ----------
    files : RunFiles
        ``Description`` of ``_epochs.json``, then the texts of ``_epochs.tsv`` and of
        ``_events.tsv`` are searched for a pair as "Q'8-9" or "Q'8-Q'9". Coordinates have the unit
        of ``_coordsystem.json``; if that says none, they are millimetres where one is larger than
        1, else metres. A column ``hemisphere`` says L or R; without it, names with an apostrophe
        are on the left, as in the data set.

    Returns
    -------
    Site

    Raises
    ------
    ValueError
        If no pair is named, a contact is not in the table, its coordinates are no numbers, the
        unit is unknown, the two are no neighbours, or they lie on the other side than they say.
    """
    rows = {_plain(row["name"]): row for row in read_table(files.contacts, ("name", *"xyz"))}
    texts = list(_texts(files))
    pairs = [_contacts(match) for text in texts for match in _PAIR.finditer(text)]
    if not pairs:
        raise ValueError(
            f"{files.name}: nothing says which contacts were stimulated: expected a pair as Q'8-9 "
            f"in the Description of {files.epochs.stem}.json or in a table beside it, got "
            f"{', '.join(map(repr, texts[:3])) or 'no text'}"
        )
    known = [pair for pair in pairs if all(name in rows for name in pair)]
    if not known:
        raise ValueError(
            f"{files.name}: {files.contacts} has no contacts {' and '.join(pairs[0])}; it has "
            f"{', '.join(list(rows)[:_SHOWN])}{', ...' if len(rows) > _SHOWN else ''}"
        )
    first, second = known[0]
    places = np.array(
        [[number(rows[name][axis], name, files.contacts) for axis in "xyz"] for name in known[0]]
    )
    places *= _unit(files, places)
    left = _left(rows[first], first)
    _check_places(files, places, left, f"{first} and {second} of {files.contacts}")
    return Site(f"{first}-{re.sub(r'^[^0-9]+', '', second)}", places.mean(axis=0), left)


def _check_places(files: RunFiles, places: NDArray[np.float64], left: bool, contacts: str) -> None:
    """Refuse contacts that cannot be neighbours, or not on the side that they are said to be."""
    apart = float(np.linalg.norm(places[0] - places[1]))
    if not APART[0] <= apart <= APART[1]:
        raise ValueError(
            f"{files.name}: contacts {contacts} lie {1e3 * apart:.3g} mm apart, "
            f"{1e3 * APART[0]:g} to {1e3 * APART[1]:g} mm are expected: their unit is another than "
            "iEEGCoordinateUnits says"
        )
    x = float(places[:, 0].mean())
    if (x > MIDLINE) if left else (x < -MIDLINE):
        raise ValueError(
            f"{files.name}: contacts {contacts} lie at x = {1e3 * x:.0f} mm, but "
            f"{'an apostrophe or L' if left else 'no apostrophe, or R,'} says "
            f"{'left' if left else 'right'}: give the table a column hemisphere with L and R"
        )


def _texts(files: RunFiles) -> Iterable[str]:
    description = read_json(files.metadata).get("Description")
    if isinstance(description, str):
        yield description
    for path in (files.epochs_table, files.events):
        if path is not None:
            rows = read_table(path, ())
            yield from dict.fromkeys(value for row in rows for value in row.values())


def _contacts(match: re.Match[str]) -> tuple[str, str]:
    shaft, one, other_shaft, other = match.groups()
    return _plain(shaft + one), _plain((other_shaft or shaft) + other)


def _plain(name: str) -> str:
    return re.sub("[’´`]", "'", name.strip())


def _unit(files: RunFiles, places: NDArray[np.float64]) -> float:
    named = read_json(files.units).get("iEEGCoordinateUnits", "n/a")
    if named == "n/a":
        return UNITS["mm"] if np.abs(places).max() > METRES else UNITS["m"]
    if named not in UNITS:
        raise ValueError(
            f"{files.units}: iEEGCoordinateUnits must be one of {', '.join(UNITS)}, got {named!r}"
        )
    return UNITS[named]


def _left(row: dict[str, str], name: str) -> bool:
    side = row.get("hemisphere", "").strip().upper()
    return side == "L" if side in ("L", "R") else "'" in name
