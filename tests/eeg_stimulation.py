"""A small folder of the form of Localize-MI: stimulated places that are known, in a sphere."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import mne
import numpy as np

from draws import normal
from learnmm_esi.head.cortex import fsaverage5
from learnmm_esi.head.from_forward import head_model_from_forward
from learnmm_esi.head.gain import source_spaces

SOURCES = 60  # in each hemisphere
CHANNELS = 48
SFREQ, START, TIMES, EPOCHS = 2000.0, -0.1, 221, 4
MOMENT = 1e-7  # A m
OFFSET = 0.002  # metres from the source that is active to the midpoint of the contacts
BAD = "E7"  # holds what no number is


@dataclass(frozen=True)
class Stimulation:
    """One run: which source is active, and what its files say."""

    subject: str
    run: str
    source: int
    shaft: str
    unit: str = "m"
    noise: float = 1e-4  # of the response
    sidecar: Mapping[str, Any] = field(default_factory=dict)

    @property
    def stem(self) -> str:
        return f"{self.subject}_task-seegstim_{self.run}"

    @property
    def contacts(self) -> tuple[str, str]:
        return f"{self.shaft}8", f"{self.shaft}9"


RUNS = (
    Stimulation("sub-01", "run-01", 10, "Q'"),
    Stimulation("sub-01", "run-02", SOURCES + 7, "B"),
    Stimulation("sub-02", "run-01", SOURCES + 31, "K", unit="mm"),
    Stimulation("sub-03", "run-01", 44, "X'", unit="n/a"),
)


def free_forward(subjects_dir: Path) -> mne.Forward:
    """A forward solution of free orientation on fsaverage5 in a sphere."""
    montage = mne.channels.make_standard_montage("GSN-HydroCel-64_1.0")
    info = mne.create_info(montage.ch_names[:CHANNELS], SFREQ, "eeg").set_montage(montage)
    with mne.use_log_level("ERROR"):
        spaces = source_spaces(fsaverage5(), "white", subjects_dir)
        for space, hemi in zip(spaces, fsaverage5(), strict=True):
            space["vertno"] = np.flatnonzero(hemi.cortex)[::150][:SOURCES]
            space["inuse"] = np.bincount(space["vertno"], minlength=space["np"])
            space["nuse"] = SOURCES
        sphere = mne.make_sphere_model((0.0, 0.0, 0.04), head_radius=0.14)
        return mne.make_forward_solution(info, "fsaverage", spaces, sphere, meg=False, mindist=0)


def write_folder(folder: Path, forward: mne.Forward, runs: Iterable[Stimulation] = RUNS) -> Path:
    """Write all files of some runs."""
    model = head_model_from_forward(forward)
    runs = tuple(runs)
    for subject in dict.fromkeys(run.subject for run in runs):
        path = folder / "derivatives" / "sourcemodelling" / subject / "fwd"
        path.mkdir(parents=True)
        mne.write_forward_solution(path / f"{subject}_fwd.fif", forward, verbose="ERROR")
        some = [run for run in runs if run.subject == subject]
        _write_contacts(folder, some, model.positions)
        for number, run in enumerate(some):
            _write_epochs(folder, run, model.leadfield[:, run.source], model.channel_names, number)
    return folder


def eeg(folder: Path, run: Stimulation, ending: str) -> Path:
    """A file of the epochs of a run."""
    return folder / "derivatives" / "epochs" / run.subject / "eeg" / f"{run.stem}_{ending}"


def contacts(folder: Path, subject: str, ending: str = "electrodes.tsv") -> Path:
    """A file of the contacts of a subject."""
    name = f"{subject}_task-seegstim_space-surface_{ending}"
    return folder / "derivatives" / "epochs" / subject / "ieeg" / name


def table(columns: Mapping[str, Iterable[Any]]) -> str:
    rows = zip(*columns.values(), strict=True)
    return "\n".join("\t".join(map(str, row)) for row in [tuple(columns), *rows]) + "\n"


def _write_contacts(folder: Path, runs: list[Stimulation], positions: np.ndarray) -> None:
    unit = {"m": 1.0, "mm": 1e3, "n/a": 1e3}[runs[0].unit]
    names = [name for run in runs for name in run.contacts]
    places = [
        positions[run.source] + [side * 0.00175, 0.0, OFFSET] for run in runs for side in (-1, 1)
    ]
    path = contacts(folder, runs[0].subject)
    path.parent.mkdir(parents=True)
    columns = dict(zip("xyz", unit * np.transpose(places), strict=True))
    path.write_text(table({"name": names, **columns}))
    contacts(folder, runs[0].subject, "coordsystem.json").write_text(
        json.dumps({"iEEGCoordinateUnits": runs[0].unit})
    )
    # Another head's, beside them: to be left alone.
    other = path.with_name(path.name.replace("space-surface", "space-MNI152NLin2009aSym"))
    other.write_text(table({"name": names, **{axis: np.zeros(len(names)) for axis in "xyz"}}))


def _write_epochs(
    folder: Path, run: Stimulation, topography: np.ndarray, names: tuple[str, ...], number: int
) -> None:
    times = START + np.arange(TIMES) / SFREQ
    pulse = np.exp(-(((times - 0.0005) / 0.0004) ** 2)) - np.exp(-(((times + 0.001) / 0.0004) ** 2))
    response = MOMENT * np.outer(topography, pulse)
    noise = run.noise * np.abs(response).max() * normal(EPOCHS, len(names), TIMES, seed=number)
    data = response + noise.numpy()
    data[:, names.index(BAD)] = np.nan
    path = eeg(folder, run, "epochs.npy")
    path.parent.mkdir(parents=True, exist_ok=True)
    np.save(path, data)
    status = ["bad" if name == BAD else "good" for name in names]
    columns = {"name": names, "type": ["EEG"] * len(names), "units": ["V"] * len(names)}
    columns |= {"sampling_frequency": [int(SFREQ)] * len(names), "status": status}
    eeg(folder, run, "channels.tsv").write_text(table(columns))
    pair = f"{run.contacts[0]}-9 1mA"
    eeg(folder, run, "epochs.tsv").write_text(
        table({"zero_time": [-START] * EPOCHS, "trial_type": [pair] * EPOCHS})
    )
    eeg(folder, run, "epochs.json").write_text(
        json.dumps({"Description": f"Stimulation of channel {pair}", **run.sidecar})
    )
