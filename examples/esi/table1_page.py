"""Table I for people: a table for each data set, the paper's numbers beside ours."""

from __future__ import annotations

from typing import Any, NamedTuple

from evaluations import horizon, minutes
from paper import TABLE_I, PaperRow
from table1_rows import markdown

LIKE = {"nmm-two": "nmm"}
"""Which data set of the paper another configuration stands for."""

TITLES = {
    "erp": "Event-related potentials",
    "nmm": "Neural masses, one patch a recording",
    "nmm-two": "Neural masses, two patches a recording",
}
LEAST = {"LE": True, "AUC": False, "PSNR": False, "nMSE": True, "TE": True}
"""Metrics in the order of the columns, and whether the least is best."""

HEADER = (
    "trained on",
    "method",
    "first iterate",
    *(f"{name}, {whose}" for name in LEAST for whose in ("paper", "ours")),
    "minutes",
)


class Found(NamedTuple):
    """A row of ours: means and standard errors by metric, in the units of the table."""

    trained_on: str
    method: str
    start: str
    minutes: str
    means: dict[str, float]
    errors: dict[str, float]

    @classmethod
    def of(cls, content: dict[str, Any]) -> Found:
        """From what ``learnmm-esi evaluate`` wrote, after the steps that were trained for."""
        row = content["steps"][horizon(content)]
        means = {
            "LE": row["localization_error"],
            "AUC": 100 * row["auc"],
            "PSNR": row["psnr"],
            "nMSE": row["nmse"],
            "TE": row["time_error"],
        }
        errors = {
            "LE": row["localization_error_error"],
            "AUC": 100 * row["auc_error"],
            "PSNR": row["psnr_error"],
        }
        spent = f"{minutes(content['training']):g}"
        named = content["trained_on"], content["method"], content["start"]
        return cls(*named, spent, means, errors)

    @classmethod
    def classical(cls, row: dict[str, Any], columns: list[str]) -> Found:
        """From a row of the calibration."""
        means = {name: row["mean"][columns.index(name)] for name in LEAST}
        errors = {name: row["error"][columns.index(name)] for name in LEAST}
        return cls("", row["method"], "", "", means, errors)


def table(data: str, found: list[Found]) -> str:
    """The table of a data set: of every row of the paper ours beneath each other, best in bold.

    Parameters
    ----------
    data : str
        What was tested on.
    found : list of Found
        All of ours on it.
    """
    lines, done = [], set()
    for paper in TABLE_I:
        if paper.tested_on != LIKE.get(data, data):
            continue
        ours = [number for number, row in enumerate(found) if _same(row, paper)]
        done |= set(ours)
        lines += [_line(paper, found[number], found) for number in ours] or [_line(paper, None, [])]
    lines += [_line(None, row, found) for number, row in enumerate(found) if number not in done]
    return markdown(HEADER, lines)


def _same(row: Found, paper: PaperRow) -> bool:
    trained_on = LIKE.get(row.trained_on, row.trained_on)
    return (trained_on, row.method) == (paper.trained_on or "", paper.method)


def _line(paper: PaperRow | None, row: Found | None, found: list[Found]) -> list[str]:
    printed = (paper.le, paper.auc, paper.psnr, paper.nmse, paper.te) if paper else (None,) * 5
    cells = []
    for name, number in zip(LEAST, printed, strict=True):
        cells.append("" if number is None else f"{number:.2f}")
        cells.append("" if row is None else _cell(name, row, found))
    trained_on = row.trained_on if row else (paper.trained_on or "" if paper else "")
    method = row.method if row else (paper.method if paper else "")
    start, spent = (row.start, row.minutes) if row else ("not trained yet", "")
    return [trained_on, method, start, *cells, spent]


def _cell(name: str, row: Found, found: list[Found]) -> str:
    """A mean with its standard error, bold where it is the best of its group, as it is shown."""
    digits = 3 if name == "nMSE" else 2
    group = [round(each.means[name], digits) for each in found if each.trained_on == row.trained_on]
    mean = round(row.means[name], digits)
    text = f"{mean:.{digits}f}"
    if mean == (min(group) if LEAST[name] else max(group)) and row.trained_on:
        text = f"**{text}**"
    return text + (f" ± {row.errors[name]:.2f}" if name in row.errors and name != "nMSE" else "")
