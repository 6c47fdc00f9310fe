"""What recordings call an electrode, and which sensor of a head model that is."""

from __future__ import annotations

import re
from collections.abc import Sequence

__all__ = ["biosemi_letters", "bipolar_pairs", "references_of", "sensor_rows"]

#: Other names of places: the older 10-20 ones, and the cerebellar electrodes of Neuroscan's caps,
#: which lie below PO7 and PO8, within a centimetre of where the 10-10 system has PO9 and PO10.
ALIASES = {"t3": "t7", "t4": "t8", "t5": "p7", "t6": "p8", "cb1": "po9", "cb2": "po10"}
#: References that amplifiers and archives write behind an electrode: "Fp1-Ref", "T3-LE".
REFERENCES: tuple[str, ...]
REFERENCES = ("ref", "le", "re", "lm", "a1", "a2", "m1", "m2", "a1a2", "a1+a2", "m1m2", "m1+m2")
REFERENCES += ("avg", "av", "ave", "avr", "ar", "aa", "car", "common", "gnd", "linked")
SAME = {"re": "ref", "a1+a2": "a1a2", "le": "a1a2", "m1+m2": "m1m2", "lm": "m1m2"}
SAME |= dict.fromkeys(("av", "ave", "avr", "ar", "aa", "car"), "avg")

_PREFIX = re.compile(r"^(?:eeg|pol)[\s_:.\-]*(?=[a-z])")
_SPLIT = re.compile(r"\s*[\-\u2013_/]\s*|\s+")
_BIOSEMI = re.compile(r"[A-H]\d{1,2}")


def sensor_rows(names: Sequence[str], sensors: Sequence[str]) -> list[int]:
    """Find the sensor of every name, or -1.

    The exact name first; then without regard to case and spaces; then by `ALIASES`; then without
    what archives write around it: "EEG Fp1-Ref", "EEG T3-LE", "Fc5.". Names of BioSemi's caps are
    no names of the 10-20 system, although some read the same.

    Parameters
    ----------
    names : sequence of str
        Of channels.
    sensors : sequence of str
        Of the head model.

    Returns
    -------
    list of int
        Row of each name.
    """
    exact = {name: row for row, name in enumerate(sensors)}
    folded: dict[str, int] = {}
    aliased: dict[str, int] = {}
    for row, name in enumerate(sensors):
        plain = name.strip().casefold()
        folded.setdefault(plain, row)
        aliased.setdefault(ALIASES.get(plain, plain), row)
    foreign = biosemi_letters(names, sensors)
    common = _common_reference(names)

    def row_of(name: str) -> int:
        if name in foreign:
            return -1
        if name in exact:
            return exact[name]
        for plain in (name.strip().casefold(), _cleaned(name, common)):
            for known, key in ((folded, plain), (aliased, ALIASES.get(plain, plain))):
                if key in known:
                    return known[key]
        return -1

    return [row_of(name) for name in names]


def biosemi_letters(names: Sequence[str], sensors: Sequence[str]) -> set[str]:
    """Return the names of a BioSemi cap (A1 to H32), if these are such and the sensors are not.

    A1, A2, C1 to C6 and F1 to F10 mean other places there than in the 10-20 system. No electrode of
    that system has a name like B1, D1, E1, G1 or H1, which tells the two apart.
    """

    def of_a_cap(some: Sequence[str]) -> bool:
        labels = [name for name in some if _BIOSEMI.fullmatch(name)]
        return 2 * len(labels) > len(some) and any(name[0] in "BDEGH" for name in labels)

    if not of_a_cap(names) or of_a_cap(sensors):
        return set()
    return {name for name in names if _BIOSEMI.fullmatch(name)}


def bipolar_pairs(names: Sequence[str], sensors: Sequence[str]) -> list[str]:
    """Return the names that are differences of two sensors, such as "Fp1-F7"."""
    common = _common_reference(names)
    known = {ALIASES.get(s.strip().casefold(), s.strip().casefold()) for s in sensors}
    found = []
    for name in names:
        head, tail = _parts(name)
        pair = {ALIASES.get(part, part) for part in (head, tail)}
        if tail and tail not in (*REFERENCES, common) and pair <= known:
            found.append(name)
    return found


def references_of(names: Sequence[str]) -> list[str]:
    """Return the different references that the names tell, lower case and sorted."""
    tails = {_parts(name)[1] for name in names} & set(REFERENCES)
    return sorted({SAME.get(tail, tail) for tail in tails})


def _cleaned(name: str, common: str) -> str:
    head, tail = _parts(name)
    if not tail:
        return head
    return head if tail in (*REFERENCES, common) else name.strip().casefold()


def _parts(name: str) -> tuple[str, str]:
    """Electrode and what is written behind it, lower case, without a prefix and dots."""
    plain = _PREFIX.sub("", name.strip().casefold()).strip(" .")
    head, *rest = _SPLIT.split(plain, maxsplit=1)
    return head.strip("."), rest[0].strip(" .") if rest else ""


def _common_reference(names: Sequence[str]) -> str:
    """Return what stands behind every name, if it is the same: the electrode of reference."""
    tails = [_parts(name)[1] for name in names]
    return tails[0] if len(tails) > 1 and len(set(tails)) == 1 else ""
