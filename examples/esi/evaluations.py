"""Results of ``learnmm-esi evaluate`` in a folder, read and refused where they say too little."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

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
    "verified": bool,
    **dict.fromkeys(("clipped", "accepted?"), float),
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
"""What sentences on how a row was made need besides."""


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
        if wrong := unfit(content, EVALUATION):
            raise ValueError(f"{path} is not an evaluation of learnmm-esi evaluate: {wrong}")
        if horizon(content) not in content["steps"]:
            raise ValueError(f"{path} has no row after the {horizon(content)} steps of its horizon")
        found.append(content)
    if not found:
        raise FileNotFoundError(f"no evaluations (*.json) in {folder}: learnmm-esi evaluate")
    return found


def unfit(content: Any, wanted: Any, at: str = "") -> str:
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
            if wrong := unfit(content[each], kind, where):
                return wrong
    return ""


def horizon(content: dict[str, Any]) -> str:
    """The number of steps of Table I: the one that the method was trained for."""
    return str(content["horizon"])


def minutes(notes: dict[str, Any]) -> float:
    """Minutes of a training, those of its start included."""
    return round(float(notes["minutes"]) + float(notes.get("start", {}).get("seconds", 0)) / 60, 1)
