"""
Your own head, and recordings by the hundred
============================================

A forward solution of MNE-Python's, from your own MRI, goes behind the recording; so does a bare
lead field from elsewhere. What does not fit is an error that says what came and what was expected.
"""

import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import mne
import nibabel
import numpy as np
from nilearn.datasets import fetch_surf_fsaverage

from learnmm_esi import (
    ERPSimulator,
    EvidenceEnergy,
    MMInverse,
    apply_mm,
    head_model_from_forward,
    head_model_from_leadfield,
    plot_reconstruction,
)

mne.set_log_level("ERROR")

# %%
# FreeSurfer's surfaces of one's own would lie in ``SUBJECTS_DIR``. Here a head stands for them that
# is a tenth shorter than the template: fsaverage5's surfaces, which nilearn ships, in the frame of
# the electrodes.

subjects = Path(tempfile.mkdtemp())
(subjects / "mine" / "surf").mkdir(parents=True)
shipped = fetch_surf_fsaverage("fsaverage5")
cap = mne.channels.make_standard_montage("GSN-HydroCel-64_1.0")
info = mne.create_info(cap.ch_names[:64], sfreq=512.0, ch_types="eeg").set_montage(cap)
for side in ("left", "right"):
    for surface in ("white", "sphere"):
        points, triangles = nibabel.load(shipped[f"{surface}_{side}"]).agg_data()
        if surface == "white":
            points = (points - (0, -20, 0)) * (1, 0.9, 1) + (0, 0, 40)  # mm
        file = subjects / "mine" / "surf" / f"{side[0]}h.{surface}"
        mne.write_surface(file, points, triangles)

# %%
# From here on it is what one does with MNE-Python. With an MRI the sphere is a boundary-element
# model: ``mne.make_bem_solution(mne.make_bem_model("mine"))``, and ``trans`` comes from
# coregistration.

spaces = mne.setup_source_space("mine", "ico3", "white", subjects_dir=subjects, add_dist=False)
sphere = mne.make_sphere_model((0.0, 0.0, 0.04), head_radius=0.095)
same_frame = mne.transforms.Transform("head", "mri")
forward = mne.make_forward_solution(info, same_frame, spaces, sphere, meg=False)
print(forward)

# %%
# Sources are oriented along the normals of the cortex; neighbours are those whose cells touch.
# ``apply_mm`` takes the forward solution or its ``-fwd.fif`` as it is, and prepares it each time;
# :class:`~learnmm_esi.MMInverse` keeps what was prepared.

model = head_model_from_forward(forward, distances=True)
print(model)
inverse = MMInverse(model)

simulator = ERPSimulator(model, seed=7, snr_db=5.0)
recordings = simulator.batch(range(200))
events = np.stack([np.arange(200), np.zeros(200, int), np.ones(200, int)], axis=1)
epochs = mne.EpochsArray(recordings.sensors, info, events, tmin=0.0)
epochs.set_eeg_reference(projection=True)
evoked = epochs[1].average()

stc, fit = inverse.apply(evoked, return_result=True)
print(fit)
plot_reconstruction(stc, evoked, model)
plt.show()

# %%
# Two hundred recordings are solved as batches, of which each has its own steps, certificate and
# end; a generator hands them out as they come, and ``n_jobs=-1`` uses all cores. Several
# :class:`mne.Evoked`, of different caps too, are an iterable of them. The lead field is the right
# one here, which on real recordings it never is.

errors, monotone = [], 0
estimates = inverse.apply(epochs, return_generator=True, return_result=True)
for seed, (one, told) in zip(recordings.seed_source, estimates, strict=True):
    strongest = np.abs(one.data).max(axis=1).argmax()
    errors.append(1e3 * np.linalg.norm(model.positions[strongest] - model.positions[seed]))
    monotone += told.monotone
print(f"{monotone} of {len(errors)} monotone; error {np.median(errors):.1f} mm in the median")
assert monotone == len(errors)

figure, axes = plt.subplots(figsize=(6, 3))
axes.hist(errors, bins=np.arange(0, max(errors) + 5, 2.5), color="C0")
axes.set(xlabel="distance from the true place (mm)", ylabel="recordings")
axes.set(title="200 recordings of one patch, 5 dB")
axes.spines[["top", "right"]].set_visible(False)
figure.tight_layout()
plt.show()

# %%
# A lead field from other software is an array in V/(A m) with positions in metres and neighbours.
# Without surfaces there is no :class:`mne.SourceEstimate`: arrays go in and come out, at the energy
# itself.

bare = head_model_from_leadfield(
    model.leadfield, model.positions, model.neighbours, model.channel_names
)
arrays = EvidenceEnergy(bare).reconstruct(recordings.sensors[:2])
print(arrays.sources.shape, arrays.result.certificate)

# %%
# What is checked. Each of these is refused before anything is computed.

unreferenced = mne.EvokedArray(evoked.data + 1e-5, info)
renamed = evoked.copy().rename_channels({"E1": "X1"})
microvolts = mne.EvokedArray(1e6 * evoked.data, info).set_eeg_reference(projection=True)
broken = mne.EvokedArray(np.where(evoked.data > 2e-5, np.nan, evoked.data), info)
millimetres = (model.leadfield, 1e3 * model.positions, model.neighbours, model.channel_names)
grid = mne.setup_volume_source_space(pos=30.0, sphere=sphere)
volume = mne.make_forward_solution(info, same_frame, grid, sphere, meg=False)
attempts = {
    "no average reference": lambda: inverse.apply(unreferenced),
    "a channel of another name": lambda: inverse.apply(renamed),
    "microvolts": lambda: inverse.apply(microvolts),
    "not finite": lambda: inverse.apply(broken.set_eeg_reference(projection=True)),
    "positions in mm": lambda: head_model_from_leadfield(*millimetres),
    "a volume": lambda: apply_mm(evoked, volume),
    "loose orientations": lambda: MMInverse(model, loose=0.2),
}
for what, attempt in attempts.items():
    try:
        attempt()
    except (TypeError, ValueError) as error:
        print(f"{what}: {error}\n")
    else:
        raise AssertionError(f"{what} was taken")

# %%
# Weights that were trained on fsaverage see a head of one's own through FreeSurfer's registration
# of its surfaces (``SUBJECT/surf/?h.sphere.reg``), with ``apply_mm(evoked, "mine-fwd.fif",
# InverseSettings(weights="mm-net", guided=True))``. That step by itself is
# :func:`~learnmm_esi.template_regions`.
