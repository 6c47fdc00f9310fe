"""What solves the recordings of one head model: it can travel to other processes."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import mne
import numpy as np
from mne.utils import logger
from numpy.typing import NDArray

from learnmm_esi.head.from_file import read_head_model
from learnmm_esi.head.model import HeadModel
from learnmm_esi.inverse.energy import SourceEnergy, check_size
from learnmm_esi.inverse.evidence import EvidenceEnergy
from learnmm_esi.inverse.fit import MMFit
from learnmm_esi.recordings.channels import ChannelMatch
from learnmm_esi.recordings.guided import GuidedInverse
from learnmm_esi.recordings.learned import LearnedInverse
from learnmm_esi.recordings.plausibility import warn_about_misfit
from learnmm_esi.recordings.prepared import PreparedRecording, SeenModel, Solver
from learnmm_esi.recordings.settings import InverseSettings, SensorSettings

__all__ = ["Engine", "imaged_model", "naming"]


class Engine:
    """Solves recordings of a head model, and keeps what it prepares for their channels.

    Parameters
    ----------
    model : HeadModel
        Whose sources are estimated.
    settings : InverseSettings
        How to solve.
    sensors : SensorSettings
        What to do about channels.
    """

    def __init__(
        self, model: HeadModel, settings: InverseSettings, sensors: SensorSettings
    ) -> None:
        # Of a forward solution the sensors suffice: its surfaces are large, and would travel too.
        sensed = model.info(1.0) if isinstance(model.origin, mne.Forward) else model.origin
        self.model = model = replace(model, origin=sensed)
        self.settings, self.sensors = settings, sensors
        self.noise_cov = sensors.covariance()
        self.learned: LearnedInverse | None = None
        if settings.weights is None:
            check_size("MMInverse", len(model.positions))
        else:
            self.learned = LearnedInverse(settings.weights, model, settings.transfer)
        self._prepared: tuple[bytes, Solver] | None = None

    def __getstate__(self) -> dict[str, Any]:
        """Leave the distances behind, a large matrix that no recording needs."""
        return {**self.__dict__, "model": replace(self.model, distances=None)}

    @property
    def sources(self) -> int:
        """How many are estimated."""
        return len(self.model.positions)

    def of(self, info: mne.Info, verbose: bool | str | int | None = None) -> Engine:
        """Return itself: every recording has these sensors."""
        return self

    def prepare(self, info: mne.Info, verbose: bool | str | int | None) -> PreparedRecording:
        """Make ready for recordings with these channels and projectors."""
        return PreparedRecording(
            info,
            self.model,
            self.noise_cov,
            self.sensors.on_missing,
            self._solver,
            self.settings.max_iter,
            verbose,
        )

    def check_length(self, times: int) -> None:
        """Warn where weights were trained on recordings of another length, or refuse it."""
        if self.learned is not None:
            self.learned.check_length(times)

    def solve_evoked(
        self, evoked: mne.Evoked, verbose: bool | str | int | None
    ) -> tuple[NDArray[np.float32], MMFit]:
        """Return the sources of an evoked response, ``(sources, times)``, and what was done."""
        prepared = self.prepare(evoked.info, verbose)
        self.check_length(len(evoked.times))
        what = f"evoked {evoked.comment!r}" if evoked.comment else "the evoked"
        solved = prepared.solve([evoked.data[prepared.eeg]], [what])
        warn_about_misfit(solved.told)
        return solved.sources[0], solved.fits[0]

    def solve_listed(
        self, place: int, evoked: mne.Evoked, verbose: bool | str | int | None
    ) -> tuple[NDArray[np.float32], MMFit]:
        """Solve one evoked response of several; errors say which."""
        with naming(place, evoked):
            return self.solve_evoked(evoked, verbose)

    def _solver(self, info: mne.Info, match: ChannelMatch, matrix: NDArray[np.float64]) -> Solver:
        if self.learned is not None:
            self.learned.check(info, match, matrix)
        key = match.rows.tobytes() + matrix.tobytes()
        if self._prepared is None or self._prepared[0] != key:
            logger.info("Preparing the energy of %d channels", len(match.rows))
            seen = SeenModel(self.model, matrix @ self.model.leadfield[match.rows])
            if self.learned is None:
                self._prepared = key, _energy(seen, self.settings)
            else:
                learned = self.learned.seeing(seen.leadfield)
                guided = self.settings.guided
                self._prepared = key, GuidedInverse(learned, seen) if guided else learned
        return self._prepared[1]


def _energy(seen: SeenModel, settings: InverseSettings) -> SourceEnergy | EvidenceEnergy:
    """What solves without learning."""
    weight, diffusion = settings.weight, settings.diffusion
    if weight is None:
        return EvidenceEnergy(seen) if diffusion is None else EvidenceEnergy(seen, diffusion)
    return (
        SourceEnergy(seen, weight) if diffusion is None else SourceEnergy(seen, weight, diffusion)
    )


@contextlib.contextmanager
def naming(place: int, evoked: mne.Evoked) -> Iterator[None]:
    """Say in errors which recording of several they are about."""
    try:
        yield
    except Exception as error:
        name = f"recording {place}"
        name += f" ({evoked.comment!r})" if evoked.comment else ""
        if len(error.args) == 1:
            error.args = (f"{name}: {error}",)
        else:
            error.add_note(f"in {name}")
        raise


def imaged_model(model: HeadModel | mne.Forward | str | os.PathLike[str]) -> HeadModel:
    """Return the head model, read or made of what was given, or say why it does not serve."""
    if isinstance(model, (mne.Forward, str, os.PathLike)):
        model = read_head_model(model)
    if not isinstance(model, HeadModel):
        raise TypeError(
            "model must be a HeadModel, an mne.Forward or the path of one, got "
            f"{type(model).__name__}"
        )
    if model.vertices is None:
        raise ValueError(
            "an mne.SourceEstimate needs sources on two cortical surfaces, which this head "
            "model does not have; for arrays use EvidenceEnergy(model).reconstruct(data)"
        )
    return model
