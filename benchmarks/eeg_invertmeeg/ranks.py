"""Average ranks of methods over data sets and metrics, and the page that shows them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from scipy.stats import rankdata

from ..eeg_outside.page import TITLES, number
from ..eeg_outside.scores import RISING
from ..pages import line, table

JUDGED = ("localization_error", "transport", "dispersion", "average_precision")
"""Metrics that are ranked."""

Results = Mapping[str, Mapping[str, Any]]
"""Of each method, by its name, the numbers of each data set."""


def ranks(results: Results, data_sets: Sequence[str]) -> dict[str, dict[str, float]]:
    """Average ranks of every method over metrics, by data set and, as ``"all"``, over all of them.

    One is best; equal means share a rank, and what cannot run is last.
    """
    names = list(results)
    places = {name: {} for name in names}
    for data in data_sets:
        each = []
        for metric in JUDGED:
            sign = -1.0 if metric in RISING else 1.0
            means = [
                np.inf
                if "cannot" in results[name][data]
                else sign * results[name][data][metric]["mean"]
                for name in names
            ]
            each.append(rankdata(means))
        for name, rank in zip(names, np.mean(each, axis=0), strict=True):
            places[name][data] = float(rank)
    return {
        name: found | {"all": float(np.mean(list(found.values())))}
        for name, found in places.items()
    }


def page(results: Results, data_sets: Sequence[str], facts: Mapping[str, str]) -> list[str]:
    """The whole page, line by line."""
    found = ranks(results, data_sets)
    order = sorted(results, key=lambda name: found[name]["all"])
    lines = [
        "# EEG beside the solvers of invertmeeg",
        "",
        *(f"- {name}: {value}" for name, value in facts.items()),
        "",
        "The four data sets that invertmeeg's benchmark names, simulated on the library's head. "
        "Its solvers choose their regularization themselves, run in a process of their own and get "
        "the same recordings and lead field. Definitions are those of "
        "`learnmm_esi.metrics.SeveralEvaluator`.",
        "",
        f"## Average rank of {len(order)} methods over {len(JUDGED)} metrics",
        "",
        *table(
            ["method", *data_sets, "all"],
            (line([m, *(f"{found[m][d]:.1f}" for d in (*data_sets, "all"))]) for m in order),
        ),
    ]
    for metric, title in TITLES.items():
        if metric == "localization_error":
            title += ": median / mean / worst tenth"
        rows = (line([m, *(number(results[m][d], metric) for d in data_sets)]) for m in order)
        lines += [f"## {title}", "", *table(["method", *data_sets], rows)]
    return [*lines, *reasons(results)]


def reasons(results: Results) -> list[str]:
    """What could not run, and why."""
    return [
        f"- {name} cannot run on {data}: {numbers['cannot']}"
        for name, found in results.items()
        for data, numbers in found.items()
        if "cannot" in numbers
    ]
