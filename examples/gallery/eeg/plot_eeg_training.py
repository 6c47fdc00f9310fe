"""
Training a solver for one's own cap
===================================

Half a minute of training, which is tiny: enough to see how it goes, and not enough to beat the
solver that learns nothing. The weights of the library took 76 minutes on two cores, and serve any
cap; those of one's own are for recordings that are like the simulated ones.
"""

import tempfile
import time
from dataclasses import replace
from pathlib import Path

import matplotlib.pyplot as plt
import mne
import numpy as np
import torch

import learnmm as lmm
from learnmm_esi import (
    ERPSimulator,
    Evaluator,
    EvidenceEnergy,
    HeadModelSettings,
    InverseSettings,
    apply_mm,
    head_model_for,
    load_preset,
    load_solver,
    mne_python_inverse,
    save_solver,
    train,
)

mne.set_log_level("ERROR")

# %%
# A cap of 32 electrodes on the template. With a forward solution of one's own it would be
# ``head_model_from_forward("mine-fwd.fif", distances=True)``.

cap = mne.channels.make_standard_montage("biosemi32")
info = mne.create_info(cap.ch_names, sfreq=512.0, ch_types="eeg").set_montage(cap)
model = head_model_for(info, HeadModelSettings(ico=3))

# %%
# A preset says everything that a training depends on besides the head and the data; ``smoke`` is
# the smallest. Here the start, which is trained first, gets 140 steps, and what proposes the
# steps gets four. ``learnmm-esi train mm-net --data erp --forward mine-fwd.fif`` is the same on
# the command line, with a preset of half an hour.

preset = load_preset("smoke", "mm-net")
preset = replace(
    preset,
    method=replace(preset.method, steps=4),
    start=replace(
        preset.start, steps=140, batch_size=64, adam=lmm.AdamSettings(lr=3e-3, warmup=15)
    ),
    fit=replace(preset.fit, steps=4, validate_every=4, adam=lmm.AdamSettings(warmup=2)),
    training=replace(preset.training, train_size=1000, validation_size=16),
)
folder = Path(tempfile.mkdtemp()) / "cap"
begin = time.perf_counter()
trained = train(model, "erp", preset, folder, progress=False)
print(f"trained for {time.perf_counter() - begin:.0f} s; {trained.solver.parameter_counts()}")

# %%
# The folder holds checkpoints, the best weights and a log. The same call goes on where a run was
# stopped, to the numbers of an unbroken one. This one is at its end: no step is taken, and what is
# left to do is to learn anew, from fresh recordings, which starts are like right ones.

begin = time.perf_counter()
again = train(model, "erp", preset, folder, progress=False)
print(f"again: {time.perf_counter() - begin:.0f} s")
assert again.result.best_loss == trained.result.best_loss

# %%
# One file has weights, configuration, channels and what tells its lead field from others, all of
# them checked before anything is built.

file = folder / "my-cap.safetensors"
save_solver(file, trained.solver, {"data": "erp", **preset.as_dict()}, {"of": "an example"})
solver = load_solver(file, model)
print(f"{file.stat().st_size / 1e6:.1f} MB")

# %%
# On 48 recordings that it has not seen, beside its start alone, the solver that learns nothing and
# MNE-Python's sLORETA. LE is the distance of the strongest region from the middle of the patch.

simulator = ERPSimulator(model, seed=4711, snr_db=5.0)
test = simulator.batch(range(48))
learned = solver.reconstruct(test.sensors)
with torch.no_grad():
    y = solver.energy.normalized(test.sensors)
    start = solver.energy.amplitude(solver.energy.start(y), test.sensors)
estimates = {
    "sLORETA": mne_python_inverse(model, test.sensors, "sLORETA"),
    "nothing learned": EvidenceEnergy(model).reconstruct(test.sensors).sources,
    "start alone": start,
    "start and steps": learned.sources,
}
print(learned.result.certificate)
print(f"starts refused: {int(learned.refused.sum())} of {len(learned.refused)}")
assert bool(learned.result.certificate.monotone.all())

evaluate = Evaluator(model, simulator.sfreq)
scores = {}
for name, estimate in estimates.items():
    one = evaluate(test.sources, estimate, test.seed_source).summary()
    scores[name] = one["localization_error_global"]
    print(f"{name:16} LE {scores[name]:4.1f} mm, AUC {100 * one['auc']:5.1f} %", end="")
    print(f", PSNR {one['psnr']:4.1f} dB")
assert scores["start and steps"] < scores["sLORETA"]

# %%
# What was learned is in the start. Steps add a certificate: each of them was verified, and those
# that would have raised the energy were refused. Where the start was not like right ones the
# estimate is the linear one. Their places cost a millimetre or two here: what proposes the steps
# was trained for four steps, and lowers an energy whose prior has hardly been learned.

figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.2), layout="constrained")
energies = torch.cat([learned.result.initial_fun[None], learned.result.history.value])
shares = energies / energies[0]
left.plot(shares, color="0.7", linewidth=0.8)
left.plot(shares.mean(1), color="C0", linewidth=2, label="mean")
left.set(xlabel="step", ylabel="energy, share of its first", title="no recording goes up")
left.set_xticks(range(len(energies)))
left.legend(frameon=False)
right.barh(list(scores), list(scores.values()), color=["0.6", "0.6", "C0", "C0"])
right.invert_yaxis()
right.set(xlabel="LE (mm), mean of 48 recordings")
for axes in (left, right):
    axes.spines[["top", "right"]].set_visible(False)
plt.show()

# %%
# Recordings of this cap are reconstructed with the file. It serves these channels and this rate;
# anything else is an error that says what to do.

evoked = mne.EvokedArray(test.sensors[0], info).set_eeg_reference(projection=True)
stc, fit = apply_mm(evoked, model, InverseSettings(weights=file), return_result=True)
print(fit)
assert np.allclose(stc.data, learned.sources[0], rtol=0, atol=1e-3 * np.abs(stc.data).max())

try:
    apply_mm(evoked.copy().resample(250.0), model, InverseSettings(weights=file))
except ValueError as error:
    print(error)
else:
    raise AssertionError("another rate was taken")
