"""Rows of Table I beside the paper's, as text."""

from __future__ import annotations

from typing import Any

from evaluations import HOW, minutes, unfit

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
