"""Small simulated recordings, how tests reconstruct them, and which estimates are the same."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import mne
import numpy as np

from eeg_learning import small
from learnmm_esi.head.electrodes import electrode_info, electrode_names
from learnmm_esi.head.model import HeadModel
from learnmm_esi.networks.files import save_solver
from learnmm_esi.networks.method import Recordings
from learnmm_esi.networks.solver import SourceSolver
from learnmm_esi.recordings.settings import InverseSettings
from learnmm_esi.simulation.erp import ERPSimulator

SENSORS = electrode_names()
ROWS = {name: row for row, name in enumerate(SENSORS)}
SFREQ, TIMES, STEPS = 512.0, 16, 5
FEW = InverseSettings(max_iter=STEPS)
ROUNDING = 1e-4  # of the largest source; single precision over a few steps, or in a file


def simulated(model: HeadModel, count: int, seed: int = 5) -> np.ndarray:
    """Average-referenced recordings, in V."""
    simulator = ERPSimulator(model, seed=seed, times=TIMES, sfreq=SFREQ)
    return simulator.batch(range(count)).sensors.astype(np.float64)


def standard(names: Sequence[str] = SENSORS) -> mne.Info:
    """Some of the head model's electrodes, where they are."""
    return mne.pick_info(electrode_info(SFREQ), [ROWS[name] for name in names])


def save_untrained(
    path: Path, model: HeadModel, method: str = "mm-net", sfreq: float | None = SFREQ
) -> Path:
    """Weights of a method that is not trained, but complete; without a rate, for any channels."""
    solver = SourceSolver(model, small(method, steps=2), Recordings(TIMES, sfreq))
    save_solver(path, solver, {"data": "erp", "training": {}}, {})
    return path


def assert_same(one: np.ndarray, other: np.ndarray, share: float = ROUNDING) -> None:
    np.testing.assert_allclose(one, other, atol=share * np.abs(other).max(), rtol=0)
