"""How far a trained MM-Net carries beyond what it was trained on.

Run with ``python examples/esi/robustness.py [WEIGHTS] [--relaxed WEIGHTS]``. Without training anew:
other noise levels, several patches, another conductivity, fewer electrodes, other lead fields.
MM-Net stands next to MNE-Python's sLORETA, to the same weights without the safeguard, and to
R-MM-Net, which was trained without one, if its weights are given. Writes ``robustness.md`` and
``.json``.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.progress import track
from rich.table import Table

import learnmm as lmm
from learnmm.hardware import hardware
from learnmm_esi.head.fsaverage import fsaverage_head_model
from learnmm_esi.head.model import HeadModel
from learnmm_esi.head.settings import HeadModelSettings
from learnmm_esi.inverse.classical import apply_kernel, inverse_kernel
from learnmm_esi.metrics import Evaluator, SourceMetrics
from learnmm_esi.networks.files import describe, load_solver
from learnmm_esi.recordings.learned import find_weights
from learnmm_esi.simulation.erp import ERPSimulator
from learnmm_esi.simulation.patches import PatchSettings
from learnmm_esi.training.allocation import keep_freed_memory

RESULTS = Path(__file__).parent / "results"
BATCH, STEPS = 32, (10,)
COLUMNS = ("setting", "method", "steps", "LE", "LE-global", "AUC", "PSNR", "monotone", "worst rise")


@dataclass(frozen=True)
class Setting:
    """A head model, and what of the simulation differs from training."""

    name: str
    model: HeadModel
    simulation: dict


def settings(trained: HeadModel) -> Iterator[Setting]:
    """List what to evaluate: training's own first."""
    yield Setting("as trained: 5 dB, one patch", trained, {})
    for snr in (-5, 0, 10, 15, 20):
        yield Setting(f"{snr} dB", trained, {"snr_db": float(snr)})
    for patches in (2, 3):
        yield Setting(f"{patches} patches", trained, {"patches": PatchSettings(patches)})
    head = trained.settings or HeadModelSettings()
    changed = {
        "conductivity 0.3 / 0.006 / 0.3 S/m": {"conductivity": (0.3, 0.006, 0.3)},
        "coarser boundary elements (ico 3)": {"ico": 3},
        "dipoles on the white surface": {"surface": "white", "ico": 3},
    }
    for name, change in changed.items():
        yield Setting(name, fsaverage_head_model(replace(head, **change), progress=True), {})
    half = range(0, len(trained.channel_names), 2)
    rows = trained.leadfield[list(half)]
    fewer = replace(
        trained,
        leadfield=rows - rows.mean(0),
        channel_names=tuple(trained.channel_names[i] for i in half),
    )
    yield Setting(f"every other electrode ({len(rows)})", fewer, {})


def evaluate(
    setting: Setting, weights: Path, relaxed: Path | None, samples: int, seed: int
) -> list[dict]:
    """Reconstruct the same recordings with every method."""
    simulator = ERPSimulator(setting.model, seed=seed, **setting.simulation)
    solver = load_solver(weights, setting.model, transfer=True)
    solvers = [("MM-Net", solver, True), ("without safeguard", solver, False)]
    if relaxed is not None:
        solvers.append(("R-MM-Net", load_solver(relaxed, setting.model, transfer=True), True))
    kernel = inverse_kernel(setting.model.leadfield, "sLORETA")
    compare = Evaluator(setting.model, simulator.sfreq)
    found: dict[tuple[str, int], list] = {}
    for first in range(0, samples, BATCH):
        batch = simulator.batch(range(first, min(first + BATCH, samples)))
        y = torch.from_numpy(batch.sensors)

        def keep(method: str, steps: int, x, values, batch=batch) -> None:
            # Of several patches, an estimate's peak should be near one of them.
            metrics = compare(batch.sources, x, batch.seed_source)
            rise = np.zeros(0) if values is None else values.diff(dim=0).amax(0).numpy()
            found.setdefault((method, steps), []).append((metrics, rise))

        keep("sLORETA", 0, apply_kernel(kernel, batch.sensors), None)
        with torch.no_grad():
            for steps in STEPS:
                for name, method, verified in solvers:
                    solved: lmm.learn.Unrolled = method(y, steps=steps, verified=verified)
                    keep(name, steps, solved.x, solved.values)
    rows = []
    for (method, steps), parts in found.items():
        metrics = SourceMetrics.concatenate([m for m, _ in parts]).summary()
        rise = np.concatenate([r for _, r in parts])
        rows.append(
            {
                "setting": setting.name,
                "method": method,
                "steps": steps,
                **metrics,
                "monotone": float((rise <= 0).mean()) if len(rise) else None,
                "worst_rise": float(rise.max()) if len(rise) else None,
            }
        )
    return rows


def cells(row: dict) -> list[str]:
    """Format a row in the order of `COLUMNS`."""
    known = row["monotone"] is not None
    return [
        row["setting"],
        row["method"],
        str(row["steps"] or "-"),
        f"{row['localization_error']:.1f}",
        f"{row['localization_error_global']:.1f}",
        f"{100 * row['auc']:.1f}",
        f"{row['psnr']:.1f}",
        f"{100 * row['monotone']:.0f} %" if known else "-",
        f"{max(0.0, row['worst_rise']):.1e}" if known else "-",
    ]


def main() -> None:
    """Read the options, evaluate, print and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("weights", nargs="?", default="mm-net")
    parser.add_argument("--relaxed", type=Path, help="weights of R-MM-Net")
    parser.add_argument("--samples", type=int, default=64, help="of each setting")
    parser.add_argument("--seed", type=int, default=2, help="of the test sets")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder for the results")
    options = parser.parse_args()

    keep_freed_memory()
    begin = time.perf_counter()
    weights = find_weights(options.weights)
    trained = load_solver(weights).head
    console = Console()
    rows: list[dict] = []
    for setting in track(list(settings(trained)), "evaluating", console=console):
        rows += evaluate(setting, weights, options.relaxed, options.samples, options.seed)
    table = Table(*COLUMNS)
    for row in rows:
        table.add_row(*cells(row))
    console.print(table)

    facts = {
        "command": f"python examples/esi/robustness.py {options.weights} "
        + (f"--relaxed {options.relaxed.name} " if options.relaxed else "")
        + f"--samples {options.samples} --seed {options.seed}",
        "training": describe(weights).notes,
        "hardware": hardware(),
        "wall time": f"{time.perf_counter() - begin:.0f} s",
    }
    lines = [COLUMNS, ["---"] * len(COLUMNS), *(cells(row) for row in rows)]
    told = "\n".join(f"- {name}: {value}" for name, value in facts.items())
    text = (
        "# Robustness\n\nOne MM-Net, never trained anew, on ERP recordings unlike those it was "
        "trained on. LE in mm (of the first patch), AUC × 100, PSNR in dB. *Without safeguard*: "
        "the same weights, every proposal taken. *R-MM-Net*: trained without a safeguard.\n\n"
        + "\n".join("| " + " | ".join(line) + " |" for line in lines)
        + f"\n\n{told}\n"
    )
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "robustness.md").write_text(text, encoding="utf-8")
    content = json.dumps({"rows": rows, "facts": facts}, indent=1)
    (options.out / "robustness.json").write_text(content + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
