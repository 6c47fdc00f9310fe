"""Who is measured: methods by name, each prepared for a head model and then given recordings."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import mne
import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.covariance import ledoit_wolf

from learnmm_esi.head.model import HeadModel
from learnmm_esi.inverse.classical import Method as Classical
from learnmm_esi.inverse.classical import apply_kernel, inverse_kernel
from learnmm_esi.inverse.evidence import EvidenceEnergy
from learnmm_esi.networks.files import load_solver
from learnmm_esi.networks.solver import SourceSolver
from learnmm_esi.recordings.guided import GuidedInverse
from learnmm_esi.recordings.learned import SeeingInverse, find_weights

BASELINE = "sLORETA"
UNLEARNED = "unlearned"
LEARNED, START, GUIDED = "learned", "learned, start alone", "guided"
WEIGHTS = "mm-net"

LCMV_REGULARIZATION = 1.0
"""Of the mean variance. With MNE-Python's 0.05, patches, which no single region's lead field is
equal to, cancel themselves: 87 mm instead of 12 with 90 electrodes, one patch, 5 dB."""


class Estimates(NamedTuple):
    """What a method says.

    `sources` has shape (batch, sources, times); `fell_back`, shape (batch,), says of which
    recordings a linear estimate was handed out instead, None for methods that never do that.
    """

    sources: NDArray[Any]
    fell_back: NDArray[np.bool_] | None = None


Estimate = Callable[[NDArray[np.float32], float], Estimates]
"""Recordings (batch, sensors, times), and samples per second."""

Prepare = Callable[[HeadModel], Estimate]


def classical(method: Classical) -> Prepare:
    """A linear inverse, by MNE-Python's formula."""

    def prepare(model: HeadModel) -> Estimate:
        kernel = inverse_kernel(model.leadfield, method)
        return lambda sensors, _: Estimates(apply_kernel(kernel, sensors))

    return prepare


def lcmv(model: HeadModel) -> Estimate:
    """MNE-Python's LCMV beamformer, of unit noise gain, on each recording's own covariance.

    The covariance is that of all samples, shrunk by Ledoit and Wolf's rule; recordings are short.
    """
    forward = model.forward()

    def estimate(sensors: NDArray[np.float32], sfreq: float) -> Estimates:
        info = model.info(sfreq)
        noise = mne.make_ad_hoc_cov(info, std={"eeg": 1e-6}, verbose="error")
        return Estimates(np.stack([beamformed(one, info, forward, noise) for one in sensors]))

    return estimate


def beamformed(
    sensors: NDArray[np.float32], info: mne.Info, forward: mne.Forward, noise: mne.Covariance
) -> NDArray[np.float64]:
    """Estimate of one recording, at a scale of microvolts."""
    scaled = 1e-5 * sensors.astype(np.float64) / np.abs(sensors).max()
    with mne.use_log_level("error"):
        evoked = mne.EvokedArray(scaled, info).set_eeg_reference(projection=True).apply_proj()
        shrunk, _ = ledoit_wolf(evoked.data.T, assume_centered=True)
        data = mne.Covariance(shrunk, info.ch_names, [], evoked.info["projs"], len(evoked.times))
        filters = mne.beamformer.make_lcmv(
            evoked.info,
            forward,
            data,
            reg=LCMV_REGULARIZATION,
            noise_cov=noise,
            weight_norm="unit-noise-gain",
        )
        found: NDArray[np.float64] = mne.beamformer.apply_lcmv(evoked, filters).data
    return found


def unlearned(model: HeadModel) -> Estimate:
    """The library's solver that learns nothing, its prior's weight from the noise."""
    energy = EvidenceEnergy(model)
    return lambda sensors, _: Estimates(energy.reconstruct(sensors).sources)


@functools.lru_cache(maxsize=1)
def solver_of(model: HeadModel) -> SourceSolver:
    """The shipped weights on a head model."""
    return load_solver(find_weights(WEIGHTS), model, transfer=True)


def learned_start(model: HeadModel) -> Estimate:
    """What the learned solver would start from if nobody judged it."""
    energy = solver_of(model).energy

    def estimate(sensors: NDArray[np.float32], _: float) -> Estimates:
        with torch.no_grad():
            return Estimates(energy.start(energy.normalized(sensors)).numpy())

    return estimate


def learned(model: HeadModel) -> Estimate:
    """What it hands out: after verified steps, or the linear estimate where it falls back."""
    solver = solver_of(model)

    def estimate(sensors: NDArray[np.float32], _: float) -> Estimates:
        found = solver.reconstruct(sensors)
        return Estimates(found.sources, found.refused)

    return estimate


def guided(model: HeadModel) -> Estimate:
    """The library's default: the learned start says where to look, the recording decides."""
    inverse = GuidedInverse(SeeingInverse(solver_of(model), model.leadfield), model)

    def estimate(sensors: NDArray[np.float32], _: float) -> Estimates:
        return Estimates(inverse.reconstruct(sensors).sources)

    return estimate


METHODS: dict[str, Prepare] = {
    "MNE": classical("MNE"),
    "dSPM": classical("dSPM"),
    BASELINE: classical("sLORETA"),
    "eLORETA": classical("eLORETA"),
    "LCMV": lcmv,
    UNLEARNED: unlearned,
    START: learned_start,
    LEARNED: learned,
    GUIDED: guided,
}
"""Columns of the tables; whoever adds one is measured."""
