"""Measure and tabulate: ``python -m benchmarks.eeg_outside --help``.

Cells that have been measured are kept, so that a run that was cut off goes on where it was.
"""

from __future__ import annotations

import argparse
import json
import platform
import shlex
import time
from pathlib import Path
from typing import Any

import mne
import numpy as np
import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

import learnmm_esi
from learnmm.hardware import hardware
from learnmm.storage import write_file
from learnmm_esi.recordings.learned import find_weights

from .. import pages
from ..peers.cache import Cache, fingerprint
from .cells import FULL_SIZE, GRIDS, QUICK_SIZE, Cell, Size
from .methods import GUIDED, LEARNED, METHODS, START, WEIGHTS
from .page import page
from .scores import scores

HERE = Path(__file__).parent


def arguments(given: list[str] | None = None) -> argparse.Namespace:
    """Settings of a run."""
    parser = pages.arguments("eeg_outside", __doc__)
    parser.add_argument("--quick", action="store_true", help="a few small cells, to try it out")
    parser.add_argument(
        "--grid", choices=("star", "pairs", "full"), default="star", help="which cells"
    )
    parser.add_argument("--samples", type=int, default=200, help="recordings of a cell")
    parser.add_argument("--seed", type=int, default=2026, help="of the recordings")
    parser.add_argument(
        "--methods", nargs="+", choices=list(METHODS), default=list(METHODS), help="columns"
    )
    parser.add_argument("--sections", nargs="+", help="of the cells, by their titles; all")
    parser.add_argument("--raw", type=Path, default=Path("out/bench"), help="cells so far")
    settings = parser.parse_args(given)
    if settings.samples < 1 or settings.seed < 0:
        parser.error("--samples must be positive and --seed not negative")
    if settings.quick:
        settings.grid, settings.samples = "quick", min(settings.samples, 4)
    titles = list(GRIDS[settings.grid]())
    settings.sections = settings.sections or titles
    if unknown := [title for title in settings.sections if title not in titles]:
        parser.error(f"there are no sections {unknown} in this grid, but {titles}")
    return settings


def command(settings: argparse.Namespace) -> str:
    """What to type for this run."""
    chosen = "--quick" if settings.quick else f"--grid {settings.grid} --samples {settings.samples}"
    if settings.methods != list(METHODS):
        chosen += " --methods " + shlex.join(settings.methods)
    if settings.sections != list(GRIDS[settings.grid]()):
        chosen += " --sections " + shlex.join(settings.sections)
    return f"python -m benchmarks.eeg_outside {chosen} --seed {settings.seed}"


def sources(*parts: str) -> list[Path]:
    """Files of some parts of the library."""
    package = Path(learnmm_esi.__file__).parent
    return [path for part in parts for path in (package / part).rglob("*.*") if path.is_file()]


def shared() -> list[Path]:
    """What all measurements depend on: recordings, metrics, and all here but the page."""
    here = [path for path in HERE.glob("*.py") if path.stem not in ("page", "__main__")]
    return [
        p for p in [*here, *sources("simulation", "head", "inverse", "metrics")] if not _made(p)
    ]


def name_of(cell: Cell, method: str) -> str:
    """What a measurement is called: other weights or networks make others of learned methods."""
    name = f"{method} on {cell.name}"
    if method not in (LEARNED, START, GUIDED):
        return name
    networks = [path for path in sources("networks", "recordings") if not _made(path)]
    return f"{name}, {fingerprint([*networks, find_weights(WEIGHTS)])}"


def _made(path: Path) -> bool:
    return "__pycache__" in path.parts


def measure(
    cells: list[Cell], settings: argparse.Namespace, size: Size, cache: Cache
) -> dict[str, dict[str, Any]]:
    """Measure the methods that nothing is known of, cell by cell."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    results: dict[str, dict[str, Any]] = {}
    console = Console(stderr=True)
    with Progress(*columns, TimeElapsedColumn(), console=console) as progress:
        task = progress.add_task("", total=settings.samples * len(cells))
        for number, cell in enumerate(cells):
            progress.update(task, description=cell.name, completed=number * settings.samples)
            names = {method: name_of(cell, method) for method in settings.methods}
            left = {m: METHODS[m] for m, name in names.items() if name not in cache}
            found: dict[str, Any] = {}
            if left:
                found = scores(
                    cell, left, settings.samples, settings.seed, size,
                    lambda n: progress.advance(task, n),
                )  # fmt: skip
            results[cell.name] = {
                method: cache.get(name, lambda m=method, f=found: f[m])
                for method, name in names.items()
            }
        progress.update(task, completed=settings.samples * len(cells))
    return results


def main(given: list[str] | None = None) -> None:
    """Print the tables and write them down, as a page and as numbers."""
    settings = arguments(given)
    torch.set_num_threads(1)
    begin = time.perf_counter()
    sections = {
        title: cells
        for title, cells in GRIDS[settings.grid]().items()
        if title in settings.sections
    }
    cells = list(dict.fromkeys(cell for some in sections.values() for cell in some))
    header = {
        "samples": settings.samples,
        "seed": settings.seed,
        "versions": {"mne": mne.__version__, "torch": torch.__version__, "numpy": np.__version__},
        "sources": fingerprint(shared()),
    }
    cache = Cache(settings.raw / f"eeg_outside-{settings.grid}.json", header)
    size = QUICK_SIZE if settings.quick else FULL_SIZE
    results = measure(cells, settings, size, cache)
    facts = {
        "Command": f"`{command(settings)}`",
        "Recordings": f"{settings.samples} a row, {size.together} on a cap",
        "Weights": f"`{WEIGHTS}`, digest {fingerprint([find_weights(WEIGHTS)])}",
        "Hardware": hardware(),
        "Versions": f"Python {platform.python_version()}, numpy {np.__version__}, torch "
        f"{torch.__version__}, MNE-Python {mne.__version__}",
        "Time of the run": f"{time.perf_counter() - begin:.0f} s",
    }
    content = {
        "facts": facts,
        "cells": [
            {**vars(cell), "name": cell.name, "methods": results[cell.name]} for cell in cells
        ],
    }
    text = json.dumps(content, indent=1, ensure_ascii=False) + "\n"
    write_file(settings.output.with_suffix(".json"), text.encode())
    pages.write(page(sections, settings.methods, results, facts), settings.output)


if __name__ == "__main__":
    main()
