"""The command ``learnmm-esi localize-mi``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from learnmm_esi.cli.command import OptionGroup
from learnmm_esi.cli.terminal import counting, out, say
from learnmm_esi.cli.text import printable
from learnmm_esi.cli.threads import Threads, use_threads

if TYPE_CHECKING:
    from learnmm_esi.recordings.localize_mi.selection import Summary
    from learnmm_esi.recordings.localize_mi.trials import Protocol, Trial

__all__ = ["localize_mi"]

_COLUMNS = (
    "chan-\nnels",
    "runs",
    "median",
    "worst\ntenth",
    "side\nmedian",
    "side\nworst\ntenth",
    "floor",
    "warned\n%",
)


@dataclass(frozen=True)
class TrialOptions(OptionGroup):
    """What is tried."""

    channels: Annotated[
        list[int] | None,
        typer.Option(
            min=16, max=1024, help="How many; may be repeated. Default: 256, 128, 64 and 32."
        ),
    ] = None
    method: Annotated[
        list[str] | None,
        typer.Option(
            help="sLORETA, sLORETA-free, MM, mm-net or guided; may be repeated. Default: all."
        ),
    ] = None
    sources: Annotated[
        int,
        typer.Option(
            min=20,
            max=10_000,
            help="Of a head at most, where no weights are used: larger ones are thinned out.",
        ),
    ] = 2000

    def protocol(self) -> Protocol:
        """Return these options checked."""
        from learnmm_esi.recordings.localize_mi.methods import choose_methods
        from learnmm_esi.recordings.localize_mi.trials import Protocol

        methods = choose_methods(tuple(self.method or ()))
        channels = tuple(self.channels or Protocol.channels)
        return Protocol(channels=channels, sources=self.sources, methods=methods)


def localize_mi(
    folder: Annotated[
        Path, typer.Argument(help="Of the Localize-MI data set (doi 10.12751/g-node.1cc1ae).")
    ],
    options: TrialOptions,
    target: Annotated[Path, typer.Option("--out", help="Folder for the results.")] = Path(
        "out/localize-mi"
    ),
    resume: Annotated[
        bool, typer.Option(help="Go on where a run in the folder was stopped.")
    ] = True,
    threads: Threads = None,
) -> None:
    """Find places of intracerebral stimulation from scalp EEG, and tell the errors.

    Reads derivatives/epochs/sub-*/eeg/sub-*_run-*_epochs.npy with .json and .tsv
    beside it and its _channels.tsv, or sub-*_run-*_epo.fif; ieeg/sub-*
    _space-surface_electrodes.tsv and _coordsystem.json; derivatives/
    sourcemodelling/sub-*/fwd/sub-*_fwd.fif.

    The error is the distance of the strongest source from the midpoint of the
    two contacts, among all sources and (side) among those of the stimulated
    hemisphere; the floor is that of the nearest source. Each method has one
    setting for all runs of a subject, chosen on the other subjects.

    Writes localize-mi.json, after every run, and localize-mi.csv.
    """
    from learnmm_esi.cli.outputs import make_writable
    from learnmm_esi.recordings.localize_mi.files import find_runs
    from learnmm_esi.recordings.localize_mi.results import Results
    from learnmm_esi.recordings.localize_mi.selection import summaries
    from learnmm_esi.recordings.localize_mi.trials import run_trials

    protocol = options.protocol()
    runs = find_runs(folder)
    use_threads(threads)
    make_writable(target)
    results = Results(target, protocol, resume)
    results.keep(runs)
    with counting() as progress:
        done = sum(run in results for run in runs)
        task = progress.add_task("runs", total=len(runs), completed=done)
        for _, trials in run_trials(runs, protocol, results.__contains__):
            results.add(trials)
            progress.advance(task)
    chosen = results.finish()
    _show(summaries(chosen, protocol))
    _tell_settings(chosen)
    say(f"Written: {results.path} and {results.path.with_suffix('.csv').name}")


def _show(rows: Sequence[Summary]) -> None:
    """Print errors in mm, a row for each number of channels and method."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    table = Table(
        title="Error in mm, settings chosen on other subjects", box=SIMPLE_HEAD, pad_edge=False
    )
    table.add_column("method", no_wrap=True)
    for column in _COLUMNS:
        table.add_column(column, justify="right", no_wrap=True)
    for row in rows:
        errors = row.median, row.worst, row.median_side, row.worst_side, row.median_floor
        numbers = [f"{error:.1f}" for error in errors]
        share = f"{100 * row.warned:.0f}"
        table.add_row(row.method, str(row.channels), str(row.runs), *numbers, share)
    out.print(table)


def _tell_settings(chosen: Sequence[Trial]) -> None:
    """Say which settings each method had, and on how many subjects."""
    subjects = {(trial.method, trial.subject): trial.setting for trial in chosen}
    counts = Counter((method, setting) for (method, _), setting in subjects.items())
    for method in dict.fromkeys(method for method, _ in subjects):
        told = [f"{setting} ({n})" for (name, setting), n in counts.items() if name == method]
        say(f"{method}, setting (subjects): {printable('; '.join(told))}")
    if len({subject for _, subject in subjects}) == 1:
        say("There is one subject, nobody to choose settings on: the first of each was taken")
