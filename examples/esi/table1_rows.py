"""Rows of Table I beside the paper's, as text."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from evaluations import HOW, horizon, minutes, unfit
from paper import TABLE_I, PaperRow

COLUMNS = (
    "tested on",
    "trained on",
    "method",
    "start",
    "weights, M",
    "samples",
    "LE",
    "LE-global",
    "AUC",
    "nMSE",
    "PSNR",
    "TE",
    "monotone",
    "worst rise",
    "refused",
    "clipped",
    "minutes",
)


def rows(evaluations: list[dict[str, Any]], classical: list[list[str]]) -> list[list[str]]:
    """Lines of the table: of each group the paper's first, then ours, in the paper's order.

    Parameters
    ----------
    evaluations : list of dict
        From `read_evaluations`.
    classical : list of list of str
        Lines of MNE and sLORETA that are known already, by `classical_rows`.
    """
    lines: list[list[str]] = []
    used = set()
    for row in TABLE_I:
        lines.append(_paper_line(row))
        if row.trained_on is None:
            lines += [
                line for line in classical if line[0] == row.tested_on and line[2] == row.method
            ]
        for number, content in enumerate(evaluations):
            key = (content["tested_on"], content["trained_on"], content["method"])
            if key == row[:3]:
                lines.append(our_line(content, horizon(content)))
                used.add(number)
    for number, content in enumerate(evaluations):
        if number not in used:
            lines.append(our_line(content, horizon(content)))
    return lines


def our_line(content: dict[str, Any], steps: str) -> list[str]:
    """Format one evaluation after a number of steps."""
    row = content["steps"][steps]
    moved = steps != "0"
    return [
        content["tested_on"],
        content["trained_on"],
        content["method"],
        content["start"],
        f"{content['parameters']['all'] / 1e6:.2f}",
        str(content["samples"]),
        f"{row['localization_error']:.2f} ± {row['localization_error_error']:.2f}",
        f"{row['localization_error_global']:.2f}",
        f"{100 * row['auc']:.2f} ± {100 * row['auc_error']:.2f}",
        f"{row['nmse']:.4f}",
        f"{row['psnr']:.2f} ± {row['psnr_error']:.2f}",
        f"{row['time_error']:.2f}",
        f"{100 * row['monotone']:.1f} %" if moved else "",
        f"{row['worst_increase']:.1e}" if moved else "",
        f"{100 * row['rejected']:.1f} %" if content["verified"] else "not verified",
        f"{100 * content['clipped']:.1f} %" if moved else "",
        f"{minutes(content['training']):g}",
    ]


def classical_rows(calibration: Path) -> list[list[str]]:
    """Lines of MNE and sLORETA from the results of the calibration."""
    if not calibration.is_file():
        return []
    content = json.loads(calibration.read_text(encoding="utf-8"))
    place = {name: number for number, name in enumerate(content["columns"])}
    lines = []
    for row in content["rows"]:
        if row["change"] != "the protocol":
            continue

        def cell(name: str, digits: int = 2, row: dict[str, Any] = row) -> str:
            mean, error = row["mean"][place[name]], row["error"][place[name]]
            return f"{mean:.{digits}f} ± {error:.{digits}f}"

        def plain(name: str, digits: int = 2, row: dict[str, Any] = row) -> str:
            return f"{row['mean'][place[name]]:.{digits}f}"

        lines.append(
            [row["data"].lower(), "", row["method"], "", "", str(row["samples"]), cell("LE")]
            + [plain("LE-global"), cell("AUC"), plain("nMSE", 4), cell("PSNR"), plain("TE")]
            + [""] * 5
        )
    return lines


def missing(evaluations: list[dict[str, Any]]) -> list[str]:
    """Rows of Table I without an evaluation, in words."""
    have = {(c["tested_on"], c["trained_on"], c["method"]) for c in evaluations}
    return [
        f"{row.method}, trained on {row.trained_on}, tested on {row.tested_on}"
        for row in TABLE_I
        if row.trained_on is not None and row[:3] not in have
    ]


def after(evaluations: list[dict[str, Any]]) -> list[list[str]]:
    """Lines of every evaluation after every number of steps it was looked at; 0 is the start."""
    lines = []
    for content in evaluations:
        lines += [[steps, *our_line(content, steps)] for steps in content["steps"]]
    return lines


def trainings(evaluations: list[dict[str, Any]]) -> list[str]:
    """Sentences on how each row was trained and evaluated.

    Raises
    ------
    ValueError
        If an evaluation does not say so.
    """
    lines = []
    for content in evaluations:
        if wrong := unfit(content, HOW):
            raise ValueError(
                f"the evaluation of {content['method']}, trained on {content['trained_on']}, does "
                f"not say how it was made: {wrong}"
            )
        notes = content["training"]
        lines.append(
            f"{content['method']} trained on {content['trained_on']}: preset {notes['preset']}, "
            f"{notes['steps']} steps of {notes['batch_size']}, best at {notes['best_step']}, "
            f"{minutes(notes):g} min on {notes['hardware']}{_of_the_start(notes)}. "
            f"`{content['command']}`, "
            f"{content['hardware']}."
        )
    return list(dict.fromkeys(lines))


def markdown(header: tuple[str, ...], lines: list[list[str]]) -> str:
    """Write a table."""
    return "\n".join(
        "| " + " | ".join(line) + " |" for line in [header, ["---"] * len(header), *lines]
    )


def _of_the_start(notes: dict[str, Any]) -> str:
    start = notes.get("start", {})
    if not {"seconds", "settings"} <= set(start):
        return ""
    settings = start["settings"]
    return (
        f" ({start['seconds'] / 60:.1f} of them for the start, {settings['steps']} steps of "
        f"{settings['batch_size']})"
    )


def _paper_line(row: PaperRow) -> list[str]:
    return [
        row.tested_on,
        row.trained_on or "",
        f"*{row.method}, paper*",
        "" if row.trained_on is None else "noise",
        "" if row.parameters is None else f"{row.parameters:.2f}",
        "2000",
        f"{row.le:.2f}",
        "",
        f"{row.auc:.2f}",
        f"{row.nmse:.2f}",
        f"{row.psnr:.2f}",
        f"{row.te:.2f}",
        *[""] * 5,
    ]
