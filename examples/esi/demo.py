"""Reconstruct simulated EEG sources with certified steps, learned and not, next to MNE-Python's.

Run with ``make demo``. Everything is built from what MNE-Python and nilearn ship: the fsaverage
head (994 cortical regions, 90 electrodes, three-layer BEM), and event-related potentials of one
cortical patch each at 5 dB. The learned solver is an MM-Net that comes with the library; it was
trained on a finer model of this head. *Guided* is the solver that learns nothing, which expects
patches where MM-Net's start is strong. Writes ``out/demo_cortex.png`` and ``out/demo_energy.png``.
"""

from __future__ import annotations

import time
from pathlib import Path

import matplotlib

matplotlib.use("agg")
import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.ticker import MaxNLocator
from rich.console import Console
from rich.table import Table

from learnmm_esi.head.fsaverage import fsaverage_head_model
from learnmm_esi.head.settings import HeadModelSettings
from learnmm_esi.inverse.classical import mne_python_inverse
from learnmm_esi.inverse.evidence import EvidenceEnergy
from learnmm_esi.metrics import Evaluator
from learnmm_esi.networks.files import load_solver
from learnmm_esi.plots.cortex import plot_cortex
from learnmm_esi.recordings.guided import GuidedInverse
from learnmm_esi.recordings.learned import SeeingInverse, find_weights
from learnmm_esi.simulation.erp import ERPSimulator

SAMPLES, SEED, STEPS = 16, 2026, 30
OUT = Path("out")
PLAIN = "nothing learned"

console = Console()

# 1. The head and the recordings.
model = fsaverage_head_model(HeadModelSettings(ico=3), progress=True)
simulator = ERPSimulator(model, seed=SEED, snr_db=5.0)
recordings = simulator.batch(range(SAMPLES))

# 2. Five reconstructions of each, and what the learned one starts from.
energy = EvidenceEnergy(model)
estimates, milliseconds = {}, {}
for method in ("MNE", "sLORETA"):
    begin = time.perf_counter()
    estimates[method] = mne_python_inverse(model, recordings.sensors, method)
    milliseconds[method] = 1e3 * (time.perf_counter() - begin) / SAMPLES
begin = time.perf_counter()
reconstruction = energy.reconstruct(recordings.sensors, max_iter=STEPS, progress=True)
milliseconds[PLAIN] = 1e3 * (time.perf_counter() - begin) / SAMPLES
solver = load_solver(find_weights("mm-net"), model, transfer=True)
guide = GuidedInverse(SeeingInverse(solver, model.leadfield), model)
begin = time.perf_counter()
guided = guide.reconstruct(recordings.sensors, max_iter=STEPS, progress=True)
milliseconds["guided"] = 1e3 * (time.perf_counter() - begin) / SAMPLES
begin = time.perf_counter()
with torch.no_grad():  # what the steps of MM-Net begin with: a network of its own
    y = solver.energy.normalized(recordings.sensors)
    start = solver.energy.amplitude(solver.energy.start(y), recordings.sensors)
milliseconds["MM-Net's start"] = 1e3 * (time.perf_counter() - begin) / SAMPLES
begin = time.perf_counter()
learned = solver.reconstruct(recordings.sensors, progress=True)
milliseconds["MM-Net"] = 1e3 * (time.perf_counter() - begin) / SAMPLES
results = {PLAIN: reconstruction.result, "guided": guided.result, "MM-Net": learned.result}
estimates |= {PLAIN: reconstruction.sources, "guided": guided.sources}
estimates |= {"MM-Net's start": start, "MM-Net": learned.sources}

# 3. What they are worth. LE is the paper's localisation error: the peak is searched within seven
# neighbours of the true seed; LE global searches all regions.
evaluate = Evaluator(model, simulator.sfreq)
table = Table(title=f"{SAMPLES} simulated recordings, one cortical patch each, 5 dB")
for column in (
    "method",
    "LE\nmm",
    "LE global\nmm",
    "AUC\nx 100",
    "PSNR\ndB",
    "steps",
    "ms",
    "certified",
):
    table.add_column(column, justify="left" if column in ("method", "certified") else "right")
for method, estimate in estimates.items():
    metrics = evaluate(recordings.sources, estimate, recordings.seed_source).summary()
    steps, certified = "0" if method == "MM-Net's start" else "-", "-"
    if method in results:
        result = results[method]
        steps = f"{result.iterations.float().mean():.0f}"
        certified = (
            f"{result.certificate.kind.name} bound, {int(result.certificate.monotone.sum())} of "
            f"{len(result.x)} monotone, {int(result.certificate.rejected.sum())} steps refused"
        )
    if method == "MM-Net" and learned.refused is not None:
        certified += f"; {int(learned.refused.sum())} starts refused"
    table.add_row(
        method,
        f"{metrics['localization_error']:.1f}",
        f"{metrics['localization_error_global']:.1f}",
        f"{100 * metrics['auc']:.1f}",
        f"{metrics['psnr']:.1f}",
        steps,
        f"{milliseconds[method]:.0f}",
        certified,
    )
console.print(table)
console.print(
    "LE: peak within seven neighbours of the true seed (the paper's); LE global: anywhere"
)
for method, result in results.items():
    console.print(f"{method}: {result.certificate}")

# 4. One of them on the cortex, and all energies on their way down.
shown = int(np.abs(recordings.sources).max((1, 2)).argmax())
peak = int(np.abs(recordings.sources[shown, recordings.seed_source[shown]]).argmax())
maps = {"truth": recordings.sources[shown, :, peak]}
maps |= {method: estimate[shown, :, peak] for method, estimate in estimates.items()}
units = dict.fromkeys(maps, "nA m") | {"sLORETA": "(no unit)"}
maps = {name: values * (1e9 if units[name] == "nA m" else 1) for name, values in maps.items()}
figure = plot_cortex(model, maps, unit=units)
curve, panels = plt.subplots(1, len(results), figsize=(12, 4), layout="constrained")
for axes, (method, result) in zip(panels, results.items(), strict=True):
    values = torch.cat([result.initial_fun[None], result.history.value]).numpy()
    axes.plot(values, color="0.7", linewidth=0.8)
    axes.plot(values.mean(1), color="C0", linewidth=2, label="mean")
    axes.set(xlabel="iteration", ylabel="its energy", yscale="log", title=method)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.legend(frameon=False)
curve.suptitle("Every line only ever goes down")
OUT.mkdir(exist_ok=True)
figure.savefig(OUT / "demo_cortex.png", dpi=120)
curve.savefig(OUT / "demo_energy.png", dpi=120)
console.print(f"Pictures: {OUT / 'demo_cortex.png'}, {OUT / 'demo_energy.png'}")
