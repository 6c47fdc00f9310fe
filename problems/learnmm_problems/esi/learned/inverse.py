"""Learned weights on recordings: whether they fit one, and the solve."""

from __future__ import annotations

import os
from pathlib import Path

import mne
import numpy as np
from numpy.typing import ArrayLike, NDArray

import learnmm as lmm

from ..channels import ChannelMatch
from ..energy import Reconstruction
from ..headmodel import HeadModel
from .files import HOW_TO_TRAIN, load_solver

SHIPPED = Path(__file__).parent / "weights"
"""Weights that come with the library, ``METHOD-DATA.safetensors``."""

RATE_TOLERANCE = 0.02  # relative; what a kernel of three samples sees changes no more than this


def find_weights(name: str | os.PathLike[str]) -> Path:
    """Return the file of shipped weights, such as ``"mm-net-erp"``, or a path as it is.

    Raises
    ------
    FileNotFoundError
        If it is neither, naming what there is.
    """
    shipped = SHIPPED / f"{name}.safetensors"
    if shipped.is_file():
        return shipped
    if Path(name).is_file():
        return Path(name)
    known = ", ".join(sorted(path.stem for path in SHIPPED.glob("*.safetensors"))) or "none"
    raise FileNotFoundError(
        f"no weights and no file are called {str(name)!r}; shipped with the library: {known}"
    )


class LearnedInverse:
    """A trained method for the recordings of one head model.

    Parameters
    ----------
    weights : str or path
        See `find_weights`.
    model : HeadModel
        Must be the one that the weights were trained on.
    """

    def __init__(self, weights: str | os.PathLike[str], model: HeadModel) -> None:
        self.path = find_weights(weights)
        self.solver = load_solver(self.path, model)

    @property
    def leadfield(self) -> lmm.LinearMap:
        """What the sensors see, divided by its norm."""
        return self.solver.energy.leadfield

    def check(self, info: mne.Info, match: ChannelMatch, matrix: NDArray[np.float64]) -> None:
        """Raise a clear error unless the weights serve a recording.

        Parameters
        ----------
        info : mne.Info
            Of the recording.
        match : ChannelMatch
            Channels in use.
        matrix : ndarray, shape (channels, channels)
            What projectors and whitening do to them.
        """
        settings, names = self.solver.settings, self.solver.channel_names
        lacking = [name for row, name in enumerate(names) if row not in match.rows]
        if lacking:
            raise ValueError(
                f"the weights {self.path.name} are for all {len(names)} channels of their head "
                f"model, and the recording has no good {', '.join(lacking)}. Interpolate bad "
                "channels (evoked.interpolate_bads()), leave out the weights (no training is "
                f"needed then), or train for your channels: {HOW_TO_TRAIN}"
            )
        count = len(names)
        if not np.allclose(matrix, np.eye(count) - 1 / count, atol=1e-9):
            raise ValueError(
                f"the weights {self.path.name} are for recordings with the average reference and "
                "nothing else: this one has further projectors or a noise covariance. Leave them "
                "out, or leave out the weights"
            )
        if abs(info["sfreq"] / settings.sfreq - 1) > RATE_TOLERANCE:
            raise ValueError(
                f"the weights {self.path.name} are for recordings at {settings.sfreq:g} Hz, this "
                f"one has {info['sfreq']:g} Hz: resample it (evoked.resample({settings.sfreq:g})), "
                "or leave out the weights"
            )

    def reconstruct(
        self, sensors: ArrayLike, *, max_iter: int | None = None, progress: bool = False
    ) -> Reconstruction:
        """Estimate sources of recordings ``(batch, sensors, times)`` in V."""
        return self.solver.reconstruct(sensors, steps=max_iter, progress=progress)
