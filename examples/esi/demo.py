"""Reconstruct simulated EEG sources with certified steps, next to MNE-Python's MNE and sLORETA.

Run with ``make demo``. Everything is built from what MNE-Python and nilearn ship: the fsaverage
head (994 cortical regions, 90 electrodes, three-layer BEM), and event-related potentials of one
cortical patch each at 5 dB. Writes ``out/demo.png``.
"""

from __future__ import annotations

import time
from pathlib import Path

import matplotlib

matplotlib.use("agg")
import matplotlib.pyplot as plt
import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from learnmm_problems.esi.classical import mne_python_inverse
from learnmm_problems.esi.energy import SourceEnergy
from learnmm_problems.esi.erp import ERPSimulator
from learnmm_problems.esi.figures import plot_cortex
from learnmm_problems.esi.fsaverage import fsaverage_head_model
from learnmm_problems.esi.headmodel import HeadModelSettings
from learnmm_problems.esi.metrics import Evaluator

SAMPLES, SEED, STEPS = 16, 2026, 60
OUT = Path("out")

console = Console()

# 1. The head and the recordings.
model = fsaverage_head_model(HeadModelSettings(ico=3), progress=True)
simulator = ERPSimulator(model, seed=SEED, snr_db=5.0)
recordings = simulator.batch(range(SAMPLES))

# 2. Three reconstructions of each.
energy = SourceEnergy(model)
estimates, milliseconds = {}, {}
for method in ("MNE", "sLORETA"):
    begin = time.perf_counter()
    estimates[method] = mne_python_inverse(model, recordings.sensors, method)
    milliseconds[method] = 1e3 * (time.perf_counter() - begin) / SAMPLES
begin = time.perf_counter()
reconstruction = energy.reconstruct(recordings.sensors, max_iter=STEPS, progress=True)
milliseconds["learnmm"] = 1e3 * (time.perf_counter() - begin) / SAMPLES
estimates["learnmm"] = reconstruction.sources
result = reconstruction.result

# 3. What they are worth.
evaluate = Evaluator(model, simulator.sfreq)
objective = energy(recordings.sensors)
table = Table(title=f"{SAMPLES} simulated recordings, one cortical patch each, 5 dB")
for column in (
    "method",
    "localisation\nerror, mm",
    "AUC\nx 100",
    "energy",
    "steps",
    "ms",
    "certified",
):
    table.add_column(column, justify="left" if column in ("method", "certified") else "right")
for method, estimate in estimates.items():
    metrics = evaluate(recordings.sources, estimate, recordings.seed_source).summary()
    unit_free = torch.tensor(estimate / np.abs(estimate).max((1, 2), keepdims=True)).float()
    steps, certified = "-", "-"
    if method == "learnmm":
        steps = f"{result.iterations.float().mean():.0f}"
        certified = (
            f"{result.certificate.kind.name} bound, {int(result.certificate.monotone.sum())} of "
            f"{SAMPLES} monotone, {int(result.certificate.rejected.sum())} steps refused"
        )
    table.add_row(
        method,
        f"{metrics['localization_error']:.1f}",
        f"{100 * metrics['auc']:.1f}",
        f"{float(objective(unit_free).mean()):.3f}",
        steps,
        f"{milliseconds[method]:.0f}",
        certified,
    )
console.print(table)
console.print(str(result.certificate))

# 4. One of them on the cortex, and all energies on their way down.
shown = int(np.abs(recordings.sources).max((1, 2)).argmax())
peak = int(np.abs(recordings.sources[shown, recordings.seed_source[shown]]).argmax())
maps = {"truth": recordings.sources[shown, :, peak]}
maps |= {method: estimate[shown, :, peak] for method, estimate in estimates.items()}
figure = plot_cortex(model, maps)
curve, axes = plt.subplots(figsize=(6, 4), layout="constrained")
values = torch.cat([result.initial_fun[None], result.history.value]).numpy()
axes.plot(values, color="0.7", linewidth=0.8)
axes.plot(values.mean(1), color="C0", linewidth=2, label="mean")
axes.set(xlabel="iteration", ylabel="energy", yscale="log", title="Every line only ever goes down")
axes.legend(frameon=False)
OUT.mkdir(exist_ok=True)
figure.savefig(OUT / "demo_cortex.png", dpi=120)
curve.savefig(OUT / "demo_energy.png", dpi=120)
console.print(f"Pictures: {OUT / 'demo_cortex.png'}, {OUT / 'demo_energy.png'}")
