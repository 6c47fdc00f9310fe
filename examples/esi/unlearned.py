"""What the library reaches on Table I's test sets without learning anything, for its tables.

Run with ``python examples/esi/unlearned.py``: `EvidenceEnergy`, which is what `MMInverse` minimizes
where it has no weights. Writes ``unlearned.json``, of which ``table1.py`` makes rows.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.progress import Progress

from learnmm.hardware import hardware
from learnmm.storage import replacing
from learnmm_esi import EvidenceEnergy, HeadModel, HeadModelSettings, fsaverage_head_model
from learnmm_esi.simulation.data_sets import simulator
from learnmm_esi.training.evaluate import Look, comparison

METHOD = "nothing learned"
BATCH = 32


def row(model: HeadModel, data: str, options: argparse.Namespace, bar: Progress) -> Any:
    """Metrics of a data set, their standard errors, and what was certified."""
    energy, test = EvidenceEnergy(model), simulator(model, data, options.seed, options.samples)
    compare, looks = comparison(model, test), []
    for first in bar.track(range(0, options.samples, BATCH), description=data):
        batch = test.batch(range(first, min(first + BATCH, options.samples)))
        found = energy.reconstruct(batch.sensors)
        result = found.result
        looks.append(Look.of(compare(batch, found.sources), result.certificate, result.iterations))
    summary = Look.concatenate(looks).summary()
    return {"method": METHOD, "tested_on": data, "samples": options.samples, **summary}


def main() -> None:
    """Read the options and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", nargs="+", default=["erp", "nmm", "nmm-two"])
    parser.add_argument("--samples", type=int, default=2000, help="of each data set")
    parser.add_argument("--seed", type=int, default=2, help="of the test sets")
    parser.add_argument("--ico", type=int, default=4, help="resolution of the head model")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results")
    options = parser.parse_args()
    torch.set_num_threads(1)
    model = fsaverage_head_model(HeadModelSettings(ico=options.ico), progress=True)
    with Progress(console=Console(stderr=True)) as bar:
        rows = [row(model, data, options, bar) for data in options.data]
    command = f"python examples/esi/unlearned.py --samples {options.samples} --ico {options.ico}"
    content = {"rows": rows, "command": command, "hardware": hardware()}
    options.out.mkdir(parents=True, exist_ok=True)
    with replacing(options.out / "unlearned.json") as path:
        path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
