"""Cortical maps of one recording by all methods (Figure 1).

Run with ``python examples/esi/figure1.py WEIGHTS...``: one simulated event-related potential at the
peak of its source, the truth, MNE-Python's MNE and sLORETA, what learns nothing, and every trained
method given. Writes ``figure1.png``.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import matplotlib

matplotlib.use("agg")
import numpy as np

from learnmm_esi.inverse.classical import mne_python_inverse
from learnmm_esi.inverse.evidence import EvidenceEnergy
from learnmm_esi.networks.files import load_solver
from learnmm_esi.plots.cortex import plot_cortex
from learnmm_esi.recordings.learned import find_weights
from learnmm_esi.simulation.erp import ERPSimulator

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("weights", nargs="*", default=["mm-net"])
parser.add_argument("--sample", type=int, default=0, help="of the test set")
parser.add_argument("--seed", type=int, default=2, help="of the test set")
parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results")
options = parser.parse_args()

solvers = [load_solver(find_weights(weights)) for weights in options.weights]
model = solvers[0].head
recording = ERPSimulator(model, seed=options.seed).batch([options.sample])
truth, seed = recording.sources[0], int(recording.seed_source[0])
peak = int(np.abs(truth[seed]).argmax())

maps = {"truth": truth[:, peak]}
for method in ("MNE", "sLORETA"):
    maps[method] = mne_python_inverse(model, recording.sensors, method)[0, :, peak]
unlearned = EvidenceEnergy(model).reconstruct(recording.sensors)
maps["nothing learned"] = unlearned.sources[0, :, peak]
for solver in solvers:
    maps[solver.method.name] = solver.reconstruct(recording.sensors).sources[0, :, peak]
options.out.mkdir(parents=True, exist_ok=True)
units = dict.fromkeys(maps, "nA m") | {"sLORETA": "(no unit)"}
maps = {name: values * (1e9 if units[name] == "nA m" else 1) for name, values in maps.items()}
plot_cortex(model, maps, unit=units).savefig(options.out / "figure1.png", dpi=110)
print(f"Written: {options.out / 'figure1.png'}")
