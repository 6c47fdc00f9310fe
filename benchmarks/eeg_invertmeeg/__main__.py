"""Measure, rank and tabulate: ``make bench-invertmeeg``.

invertmeeg is under the GPL: it is called in an environment of its own, with files in between.
"""

from __future__ import annotations

import argparse
import json
import shlex
import subprocess
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.progress import track

from learnmm.hardware import hardware
from learnmm.storage import write_file
from learnmm_esi.metrics import SeveralEvaluator
from learnmm_esi.recordings.learned import find_weights
from learnmm_esi.simulation.ranges.simulator import Group

from .. import pages
from ..eeg_outside.methods import METHODS, WEIGHTS
from ..eeg_outside.scores import REFUSALS, summary
from ..peers.cache import fingerprint
from .data import DATA_SETS, Size, ask, recordings
from .ranks import page

SCRIPT = Path(__file__).with_name("solvers.py")
PYTHON = Path(".venv-invertmeeg/bin/python")
SOLVERS = ("champagne", "flex-ap", "flex-champagne", "subspace-sbl-plus")
SEED = 2026

console = Console(stderr=True)


def arguments(given: list[str] | None = None) -> argparse.Namespace:
    """Settings of a run."""
    parser = pages.arguments("eeg_invertmeeg", __doc__)
    parser.add_argument("--samples", type=int, default=100, help="recordings of a data set")
    parser.add_argument("--seed", type=int, default=SEED, help="of the recordings")
    parser.add_argument("--solvers", nargs="*", default=list(SOLVERS), help="of invertmeeg")
    parser.add_argument("--methods", nargs="+", choices=list(METHODS), default=list(METHODS))
    parser.add_argument("--python", type=Path, default=PYTHON, help="a Python with invertmeeg")
    parser.add_argument("--raw", type=Path, default=Path("out/bench/invertmeeg"), help="files")
    settings = parser.parse_args(given)
    if settings.samples < 1 or settings.seed < 0:
        parser.error("--samples must be positive and --seed not negative")
    if settings.solvers and not settings.python.exists():
        parser.error(
            f"there is no {settings.python}: make bench-invertmeeg makes it, or name a Python that "
            "has invertmeeg with --python"
        )
    return settings


def judged(group: Group, estimates: Any) -> dict[str, Any]:
    """Numbers of a method on a data set."""
    compare = SeveralEvaluator(group.model)
    return summary(compare(group.sources, estimates, group.seed_sources), [])


def ours(name: str, groups: dict[str, Group]) -> dict[str, Any]:
    """Numbers of a method of the library or of MNE-Python, by data set."""
    found = {}
    for data, group in groups.items():
        try:
            estimates = METHODS[name](group.model)(group.sensors, group.timing.sfreq)
        except REFUSALS as error:
            found[data] = {"cannot": f"{type(error).__name__}: {error}"}
        else:
            found[data] = judged(group, estimates.sources)
    return found


def theirs(name: str, groups: dict[str, Group], python: Path, folder: Path) -> dict[str, Any]:
    """Numbers of a solver of invertmeeg, by data set."""
    subprocess.run([python, SCRIPT, folder, name], check=True)
    found = {}
    for data, group in groups.items():
        with np.load(folder / f"{data}.{name}.npz") as answer:
            if "cannot" in answer:
                found[data] = {"cannot": str(answer["cannot"])}
                continue
            estimates = answer["estimates"]
        try:
            found[data] = judged(group, estimates)
        except ValueError as error:  # such as one that says nothing
            found[data] = {"cannot": f"{error}"}
    return found


def version(python: Path) -> str:
    """Of invertmeeg in its environment."""
    asked = "from importlib.metadata import version; print(version('invertmeeg'))"
    return subprocess.run(
        [python, "-c", asked], check=True, capture_output=True, text=True
    ).stdout.strip()


def main(given: list[str] | None = None, size: Size = Size()) -> None:  # noqa: B008 - frozen
    """Print the tables and write them down, as a page and as numbers."""
    settings = arguments(given)
    torch.set_num_threads(1)
    begin = time.perf_counter()
    groups = {name: recordings(name, settings.samples, settings.seed, size) for name in DATA_SETS}
    results = {
        name: ours(name, groups) for name in track(settings.methods, "here", console=console)
    }
    if settings.solvers:
        ask(settings.raw, groups)
    for name in track(settings.solvers, "invertmeeg", console=console):
        results[f"{name} (invertmeeg)"] = theirs(name, groups, settings.python, settings.raw)
    facts = {
        "Command": "`python -m benchmarks.eeg_invertmeeg "
        f"--samples {settings.samples} --seed {settings.seed} --solvers "
        f"{shlex.join(settings.solvers)} --methods {shlex.join(settings.methods)}`",
        "Recordings": f"{settings.samples} a data set, {size.electrodes} electrodes",
        "Weights": f"`{WEIGHTS}`, digest {fingerprint([find_weights(WEIGHTS)])}",
        "Hardware": hardware(),
        "invertmeeg": version(settings.python) if settings.solvers else "not run",
        "Time of the run": f"{time.perf_counter() - begin:.0f} s",
    }
    text = json.dumps({"facts": facts, "methods": results}, indent=1, ensure_ascii=False) + "\n"
    write_file(settings.output.with_suffix(".json"), text.encode())
    pages.write(page(results, list(DATA_SETS), facts), settings.output)


if __name__ == "__main__":
    main()
