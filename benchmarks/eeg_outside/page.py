"""The page of the tables: metrics of all methods side by side, and which rows are lost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..pages import line, table
from .cells import Cell
from .methods import BASELINE, GUIDED, LEARNED, START, UNLEARNED
from .scores import RISING

Results = Mapping[str, Mapping[str, Any]]
"""Of each cell, by its name, the numbers of each method."""

TITLES = {
    "localization_error": "Localization error, mm",
    "transport": "Earth mover's distance, mm",
    "dispersion": "Spatial dispersion, mm",
    "average_precision": "Average precision",
    "auc": "Area under the ROC curve",
    "psnr": "PSNR, dB",
}
DIGITS = {"average_precision": 3, "auc": 3}
TOLERATED = 1.1
"""Of sLORETA's: a row with a larger error is lost."""

HALF = 0.5

OURS = (UNLEARNED, START, LEARNED, GUIDED)
"""Methods that are compared with the baseline."""


def ratio(row: Mapping[str, Any], metric: str, method: str = LEARNED) -> float | None:
    """Mean of a method over that of the baseline; None where one of them has none."""
    means = [row.get(name, {}).get(metric, {}).get("mean") for name in (method, BASELINE)]
    if None in means or not means[1]:
        return None
    return float(means[0] / means[1])


def lost(row: Mapping[str, Any], metric: str, method: str = LEARNED) -> bool:
    """Whether a method's mean is worse than the baseline's by more than is tolerated."""
    found = ratio(row, metric, method)
    if found is None:
        return False
    return found < 1 / TOLERATED if metric in RISING else found > TOLERATED


def compared(row: Mapping[str, Any], metric: str, method: str) -> str:
    """A method's mean over the baseline's, marked where it is lost, or halves the error."""
    found = ratio(row, metric, method)
    if found is None:
        return "–"
    mark = " **lost**" if lost(row, metric, method) else ""
    if metric == "localization_error" and found <= HALF:
        mark = " ✓"
    return f"{found:.2f}{mark}"


def number(cell: Mapping[str, Any], metric: str) -> str:
    """Median, mean and worst tenth of the localization error; of the others the mean alone."""
    if "cannot" in cell:
        return "–"
    values, digits = cell[metric], DIGITS.get(metric, 1)
    if metric != "localization_error":
        return f"{values['mean']:.{digits}f}"
    return " / ".join(f"{values[key]:.{digits}f}" for key in ("median", "mean", "worst"))


def rows(cells: Sequence[Cell], methods: Sequence[str], results: Results, metric: str) -> list[str]:
    """One line per cell."""
    lines = []
    for cell in cells:
        row = results[cell.name]
        numbers = [number(row[name], metric) for name in methods]
        ratios = [compared(row, metric, name) for name in OURS if name in methods]
        share = row.get(LEARNED, {}).get("fell_back")
        fallen = [] if metric != "localization_error" else [_percent(share)]
        lines.append(line([cell.name, *numbers, *ratios, *fallen]))
    return lines


def section(
    title: str, cells: Sequence[Cell], methods: Sequence[str], results: Results
) -> list[str]:
    """Tables of some cells, one per metric."""
    lines = [f"## {title}", ""]
    for metric, told in TITLES.items():
        head = ["cell", *methods, *(f"{name} / {BASELINE}" for name in OURS if name in methods)]
        if metric == "localization_error":
            told += ": median / mean / worst tenth"
            head.append("fell back")
        lines += [f"### {told}", "", *table(head, rows(cells, methods, results, metric))]
    return lines


def overview(names: Sequence[str], methods: Sequence[str], results: Results) -> list[str]:
    """How many rows are lost, by metric and method."""
    ours = [name for name in OURS if name in methods]
    counts = []
    for metric, title in TITLES.items():
        told = [title]
        for method in ours:
            known = [n for n in names if ratio(results[n], metric, method) is not None]
            worse = [n for n in known if lost(results[n], metric, method)]
            told.append(f"{len(worse)} of {len(known)}")
        counts.append(line(told))
    halves = ["Localization error at most half"]
    for method in ours:
        found = [ratio(results[n], "localization_error", method) for n in names]
        known = [value for value in found if value is not None]
        halves.append(f"{sum(value <= HALF for value in known)} of {len(known)}")
    head = [f"rows lost to {BASELINE}", *ours]
    return [*table(head, counts), *table(["rows", *ours], [line(halves)])]


def guidance(names: Sequence[str], methods: Sequence[str], results: Results) -> list[str]:
    """In how many rows, by metric, what was learned betters the solver that learns nothing."""
    if not {UNLEARNED, GUIDED} <= set(methods):
        return []
    counts = []
    for metric, title in TITLES.items():
        means = [
            tuple(results[n][method][metric]["mean"] for method in (UNLEARNED, GUIDED))
            for n in names
            if not any("cannot" in results[n][method] for method in (UNLEARNED, GUIDED))
        ]
        rising = metric in RISING
        if not means:
            return []
        better = sum((told > plain) if rising else (told < plain) for plain, told in means)
        digits = DIGITS.get(metric, 1)
        each = [f"{sum(column) / len(means):.{digits}f}" for column in zip(*means, strict=True)]
        counts.append(line([title, f"{better} of {len(means)}", *each]))
    head = [f"means of rows, {GUIDED} beside {UNLEARNED}", "better", UNLEARNED, GUIDED]
    return table(head, counts)


def reasons(names: Sequence[str], results: Results) -> list[str]:
    """Why methods could not run, and where."""
    found: dict[tuple[str, str], list[str]] = {}
    for name in names:
        for method, cell in results[name].items():
            if "cannot" in cell:
                found.setdefault((method, cell["cannot"]), []).append(name)
    return [
        f"- {method} cannot run in {len(where)} rows (first: {where[0]}): {why}"
        for (method, why), where in found.items()
    ]


def page(
    sections: Mapping[str, Sequence[Cell]],
    methods: Sequence[str],
    results: Results,
    facts: Mapping[str, str],
) -> list[str]:
    """The whole page, line by line."""
    names = list(dict.fromkeys(cell.name for cells in sections.values() for cell in cells))
    lines = [
        "# EEG outside what was trained on",
        "",
        *(f"- {name}: {value}" for name, value in facts.items()),
        "",
        "Every row simulates recordings on caps drawn at random and gives all methods the same. "
        "Heads other than the template are unknown to all methods, as are two millimetres of every "
        "electrode's place. Definitions are those of `learnmm_esi.metrics.SeveralEvaluator`. The "
        f"last columns divide means; a row is lost to {BASELINE} by more than "
        f"{100 * (TOLERATED - 1):.0f} %, and ticked where the localization error is at most half. "
        "A worst tenth is what a tenth of the recordings are worse than.",
        "",
        *overview(names, methods, results),
        *guidance(names, methods, results),
        *reasons(names, results),
        "",
    ]
    for title, cells in sections.items():
        lines += section(title, cells, methods, results)
    return lines


def _percent(share: float | None) -> str:
    return "–" if share is None else f"{100 * share:.0f} %"
