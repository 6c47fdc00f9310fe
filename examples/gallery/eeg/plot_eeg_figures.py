"""
Figures 1 and 2 of the paper, in small
======================================

*Majorization-Minimization Networks for Inverse Problems: An Application to EEG Imaging* shows one
recording on the cortex by all methods, and the energy along the iterations. Here they are with what
comes with the library; :doc:`those of every method of the paper
</generated/committed/table1_horizons>`, trained here, are among the results.
"""

import matplotlib.pyplot as plt
import mne
import numpy as np
import torch

from learnmm_esi import (
    ERPSimulator,
    EvidenceEnergy,
    HeadModelSettings,
    InverseSettings,
    MMInverse,
    fsaverage_head_model,
    mne_python_inverse,
    plot_cortex,
)

mne.set_log_level("ERROR")

# %%
# The head of the paper has 90 electrodes and 994 regions; this one is coarse. The recording is an
# event-related potential of one patch at 5 dB. The weights of the library were trained for any cap,
# not for this one, and take two steps.

model = fsaverage_head_model(HeadModelSettings(ico=3))
simulator = ERPSimulator(model, seed=2, snr_db=5.0)
recordings = simulator.batch(range(12))
info = model.info(simulator.sfreq)
responses = [
    mne.EvokedArray(sensors, info).set_eeg_reference(projection=True)
    for sensors in recordings.sensors
]
learned = [
    MMInverse(model, InverseSettings(weights="mm-net", max_iter=steps)).apply(
        responses, return_result=True
    )
    for steps in (2, 40)
]
nothing = EvidenceEnergy(model).reconstruct(recordings.sensors)

# %%
# Figure 1: the moment at which the true source is largest. Each row is divided by its own maximum.

shown = int(np.abs(recordings.sources).max((1, 2)).argmax())
truth, seed = recordings.sources[shown], recordings.seed_source[shown]
peak = np.abs(truth[seed]).argmax()
maps = {"truth": 1e9 * truth[:, peak]}
maps["MNE"] = 1e9 * mne_python_inverse(model, recordings.sensors, "MNE")[shown, :, peak]
maps["sLORETA"] = mne_python_inverse(model, recordings.sensors, "sLORETA")[shown, :, peak]
maps["nothing learned"] = 1e9 * nothing.sources[shown, :, peak]
maps["mm-net"] = 1e9 * learned[0][shown][0].data[:, peak]
units = dict.fromkeys(maps, "nA m") | {"sLORETA": "(no unit)"}
side = "left" if seed < len(model.vertices[0]) else "right"
plot_cortex(model, maps, views=[(side, "lateral"), (side, "medial")], unit=units)
plt.show()

# %%
# Figure 2: the energy, far beyond the two steps of training. Every step was verified, and the thin
# lines, one for each recording, only go down. Two energies are not compared: each is that of its
# solver.

figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.4), layout="constrained")
curves = [fit.energies for _, fit in learned[1]]
longest = max(map(len, curves))
mean = np.mean([np.pad(c, (0, longest - len(c)), mode="edge") for c in curves], axis=0)
for curve in curves:
    left.plot(1 + np.arange(len(curve)), curve, color="0.7", linewidth=0.8)
left.plot(1 + np.arange(longest), mean, color="C0", linewidth=2, label="mean")
left.axvline(3, color="C1", linestyle=":", label="steps of training")
left.set(xscale="log", yscale="log", xlabel="iteration + 1", ylabel="energy", title="mm-net")
left.legend(frameon=False)
energies = torch.cat([nothing.result.initial_fun[None], nothing.result.history.value])
above = (energies - energies[-1]).clamp(min=1e-9)
right.semilogy(above, color="0.7", linewidth=0.8)
right.set(xlabel="iteration", ylabel="energy over its last", title="nothing learned")
for axes in (left, right):
    axes.spines[["top", "right"]].set_visible(False)
plt.show()

assert all(fit.monotone for fits in learned for _, fit in fits)
print(f"nothing learned: {nothing.result.certificate}")

# %%
# The certificate speaks of the energy, not of the estimate, and lower need not be nearer: over many
# recordings :doc:`30 steps are no better than two </generated/committed/eeg_starts>`. How far the
# strongest region lies from the middle of the patch, of these twelve:


def error(estimates):
    strongest = [np.abs(one).max(axis=1).argmax() for one in estimates]
    apart = model.positions[strongest] - model.positions[recordings.seed_source]
    return 1e3 * np.linalg.norm(apart, axis=1).mean()


print(f"nothing learned: {error(nothing.sources):.1f} mm")
for steps, pairs in zip((2, 40), learned, strict=True):
    taken = np.mean([len(fit.energies) - 1 for _, fit in pairs])
    print(f"mm-net, at most {steps} steps, {taken:.0f} taken: ", end="")
    print(f"{error([stc.data for stc, _ in pairs]):.1f} mm")

# %%
# The :doc:`committed page on horizons </generated/committed/table1_horizons>` has Figure 2 for all
# five methods; of those that do not verify their steps some rise again.
# :doc:`Table I beside ours </generated/committed/table1>` says how little they were trained.
