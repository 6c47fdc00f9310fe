"""
Sources of an evoked response
=============================

One line from an :class:`mne.Evoked` to an :class:`mne.SourceEstimate`, guided by the weights that
come with the library and without anything learned, beside MNE-Python's own MNE and sLORETA.
"""

import matplotlib.pyplot as plt
import mne
import numpy as np

from learnmm_esi import (
    ERPSimulator,
    HeadModelSettings,
    InverseSettings,
    MMInverse,
    apply_mm,
    head_model_for,
    plot_cortex,
    plot_reconstruction,
)

mne.set_log_level("ERROR")

# %%
# A cap of 64 electrodes, as MNE-Python knows it. The recordings come from a head on which each of
# them sits some three millimetres elsewhere, as on a real one: no method below knows where.

cap = mne.channels.make_standard_montage("biosemi64")
info = mne.create_info(cap.ch_names, sfreq=512.0, ch_types="eeg").set_montage(cap)
moved = info.copy()
rng = np.random.default_rng(0)
for channel in moved["chs"]:
    channel["loc"][:3] += 0.003 / np.sqrt(3) * rng.standard_normal(3)

head = HeadModelSettings(ico=3)  # the default, ico=4, is finer, and takes minutes once
simulator = ERPSimulator(head_model_for(moved, head), seed=2026, snr_db=5.0)
recordings = simulator.batch(range(24))


def evoked_of(index):
    """One patch of cortex, active for some 60 ms, and white noise at 5 dB."""
    evoked = mne.EvokedArray(recordings.sensors[index], info, tmin=0.0, nave=40, comment="left")
    return evoked.set_eeg_reference(projection=True)


evoked = evoked_of(0)

# %%
# The line. The head model follows from the electrodes of the recording; with ``apply_mm(evoked)``
# it is the finer one.

stc, fit = apply_mm(evoked, head, return_result=True)
print(stc)
print(fit)
assert fit.monotone
assert fit.kind.name == "GLOBAL"

# %%
# ``fit`` is the certificate: how it started, which kind of bound the solver has, that no step
# raised the energy, and how much of the recording the sources explain. Of 5 dB, 24 % are noise,
# which nothing should explain. Every step was verified; the bound is ``GLOBAL``, so that one which
# is refused gives way to a step that is known to descend before it is tried.

model = head_model_for(info, head)
plot_reconstruction(stc, evoked, model)
plt.show()

# %%
# What was learned says where patches of cortex are expected, and no more. The solver takes as many
# of them, as wide and as strong, as is most probable given the noise; it can do so without weights.
# ``InverseSettings(weights="mm-net")`` are the weights with their own steps.

plain, told = apply_mm(evoked, head, InverseSettings(), return_result=True)
print(told)
assert told.monotone
assert told.kind.name == "GLOBAL"

# %%
# MNE-Python's inverses of the same response, on the same head model: ``model.forward()`` is an
# :class:`mne.Forward`.

operator = mne.minimum_norm.make_inverse_operator(
    evoked.info, model.forward(), mne.make_ad_hoc_cov(info), loose=0.0, depth=0.0
)


def classical(evoked, method):
    return mne.minimum_norm.apply_inverse(evoked, operator, lambda2=1 / 25, method=method)


estimates = {
    "MNE": classical(evoked, "MNE"),
    "sLORETA": classical(evoked, "sLORETA"),
    "nothing learned": plain,
    "guided": stc,
}
seed = recordings.seed_source[0]
peak = np.abs(recordings.sources[0, seed]).argmax()
maps = {"truth": 1e9 * recordings.sources[0, :, peak]}
maps |= {name: 1e9 * one.data[:, peak] for name, one in estimates.items()}
maps["sLORETA"] = estimates["sLORETA"].data[:, peak]
VIEWS = [("left", "lateral"), ("left", "medial"), ("right", "medial"), ("right", "lateral")]
units = dict.fromkeys(maps, "nA m") | {"sLORETA": "(no unit)"}
plot_cortex(model, maps, views=VIEWS, unit=units)
plt.show()

# %%
# Each row is divided by its own maximum, which it names: moments of single regions are told apart
# by what each method takes for granted of the size of a patch, and should not be read off.

# %%
# How sure the place is, a second estimate says. The estimate is recorded again with fresh noise,
# and reconstructed. What is painted is the 90 % region of the main source.

inverses = {"nothing learned": MMInverse(head, InverseSettings()), "guided": MMInverse(head)}
levels = {name: inverse.uncertainty(evoked) for name, inverse in inverses.items()}
regions = {"truth": maps["truth"] / maps["truth"].max()}
for name, where in levels.items():
    level = where.data[:, 0]  # 0 where it is most probable
    regions[name] = np.where(level <= 0.9, 1.0 - level, 0.0)
    print(f"{name}: {(where.data <= 0.9).sum()} regions; {where.comment}")
    print(f"  the true place is in it: {bool(where.data[seed, 0] <= 0.9)}")
plot_cortex(model, regions, views=VIEWS, threshold=0.01)
plt.show()

# %%
# One recording proves nothing. Of 24, how far the strongest region lies from the middle of the
# true patch:

responses = [evoked_of(index) for index in range(24)]
found = {name: inverse.apply(responses) for name, inverse in inverses.items()}
found |= {name: [classical(one, name) for one in responses] for name in ("MNE", "sLORETA")}
errors = {}
for name in estimates:
    strongest = [np.abs(one.data).max(axis=1).argmax() for one in found[name]]
    apart = model.positions[strongest] - model.positions[recordings.seed_source]
    errors[name] = 1e3 * np.linalg.norm(apart, axis=1)
    print(f"{name:16} median {np.median(errors[name]):4.1f} mm, mean {errors[name].mean():4.1f} mm")
assert max(errors["guided"].mean(), errors["nothing learned"].mean()) < errors["sLORETA"].mean()

figure, axes = plt.subplots(figsize=(6, 3))
axes.boxplot(
    list(errors.values()), orientation="horizontal", tick_labels=list(errors), whis=(0, 90)
)
axes.set(xlabel="distance from the true place (mm)", title="24 recordings of one patch, 5 dB")
axes.spines[["top", "right"]].set_visible(False)
figure.tight_layout()
plt.show()

# %%
# What happens with other caps, more patches, other heads and noise from the brain is
# :doc:`measured elsewhere </generated/committed/eeg_outside>`, rows that are lost included; so is
# :doc:`how often the 90 % regions hold the truth </generated/committed/coverage>`.
