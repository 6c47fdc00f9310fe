"""Head models for the tests: a sphere with two hemispheres, fsaverage at ico=3 and at ico=2."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import mne
import numpy as np
import pytest
from filelock import FileLock
from scipy import sparse

from eeg_learning import small_head
from eeg_stimulation import free_forward, write_folder
from learnmm_esi.head.fsaverage import fsaverage_head_model
from learnmm_esi.head.model import HeadModel
from learnmm_esi.head.scalp import scalp_gain
from learnmm_esi.head.settings import HeadModelSettings

RADIUS = 0.06  # of the cortex, metres
REGIONS = 40  # in each hemisphere


@dataclass(frozen=True)
class SmallModel:
    leadfield: np.ndarray
    positions: np.ndarray
    neighbours: sparse.csr_matrix
    distances: np.ndarray
    forward_solution: mne.Forward

    def info(self, sfreq: float) -> mne.Info:
        return electrodes(sfreq)

    def forward(self) -> mne.Forward:
        return self.forward_solution.copy()


@pytest.fixture(scope="session")
def small_model() -> SmallModel:
    normals = hemisphere_normals()
    info = electrodes(512.0)
    with mne.use_log_level("error"):
        source_space = mne.setup_volume_source_space(
            pos={"rr": RADIUS * normals, "nn": normals}, sphere=None
        )
        forward = mne.make_forward_solution(
            info, None, source_space, mne.make_sphere_model((0, 0, 0), 0.1), meg=False
        )
        forward = mne.convert_forward_solution(forward, surf_ori=True, force_fixed=True)
    leadfield = forward["sol"]["data"].astype(np.float64)
    leadfield -= leadfield.mean(axis=0)
    forward["sol"]["data"] = leadfield.copy()

    distances = RADIUS * np.arccos(np.clip(normals @ normals.T, -1.0, 1.0))
    np.fill_diagonal(distances, 0.0)
    same_side = np.sign(normals[:, 0])[:, None] == np.sign(normals[:, 0])
    distances[~same_side] = np.inf
    nearest = np.argsort(distances, axis=1)[:, 1:6]
    graph = np.zeros(distances.shape, dtype=bool)
    np.put_along_axis(graph, nearest, True, axis=1)
    return SmallModel(
        leadfield, RADIUS * normals, sparse.csr_matrix(graph | graph.T), distances, forward
    )


@pytest.fixture(scope="session")
def head(small_model: SmallModel) -> HeadModel:
    """Eighty sources on a sphere: enough to have patches, few enough to learn in seconds."""
    return small_head(small_model)


@pytest.fixture(scope="session")
def head_models(tmp_path_factory, worker_id) -> Path:
    """Folder of the head models, one for all test processes."""
    base = tmp_path_factory.getbasetemp()
    shared = (base if worker_id == "master" else base.parent) / "headmodels"
    shared.mkdir(exist_ok=True)
    return shared


@pytest.fixture(scope="session")
def fsaverage_model(head_models) -> HeadModel:
    """The real head, built once."""
    with FileLock(head_models / "lock"):
        return fsaverage_head_model(HeadModelSettings(ico=3), cache_dir=head_models)


@pytest.fixture(scope="session")
def stimulation_forward(tmp_path_factory) -> mne.Forward:
    """The head of all subjects of `eeg_stimulation`."""
    return free_forward(tmp_path_factory.mktemp("subjects"))


@pytest.fixture(scope="session")
def stimulation_folder(stimulation_forward, tmp_path_factory) -> Path:
    """Three subjects, four runs; not to be changed."""
    return write_folder(tmp_path_factory.mktemp("stimulation"), stimulation_forward)


def electrodes(sfreq: float) -> mne.Info:
    montage = mne.channels.make_standard_montage("GSN-HydroCel-32")
    return mne.create_info(montage.ch_names[:20], sfreq, "eeg").set_montage(montage)


@pytest.fixture(scope="session")
def coarse_model(head_models) -> HeadModel:
    """The real head with few regions and a coarse skull, built once."""
    with FileLock(head_models / "coarse-lock"):
        return fsaverage_head_model(HeadModelSettings(sources=60, ico=2), cache_dir=head_models)


def hemisphere_normals() -> np.ndarray:
    """Fibonacci points of a sphere, those on its left first, none near the midline."""
    step = np.arange(2 * REGIONS)
    height = 1.0 - (2 * step + 1) / (2 * REGIONS)
    angle = np.pi * (1 + 5**0.5) * step
    radial = np.sqrt(1.0 - height**2)
    points = np.stack([radial * np.cos(angle), radial * np.sin(angle), height], axis=1)
    return points[np.argsort(points[:, 0] > 0.0, kind="stable")]


@pytest.fixture
def own_head(head_models, monkeypatch) -> HeadModelSettings:
    """The template for electrodes anywhere, with few regions and a coarse skull, built once."""
    monkeypatch.setenv("LEARNMM_CACHE", str(head_models))
    settings = HeadModelSettings(sources=64, ico=2)
    with FileLock(head_models / "scalp-lock"):
        scalp_gain(settings)
    return settings
