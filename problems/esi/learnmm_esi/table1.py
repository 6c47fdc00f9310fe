"""Table I beside the paper's, from the evaluations in a folder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from learnmm_esi.networks.settings import UNVERIFIED
from learnmm_esi.paper import TABLE_I

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


_ROW = {
    **dict.fromkeys(
        ("localization_error", "localization_error_global", "auc", "nmse", "psnr", "time_error"),
        float,
    ),
    **dict.fromkeys(("localization_error_error", "auc_error", "psnr_error"), float),
    **dict.fromkeys(("monotone", "rejected", "worst_increase"), float),
}
EVALUATION = {
    **dict.fromkeys(("method", "start", "trained_on", "tested_on"), str),
    **dict.fromkeys(("samples", "horizon"), int),
    **dict.fromkeys(("energy", "data_term", "prior_term"), list),
    "clipped": float,
    "parameters": {"all": int},
    "steps": {"*": _ROW},
    "training": {"minutes": float, "start?": {"seconds?": float}},
}
"""What the tables need: types of entries; ``*`` stands for any name, ``?`` for one left out."""

HOW = {
    **dict.fromkeys(("command", "hardware"), str),
    "training": {
        **dict.fromkeys(("preset", "hardware"), str),
        **dict.fromkeys(("steps", "batch_size", "best_step"), int),
        "start?": {"settings?": dict.fromkeys(("steps", "batch_size"), int)},
    },
}
"""What `trainings` needs besides."""


def read_evaluations(folder: Path) -> list[dict[str, Any]]:
    """Read every ``*.json`` of `learnmm-esi evaluate` in a folder, sorted by name.

    Raises
    ------
    FileNotFoundError
        If there is none.
    ValueError
        If a file is something else.
    """
    found = []
    for path in sorted(folder.glob("*.json")):
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
        except (ValueError, RecursionError) as error:
            raise ValueError(f"{path} is no JSON: {error}") from error
        if wrong := _unfit(content, EVALUATION):
            raise ValueError(f"{path} is not an evaluation of learnmm-esi evaluate: {wrong}")
        if _steps(content) not in content["steps"]:
            raise ValueError(f"{path} has no row after the {_steps(content)} steps of its horizon")
        found.append(content)
    if not found:
        raise FileNotFoundError(f"no evaluations (*.json) in {folder}: learnmm-esi evaluate")
    return found


def _unfit(content: Any, wanted: Any, at: str = "") -> str:
    """Name the first entry that is missing or of another type, or nothing."""
    if not isinstance(wanted, dict):
        fits = isinstance(content, (int, float) if wanted is float else wanted)
        return "" if fits else f"{at} should be {wanted.__name__}, got {content!r:.60}"
    if not isinstance(content, dict):
        return f"{at or 'it'} should have entries, got {content!r:.60}"
    for name, kind in wanted.items():
        plain = name.removesuffix("?")
        for each in content if name == "*" else (plain,):
            where = f"{at}.{each}" if at else each
            if each not in content:
                if name.endswith("?"):
                    continue
                return f"no {where}"
            if wrong := _unfit(content[each], kind, where):
                return wrong
    return ""


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
                lines.append(our_line(content, _steps(content)))
                used.add(number)
    for number, content in enumerate(evaluations):
        if number not in used:
            lines.append(our_line(content, _steps(content)))
    return lines


def our_line(content: dict[str, Any], steps: str) -> list[str]:
    """Format one evaluation after a number of steps."""
    row = content["steps"][steps]
    verified = content["method"] not in UNVERIFIED
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
        f"{100 * row['rejected']:.1f} %" if verified else "not verified",
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
        if wrong := _unfit(content, HOW):
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


def minutes(notes: dict[str, Any]) -> float:
    """Minutes of a training, those of its start included."""
    return round(float(notes["minutes"]) + float(notes.get("start", {}).get("seconds", 0)) / 60, 1)


def markdown(header: tuple[str, ...], lines: list[list[str]]) -> str:
    """Write a table."""
    return "\n".join(
        "| " + " | ".join(line) + " |" for line in [header, ["---"] * len(header), *lines]
    )


def _steps(content: dict[str, Any]) -> str:
    """The number of steps of Table I: the one that the method was trained for."""
    return str(content["horizon"])


def _of_the_start(notes: dict[str, Any]) -> str:
    start = notes.get("start", {})
    if not {"seconds", "settings"} <= set(start):
        return ""
    settings = start["settings"]
    return (
        f" ({start['seconds'] / 60:.1f} of them for the start, {settings['steps']} steps of "
        f"{settings['batch_size']})"
    )


def _paper_line(row: Any) -> list[str]:
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
