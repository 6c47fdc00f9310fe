"""Which setting a method has on a subject, chosen on the others, and what is reported of that."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from learnmm_esi.recordings.localize_mi.trials import Protocol, Trial

__all__ = ["Summary", "choose_settings", "chosen_trials", "summaries"]

WORST = 0.1  # share of the runs whose mean error is reported


@dataclass(frozen=True)
class Summary:
    """Errors of a method with so many channels, in mm.

    Attributes
    ----------
    method : str
    channels, runs : int
    median, worst : float
        Error over both hemispheres: median, and mean of the worst tenth of the runs.
    median_side, worst_side : float
        The same within the stimulated hemisphere.
    median_floor : float
        Of the distance of the nearest source.
    warned : float
        Share of the estimates of which the method said that they are not to be trusted.
    """

    method: str
    channels: int
    runs: int
    median: float
    worst: float
    median_side: float
    worst_side: float
    median_floor: float
    warned: float


def choose_settings(trials: Sequence[Trial], protocol: Protocol) -> dict[tuple[str, str], str]:
    """Choose a setting for each method and subject by what it did on all other subjects.

    That of the least median error over both hemispheres, over all runs and channels of the others;
    of equal ones, the first. A method thus has one setting for all runs of a subject and for every
    number of channels, and no run has a say in its own. With one subject there is nobody to choose
    on: the first setting is taken.

    Parameters
    ----------
    trials : sequence of Trial
    protocol : Protocol
        Knows the order of the settings.

    Returns
    -------
    dict of (str, str) to str
        Setting of each (method, subject).
    """
    subjects = sorted({trial.subject for trial in trials})
    chosen = {}
    for method in protocol.methods:
        settings = protocol.settings(method)
        for subject in subjects:
            others: dict[str, list[float]] = {setting: [] for setting in settings}
            for trial in trials:
                if trial.method == method.name and trial.subject != subject:
                    others[trial.setting].append(trial.error)
            medians = [np.median(others[s]) if others[s] else math.inf for s in settings]
            chosen[method.name, subject] = settings[int(np.argmin(medians))]
    return chosen


def chosen_trials(trials: Sequence[Trial], protocol: Protocol) -> list[Trial]:
    """Return the trials with the settings that were chosen on other subjects."""
    chosen = choose_settings(trials, protocol)
    return [t for t in trials if chosen.get((t.method, t.subject)) == t.setting]


def summaries(chosen: Sequence[Trial], protocol: Protocol) -> list[Summary]:
    """Summarize `chosen_trials` for each method and number of channels."""
    found = []
    for channels in protocol.channels:
        for method in protocol.methods:
            some = [t for t in chosen if t.method == method.name and t.channels == channels]
            if not some:
                continue
            error, side = [t.error for t in some], [t.error_side for t in some]
            found.append(
                Summary(
                    method.name,
                    channels,
                    len(some),
                    float(np.median(error)),
                    worst_tenth(error),
                    float(np.median(side)),
                    worst_tenth(side),
                    float(np.median([t.floor for t in some])),
                    float(np.mean([t.warned for t in some])),
                )
            )
    return found


def worst_tenth(errors: Sequence[float]) -> float:
    """Return the mean of the largest tenth of some errors, of one at least."""
    count = math.ceil(WORST * len(errors))
    return float(np.mean(sorted(errors)[-count:]))
