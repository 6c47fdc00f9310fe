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
    "samples",
)
PATCH = "AUC-patch"
"""Area under the curve of each patch alone, where there are several."""

ALONE = {"learned": "the learned start alone", "evidence": "the evidence alone"}
"""What rows after no step are called, of starts that no other row shows on the same recordings."""

AS_PRINTED = {"mm-net-a": "mm-net as printed"}
"""The paper's own beside ours, which stands under the same row of the paper."""

ACCEPTED = {"LE": 1.5, "AUC": 1.5, "PSNR": 1.0}
"""By how much one of ours may be worse than the paper's, on another head model."""


class Found(NamedTuple):
    """A row of ours: means and standard errors by metric, in the units of the table.

    `accepted` is the share of learned starts that the library would take.
    """

    trained_on: str
    method: str
    start: str
    minutes: str
    samples: int
    means: dict[str, float]
    errors: dict[str, float]
    accepted: float | None = None

    @property
    def first_iterate(self) -> str:
        """Where it started."""
        taken = "" if self.accepted is None else f", {100 * self.accepted:.0f} % accepted"
        return self.start + taken

    @classmethod
    def of(cls, content: dict[str, Any]) -> Found:
        """From what ``learnmm-esi evaluate`` wrote, after the steps that were trained for."""
        spent = f"{minutes(content['training']):g}"
        method = AS_PRINTED.get(content["method"], content["method"])
        named = content["trained_on"], method, content["start"]
        numbers = _metrics(content["steps"][horizon(content)])
        return cls(*named, spent, content["samples"], *numbers, content.get("accepted"))

    @classmethod
    def start_alone(cls, content: dict[str, Any]) -> Found:
        """From the same, of a method with one of the starts of `ALONE`, before its first step."""
        seconds = content["training"].get("start", {}).get("seconds")
        learned = content["start"] == "learned" and seconds is not None
        spent = f"{seconds / 60:.1f}" if learned else ""
        named = content["trained_on"], ALONE[content["start"]], ""
        return cls(*named, spent, content["samples"], *_metrics(content["steps"]["0"]))

    @classmethod
    def unlearned(cls, row: dict[str, Any]) -> Found:
        """From a row of what learns nothing."""
        return cls("", row["method"], "", "", row["samples"], *_metrics(row))

    @classmethod
    def classical(cls, row: dict[str, Any], columns: list[str]) -> Found:
        """From a row of the calibration."""
        means, errors = (
            {
                name: value
                for name, value in zip(columns, row[which], strict=True)
                if value is not None
            }
            for which in ("mean", "error")
        )
        return cls("", row["method"], "", "", row["samples"], means, errors)


def _metrics(row: dict[str, float]) -> tuple[dict[str, float], dict[str, float]]:
    """Means and standard errors of one number of steps, in the units of the table."""
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
    if "time_error_error" in row:
        errors["TE"] = row["time_error_error"]
    if "auc_of_patch" in row:
        means[PATCH] = 100 * row["auc_of_patch"]
    return means, errors


def table(data: str, found: list[Found]) -> str:
    """The table of a data set: of every row of the paper ours beneath each other, best in bold.

    Parameters
    ----------
    data : str
        What was tested on.
    found : list of Found
        All of ours on it.
    """
    printed = _printed(data)
    lines: list[list[str]] = []
    for group in dict.fromkeys(row.trained_on or "" for row in printed):
        ours = _trained_on(group, found)
        for paper in (row for row in printed if (row.trained_on or "") == group):
            same = [row for row in ours if _like(row, paper)]
            lines += [_line(paper, row, found) for row in same] or [_line(paper, None, [])]
            ours = [row for row in ours if not _like(row, paper)]
        lines += [_line(None, row, found) for row in ours]
    if any(PATCH in row.means for row in found):
        return markdown((*HEADER, PATCH), lines)
    return markdown(HEADER, [line[:-1] for line in lines])


def verdict(data: str, found: list[Found]) -> str:
    """Which rows of the paper one of ours comes up to, and what the others lack.

    A row of ours does that which is nowhere worse by more than `ACCEPTED`.
    """
    lines = []
    for paper in _printed(data):
        if paper.trained_on is None:
            continue
        ours = [row for row in _trained_on(paper.trained_on, found) if _like(row, paper)]
        best = min(ours, key=lambda row: max(_worse(row, paper).values()), default=None)
        said = "not trained yet" if best is None else _said(best, paper)
        lines.append(f"- {paper.method}, trained on {paper.trained_on}: {said}")
    return "\n".join(lines)


def _printed(data: str) -> list[PaperRow]:
    """Rows of the paper on a data set, or on what it stands for."""
    return [row for row in TABLE_I if row.tested_on == LIKE.get(data, data)]


def _trained_on(group: str, found: list[Found]) -> list[Found]:
    """Those of ours that stand beside the paper's of a group."""
    return [row for row in found if LIKE.get(row.trained_on, row.trained_on) == group]


def _worse(row: Found, paper: PaperRow) -> dict[str, float]:
    """By how many accepted distances ours is worse; below zero where it is better."""
    apart = {
        "LE": row.means["LE"] - paper.le,
        "AUC": paper.auc - row.means["AUC"],
        "PSNR": paper.psnr - row.means["PSNR"],
    }
    return {name: worse / ACCEPTED[name] for name, worse in apart.items()}


def _said(row: Found, paper: PaperRow) -> str:
    worse = _worse(row, paper)
    whose = f"{row.method} from {row.start}" if row.method != paper.method else f"from {row.start}"
    missed = [
        f"{name} by {share * ACCEPTED[name]:.1f}" for name, share in worse.items() if share > 1
    ]
    if missed:
        return f"missed; {whose}, the nearest, is worse in {', '.join(missed)}"
    return f"better in all three, {whose}" if max(worse.values()) <= 0 else f"reached, {whose}"


def _like(row: Found, paper: PaperRow) -> bool:
    return paper.method in (row.method, row.method.removesuffix(" as printed"))


def _line(paper: PaperRow | None, row: Found | None, found: list[Found]) -> list[str]:
    printed = (paper.le, paper.auc, paper.psnr, paper.nmse, paper.te) if paper else (None,) * 5
    cells = []
    for name, number in zip(LEAST, printed, strict=True):
        cells.append("" if number is None else f"{number:.2f}")
        cells.append("" if row is None else _cell(name, row, found))
    trained_on = row.trained_on if row else (paper.trained_on or "" if paper else "")
    method = row.method if row else (paper.method if paper else "")
    start, *last = (
        (row.first_iterate, row.minutes, str(row.samples)) if row else ("not trained yet", "", "")
    )
    of_patch = f"{row.means[PATCH]:.2f}" if row and PATCH in row.means else ""
    return [trained_on, method, start, *cells, *last, of_patch]


def _cell(name: str, row: Found, found: list[Found]) -> str:
    """A mean with its standard error, bold where it is the best of its group, as it is shown."""
    digits = 3 if name == "nMSE" else 2
    group = [round(each.means[name], digits) for each in found if each.trained_on == row.trained_on]
    mean = round(row.means[name], digits)
    text = f"{mean:.{digits}f}"
    if mean == (min(group) if LEAST[name] else max(group)) and row.trained_on:
        text = f"**{text}**"
    return text + (f" ± {row.errors[name]:.2f}" if name in row.errors and name != "nMSE" else "")
