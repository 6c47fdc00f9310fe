"""The file of the trials: written as a whole after every run, and gone on with after a kill."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from learnmm.storage import differences, listed, parse_json, replacing
from learnmm_esi.recordings.localize_mi.files import RunFiles
from learnmm_esi.recordings.localize_mi.selection import (
    choose_settings,
    chosen_trials,
    summaries,
)
from learnmm_esi.recordings.localize_mi.trials import Protocol, Trial

__all__ = ["Results"]

_COLUMNS = {field.name: field.type for field in fields(Trial)}


class Results:
    """Trials in ``localize-mi.json`` of a folder.

    Parameters
    ----------
    folder : Path
    protocol : Protocol
        How trials are made.
    resume : bool
        Go on with the file, if there is one; else it is replaced with the first run.

    Raises
    ------
    ValueError
        If the file holds no trials, or those of another protocol.
    """

    def __init__(self, folder: Path, protocol: Protocol, resume: bool) -> None:
        self.path, self.protocol = folder / "localize-mi.json", protocol
        self.trials: list[Trial] = []
        if resume and self.path.exists():
            self.trials = self._read()

    def __contains__(self, run: RunFiles) -> bool:
        """Whether a run was tried before."""
        return any((t.subject, t.run) == (run.subject, run.run) for t in self.trials)

    def keep(self, runs: Sequence[RunFiles]) -> None:
        """Forget trials of other runs than these."""
        names = {(run.subject, run.run) for run in runs}
        self.trials = [t for t in self.trials if (t.subject, t.run) in names]

    def add(self, trials: Sequence[Trial]) -> None:
        """Add the trials of a run, and write the file."""
        self.trials += trials
        self._write({})

    def finish(self) -> list[Trial]:
        """Write what was chosen and what came of it as well, and ``localize-mi.csv``.

        Returns
        -------
        list of Trial
            With the settings that were chosen: a row each of the table.
        """
        chosen = chosen_trials(self.trials, self.protocol)
        settings = choose_settings(self.trials, self.protocol)
        self._write(
            {
                "chosen": [
                    {"method": method, "subject": subject, "setting": setting}
                    for (method, subject), setting in settings.items()
                ],
                "summary": [asdict(one) for one in summaries(chosen, self.protocol)],
            }
        )
        with replacing(self.path.with_suffix(".csv")) as path, path.open("w", newline="") as file:
            table = csv.DictWriter(file, list(_COLUMNS))
            table.writeheader()
            table.writerows(asdict(trial) for trial in chosen)
        return chosen

    def _write(self, further: dict[str, Any]) -> None:
        content = {
            "protocol": _described(self.protocol),
            **further,
            "trials": [asdict(trial) for trial in self.trials],
        }
        with replacing(self.path) as path:
            path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")

    def _read(self) -> list[Trial]:
        try:
            content = parse_json(self.path.read_text(encoding="utf-8"))
            stored = content["protocol"]
            trials = [_trial(one) for one in content["trials"]]
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(
                f"{self.path} holds no trials that can be gone on with ({error!r}): remove it, or "
                "start anew with --no-resume"
            ) from error
        wrong = differences(stored, _described(self.protocol))
        if wrong:
            raise ValueError(
                f"{self.path} has trials of another protocol: {listed(wrong)}. Choose another "
                "folder, or start anew with --no-resume"
            )
        return trials


def _described(protocol: Protocol) -> dict[str, Any]:
    """Return all that decides what comes out of a trial, as JSON gives it back."""
    return {
        "channels": list(protocol.channels),
        "sources": protocol.sources,
        "begin": protocol.begin,
        "end": protocol.end,
        "noise_end": protocol.noise_end,
        "methods": {method.name: protocol.settings(method) for method in protocol.methods},
    }


def _trial(one: dict[str, Any]) -> Trial:
    """Make a trial of what a file holds, every value of its kind."""
    kinds: dict[str, Any] = {"str": str, "int": int, "float": (int, float), "bool": bool}
    if set(one) != set(_COLUMNS):
        raise ValueError(f"a trial has {', '.join(one)}")
    for name, kind in _COLUMNS.items():
        if not isinstance(one[name], kinds[str(kind)]):
            raise ValueError(f"{name} of a trial is {one[name]!r}")
    return Trial(**one)
