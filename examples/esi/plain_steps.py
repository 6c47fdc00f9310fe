"""Limited memory on the energy of a trained method: what its learned steps are to be held against.

Run with ``python examples/esi/plain_steps.py WEIGHTS EVALUATION``, an evaluation of these weights
far beyond their training, as ``equal_training.py`` makes them. The same recordings, energy, start
and numbers of steps; nothing in the steps is learned. Written beside that evaluation.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import torch
from evaluations import EVALUATION, unfit
from rich.console import Console
from rich.progress import Progress

import learnmm as lmm
from learnmm.hardware import hardware
from learnmm.storage import replacing
from learnmm_esi import load_solver
from learnmm_esi.simulation.data_sets import simulator
from learnmm_esi.training.evaluate import evaluate

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("weights", type=Path)
parser.add_argument("evaluation", type=Path, help="JSON of learnmm-esi evaluate")
options = parser.parse_args()
torch.set_num_threads(1)

said = json.loads(options.evaluation.read_text(encoding="utf-8"))
if wrong := unfit(said, EVALUATION):
    raise SystemExit(f"Error: {options.evaluation} is no evaluation: {wrong}")
solver = load_solver(options.weights)
if solver.method.name != said["method"] or solver.method.start != said["start"]:
    raise SystemExit(
        f"Error: the evaluation is of {said['method']} from {said['start']}, the weights are of "
        f"{solver.method.name} from {solver.method.start}"
    )
solver.unrolled.proposer = lmm.LimitedMemory()
solver.unrolled.settings = lmm.SolveSettings()
test = simulator(solver.head, said["tested_on"], said["seed"], said["samples"])
with Progress(console=Console(stderr=True)) as bar:
    task = bar.add_task("evaluating", total=said["samples"])
    found = evaluate(
        solver,
        test,
        said["samples"],
        horizons=[int(steps) for steps in said["steps"]],
        advance=lambda n: bar.advance(task, n),
    )
said |= {
    "method": f"limited memory on the energy of {said['method']}",
    "verified": True,
    "command": f"python examples/esi/{Path(__file__).name} WEIGHTS {options.evaluation.name}",
    "hardware": hardware(),
    **found.summary(),
}
with replacing(options.evaluation.with_name(f"plain-{options.evaluation.name}")) as path:
    path.write_text(json.dumps(said, indent=1) + "\n", encoding="utf-8")
