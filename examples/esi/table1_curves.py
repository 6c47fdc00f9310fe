"""How the methods of Table I learn: rates, and quality against recordings seen.

``table1.py`` calls it. The numbers are those of ``equal_training.py``: of validations on recordings
that no training saw, cut as for the training, of two patches the first.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib

matplotlib.use("agg")
import matplotlib.pyplot as plt
from table1_rows import markdown

METRICS = {"LE": "LE, mm", "AUC": "AUC × 100", "PSNR": "PSNR, dB"}
AT = (500, 1000, 2000, 4000, 8000, 16_000)  # recordings
TICKS = (100, 300, 1000, 3000, 10_000, 30_000)
COLORS = {
    "mm-net": "C0",
    "r-mm-net": "C1",
    "4dvarnet": "C2",
    "meta-curvature": "C3",
    "modgrad": "C4",
    "mm-net-a": "C5",
}
STYLES = {"learned": "-", "evidence": "-.", "sLORETA": "--", "noise": ":"}
CALLED = {"learned": "a learned start", "evidence": "the evidence"}
TOLD = """# How the methods learn

Every training of [Table I](table1.md) has the same {minutes:g} minutes of one core, validations
apart: `python examples/esi/equal_training.py --data erp nmm-two --minutes {minutes:g} --search 1
--samples 500 250 --far 32 12`, which goes on with what is not on record. How many recordings that
are depends on what a step costs, which is measured beforehand. LE, AUC and PSNR here are of 128
validation recordings (32 where recordings are whole), cut as those of the training, of two patches
the first: they compare within this page, and not with the table. The last column is what twice
the recordings bring to the PSNR, from a quarter of them to the last.

![Curves](table1-curves.png)

A learned start and its prior have seen recordings of their own before the first step, and so has
the prior of steps from the evidence. They are not counted here, and took six and three tenths of
the minutes.
"""
RATES = """
## Rates of learning

The lowest validation loss of a short training with each of three rates, from sLORETA; the best is
bold and serves every start. Losses of different methods do not compare.
"""


class Course(NamedTuple):
    """One training: what it is called, and what its validations said."""

    method: str
    start: str
    data: str
    told: dict[str, Any]

    def at(self, recordings: float) -> dict[str, float] | None:
        """The last validation after at most so many recordings, if it went on that far."""
        looks = self.told["validations"]
        if recordings > looks[-1]["recordings"]:
            return None
        before = [look for look in looks if look["recordings"] <= recordings]
        return before[-1] if before else None

    @property
    def doubling(self) -> float | None:
        """PSNR in dB that twice the recordings bring, from a quarter of them to the last."""
        last = self.told["validations"][-1]
        quarter = self.at(last["recordings"] / 4)
        if quarter is None:
            return None
        doublings = math.log2(last["recordings"] / quarter["recordings"])
        return (last["PSNR"] - quarter["PSNR"]) / doublings


def courses(folder: Path) -> list[Course]:
    """Those of a folder, methods in the order of `COLORS`."""
    found = [Course(*named, told) for named, told in _records(folder, "course")]
    order = list(COLORS)
    return sorted(found, key=lambda c: (c.data, order.index(c.method), list(STYLES).index(c.start)))


def _records(folder: Path, kind: str) -> Iterator[tuple[tuple[str, str, str], dict[str, Any]]]:
    """Method, start, data and content of every record of a kind."""
    for path in sorted(folder.glob(f"*-{kind}.json")):
        named = path.name.removesuffix(f"-{kind}.json")
        method = next(m for m in sorted(COLORS, key=len, reverse=True) if named.startswith(m + "-"))
        start, data = named.removeprefix(f"{method}-").split("-", 1)
        yield (method, start, data), json.loads(path.read_text(encoding="utf-8"))


def page(folder: Path, titles: dict[str, str], picture: Path) -> str:
    """The page on the trainings of a folder; its curves are drawn beside it."""
    found = courses(folder)
    rates = list(_records(folder, "rates"))
    lines = [TOLD.format(minutes=found[0].told["minutes"])]
    lines += sections(found, titles)
    lines += [RATES, _rates(rates)]
    draw(found, titles, picture)
    return "\n".join(lines)


def sections(found: list[Course], titles: dict[str, str]) -> list[str]:
    """A table for each data set: quality after so many recordings."""
    lines = []
    for data in dict.fromkeys(course.data for course in found):
        lines += [f"## {titles[data]}\n", _table([c for c in found if c.data == data]), ""]
    return lines


def _table(found: list[Course]) -> str:
    most = max(course.told["validations"][-1]["recordings"] for course in found)
    at = [number for number in AT if number <= most]
    seen = (*(f"after {n}" for n in at), "last", "a doubling, dB")
    header = ("method", "first iterate", "rate", "recordings", *seen)
    lines = []
    for course in found:
        last = course.told["validations"][-1]
        cells = [_cell(look) for look in (*map(course.at, at), last)]
        doubling = course.doubling
        cells.append("" if doubling is None else f"{round(doubling, 1) + 0.0:+.1f}")  # no -0.0
        rate, recordings = f"{course.told['rate']:g}", str(last["recordings"])
        lines.append([course.method, course.start, rate, recordings, *cells])
    return "LE / AUC / PSNR.\n\n" + markdown(header, lines)


def _cell(look: dict[str, float] | None) -> str:
    return "" if look is None else f"{look['LE']:.1f} / {look['AUC']:.1f} / {look['PSNR']:.1f}"


def _rates(found: list[tuple[tuple[str, str, str], dict[str, Any]]]) -> str:
    names = list(found[0][1]["losses"])
    lines = []
    for (method, _, data), told in found:
        losses = told["losses"]
        best = min(losses, key=losses.__getitem__)
        cells = [f"**{losses[n]:.3f}**" if n == best else f"{losses[n]:.3f}" for n in names]
        lines.append([method, data, f"{told['minutes']:g}", str(told["steps"]), *cells])
    return markdown(("method", "data", "minutes each", "steps each", *names), lines)


def draw(found: list[Course], titles: dict[str, str], path: Path) -> None:
    """Draw quality against recordings seen."""
    sets = list(dict.fromkeys(course.data for course in found))
    figure, axes = plt.subplots(
        len(sets), 3, figsize=(13, 3.6 * len(sets)), layout="constrained", squeeze=False
    )
    for row, data in zip(axes, sets, strict=True):
        for axis, (name, label) in zip(row, METRICS.items(), strict=True):
            for course in found:
                if course.data != data:
                    continue
                looks = [look for look in course.told["validations"] if math.isfinite(look[name])]
                axis.plot(
                    [look["recordings"] for look in looks],
                    [look[name] for look in looks],
                    color=COLORS[course.method],
                    linestyle=STYLES[course.start],
                    label=f"{course.method}, from {CALLED.get(course.start, course.start)}",
                )
            axis.set(xscale="log", xlabel="recordings seen", ylabel=label)
            axis.set_xticks(TICKS, [str(tick) for tick in TICKS])
            axis.minorticks_off()
        row[1].set_title(titles[data])
        row[2].legend(frameon=False, fontsize=7, bbox_to_anchor=(1.0, 1.0), loc="upper left")
    figure.savefig(path, dpi=110)
    plt.close(figure)
